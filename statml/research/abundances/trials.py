"""Is the inferred channel of an element to be believed? Elements of known channels, treated as unknown, say.

Where fewer than three of five get back what made them, or their intervals are as wide as the prior, the
posterior of an unknown element is labelled "not constrained by this model".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from statml.errors import InputError
from statml.research.abundances.channels import load_elements
from statml.research.abundances.r_process import UNINFORMATIVE, RProcessPosterior, infer_r_process
from statml.research.abundances.samples import Sample

TRIALS = ("O", "Mg", "Ba", "Sr", "Zr")
NEEDED = 3
NOT_CONSTRAINED = "not constrained by this model"


@dataclass(frozen=True, eq=False)
class Trial:
    """An element of known channel, treated as unknown.

    Attributes
    ----------
    posterior : RProcessPosterior
    channel : str
        The one that makes most of it.
    delay, width : float
        Of that channel, in Myr and pc.
    contains_delay, contains_width : bool
        The interval of `level` contains it; where the posterior leans against an end of the prior, the one-sided
        interval that ends there.
    """

    posterior: RProcessPosterior
    channel: str
    delay: float
    width: float
    level: float
    contains_delay: bool
    contains_width: bool

    @property
    def contains(self) -> bool:
        """Both are contained."""
        return self.contains_delay and self.contains_width


def known_element_trials(
    sample: Sample, symbols: Sequence[str] = TRIALS, *, level: float = 0.95, **options: Any
) -> list[Trial]:
    """Infer the channels of elements of which they are known, each in turn.

    Parameters
    ----------
    sample : Sample
    symbols : sequence of str
    level : float
        Of the intervals that must contain delay and width of the element's largest channel.
    **options
        As of `infer_r_process`.
    """
    known = {element.symbol: element for element in (options.get("elements") or load_elements())}
    trials = []
    for symbol in symbols:
        if symbol not in known:
            raise InputError(f"symbols has {symbol!r}; accepted are elements of known channels")
        posterior = infer_r_process(sample, symbol, **options)
        channel, _, delay = max(known[symbol].contributions, key=lambda each: each[1])
        inside = [
            _contains(posterior, name, value, level)
            for name, value in (("delay", delay), ("width", channel.width.value))
        ]
        trials.append(Trial(posterior, channel.name, delay, float(channel.width.value), level, *inside))
    return trials


def _contains(posterior: RProcessPosterior, parameter: str, truth: float, level: float) -> bool:
    piled = posterior.piled(parameter)
    low, high = {"lower": (0.0, level), "upper": (1 - level, 1.0)}.get(
        piled, (0.5 - level / 2, 0.5 + level / 2)
    )
    return posterior.quantile(parameter, low) <= truth <= posterior.quantile(parameter, high)


def verdicts(trials: Sequence[Trial]) -> dict[str, str]:
    """Whether delay and width of an unknown element are to be believed, each in one line.

    Fewer than three of five known elements whose interval holds the truth, or fewer than three whose interval is
    narrower than the prior (any interval as wide as the prior holds the truth): "not constrained by this model".
    """
    found = {}
    for parameter in ("delay", "width"):
        right = sum(getattr(trial, f"contains_{parameter}") for trial in trials)
        narrow = sum(trial.posterior.shrinkage(parameter) < UNINFORMATIVE for trial in trials)
        n = len(trials)
        label = NOT_CONSTRAINED if min(right, narrow) < NEEDED else "recovered for known elements"
        counts = f"{right} of {n} intervals hold the truth, {narrow} of {n} are narrower than {UNINFORMATIVE:g} of the prior"
        found[parameter] = f"{counts}: {label}"
    return found
