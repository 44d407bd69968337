"""From a design, its target and their errors to one small triangle.

Every linear method starts here: ``C^-1/2 [1, X | y]`` is reduced by orthogonal
transformations to the triangle that holds all it says about the parameters
(`statml.regression.least_squares`), whatever the form of C and of X.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

from statml.compute import Namespace
from statml.regression.least_squares import Solution, Triangle, reduce_blocks, reduce_rows, refine
from statml.regression.predictive import design
from statml.regression.sparse_designs import REFINE_SPARSE_BELOW, reduce_sparse, refine_sparse, weighted
from statml.uncertainty.covariance import Covariance, DiagonalCovariance
from statml.uncertainty.low_rank import LowRankCovariance

Array = np.ndarray


def reduce_measured(
    X: Any, y: Array, covariance: Covariance | None, *, intercept: bool, device: Namespace
) -> Triangle:
    """Reduce ``C^-1/2 [1, X | y]`` to a triangle.

    Parameters
    ----------
    X : array or sparse matrix (n, d)
        A sparse one is made dense only for correlated errors of an ill-conditioned design.
    y : array (n,)
    covariance : Covariance or None
        C, errors of y; None for the unit matrix.
    intercept : bool
        Put a column of ones first.
    device : Namespace
        Where blocks are factorised.
    """
    if sparse.issparse(X):
        triangle = reduce_sparse(X, y, covariance, intercept=intercept, device=device)
        if triangle is not None:
            return triangle
        X = X.toarray()
    if covariance is None:
        return reduce_rows(X, y, intercept=intercept, weights=None, device=device)
    modes = None
    if isinstance(covariance, LowRankCovariance):
        modes, covariance = covariance.modes, covariance.base
    if isinstance(covariance, DiagonalCovariance):
        weights = covariance.whiten(np.ones(len(y)))
        return reduce_rows(X, y, intercept=intercept, weights=weights, device=device, modes=modes)
    return _reduce_pieces(X, y, covariance, modes, intercept=intercept, device=device)


def _reduce_pieces(
    X: Array, y: Array, covariance: Covariance, modes: Array | None, *, intercept: bool, device: Namespace
) -> Triangle:
    """Whiten groups of rows that do not depend on each other but through `modes`, and reduce them."""
    shared = 0 if modes is None else modes.shape[1]
    first = shared + intercept
    columns = first + X.shape[1] + 1

    def blocks() -> Iterator[Any]:
        for rows, whiten in covariance.pieces(device.block_rows(columns)):
            block = np.ones((len(y[rows]), columns))
            if modes is not None:
                block[:, :shared] = modes[rows]
            block[:, first:-1] = X[rows]
            block[:, -1] = y[rows]
            yield device.asarray(whiten(block))

    return reduce_blocks(blocks(), len(y), columns, device=device, shared=shared)


def refine_measured(
    solution: Solution, X: Any, y: Array, covariance: Covariance | None, *, intercept: bool
) -> Solution:
    """Refine an ill-conditioned solution to full precision; see `least_squares.refine`."""
    A = design(X, intercept)
    if sparse.issparse(A):
        independent = covariance is None or isinstance(covariance, DiagonalCovariance)
        if independent and solution.condition < REFINE_SPARSE_BELOW:
            return refine_sparse(solution, *weighted(A, y, covariance))
        A = A.toarray()
    if covariance is None:
        return refine(solution, A, y)
    return refine(solution, covariance.whiten(A), covariance.whiten(y))
