r"""Many small covariance matrices of one size, handled together.

A survey of a million stars has a hundred thousand plates of ten; a loop over them
in Python would cost more than the algebra. `EqualBlocks` keeps m blocks of one
size b as an array (m, b, b) beside the rows (m, b) they belong to, so that each
step is one call for all of them. Blocks of several sizes are a list of these.

Whitening multiplies by the inverse W = L^-1 of the Cholesky factor. It is found
by forward substitution on unit vectors, whose error is that of the triangular
solve it replaces (Higham 2002, "Accuracy and Stability of Numerical Algorithms",
section 14.2), and it turns the whitening of k columns into one product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import linalg

from statml.compute import generator
from statml.errors import InputError
from statml.plain_numbers import refuse_quantity
from statml.uncertainty.covariance import Covariance, Piece
from statml.uncertainty.matrices import added_variance, as_positive, as_square, refuse_repeats

Array = np.ndarray

# Blocks up to this size are inverted side by side; larger ones are worth a call to LAPACK each.
SIDE_BY_SIDE = 32
# Rows of one step: few enough to stay in the cache, enough to hide the calls.
STEP_ROWS = 8192


@dataclass(frozen=True)
class EqualBlocks:
    """m blocks of size b: their rows (m, b), matrices C (m, b, b) and lower Cholesky factors L."""

    rows: Array
    matrices: Array
    factors: Array

    @classmethod
    def of(cls, rows: Array, matrices: Array, names: Callable[[int], str]) -> EqualBlocks:
        """Factorise; `names(i)` is what an error message calls block i.

        Raises
        ------
        InputError
            A block is not positive definite.
        """
        try:
            return cls(rows, matrices, np.linalg.cholesky(matrices))
        except np.linalg.LinAlgError:
            bad = next(i for i, matrix in enumerate(matrices) if not _is_positive_definite(matrix))
            raise InputError(
                f"{names(bad)} is not positive definite; accepted are covariance matrices"
            ) from None

    @property
    def size(self) -> int:
        """Rows of one block."""
        return self.rows.shape[1]

    def variance(self) -> Array:
        """The diagonals, shape (m, b)."""
        return np.einsum("mii->mi", self.matrices)

    def logdet(self) -> float:
        """Sum of the log determinants."""
        return float(2 * np.sum(np.log(np.einsum("mii->mi", self.factors))))

    def plus_diagonal(self, variance: Array) -> EqualBlocks:
        """Each block plus its part of a variance (n,) on the diagonal."""
        matrices = self.matrices.copy()
        np.einsum("mii->mi", matrices)[...] += variance[self.rows]
        return EqualBlocks.of(self.rows, matrices, lambda i: "C + diag(variance)")

    def times(self, factor: float) -> EqualBlocks:
        """Each block times a positive number."""
        return EqualBlocks(self.rows, factor * self.matrices, np.sqrt(factor) * self.factors)

    def correlate(self, normals: Array) -> Array:
        """L z for standard normals z of shape (size, m, b)."""
        return np.einsum("mij,smj->smi", self.factors, normals, optimize=True)

    def pieces(self, size: int) -> Iterator[Piece]:
        """Runs of whole blocks with together about `size` rows, in the order of the blocks."""
        step = max(size // self.size, 1)
        for start, inverses in self._inverses(step):
            for first in range(0, len(inverses), step):
                inverse = inverses[first : first + step]
                rows = self.rows[start + first : start + first + len(inverse)]
                yield Piece(_as_slice(rows.ravel()), partial(_multiply, inverse))

    def whiten_into(self, result: Array, values: Array, *, transposed: bool = False) -> None:
        """Write W values, or W^T values, of these blocks' rows into `result`."""
        for start, inverse in self._inverses(1):
            rows = _as_slice(self.rows[start : start + len(inverse)].ravel())
            result[rows] = _multiply(inverse.transpose(0, 2, 1) if transposed else inverse, values[rows])

    def _inverses(self, multiple: int) -> Iterator[tuple[int, Array]]:
        """First block and inverse factors of each step, a multiple of so many blocks."""
        step = max(STEP_ROWS // (self.size * multiple), 1) * multiple
        for start in range(0, len(self.rows), step):
            yield start, inverse_factors(self.factors[start : start + step])


class BlockCovariance(Covariance):
    """Dense blocks over disjoint groups of rows; the rows of a group need not be neighbours."""

    def __init__(self, groups: list[EqualBlocks]) -> None:
        self._groups = groups

    def __len__(self) -> int:
        return sum(group.rows.size for group in self._groups)

    def select(self, rows: Array) -> Covariance:
        refuse_repeats(rows)
        return BlockCovariance(selected(self._groups, rows))

    def to_dense(self) -> Array:
        matrix = np.zeros(self.shape)
        for group in self._groups:
            matrix[group.rows[:, :, None], group.rows[:, None, :]] = group.matrices
        return matrix

    def variance(self) -> Array:
        variance = np.empty(len(self))
        for group in self._groups:
            variance[group.rows] = group.variance()
        return variance

    def whiten(self, values: Array) -> Array:
        return self._apply(values, transposed=False)

    def _whiten_transposed(self, values: Array) -> Array:
        return self._apply(values, transposed=True)

    def pieces(self, size: int) -> Iterator[Piece]:
        for group in self._groups:
            yield from group.pieces(size)

    def logdet(self) -> float:
        return sum(group.logdet() for group in self._groups)

    def plus_diagonal(self, variance: Any) -> Covariance:
        added = added_variance("variance", variance, len(self))
        return BlockCovariance([group.plus_diagonal(added) for group in self._groups])

    def times(self, factor: float) -> Covariance:
        factor = as_positive("factor", factor)
        return BlockCovariance([group.times(factor) for group in self._groups])

    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        rng = generator(rng)
        draws = np.empty((size, len(self)))
        for group in self._groups:
            draws[:, group.rows] = group.correlate(rng.standard_normal((size, *group.rows.shape)))
        return draws

    def _apply(self, values: Array, *, transposed: bool) -> Array:
        values = np.asarray(values, dtype=float)
        result = np.empty(values.shape)
        for group in self._groups:
            group.whiten_into(result, values, transposed=transposed)
        return result


def grouped(blocks: Sequence[Any] | Array) -> list[EqualBlocks]:
    """Consecutive blocks, checked and gathered by size.

    Parameters
    ----------
    blocks : sequence of square arrays, or one array (m, b, b)

    Raises
    ------
    InputError
        There is no block, or one is not square, finite, symmetric and positive definite.
    """
    refuse_quantity("blocks", blocks)
    if len(blocks) == 0:
        raise InputError("blocks is empty; give at least one square matrix")
    if isinstance(blocks, np.ndarray) and blocks.ndim == 3:
        as_square("blocks[0]", blocks[0])  # one shape for all
        if blocks.shape[1] == 0:
            raise InputError("blocks[0] has no rows; accepted are blocks of 1 row or more")
        rows = np.arange(blocks.shape[0] * blocks.shape[1]).reshape(blocks.shape[:2])
        return [_checked(rows, np.asarray(blocks, dtype=float), np.arange(len(blocks)))]
    matrices = [_float_matrix(i, block) for i, block in enumerate(blocks)]
    sizes = np.array([len(matrix) for matrix in matrices])
    if not np.all(sizes > 0):
        raise InputError(f"blocks[{int(np.argmin(sizes))}] has no rows; accepted are blocks of 1 row or more")
    starts = np.cumsum(sizes) - sizes
    groups = []
    for size in np.unique(sizes):
        members = np.flatnonzero(sizes == size)
        together = np.stack([matrices[i] for i in members])
        groups.append(_checked(starts[members][:, None] + np.arange(size), together, members))
    return groups


def _float_matrix(number: int, block: Any) -> Array:
    """A square float array; what else is wrong with it is found for all of one size together."""
    plain = type(block) is np.ndarray and block.dtype == np.float64 and block.ndim == 2
    return block if plain and block.shape[0] == block.shape[1] else as_square(f"blocks[{number}]", block)


def selected(groups: list[EqualBlocks], rows: Array) -> list[EqualBlocks]:
    """The blocks of chosen rows, an index array without repeats; rows of a block need not be neighbours."""
    if len(rows) == 0:
        return []
    n = sum(group.rows.size for group in groups)
    group_of, block_of, place_in = (np.empty(n, int) for _ in range(3))
    for number, group in enumerate(groups):
        group_of[group.rows] = number
        block_of[group.rows] = np.arange(len(group.rows))[:, None]
        place_in[group.rows] = np.arange(group.size)
    group_of, block_of, place_in = group_of[rows], block_of[rows], place_in[rows]
    # Chosen rows of one block side by side, in the order they were asked for.
    order = np.lexsort((block_of, group_of))
    changes = (np.diff(group_of[order]) != 0) | (np.diff(block_of[order]) != 0)
    starts = np.flatnonzero(np.r_[True, changes])
    counts, source = np.diff(np.r_[starts, len(rows)]), group_of[order[starts]]
    chosen = []
    for count in np.unique(counts):
        positions, matrices = [], []
        for number, group in enumerate(groups):
            firsts = starts[(counts == count) & (source == number)]
            if len(firsts) == 0:
                continue
            position = order[firsts[:, None] + np.arange(count)]
            local, block = place_in[position], block_of[position[:, 0]]
            positions.append(position)
            matrices.append(group.matrices[block[:, None, None], local[:, :, None], local[:, None, :]])
        together = np.concatenate(matrices)
        chosen.append(
            EqualBlocks.of(np.concatenate(positions), together, lambda i: "the selected covariance")
        )
    return chosen


def inverse_factors(factors: Array) -> Array:
    """L^-1 of lower triangular factors, shape (m, b, b)."""
    b = factors.shape[1]
    if b > SIDE_BY_SIDE:
        return np.stack([linalg.lapack.dtrtri(factor, lower=1)[0] for factor in factors])
    # Blocks last, so that every step is a product along contiguous memory.
    L = np.ascontiguousarray(factors.transpose(1, 2, 0))
    W = np.zeros_like(L)
    for i in range(b):
        W[i, i] = 1 / L[i, i]
        for j in range(i):
            W[i, j] = -np.einsum("km,km->m", L[i, j:i], W[j:i, j]) * W[i, i]
    return np.ascontiguousarray(W.transpose(2, 0, 1))


def _multiply(inverse: Array, values: Array) -> Array:
    """Blocks (m, b, b) times values (m b,) or (m b, k)."""
    m, b = inverse.shape[:2]
    return (inverse @ values.reshape(m, b, -1)).reshape(values.shape)


def _as_slice(rows: Array) -> slice | Array:
    """Neighbouring rows as a slice, which is read in place."""
    first, last = int(rows[0]), int(rows[-1])
    if last - first + 1 == len(rows) and np.all(rows[1:] - rows[:-1] == 1):
        return slice(first, last + 1)
    return rows


def _checked(rows: Array, matrices: Array, numbers: Array) -> EqualBlocks:
    """Equal blocks that are finite, symmetric and positive definite; `numbers` are their places in the input."""
    step = max(STEP_ROWS // max(matrices.shape[1], 1), 1)
    for start in range(0, len(matrices), step):
        some = matrices[start : start + step]
        with np.errstate(invalid="ignore"):
            size = np.abs(some)
            largest = np.max(size, axis=(1, 2), initial=0)
            tolerance = 1e-10 * size + 1e-12 * largest[:, None, None]
            fine = np.all(np.abs(some - some.transpose(0, 2, 1)) <= tolerance, axis=(1, 2))
        if not np.all(fine & np.isfinite(largest)):
            bad = int(np.argmin(fine & np.isfinite(largest)))
            as_square(f"blocks[{numbers[start + bad]}]", some[bad])
    return EqualBlocks.of(rows, matrices, lambda i: f"blocks[{numbers[i]}]")


def _is_positive_definite(matrix: Array) -> bool:
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True
