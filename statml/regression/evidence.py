r"""The conjugate posterior of linear parameters, and the evidence that comes with it.

    y = A x + e,  e ~ N(0, C),  x ~ N(m0, L0 L0^T)

With the whitened parameters u = L0^-1 (x - m0) this is least squares with unit
observations of zero stacked below the data, so one more triangular reduction of
the already reduced data gives posterior and evidence together:

    [R L0   z - R m0]        [R2  z2 ]      mean = m0 + L0 R2^-1 z2,   F = L0 R2^-1
    [  I       0    ]  = Q   [0  rho2]      log Z = log N(y; A m0, A S0 A^T + C)

Source: arXiv:2506.12230, chapter 5; MacKay (1992), Neural Computation 4, 415.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, optimize

from statml.compute import Device, namespace, spread
from statml.errors import InputError
from statml.regression.least_squares import Triangle
from statml.regression.predictive import column_moments
from statml.regression.reduction import reduce_measured
from statml.uncertainty.covariance import Covariance, DiagonalCovariance

Array = np.ndarray


@dataclass(frozen=True)
class Prior:
    """Normal prior of the parameters: mean (p,), factor L0 (p, p) with covariance L0 L0^T."""

    mean: Array
    factor: Array

    @property
    def cov(self) -> Array:
        """L0 L0^T."""
        return self.factor @ self.factor.T

    @classmethod
    def given(cls, cov: Any, mean: Any, p: int) -> Prior:
        """The prior a caller gives: covariance as a number or (p, p), mean as None, a number or (p,).

        Raises
        ------
        InputError
            Wrong shapes, or a covariance that is not positive definite.
        """
        try:
            cov = np.asarray(cov, dtype=float)
            mean = np.zeros(p) if mean is None else np.asarray(mean, dtype=float)
        except (TypeError, ValueError) as error:
            raise InputError(
                "prior_cov or prior_mean holds no numbers; accepted are numbers and arrays"
            ) from error
        mean = np.full(p, float(mean)) if mean.ndim == 0 else mean
        cov = float(cov) * np.eye(p) if cov.ndim == 0 else cov
        if mean.shape != (p,) or cov.shape != (p, p):
            raise InputError(
                f"prior_mean has shape {mean.shape} and prior_cov {cov.shape}; accepted are ({p},) and ({p}, {p}), "
                "the intercept first where one is fitted"
            )
        if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(cov))):
            raise InputError("prior_mean or prior_cov contains NaN or inf; accepted are finite values")
        try:
            return cls(mean, np.linalg.cholesky(cov))
        except np.linalg.LinAlgError as error:
            raise InputError(
                "prior_cov is not positive definite; accepted are covariance matrices"
            ) from error


@dataclass(frozen=True)
class Posterior:
    """Normal posterior: mean (p,), factor F (p, p) with covariance F F^T, and the log evidence."""

    mean: Array
    factor: Array
    log_evidence: float


@dataclass(frozen=True)
class Update:
    """Prior and whitened data put together: posterior mean, factor F, and what the evidence is made of.

    `distance` is (y - A m0)^T K^-1 (y - A m0) and `logdet` log det K, with
    K = 1 + A S0 A^T for the whitened design A.
    """

    mean: Array
    factor: Array
    distance: float
    logdet: float


def update(triangle: Triangle, prior: Prior) -> Update:
    """Add the prior to a triangle of C^-1/2 [A y]."""
    p = len(prior.mean)
    stacked = np.zeros((2 * p, p + 1))
    stacked[:p, :p] = triangle.R @ prior.factor
    stacked[:p, p] = triangle.z - triangle.R @ prior.mean
    stacked[p:, :p] = np.eye(p)
    reduced = linalg.qr(stacked, mode="r")[0]
    R, z = reduced[:p, :p], reduced[:p, p]
    left = float(reduced[p, p]) if len(reduced) > p else 0.0
    return Update(
        mean=prior.mean + prior.factor @ linalg.solve_triangular(R, z),
        factor=prior.factor @ linalg.solve_triangular(R, np.eye(p)),
        distance=left**2 + triangle.rho**2,
        logdet=2 * float(np.sum(np.log(np.abs(np.diag(R))))),
    )


def conjugate(triangle: Triangle, prior: Prior, noise_logdet: float) -> Posterior:
    """Posterior and evidence of reduced, whitened data.

    Parameters
    ----------
    triangle : Triangle
        Of C^-1/2 [A y].
    noise_logdet : float
        log det C of the rows that were reduced.
    """
    found = update(triangle, prior)
    logdet = noise_logdet + found.logdet
    return Posterior(
        mean=found.mean,
        factor=found.factor,
        log_evidence=-0.5 * (triangle.n * np.log(2 * np.pi) + logdet + found.distance),
    )


@dataclass(frozen=True)
class ScaledPrior:
    """A prior on standardised features whose one width is left to the evidence.

    The constant *at the mean of the features* is normal around the mean of y,
    `constant_width` standard deviations of y wide; each slope, per standard
    deviation of its feature, has width ``tau`` standard deviations of y.
    """

    center: Array
    scale: Array
    y_mean: float
    y_std: float
    intercept: bool
    constant_width: float = 10.0

    @classmethod
    def of(cls, X: Array, y: Array, *, intercept: bool) -> ScaledPrior:
        """Centre and scale from the training rows."""
        center, scale = column_moments(X)
        y_std = float(spread(y))
        return cls(
            center=center if intercept else np.zeros(X.shape[1]),
            scale=np.where(scale > 0, scale, 1.0),
            y_mean=float(np.mean(y)) if intercept else 0.0,
            y_std=y_std if y_std > 0 else 1.0,
            intercept=intercept,
        )

    def at(self, tau: float) -> Prior:
        """The prior in the units of X and y for one width."""
        slopes = tau * self.y_std / self.scale
        if not self.intercept:
            return Prior(np.zeros(len(slopes)), np.diag(slopes))
        factor = np.diag(np.concatenate([[self.constant_width * self.y_std], slopes]))
        # b0 = c - sum_j b_j center_j: the constant at the mean of X, moved to X = 0.
        factor[0, 1:] = -slopes * self.center
        mean = np.zeros(len(slopes) + 1)
        mean[0] = self.y_mean
        return Prior(mean, factor)


def reducer(
    X: Array, y: Array, covariance: Covariance | None, intercept: bool, device: Device
) -> Callable[[float], tuple[Triangle, float]]:
    """A function of the scatter that reduces the whitened data; once and for all where errors are equal."""
    where = namespace(device)
    variance = None if covariance is None else covariance.variance()
    diagonal = covariance is None or isinstance(covariance, DiagonalCovariance)
    if diagonal and (variance is None or np.ptp(variance) == 0):
        common = 0.0 if variance is None else float(variance[0])
        unit = reduce_measured(X, y, None, intercept=intercept, device=where)

        def rescaled(scatter: float) -> tuple[Triangle, float]:
            total = common + scatter**2
            width = np.sqrt(total)
            return Triangle(unit.R / width, unit.z / width, unit.rho / width, unit.n), unit.n * float(
                np.log(total)
            )

        return rescaled

    def reduced(scatter: float) -> tuple[Triangle, float]:
        assert covariance is not None
        total = covariance.plus_diagonal(scatter**2)
        return reduce_measured(X, y, total, intercept=intercept, device=where), total.logdet()

    return reduced


def maximise(function: Callable[[Array], float], boxes: list[Any]) -> Array:
    """Maximise a smooth function over a box from a few starts; fixed coordinates have an empty box."""
    free = [i for i, (low, high) in enumerate(boxes) if high > low]
    point = np.array([low for low, _ in boxes])
    if not free:
        return point

    def loss(values: Array) -> float:
        trial = point.copy()
        trial[free] = values
        return -function(trial)

    bounds = [tuple(boxes[i]) for i in free]
    # A weak and a strong prior; the scatter starts at a third of the spread of y.
    starts = [[0.0, np.log(0.3)], [np.log(0.05), np.log(0.3)]]
    found = [
        optimize.minimize(
            loss,
            [start[i] for i in free],
            method="L-BFGS-B",
            bounds=bounds,
            options={"ftol": 1e-5, "eps": 1e-4},
        )
        for start in starts
    ]
    # Central differences for the last steps: where the evidence is nearly flat in the scatter, those
    # of one side stop so early that adding a constant to y changed predicted widths by percents.
    best = min(found, key=lambda result: result.fun).x
    point[free] = optimize.minimize(
        loss,
        best,
        method="L-BFGS-B",
        bounds=bounds,
        jac="3-point",
        options={"ftol": 1e-13, "gtol": 1e-7},
    ).x
    return point
