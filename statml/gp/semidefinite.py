"""Joint covariances of predictions: full matrices that may be singular, formed when they are asked for.

Many points of a smooth function are nearly determined by a few of them. Such a matrix
can always be sampled; a density needs that it is positive definite.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from scipy import linalg

from statml.compute import generator
from statml.errors import InputError
from statml.uncertainty.covariance import Covariance
from statml.uncertainty.matrices import added_variance, as_positive

Array = np.ndarray


class SemidefiniteCovariance(Covariance):
    """A dense, positive semi-definite matrix, computed at its first use.

    Parameters
    ----------
    variance : array (n,)
        The diagonal, known beforehand.
    matrix : callable
        Gives the matrix (n, n).

    Examples
    --------
    >>> line = SemidefiniteCovariance(np.ones(3), lambda: np.ones((3, 3)))
    >>> draws = line.sample(2, rng=0)
    >>> bool(np.allclose(draws, draws[:, :1]))
    True
    """

    def __init__(self, variance: Array, matrix: Callable[[], Array]) -> None:
        self._variance = variance
        self._compute: Callable[[], Array] | None = matrix

    def __getstate__(self) -> dict[str, Any]:
        # A pickle is plain NumPy: the matrix, not the process that makes it.
        return {"_variance": self._variance, "_matrix": self._matrix, "_compute": None}

    @cached_property
    def _matrix(self) -> Array:
        assert self._compute is not None
        matrix = np.array(self._compute())
        matrix = (matrix + matrix.T) / 2
        # The variances are those of the single predictions, to the last digit.
        np.fill_diagonal(matrix, self._variance)
        return matrix

    @cached_property
    def _factor(self) -> Array:
        try:
            return linalg.cholesky(self._matrix, lower=True)
        except linalg.LinAlgError as error:
            raise InputError(
                "the predictions determine each other to rounding, so they have no joint density; "
                "accepted are predictions with y_err, or at fewer points"
            ) from error

    @cached_property
    def _root(self) -> Array:
        values, vectors = linalg.eigh(self._matrix)
        return vectors * np.sqrt(np.maximum(values, 0))

    def __len__(self) -> int:
        return len(self._variance)

    def select(self, rows: Array) -> Covariance:
        return SemidefiniteCovariance(self._variance[rows], lambda: self._matrix[np.ix_(rows, rows)])

    def to_dense(self) -> Array:
        return self._matrix.copy()

    def variance(self) -> Array:
        return self._variance.copy()

    def whiten(self, values: Array) -> Array:
        return linalg.solve_triangular(self._factor, values, lower=True)

    def _whiten_transposed(self, values: Array) -> Array:
        return linalg.solve_triangular(self._factor, values, lower=True, trans="T")

    def logdet(self) -> float:
        return float(2 * np.sum(np.log(np.diag(self._factor))))

    def plus_diagonal(self, variance: Any) -> Covariance:
        extra = added_variance("variance", variance, len(self))
        return SemidefiniteCovariance(self._variance + extra, lambda: self._matrix + np.diag(extra))

    def times(self, factor: float) -> Covariance:
        factor = as_positive("factor", factor)
        return SemidefiniteCovariance(factor * self._variance, lambda: factor * self._matrix)

    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        return generator(rng).standard_normal((size, len(self))) @ self._root.T
