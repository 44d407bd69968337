r"""Parameters with limits, for samplers that know none.

A sampler steps anywhere in R^k. A positive parameter is sampled as its logarithm, one
between two limits as the logit of its place, an increasing sequence as its first
value and the logarithms of its differences. The density gains the Jacobian,

    log p(z) = log p(x(z)) + log |dx / dz|.

The same code runs on NumPy arrays and torch tensors.

Source: Stan Reference Manual, chapter "Constraint transforms".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import array_api_compat
import numpy as np

from statml.errors import InputError

Array = np.ndarray


class Constraint(ABC):
    """A block of parameters with limits."""

    size = 1

    @abstractmethod
    def constrain(self, z: Any, xp: Any) -> tuple[Any, Any]:
        """Values (..., size) at free parameters (..., size), and the log Jacobian (...)."""

    @abstractmethod
    def free(self, x: Array) -> Array:
        """Free parameters at values inside the limits."""


@dataclass(frozen=True)
class Real(Constraint):
    """No limits, `size` parameters."""

    size: int = 1

    def constrain(self, z: Any, xp: Any) -> tuple[Any, Any]:
        return z, xp.zeros_like(z[..., 0])

    def free(self, x: Array) -> Array:
        return x


@dataclass(frozen=True)
class Positive(Constraint):
    """Above zero, `size` parameters."""

    size: int = 1

    def constrain(self, z: Any, xp: Any) -> tuple[Any, Any]:
        return xp.exp(z), xp.sum(z, axis=-1)

    def free(self, x: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.log(x)


@dataclass(frozen=True)
class Interval(Constraint):
    """Between two limits, `size` parameters."""

    low: float
    high: float
    size: int = 1

    def constrain(self, z: Any, xp: Any) -> tuple[Any, Any]:
        # The logistic function without overflow on either side: exp of a negative number.
        small = xp.exp(-xp.abs(z))
        share = xp.where(z > 0, 1 / (1 + small), small / (1 + small))
        jacobian = np.log(self.high - self.low) - xp.abs(z) - 2 * xp.log1p(small)
        return self.low + (self.high - self.low) * share, xp.sum(jacobian, axis=-1)

    def free(self, x: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.log(x - self.low) - np.log(self.high - x)


@dataclass(frozen=True)
class Ordered(Constraint):
    """`size` parameters that increase."""

    size: int

    def constrain(self, z: Any, xp: Any) -> tuple[Any, Any]:
        steps = xp.concat([z[..., :1], xp.exp(z[..., 1:])], axis=-1)
        return xp.cumulative_sum(steps, axis=-1), xp.sum(z[..., 1:], axis=-1)

    def free(self, x: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.concatenate([x[..., :1], np.log(np.diff(x, axis=-1))], axis=-1)


class Unconstrained:
    """A log density of limited parameters as one of free parameters.

    Parameters
    ----------
    log_prob : callable
        Of the parameters as they are meant, (..., parameters) to (...).
    constraints : sequence of Constraint
        Blocks of the parameters, in their order.

    Examples
    --------
    An exponential distribution, sampled as its logarithm:

    >>> import numpy as np
    >>> from statml.sampling import sample
    >>> free = Unconstrained(lambda x: -x[..., 0], [Positive()])
    >>> start = free.free(np.full((8, 1), 1.0))
    >>> chain = sample(free, start, sampler="metropolis", draws=4000, warmup=500, rng=0)
    >>> positive = chain.transformed(free.constrain, ["x"])
    >>> bool(abs(positive["x"].mean() - 1) < 0.05)
    True
    """

    def __init__(self, log_prob: Callable[[Any], Any], constraints: Sequence[Constraint]) -> None:
        self.log_prob, self.constraints = log_prob, tuple(constraints)
        sizes = [each.size for each in self.constraints]
        self.parameters = sum(sizes)
        ends = np.cumsum([0, *sizes])
        self.blocks = [slice(int(a), int(b)) for a, b in pairwise(ends)]

    def __call__(self, z: Any) -> Any:
        """Log density of the free parameters (..., parameters)."""
        x, jacobian = self._both(z)
        return self.log_prob(x) + jacobian

    def constrain(self, z: Any) -> Any:
        """Parameters as they are meant, from free ones."""
        return self._both(z)[0]

    def free(self, x: Any) -> Array:
        """Free parameters from those as they are meant, for starting points.

        Raises
        ------
        InputError
            A parameter is outside its limits.
        """
        x = np.asarray(x, float)
        z = np.concatenate(
            [each.free(x[..., at]) for each, at in zip(self.constraints, self.blocks)], axis=-1
        )
        if not np.all(np.isfinite(z)):
            raise InputError(f"x is {x}; accepted are parameters inside their limits, {self.constraints}")
        return z

    def _both(self, z: Any) -> tuple[Any, Any]:
        if z.shape[-1] != self.parameters:
            raise InputError(f"there are {z.shape[-1]} parameters; accepted are {self.parameters}")
        xp = array_api_compat.array_namespace(z)
        parts = [each.constrain(z[..., at], xp) for each, at in zip(self.constraints, self.blocks)]
        x = xp.concat([part for part, _ in parts], axis=-1)
        return x, sum(jacobian for _, jacobian in parts)
