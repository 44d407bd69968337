"""The predictive distribution of a model that is linear in its parameters.

    y* = a^T x + errors,   x ~ (mean, F F^T)

Both linear estimators predict through these few functions, so that the variance
is split, and the predictions are joined, in one way.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from statml.compute import spread
from statml.uncertainty.covariance import Covariance, DiagonalCovariance
from statml.uncertainty.low_rank import LowRankCovariance
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray


# Rows of a sparse design that are handled as a dense block.
BLOCK_ROWS = 2048


def design(X: Any, intercept: bool) -> Any:
    """[1, X] or X, shape (n, p); sparse for a sparse X."""
    if not intercept:
        return X
    ones = np.ones((X.shape[0], 1))
    return sparse.hstack([ones, X], format="csr") if sparse.issparse(X) else np.column_stack([ones, X])


@dataclass(frozen=True)
class ParameterModes:
    """A F: what n predictions share through parameters of covariance F F^T.

    For a sparse design it would be the one dense array of n rows, so it is then
    formed only when a joint covariance is used.
    """

    design: Any
    factor: Array

    @cached_property
    def array(self) -> Array:
        """A F, shape (n, p)."""
        return np.asarray(self.design @ self.factor)

    def variance(self) -> Array:
        """The diagonal of A F F^T A^T, shape (n,); of a sparse design a block of rows at a time."""
        if not sparse.issparse(self.design):
            return np.einsum("ij,ij->i", self.array, self.array)
        variance = np.zeros(self.design.shape[0])
        for low in range(0, len(variance), BLOCK_ROWS):
            block = np.asarray(self.design[low : low + BLOCK_ROWS] @ self.factor)
            variance[low : low + BLOCK_ROWS] = np.einsum("ij,ij->i", block, block)
        return variance


class DeferredLowRankCovariance(LowRankCovariance):
    """diag(v) + (A F)(A F)^T of predictions with a sparse design A."""

    def __init__(self, variance: Array, modes: ParameterModes) -> None:
        self._base = DiagonalCovariance(variance)
        self._deferred = modes

    @property
    def _modes(self) -> Array:  # type: ignore[override]
        return self._deferred.array


def column_moments(X: Any) -> tuple[Array, Array]:
    """Mean and standard deviation of each column, (d,) each, of a dense or sparse X.

    The deviation of a column that does not vary is exactly zero; see `statml.compute.spread`.
    """
    if not sparse.issparse(X):
        return X.mean(axis=0), spread(X)
    center = np.asarray(X.mean(axis=0)).ravel()
    # Stored entries around their mean, then the zeros: no difference of two large squares.
    gaps = X.tocsc(copy=True)
    columns = np.repeat(np.arange(X.shape[1]), np.diff(gaps.indptr))
    squares = np.bincount(columns, (gaps.data - center[columns]) ** 2, minlength=X.shape[1])
    squares += (X.shape[0] - np.diff(gaps.indptr)) * center**2
    varies = (X.max(axis=0) - X.min(axis=0)).toarray().ravel() > 0
    return center, np.where(varies, np.sqrt(squares / X.shape[0]), 0.0)


def input_variance(stack: CovarianceStack | None, slopes: Array, slopes_cov: Array, n: int) -> Array:
    """Variance of b^T x' where x' has covariance S_i and b has its own: b^T S_i b + tr(S_i cov(b))."""
    return np.zeros(n) if stack is None else stack.project(slopes) + stack.trace_with(slopes_cov)


def joint_covariance(
    independent: Array, modes: Array | ParameterModes, measured: Covariance | None
) -> Covariance:
    """diag(independent) + modes modes^T + measured, in the cheapest form that holds it.

    Parameters
    ----------
    independent : array (n,)
        Variance that predictions do not share (input errors, scatter, fitted noise).
    modes : array (n, p) or ParameterModes
        What they share through the parameters.
    measured : Covariance or None
        Errors of the y to compare with.
    """
    if isinstance(modes, ParameterModes):
        plain = measured is None or isinstance(measured, DiagonalCovariance)
        if sparse.issparse(modes.design) and plain:
            total = independent if measured is None else independent + measured.variance()
            return DeferredLowRankCovariance(total, modes)
        modes = modes.array
    if measured is None:
        return LowRankCovariance(DiagonalCovariance(independent), modes)
    if isinstance(measured, DiagonalCovariance):
        return LowRankCovariance(DiagonalCovariance(independent + measured.variance()), modes)
    if isinstance(measured, LowRankCovariance):
        return measured.plus_diagonal(independent).plus_modes(modes)
    return LowRankCovariance(measured.plus_diagonal(independent), modes)


def inflate(variance: Array, factor: float) -> Array:
    """Multiply variances (n,); an infinite factor leaves zeros zero."""
    return np.where(variance > 0, factor * np.where(variance > 0, variance, 1), 0)


def total_std(variances: dict[str, Array]) -> Array:
    """Standard deviation (n,) of the sum of all components."""
    return np.sqrt(np.sum(list(variances.values()), axis=0))
