"""The predictive distribution of a model that is linear in its parameters.

    y* = a^T x + errors,   x ~ (mean, F F^T)

Both linear estimators predict through these few functions, so that the variance
is split, and the predictions are joined, in one way.
"""

from __future__ import annotations

import numpy as np

from statml.uncertainty.covariance import Covariance, DiagonalCovariance
from statml.uncertainty.low_rank import LowRankCovariance
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray


def design(X: Array, intercept: bool) -> Array:
    """[1, X] or X, shape (n, p)."""
    return np.column_stack([np.ones(len(X)), X]) if intercept else X


def input_variance(stack: CovarianceStack | None, slopes: Array, slopes_cov: Array, n: int) -> Array:
    """Variance of b^T x' where x' has covariance S_i and b has its own: b^T S_i b + tr(S_i cov(b))."""
    return np.zeros(n) if stack is None else stack.project(slopes) + stack.trace_with(slopes_cov)


def joint_covariance(independent: Array, modes: Array, measured: Covariance | None) -> Covariance:
    """diag(independent) + modes modes^T + measured, in the cheapest form that holds it.

    Parameters
    ----------
    independent : array (n,)
        Variance that predictions do not share (input errors, scatter, fitted noise).
    modes : array (n, p)
        What they share through the parameters.
    measured : Covariance or None
        Errors of the y to compare with.
    """
    if measured is None:
        return LowRankCovariance(independent, modes)
    if isinstance(measured, DiagonalCovariance):
        return LowRankCovariance(independent + measured.variance(), modes)
    if isinstance(measured, LowRankCovariance):
        return measured.plus_diagonal(independent).plus_modes(modes)
    return Covariance.dense(measured.to_dense() + np.diag(independent) + modes @ modes.T)


def inflate(variance: Array, factor: float) -> Array:
    """Multiply variances (n,); an infinite factor leaves zeros zero."""
    return np.where(variance > 0, factor * np.where(variance > 0, variance, 1), 0)


def total_std(variances: dict[str, Array]) -> Array:
    """Standard deviation (n,) of the sum of all components."""
    return np.sqrt(np.sum(list(variances.values()), axis=0))
