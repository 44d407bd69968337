r"""Newton's method for logistic likelihoods, by orthogonal transformations.

The log posterior of labels t = 0 or 1 under log odds eta = A x, with a normal prior
of mean m and precision P (zero for maximum likelihood), is

    l(x) = sum_i [t_i eta_i - log(1 + exp(eta_i))] - (x - m)^T P (x - m) / 2

with gradient g = A^T (t - p) - P (x - m) and information A^T W A + P, W = diag(p (1 - p)).
The information is never formed: the rows W^{1/2} A and P^{1/2} are reduced to a triangle R by
orthogonal transformations (iteratively reweighted least squares; McCullagh & Nelder 1989,
section 4.4), a step is R^-1 R^-T g, and the covariance at the end (R^T R)^-1. The likelihood is
concave, so halving a step that goes too far makes Newton converge from anywhere, wherever
there is a maximum at all.

Source: Ting, "Statistical Machine Learning for Astronomy" (arXiv:2506.12230), ch. 7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import linalg, special

from statml.compute import namespace
from statml.regression.least_squares import RANK_TOLERANCE, reduce_rows

Array = np.ndarray

MAX_STEPS = 100
# A step this short, in standard errors and per root of n, leaves an error of its square.
STEP_TOLERANCE = 1e-9
# Newton at a maximum squares its error; where classes are separated, a step is exp(-1/2) = 0.6 of the last.
CONVERGING = 0.1
STALLING = 0.5
# A large problem starts from the maximum of every 16th row, close enough to save half the steps.
STRIDE, FEWEST_ROWS = 16, 4096


@dataclass(frozen=True)
class Step:
    """A Newton step d (p,), its length in standard errors, and F with (information)^-1 = F F^T."""

    move: Array
    length: float
    factor: Array


@dataclass(frozen=True)
class Maximum:
    """Where Newton ended.

    Attributes
    ----------
    params : array (p,)
    factor : array (p, p)
        F F^T is the inverse of the observed information (with the prior's precision).
    value : float
        The log posterior (log likelihood without a prior) there.
    steps : int
    stalled : bool
        The steps stopped shrinking: there may be no maximum.
    """

    params: Array
    factor: Array
    value: float
    steps: int
    stalled: bool


class SingularInformationError(ArithmeticError):
    """The information matrix is singular to working precision; `direction` (p,) is what it does not see."""

    def __init__(self, direction: Array) -> None:
        super().__init__("the information matrix is singular")
        self.direction = direction


def climb(
    objective: Callable[[Array], float],
    newton_step: Callable[[Array], Step],
    start: Array,
    *,
    n: int,
    may_stall: bool = True,
) -> Maximum:
    """Maximise a concave function by Newton's method with halved steps.

    Parameters
    ----------
    objective : callable
        Value at params (p,).
    newton_step : callable
        `Step` at params; may raise `SingularInformationError`.
    start : array (p,)
    n : int
        Rows behind the objective, for the tolerance.
    may_stall : bool
        Give up where steps stop shrinking. False where a maximum is known to exist.

    Raises
    ------
    SingularInformationError
        At `start`. Later it means that the fit runs away, and `stalled` is set.
    """
    params, value = start, objective(start)
    step, previous, slow = None, np.inf, 0
    for count in range(1, MAX_STEPS + 1):
        try:
            step = newton_step(params)
        except SingularInformationError:
            if step is None:
                raise
            return Maximum(params, step.factor, value, count - 1, True)
        params, value, shortened = _ascend(objective, params, value, step.move)
        contraction = step.length / previous if previous > 0 else 0.0
        if step.length <= STEP_TOLERANCE * np.sqrt(n) and (contraction < CONVERGING or not may_stall):
            return Maximum(params, step.factor, value, count, False)
        slow = slow + 1 if contraction > STALLING and not shortened else 0
        if may_stall and slow >= 4 and count >= 8:
            return Maximum(params, step.factor, value, count, True)
        previous = step.length
    assert step is not None
    return Maximum(params, step.factor, value, MAX_STEPS, True)


def _ascend(
    objective: Callable[[Array], float], params: Array, value: float, move: Array
) -> tuple[Array, float, bool]:
    """Take the step, halved until it does not go down (beyond rounding): params, value, whether halved."""
    rounding = 64 * np.finfo(float).eps * (1 + abs(value))
    share = 1.0
    while share > 1e-12:
        new = objective(params + share * move)
        if new >= value - rounding:
            return params + share * move, new, share < 1
        share /= 2
    return params, value, True


class ConcaveLikelihood(Protocol):
    """What `maximise` asks of a likelihood: its rows n, its number of parameters, values and steps."""

    n: int
    size: int

    @property
    def has_prior(self) -> bool:
        """Whether a prior ensures that there is a maximum."""

    def log_posterior(self, params: Array) -> float:
        """To be maximised."""

    def step(self, params: Array) -> Step:
        """The Newton step at `params`."""

    def every(self, stride: int) -> ConcaveLikelihood:
        """That of every `stride`-th row, of the same parameters, without a prior."""


class BinaryLikelihood:
    """The log posterior of a binary logistic model and its Newton steps.

    Parameters
    ----------
    X : array (n, d)
    positive : array (n,)
        1 or True for the second class.
    intercept : bool
        Put a column of ones first.
    precision : array (p,) or (p, p), optional
        Precision P of a normal prior of the parameters; a vector is its diagonal. None: no prior.
    mean : array (p,), optional
        Mean of that prior; None for 0.
    """

    def __init__(
        self,
        X: Array,
        positive: Array,
        *,
        intercept: bool,
        precision: Array | None = None,
        mean: Array | None = None,
    ) -> None:
        self.X = X
        self.sign = np.where(positive, 1.0, -1.0)
        self.intercept = intercept
        self.n = len(X)
        self.size = X.shape[1] + int(intercept)
        self.mean = np.zeros(self.size) if mean is None else np.asarray(mean, float)
        self.root = None if precision is None else _root(np.asarray(precision, float))

    @property
    def has_prior(self) -> bool:
        """Whether there is a penalty."""
        return self.root is not None

    def log_odds(self, params: Array) -> Array:
        """A x, shape (n,)."""
        return self.X @ params[1:] + params[0] if self.intercept else self.X @ params

    def log_likelihood(self, params: Array) -> float:
        """Without the prior."""
        return float(np.sum(special.log_expit(self.sign * self.log_odds(params))))

    def log_posterior(self, params: Array) -> float:
        """Log likelihood minus the penalty (x - m)^T P (x - m) / 2."""
        value = self.log_likelihood(params)
        return (
            value
            if self.root is None
            else value - 0.5 * float(np.sum((self.root @ (params - self.mean)) ** 2))
        )

    def step(self, params: Array) -> Step:
        """The Newton step at `params`.

        Raises
        ------
        SingularInformationError
            The information does not determine every parameter.
        """
        margin = self.sign * self.log_odds(params)
        residual = self.sign * special.expit(-margin)
        gradient = self.X.T @ residual
        if self.intercept:
            gradient = np.concatenate([[residual.sum()], gradient])
        weight = 0.5 / np.cosh(np.clip(margin / 2, -700, 700))
        R = reduce_rows(
            self.X, np.zeros(len(margin)), intercept=self.intercept, weights=weight, device=namespace("cpu")
        ).R
        if self.root is not None:
            gradient -= self.root.T @ (self.root @ (params - self.mean))
            R = linalg.qr(np.vstack([R, self.root]), mode="r")[0][: self.size]
        return triangular_step(R, gradient)

    def every(self, stride: int) -> BinaryLikelihood:
        """That of every `stride`-th row, without a prior."""
        return BinaryLikelihood(self.X[::stride], self.sign[::stride] > 0, intercept=self.intercept)


def triangular_step(R: Array, gradient: Array) -> Step:
    """The step R^-1 R^-T g, with the rank judged on columns of unit length.

    Raises
    ------
    SingularInformationError
        R is singular to working precision.
    """
    norms = np.linalg.norm(R, axis=0)
    norms[norms == 0] = 1.0
    scaled = R / norms
    _, singular, right = np.linalg.svd(scaled)
    if not singular[-1] > RANK_TOLERANCE * len(norms) * singular[0]:
        raise SingularInformationError(right[-1])
    factor = linalg.solve_triangular(scaled, np.eye(len(norms))) / norms[:, None]
    in_errors = factor.T @ gradient
    return Step(factor @ in_errors, float(np.linalg.norm(in_errors)), factor)


def maximise(likelihood: ConcaveLikelihood, *, start: Array | None = None) -> Maximum:
    """The maximum of the log posterior.

    Parameters
    ----------
    likelihood : ConcaveLikelihood
    start : array (p,), optional
        Where to begin; by default at 0, or for many rows at the maximum of some of them.

    Raises
    ------
    SingularInformationError
        Columns are linearly dependent and there is no prior.
    """
    # The products here are small: threads would wait for each other longer than they work.
    with namespace("cpu").one_thread():
        return _maximise(likelihood, start)


def _maximise(likelihood: ConcaveLikelihood, start: Array | None) -> Maximum:
    n, may_stall = likelihood.n, not likelihood.has_prior
    if start is None:
        start = _start(likelihood)
    if start is not None:
        try:
            found = climb(likelihood.log_posterior, likelihood.step, start, n=n, may_stall=may_stall)
            if not found.stalled:
                return found
        except SingularInformationError:
            pass
    # At 0 all rows weigh the same, so a singular information means dependent columns.
    return climb(
        likelihood.log_posterior, likelihood.step, np.zeros(likelihood.size), n=n, may_stall=may_stall
    )


def _start(likelihood: ConcaveLikelihood) -> Array | None:
    """The maximum of every `STRIDE`-th row of a large problem, where it has one."""
    if likelihood.n < STRIDE * max(FEWEST_ROWS, 100 * likelihood.size):
        return None
    some = likelihood.every(STRIDE)
    try:
        found = climb(some.log_posterior, some.step, np.zeros(some.size), n=some.n)
    except SingularInformationError:
        return None
    return None if found.stalled else found.params


def _root(precision: Array) -> Array:
    """L^T with P = L L^T, shape (p, p), of a diagonal or a matrix that may be singular."""
    if precision.ndim == 1:
        return np.diag(np.sqrt(precision))
    values, vectors = np.linalg.eigh(precision)
    return np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T
