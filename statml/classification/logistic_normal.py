r"""The mean of a sigmoid under a normal: class probabilities when the log odds are uncertain.

With log odds eta ~ N(mu, v), whatever made them uncertain (errors of X, of the
coefficients, or both), the probability of the class is E[sigma(eta)]. It has no closed
form, but the logistic distribution is a mixture of normals: if psi follows the
Kolmogorov distribution k and z the standard normal, 2 psi z is logistic (Andrews &
Mallows 1974; Stefanski 1991). So

    E sigma(eta) = integral Phi(mu / sqrt(4 psi^2 + v)) k(psi) d psi

which the trapezoidal rule in log psi integrates to rounding, for any v. The textbook's
probit approximation puts all weight on one psi,

    E sigma(eta) ~ sigma(kappa mu),   kappa = (1 + pi v / 8)^{-1/2}     (MacKay 1992)

and is at most 0.018 away from it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import special

from statml.errors import InputError

Array = np.ndarray
Averaging = Literal["exact", "probit"]

# Nodes in log psi: outside them the Kolmogorov density is below 1e-16.
_LOW, _HIGH, _NODES = np.log(0.13), np.log(7.0), 64
# Predictions averaged at once, so that a million rows need no million x nodes array.
_CHUNK = 16_384


def _kolmogorov_nodes() -> tuple[Array, Array]:
    """4 psi^2 at the nodes, and the share of the Kolmogorov distribution at each."""
    t = np.linspace(_LOW, _HIGH, _NODES)
    psi = np.exp(t)
    k = np.arange(1, 60)[:, None]
    density = np.sum(8 * (-1.0) ** (k + 1) * k**2 * psi * np.exp(-2 * k**2 * psi**2), axis=0)
    # The alternating series cancels where psi is small; its theta-function twin does not.
    m = (2 * np.arange(1, 12)[:, None] - 1) ** 2 * np.pi**2 / 8
    small = np.sqrt(2 * np.pi) * np.sum(np.exp(-m / psi**2) * (2 * m / psi**4 - 1 / psi**2), axis=0)
    weights = np.where(psi < 0.8, small, density) * psi
    return 4 * psi**2, weights / weights.sum()


_VARIANCES, _WEIGHTS = _kolmogorov_nodes()


def averaged_sigmoid(mean: Any, variance: Any, averaging: Averaging = "exact") -> Array:
    """E sigma(eta) for eta ~ N(mean, variance).

    Parameters
    ----------
    mean, variance : arrays (n,)
        Of the log odds; the variance may be 0.
    averaging : {"exact", "probit"}
        By the integral (to rounding), or by the probit approximation (to 0.018).

    Returns
    -------
    array (n,)

    Raises
    ------
    InputError
        `averaging` is neither.

    Examples
    --------
    >>> averaged_sigmoid([1.0, 1.0], [0.0, 9.0]).round(4)
    array([0.7311, 0.6132])
    >>> averaged_sigmoid(1.0, 9.0, "probit").round(4)
    np.float64(0.6153)
    """
    mean, variance = np.broadcast_arrays(np.asarray(mean, float), np.asarray(variance, float))
    if averaging == "probit":
        return np.asarray(special.expit(mean / np.sqrt(1 + np.pi * variance / 8)))
    if averaging != "exact":
        raise InputError(f"averaging is {averaging!r}; accepted are 'exact' and 'probit'")
    flat_mean, flat_variance = mean.ravel(), variance.ravel()
    average = special.expit(flat_mean)
    uncertain = np.flatnonzero(flat_variance > 0)
    for start in range(0, len(uncertain), _CHUNK):
        rows = uncertain[start : start + _CHUNK]
        width = np.sqrt(_VARIANCES + flat_variance[rows, None])
        average[rows] = special.ndtr(flat_mean[rows, None] / width) @ _WEIGHTS
    return average.reshape(mean.shape)


def sigmoid_as_probits(stride: int = 1) -> tuple[Array, Array]:
    """Variances V and weights w with sigma(eta) = sum_k w_k Phi(eta / sqrt(V_k)).

    Adding v to every V_k averages the sigmoid over log odds of variance v.

    Parameters
    ----------
    stride : int
        Take every so many of the 64 nodes; with 4 the sum is good to 2e-7.

    Returns
    -------
    variances, weights : arrays (K,)

    Examples
    --------
    >>> variances, weights = sigmoid_as_probits(4)
    >>> bool(abs(weights @ special.ndtr(1.0 / np.sqrt(variances)) - special.expit(1.0)) < 2e-7)
    True
    """
    weights = _WEIGHTS[::stride]
    return _VARIANCES[::stride], weights / weights.sum()
