r"""A number with its interval: proportions, functions of proportions, means, resampled statistics.

Counts are binomial. Wilson's interval inverts the score test,

    (k + z^2/2 +- z sqrt(k (n - k) / n + z^2 / 4)) / (n + z^2),

covers close to its level on average even for small n, and needs no mending at 0 or n; that of Clopper
and Pearson covers at least its level always, and is wider (Brown, Cai & DasGupta 2001).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from statml.compute import generator
from statml.errors import InputError

Array = np.ndarray
LEVEL = 0.68
RESAMPLES = 500


@dataclass(frozen=True)
class Estimate:
    """A value with the interval of a level around it; NaN where there is nothing to estimate it from.

    Examples
    --------
    >>> print(proportion(9, 10))
    0.900 [0.767, 0.961]
    """

    value: float
    low: float
    high: float
    level: float = LEVEL

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def proportion(
    count: int, n: int, *, level: float = LEVEL, method: Literal["wilson", "clopper-pearson"] = "wilson"
) -> Estimate:
    """A binomial proportion, count out of n.

    Parameters
    ----------
    count, n : int
        With n = 0 the value is NaN and the interval is all of 0 to 1.
    level : float
        Of the central interval.
    method : {"wilson", "clopper-pearson"}

    Raises
    ------
    InputError
        `count` is not between 0 and n, `level` is not between 0 and 1, or there is no such method.
    """
    check_level(level)
    if not 0 <= count <= n:
        raise InputError(f"count is {count}; accepted is a number between 0 and n={n}")
    if method not in ("wilson", "clopper-pearson"):
        raise InputError(f"method is {method!r}; accepted are 'wilson' and 'clopper-pearson'")
    if n == 0:
        return Estimate(np.nan, 0.0, 1.0, level)
    if method == "wilson":
        z = stats.norm.ppf((1 + level) / 2)
        middle = (count + z**2 / 2) / (n + z**2)
        half = z * np.sqrt(count * (n - count) / n + z**2 / 4) / (n + z**2)
        low, high = middle - half, middle + half
    else:
        tail = (1 - level) / 2
        low = stats.beta.ppf(tail, count, n - count + 1) if count > 0 else 0.0
        high = stats.beta.isf(tail, count + 1, n - count) if count < n else 1.0
    return Estimate(count / n, float(max(low, 0.0)), float(min(high, 1.0)), level)


def average(parts: list[Estimate], level: float) -> Estimate:
    """The mean of independent estimates, their distances to both limits added in quadrature.

    References
    ----------
    Zou & Donner (2008), Statistics in Medicine 27, 1693.
    """
    value, low, high = (
        np.array([getattr(part, name) for part in parts]) for name in ("value", "low", "high")
    )
    mean, k = float(value.mean()), len(parts)
    return Estimate(
        mean,
        mean - float(np.hypot.reduce(value - low)) / k,
        mean + float(np.hypot.reduce(high - value)) / k,
        level,
    )


def mean_score(scores: Array, *, level: float = LEVEL) -> Estimate:
    """The mean of n scores, with Student's interval of its standard error."""
    check_level(level)
    n = len(scores)
    value = float(np.mean(scores))
    if n < 2 or not np.isfinite(value):
        # One score says nothing of its error; an infinite one (a class called impossible) decides the mean.
        return Estimate(value, value if n > 1 else -np.inf, np.inf, level)
    half = stats.t.ppf((1 + level) / 2, n - 1) * float(np.std(scores, ddof=1)) / np.sqrt(n)
    return Estimate(value, value - half, value + half, level)


def bootstrap(
    statistic: Callable[[Array], float],
    n: int,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    rng: Any = 0,
) -> Estimate:
    """A statistic of n rows with the percentile interval over rows drawn again with replacement.

    Parameters
    ----------
    statistic : callable
        Value for the number of times each row counts, an integer array (n,).
    n : int
    level : float
    resamples : int
    rng : int, Generator or None
        The same rows are drawn every time by default.
    """
    check_level(level)
    rng = generator(rng)
    drawn = [
        statistic(np.bincount(rng.integers(n, size=n), minlength=n).astype(float)) for _ in range(resamples)
    ]
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(statistic(np.ones(n)), float(low), float(high), level)


def check_level(level: float) -> None:
    """Raise `InputError` unless 0 < level < 1."""
    if not 0 < level < 1:
        raise InputError(f"level is {level!r}; accepted is a probability between 0 and 1")
