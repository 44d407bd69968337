r"""Counts: what they say about a rate, alone and beside a background.

A count n from a Poisson process of mean mu has P(n | mu) = mu^n e^-mu / n!. Everything
here follows from it without a normal approximation, so it holds for n = 0 too.

    central interval    P(N >= n | lower) = P(N <= n | upper) = (1 - level) / 2
    background b        intervals of s >= 0 with mu = s + b, ordered by likelihood ratio
    on and off          n_on in the source's window, n_off where there is background only,
                        alpha = exposure of "on" over that of "off"

In the last case n_on given n_on + n_off is binomial with probability alpha / (1 + alpha) where
there is no source, whatever the background: an exact p value. The likelihood ratio of
Li & Ma is its large-count companion.

Sources: Garwood (1936), Biometrika 28, 437; Feldman & Cousins (1998), arXiv:physics/9711021;
Li & Ma (1983), ApJ 272, 317, equation 17; arXiv:2506.12230, chapter 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, special, stats

from statml.errors import InputError

Array = np.ndarray
# Grid of signals on which likelihood-ratio intervals are searched, as a fraction of one count.
SIGNAL_STEP = 0.005
# Entries of the table of signals and counts that is held at a time.
TABLE = 1_000_000


def poisson_interval(n: Any, level: float = 0.68) -> tuple[Array, Array]:
    """Central interval of the mean of a Poisson distribution, from a count.

    It covers the true mean with at least the probability `level`, whatever the mean
    is; as counts are whole numbers, mostly with more.

    Parameters
    ----------
    n : array of whole numbers, any shape
    level : float

    Returns
    -------
    lower, upper : arrays of the shape of `n`
        In counts; the lower end of no counts is 0.

    Raises
    ------
    InputError
        A count is negative or no whole number, or `level` is not between 0 and 1.

    Examples
    --------
    >>> low, high = poisson_interval([0, 10], level=0.95)
    >>> low.round(3), high.round(3)
    (array([0.   , 4.795]), array([ 3.689, 18.39 ]))
    """
    n = _counts("n", n)
    _check_level(level)
    tail = (1 - level) / 2
    lower = np.where(n > 0, special.gammaincinv(np.maximum(n, 1), tail), 0.0)
    return lower, special.gammaincinv(n + 1, 1 - tail)


def signal_interval(n: int, background: float, level: float = 0.9) -> tuple[float, float]:
    """Interval of a signal on a known background, ordered by likelihood ratio (Feldman & Cousins).

    It turns from an upper limit to a two-sided interval by itself, and is never empty.
    Fewer counts than the background give a tighter limit than the experiment deserves,
    as the authors say; look at the background too.

    Parameters
    ----------
    n : int
        Counts.
    background : float
        Known mean number of background counts, >= 0.
    level : float

    Returns
    -------
    lower, upper : float
        Of the mean number of signal counts, to 0.005.

    Raises
    ------
    InputError
        As `poisson_interval`, or a background that is negative or not finite.

    Examples
    --------
    >>> low, high = signal_interval(3, 0.0, level=0.9)        # 1.10 and 7.42 in the authors' table
    >>> round(low, 1), round(high, 1)
    (1.1, 7.4)
    """
    n = int(_counts("n", n))
    _check_level(level)
    if not (np.isfinite(background) and background >= 0):
        raise InputError(f"background is {background!r}; accepted is a finite mean number of counts >= 0")
    least, most = _ends(n, background, level)
    signals = SIGNAL_STEP * np.arange(int(least / SIGNAL_STEP), int(most / SIGNAL_STEP) + 2)
    # So many at a time that their table of all counts stays small.
    rows = max(int(TABLE / (20 * np.sqrt(most + background + 1) + 30)), 1)
    parts = [signals[first : first + rows] for first in range(0, len(signals), rows)]
    inside = np.concatenate([part[_accepted(n, part, background, level)] for part in parts] or [signals])
    if len(inside) == 0:
        return 0.0, SIGNAL_STEP
    return float(inside[0]), float(inside[-1])


def _ends(n: int, background: float, level: float) -> tuple[float, float]:
    """Signals below and above which n is never accepted.

    Where n has the likelihood ratio exp(-D), counts of a smaller one hold at most 3 exp(-D) of
    the probability (Chernoff); beyond these ends that is less than is left out of the level.
    """
    best = max(float(n), background)
    most = np.log(10 / (1 - level))

    def excess(mean: float) -> float:
        return mean - best - float(special.xlogy(n, mean / best if best > 0 else 1.0)) - most

    width = 1.0
    while excess(best + width) < 0:
        width *= 2
    upper = optimize.brentq(excess, best, best + width) - background
    if n == 0 or n <= background or excess(background) <= 0:
        return 0.0, upper
    return max(optimize.brentq(excess, background, best) - background - SIGNAL_STEP, 0.0), upper


def _accepted(n: int, signals: Array, background: float, level: float) -> Array:
    """For which signals n is accepted: the counts of a larger likelihood ratio do not fill the level yet."""
    mean = (signals + background)[:, None]
    reach = 10 * np.sqrt(mean.max() + 1) + 12
    first = min(n, max(int(mean.min() - reach), 0))
    counts = np.arange(first, max(n, int(mean.max() + reach)) + 1)
    log_mean = special.xlogy(counts, mean) - mean
    probability = np.exp(log_mean - special.gammaln(counts + 1))
    best = np.maximum(counts, background)
    ratio = log_mean - (special.xlogy(counts, best) - best)
    better = np.where(ratio > ratio[:, [n - first]], probability, 0.0).sum(axis=1)
    return better < level


@dataclass(frozen=True)
class OnOff:
    """What counts on and off a source say.

    Attributes
    ----------
    excess, excess_err : float
        n_on - alpha n_off, and its standard error, in counts.
    p_value : float
        Exact probability of n_on or more without a source.
    significance : float
        Li & Ma's, in standard deviations; negative for a deficit.
    exact_significance : float
        `p_value` as standard deviations of a one-sided normal test, also where it is too small
        for a number; -inf where nothing was counted on the source.
    """

    excess: float
    excess_err: float
    p_value: float
    significance: float
    exact_significance: float


def on_off(n_on: int, n_off: int, alpha: float) -> OnOff:
    """Is there a source, given counts on it and counts of background elsewhere?

    Parameters
    ----------
    n_on, n_off : int
    alpha : float
        Exposure (time, area) of "on" over that of "off".

    Returns
    -------
    OnOff

    Raises
    ------
    InputError
        A count is negative or no whole number, both are zero, or alpha is not positive.

    Examples
    --------
    >>> source = on_off(25, 40, alpha=0.25)
    >>> round(source.excess, 1), round(source.significance, 2), round(source.p_value, 5)
    (15.0, 3.42, 0.00046)
    """
    n_on, n_off = int(_counts("n_on", n_on)), int(_counts("n_off", n_off))
    if not (np.isfinite(alpha) and alpha > 0):
        raise InputError(f"alpha is {alpha!r}; accepted is a finite ratio of exposures > 0")
    if n_on + n_off == 0:
        raise InputError("n_on and n_off are both 0, which says nothing; accepted is at least one count")
    excess, total, share = n_on - alpha * n_off, n_on + n_off, alpha / (1 + alpha)
    # Of n / expected, 1 is lost in the logarithms of many counts that are nearly as expected.
    gap = excess / (1 + alpha)
    log_ratio = special.xlog1py(n_on, gap / (share * total)) + special.xlog1py(
        n_off, -gap / ((1 - share) * total)
    )
    significance = np.copysign(np.sqrt(2 * max(log_ratio, 0.0)), excess)
    return OnOff(
        float(excess),
        float(np.sqrt(n_on + alpha**2 * n_off)),
        float(stats.binom.sf(n_on - 1, total, share)),
        float(significance),
        _deviations(n_on, total, share),
    )


def _deviations(n: int, total: int, share: float) -> float:
    """Normal deviate of n or more of a binomial total, from the smaller of its two tails."""
    upper, lower = stats.binom.sf(n - 1, total, share), stats.binom.cdf(n - 1, total, share)
    if upper > lower:
        return float(special.ndtri(lower))
    if upper > 1e-290:
        return float(-special.ndtri(upper))
    # So far out that the terms fall at least as a geometric series.
    falls = (total - n) / (n + 1) * share / (1 - share)
    counts = np.arange(n, min(total, n + int(40 / (1 - falls)) + 1) + 1)
    return float(-special.ndtri_exp(special.logsumexp(stats.binom.logpmf(counts, total, share))))


def _counts(name: str, n: Any) -> Array:
    n = np.asarray(n, float)
    if not np.all((n >= 0) & (n == np.floor(n)) & np.isfinite(n)):
        raise InputError(f"{name} holds a value that is no count; accepted are whole numbers >= 0")
    return n


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"level is {level!r}; accepted is a probability between 0 and 1")
