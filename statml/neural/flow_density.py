r"""Densities of several columns by a normalizing flow.

    log p(x) = log N(T(x); 0, 1) + log |det dT/dx|

T is a chain of couplings or autoregressive maps (`statml.neural.flows`) behind a map of
bounded columns onto the line and a standardisation. Rows measured with errors see the
density convolved with them,

    p(x_obs) = E_e [p(x_obs - e)],   e ~ N(0, X_err^2)

an average over draws, so that fitted is the density of the true x. Its logarithm in the
loss is a lower bound: tight for errors below the structure of p, too wide a density for
larger ones, where `statml.mixture.ExtremeDeconvolution` has the integral in closed form.

References: Papamakarios et al. (2021, J. Mach. Learn. Res. 22, 57); arXiv:2506.12230, chapter 17.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from statml.compute import generator, spread
from statml.errors import InputError
from statml.neural.conditional_density import drawn_errors, error_factors, settings_for
from statml.neural.flows import (
    Affine,
    Flow,
    Monotone,
    Spline,
    Standardisation,
    Support,
    autoregressive_flow,
    coupling_flow,
)
from statml.neural.training import History, Training, isolated_random, train
from statml.uncertainty.contract import one_sentence
from statml.uncertainty.measurement import feature_covariance, refuse_quantities
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray
BLOCK_ROWS = 16_384


class FlowDensity(DensityMixin, BaseEstimator):
    """A density of rows, learned as an invertible map to a normal.

    Parameters
    ----------
    kind : {"coupling", "autoregressive"}
        Couplings draw as fast as they evaluate; autoregressive maps bend more in a layer and draw
        one column at a time. A single column is always autoregressive.
    family : {"spline", "affine"}
        What moves a column: a rational-quadratic spline, or a shift and scale.
    layers : int
        Couplings or autoregressive maps.
    hidden : sequence of int
        Widths of each network's layers.
    low, high : float or array (d,), optional
        Bounds of the columns, outside which the density is zero.
    training : Training, optional
        By default at most 200 epochs, a tenth of the rows for validation, patience of 30.
    input_draws : int
        Draws of the true x in the likelihood, where X has errors.
    random_state : int, Generator or None

    Attributes
    ----------
    flow_ : Flow
    history_ : History

    See Also
    --------
    statml.mixture.ExtremeDeconvolution : normals behind errors of any size, and gaps.

    Examples
    --------
    >>> from statml.neural import Training
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=1000)
    >>> X = np.column_stack([x, x**2 + 0.3 * rng.normal(size=1000)])
    >>> settings = Training(epochs=40, learning_rate=0.005)
    >>> flow = FlowDensity(layers=2, hidden=(32,), training=settings, random_state=0).fit(X)
    >>> bool(flow.score_samples([[1.5, 2.25]])[0] > flow.score_samples([[0.0, 2.25]])[0] + 2)
    True
    """

    default_training: ClassVar[Training] = Training(
        epochs=200, batch_size=256, learning_rate=2e-3, validation=0.1, patience=30, clip=5.0
    )

    def __init__(
        self,
        *,
        kind: Literal["coupling", "autoregressive"] = "coupling",
        family: Literal["spline", "affine"] = "spline",
        layers: int = 4,
        hidden: Sequence[int] = (64, 64),
        low: Any = None,
        high: Any = None,
        training: Training | None = None,
        input_draws: int = 16,
        random_state: Any = None,
    ) -> None:
        self.kind = kind
        self.family = family
        self.layers = layers
        self.hidden = hidden
        self.low = low
        self.high = high
        self.training = training
        self.input_draws = input_draws
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, X_err: Any = None, X_cov: Any = None) -> FlowDensity:
        """Train the flow by maximum likelihood.

        Parameters
        ----------
        X : array (n, d)
        y : None
            Not used.
        X_err, X_cov : float, array (n, d) or CovarianceStack, optional
            Errors of X; the density is then that of the true x. Refused with bounds, since a
            measured value may lie where no true one can.

        Raises
        ------
        InputError
            A parameter, a value outside the bounds, or an error that is not accepted.
        """
        family = self._checked_family()
        settings = settings_for(self, self.default_training)
        X = self._rows(X, fit=True, X_err=X_err, X_cov=X_cov)
        n, d = X.shape
        if n < 2:
            raise InputError(f"n_samples={n} is too few to train a flow; accepted are 2 or more")
        support, inner = self._support(X)
        scale = spread(inner)
        before = [*support, Standardisation(inner.mean(axis=0), np.where(scale > 0, scale, 1.0))]
        data = [torch.from_numpy(X.astype(np.float32))]
        stack = feature_covariance(n, d, X_err, X_cov)
        if stack is not None and support:
            raise InputError("X_err is given and so are bounds; accepted is one of them")
        if stack is not None:
            data.append(torch.from_numpy(error_factors(stack, np.ones(d)).astype(np.float32)))
        rng = generator(self.random_state)
        with isolated_random(int(rng.integers(2**62))):
            build = coupling_flow if self.kind == "coupling" and d > 1 else autoregressive_flow
            flow = build(d, family, layers=self.layers, hidden=tuple(self.hidden), before=before)
        loss = _Loss(int(self.input_draws))
        self.history_: History = train(flow, loss, data, settings=settings.for_rows(n), rng=rng)
        self.flow_: Flow = flow.cpu().double().eval()
        return self

    def score_samples(self, X: Any, *, X_err: Any = None, X_cov: Any = None, rng: Any = 0) -> Array:
        """Log density of each row, shape (n,); -inf outside the bounds.

        With `X_err` or `X_cov`, that of the measured rows: the mean of the density over 256 draws
        of the errors, from `rng`.
        """
        X = self._rows(X, X_err=X_err, X_cov=X_cov)
        stack = feature_covariance(X.shape[0], X.shape[1], X_err, X_cov)
        if stack is None:
            return self._log_prob(X)
        return _convolved(self._log_prob, X, stack, 256, generator(rng))

    def score(self, X: Any, y: Any = None, *, X_err: Any = None) -> float:
        """Mean log density of a row."""
        return float(np.mean(self.score_samples(X, X_err=X_err)))

    def sample(self, n_samples: int = 1, *, rng: Any = None) -> Array:
        """Draws from the density, shape (n_samples, d)."""
        check_is_fitted(self)
        return self.flow_.sample(n_samples, rng=rng).numpy()

    def to_normal(self, X: Any) -> Array:
        """The z that each row stands for, shape (n, d): standard normal for rows from the density."""
        with torch.no_grad():
            return self.flow_(torch.from_numpy(self._rows(X)))[0].numpy()

    def _log_prob(self, X: Array) -> Array:
        blocks = (torch.from_numpy(X[low : low + BLOCK_ROWS]) for low in range(0, len(X), BLOCK_ROWS))
        with torch.no_grad():
            return np.concatenate([self.flow_.log_prob(block).numpy() for block in blocks])

    def _rows(self, X: Any, *, fit: bool = False, **errors: Any) -> Array:
        if not fit:
            check_is_fitted(self)
        refuse_quantities(X=X, **errors)
        with one_sentence():
            return validate_data(self, X, reset=fit, dtype=np.float64)

    def _checked_family(self) -> Monotone:
        families = {"spline": Spline(), "affine": Affine()}
        if self.kind not in ("coupling", "autoregressive"):
            raise InputError(f"kind is {self.kind!r}; accepted are 'coupling' and 'autoregressive'")
        if self.family not in families:
            raise InputError(f"family is {self.family!r}; accepted are 'spline' and 'affine'")
        if not isinstance(self.layers, int | np.integer) or self.layers < 1:
            raise InputError(f"layers is {self.layers!r}; accepted is an int >= 1")
        return families[self.family]

    def _support(self, X: Array) -> tuple[list[Support], Array]:
        """The map from the bounds to the line, if there are any, and where it takes the rows."""
        if self.low is None and self.high is None:
            return [], X
        d = X.shape[1]
        low = np.broadcast_to(np.asarray(-np.inf if self.low is None else self.low, float), (d,))
        high = np.broadcast_to(np.asarray(np.inf if self.high is None else self.high, float), (d,))
        outside = np.flatnonzero(np.any((low >= X) | (high <= X), axis=0))
        if len(outside):
            j = outside[0]
            raise InputError(
                f"column {j} of X has a value outside ({low[j]}, {high[j]}); accepted are rows inside"
            )
        support = Support(low.copy(), high.copy())
        return [support], deepcopy(support).double()(torch.from_numpy(X))[0].numpy()


class _Loss:
    """Minus the mean log density of a batch, averaged over draws of the true x where x has errors."""

    def __init__(self, draws: int) -> None:
        self.draws = draws

    def __call__(self, module: Any, batch: tuple[Tensor, ...], random: torch.Generator) -> Tensor:
        x, *factors = batch
        if not factors:
            return -module.log_prob(x).mean()
        true = (x - drawn_errors(factors[0], self.draws, random)).flatten(0, 1)
        single = module.log_prob(true).unflatten(0, (self.draws, -1))
        return -torch.logsumexp(single, dim=0).mean() + np.log(self.draws)


def _convolved(
    log_density: Any, X: Array, stack: CovarianceStack, draws: int, rng: np.random.Generator
) -> Array:
    """Log of the mean density at X - e over draws of the errors e."""
    factors = torch.from_numpy(error_factors(stack, np.ones(X.shape[1])))
    random = torch.Generator().manual_seed(int(rng.integers(2**62)))
    total = np.full(len(X), -np.inf)
    for _ in range(0, draws, 16):
        for e in drawn_errors(factors, 16, random).numpy():
            total = np.logaddexp(total, log_density(X - e))
    return total - np.log(draws)
