"""The density to sample, as samplers call it: rows of parameters in, log densities (and gradients) out.

A user's `log_prob` maps points (..., parameters) to log densities (...). What it is
called with depends on the sampler:

==================  =============================  =======================================
sampler             `log_prob` is given            `log_prob` returns
==================  =============================  =======================================
without gradients   float64 NumPy                  NumPy
with gradients      float64 torch tensors          a tensor; torch differentiates it
either              `ValueAndGradient(function)`   NumPy values and gradients; no torch
==================  =============================  =======================================

Mismatches are found before the first draw and named in one sentence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from statml.compute import Device, resolve_device
from statml.errors import InputError, InputTypeError, MissingExtraError

Array = np.ndarray
MEND = "vectorized=False maps a function of one point"


class ValueAndGradient:
    """A log density that computes its own gradient, in NumPy: HMC and NUTS without torch.

    Parameters
    ----------
    function : callable
        Points (m, parameters) to values (m,) and gradients (m, parameters).

    Examples
    --------
    >>> import numpy as np
    >>> from statml.sampling import sample
    >>> normal = ValueAndGradient(lambda x: (-0.5 * np.sum(x**2, axis=-1), -x))
    >>> chain = sample(normal, np.zeros((4, 2)), sampler="nuts", draws=200, warmup=200, rng=0)
    >>> chain.draws.shape
    (4, 200, 2)
    """

    def __init__(self, function: Callable[[Array], tuple[Array, Array]]) -> None:
        self.function = function

    def __call__(self, points: Any) -> Any:
        """The values alone."""
        return self.function(points)[0]


class Target(ABC):
    """Log density of rows of points, checked."""

    @abstractmethod
    def value(self, points: Array) -> Array:
        """Log densities (...) at points (..., parameters); NaN is refused, -inf is impossible."""

    @abstractmethod
    def value_and_gradient(self, points: Array) -> tuple[Array, Array]:
        """Log densities (m,) and gradients (m, parameters) at points (m, parameters); NaN is left in."""

    def threads(self, number: int | None) -> AbstractContextManager[None]:
        """While the context lasts, the function's library uses so many threads, if that can be set."""
        return nullcontext()

    def check(self, points: Array) -> Array:
        """Log densities at the starting points (chains, parameters), all of them finite.

        Raises
        ------
        InputError
            The function fails, answers in another shape, or is not finite somewhere.
        """
        self.value(points[:1])  # a function that takes a batch for one point shows it here
        values = self.value(points)
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise InputError(
                f"log_prob is {values[bad[0]]} at initial[{bad[0]}] = {points[bad[0]]}; "
                "accepted are starting points of finite log density"
            )
        return values


class NumpyTarget(Target):
    """A NumPy function, without gradient."""

    def __init__(
        self, function: Callable[[Any], Any], vectorized: bool, parameters: int, name: str = "log_prob"
    ) -> None:
        self.function, self.vectorized, self.parameters, self.name = function, vectorized, parameters, name

    def value(self, points: Array) -> Array:
        flat = points if points.ndim == 2 else points.reshape(-1, self.parameters)
        values = self.function(flat) if self.vectorized else np.array([self._one(point) for point in flat])
        if type(values) is not np.ndarray or values.dtype != np.float64 or values.shape != flat.shape[:1]:
            values = self._as_values(values, len(flat))
        if not np.add.reduce(values) < np.inf:  # false for +inf and NaN; the single entries only then
            self._refuse(flat, values)
        return values if points.ndim == 2 else values.reshape(points.shape[:-1])

    def value_and_gradient(self, points: Array) -> tuple[Array, Array]:
        raise NotImplementedError("a NumPy function has no gradient")

    def check(self, points: Array) -> Array:
        try:
            return super().check(points)
        except (ValueError, IndexError) as error:
            if isinstance(error, InputError) or not self.vectorized:
                raise
            raise InputError(
                f"{self.name} fails on points of shape {points.shape} ({type(error).__name__}: {error}); "
                f"accepted is a function of arrays (..., parameters) ({MEND})"
            ) from error
        except (TypeError, AttributeError) as error:
            if isinstance(error, InputTypeError):
                raise
            raise InputError(
                f"{self.name} fails on NumPy arrays, which this sampler calls it with "
                f"({type(error).__name__}: {error}); accepted is a function of float64 NumPy arrays "
                "(..., parameters)"
            ) from error

    def _one(self, point: Array) -> float:
        value = self.function(point)
        if np.ndim(value) != 0 and np.size(value) != 1:
            raise InputError(
                f"{self.name} returned shape {np.shape(value)} for one point; accepted with vectorized=False "
                "is one number"
            )
        return float(np.asarray(value).reshape(()))

    def _as_values(self, values: Any, m: int) -> Array:
        try:
            values = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputTypeError(
                f"{self.name} returned a {type(values).__name__}; accepted are numbers of shape ({m},)"
            ) from error
        if values.shape != (m,):
            raise InputError(_wrong_shape(self.name, values.shape, (m, self.parameters)))
        return values

    def _refuse(self, points: Array, values: Array) -> None:
        bad = np.flatnonzero(np.isnan(values) | (values == np.inf))
        if len(bad):
            raise InputError(
                f"{self.name} is {values[bad[0]]} at {points[bad[0]]}; accepted are finite numbers, "
                "and -inf where a point is impossible"
            )


class AnalyticTarget(NumpyTarget):
    """A `ValueAndGradient`."""

    def __init__(self, function: ValueAndGradient, parameters: int) -> None:
        super().__init__(function, True, parameters)
        self.both = function.function

    def value_and_gradient(self, points: Array) -> tuple[Array, Array]:
        return self.both(points)

    def check(self, points: Array) -> Array:
        values = super().check(points)
        _, gradient = self.both(points)
        if np.shape(gradient) != points.shape:
            raise InputError(
                f"log_prob returned a gradient of shape {np.shape(gradient)} for points of shape {points.shape}; "
                "accepted is the same shape"
            )
        return values


class TorchTarget(Target):
    """A function of torch tensors, differentiated by torch."""

    def __init__(
        self, function: Callable[[Any], Any], vectorized: bool, parameters: int, device: Device
    ) -> None:
        try:
            import torch
        except ImportError as error:
            raise MissingExtraError(
                "samplers with gradients need torch: pip install 'statml[neural]', "
                "or a log_prob that is a statml.sampling.ValueAndGradient"
            ) from error
        self.torch, self.parameters = torch, parameters
        self.place = resolve_device(device)
        self.function = function if vectorized else self._each(function)

    @contextmanager
    def threads(self, number: int | None) -> Iterator[None]:
        before = self.torch.get_num_threads()
        try:
            self.torch.set_num_threads(before if number is None else number)
            yield
        finally:
            self.torch.set_num_threads(before)

    def _each(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda points: self.torch.stack([self.torch.as_tensor(function(point)) for point in points])

    def value(self, points: Array) -> Array:
        return self.value_and_gradient(points)[0]

    def value_and_gradient(self, points: Array) -> tuple[Array, Array]:
        tensor = self.torch.from_numpy(np.ascontiguousarray(points))
        if self.place != "cpu":
            tensor = tensor.to(self.place)
        tensor.requires_grad_(True)
        values = self.function(tensor)
        (gradient,) = self.torch.autograd.grad(values.sum(), tensor)
        return values.detach().cpu().numpy(), gradient.cpu().numpy()

    def check(self, points: Array) -> Array:
        tensor = self.torch.tensor(points, device=self.place, requires_grad=True)
        try:
            values = self.function(tensor)
        except Exception as error:
            raise InputError(
                f"log_prob fails on torch tensors, which samplers with gradients call it with "
                f"({type(error).__name__}: {error}); accepted is a function of float64 tensors "
                "(..., parameters), or a statml.sampling.ValueAndGradient"
            ) from error
        if not isinstance(values, self.torch.Tensor) or not values.requires_grad:
            raise InputTypeError(
                f"log_prob returned a {type(values).__name__} without a gradient; accepted are tensors computed "
                "from the points by torch, or a statml.sampling.ValueAndGradient"
            )
        if tuple(values.shape) != points.shape[:1]:
            raise InputError(_wrong_shape("log_prob", tuple(values.shape), points.shape))
        values = super().check(points)
        gradient = self.value_and_gradient(points)[1]
        bad = np.flatnonzero(~np.all(np.isfinite(gradient), axis=1))
        if len(bad):
            raise InputError(
                f"the gradient of log_prob is {gradient[bad[0]]} at initial[{bad[0]}] = {points[bad[0]]}; "
                "accepted are starting points with a finite gradient"
            )
        return values


def _wrong_shape(name: str, found: tuple[int, ...], points: tuple[int, ...]) -> str:
    return (
        f"{name} returned shape {found} for points of shape {points}; accepted is {points[:-1]}, one number "
        f"for each point ({MEND})"
    )


def as_target(
    log_prob: Any, *, gradient: bool, vectorized: bool, parameters: int, device: Device = "cpu"
) -> Target:
    """The target for a sampler that wants a gradient, or not.

    Raises
    ------
    InputTypeError
        `log_prob` cannot be called.
    """
    if not callable(log_prob):
        raise InputTypeError(f"log_prob is a {type(log_prob).__name__}; accepted is a function")
    if isinstance(log_prob, ValueAndGradient):
        return AnalyticTarget(log_prob, parameters)
    if gradient:
        return TorchTarget(log_prob, vectorized, parameters, device)
    return NumpyTarget(log_prob, vectorized, parameters)
