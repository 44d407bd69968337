"""Rows of X at the boundary: values, errors, what is missing, how they are projected; and their units.

NaN in X, or an infinite error, marks a value without information.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from statml.compute import Namespace
from statml.errors import InputError, InputTypeError
from statml.mixture.components import Components
from statml.mixture.measurements import Measurements
from statml.uncertainty.measurement import feature_covariance, refuse_quantities
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray

# The smallest fraction of a column's variance that is taken for real at the start.
LEAST_REAL = 0.01


@dataclass(frozen=True)
class Rows:
    """`values` (n, m) with NaN where missing, `errors` of them, and `projection` (n, m, d) or None."""

    values: Array
    errors: CovarianceStack | None
    projection: Array | None

    @property
    def n_features(self) -> int:
        """Dimensions of the true values."""
        return self.values.shape[1] if self.projection is None else self.projection.shape[2]

    def measurements(self, namespace: Namespace, weights: Array | None = None) -> Measurements:
        """The rows as the expectation step takes them."""
        return Measurements.of(
            self.values, namespace=namespace, errors=self.errors, projection=self.projection, weights=weights
        )

    def exact(self) -> Rows:
        """The same rows as if they had no errors."""
        return replace(self, errors=None)

    def without(self, columns: Array) -> Rows:
        """The same rows with some columns not measured."""
        values = self.values.copy()
        values[:, columns] = np.nan
        return replace(self, values=values)

    def units(self, weights: Array) -> tuple[Array, Array, Array]:
        """Centre and scale (d,) that standardise the true values, and a first guess of their variances then."""
        seen = np.isfinite(self.values)
        share = weights[:, None] * seen
        values = np.where(seen, self.values, 0.0)
        if self.projection is not None:
            return self._projected_units(share, values)
        total = np.maximum(np.sum(share, axis=0), np.finfo(float).tiny)
        center = np.sum(share * values, axis=0) / total
        variance = np.sum(share * (values - center) ** 2, axis=0) / total
        # A constant column has no width of its own; rounding of its mean must not become one.
        flat = variance <= (1e-14 * np.abs(center)) ** 2
        scale = np.where(flat, 1.0, np.sqrt(np.where(flat, 1.0, variance)))
        noise = np.zeros_like(center)
        if self.errors is not None:
            noise = np.sum(share * _diagonals(self.errors), axis=0) / total
        return center, scale, np.maximum(1 - noise / scale**2, LEAST_REAL)

    def refuse_empty_columns(self, weights: Array) -> None:
        """Raise where a feature was measured in no row of positive weight: only the prior would speak of it."""
        if self.projection is not None:
            return
        seen = np.any(np.isfinite(self.values[weights > 0]), axis=0)
        if not np.all(seen):
            raise InputError(
                f"column {int(np.argmin(seen))} of X is missing in every row; accepted are columns with data"
            )

    def _projected_units(self, share: Array, values: Array) -> tuple[Array, Array, Array]:
        """One scale for all features, from least squares of the values on their projections."""
        R = self.projection
        assert R is not None
        gram = np.einsum("nm,nmd,nme->de", share, R, R)
        right = np.einsum("nm,nm,nmd->d", share, values, R)
        center = np.linalg.lstsq(gram, right, rcond=1e-10)[0]
        residual = values - np.einsum("nmd,d->nm", R, center)
        variance = np.sum(share * residual**2) / max(np.trace(gram), np.finfo(float).tiny)
        d = R.shape[2]
        scale = np.full(d, np.sqrt(variance) if variance > 0 else 1.0)
        return center, scale, np.ones(d)

    def standardised(self, center: Array, scale: Array) -> Rows:
        """The same rows for the true values (v - center) / scale."""
        if self.projection is not None:
            shifted = self.values - np.einsum("nmd,d->nm", self.projection, center)
            return Rows(shifted, self.errors, self.projection * scale)
        return Rows((self.values - center) / scale, _scaled(self.errors, 1 / scale), None)

    def log_jacobian(self, scale: Array) -> Array:
        """Log density of the standardised row minus that of the row, (n,)."""
        if self.projection is not None:
            return np.zeros(len(self.values))
        return np.isfinite(self.values) @ np.log(scale)


def as_rows(X: Any, X_err: Any, X_cov: Any, projection: Any) -> Rows:
    """Check the arguments against each other.

    Raises
    ------
    InputError
        Shapes do not fit, errors are given twice, NaN or negative.
    """
    refuse_quantities(X=X, X_err=X_err, X_cov=X_cov, projection=projection)
    X = np.array(X, dtype=float)
    if X.ndim != 2:
        raise InputError(f"X has shape {X.shape}; accepted is (n, m)")
    if np.any(np.isinf(X)):
        raise InputError("X contains infinity; accepted are finite values, and NaN where not measured")
    if X_err is not None:
        X, X_err = _without_information(X, X_err)
    errors = feature_covariance(len(X), X.shape[1], X_err, X_cov)
    if projection is None:
        return Rows(X, errors, None)
    R = np.asarray(projection, dtype=float)
    if R.ndim == 2:
        R = np.broadcast_to(R, (len(X), *R.shape))
    if R.ndim != 3 or R.shape[:2] != X.shape or not np.all(np.isfinite(R)):
        raise InputError(
            f"projection has shape {R.shape}; accepted is (m, d) or (n, m, d) with (n, m) = {X.shape}, finite"
        )
    return Rows(X, errors, R)


def _without_information(X: Array, X_err: Any) -> tuple[Array, Array]:
    """An infinite error makes a value missing; the error of a missing value may be anything."""
    try:
        err = np.array(np.broadcast_to(np.asarray(X_err, dtype=float), X.shape))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"X_err has shape {np.shape(X_err)}; accepted is a number or {X.shape}, as X"
        ) from error
    X[np.isposinf(err)] = np.nan
    err[np.isnan(X)] = 0.0
    return X, err


def _diagonals(errors: CovarianceStack) -> Array:
    if errors.variances is not None:
        return errors.variances
    return np.diagonal(errors.to_dense(), axis1=1, axis2=2)


def _scaled(errors: CovarianceStack | None, factor: Array) -> CovarianceStack | None:
    if errors is None:
        return None
    if errors.variances is not None:
        return CovarianceStack(variances=errors.variances * factor**2)
    return CovarianceStack(matrices=errors.to_dense() * np.outer(factor, factor))


def initial_components(k: int, d: int, weights: Any, means: Any, covariances: Any) -> Components | None:
    """The start a caller gives: all three, or none."""
    given = [value is not None for value in (weights, means, covariances)]
    if not any(given):
        return None
    if not all(given):
        raise InputError(
            "weights_init, means_init and covariances_init are not all given; accepted are all three or none"
        )
    start = Components(np.array(weights, float), np.array(means, float), np.array(covariances, float))
    shapes = start.weights.shape, start.means.shape, start.covariances.shape
    if shapes != ((k,), (k, d), (k, d, d)):
        raise InputError(
            f"weights_init, means_init and covariances_init have shapes {shapes}; accepted are ({k},), ({k}, {d}) "
            f"and ({k}, {d}, {d})"
        )
    if not (np.all(start.weights > 0) and np.isclose(np.sum(start.weights), 1)):
        raise InputError(f"weights_init is {weights!r}; accepted are positive weights that sum to 1")
    try:
        np.linalg.cholesky(start.covariances)
    except np.linalg.LinAlgError as error:
        raise InputError(
            "covariances_init is not positive definite; accepted are covariance matrices"
        ) from error
    return start


def prior_scale(value: Any, d: int) -> Array:
    """V0 from variances (d,) or a matrix (d, d)."""
    try:
        scale = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"prior_scale is a {type(value).__name__}; accepted is an array") from error
    scale = np.diag(scale) if scale.shape == (d,) else scale
    if scale.shape != (d, d) or not np.all(np.isfinite(scale)) or not np.all(np.linalg.eigvalsh(scale) > 0):
        raise InputError(
            f"prior_scale has shape {scale.shape}; accepted are variances ({d},) or a positive-definite ({d}, {d})"
        )
    return scale
