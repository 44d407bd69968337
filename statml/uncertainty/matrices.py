"""Checks and small steps of matrix algebra that every form of `Covariance` needs."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg

from statml.errors import InputError
from statml.plain_numbers import refuse_quantity

Array = np.ndarray


def as_positive(name: str, value: float) -> float:
    """A positive number, or an `InputError`."""
    if not value > 0:
        raise InputError(f"{name} is {value!r}; accepted is a positive number")
    return float(value)


def added_variance(name: str, value: Any, n: int) -> Array:
    """A variance to be added to each of n measurements."""
    array = np.asarray(value, float)
    if array.shape not in ((), (n,)):
        raise InputError(f"{name} has shape {array.shape}; accepted is a number or ({n},)")
    if not np.all(array >= 0):
        raise InputError(f"{name} contains NaN or negative values; accepted are values >= 0")
    return np.broadcast_to(array, (n,))


def refuse_repeats(rows: Array) -> None:
    """Raise `InputError` where a row is selected twice."""
    # Their errors are fully correlated; rounding alone would decide whether Cholesky notices.
    # Counting is many times quicker than sorting or hashing a million rows.
    if len(rows) > 0 and np.max(np.bincount(rows)) > 1:
        raise InputError(
            "rows of a block or dense covariance are selected twice, which makes it singular; "
            "accepted are distinct rows"
        )


def scale_rows(values: Array, factors: Array) -> Array:
    """Each row of values, (n,) or (n, k), times its factor, (n,)."""
    values = np.asarray(values)
    return values * (factors if values.ndim == 1 else factors[:, None])


def finite_or_inf(name: str, value: Any, ndim: int) -> Array:
    """Values >= 0, infinity included, or an `InputError`."""
    refuse_quantity(name, value)
    array = np.asarray(value, dtype=float)
    if array.ndim != ndim:
        raise InputError(f"{name} has shape {array.shape}; accepted is one value for each measurement, (n,)")
    if np.any(np.isnan(array)):
        raise InputError(f"{name} contains NaN; give inf for a measurement without information")
    if np.any(array < 0):
        raise InputError(f"{name} contains negative values; accepted are values >= 0")
    return array


def as_matrix(name: str, value: Any) -> Array:
    """A finite matrix, or an `InputError`."""
    refuse_quantity(name, value)
    array = np.asarray(value, dtype=float)
    if array.ndim != 2:
        raise InputError(f"{name} has shape {array.shape}; accepted is a matrix")
    if not np.all(np.isfinite(array)):
        raise InputError(f"{name} contains NaN or inf; accepted are finite values")
    return array


def as_square(name: str, value: Any) -> Array:
    """A finite symmetric matrix, or an `InputError`."""
    array = as_matrix(name, value)
    if array.shape[0] != array.shape[1]:
        raise InputError(f"{name} has shape {array.shape}; accepted is a square matrix")
    if not np.allclose(array, array.T, rtol=1e-10, atol=1e-12 * np.max(np.abs(array), initial=0)):
        raise InputError(f"{name} is not symmetric; accepted is a symmetric, positive-definite matrix")
    return array


def lower_factor(name: str, matrix: Array) -> Array:
    """Lower Cholesky factor of a positive-definite matrix, or an `InputError`."""
    try:
        return linalg.cholesky(matrix, lower=True)
    except linalg.LinAlgError as error:
        raise InputError(f"{name} is not positive definite; accepted are covariance matrices") from error
