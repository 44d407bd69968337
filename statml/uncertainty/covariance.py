r"""Covariances of n measurements, in the form the data come in.

A survey gives independent errors, errors shared by the stars of one plate, or a
few common modes on top of independent noise. Each form has its own cheap linear
algebra, and every method of the library needs the same four operations of it:

========== ========================================================= ==============
form       C                                                         cost of whiten
========== ========================================================= ==============
diagonal   diag(v)                                                   O(n)
dense      any positive-definite matrix, or its Cholesky factor      O(n^3) once
block      one dense block for each group of rows                    O(sum of m^3)
low rank   diag(v) + U U^T, U of shape (n, k); or blocks + U U^T     O(n k^2)
========== ========================================================= ==============

``C[rows]`` selects rows *and* columns, so a `Covariance` passed to ``fit``
survives cross-validation, where a plain (n, n) array would lose only its rows.
The last two forms of the table live in `statml.uncertainty.blocks` and `low_rank`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg

from statml.compute import generator
from statml.errors import InputError
from statml.uncertainty.matrices import (
    added_variance,
    as_matrix,
    as_positive,
    as_square,
    finite_or_inf,
    lower_factor,
    refuse_repeats,
    scale_rows,
)

Array = np.ndarray


class Piece(NamedTuple):
    """Rows whose errors are independent of all others, and what whitens values given on them."""

    rows: slice | Array
    whiten: Callable[[Array], Array]


class Covariance(ABC):
    """Covariance matrix of shape (n, n); build one with a class method.

    Examples
    --------
    >>> import numpy as np
    >>> C = Covariance.from_std([0.1, 0.2, 0.1])
    >>> C[np.array([0, 2])].shape
    (2, 2)
    >>> plate = Covariance.low_rank(np.full(3, 0.01), 0.05 * np.ones((3, 1)))
    >>> round(float(plate.to_dense()[0, 1]), 6)
    0.0025
    """

    # -- constructors ------------------------------------------------------------

    @classmethod
    def from_std(cls, std: Any) -> Covariance:
        """Independent errors given as standard deviations, shape (n,)."""
        std = finite_or_inf("std", std, 1)
        return DiagonalCovariance(std**2)

    @classmethod
    def diagonal(cls, variance: Any) -> Covariance:
        """Independent errors given as variances, shape (n,); 0 is exact, inf is no information."""
        return DiagonalCovariance(finite_or_inf("variance", variance, 1))

    @classmethod
    def dense(cls, matrix: Any) -> Covariance:
        """Any positive-definite matrix, shape (n, n).

        Raises
        ------
        InputError
            The matrix is not square, symmetric and positive definite.
        """
        matrix = as_square("matrix", matrix)
        return DenseCovariance(lower_factor("matrix", matrix))

    @classmethod
    def cholesky(cls, factor: Any) -> Covariance:
        """The lower Cholesky factor L of C = L L^T, shape (n, n)."""
        factor = as_matrix("factor", factor)
        if factor.shape[0] != factor.shape[1] or np.any(np.triu(factor, 1)) or np.any(np.diag(factor) <= 0):
            raise InputError("factor must be square and lower triangular with a positive diagonal")
        return DenseCovariance(factor)

    @classmethod
    def block(cls, blocks: Sequence[Any] | Array) -> Covariance:
        """One dense block for each run of consecutive rows (stars of a plate, bands of an epoch).

        Parameters
        ----------
        blocks : sequence of square matrices, or one array (m, b, b)
            Blocks of one size are handled together, so that a hundred thousand of them are no loop.
        """
        from statml.uncertainty.blocks import BlockCovariance, grouped

        return BlockCovariance(grouped(blocks))

    @classmethod
    def low_rank(cls, variance: Any, modes: Any) -> Covariance:
        """Common modes U (n, k) on top of errors that are not shared by all: C = N + U U^T.

        Parameters
        ----------
        variance : array (n,) or Covariance
            Independent variances, N = diag(variance); or N itself, for example of blocks.
        modes : array (n, k)
        """
        from statml.uncertainty.low_rank import LowRankCovariance

        modes = as_matrix("modes", modes)
        base = variance if isinstance(variance, Covariance) else cls.diagonal(variance)
        if len(modes) != len(base):
            raise InputError(
                f"modes has {len(modes)} rows and variance {len(base)}; they must be equal in number"
            )
        if not np.all(np.isfinite(base.variance())):
            raise InputError("variance of a low-rank covariance contains inf; accepted are finite values")
        return LowRankCovariance(base, modes)

    # -- the interface every form fills -------------------------------------------

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def select(self, rows: Array) -> Covariance:
        """Covariance of the given rows, an integer index array."""

    @abstractmethod
    def to_dense(self) -> Array:
        """The full matrix, shape (n, n)."""

    @abstractmethod
    def variance(self) -> Array:
        """The diagonal of C, shape (n,)."""

    @abstractmethod
    def whiten(self, values: Array) -> Array:
        """W @ values with W^T W = C^-1; `values` has shape (n,) or (n, k)."""

    @abstractmethod
    def logdet(self) -> float:
        """log det C."""

    @abstractmethod
    def plus_diagonal(self, variance: Any) -> Covariance:
        """C + diag(variance); `variance` is a number >= 0 or has shape (n,)."""

    @abstractmethod
    def times(self, factor: float) -> Covariance:
        """C multiplied by a positive number."""

    @abstractmethod
    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        """Draw `size` error vectors, shape (size, n)."""

    def pieces(self, size: int) -> Iterator[Piece]:
        """Groups of rows that are independent of each other, each with its own whitening.

        Together they whiten as `whiten` does, a group at a time and without a copy of all rows.

        Parameters
        ----------
        size : int
            Rows of a group, about; more where they cannot be taken apart.

        Yields
        ------
        Piece
            ``rows`` and ``whiten``, for values given on these rows.
        """
        yield Piece(slice(0, len(self)), self.whiten)

    # -- what follows from it -------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n)."""
        return len(self), len(self)

    def std(self) -> Array:
        """Standard deviations, shape (n,)."""
        return np.sqrt(self.variance())

    def __getitem__(self, key: Any) -> Covariance:
        # scikit-learn indexes an array-like of n rows as value[rows, ...].
        if isinstance(key, tuple):
            if len(key) != 2 or key[1] is not Ellipsis:
                raise InputError("a Covariance is indexed by rows alone: C[rows] selects rows and columns")
            key = key[0]
        if isinstance(key, int | np.integer):
            raise InputError(
                "a Covariance is indexed by a slice, a mask or an array of rows, not by one number"
            )
        return self.select(np.arange(len(self))[key])

    def solve(self, values: Array) -> Array:
        """C^-1 @ values."""
        return self._whiten_transposed(self.whiten(values))

    @abstractmethod
    def _whiten_transposed(self, values: Array) -> Array:
        """W^T @ values."""

    def mahalanobis(self, residual: Array) -> float:
        """r^T C^-1 r."""
        white = self.whiten(np.asarray(residual, float))
        return float(white @ white)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} measurements>"


class DiagonalCovariance(Covariance):
    """Independent errors."""

    def __init__(self, variance: Array) -> None:
        self._variance = variance

    def __len__(self) -> int:
        return len(self._variance)

    def select(self, rows: Array) -> Covariance:
        return DiagonalCovariance(self._variance[rows])

    def to_dense(self) -> Array:
        return np.diag(self._variance)

    def variance(self) -> Array:
        return self._variance.copy()

    def whiten(self, values: Array) -> Array:
        return scale_rows(values, 1 / self._positive_std())

    _whiten_transposed = whiten

    def logdet(self) -> float:
        return float(2 * np.sum(np.log(self._positive_std())))

    def plus_diagonal(self, variance: Any) -> Covariance:
        return DiagonalCovariance(self._variance + added_variance("variance", variance, len(self)))

    def times(self, factor: float) -> Covariance:
        return DiagonalCovariance(as_positive("factor", factor) * self._variance)

    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        return generator(rng).standard_normal((size, len(self))) * np.sqrt(self._variance)

    def _positive_std(self) -> Array:
        if np.any(self._variance <= 0):
            raise InputError("an error of zero makes this covariance singular; give a positive error")
        return np.sqrt(self._variance)


class DenseCovariance(Covariance):
    """A full matrix, kept as its lower Cholesky factor."""

    def __init__(self, factor: Array) -> None:
        self._factor = factor

    def __len__(self) -> int:
        return len(self._factor)

    def select(self, rows: Array) -> Covariance:
        refuse_repeats(rows)
        return DenseCovariance(lower_factor("the selected covariance", self.to_dense()[np.ix_(rows, rows)]))

    def to_dense(self) -> Array:
        return self._factor @ self._factor.T

    def variance(self) -> Array:
        return np.einsum("ij,ij->i", self._factor, self._factor)

    def whiten(self, values: Array) -> Array:
        return linalg.solve_triangular(self._factor, values, lower=True)

    def _whiten_transposed(self, values: Array) -> Array:
        return linalg.solve_triangular(self._factor, values, lower=True, trans="T")

    def logdet(self) -> float:
        return float(2 * np.sum(np.log(np.diag(self._factor))))

    def plus_diagonal(self, variance: Any) -> Covariance:
        matrix = self.to_dense()
        matrix[np.diag_indices(len(self))] += added_variance("variance", variance, len(self))
        return DenseCovariance(lower_factor("C + diag(variance)", matrix))

    def times(self, factor: float) -> Covariance:
        return DenseCovariance(np.sqrt(as_positive("factor", factor)) * self._factor)

    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        return generator(rng).standard_normal((size, len(self))) @ self._factor.T
