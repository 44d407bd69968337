"""Predictions that follow a normal or a Student-t distribution.

Closed forms of the continuous ranked probability score: Gneiting & Raftery
(2007) for the normal, Jordan, Krueger & Lerch (2019) for Student's t.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special, stats

from statml.compute import generator
from statml.errors import InputError
from statml.uncertainty.covariance import Covariance
from statml.uncertainty.distributions import (
    PredictiveDistribution,
    as_components,
    join_components,
    log_density,
    pick_components,
    rows,
    spread,
    standardised,
    times_quantile,
)

Array = np.ndarray


class Gaussian(PredictiveDistribution):
    """Normal predictions.

    Parameters
    ----------
    mean, std : array (n,)
        Means and standard deviations; `std` may be 0 (a point).
    variance_components, cov
        See `PredictiveDistribution`.

    Examples
    --------
    >>> p = Gaussian([0.0, 1.0], [1.0, 2.0])
    >>> [round(float(v), 3) for v in p.interval(0.95)[1]]
    [1.96, 4.92]
    """

    def __init__(
        self,
        mean: Any,
        std: Any,
        *,
        variance_components: Mapping[str, Any] | None = None,
        cov: Covariance | None = None,
    ) -> None:
        self._mean = np.asarray(mean, float)
        self._std = spread("std", std, self._mean.shape)
        self.variance_components = as_components(variance_components, len(self))
        self.cov = cov

    def __len__(self) -> int:
        return len(self._mean)

    def __getitem__(self, key: Any) -> Gaussian:
        key = rows(key, len(self))
        return Gaussian(
            self._mean[key],
            self._std[key],
            variance_components=pick_components(self.variance_components, key),
            cov=None if self.cov is None else self.cov[key],
        )

    @property
    def mean(self) -> Array:
        return self._mean

    @property
    def std(self) -> Array:
        return self._std

    def cdf(self, y: Any) -> Array:
        z = standardised(y, self._mean, self._std)
        return np.where(self._std > 0, special.ndtr(z), z >= 0)

    def ppf(self, probability: Any) -> Array:
        return self._mean + times_quantile(self._std, special.ndtri(probability))

    def log_prob(self, y: Any) -> Array:
        z = standardised(y, self._mean, self._std)
        return log_density(stats.norm.logpdf(z), self._std)

    def joint_log_prob(self, y: Any) -> float:
        if self.cov is None:
            return super().joint_log_prob(y)
        residual = np.asarray(y, float) - self._mean
        return -0.5 * (self.cov.mahalanobis(residual) + self.cov.logdet() + len(residual) * np.log(2 * np.pi))

    def crps(self, y: Any) -> Array:
        z = standardised(y, self._mean, self._std)
        score = z * (2 * special.ndtr(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi)
        with np.errstate(invalid="ignore"):
            return np.where(self._std > 0, self._std * score, np.abs(np.asarray(y) - self._mean))

    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        if self.cov is not None:
            return self._mean + self.cov.sample(size, rng=rng)
        return self._mean + self._std * generator(rng).standard_normal((size, len(self)))

    @classmethod
    def _join(cls, parts: Sequence[Gaussian]) -> Gaussian:
        mean = np.concatenate([part.mean for part in parts])
        std = np.concatenate([part.std for part in parts])
        return cls(mean, std, variance_components=join_components(parts))


class StudentT(PredictiveDistribution):
    """Student-t predictions: what a fitted noise level, or heavy tails, give.

    Parameters
    ----------
    loc, scale : array (n,)
        Location and scale; the variance is ``scale**2 * df / (df - 2)``, infinite for df <= 2.
    df : float or array (n,)
        Degrees of freedom.
    scale_cov : Covariance, optional
        Joint scale matrix (the covariance is its ``df / (df - 2)``-fold); needs one common df.
    """

    def __init__(
        self,
        loc: Any,
        scale: Any,
        df: Any,
        *,
        variance_components: Mapping[str, Any] | None = None,
        scale_cov: Covariance | None = None,
    ) -> None:
        self.loc = np.asarray(loc, float)
        self.scale = spread("scale", scale, self.loc.shape)
        self.df = np.broadcast_to(np.asarray(df, float), self.loc.shape)
        if not np.all(self.df > 0):
            raise InputError(f"df has the value {np.min(self.df)}; accepted are values > 0")
        if scale_cov is not None and np.ptp(self.df) > 0:
            raise InputError("scale_cov is given and df varies; accepted with a joint scale is one common df")
        self.variance_components = as_components(variance_components, len(self))
        self.scale_cov = scale_cov

    def __len__(self) -> int:
        return len(self.loc)

    def __getitem__(self, key: Any) -> StudentT:
        key = rows(key, len(self))
        return StudentT(
            self.loc[key],
            self.scale[key],
            self.df[key],
            variance_components=pick_components(self.variance_components, key),
            scale_cov=None if self.scale_cov is None else self.scale_cov[key],
        )

    @property
    def cov(self) -> Covariance | None:  # type: ignore[override]
        """Joint covariance, ``df / (df - 2)`` times `scale_cov`; None where there is none or df <= 2."""
        if self.scale_cov is None or len(self) == 0 or self.df[0] <= 2:
            return None
        return self.scale_cov.times(float(variance_inflation(self.df[0])))

    @property
    def mean(self) -> Array:
        return self.loc

    @property
    def std(self) -> Array:
        return self.scale * np.sqrt(variance_inflation(self.df))

    def cdf(self, y: Any) -> Array:
        z = standardised(y, self.loc, self.scale)
        return np.where(self.scale > 0, stats.t.cdf(z, self.df), z >= 0)

    def ppf(self, probability: Any) -> Array:
        return self.loc + times_quantile(self.scale, stats.t.ppf(probability, self.df))

    def log_prob(self, y: Any) -> Array:
        z = standardised(y, self.loc, self.scale)
        return log_density(stats.t.logpdf(z, self.df), self.scale)

    def joint_log_prob(self, y: Any) -> float:
        if self.scale_cov is None:
            return super().joint_log_prob(y)
        n, df = len(self), self.df[0]
        distance = self.scale_cov.mahalanobis(np.asarray(y, float) - self.loc)
        return float(
            special.gammaln((df + n) / 2)
            - special.gammaln(df / 2)
            - 0.5 * (n * np.log(df * np.pi) + self.scale_cov.logdet() + (df + n) * np.log1p(distance / df))
        )

    def crps(self, y: Any) -> Array:
        z = standardised(y, self.loc, self.scale)
        df = self.df
        with np.errstate(divide="ignore", invalid="ignore"):
            score = (
                z * (2 * stats.t.cdf(z, df) - 1)
                + 2 * stats.t.pdf(z, df) * (df + z**2) / (df - 1)
                - 2
                * np.sqrt(df)
                / (df - 1)
                * np.exp(special.betaln(0.5, df - 0.5) - 2 * special.betaln(0.5, df / 2))
            )
            spread_out = np.where(df > 1, self.scale * score, np.inf)
        return np.where(self.scale > 0, spread_out, np.abs(np.asarray(y) - self.loc))

    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        rng = generator(rng)
        if self.scale_cov is None:
            return self.loc + self.scale * rng.standard_t(self.df, (size, len(self)))
        shrink = np.sqrt(rng.chisquare(self.df[0], size) / self.df[0])
        return self.loc + self.scale_cov.sample(size, rng=rng) / shrink[:, None]

    @classmethod
    def _join(cls, parts: Sequence[StudentT]) -> StudentT:
        stacked = [np.concatenate([getattr(part, name) for part in parts]) for name in ("loc", "scale", "df")]
        return cls(*stacked, variance_components=join_components(parts))


def variance_inflation(df: Any) -> Array:
    """Variance of a Student t over its squared scale: df / (df - 2), infinite for df <= 2."""
    df = np.asarray(df, float)
    return np.where(df > 2, df / np.where(df > 2, df - 2, 1), np.inf)
