r"""Have the chains converged, and how much do their draws know?

All functions take draws of shape (chains, draws) or (chains, draws, parameters)
and return one number, or one for each parameter.

=====================  ==============================================================
`rhat`                 agreement of the chains: rank-normalised, split, folded
`ess`                  independent draws that would know as much, bulk or tail
`mcse`                 Monte Carlo standard error of a mean, sd or quantile
`geweke`               do the first and the last part of each chain agree?
`autocorrelation_time` steps of a chain between two draws worth calling independent
=====================  ==============================================================

With the autocorrelation rho_t of the draws, N of them are worth N / tau,

    tau = 1 + 2 sum_t rho_t,

where the sum must stop before it adds up noise: Geyer's initial monotone sequence
for `ess`, Sokal's window t >= 5 tau for `autocorrelation_time`.

Sources: Vehtari et al. (2021), Bayesian Analysis 16, 667 (`rhat`, `ess`, `mcse`);
Geweke (1992); Goodman & Weare (2010) and Sokal (1997) (`autocorrelation_time`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import fft, special, stats

from statml.errors import InputError

Array = np.ndarray

# Below these a mean or an interval should not be quoted (Vehtari et al. 2021).
RHAT_LIMIT = 1.01
ESS_LIMIT = 400


def rhat(draws: Any) -> Any:
    """Rank-normalised split R-hat; chains that agree give 1, and more than 1.01 is too much.

    The larger of two numbers: that of the ranks, which sees chains in different
    places, and that of the ranks of distances from the median, which sees chains
    of different widths.

    Parameters
    ----------
    draws : array (chains, draws) or (chains, draws, parameters)
        Of a `Chain`, take ``chain.rhat()``: it warns where the chains are walkers of one ensemble.

    Returns
    -------
    float or array (parameters,)
        NaN for draws that do not vary.

    Examples
    --------
    >>> import numpy as np
    >>> draws = np.random.default_rng(0).normal(size=(4, 1000))
    >>> bool(rhat(draws) < 1.01), bool(rhat(draws + np.arange(4)[:, None]) > 1.1)
    (True, True)
    """
    return _each_parameter(draws, _rhat)


def ess(draws: Any, *, kind: str = "bulk", probability: float | None = None) -> Any:
    """Effective sample size.

    Parameters
    ----------
    draws : array (chains, draws) or (chains, draws, parameters)
    kind : {"bulk", "tail", "mean", "sd", "quantile"}
        Of the rank-normalised draws; the smaller of those of the 5 % and 95 %
        quantiles; of the mean, the standard deviation or one quantile.
    probability : float
        Which quantile, for ``kind="quantile"``.

    Returns
    -------
    float or array (parameters,)
        For draws that do not vary, their number.
    """
    kinds: dict[str, Callable[[Array], float]] = {
        "bulk": lambda x: _ess(_normal_scores(_split(x))),
        "tail": lambda x: min(_ess_quantile(x, 0.05), _ess_quantile(x, 0.95)),
        "mean": lambda x: _ess(_split(x)),
        "sd": lambda x: _ess(_split((x - x.mean()) ** 2)),
        "quantile": lambda x: _ess_quantile(x, _probability(probability)),
    }
    return _each_parameter(draws, kinds[_one_of("kind", kind, kinds)])


def mcse(draws: Any, *, kind: str = "mean", probability: float | None = None) -> Any:
    """Monte Carlo standard error of a mean, a standard deviation or a quantile.

    Parameters
    ----------
    draws : array (chains, draws) or (chains, draws, parameters)
    kind : {"mean", "sd", "quantile"}
    probability : float
        Which quantile, for ``kind="quantile"``.

    Returns
    -------
    float or array (parameters,)
        In the units of the draws.
    """
    kinds: dict[str, Callable[[Array], float]] = {
        "mean": lambda x: float(np.std(x, ddof=1) / np.sqrt(_ess(_split(x)))),
        "sd": _mcse_sd,
        "quantile": lambda x: _mcse_quantile(x, _probability(probability)),
    }
    return _each_parameter(draws, kinds[_one_of("kind", kind, kinds)])


def geweke(draws: Any, *, first: float = 0.1, last: float = 0.5) -> Array:
    """Difference between the means of the first and last part of each chain, in standard errors.

    Standard normal for a chain in equilibrium; the errors allow for autocorrelation.

    Parameters
    ----------
    draws : array (chains, draws) or (chains, draws, parameters)
    first, last : float
        Fractions of the chain; together at most 1.

    Returns
    -------
    array (chains,) or (chains, parameters)
    """
    if not (0 < first < 1 and 0 < last < 1 and first + last <= 1):
        raise InputError(
            f"first and last are {first} and {last}; accepted are fractions that sum to at most 1"
        )
    draws = as_draws(draws)
    n = draws.shape[1]
    head, tail = draws[:, : int(first * n)], draws[:, n - int(last * n) :]
    variance = _variance_of_mean(head) + _variance_of_mean(tail)
    return (head.mean(axis=1) - tail.mean(axis=1)) / np.sqrt(variance)


def autocorrelation_time(draws: Any, *, window: float = 5.0) -> Any:
    """Integrated autocorrelation time, in steps, averaged over chains as for an ensemble of walkers.

    Parameters
    ----------
    draws : array (chains, draws) or (chains, draws, parameters)
    window : float
        The sum stops at the first lag of at least `window` times the sum so far.

    Returns
    -------
    float or array (parameters,)
        Trust it where the chains are at least 50 times as long.
    """

    def time(x: Array) -> float:
        correlation = np.mean(_autocovariance(x) / np.var(x, axis=1)[:, None], axis=0)
        total = 2 * np.cumsum(correlation) - 1
        enough = np.arange(len(total)) >= window * total
        return float(total[np.argmax(enough) if enough.any() else -1])

    return _each_parameter(draws, time)


def as_draws(draws: Any) -> Array:
    """Draws as floats, (chains, draws) or (chains, draws, parameters).

    Raises
    ------
    InputError
        Another shape, fewer than four draws, or a value that is not finite.
    """
    if getattr(draws, "dependent", False):
        raise InputError(
            "draws is a Chain of dependent walkers, and this takes independent chains; accepted are "
            "chain.ess(), chain.rhat() and chain.autocorrelation_time(), or chain.draws"
        )
    draws = np.asarray(draws, dtype=float)
    if draws.ndim not in (2, 3):
        raise InputError(
            f"draws has shape {draws.shape}; accepted are (chains, draws) and (chains, draws, parameters)"
        )
    if draws.shape[1] < 4 or draws.shape[0] < 1:
        raise InputError(f"draws has shape {draws.shape}; accepted are at least 4 draws of at least 1 chain")
    if not np.all(np.isfinite(draws)):
        raise InputError("draws contains NaN or inf; accepted are finite values")
    return draws


def _each_parameter(draws: Any, function: Callable[[Array], float]) -> Any:
    draws = as_draws(draws)
    if draws.ndim == 2:
        return function(draws)
    return np.array([function(draws[:, :, j]) for j in range(draws.shape[2])])


def _one_of(name: str, value: Any, accepted: dict[str, Any]) -> str:
    if value not in accepted:
        raise InputError(f"{name} is {value!r}; accepted are {', '.join(map(repr, accepted))}")
    return value


def _probability(value: float | None) -> float:
    if value is None or not 0 < value < 1:
        raise InputError(
            f"probability is {value!r}; accepted with kind='quantile' is a number between 0 and 1"
        )
    return value


# -- R-hat ------------------------------------------------------------------------------


def _split(x: Array) -> Array:
    """Halves of the chains as chains of their own: a drifting chain disagrees with itself."""
    half = x.shape[1] // 2
    return np.concatenate([x[:, :half], x[:, x.shape[1] - half :]])


def _normal_scores(x: Array) -> Array:
    """Ranks over all chains, turned to normal quantiles (Blom 1958): no tail is too heavy."""
    ranks = stats.rankdata(x, method="average").reshape(x.shape)
    return special.ndtri((ranks - 0.375) / (x.size + 0.25))


def _rhat(x: Array) -> float:
    halves = _split(x)
    folded = np.abs(halves - np.median(halves))
    return max(_potential_scale(_normal_scores(halves)), _potential_scale(_normal_scores(folded)))


def _potential_scale(x: Array) -> float:
    n = x.shape[1]
    within = np.mean(np.var(x, axis=1, ddof=1))
    if within == 0:
        return float("nan")
    between = np.var(x.mean(axis=1), ddof=1)
    return float(np.sqrt((n - 1) / n + between / within))


# -- effective sample size ------------------------------------------------------------------


def _autocovariance(x: Array) -> Array:
    """Autocovariance of each chain at all lags, shape (chains, draws), divided by the number of draws."""
    n = x.shape[1]
    size = fft.next_fast_len(2 * n, real=True)
    spectrum = fft.rfft(x - x.mean(axis=1, keepdims=True), size, axis=1)
    return fft.irfft(np.abs(spectrum) ** 2, size, axis=1)[:, :n] / n


def _ess(x: Array) -> float:
    """Effective sample size of the mean of x (chains, draws), by Geyer's initial monotone sequence."""
    chains, n = x.shape
    if np.ptp(x) < np.finfo(float).resolution * max(1.0, float(np.max(np.abs(x)))):
        return float(x.size)
    covariance = np.mean(_autocovariance(x), axis=0)
    within = covariance[0] * n / (n - 1)
    total = covariance[0]
    if chains > 1:
        total += np.var(x.mean(axis=1), ddof=1)
    correlation = 1 - (within - covariance) / total
    correlation[0] = 1.0
    tau = max(_geyer_sum(correlation), 1 / np.log10(x.size))
    return float(x.size / tau)


def _geyer_sum(correlation: Array) -> float:
    """-1 + 2 sum rho over pairs of neighbouring lags, while a pair is positive, each made at most its predecessor.

    The pair at which the sum stops still gives its even lag, once.
    """
    # Pairs (0, 1), (2, 3), ... up to the last of which a chain of this length can say something.
    number = max((len(correlation) - 1) // 2, 1)
    even, odd = correlation[0 : 2 * number : 2], correlation[1 : 2 * number : 2]
    pairs = even + odd
    negative = np.flatnonzero(pairs <= 0)
    stop = int(negative[0]) if len(negative) else number - 1
    last = even[stop] if pairs[stop] > 0 else max(even[stop], 0.0)
    return float(-1 + 2 * np.sum(np.minimum.accumulate(pairs[:stop])) + last)


def _ess_quantile(x: Array, probability: float) -> float:
    return _ess(_split((x <= np.quantile(x, probability)).astype(float)))


def _mcse_sd(x: Array) -> float:
    """By the delta method from the error of the mean square deviation."""
    square = (x - x.mean()) ** 2
    variance = square.mean()
    return float(np.sqrt(np.var(square) / _ess(_split(square)) / variance) / 2)


def _mcse_quantile(x: Array, probability: float) -> float:
    """Half the distance of the order statistics between which the quantile lies with 68 %."""
    size = _ess_quantile(x, probability)
    limits = special.ndtr([-1.0, 1.0])
    low, high = x.size * stats.beta.ppf(limits, size * probability + 1, size * (1 - probability) + 1) - 1
    ordered = np.sort(x, axis=None)
    first, last = max(int(np.floor(low)), 0), min(int(np.ceil(high)), x.size - 1)
    return float(ordered[last] - ordered[first]) / 2


def _variance_of_mean(x: Array) -> Array:
    """Variance of the mean of each chain, allowing for autocorrelation; shape as x without its draws."""
    stacked = x if x.ndim == 3 else x[:, :, None]
    result = np.array(
        [
            [np.var(chain[:, j], ddof=1) / _ess(chain[None, :, j]) for j in range(stacked.shape[2])]
            for chain in stacked
        ]
    )
    return result if x.ndim == 3 else result[:, 0]
