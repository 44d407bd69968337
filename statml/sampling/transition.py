"""What a Markov chain sampler is: a state, and a step from one state to the next.

A `Sampler` holds only its settings. `begin` makes a `State` out of starting points,
`step` returns the next one and leaves the old as it was; so a run that is stopped
between two steps, or during one, has lost nothing that was finished. A state is
a dataclass of arrays and numbers (and of such dataclasses), which is what makes
it possible to write it down and go on from it, bit by bit the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, ClassVar

import numpy as np

from statml.errors import InputError
from statml.sampling.target import Target

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class State:
    """Where the chains are.

    Attributes
    ----------
    points : array (chains, parameters)
    log_prob : array (chains,)
    statistics : dict of arrays (chains, ...)
        How the last step went.
    """

    points: Array
    log_prob: Array
    statistics: dict[str, Array]


@dataclass(frozen=True)
class Clock:
    """Which step of a run this is: steps before `warmup` may adapt the sampler."""

    step: int
    warmup: int

    @property
    def adapting(self) -> bool:
        """Still in the warm-up."""
        return self.step < self.warmup


@dataclass(frozen=True)
class Sampler(ABC):
    """Settings of a Markov chain sampler."""

    name: ClassVar[str] = ""
    # The sampler calls log_prob with tensors that torch differentiates.
    gradient: ClassVar[bool] = False
    default_warmup: ClassVar[int] = 0

    @property
    def dependent(self) -> bool:
        """The chains propose from each other's positions, so they are not independent."""
        return False

    def check(self, initial: Array) -> None:
        """Refuse starting points the sampler cannot use.

        Raises
        ------
        InputError
            Names what is wrong with `initial`.
        """
        if not np.all(np.isfinite(initial)):
            raise InputError("initial contains NaN or inf; accepted are finite starting points")

    @abstractmethod
    def begin(self, target: Target, points: Array, log_prob: Array, rng: np.random.Generator) -> Any:
        """The first state, from starting points (chains, parameters) and their log densities."""

    @abstractmethod
    def step(self, target: Target, state: Any, clock: Clock, rng: np.random.Generator) -> Any:
        """The next state."""


def flatten(state: Any, prefix: str = "") -> dict[str, Array]:
    """A state as named arrays, for a file."""
    found: dict[str, Array] = {}
    for field in fields(state):
        value, key = getattr(state, field.name), prefix + field.name
        if is_dataclass(value):
            found |= flatten(value, key + ".")
        elif isinstance(value, dict):
            found |= {f"{key}.{name}": np.asarray(entry) for name, entry in value.items()}
        else:
            found[key] = np.asarray(value)
    return found


def restore(template: Any, arrays: dict[str, Array], prefix: str = "") -> Any:
    """A state of the template's classes with the arrays that `flatten` wrote."""
    changes: dict[str, Any] = {}
    for field in fields(template):
        value, key = getattr(template, field.name), prefix + field.name
        if is_dataclass(value):
            changes[field.name] = restore(value, arrays, key + ".")
        elif isinstance(value, dict):
            start = key + "."
            changes[field.name] = {
                name[len(start) :]: entry for name, entry in arrays.items() if name.startswith(start)
            }
        else:
            stored = arrays[key]
            changes[field.name] = stored if isinstance(value, np.ndarray) else stored.item()
    return replace(template, **changes)
