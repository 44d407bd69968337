r"""Gaussian processes averaged over their hyperparameters: for few rows, whose evidence tells little of them.

    p(y* | y) = int p(y* | y, theta) p(theta | y) dtheta,      p(theta | y) ~ p(y | theta) p(theta)

Hyperparameters of largest evidence are one point of this integral. From few rows it is often one of a scatter
that is too small, and its intervals are too narrow. Here the integral is a sum over draws from a t around
the largest posterior density, as wide as its curvature there (Laplace), and some from the prior, which are weighted
by posterior over proposal density and drawn again by these weights (importance resampling).

The prior is wide. A hyperparameter of the kernel is log-normal around the value the kernel was given with;
the scatter s is half-normal with the standard deviation of y. In log s that density falls with s as s falls to
zero, so that no weight goes to the long tail of scatters that are as good as none.

Sources: Rasmussen & Williams (2006), section 5.2; Rue, Martino & Chopin (2009), JRSS B 71, 319, for averages
over few points of an approximate posterior; Gelman (2006), Bayesian Analysis 1, 515, for priors of scatter.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy import optimize, stats
from sklearn.base import MetaEstimatorMixin, clone
from sklearn.exceptions import ConvergenceWarning

from statml.compute import generator
from statml.errors import InputError, InputTypeError
from statml.gp.hyperparameters import FIRST_SCATTER
from statml.gp.kernels.base import Kernel
from statml.uncertainty.contract import DistributionRegressor
from statml.uncertainty.cross_validation import fit_with_errors
from statml.uncertainty.distributions import COMPONENTS
from statml.uncertainty.mixtures import GaussianMixture

Array = np.ndarray

# Points at which the posterior density is computed, for each draw that is kept, at least.
PROPOSED = 4
# So many of them are from the prior: they find what the surroundings of the maximum do not tell of.
PRIOR_SHARE = 0.25
# Degrees of freedom of the proposal around the maximum: tails that are heavier than those of the posterior.
TAILS = 6.0
# Step in logs for slopes and curvatures of the posterior density.
SLOPE_STEP, CURVATURE_STEP = 1e-4, 0.05
UNREACHABLE = 1e300
# Fewer draws of equal weight than this say little of the width of the posterior.
LEAST_EFFECTIVE = 4.0


class AveragedGP(MetaEstimatorMixin, DistributionRegressor):
    """The predictions of a Gaussian process, averaged over the posterior of its hyperparameters.

    Parameters
    ----------
    estimator : GaussianProcessRegressor or StateSpaceGP
        Of one band. Its kernel, as it is given, is the centre of the prior; hyperparameters that are fixed stay fixed,
        as does a scatter that is a number.
    draws : int
        Hyperparameters that are averaged over.
    factor : float
        How wide the prior is: with probability 0.68 a hyperparameter of the kernel is within this factor of its centre.
    random_state : None, int or Generator
        Of the search and of the draws.

    Attributes
    ----------
    members_ : list of estimators
        One for each draw, of equal weight; a draw may occur more than once.
    kernel_, scatter_ : Kernel, float
        Of largest posterior density.
    effective_draws_ : float
        Draws of equal weight that the proposed points are worth.

    Notes
    -----
    A fit costs some hundred evaluations of the evidence, several times what the estimator's own search
    takes, and memory for `draws` fits. With many rows for a hyperparameter the average is the
    prediction of largest evidence, and not worth it.

    What the draws disagree about joins the ``parameter`` part of the variance.

    Examples
    --------
    >>> from statml.gp import RBF, GaussianProcessRegressor
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(0, 10, 12)[:, None]
    >>> y = np.sin(x[:, 0]) + 0.1 * rng.normal(size=12)
    >>> one = GaussianProcessRegressor(RBF(1.0), random_state=0)
    >>> average = AveragedGP(one, random_state=0).fit(x, y, y_err=0.1)
    >>> narrow, wide = (m.predict_dist([[5.0]]).std[0] for m in (one.fit(x, y, y_err=0.1), average))
    >>> bool(wide > narrow)
    True
    """

    def __init__(
        self, estimator: Any, *, draws: int = 24, factor: float = 10.0, random_state: Any = None
    ) -> None:
        self.estimator = estimator
        self.draws = draws
        self.factor = factor
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        X_err: Any = None,
        y_err: Any = None,
        X_cov: Any = None,
        y_cov: Any = None,
        xy_cov: Any = None,
    ) -> AveragedGP:
        """Draw hyperparameters, and condition a process on the data with each; arguments as in the estimator.

        Raises
        ------
        InputError
            A parameter that is not accepted, nothing to average over, or what the estimator raises.

        Warns
        -----
        ConvergenceWarning
            The posterior is so unlike the proposal that few draws carry all weight.
        """
        self._check_settings()
        X, y = self._training_data(X, y, X_err=X_err, y_err=y_err)
        given = {"X_err": X_err, "X_cov": X_cov, "y_err": y_err, "y_cov": y_cov, "xy_cov": xy_cov}
        errors = {name: value for name, value in given.items() if value is not None}
        rng = generator(self.random_state)

        def fitted(**settings: Any) -> Any:
            return fit_with_errors(clone(self.estimator).set_params(**settings), X, y, errors)

        found = fitted(random_state=int(rng.integers(2**31)))
        spread = float(np.std(y)) or 1.0
        # The kernel that the search began with, where the estimator chooses it by the data.
        given_kernel = fitted(optimise=False, scatter=FIRST_SCATTER * spread).kernel_
        space = _Space(given_kernel, isinstance(self.estimator.scatter, str), float(self.factor), spread)
        if not len(space.center):
            raise InputError(
                "estimator has no free hyperparameter and a known scatter; accepted is one with something to average over"
            )

        def log_posterior(point: Array) -> float:
            try:
                value = fitted(**space.settings(point), optimise=False).log_evidence_
            except InputError:  # singular
                return -np.inf
            return value + space.log_prior(point) if np.isfinite(value) else -np.inf

        mode = _largest(log_posterior, space, space.point(found.kernel_, found.scatter_))
        points, self.effective_draws_ = _draw(log_posterior, space, mode, int(self.draws), rng)
        if self.effective_draws_ < min(LEAST_EFFECTIVE, self.draws):
            warnings.warn(
                f"the average over hyperparameters rests on {self.effective_draws_:.1f} draws; give more, or fix "
                "hyperparameters that the data do not determine",
                ConvergenceWarning,
                stacklevel=2,
            )
        members = {i: fitted(**space.settings(points[i]), optimise=False) for i in _first_of_each(points)}
        self.members_ = [members[i] for i in _first_like(points)]
        best = space.settings(mode)
        self.kernel_ = best["kernel"]
        self.scatter_ = float(best.get("scatter", self.estimator.scatter))
        return self

    def predict_dist(
        self, X: Any, *, X_err: Any = None, X_cov: Any = None, y_err: Any = None, y_cov: Any = None
    ) -> GaussianMixture:
        """The mixture of the members' predictions; arguments as in the estimator.

        Returns
        -------
        GaussianMixture
            Marginal, without a joint covariance.
        """
        X = self._new_data(X, X_err=X_err, y_err=y_err)
        errors = {"X_err": X_err, "X_cov": X_cov, "y_err": y_err, "y_cov": y_cov}
        one = {id(member): member.predict_dist(X, **errors) for member in self.members_}
        parts = [one[id(member)] for member in self.members_]
        means = np.stack([part.mean for part in parts], axis=1)
        # A mixture has no exact component; where all is known a width of nothing stands for it.
        stds = np.maximum(np.stack([part.std for part in parts], axis=1), np.finfo(float).tiny)
        components = {
            name: np.mean([part.variance_components[name] for part in parts], axis=0) for name in COMPONENTS
        }
        components["parameter"] = components["parameter"] + means.var(axis=1)
        return GaussianMixture(
            np.full(len(parts), 1 / len(parts)), means, stds, variance_components=components
        )

    def _check_settings(self) -> None:
        parameters: dict[str, Any] = getattr(self.estimator, "get_params", dict)()
        if (
            not {"kernel", "scatter", "optimise", "random_state"} <= set(parameters)
            or "inducing" in parameters
        ):
            raise InputTypeError(
                f"estimator is a {type(self.estimator).__name__}; accepted are GaussianProcessRegressor and StateSpaceGP"
            )
        if parameters.get("loadings") is not None:
            raise InputError("estimator has loadings of several bands; accepted is one band")
        if not parameters["optimise"]:
            raise InputError("estimator has optimise=False; accepted is one that finds its hyperparameters")
        if not isinstance(self.draws, Integral) or self.draws < 2:
            raise InputError(f"draws is {self.draws!r}; accepted are whole numbers >= 2")
        if not (isinstance(self.factor, Real) and 1 < self.factor < np.inf):
            raise InputError(f"factor is {self.factor!r}; accepted are numbers > 1")


@dataclass(frozen=True)
class _Space:
    """Points (k,): logs of the free hyperparameters, and of the scatter where it is free."""

    kernel: Kernel
    free_scatter: bool
    factor: float
    spread: float

    @property
    def center(self) -> Array:
        return self.point(self.kernel, FIRST_SCATTER * self.spread)

    @property
    def bounds(self) -> Array:
        free = np.tile([-np.inf, np.inf], (int(self.free_scatter), 1))
        return np.concatenate([self.kernel.bounds.reshape(-1, 2), free])

    def point(self, kernel: Kernel, scatter: float) -> Array:
        return np.append(kernel.theta, np.log([scatter] * self.free_scatter))

    def settings(self, point: Array) -> dict[str, Any]:
        k = len(self.kernel.theta)
        scatter = {"scatter": float(np.exp(point[k]))} if self.free_scatter else {}
        return {"kernel": self.kernel.with_theta(point[:k]), **scatter}

    def log_prior(self, point: Array) -> float:
        k = len(self.kernel.theta)
        value = float(stats.norm.logpdf(point[:k], self.kernel.theta, np.log(self.factor)).sum())
        if self.free_scatter:
            ratio = point[k] - np.log(self.spread)
            value += 0.5 * math.log(2 / math.pi) + ratio - 0.5 * np.exp(2 * ratio)
        return value

    def prior_draws(self, uniform: Array) -> Array:
        """From uniform numbers (m, k)."""
        k = len(self.kernel.theta)
        points = stats.norm.ppf(
            uniform, np.append(self.kernel.theta, [0.0] * self.free_scatter), np.log(self.factor)
        )
        if self.free_scatter:
            points[:, k] = np.log(stats.halfnorm.ppf(uniform[:, k], scale=self.spread))
        return points


def _largest(log_posterior: Callable[[Array], float], space: _Space, start: Array) -> Array:
    """Where the posterior density is largest."""
    # A scatter of nothing is where evidence alone may end, and flat.
    if space.free_scatter:
        start = np.append(start[:-1], max(start[-1], space.center[-1] - np.log(10)))

    def loss(point: Array) -> float:
        value = log_posterior(point)
        return -value if np.isfinite(value) else UNREACHABLE

    found = optimize.minimize(
        loss,
        np.clip(start, *space.bounds.T),
        method="L-BFGS-B",
        bounds=space.bounds,
        options={"eps": SLOPE_STEP, "ftol": 1e-7, "maxiter": 100},
    )
    return found.x


def _draw(
    log_posterior: Callable[[Array], float], space: _Space, mode: Array, draws: int, rng: np.random.Generator
) -> tuple[Array, float]:
    """Points (draws, k) from the posterior, and how many the proposed ones are worth."""
    k, root = len(mode), _width(log_posterior, space, mode)
    # Even in all directions where they are a power of two.
    uniform = stats.qmc.Sobol(k + 2, rng=rng).random_base2(math.ceil(math.log2(PROPOSED * draws)))
    uniform = np.clip(uniform, 1e-9, 1 - 1e-9)
    around = mode + _t_draws(uniform[:, : k + 1]) @ root.T
    from_prior = uniform[:, k + 1 :] < PRIOR_SHARE
    points = np.where(from_prior, space.prior_draws(uniform[:, :k]), around)
    proposal = np.logaddexp(
        np.log(1 - PRIOR_SHARE) + stats.multivariate_t.logpdf(points, mode, root @ root.T, df=TAILS),
        np.log(PRIOR_SHARE) + [space.log_prior(point) for point in points],
    )
    low, high = space.bounds.T
    log_weights = -np.atleast_1d(proposal)
    for i, point in enumerate(points):
        inside = np.all((point >= low) & (point <= high))
        log_weights[i] += log_posterior(point) if inside else -np.inf
    if not np.isfinite(log_weights.max()):
        raise InputError(
            "the evidence is not finite around its maximum; accepted is a y_err or scatter > 0, or another kernel"
        )
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    # Systematic resampling: as many copies as the weight asks for, to within one.
    places = (rng.random() + np.arange(draws)) / draws
    chosen = np.minimum(np.searchsorted(np.cumsum(weights), places), len(points) - 1)
    return points[chosen], float(1 / np.sum(weights**2))


def _t_draws(uniform: Array) -> Array:
    """From uniform numbers (m, k + 1) a t of `TAILS` degrees of freedom, (m, k)."""
    return stats.norm.ppf(uniform[:, :-1]) * np.sqrt(TAILS / stats.chi2.ppf(uniform[:, -1:], TAILS))


def _width(log_posterior: Callable[[Array], float], space: _Space, mode: Array) -> Array:
    """A root of the inverse curvature at the mode, (k, k), by differences."""
    k, h = len(mode), CURVATURE_STEP
    # Steps from a bound would leave it: curvature is taken a step inside.
    low, high = space.bounds.T
    center = np.clip(mode, np.minimum(low + 2 * h, high), np.maximum(high - 2 * h, low))
    steps = h * np.eye(k)
    at = log_posterior(center)
    up, down = (np.array([log_posterior(center + sign * step) for step in steps]) for sign in (1, -1))
    H = np.diag(up + down - 2 * at) / h**2
    for i in range(k):
        for j in range(i):
            both = log_posterior(center + steps[i] + steps[j]) + log_posterior(center - steps[i] - steps[j])
            mixed = both - up[i] - down[i] - up[j] - down[j] + 2 * at
            H[i, j] = H[j, i] = mixed / (2 * h**2)
    if not np.all(np.isfinite(H)):
        H = -np.eye(k)
    values, vectors = np.linalg.eigh(-H)
    # Not wider than the prior, where the evidence is flat or curved upwards.
    return vectors / np.sqrt(np.maximum(values, 1 / np.log(space.factor) ** 2))


def _first_like(points: Array) -> list[int]:
    """For each point the index of the first that is equal to it."""
    return [int(np.flatnonzero(np.all(points == point, axis=1))[0]) for point in points]


def _first_of_each(points: Array) -> list[int]:
    return sorted(set(_first_like(points)))
