"""Measured rows in units of their own spread, and slopes to start a search from.

Searching in standardised coordinates makes steps and tolerances independent of the
units of the data; the answer is carried back at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from statml.errors import InputError
from statml.regression.errors_in_variables.method import Measured

Array = np.ndarray

# Directions in which chi2 is looked at before the search, and how many of random ones start one.
N_DIRECTIONS, N_KEPT = 64, 3
# What a variance of zero counts as there, in units of the spread.
LEAST_VARIANCE = 1e-24


@dataclass(frozen=True)
class Standardised:
    """(x - x0) / sx and (y - y0) / sy with their covariances; x0 and y0 are 0 for lines without a constant."""

    X: Array
    y: Array
    X_cov: Array
    y_var: Array
    xy_cov: Array
    intercept: bool
    X_center: Array
    y_center: float
    X_scale: Array
    y_scale: float

    @classmethod
    def of(cls, rows: Measured) -> Standardised:
        """Centre and scale; a missing y_var counts as zero."""
        first = bool(rows.intercept)
        X_center = rows.X.mean(axis=0) if first else np.zeros(rows.X.shape[1])
        y_center = float(rows.y.mean()) if first else 0.0
        X, y = rows.X - X_center, rows.y - y_center
        X_scale, y_scale = np.sqrt(np.mean(X**2, axis=0)), float(np.sqrt(np.mean(y**2)))
        if np.any(X_scale <= 32 * np.finfo(float).eps * np.abs(X_center)):
            column = int(np.argmin(X_scale))
            raise InputError(
                f"X does not vary in column {column}, so its slope is not determined; drop it; "
                "accepted are features that vary"
            )
        y_scale = y_scale if y_scale > 0 else 1.0
        y_var = np.zeros(len(y)) if rows.y_var is None else rows.y_var
        return cls(
            X / X_scale,
            y / y_scale,
            rows.X_cov / (X_scale[:, None] * X_scale),
            y_var / y_scale**2,
            rows.xy_cov / (X_scale * y_scale),
            first,
            X_center,
            y_center,
            X_scale,
            y_scale,
        )

    def residual(self, params: Array) -> Array:
        """y - a - b.x, shape (n,)."""
        first = int(self.intercept)
        return self.y - self.X @ params[first:] - (params[0] if first else 0.0)

    def vertical_variance(self, slopes: Array) -> Array:
        """v = s^2 + b'S b - 2 b'c, shape (n,): the variance that the errors give to y - b.x."""
        return self.y_var + (self.X_cov @ slopes - 2 * self.xy_cov) @ slopes

    def every(self, stride: int) -> Standardised:
        """Every stride-th row, on the same scale."""
        if stride <= 1:
            return self
        pick = slice(None, None, stride)
        return Standardised(
            self.X[pick],
            self.y[pick],
            self.X_cov[pick],
            self.y_var[pick],
            self.xy_cov[pick],
            self.intercept,
            self.X_center,
            self.y_center,
            self.X_scale,
            self.y_scale,
        )

    def with_constant(self, slopes: Array) -> Array:
        """Parameters of the line of these slopes, its constant the weighted mean residual."""
        if not self.intercept:
            return slopes
        weight = 1 / np.maximum(self.vertical_variance(slopes), np.finfo(float).tiny)
        weight /= weight.max()
        return np.r_[np.average(self.y - self.X @ slopes, weights=weight), slopes]

    def unscale(self, params: Array, cov: Array) -> tuple[Array, Array]:
        """Parameters and covariance in the units of the data."""
        first, p = int(self.intercept), len(params)
        back = np.zeros((p, p))
        back[np.arange(first, p), np.arange(first, p)] = self.y_scale / self.X_scale
        if first:
            back[0, 0] = self.y_scale
            back[0, 1:] = -self.y_scale / self.X_scale * self.X_center
        values = back @ params
        if first:
            values[0] += self.y_center
        return values, back @ cov @ back.T


def starting_slopes(points: Standardised) -> list[Array]:
    """Slopes of Deming's line and of the valleys that a scan of directions finds.

    The normal of Deming's line, for the mean error covariance E and the moments M of
    z = (x, y), maximises n'E n / n'M n; for equal errors it is the answer. Points of very
    different errors leave several minima, hence the scan. With more than one feature the
    scan is coarse, and the regressions of each coordinate on all others (columns of M^-1) join.
    """
    z = np.column_stack([points.X, points.y])
    n, d = points.X.shape
    moments = z.T @ z / n
    if np.linalg.eigvalsh(moments[:d, :d])[0] < 1e-13 * d:
        raise InputError(
            "X has linearly dependent columns: their coefficients are not determined; "
            "accepted are independent columns"
        )
    # A perfect line leaves the moments singular.
    moments[np.diag_indices(d + 1)] += 1e-10
    errors = np.empty((d + 1, d + 1))
    errors[:d, :d] = points.X_cov.mean(axis=0)
    errors[:d, d] = errors[d, :d] = points.xy_cov.mean(axis=0)
    errors[d, d] = points.y_var.mean()
    normals = [*_scan(points), linalg.eigh(errors, moments)[1][:, -1]]
    normals += [] if d == 1 else [*linalg.inv(moments).T]
    size = [np.abs(normal).max() for normal in normals]
    return [
        -normal[:d] / normal[d] for normal, largest in zip(normals, size) if abs(normal[d]) > 1e-9 * largest
    ]


def _scan(points: Standardised) -> Array:
    """Normals of directions where chi2 is low: all valleys of a half circle, or the best of random ones."""
    d = points.X.shape[1]
    if d == 1:
        angle = np.pi * (np.arange(N_DIRECTIONS) + 0.5) / N_DIRECTIONS
        normals = np.column_stack([np.cos(angle), np.sin(angle)])
    else:
        normals = np.random.default_rng(0).normal(size=(N_DIRECTIONS * d, d + 1))
    chi2 = _profile_chi2(points, normals)
    if d > 1:
        return normals[np.argsort(chi2)[:N_KEPT]]
    return normals[(chi2 <= np.roll(chi2, 1)) & (chi2 < np.roll(chi2, -1))]


def _profile_chi2(points: Standardised, normals: Array) -> Array:
    """Chi2 of the best line of each normal (m, d + 1), shape (m,)."""
    along, last = normals[:, :-1], normals[:, -1]
    pairs = (along[:, :, None] * along[:, None, :]).reshape(len(normals), -1)
    variance = points.X_cov.reshape(len(points.y), -1) @ pairs.T + np.outer(points.y_var, last**2)
    variance += 2 * (points.xy_cov @ along.T) * last
    variance = np.maximum(variance, LEAST_VARIANCE)
    least = variance.min(axis=0)
    distance, weight = points.X @ along.T + np.outer(points.y, last), least / variance
    if points.intercept:
        distance -= np.sum(weight * distance, axis=0) / np.sum(weight, axis=0)
    return np.sum(weight * distance**2, axis=0) / least
