"""Predictions that are mixtures of normals.

The closed form of the continuous ranked probability score is that of Grimit et
al. (2006).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special, stats
from scipy.optimize import elementwise

from statml.compute import generator
from statml.errors import InputError
from statml.uncertainty.distributions import (
    PredictiveDistribution,
    as_components,
    join_components,
    pick_components,
    rows,
    times_quantile,
)

Array = np.ndarray


class GaussianMixture(PredictiveDistribution):
    """Mixtures of K normals: heavy-tailed scatter with Gaussian errors on top, ensembles, outliers.

    Parameters
    ----------
    weights : array (K,) or (n, K)
        Weights of the components, each row summing to 1.
    means, stds : array (n, K)
        Means and (positive) standard deviations of the components.
    """

    def __init__(
        self, weights: Any, means: Any, stds: Any, *, variance_components: Mapping[str, Any] | None = None
    ) -> None:
        self.stds = np.asarray(stds, float)
        if self.stds.ndim != 2 or not np.all(self.stds > 0):
            raise InputError(f"stds has shape {self.stds.shape}; accepted is (n, K) with positive values")
        self.means = np.broadcast_to(np.asarray(means, float), self.stds.shape)
        self.weights = np.broadcast_to(np.asarray(weights, float), self.stds.shape)
        if not np.all(self.weights >= 0) or not np.all(np.abs(self.weights.sum(axis=1) - 1) <= 1e-8):
            raise InputError("weights must be non-negative and sum to 1 in every row")
        self.variance_components = as_components(variance_components, len(self))

    def __len__(self) -> int:
        return len(self.stds)

    def __getitem__(self, key: Any) -> GaussianMixture:
        key = rows(key, len(self))
        return GaussianMixture(
            self.weights[key],
            self.means[key],
            self.stds[key],
            variance_components=pick_components(self.variance_components, key),
        )

    @property
    def mean(self) -> Array:
        return np.sum(self.weights * self.means, axis=1)

    @property
    def std(self) -> Array:
        spread = self.means - self.mean[:, None]
        return np.sqrt(np.sum(self.weights * (self.stds**2 + spread**2), axis=1))

    def cdf(self, y: Any) -> Array:
        z = (np.asarray(y, float)[..., None] - self.means) / self.stds
        return np.sum(self.weights * special.ndtr(z), axis=-1)

    def ppf(self, probability: Any) -> Array:
        probability = np.broadcast_to(np.asarray(probability, float), (len(self),))
        # The quantile lies between the smallest and the largest of the components' quantiles.
        own = self.means + times_quantile(self.stds, special.ndtri(probability)[:, None])
        low, high = own.min(axis=1), own.max(axis=1)
        solution = low.copy()
        open_rows = (high > low) & np.isfinite(low) & np.isfinite(high)
        if np.any(open_rows):
            row = np.flatnonzero(open_rows)
            pad = 1e-9 * (high[row] - low[row])

            def excess(y: Array, row: Array, target: Array) -> Array:
                z = (y[..., None] - self.means[row]) / self.stds[row]
                return np.sum(self.weights[row] * special.ndtr(z), axis=-1) - target

            found = elementwise.find_root(
                excess, (low[row] - pad, high[row] + pad), args=(row, probability[row])
            )
            # Where rounding hides the sign change, the quantile is the end of the bracket.
            above = excess(high[row], row, probability[row]) < 0
            solution[row] = np.where(found.success, found.x, np.where(above, high[row], low[row]))
        return solution

    def log_prob(self, y: Any) -> Array:
        single = stats.norm.logpdf(np.asarray(y, float)[..., None], self.means, self.stds)
        with np.errstate(divide="ignore"):
            return special.logsumexp(single + np.log(self.weights), axis=-1)

    def crps(self, y: Any) -> Array:
        distance = np.asarray(y, float)[..., None] - self.means
        near = np.sum(self.weights * _mean_distance(distance, self.stds), axis=1)
        # Half of the mean distance of two draws; each pair of components is met once, and each with itself.
        pair = np.sum(self.weights**2 * self.stds, axis=1) / np.sqrt(np.pi)
        for k in range(1, self.stds.shape[1]):
            gap = self.means[:, :k] - self.means[:, k, None]
            width = np.hypot(self.stds[:, :k], self.stds[:, k, None])
            pair += self.weights[:, k] * np.sum(self.weights[:, :k] * _mean_distance(gap, width), axis=1)
        with np.errstate(invalid="ignore"):
            return np.where(np.isinf(near), np.inf, near - pair)

    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        rng = generator(rng)
        edges = np.cumsum(self.weights, axis=1)
        uniform = rng.random((size, len(self), 1)) * edges[:, -1:]
        component = np.sum(uniform > edges, axis=-1)
        row = np.arange(len(self))
        normal = rng.standard_normal((size, len(self)))
        return self.means[row, component] + self.stds[row, component] * normal

    @classmethod
    def _join(cls, parts: Sequence[GaussianMixture]) -> GaussianMixture:
        stacked = [
            np.concatenate([getattr(part, name) for part in parts]) for name in ("weights", "means", "stds")
        ]
        return cls(*stacked, variance_components=join_components(parts))


def _mean_distance(mean: Array, std: Array) -> Array:
    """E|Z| of a normal variable with this mean and standard deviation."""
    z = mean / std
    return mean * special.erf(np.sqrt(0.5) * z) + np.sqrt(2 / np.pi) * std * np.exp(-0.5 * z**2)


def student_as_normals(df: float) -> tuple[Array, Array]:
    """A Student t as a mixture of normals: t = sum_k weights_k N(0, scale^2 / precisions_k).

    The precision lambda follows Gamma(df / 2, rate df / 2); the sum is a trapezoid
    sum in log lambda, which converges exponentially. What is added to a t, a
    normal error say, is then added to the variance of every component.

    Returns
    -------
    weights, precisions : arrays (K,)

    Examples
    --------
    >>> weights, precisions = student_as_normals(5.0)
    >>> round(float(np.sum(weights / precisions)), 6)  # the variance, df / (df - 2)
    1.666667
    """
    half = 0.5 * df
    # Far enough down that the variance of a t with df just above two is all there.
    low = min(-36 / half, float(np.log(stats.gamma.ppf(1e-15, half, scale=1 / half))))
    high = float(np.log(stats.gamma.isf(1e-15, half, scale=1 / half)))
    log_precision = np.linspace(low, high, max(64, int((high - low) / 0.4)))
    log_weight = half * (log_precision - np.exp(log_precision))
    weights = np.exp(log_weight - np.max(log_weight))
    return weights / weights.sum(), np.exp(log_precision)
