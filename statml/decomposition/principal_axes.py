r"""Principal axes of a data matrix, by three routes to one singular value decomposition.

    X - 1 m^T = U S V^T,      s_1 >= s_2 >= ... >= 0

The rows of V^T are the axes, s_j^2 is the sum of squares along axis j. By Eckart and
Young (1936, Psychometrika 1, 211) no other k axes leave a smaller residual, which is
the sum of the s_j^2 that were left out.

gram        eigenvectors of (X - m)^T (X - m), the fastest where n >> d; rows are
            centred before they are multiplied where the mean is larger than the spread. It squares the condition number: an s_j below about
            1e-5 s_1 loses half its digits, so `principal_axes` then takes the next route.
full        for n > d the triangle R of a QR decomposition first, which has the same
            s and V and squares nothing; then LAPACK's divide and conquer.
randomized  range of (X - m) times a random matrix, with power iterations (Halko,
            Martinsson & Tropp 2011, SIAM Rev. 53, 217); approximate, for few components.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy import linalg

from statml.compute import generator, namespace
from statml.errors import InputError

Array = np.ndarray
Solver = Literal["auto", "full", "gram", "randomized"]
SOLVERS = ("auto", "full", "gram", "randomized")

BLOCK_ROWS = 2048
# The least variance, as a fraction of the largest, that a Gram matrix gives to about 8 digits.
GRAM_FLOOR = 1e-8
# "auto" tries the Gram matrix where rows outnumber columns by this factor and it is not too large.
TALL, GRAM_COLUMNS = 4, 4096
# Rows that tell whether the mean is large beside the spread.
SAMPLE_ROWS = 1000
# Extra random directions, and passes that sharpen the spectrum.
OVERSAMPLE, POWER = 10, 4


@dataclass(frozen=True, eq=False)
class PrincipalAxes:
    """Mean (d,), orthonormal axes (k, d), sums of squares along them (k,) and in all; n rows."""

    mean: Array
    axes: Array
    squares: Array
    total: float
    n: int

    def leading(self, k: int) -> PrincipalAxes:
        """The first k axes."""
        return replace(self, axes=self.axes[:k], squares=self.squares[:k])


def principal_axes(X: Array, k: int, *, solver: Solver = "auto", rng: Any = None) -> PrincipalAxes:
    """The k leading principal axes of the rows of X, shape (n, d); each has its largest entry positive.

    Parameters
    ----------
    X : array (n, d)
    k : int
        At most min(n, d).
    solver : {"auto", "full", "gram", "randomized"}
        "auto" is "gram" where that is accurate and "full" elsewhere, never approximate.
    rng : int, Generator or None
        For "randomized".

    Raises
    ------
    InputError
        An unknown solver, or a k that is not accepted.

    Examples
    --------
    >>> X = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    >>> found = principal_axes(X, 1)
    >>> found.axes.round(12), found.squares.round(12)
    (array([[0.6, 0.8]]), array([50.]))
    """
    n, d = X.shape
    if solver not in SOLVERS:
        raise InputError(f"solver is {solver!r}; accepted are {', '.join(map(repr, SOLVERS))}")
    if not 1 <= k <= min(n, d):
        raise InputError(f"n_components is {k}; accepted are 1 to {min(n, d)} for X of shape {X.shape}")
    mean = X.mean(axis=0)
    if solver == "randomized":
        axes, squares, total = _randomized(X, mean, k, generator(rng))
    elif solver == "gram" or (solver == "auto" and n >= TALL * d and d <= GRAM_COLUMNS):
        axes, squares, total = _gram(X, mean, k)
        if solver == "auto" and not squares[-1] > GRAM_FLOOR * squares[0]:
            axes, squares, total = _full(X, mean, k)
    else:
        axes, squares, total = _full(X, mean, k)
    return PrincipalAxes(mean, upright(axes), squares, total, n)


def upright(axes: Array) -> Array:
    """Each axis with the sign that makes its entry of largest size positive."""
    largest = np.argmax(np.abs(axes), axis=1)
    return axes * np.where(axes[np.arange(len(axes)), largest] < 0, -1.0, 1.0)[:, None]


def centred(X: Array, mean: Array, *, rows: int = BLOCK_ROWS) -> Iterator[Array]:
    """Blocks of rows minus the mean, in one buffer: use or copy each before taking the next."""
    buffer = np.empty((min(rows, len(X)), X.shape[1]))
    for start in range(0, len(X), rows):
        block = X[start : start + rows]
        yield np.subtract(block, mean, out=buffer[: len(block)])


def _gram(X: Array, mean: Array, k: int) -> tuple[Array, Array, float]:
    d = X.shape[1]
    gram = _sums_of_products(X, mean)
    if k < d // 2:
        squares, vectors = linalg.eigh(gram, check_finite=False, subset_by_index=(d - k, d - 1), driver="evr")
    else:
        squares, vectors = np.linalg.eigh(gram)
    return vectors.T[::-1][:k], np.maximum(squares[::-1][:k], 0.0), float(np.trace(gram))


def _sums_of_products(X: Array, mean: Array) -> Array:
    """(X - m)^T (X - m); rows are centred first unless the mean is small beside their spread."""
    n = len(X)
    sample = X[:: max(n // SAMPLE_ROWS, 1)] - mean
    if _mean_is_small(sample, mean) and (X.flags.c_contiguous or X.flags.f_contiguous):
        return X.T @ X - n * np.outer(mean, mean)
    gram = np.zeros((len(mean), len(mean)))
    for block in centred(X, mean):
        gram += block.T @ block
    return gram


def _mean_is_small(sample: Array, mean: Array) -> bool:
    """Subtracting the mean afterwards then costs one bit."""
    return float(mean @ mean) <= float(np.sum(sample**2)) / len(sample)


def _full(X: Array, mean: Array, k: int) -> tuple[Array, Array, float]:
    n, d = X.shape
    if n > d:
        matrix = np.empty((0, d))
        for block in centred(X, mean, rows=max(BLOCK_ROWS, 2 * d)):
            matrix = namespace("cpu").qr_r(np.concatenate([matrix, block]))
    else:
        matrix = X - mean
    _, s, axes = linalg.svd(matrix, full_matrices=False, check_finite=False)
    return axes[:k], s[:k] ** 2, float(np.sum(s**2))


def _randomized(X: Array, mean: Array, k: int, rng: np.random.Generator) -> tuple[Array, Array, float]:
    n, d = X.shape
    basis = rng.standard_normal((d, min(k + OVERSAMPLE, n, d)))
    for _ in range(POWER):
        basis = np.linalg.qr(_gram_times(X, mean, basis))[0]
    # s and V of X - m restricted to the basis, from the small matrix of its products
    seen = np.concatenate([block @ basis for block in centred(X, mean)])
    _, s, rotation = np.linalg.svd(seen, full_matrices=False)
    total = sum(float(np.vdot(block, block)) for block in centred(X, mean))
    return rotation[:k] @ basis.T, s[:k] ** 2, total


def _gram_times(X: Array, mean: Array, basis: Array) -> Array:
    """(X - m)^T (X - m) B."""
    total = np.zeros_like(basis)
    for block in centred(X, mean):
        total += block.T @ (block @ basis)
    return total
