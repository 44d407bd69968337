"""Split conformal recalibration: intervals that cover, whatever the model got wrong.

A model is fitted on one part of the rows; on the other part the ranks
u = F(y) of the measured values among its own predictions are collected. If the
new rows come from the same population, the next rank falls below the k-th
smallest of n with probability k / (n + 1), whatever F is. `Recalibrated` passes
the probabilities of every prediction through that map, so that all its central
intervals hold on average over new rows. It cannot make them hold in every
corner of feature space: that is what a good model is for.

References: Vovk et al. (2005), Algorithmic Learning in a Random World; Lei et al.
(2018), JASA 113, 1094; Kuleshov, Fenner & Ermon (2018), ICML.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.base import MetaEstimatorMixin, clone
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit
from sklearn.utils.validation import check_is_fitted

from statml.compute import generator
from statml.errors import InputError
from statml.uncertainty.calibration import pit
from statml.uncertainty.contract import DistributionRegressor
from statml.uncertainty.cross_validation import FIT_ERRORS, fit_with_errors, predict_dist, take_rows
from statml.uncertainty.distributions import COMPONENTS, PredictiveDistribution, rows
from statml.uncertainty.measurement import target_covariance

Array = np.ndarray

INNERMOST = float(np.finfo(float).eps)
# Where F* is tabulated for its moments: dense in the middle, out to 500 widths of the base.
STEP = 0.05
_T = STEP * np.arange(-140, 141)
GRID = np.sinh(_T)


class Recalibrated(PredictiveDistribution):
    """Predictions whose probabilities are passed through a monotone map: F*(y) = G(F(y)).

    Parameters
    ----------
    base : PredictiveDistribution
        What the model said, n predictions.
    ranks : array (m,) or list of them
        Calibration ranks u = F(y), each between 0 and 1; G takes the k-th
        smallest to k / (m + 1) and is linear in between.
    which : array (n,) of int, optional
        Which of several sets of ranks belongs to each prediction.

    Notes
    -----
    Mean, standard deviation and CRPS are sums over a table of F*, the CRPS exact
    to about one part in a thousand; the variance components keep the proportions
    of `base`. `log_prob` takes the slope of G over about sqrt(m) ranks.
    """

    def __init__(self, base: PredictiveDistribution, ranks: Any, which: Array | None = None) -> None:
        self.base = base
        self._maps = [np.sort(np.asarray(r, float)) for r in (ranks if isinstance(ranks, list) else [ranks])]
        self._which = np.zeros(len(base), int) if which is None else which

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, key: Any) -> Recalibrated:
        key = rows(key, len(self))
        return Recalibrated(self.base[key], self._maps, self._which[key])

    @property
    def mean(self) -> Array:
        return self._moments[0]

    @property
    def std(self) -> Array:
        return self._moments[1]

    @property
    def variance_components(self) -> dict[str, Array]:  # type: ignore[override]
        """The components of `base`, scaled together to the recalibrated variance."""
        if not self.base.variance_components:
            return {}
        factor = self.std**2 / np.sum([self.base.variance_components[name] for name in COMPONENTS], axis=0)
        return {name: factor * self.base.variance_components[name] for name in COMPONENTS}

    def cdf(self, y: Any) -> Array:
        return self._through(self.base.cdf(y), forward=True)

    def ppf(self, probability: Any) -> Array:
        probability = np.broadcast_to(np.asarray(probability, float), (len(self),))
        mapped = self._through(probability, forward=False)
        # A calibration rank of 1 - 1e-16 must not round an inner quantile to infinity.
        inner = (probability > 0) & (probability < 1)
        return self.base.ppf(np.where(inner, np.clip(mapped, INNERMOST, 1 - INNERMOST), mapped))

    def log_prob(self, y: Any) -> Array:
        u = self.base.cdf(y)
        slope = np.empty(len(self))
        for number, ranks in enumerate(self._maps):
            here = self._which == number
            # The slope between single ranks is noise: take it over about sqrt(m) of them.
            knots, levels = _knots(ranks, step=int(np.sqrt(len(ranks))))
            bin_ = np.clip(np.searchsorted(knots, u[here], side="right") - 1, 0, len(knots) - 2)
            slope[here] = (np.diff(levels) / np.diff(knots))[bin_]
        return self.base.log_prob(y) + np.log(slope)

    def crps(self, y: Any) -> Array:
        nodes, levels = self._table
        low, high, mass = nodes[:-1], nodes[1:], np.diff(levels, axis=0)
        y = np.asarray(y, float)
        # E|X - y| of a uniform cell: the distance of its middle, or of both its parts if y is inside.
        inside = (low < y) & (y < high)
        width = np.where(high > low, high - low, 1.0)
        distance = np.where(
            inside, ((y - low) ** 2 + (high - y) ** 2) / (2 * width), np.abs(0.5 * (low + high) - y)
        )
        first, last = levels[:-1], levels[1:]
        # Half of E|X - X'| is the integral of F (1 - F).
        pair = (high - low) * (0.5 * (first + last) - (first**2 + first * last + last**2) / 3)
        ends = levels[0] * np.abs(nodes[0] - y) + (1 - levels[-1]) * np.abs(nodes[-1] - y)
        return np.sum(mass * distance - pair, axis=0) + ends

    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        uniform = generator(rng).random((size, len(self)))
        return np.array([self.ppf(row) for row in uniform])

    @classmethod
    def _join(cls, parts: Sequence[Recalibrated]) -> Recalibrated:
        counts = np.cumsum([0] + [len(part._maps) for part in parts])
        which = np.concatenate([part._which + first for part, first in zip(parts, counts)])
        maps = [ranks for part in parts for ranks in part._maps]
        return cls(PredictiveDistribution.concatenate([part.base for part in parts]), maps, which)

    def _through(self, probability: Array, *, forward: bool) -> Array:
        result = np.empty(len(self))
        for number, ranks in enumerate(self._maps):
            here = self._which == number
            knots, levels = _knots(ranks)
            result[here] = np.interp(probability[here], *((knots, levels) if forward else (levels, knots)))
        return result

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        """Values (J, n) and F* there; what lies beyond the ends is put on them."""
        center = self.base.ppf(0.5)
        width = 0.5 * (self.base.ppf(0.84) - self.base.ppf(0.16))
        nodes = center + GRID[:, None] * width
        return nodes, np.array([self.cdf(row) for row in nodes])

    @cached_property
    def _moments(self) -> tuple[Array, Array]:
        """Trapezoid sums over t, y = c + w sinh(t), of the distance of F* from a step at c.

        E(Y - c) = int (H - F*) dy and E(Y - c)^2 = int 2 (y - c) (H - F*) dy; the corner
        of the second integrand at the step leaves the Euler-Maclaurin term w^2 h^2 / 6.
        """
        nodes, levels = self._table
        center = nodes[len(GRID) // 2]
        width = nodes[len(GRID) // 2 + 1] - center
        width = width / GRID[len(GRID) // 2 + 1]
        excess = np.heaviside(GRID, 0.5)[:, None] - levels
        weight = STEP * np.cosh(_T)
        shift = width * (weight @ excess)
        square = width**2 * (2 * (weight * GRID) @ excess + STEP**2 / 6)
        return center + shift, np.sqrt(np.maximum(square - shift**2, 0))


def _knots(ranks: Array, step: int = 1) -> tuple[Array, Array]:
    """Where G bends, at every `step`-th rank, and the probabilities it takes them to."""
    chosen = np.arange(step // 2, len(ranks), step)
    inside = ranks[chosen]
    levels = (chosen + 1) / (len(ranks) + 1)
    # Ranks that agree to rounding, or lie at an end, would make G jump.
    keep = (np.diff(inside, prepend=0.0) > 1e-12) & (inside < 1 - 1e-12)
    return np.concatenate([[0.0], inside[keep], [1.0]]), np.concatenate([[0.0], levels[keep], [1.0]])


class ConformalRegressor(MetaEstimatorMixin, DistributionRegressor):
    """Any estimator with `predict_dist`, recalibrated on rows it was not fitted on.

    Parameters
    ----------
    estimator : estimator
        With `predict_dist`, or a pipeline that ends in one.
    calibration_size : int or float
        Rows (or their fraction) kept for calibration.
    random_state : int, Generator or None
        Draws the calibration rows.

    Attributes
    ----------
    estimator_ : estimator
        Fitted on the other rows.
    calibration_pit_ : array (m,)
        Ranks of the calibration values.

    Notes
    -----
    The coverage is that of the *observed* y with errors like those of the
    training rows; predictions of the true y go through the same map without that
    guarantee.

    Examples
    --------
    >>> import numpy as np
    >>> from statml.regression import LinearRegression
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(4000, 1))
    >>> y = X[:, 0] + rng.standard_t(2.5, size=4000)  # heavy tails the model knows nothing of
    >>> model = ConformalRegressor(LinearRegression(), random_state=0).fit(X[:2000], y[:2000])
    >>> low, high = model.predict_dist(X[2000:]).interval(0.68)
    >>> bool(abs(np.mean((low < y[2000:]) & (y[2000:] < high)) - 0.68) < 0.05)
    True
    """

    def __init__(
        self, estimator: Any, *, calibration_size: int | float = 0.3, random_state: Any = None
    ) -> None:
        self.estimator = estimator
        self.calibration_size = calibration_size
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
        groups: Any = None,
    ) -> ConformalRegressor:
        """Fit on one part of the rows, rank the other.

        Parameters
        ----------
        X, y, X_err, y_err, X_cov, y_cov, xy_cov
            As in the estimator; errors are cut with the rows.
        groups : array (n,), optional
            Rows of one group (observations of one star) stay on one side.

        Returns
        -------
        self

        Raises
        ------
        InputError
            A part would be empty.
        """
        X, y = self._training_data(X, y, X_err=X_err, y_err=y_err)
        given = dict(zip(FIT_ERRORS, (X_err, X_cov, y_err, y_cov, xy_cov)))
        errors = {name: value for name, value in given.items() if value is not None}
        covariance = target_covariance(len(y), y_err, y_cov)
        if covariance is not None:
            # A value without information has no rank.
            informative = np.flatnonzero(np.isfinite(covariance.variance()))
            errors = take_rows(errors, informative, len(y))
            X, y = X[informative], y[informative]
            groups = None if groups is None else np.asarray(groups)[informative]
        train, held_out = self._split(X, groups)
        self.estimator_ = fit_with_errors(
            clone(self.estimator), X[train], y[train], take_rows(errors, train, len(y))
        )
        held_errors = take_rows(errors, held_out, len(y))
        held_errors.pop("xy_cov", None)
        prediction = predict_dist(self.estimator_, X[held_out], **held_errors)
        self.calibration_pit_ = np.sort(pit(prediction, y[held_out]))
        return self

    def _split(self, X: Array, groups: Any) -> tuple[Array, Array]:
        size = self.calibration_size
        fraction = isinstance(size, float)
        if not (0 < size < (1 if fraction else len(X))):
            raise InputError(
                f"calibration_size is {size!r} and n_samples={len(X)}; accepted is a fraction between 0 and 1, "
                "or a number of rows that leaves some to fit"
            )
        if len(X) < 2:
            raise InputError(
                f"n_samples={len(X)} is too few; accepted are at least 2, to fit and to calibrate"
            )
        seed = int(generator(self.random_state).integers(2**31))
        if groups is None:
            return next(ShuffleSplit(1, test_size=size, random_state=seed).split(X))
        return next(GroupShuffleSplit(1, test_size=size, random_state=seed).split(X, groups=groups))

    def predict_dist(
        self, X: Any, *, X_err: Any = None, X_cov: Any = None, y_err: Any = None, y_cov: Any = None
    ) -> Recalibrated:
        """Recalibrated predictive distribution; arguments as in the estimator."""
        check_is_fitted(self, "estimator_")
        X = self._new_data(X, X_err=X_err, y_err=y_err)
        base = predict_dist(self.estimator_, X, X_err=X_err, X_cov=X_cov, y_err=y_err, y_cov=y_cov)
        return Recalibrated(base, self.calibration_pit_)
