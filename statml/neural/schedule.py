"""The learning rate of each step, as a function of the step alone, so that a resumed run needs no state.

``constant`` keeps the rate, ``cosine`` lowers it along half a cosine to zero (Loshchilov & Hutter 2017,
arXiv:1608.03983), ``one_cycle`` raises it from 1/25 and lowers it to 1e-4 / 25 of its maximum (Smith & Topin
2019, arXiv:1708.07120).
"""

from __future__ import annotations

import math
from typing import Literal, get_args

Schedule = Literal["constant", "cosine", "one_cycle"]
SCHEDULES: tuple[str, ...] = get_args(Schedule)

# Of the maximum: where a cycle begins, and of that: where it ends.
CYCLE_START, CYCLE_END = 1 / 25, 1e-4


def relative_rate(schedule: Schedule, step: int, steps: int, warmup: float) -> float:
    """Learning rate of step 0, 1, ..., steps - 1 relative to its maximum.

    Parameters
    ----------
    warmup : float
        Fraction of the steps in which the rate rises: linearly from zero, in a cycle along half a cosine.

    Examples
    --------
    >>> [round(relative_rate("cosine", step, 4, 0.0), 3) for step in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    rising = warmup * steps
    if schedule == "one_cycle":
        top = rising - 1
        if step <= top:
            return _half_cosine(CYCLE_START, 1.0, step / top if top > 0 else 1.0)
        return _half_cosine(1.0, CYCLE_START * CYCLE_END, (step - top) / max(steps - 1 - top, 1))
    if step < rising:
        return (step + 1) / (rising + 1)
    if schedule == "constant":
        return 1.0
    return _half_cosine(1.0, 0.0, (step - rising) / (steps - rising))


def _half_cosine(start: float, end: float, place: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * place)) / 2
