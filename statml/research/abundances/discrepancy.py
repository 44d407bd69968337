r"""What the theory gets wrong about elements it knows, as a prior on what it gets wrong about one it does not.

For known elements the theory says z = atanh(rho) of every pair; what is left of the observed ones is fitted by

    D_xy = mu + a_x + a_y + e_xy,     a ~ N(0, s_a^2),  e ~ N(0, s_e^2),

one mean, one term for each element, and noise. A new element then has a row with mean mu + a_y and covariance
s_a^2 1 1^T + diag(s_e^2 + var a_y): its own term shifts all of the row together. Sampling noise of the known
pairs is in s_e too, so that adding that of the new row counts some of it twice: intervals are on the wide
side.

Sampling covariance of the row: Olkin & Siotani (1964), also Steiger (1980), Psychol. Bull. 87, 245, for n
stars.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statml.errors import InputError

Array = np.ndarray

# Observed correlations come with two digits: 1.00 may be anything above.
LARGEST = 0.995


@dataclass(frozen=True, eq=False)
class Discrepancy:
    """What the theory leaves over, in Fisher's z.

    Attributes
    ----------
    mean : array (m,)
        Expected shift of a new element's correlation with each known one.
    cov : array (m, m)
    element_scatter, pair_scatter : float
        s_a and s_e.
    """

    mean: Array
    cov: Array
    element_scatter: float
    pair_scatter: float


def fisher_z(rho: Array) -> Array:
    """Fisher's z of correlations, with what two digits cannot tell from 1 set to 0.995."""
    return np.arctanh(np.clip(rho, -LARGEST, LARGEST))


def learn_discrepancy(observed: Array, predicted: Array) -> Discrepancy:
    """Fit the two-way model to the differences of two matrices of correlations.

    Parameters
    ----------
    observed, predicted : arrays (m, m)
        Of the known elements; all pairs observed.

    Examples
    --------
    >>> import numpy as np
    >>> rho = np.full((6, 6), 0.5)
    >>> found = learn_discrepancy(rho, rho)
    >>> found.mean.tolist(), found.pair_scatter
    ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 0.0)
    """
    m = len(observed)
    if m < 5:
        raise InputError(
            f"observed has {m} known elements; accepted are at least 5, of which the discrepancy is learned"
        )
    left = fisher_z(observed) - fisher_z(predicted)
    np.fill_diagonal(left, 0.0)
    if not np.isfinite(left).all():
        raise InputError(
            "observed has pairs without a correlation; accepted are matrices in which all pairs are observed"
        )
    mu = left.sum() / (m * (m - 1))
    # a sums to zero: a row's mean is mu + a_x + (0 - a_x) / (m - 1)
    a = (left.sum(1) / (m - 1) - mu) * (m - 1) / (m - 2)
    rest = left - mu - a[:, None] - a[None, :]
    pair2 = float(np.sum(rest[np.triu_indices(m, 1)] ** 2) / (m * (m - 1) / 2 - m))
    error2 = pair2 / (m - 2)
    element2 = max(float(a @ a / (m - 1)) - error2, 0.0)
    shrunk = a * element2 / (element2 + error2) if element2 else 0 * a
    cov = element2 * np.ones((m, m)) + (pair2 + error2) * np.eye(m)
    return Discrepancy(mu + shrunk, cov, float(np.sqrt(element2)), float(np.sqrt(pair2)))


def sampling_covariance(row: Array, others: Array, stars: int) -> Array:
    """Covariance of Fisher's z of correlations that share an element, from `stars` stars.

    Parameters
    ----------
    row : array (m,)
        Correlations of the shared element with m others.
    others : array (m, m)
        Correlations between those.
    stars : int

    Examples
    --------
    >>> import numpy as np
    >>> sampling_covariance(np.zeros(2), np.array([[1, 0.5], [0.5, 1]]), 103).round(4).tolist()
    [[0.01, 0.005], [0.005, 0.01]]
    """
    r = np.clip(row, -LARGEST, LARGEST)
    own = 1 - r**2
    rho = np.clip(others, -LARGEST, LARGEST)
    both = r[:, None] * r[None, :]
    psi = rho * (own[:, None] + own[None, :] - 1) - both / 2 * (own[:, None] + own[None, :] - 1 - rho**2)
    cov = psi / np.outer(own, own)
    np.fill_diagonal(cov, 1.0)
    # observed pairs of two digits need not make a matrix of covariances; its negative directions are set to none
    values, axes = np.linalg.eigh((cov + cov.T) / 2)
    return (axes * np.maximum(values, 1e-3)) @ axes.T / (stars - 3)
