r"""Least squares with a sparse design, which is never made dense as a whole.

Where columns of unit length are well conditioned the small Gram matrix is formed by
one sparse product and factorised, and the digits its squaring cost are brought back
by corrected semi-normal equations (Björck 1987),

    R^T R = A^T C^-1 A,     R^T R d = A^T C^-1 (y - A x),     x <- x + d

with residuals that come from A itself. Otherwise blocks of rows are made dense one
after the other and folded into one triangle by orthogonal transformations. Refinement
to full precision solves the augmented system of Björck (1967) with R alone; without
an orthogonal factor it converges up to a condition number of about 1e7.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import linalg, sparse

from statml.compute import Namespace
from statml.regression.least_squares import (
    MAX_REFINEMENTS,
    Solution,
    Triangle,
    _two_product,
    _two_sum,
)
from statml.regression.predictive import BLOCK_ROWS, design
from statml.uncertainty.covariance import Covariance, DiagonalCovariance

Array = np.ndarray

# Above this condition number the Gram matrix has lost six of sixteen digits: QR instead.
GRAM_BELOW = 1e3
# Above this one refinement without an orthogonal factor may not converge.
REFINE_SPARSE_BELOW = 3e6
# Columns of a correlated design that are handled as a dense block.
BLOCK_COLUMNS = 32
CORRECTIONS = 2


def reduce_sparse(
    X: Any, y: Array, covariance: Covariance | None, *, intercept: bool, device: Namespace
) -> Triangle | None:
    """Triangle of ``C^-1/2 [1, X | y]``; None for correlated errors of an ill-conditioned design."""
    A = design(X, intercept)
    if covariance is not None and not isinstance(covariance, DiagonalCovariance):
        return gram_triangle(A, y, covariance)
    A, y = weighted(A, y, covariance)
    return gram_triangle(A, y, None) or folded_triangle(A, y, device)


def weighted(A: Any, y: Array, covariance: Covariance | None) -> tuple[Any, Array]:
    """Rows of a sparse A, and y, over the standard deviations of a diagonal covariance."""
    if covariance is None:
        return A, y
    weights = covariance.whiten(np.ones(len(y)))
    return scale_sparse_rows(A, weights), weights * y


def scale_sparse_rows(A: Any, weights: Array) -> Any:
    """diag(weights) A for a CSR matrix."""
    return sparse.csr_array((A.data * np.repeat(weights, np.diff(A.indptr)), A.indices, A.indptr), A.shape)


def gram_triangle(A: Any, y: Array, covariance: Covariance | None) -> Triangle | None:
    """Triangle of ``C^-1/2 [A y]`` through the Gram matrix; None where that would cost digits.

    Parameters
    ----------
    A : sparse matrix (n, p)
    y : array (n,)
    covariance : Covariance or None
        C; None for the unit matrix, with A and y already weighted.
    """
    gram = (A.T @ A).toarray() if covariance is None else _correlated_gram(A, covariance)
    norms = np.sqrt(np.diag(gram))
    if not np.all(norms > 0):
        return None
    try:
        R = linalg.cholesky(gram / np.outer(norms, norms))
    except linalg.LinAlgError:
        return None
    singular = np.linalg.svd(R, compute_uv=False)
    if singular[0] > GRAM_BELOW * singular[-1]:
        return None
    R = R * norms
    x = np.zeros(len(norms))
    for _ in range(1 + CORRECTIONS):
        residual = y - A @ x
        x = x + linalg.cho_solve((R, False), A.T @ _precision(covariance, residual))
    residual = y - A @ x
    chi2 = float(residual @ residual) if covariance is None else covariance.mahalanobis(residual)
    return Triangle(R, R @ x, math.sqrt(chi2), len(y))


def _precision(covariance: Covariance | None, values: Array) -> Array:
    return values if covariance is None else covariance.solve(values)


def _correlated_gram(A: Any, covariance: Covariance) -> Array:
    columns = A.tocsc()
    blocks = []
    for start in range(0, A.shape[1], BLOCK_COLUMNS):
        blocks.append(A.T @ covariance.solve(columns[:, start : start + BLOCK_COLUMNS].toarray()))
    gram = np.concatenate(blocks, axis=1)
    return (gram + gram.T) / 2


def folded_triangle(A: Any, y: Array, device: Namespace) -> Triangle:
    """Triangle of ``[A y]``, both already weighted, by QR of dense blocks of rows."""
    n, p = A.shape
    # Blocks with fewer rows than columns would leave triangles as large as themselves.
    step = max(BLOCK_ROWS, 2 * (p + 1))
    triangle = np.zeros((0, p + 1))
    with device.one_thread():
        for low in range(0, n, step):
            rows = slice(low, low + step)
            block = np.column_stack([A[rows].toarray(), y[rows]])
            stacked = np.concatenate([triangle, block])
            triangle = device.to_numpy(device.qr_r(device.asarray(stacked)))
    reduced = np.zeros((p + 1, p + 1))
    reduced[: len(triangle)] = triangle
    return Triangle(reduced[:p, :p], reduced[:p, p], abs(float(reduced[p, p])), n)


def refine_sparse(solution: Solution, A: Any, y: Array) -> Solution:
    """Iterative refinement with a sparse design; `A` (CSR) and `y` are already weighted.

    Notes
    -----
    The same augmented system as `statml.regression.least_squares.refine`, its residuals
    in double-double arithmetic, with (A^T A)^-1 = F F^T in place of Q and R.
    """
    columns = A.tocsc()
    x, F = solution.params, solution.factor
    r = y - A @ x
    best, best_size, steps = x, np.inf, 0
    for _ in range(MAX_REFINEMENTS):
        residual = _sparse_dot2(A, x, y, r)
        dx = F @ (F.T @ (A.T @ residual + _exact_projection(columns, r)))
        size = float(np.max(np.abs(dx) / np.maximum(np.abs(x), np.finfo(float).tiny)))
        if not size < best_size:
            break
        r = r + residual - A @ dx
        x = x + dx
        best, best_size = x, size
        steps += 1
        if size < 4 * np.finfo(float).eps:
            break
    exact_r = _sparse_dot2(A, best, y)
    return replace(solution, params=best, chi2=float(exact_r @ exact_r), refinements=steps)


def _exact_projection(columns: Any, r: Array) -> Array:
    """A^T r, each entry rounded once; `columns` is A as CSC."""
    product, rounding = _two_product(columns.data, r[columns.indices])
    edges = columns.indptr
    return np.array(
        [math.fsum(np.concatenate([product[low:high], rounding[low:high]])) for low, high in pairwise(edges)]
    )


def _sparse_dot2(A: Any, x: Array, *start: Array) -> Array:
    """start[0] - start[1] - A x in twice the working precision, rounded once; A is CSR."""
    total, error = start[0].astype(float), np.zeros(len(start[0]))
    for term in start[1:]:
        total, rounding = _two_sum(total, -term)
        error = error + rounding
    counts = np.diff(A.indptr)
    for k in range(int(counts.max(initial=0))):  # the k-th entry of every row that has one
        rows = np.flatnonzero(counts > k)
        entry = A.indptr[rows] + k
        product, product_error = _two_product(A.data[entry], -x[A.indices[entry]])
        total[rows], rounding = _two_sum(total[rows], product)
        error[rows] += rounding + product_error
    return total + error
