r"""How many components: the probability of the data given the number of axes.

For n rows whose covariance (divisor n) has eigenvalues l_1 >= ... >= l_d, and a model of
k axes above one noise variance v = mean(l_{k+1} ... l_d),

    log likelihood   -n/2 [ d log(2 pi) + sum_{j<=k} log l_j + (d - k) log v + d ]
    BIC              log likelihood - p/2 log n,      p = d k - k (k - 1) / 2 + 1 + d
    evidence         Laplace's approximation of the integral over all orthonormal axes
                     and variances (Minka 2000, NIPS 13, 598):

    log p(D | k) = log p(U) - n/2 [ sum_{j<=k} log l_j + (d - k) log v ]
                   + (m + k)/2 log(2 pi) - 1/2 log|A| - k/2 log n,     m = d k - k (k + 1) / 2

p(U) is one over the volume of all sets of k orthonormal axes, and
|A| = prod_{i<=k} prod_{j>i} n (1/l'_j - 1/l'_i) (l_i - l_j), l'_j = l_j for j <= k and v
beyond, the curvature of the likelihood as the axes turn. Terms that do not grow with n
are left out, as in the paper, so a difference of a few between two k decides nothing.
Both criteria suppose normal data and *one* noise level: on real spectra each weak but
real feature earns its axis, and k comes out large.
"""

from __future__ import annotations

import numpy as np
from scipy import special

Array = np.ndarray


def log_likelihoods(eigenvalues: Array, n: int) -> Array:
    """Maximum log likelihood for k = 0 ... d - 1, shape (d,); NaN where the noise variance is 0."""
    d, k = len(eigenvalues), np.arange(len(eigenvalues))
    logs, noise = _parts(eigenvalues)
    return -0.5 * n * (d * np.log(2 * np.pi) + logs + (d - k) * np.log(noise) + d)


def bic(eigenvalues: Array, n: int) -> Array:
    """Log likelihood minus p/2 log n, for k = 0 ... d - 1; the largest is best, its unit is that of a log evidence."""
    d, k = len(eigenvalues), np.arange(len(eigenvalues))
    parameters = d * k - k * (k - 1) / 2 + 1 + d
    return log_likelihoods(eigenvalues, n) - 0.5 * parameters * np.log(n)


def log_evidence(eigenvalues: Array, n: int) -> Array:
    """Minka's approximation, for k = 0 ... d - 1; NaN where an eigenvalue that counts is 0.

    Parameters
    ----------
    eigenvalues : array (d,)
        Of the covariance with divisor n, largest first.
    n : int
        Rows.

    Examples
    --------
    >>> int(np.argmax(log_evidence(np.array([9.0, 4.0, 1.1, 1.0, 0.9]), 200)))
    2
    """
    d, counts = len(eigenvalues), np.arange(len(eigenvalues))
    logs, noise = _parts(eigenvalues)
    free = (d - np.arange(d)) / 2
    log_prior = -counts * np.log(2) + np.concatenate(
        [[0.0], np.cumsum(special.gammaln(free) - free * np.log(np.pi))[:-1]]
    )
    turns = d * counts - counts * (counts + 1) / 2
    curvature = np.array(
        [log_curvature(eigenvalues, int(k), noise[k]) + turns[k] * np.log(n) for k in counts]
    )
    return (
        log_prior
        - 0.5 * n * (logs + (d - counts) * np.log(noise))
        + 0.5 * (turns + counts) * np.log(2 * np.pi)
        - 0.5 * curvature
        - 0.5 * counts * np.log(n)
    )


def log_curvature(eigenvalues: Array, k: int, noise: float) -> float:
    """log prod_{i<=k} prod_{j>i} (1/l'_j - 1/l'_i) (l_i - l_j), without the factors n."""
    filled = np.concatenate([eigenvalues[:k], np.full(len(eigenvalues) - k, noise)])
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / filled
        terms = np.log(inverse[None, :] - inverse[:k, None]) + np.log(eigenvalues[:k, None] - eigenvalues)
    later = np.arange(len(eigenvalues)) > np.arange(k)[:, None]
    return float(np.sum(terms[later]))


def _parts(eigenvalues: Array) -> tuple[Array, Array]:
    """sum_{j<=k} log l_j and the mean of the rest, for k = 0 ... d - 1; NaN for a rest of 0."""
    d = len(eigenvalues)
    with np.errstate(divide="ignore"):
        logs = np.concatenate([[0.0], np.cumsum(np.log(eigenvalues))[:-1]])
    rest = np.cumsum(eigenvalues[::-1])[::-1] / (d - np.arange(d))
    # what rounding leaves of a variance is not one
    return logs, np.where(rest > 1e-13 * eigenvalues[0], rest, np.nan)
