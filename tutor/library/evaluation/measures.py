"""Measures of a ranking against graded relevance, with intervals from resampled questions.

    Recall@k = relevant among the first k / relevant in all
    nDCG@k   = sum_i (2^g_i - 1) / log2(i + 1), over that of the ideal order
    MRR      = mean of 1 / rank of the first relevant document

The spread of a mean over questions comes from the questions, so these are what
is resampled; two rankings are compared on the same questions, by the interval
of their difference.

Source: Järvelin and Kekäläinen 2002, ACM TOIS 20, 422 (nDCG); Sakai 2006,
SIGIR, 525 (bootstrap).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Grades = Mapping[str, int]

REPLICATES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over questions, and where it lies with probability `LEVEL`."""

    mean: float
    low: float
    high: float


def recall(ranking: Sequence[str], relevant: Grades, k: int) -> float:
    """Share of the relevant documents among the first `k`.

    Examples
    --------
    >>> recall(["a", "b", "c"], {"b": 2, "z": 1}, 2)
    0.5
    """
    wanted = {name for name, grade in relevant.items() if grade > 0}
    return len(wanted & set(ranking[:k])) / len(wanted)


def ndcg(ranking: Sequence[str], relevant: Grades, k: int = 10) -> float:
    """Discounted gain of the first `k`, over that of the ideal order.

    Examples
    --------
    >>> round(ndcg(["x", "b"], {"b": 1}), 4)
    0.6309
    """

    def gain(grades: Sequence[int]) -> float:
        return sum((2**grade - 1) / math.log2(place + 2) for place, grade in enumerate(grades[:k]))

    ideal = gain(sorted(relevant.values(), reverse=True))
    return gain([relevant.get(name, 0) for name in ranking]) / ideal


def reciprocal_rank(ranking: Sequence[str], relevant: Grades) -> float:
    """One over the rank of the first relevant document, 0 if none is there.

    Examples
    --------
    >>> reciprocal_rank(["x", "b"], {"b": 1})
    0.5
    """
    for place, name in enumerate(ranking, start=1):
        if relevant.get(name, 0) > 0:
            return 1 / place
    return 0.0


def interval(values: NDArray[np.float64], rng: np.random.Generator) -> Interval:
    """Mean of `values` with its percentile interval over resampled questions."""
    picks = rng.integers(len(values), size=(REPLICATES, len(values)))
    low, high = np.quantile(values[picks].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(values.mean()), float(low), float(high))
