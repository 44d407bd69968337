r"""Did the Markov chains agree, and how many independent draws are they worth?

`split_rhat` compares the halves of all chains: their pooled variance over the mean
variance within, on ranks, so that heavy tails do not hide a difference; it is 1 where
all halves sample the same. `effective_size` divides the number of draws by their
autocorrelation time 1 + 2 sum rho_t, the sum cut where pairs of autocorrelations turn
negative (Geyer 1992).

Reference: Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), Bayesian Analysis 16, 667.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import fft, special, stats

from statml.errors import InputError

Array = np.ndarray


def split_rhat(draws: Any) -> Array:
    """Rank-normalised split R-hat, the larger of location (bulk) and spread (folded): below 1.01 is good.

    Parameters
    ----------
    draws : array (chains, draws, k)
        Of k quantities; (chains, draws) for one.

    Returns
    -------
    array (k,)

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> agree = rng.normal(size=(4, 500))
    >>> bool(split_rhat(agree)[0] < 1.01), bool(split_rhat(agree + np.arange(4)[:, None])[0] > 1.5)
    (True, True)
    """
    halves = _split(_checked(draws))
    folded = np.abs(halves - np.median(halves, axis=(0, 1)))
    return np.maximum(_rhat(_normal_scores(halves)), _rhat(_normal_scores(folded)))


def effective_size(draws: Any) -> Array:
    """Bulk effective sample size: independent draws that would know the centre as well.

    Parameters
    ----------
    draws : array (chains, draws, k)
        Of k quantities; (chains, draws) for one.

    Returns
    -------
    array (k,)
        More than the number of draws where they are anticorrelated.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> walk = np.zeros((4, 1000))
    >>> for t in range(1, 1000):
    ...     walk[:, t] = 0.5 * walk[:, t - 1] + rng.normal(size=4)
    >>> bool(1000 < effective_size(walk)[0] < 1700)  # a third of 4000
    True
    """
    scores = _normal_scores(_split(_checked(draws)))
    return np.array([_effective(scores[:, :, j]) for j in range(scores.shape[2])])


def _checked(draws: Any) -> Array:
    draws = np.asarray(draws, float)
    draws = draws[:, :, None] if draws.ndim == 2 else draws
    if draws.ndim != 3 or draws.shape[1] < 4 or not np.all(np.isfinite(draws)):
        raise InputError(
            f"draws has shape {draws.shape}; accepted is (chains, draws, k), finite, with 4 draws or more"
        )
    return draws


def _split(draws: Array) -> Array:
    """First and second half of each chain as chains of their own; an odd draw in the middle is left out."""
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, -half:]])


def _normal_scores(draws: Array) -> Array:
    """Ranks over all chains, mapped to normal quantiles (Blom 1958)."""
    flat = draws.reshape(-1, draws.shape[2])
    ranks = stats.rankdata(flat, axis=0)
    return special.ndtri((ranks - 0.375) / (len(flat) + 0.25)).reshape(draws.shape)


def _variances(chains: Array) -> tuple[Array, Array]:
    """Mean variance within chains (m, n, k), and the pooled estimate that adds what is between them."""
    n = chains.shape[1]
    within = chains.var(axis=1, ddof=1).mean(axis=0)
    between = chains.mean(axis=1).var(axis=0, ddof=1)
    return within, within * (n - 1) / n + between


def _rhat(chains: Array) -> Array:
    within, pooled = _variances(chains)
    # Chains that never moved agree if they stand at one place.
    return np.sqrt(np.divide(pooled, within, out=np.where(pooled > 0, np.inf, 1.0), where=within > 0))


def _effective(chains: Array) -> float:
    m, n = chains.shape
    within, pooled = (float(value[0]) for value in _variances(chains[:, :, None]))
    if pooled == 0:
        return 1.0
    centred = chains - chains.mean(axis=1, keepdims=True)
    size = fft.next_fast_len(2 * n)
    spectrum = np.abs(fft.rfft(centred, size, axis=1)) ** 2
    covariance = fft.irfft(spectrum, size, axis=1)[:, :n].mean(axis=0) / n
    # within has the divisor n - 1, the autocovariance n
    rho = 1 - (within - covariance * n / (n - 1)) / pooled
    rho[0] = 1.0
    pairs = rho[: n - n % 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs < 0)
    cut = int(negative[0]) if len(negative) else len(pairs)
    # Half of the first even term left out, which antithetic chains would miss.
    rest = max(float(rho[2 * cut]), 0.0) if cut < len(pairs) else 0.0
    time = 2 * np.sum(np.minimum.accumulate(pairs[:cut])) - 1 + rest
    # A chain of antithetic draws is not worth more than this.
    return float(m * n / max(time, 1 / np.log10(m * n)))
