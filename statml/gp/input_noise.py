r"""Errors of the training points' x, taken as further errors of their y.

To first order f(x + d) = f(x) + f'(x) d, so an error d ~ N(0, S_i) of x adds the variance

    f'(x_i)^T S_i f'(x_i)

to y_i. The slope is that of the posterior mean, which depends on the errors: fit, take the slopes,
fit again, until they stay (McHutchon & Rasmussen 2011, NIPS 24, 1341). Like any method of
"effective variance" this weights the rows rightly and does not undo the smoothing that
errors comparable to the length scale have done.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from statml.gp.posterior import Posterior
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray

MAX_ROUNDS = 30
# Change of the added variances, as a share of their largest, below which they stay.
SETTLED = 1e-3
# Shortest step from the variances that a fit was given to those that follow from it.
SHORTEST = 0.25


def slope_variance(posterior: Posterior, X: Array, stack: CovarianceStack) -> Array:
    """f'(x_i)^T S_i f'(x_i) for the posterior mean, (n,)."""
    slopes = posterior.slopes(X)
    return stack.transformed(slopes[:, None, :]).to_dense()[:, 0, 0]


def settle(
    fit: Callable[[Array], tuple[Posterior, Any]], X: Array, stack: CovarianceStack
) -> tuple[tuple[Posterior, Any], Array, int]:
    """Fit with added variances (n,) of y until those that follow from the fit are the ones it was given.

    Parameters
    ----------
    fit : callable
        From variances (n,) to a posterior, and whatever else a fit leaves.

    Returns
    -------
    result, variance, rounds
        What `fit` gave last, with which variances, after how many rounds.
    """
    variance, step, last = np.zeros(len(X)), 1.0, np.inf
    result = fit(variance)
    for rounds in range(1, MAX_ROUNDS + 1):
        change = slope_variance(result[0], X, stack) - variance
        size = float(np.max(np.abs(change)))
        if size <= SETTLED * np.max(variance + change):
            return result, variance, rounds
        # Shorter steps keep two curves, each the answer to the other's errors, from taking turns.
        step = step / 2 if size > last / 2 and rounds > 2 else step
        variance, last = variance + max(step, SHORTEST) * change, size
        result = fit(variance)
    warnings.warn(
        f"the errors of X were still changing the slopes after {MAX_ROUNDS} rounds; they may be too large "
        "against the length scale for a first-order treatment",
        ConvergenceWarning,
        stacklevel=4,
    )
    return result, variance, MAX_ROUNDS
