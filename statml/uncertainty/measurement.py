"""Errors at the boundary: what a caller may pass beside X and y, checked once.

``fit`` and ``predict_dist`` of every estimator take the same arguments:

=========  =====================================================================
X_err      standard deviations of X, a number or (n, d)
X_cov      a `CovarianceStack`, (n, d, d); instead of X_err
y_err      standard deviations of y, a number or (n,)
y_cov      a `Covariance`, n x n; instead of y_err
xy_cov     covariance of each row's X with its y, (n, d)
=========  =====================================================================

An infinite y_err carries no information, a zero is exact where the method has
that limit. NaN and negative errors are refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from statml.errors import InputError, InputTypeError
from statml.plain_numbers import refuse_quantity
from statml.uncertainty.covariance import Covariance, DiagonalCovariance
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray


def refuse_quantities(**values: Any) -> None:
    """Raise `InputTypeError` where a value carries a unit; see `statml.units.refuse_quantity`."""
    for name, value in values.items():
        refuse_quantity(name, value)


def refuse_arguments(estimator: object, method: str, alternatives: dict[str, str], **given: Any) -> None:
    """Raise where an error argument is given that the method cannot use.

    Parameters
    ----------
    alternatives : dict
        Argument to what can use it instead.

    Raises
    ------
    InputError
        Names the argument, the method and the alternative.
    """
    for name, alternative in alternatives.items():
        if given.get(name) is not None:
            raise InputError(f"{type(estimator).__name__}.{method} cannot use {name}; {alternative}")


def target_covariance(n: int, y_err: Any, y_cov: Any) -> Covariance | None:
    """The covariance of n values of y from `y_err` or `y_cov`; None where neither is given.

    Raises
    ------
    InputError
        Both are given, the shape is wrong, or a value is NaN or negative.
    """
    if y_err is not None and y_cov is not None:
        raise InputError("y_err and y_cov are both given; accepted is one of them")
    if y_cov is not None:
        refuse_quantities(y_cov=y_cov)
        if not isinstance(y_cov, Covariance):
            raise InputTypeError(
                f"y_cov is a {type(y_cov).__name__}; accepted is a statml.uncertainty.Covariance, "
                "for example Covariance.dense(matrix)"
            )
        if len(y_cov) != n:
            raise InputError(f"y_cov has shape {y_cov.shape}; accepted is ({n}, {n}), as y has {n} values")
        return y_cov
    if y_err is None:
        return None
    refuse_quantities(y_err=y_err)
    err = _numbers("y_err", y_err)
    if err.ndim == 0:
        err = np.full(n, float(err))
    if err.shape != (n,):
        raise InputError(f"y_err has shape {err.shape}; accepted is a number or ({n},), as y has {n} values")
    if np.any(np.isnan(err)):
        raise InputError("y_err contains NaN; give inf for a value of y without information")
    if np.any(err < 0):
        raise InputError(f"y_err contains the negative value {err.min()}; accepted are values >= 0")
    return DiagonalCovariance(err**2)


def feature_covariance(n: int, d: int, X_err: Any, X_cov: Any) -> CovarianceStack | None:
    """The covariances of n rows of d features; None where none are given.

    Raises
    ------
    InputError
        Both are given, the shape is wrong, or a value is not a finite number >= 0.
    """
    if X_err is not None and X_cov is not None:
        raise InputError("X_err and X_cov are both given; accepted is one of them")
    if X_cov is not None:
        refuse_quantities(X_cov=X_cov)
        if not isinstance(X_cov, CovarianceStack):
            raise InputTypeError(
                f"X_cov is a {type(X_cov).__name__}; accepted is a statml.uncertainty.CovarianceStack, "
                "for example CovarianceStack.dense(matrices)"
            )
        stack, name = X_cov, "X_cov"
    elif X_err is not None:
        refuse_quantities(X_err=X_err)
        err = _numbers("X_err", X_err)
        if err.ndim == 0:
            err = np.broadcast_to(err, (n, d))
        stack, name = CovarianceStack.from_std(err), "X_err"
    else:
        return None
    if stack.shape[:2] != (n, d):
        raise InputError(
            f"{name} has {stack.shape[0]} rows of {stack.shape[1]} features; X has {n} rows of {d}"
        )
    return stack


def _numbers(name: str, value: Any) -> Array:
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputTypeError(
            f"{name} is a {type(value).__name__} that holds no numbers; accepted is an array"
        ) from error
