r"""Predictions at features that are only known to be near what was measured.

If the true features of a row are x ~ N(x_i, S_i) and the prediction at x has mean m(x) and variance
v(x), then the prediction of the row has mean E m(x) and variance E v(x) + Var m(x), averaged over x.
The averages are taken over quasi-random draws (Sobol points), the same ones every time, in pairs
x_i +- d, so that a straight line is averaged without error, for any kernel and any size of the errors.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import special
from scipy.stats import qmc

from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray
# Draws of the features of a row, half of them mirror images.
LOG2_DRAWS = 7


def feature_draws(X: Array, stack: CovarianceStack) -> Array:
    """Draws of the true features, shape (2^LOG2_DRAWS, n, d).

    Parameters
    ----------
    X : array (n, d)
        Measured features.
    stack : CovarianceStack
        Their errors.

    Examples
    --------
    >>> draws = feature_draws(np.array([[1.0], [5.0]]), CovarianceStack.from_std([[0.5], [0.0]]))
    >>> draws.shape, bool(np.all(draws[:, 1] == 5.0)), bool(abs(draws[:, 0].mean() - 1) < 1e-12)
    ((128, 2, 1), True, True)
    """
    normal = _normal_draws(X.shape[1])
    variances = stack.variances
    if variances is not None:
        return X + normal[:, None, :] * np.sqrt(variances)
    values, vectors = np.linalg.eigh(stack.to_dense())
    roots = vectors * np.sqrt(np.clip(values, 0, None))[:, None, :]
    return X + np.einsum("kr,nir->kni", normal, roots)


@cache
def _normal_draws(dimensions: int) -> Array:
    """Scrambled Sobol points as standard normals of unit variance, each with its mirror image."""
    points = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(0)).random_base2(LOG2_DRAWS - 1)
    draws = special.ndtri(np.clip(points, 1e-12, 1 - 1e-12))
    # Few draws of a normal are not quite of unit variance; these are.
    draws /= np.sqrt(np.mean(draws**2, axis=0))
    return np.concatenate([draws, -draws])
