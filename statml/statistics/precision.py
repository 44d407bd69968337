r"""Inverses of covariances that were estimated from few realisations.

A covariance C_hat of p numbers, estimated without bias from N independent realisations, has an
inverse that is too large in the mean, by (N - 1) / (N - p - 2) for normal data:

    E[C_hat^-1] = (N - 1) / (N - p - 2)  C^-1,      Hartlap's factor (N - p - 2) / (N - 1)

At N <= p + 2 that mean does not exist, and at N <= p the matrix has no inverse: both are refused.
The factor mends the mean, not the scatter, of the inverse: chi-square values still fluctuate
more than they should (Sellentin & Heavens replace the normal likelihood by a t distribution).

Sources: Kaufman (1967); Hartlap, Simon & Schneider (2007), arXiv:astro-ph/0608064, equation 17.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg

from statml.errors import InputError

Array = np.ndarray


def hartlap_factor(realisations: int, size: int) -> float:
    """Factor that makes the inverse of an estimated covariance right in the mean.

    Parameters
    ----------
    realisations : int
        N, the data sets that the covariance was estimated from.
    size : int
        p, the rows of the covariance.

    Raises
    ------
    InputError
        There are not more than p + 2 realisations.

    Examples
    --------
    >>> hartlap_factor(100, 9)
    0.898989898989899
    """
    if realisations <= size + 2:
        raise InputError(
            f"realisations is {realisations} for a covariance of {size} numbers, whose inverse then has no mean; "
            f"accepted are more than {size + 2}, or fewer numbers (wider bins)"
        )
    return (realisations - size - 2) / (realisations - 1)


def inverse_covariance(cov: Any, realisations: int) -> Array:
    """Inverse of a covariance estimated from N realisations, with Hartlap's factor.

    For a jackknife or bootstrap over N regions the factor is only a guide: their replicates
    are not independent realisations.

    Parameters
    ----------
    cov : array (p, p)
    realisations : int

    Returns
    -------
    array (p, p)

    Raises
    ------
    InputError
        There are not more than p + 2 realisations, or the matrix is not positive definite.

    Examples
    --------
    >>> import numpy as np
    >>> draws = np.random.default_rng(0).normal(size=(50, 5))
    >>> precision = inverse_covariance(np.cov(draws.T), 50)
    >>> bool(np.isclose(np.trace(precision @ np.cov(draws.T)), 5 * 43 / 49))
    True
    """
    cov = np.asarray(cov, float)
    if cov.ndim != 2 or cov.shape[0] != cov.shape[1] or not np.all(np.isfinite(cov)):
        raise InputError(f"cov has shape {cov.shape} or a value that is not finite; accepted is (p, p)")
    factor = hartlap_factor(realisations, len(cov))
    try:
        return factor * linalg.cho_solve(linalg.cho_factor(cov), np.eye(len(cov)))
    except linalg.LinAlgError as error:
        raise InputError("cov is not positive definite; accepted is a covariance of full rank") from error
