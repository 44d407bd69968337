r"""Covariances of n measurements, in the form the data come in.

A survey gives independent errors, errors shared by the stars of one plate, or a
few common modes on top of independent noise. Each form has its own cheap linear
algebra, and every method of the library needs the same four operations of it:

========== ========================================================= ==============
form       C                                                         cost of whiten
========== ========================================================= ==============
diagonal   diag(v)                                                   O(n)
block      one dense block for each group of rows                    O(sum of m^3)
dense      any positive-definite matrix, or its Cholesky factor      O(n^3) once
low rank   diag(v) + U U^T, U of shape (n, k)                        O(n k^2)
========== ========================================================= ==============

``C[rows]`` selects rows *and* columns, so a `Covariance` passed to ``fit``
survives cross-validation, where a plain (n, n) array would lose only its rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

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
    def block(cls, blocks: Sequence[Any]) -> Covariance:
        """One dense block for each run of consecutive rows (stars of a plate, bands of an epoch)."""
        matrices = [as_square(f"blocks[{i}]", block) for i, block in enumerate(blocks)]
        if not matrices:
            raise InputError("blocks is empty; give at least one square matrix")
        edges = np.concatenate([[0], np.cumsum([len(matrix) for matrix in matrices])])
        rows = [np.arange(low, high) for low, high in pairwise(edges)]
        return BlockCovariance(matrices, rows)

    @classmethod
    def low_rank(cls, variance: Any, modes: Any) -> Covariance:
        """Independent variances (n,) plus common modes U (n, k): C = diag(variance) + U U^T."""
        variance = finite_or_inf("variance", variance, 1)
        modes = as_matrix("modes", modes)
        if len(modes) != len(variance):
            raise InputError(
                f"modes has {len(modes)} rows and variance {len(variance)}; they must be equal in number"
            )
        if not np.all(np.isfinite(variance)):
            raise InputError("variance of a low-rank covariance contains inf; accepted are finite values")
        return LowRankCovariance(variance, modes)

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


class BlockCovariance(Covariance):
    """Dense blocks over disjoint groups of rows; the rows of a group need not be neighbours."""

    def __init__(self, blocks: list[Array], rows: list[Array]) -> None:
        self._blocks = blocks
        self._rows = rows
        self._parts = [DenseCovariance(lower_factor(f"blocks[{i}]", block)) for i, block in enumerate(blocks)]

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._rows)

    def select(self, rows: Array) -> Covariance:
        refuse_repeats(rows)
        block_of = np.empty(len(self), int)
        place_in = np.empty(len(self), int)
        for number, members in enumerate(self._rows):
            block_of[members] = number
            place_in[members] = np.arange(len(members))
        blocks, positions = [], []
        for number in np.unique(block_of[rows]):
            position = np.flatnonzero(block_of[rows] == number)
            local = place_in[rows][position]
            blocks.append(self._blocks[number][np.ix_(local, local)])
            positions.append(position)
        return BlockCovariance(blocks, positions)

    def to_dense(self) -> Array:
        matrix = np.zeros(self.shape)
        for block, rows in zip(self._blocks, self._rows):
            matrix[np.ix_(rows, rows)] = block
        return matrix

    def variance(self) -> Array:
        variance = np.empty(len(self))
        for block, rows in zip(self._blocks, self._rows):
            variance[rows] = np.diag(block)
        return variance

    def whiten(self, values: Array) -> Array:
        return self._apply(values, DenseCovariance.whiten)

    def _whiten_transposed(self, values: Array) -> Array:
        return self._apply(values, DenseCovariance._whiten_transposed)

    def logdet(self) -> float:
        return sum(part.logdet() for part in self._parts)

    def plus_diagonal(self, variance: Any) -> Covariance:
        added = added_variance("variance", variance, len(self))
        blocks = [block + np.diag(added[rows]) for block, rows in zip(self._blocks, self._rows)]
        return BlockCovariance(blocks, self._rows)

    def times(self, factor: float) -> Covariance:
        factor = as_positive("factor", factor)
        return BlockCovariance([factor * block for block in self._blocks], self._rows)

    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        rng = generator(rng)
        draws = np.empty((size, len(self)))
        for part, rows in zip(self._parts, self._rows):
            draws[:, rows] = part.sample(size, rng=rng)
        return draws

    def _apply(self, values: Array, operation: Any) -> Array:
        result = np.empty(np.shape(values))
        for part, rows in zip(self._parts, self._rows):
            result[rows] = operation(part, np.asarray(values)[rows])
        return result


class LowRankCovariance(Covariance):
    r"""diag(v) + U U^T, through W = (I + A A^T)^{-1/2} D^{-1/2} with A = D^{-1/2} U.

    With the thin decomposition A = P S Q^T, the inverse square root is
    I - P (1 - (1 + S^2)^{-1/2}) P^T: nothing of size n x n is formed. Where v holds
    zeros the matrix may be singular; it can then be sampled but not inverted.
    """

    def __init__(self, variance: Array, modes: Array) -> None:
        self._variance = variance
        self._modes = modes

    @cached_property
    def _spectrum(self) -> tuple[Array, Array]:
        if np.any(self._variance <= 0):
            raise InputError("a variance of zero makes this covariance singular; give positive variances")
        left, singular, _ = linalg.svd(self._modes / np.sqrt(self._variance)[:, None], full_matrices=False)
        return left, np.sqrt(1 + singular**2)

    def __len__(self) -> int:
        return len(self._variance)

    def select(self, rows: Array) -> Covariance:
        return LowRankCovariance(self._variance[rows], self._modes[rows])

    def to_dense(self) -> Array:
        return np.diag(self._variance) + self._modes @ self._modes.T

    def variance(self) -> Array:
        return self._variance + np.einsum("ij,ij->i", self._modes, self._modes)

    def whiten(self, values: Array) -> Array:
        return self._shrink(scale_rows(values, self._inverse_std()))

    def _whiten_transposed(self, values: Array) -> Array:
        return scale_rows(self._shrink(values), self._inverse_std())

    def logdet(self) -> float:
        _, growth = self._spectrum
        return float(np.sum(np.log(self._variance)) + 2 * np.sum(np.log(growth)))

    def plus_diagonal(self, variance: Any) -> LowRankCovariance:
        return LowRankCovariance(
            self._variance + added_variance("variance", variance, len(self)), self._modes
        )

    def plus_modes(self, modes: Array) -> LowRankCovariance:
        """C + V V^T for further common modes V of shape (n, k)."""
        return LowRankCovariance(self._variance, np.column_stack([self._modes, modes]))

    def times(self, factor: float) -> LowRankCovariance:
        factor = as_positive("factor", factor)
        return LowRankCovariance(factor * self._variance, np.sqrt(factor) * self._modes)

    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        rng = generator(rng)
        own = rng.standard_normal((size, len(self))) * np.sqrt(self._variance)
        return own + rng.standard_normal((size, self._modes.shape[1])) @ self._modes.T

    def _inverse_std(self) -> Array:
        _ = self._spectrum  # refuses a variance of zero
        return self._variance**-0.5

    def _shrink(self, values: Array) -> Array:
        left, growth = self._spectrum
        return values + left @ scale_rows(left.T @ values, 1 / growth - 1)
