r"""Kernels of the distance alone: how far apart two points must be to be independent.

With r the distance in units of the length scale and sigma the standard deviation of
the process,

    RBF                sigma^2 exp(-r^2 / 2)                                infinitely smooth
    Matern52           sigma^2 (1 + sqrt5 r + 5 r^2 / 3) exp(-sqrt5 r)      two derivatives
    Matern32           sigma^2 (1 + sqrt3 r) exp(-sqrt3 r)                  one derivative
    Matern12           sigma^2 exp(-r)                                      continuous
    RationalQuadratic  sigma^2 (1 + r^2 / (2 alpha))^-alpha                 RBFs of many lengths
    Periodic           sigma^2 exp(-2 sum_j sin^2(pi d_j / period) / l_j^2)

(Rasmussen & Williams 2006, section 4.2; the periodic one is a product over features,
because a sine of the Euclidean distance is no covariance in two dimensions.)
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import torch

from statml.errors import InputError
from statml.gp.kernels.base import Leaf, Tensor
from statml.gp.kernels.distance import square_root, squared_distance


class Stationary(Leaf):
    """sigma^2 times a correlation that depends on the distance of two points."""

    parameters: ClassVar[tuple[str, ...]] = ("length_scale", "sigma")
    length_scale: float | tuple[float, ...]
    sigma: float

    def __init__(self, length_scale: Any = 1.0, sigma: float = 1.0) -> None:
        super().__init__(length_scale=length_scale, sigma=sigma)

    @abstractmethod
    def _correlation(self, X: Tensor, Z: Tensor, values: dict[str, Tensor]) -> Tensor: ...

    def covariance(self, X: Tensor, Z: Tensor | None, theta: Tensor) -> Tensor:
        X = self._columns(X)
        Z = X if Z is None else self._columns(Z)
        values = self._values(theta)
        return values["sigma"] ** 2 * self._correlation(X, Z, values)

    def variance(self, X: Tensor, theta: Tensor) -> Tensor:
        self._columns(X)
        return (self._values(theta)["sigma"] ** 2).expand(len(X))


class RBF(Stationary):
    """Squared exponential kernel, of infinitely smooth functions.

    Parameters
    ----------
    length_scale : float or array (d,)
        Distance over which the function changes, in units of x; one for each feature
        tells which features matter (automatic relevance determination).
    sigma : float
        Standard deviation of the process, in units of y.

    Examples
    --------
    >>> kernel = RBF(2.0, sigma=3.0)
    >>> kernel([0.0, 2.0]).round(3)
    array([[9.   , 5.459],
           [5.459, 9.   ]])
    >>> RBF([1.0, 5.0]).names
    ('length_scale[0]', 'length_scale[1]', 'sigma')
    """

    def _correlation(self, X: Tensor, Z: Tensor, values: dict[str, Tensor]) -> Tensor:
        return torch.exp(-0.5 * squared_distance(X, Z, values["length_scale"]))


class Matern12(Stationary):
    """Matern kernel of smoothness 1/2: continuous functions without derivatives.

    In one dimension it is the damped random walk, `DRW`.

    Parameters
    ----------
    length_scale, sigma
        As in `RBF`.

    Examples
    --------
    >>> Matern12(1.0)([0.0], [1.0]).round(4)
    array([[0.3679]])
    """

    differentiable = False

    def _correlation(self, X: Tensor, Z: Tensor, values: dict[str, Tensor]) -> Tensor:
        return torch.exp(-square_root(squared_distance(X, Z, values["length_scale"])))


class Matern32(Stationary):
    """Matern kernel of smoothness 3/2: functions with one derivative.

    Parameters
    ----------
    length_scale, sigma
        As in `RBF`.

    Examples
    --------
    >>> Matern32(1.0)([0.0], [1.0]).round(4)
    array([[0.4834]])
    """

    def _correlation(self, X: Tensor, Z: Tensor, values: dict[str, Tensor]) -> Tensor:
        return _Matern32Correlation.apply(squared_distance(X, Z, values["length_scale"]))


class Matern52(Stationary):
    """Matern kernel of smoothness 5/2: functions with two derivatives.

    Parameters
    ----------
    length_scale, sigma
        As in `RBF`.

    Examples
    --------
    >>> Matern52(1.0)([0.0], [1.0]).round(4)
    array([[0.524]])
    """

    def _correlation(self, X: Tensor, Z: Tensor, values: dict[str, Tensor]) -> Tensor:
        return _Matern52Correlation.apply(squared_distance(X, Z, values["length_scale"]))


class _Matern32Correlation(torch.autograd.Function):
    """(1 + sqrt3 r) exp(-sqrt3 r) of r^2; its derivative, -3/2 exp(-sqrt3 r), is finite at zero."""

    @staticmethod
    def forward(ctx: Any, r2: Tensor) -> Tensor:
        ctx.save_for_backward(r2)
        z = math.sqrt(3) * torch.sqrt(r2)
        return (1 + z) * torch.exp(-z)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (r2,) = ctx.saved_tensors
        return -1.5 * torch.exp(-math.sqrt(3) * square_root(r2)) * gradients[0]


class _Matern52Correlation(torch.autograd.Function):
    """(1 + z + z^2 / 3) exp(-z) with z = sqrt5 r; derivative by r^2 is -5/6 (1 + z) exp(-z)."""

    @staticmethod
    def forward(ctx: Any, r2: Tensor) -> Tensor:
        ctx.save_for_backward(r2)
        z = math.sqrt(5) * torch.sqrt(r2)
        return (1 + z + z.square() / 3) * torch.exp(-z)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (r2,) = ctx.saved_tensors
        z = math.sqrt(5) * square_root(r2)
        return -5 / 6 * (1 + z) * torch.exp(-z) * gradients[0]


class RationalQuadratic(Stationary):
    """A mixture of RBF kernels of many length scales; RBF for large alpha.

    Parameters
    ----------
    length_scale, sigma
        As in `RBF`.
    alpha : float
        Small for a wide range of length scales.

    Examples
    --------
    >>> RationalQuadratic(1.0, alpha=1.0)([0.0], [1.0]).round(4)
    array([[0.6667]])
    """

    parameters = ("length_scale", "alpha", "sigma")
    alpha: float

    def __init__(self, length_scale: Any = 1.0, alpha: float = 1.0, sigma: float = 1.0) -> None:
        super(Stationary, self).__init__(length_scale=length_scale, alpha=alpha, sigma=sigma)

    def _correlation(self, X: Tensor, Z: Tensor, values: dict[str, Tensor]) -> Tensor:
        r2, alpha = squared_distance(X, Z, values["length_scale"]), values["alpha"]
        return torch.exp(-alpha * torch.log1p(r2 / (2 * alpha)))


class Periodic(Stationary):
    """Functions that repeat; multiply with an `RBF` to let the shape of the period change.

    Parameters
    ----------
    length_scale : float or array (d,)
        Without unit: small for a rich shape within one period, large for a sine.
    period : float
        In units of x, the same for all features; use ``.on(j)`` and a product for several.
    sigma : float
        Standard deviation of the process, in units of y.

    Examples
    --------
    >>> Periodic(1.0, period=2.0)([0.0], [2.0, 1.0]).round(4)
    array([[1.    , 0.1353]])
    """

    parameters = ("length_scale", "period", "sigma")
    period: float

    def __init__(self, length_scale: Any = 1.0, period: float = 1.0, sigma: float = 1.0) -> None:
        super(Stationary, self).__init__(length_scale=length_scale, period=period, sigma=sigma)

    def _correlation(self, X: Tensor, Z: Tensor, values: dict[str, Tensor]) -> Tensor:
        length = values["length_scale"]
        if length.ndim == 1 and len(length) != X.shape[1]:
            raise InputError(
                f"length_scale has {len(length)} values and the kernel sees {X.shape[1]} features"
            )
        lengths = length.expand(X.shape[1])
        exponent = torch.zeros(len(X), len(Z), dtype=X.dtype, device=X.device)
        for j in range(X.shape[1]):
            phase = math.pi * (X[:, j : j + 1] - Z[:, j]) / values["period"]
            exponent = exponent - 2 * torch.sin(phase).square() / lengths[j] ** 2
        return torch.exp(exponent)
