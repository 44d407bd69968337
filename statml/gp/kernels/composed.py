r"""Sums and products of kernels.

A sum is the kernel of a sum of independent processes, each of which can be predicted
apart; a product is large only where all its factors are (Rasmussen & Williams 2006,
section 4.2.4).
"""

from __future__ import annotations

from functools import reduce
from operator import add, mul
from typing import Any, ClassVar, Self

import numpy as np

from statml.errors import InputError, InputTypeError
from statml.gp.kernels.base import Array, Kernel, Tensor, checked_theta


class _Composed(Kernel):
    """Several kernels; hyperparameters are named ``<place>.<name>``."""

    _sign: ClassVar[str]
    _parts: tuple[Kernel, ...]

    def __init__(self, *parts: Kernel) -> None:
        for part in parts:
            if not isinstance(part, Kernel):
                raise InputTypeError(
                    f"{type(self).__name__} got a {type(part).__name__}; accepted are kernels"
                )
        if len(parts) < 2:
            raise InputError(f"{type(self).__name__} got {len(parts)} kernels; accepted are two or more")
        flat: list[Kernel] = []
        for part in parts:
            flat += part._parts if isinstance(part, _Composed) and type(part) is type(self) else [part]
        object.__setattr__(self, "_parts", tuple(flat))
        object.__setattr__(self, "differentiable", all(part.differentiable for part in flat))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{i}.{name}" for i, part in enumerate(self._parts) for name in part.names)

    @property
    def theta(self) -> Array:
        return np.concatenate([part.theta for part in self._parts])

    @property
    def bounds(self) -> Array:
        return np.concatenate([part.bounds for part in self._parts])

    def with_theta(self, theta: Any) -> Self:
        theta = checked_theta(theta, len(self.names))
        return self._rebuilt([part.with_theta(own) for part, own in self.split(theta)])

    def split(self, theta: Any) -> list[tuple[Kernel, Any]]:
        """Each part with its own entries of theta, an array or tensor (k,)."""
        pairs, start = [], 0
        for part in self._parts:
            size = len(part.names)
            pairs.append((part, theta[start : start + size]))
            start += size
        return pairs

    def on(self, dims: Any) -> Self:
        return self._rebuilt([part.on(dims) for part in self._parts])

    def fixed(self, *names: str) -> Self:
        if not names:
            return self._rebuilt([part.fixed() for part in self._parts])
        parts = list(self._parts)
        for name in names:
            place, own = self._place(name)
            parts[place] = parts[place].fixed(own)
        return self._rebuilt(parts)

    def bounded(self, **limits: tuple[float, float]) -> Self:
        parts = list(self._parts)
        for name, pair in limits.items():
            place, own = self._place(name)
            parts[place] = parts[place].bounded(**{own: pair})
        return self._rebuilt(parts)

    def _place(self, name: str) -> tuple[int, str]:
        place, dot, own = name.partition(".")
        if not dot or not place.isdigit() or int(place) >= len(self._parts):
            raise InputError(
                f"{name!r} is no hyperparameter of {self!r}; accepted are {', '.join(self.names) or 'none'}"
            )
        return int(place), own

    def _rebuilt(self, parts: list[Kernel]) -> Self:
        return type(self)(*parts)

    def _key(self) -> tuple:
        return (type(self), tuple(part._key() for part in self._parts))


class Sum(_Composed):
    """k1 + k2 + ...: a sum of independent processes.

    Parameters
    ----------
    *parts : Kernel
        Two or more; sums among them are taken apart.

    Attributes
    ----------
    terms : tuple of Kernel

    Examples
    --------
    >>> from statml.gp import RBF, White
    >>> kernel = RBF(2.0) + White(0.5)
    >>> kernel
    RBF(length_scale=2.0, sigma=1.0) + White(sigma=0.5)
    >>> kernel.names
    ('0.length_scale', '0.sigma', '1.sigma')
    >>> kernel.fixed("0.sigma").names
    ('0.length_scale', '1.sigma')
    """

    _sign = " + "

    @property
    def terms(self) -> tuple[Kernel, ...]:
        """The kernels that are added."""
        return self._parts

    def covariance(self, X: Tensor, Z: Tensor | None, theta: Tensor) -> Tensor:
        return reduce(add, [part.covariance(X, Z, own) for part, own in self.split(theta)])

    def variance(self, X: Tensor, theta: Tensor) -> Tensor:
        return reduce(add, [part.variance(X, own) for part, own in self.split(theta)])

    def independent_variance(self, X: Tensor, theta: Tensor) -> Tensor:
        return reduce(add, [part.independent_variance(X, own) for part, own in self.split(theta)])

    def __repr__(self) -> str:
        return " + ".join(map(repr, self._parts))


class Product(_Composed):
    """k1 k2 ...: every factor has a sigma, and only their product is known; fix all but one.

    Parameters
    ----------
    *parts : Kernel
        Two or more; products among them are taken apart.

    Attributes
    ----------
    factors : tuple of Kernel

    Examples
    --------
    >>> from statml.gp import RBF, Periodic
    >>> season = RBF(90.0, sigma=2.4) * Periodic(1.3, period=1.0).fixed("sigma", "period")
    >>> season.names
    ('0.length_scale', '0.sigma', '1.length_scale')
    """

    _sign = " * "

    @property
    def factors(self) -> tuple[Kernel, ...]:
        """The kernels that are multiplied."""
        return self._parts

    def covariance(self, X: Tensor, Z: Tensor | None, theta: Tensor) -> Tensor:
        return reduce(mul, [part.covariance(X, Z, own) for part, own in self.split(theta)])

    def variance(self, X: Tensor, theta: Tensor) -> Tensor:
        return reduce(mul, [part.variance(X, own) for part, own in self.split(theta)])

    def independent_variance(self, X: Tensor, theta: Tensor) -> Tensor:
        # What two rows share is the product of what they share in every factor.
        pairs = [
            (part.variance(X, own), part.independent_variance(X, own)) for part, own in self.split(theta)
        ]
        total, shared = pairs[0][0], pairs[0][0] - pairs[0][1]
        for variance, own in pairs[1:]:
            total, shared = total * variance, shared * (variance - own)
        return total - shared

    def __repr__(self) -> str:
        return " * ".join(f"({part!r})" if isinstance(part, Sum) else repr(part) for part in self._parts)
