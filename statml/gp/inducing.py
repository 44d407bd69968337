"""Inducing points: the m places whose values of the function stand for those at n data."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from statml.compute import spread
from statml.errors import InputError, InputTypeError
from statml.mixture import KMeans

Array = np.ndarray
# Rows that k-means looks at for each centre, and its steps: a start for the search, not a result.
ROWS_OF_A_CENTRE, STEPS = 50, 20


def starting_points(X: Array, inducing: Any, rng: np.random.Generator) -> Array:
    """Places to begin with, shape (m, d).

    Parameters
    ----------
    X : array (n, d)
    inducing : int or array (m, d)
        How many: the centres of k-means on standardised features, or all different rows of X where these
        are no more than that. Or the places themselves.
    rng : Generator

    Raises
    ------
    InputError, InputTypeError
        Neither a positive number of points nor an array of d features.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> starting_points(np.array([[1.0], [1.0], [2.0]]), 5, rng).ravel()
    array([1., 2.])
    """
    if isinstance(inducing, int | np.integer) and not isinstance(inducing, bool):
        if inducing < 1:
            raise InputError(f"inducing is {inducing}; accepted are numbers >= 1 and arrays of points")
        return _centres(X, int(inducing), rng)
    try:
        points = np.array(inducing, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputTypeError(
            f"inducing is a {type(inducing).__name__}; accepted are a number and an array of points"
        ) from error
    if points.ndim != 2 or points.shape[1] != X.shape[1] or len(points) < 1:
        raise InputError(f"inducing has shape {points.shape}; accepted is (m, {X.shape[1]}), as X")
    if not np.all(np.isfinite(points)):
        raise InputError("inducing contains NaN or inf; accepted are finite points")
    return points


def _centres(X: Array, m: int, rng: np.random.Generator) -> Array:
    rows = rng.permutation(len(X))[: ROWS_OF_A_CENTRE * m] if len(X) > ROWS_OF_A_CENTRE * m else slice(None)
    different = np.unique(X[rows], axis=0)
    if len(different) <= m:
        return different
    width = spread(X)
    width = np.where(width > 0, width, 1.0)
    with warnings.catch_warnings():
        # A start need not have settled.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(m, n_init=1, max_iter=STEPS, random_state=rng).fit(different / width)
    return found.cluster_centers_ * width
