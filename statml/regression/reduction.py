"""From a design, its target and their errors to one small triangle.

Every linear method starts here: ``C^-1/2 [1, X | y]`` is reduced by orthogonal
transformations to the triangle that holds all it says about the parameters
(`statml.regression.least_squares`), whatever the form of C and of X.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from statml.compute import Namespace
from statml.regression.least_squares import Triangle, reduce_rows
from statml.regression.predictive import design
from statml.uncertainty.covariance import Covariance, DiagonalCovariance

Array = np.ndarray


def reduce_measured(
    X: Any, y: Array, covariance: Covariance | None, *, intercept: bool, device: Namespace
) -> Triangle:
    """Reduce ``C^-1/2 [1, X | y]`` to a triangle.

    Parameters
    ----------
    X : array (n, d)
    y : array (n,)
    covariance : Covariance or None
        C, errors of y; None for the unit matrix.
    intercept : bool
        Put a column of ones first.
    device : Namespace
        Where blocks are factorised.
    """
    if covariance is None or isinstance(covariance, DiagonalCovariance):
        weights = None if covariance is None else covariance.whiten(np.ones(len(y)))
        return reduce_rows(X, y, intercept=intercept, weights=weights, device=device)
    white = covariance.whiten(design(X, intercept))
    return reduce_rows(white, covariance.whiten(y), intercept=False, weights=None, device=device)
