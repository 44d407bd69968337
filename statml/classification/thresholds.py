"""The threshold that makes a sample as complete, or as pure, as it has to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statml.classification.intervals import LEVEL, Estimate, check_level, proportion
from statml.classification.metrics import scores_of
from statml.errors import InputError
from statml.uncertainty.empirical import Categorical


@dataclass(frozen=True)
class Threshold:
    """A threshold of the probability, and the sample at or above it.

    Attributes
    ----------
    threshold : float
    completeness, purity : Estimate
        Of the sample, with Wilson's intervals.
    selected : int
        Its size.
    """

    threshold: float
    completeness: Estimate
    purity: Estimate
    selected: int


def choose_threshold(
    prediction: Categorical,
    y: Any,
    *,
    completeness: float | None = None,
    purity: float | None = None,
    label: Any = None,
    level: float = LEVEL,
) -> Threshold:
    """The threshold at which a class is found with a given completeness, or purity.

    Parameters
    ----------
    prediction : Categorical
        Of rows that were not used in the fit.
    y : array (n,)
        Their true classes.
    completeness, purity : float
        The target; one of them. For completeness it is the highest threshold that
        reaches it (the purest such sample), for purity the lowest (the most complete one).
    label : class, optional
        By default the second of two.
    level : float
        Of the intervals.

    Returns
    -------
    Threshold

    Raises
    ------
    InputError
        Not one target, a target not between 0 and 1, a purity that no threshold reaches, or no row of the class.

    Notes
    -----
    The threshold is chosen on these very rows, so the target is met on them exactly and on
    new ones only within the interval. For a purity the choice among many thresholds also favours luck:
    check it on rows that had no part in it.

    Examples
    --------
    >>> p = np.array([0.1, 0.2, 0.4, 0.6, 0.7, 0.9])
    >>> prediction = Categorical(np.column_stack([1 - p, p]), [0, 1])
    >>> choose_threshold(prediction, [0, 0, 1, 0, 1, 1], completeness=1.0).threshold
    0.4
    >>> print(choose_threshold(prediction, [0, 0, 1, 0, 1, 1], purity=1.0).completeness)
    0.667 [0.387, 0.864]
    """
    check_level(level)
    if (completeness is None) == (purity is None):
        raise InputError("completeness and purity are both given or both missing; accepted is one of them")
    name, target = ("completeness", completeness) if completeness is not None else ("purity", purity)
    if target is None or not 0 < target <= 1:
        raise InputError(f"{name} is {target!r}; accepted is a fraction above 0 and up to 1")
    score, member = scores_of(prediction, y, label)
    total = int(member.sum())
    if total == 0:
        raise InputError("y holds no row of the class; accepted are rows of both kinds")
    order = np.argsort(-score, kind="stable")
    # Rows of equal probability are taken together: the last of each run is a threshold.
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    found = np.cumsum(member[order])[last]
    reached = found / total if name == "completeness" else found / (last + 1)
    enough = np.flatnonzero(reached >= target - 1e-12)
    if len(enough) == 0:
        raise InputError(
            f"purity is {target}; accepted is at most {reached.max():.3g}, the purest sample there is"
        )
    at = enough[0] if name == "completeness" else enough[-1]
    right, size = int(found[at]), int(last[at] + 1)
    return Threshold(
        threshold=float(score[order[last[at]]]),
        completeness=proportion(right, total, level=level),
        purity=proportion(right, size, level=level),
        selected=size,
    )
