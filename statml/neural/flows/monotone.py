"""Rising maps of one number, with parameters that a network supplies: what moves a column in a flow."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from statml.errors import InputError
from statml.neural.flows import spline


class Monotone:
    """A family of rising maps; zero parameters are the identity."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Parameters of one map."""

    @abstractmethod
    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """z and log dz/dx for x of shape (...) and parameters (..., size)."""

    @abstractmethod
    def inverse(self, z: Tensor, parameters: Tensor) -> Tensor:
        """x for z of shape (...)."""


@dataclass(frozen=True)
class Affine(Monotone):
    """z = (x - shift) exp(-log_scale), |log_scale| < limit.

    Parameters
    ----------
    limit : float
        A soft bound, so that one bad step of training cannot make a scale infinite.
    """

    size: ClassVar[int] = 2  # type: ignore[misc]
    limit: float = 7.0

    def shift_and_log_scale(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """The two numbers that the parameters stand for."""
        return parameters[..., 0], self.limit * torch.tanh(parameters[..., 1] / self.limit)

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = self.shift_and_log_scale(parameters)
        return (x - shift) * torch.exp(-log_scale), -log_scale

    def inverse(self, z: Tensor, parameters: Tensor) -> Tensor:
        shift, log_scale = self.shift_and_log_scale(parameters)
        return shift + z * torch.exp(log_scale)


@dataclass(frozen=True)
class Spline(Monotone):
    """A rational-quadratic spline on [-bound, bound], the identity outside.

    Parameters
    ----------
    bins : int
        K, at least 2.
    bound : float
    """

    bins: int = 8
    bound: float = 5.0

    def __post_init__(self) -> None:
        if self.bins < 2 or not self.bound > 0:
            raise InputError(
                f"Spline has bins={self.bins}, bound={self.bound}; accepted are bins >= 2, bound > 0"
            )

    @property
    def size(self) -> int:  # type: ignore[override]
        return 3 * self.bins - 1

    def knots(self, parameters: Tensor) -> spline.Knots:
        """The knots that the parameters stand for."""
        return spline.free_knots(parameters, self.bins, self.bound)

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return spline.forward(x, self.knots(parameters))

    def inverse(self, z: Tensor, parameters: Tensor) -> Tensor:
        return spline.inverse(z, self.knots(parameters))
