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
    curvature = log_curvatures(eigenvalues, noise) + turns * np.log(n)
    return (
        log_prior
        - 0.5 * n * (logs + (d - counts) * np.log(noise))
        + 0.5 * (turns + counts) * np.log(2 * np.pi)
        - 0.5 * curvature
        - 0.5 * counts * np.log(n)
    )


def log_curvatures(eigenvalues: Array, noise: Array) -> Array:
    """log prod_{i<=k} prod_{j>i} (1/l'_j - 1/l'_i) (l_i - l_j) for k = 0 ... d - 1, without the factors n.

    Split into what axis i adds for all later k, and its turns against the noise, which
    depend on k, so that all k together cost d^2.
    """
    d = len(eigenvalues)
    later = np.arange(d) > np.arange(d)[:, None]
    kept = np.arange(d)[:, None] < np.arange(d)  # axis i is among the first k
    with np.errstate(divide="ignore", invalid="ignore"):
        gaps = np.log(eigenvalues[:, None] - eigenvalues)
        products = np.log(eigenvalues)[:, None] + np.log(eigenvalues)
        against_noise = np.log(1 / noise - 1 / eigenvalues[:, None])  # axis i, noise of k axes
        # 1/l_j - 1/l_i = (l_i - l_j) / (l_i l_j) for i < j <= k: what the j-th axis adds with those before it
        among = np.where(later, gaps - products, 0.0).sum(axis=0)
        to_all = np.where(later, gaps, 0.0).sum(axis=1)
        beyond = np.where(kept, against_noise, 0.0).sum(axis=0) * (d - np.arange(d))
        return np.concatenate([[0.0], np.cumsum(to_all + among)[:-1]]) + beyond


def _parts(eigenvalues: Array) -> tuple[Array, Array]:
    """sum_{j<=k} log l_j and the mean of the rest, for k = 0 ... d - 1; NaN for a rest of 0."""
    d = len(eigenvalues)
    with np.errstate(divide="ignore"):
        logs = np.concatenate([[0.0], np.cumsum(np.log(eigenvalues))[:-1]])
    rest = np.cumsum(eigenvalues[::-1])[::-1] / (d - np.arange(d))
    # what rounding leaves of a variance is not one
    return logs, np.where(rest > 1e-13 * eigenvalues[0], rest, np.nan)
