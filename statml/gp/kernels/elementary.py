"""Kernels that are not of a distance: a constant, a plane, and noise that nothing shares."""

from __future__ import annotations

from typing import Any

import torch

from statml.errors import InputError
from statml.gp.kernels.base import Leaf, Tensor


class Constant(Leaf):
    """An unknown constant of standard deviation sigma; multiplied, it scales another kernel.

    Parameters
    ----------
    sigma : float
        In units of y.

    Examples
    --------
    >>> (Constant(2.0) + Linear(1.0))([1.0, 3.0])
    array([[ 5.,  7.],
           [ 7., 13.]])
    """

    parameters = ("sigma",)
    sigma: float

    def __init__(self, sigma: float = 1.0) -> None:
        super().__init__(sigma=sigma)

    def covariance(self, X: Tensor, Z: Tensor | None, theta: Tensor) -> Tensor:
        columns = len(X) if Z is None else len(Z)
        return (self._values(theta)["sigma"] ** 2).expand(len(X), columns)

    def variance(self, X: Tensor, theta: Tensor) -> Tensor:
        return (self._values(theta)["sigma"] ** 2).expand(len(X))


class Linear(Leaf):
    """A plane through the origin with normal slopes: Bayesian linear regression as a kernel.

    Parameters
    ----------
    slope : float or array (d,)
        Standard deviation of the slopes, in units of y by x; one for each feature or for all.

    See Also
    --------
    Constant : for the intercept, ``Constant(10.0) + Linear(2.0)``.

    Examples
    --------
    >>> Linear([1.0, 2.0])([[1.0, 1.0]])
    array([[5.]])
    """

    parameters = ("slope",)
    slope: float | tuple[float, ...]

    def __init__(self, slope: Any = 1.0) -> None:
        super().__init__(slope=slope)

    def covariance(self, X: Tensor, Z: Tensor | None, theta: Tensor) -> Tensor:
        scaled = self._scaled(X, theta)
        return scaled @ (scaled if Z is None else self._scaled(Z, theta)).T

    def variance(self, X: Tensor, theta: Tensor) -> Tensor:
        return self._scaled(X, theta).square().sum(1)

    def _scaled(self, X: Tensor, theta: Tensor) -> Tensor:
        X, slope = self._columns(X), self._values(theta)["slope"]
        if slope.ndim == 1 and len(slope) != X.shape[1]:
            raise InputError(f"slope has {len(slope)} values and the kernel sees {X.shape[1]} features")
        return X * slope


class White(Leaf):
    """Independent scatter: every row has its own value, even at the same x.

    Parameters
    ----------
    sigma : float
        Standard deviation, in units of y.

    Examples
    --------
    >>> White(2.0)([1.0, 1.0])
    array([[4., 0.],
           [0., 4.]])
    >>> White(2.0)([1.0], [1.0])
    array([[0.]])
    """

    parameters = ("sigma",)
    sigma: float

    def __init__(self, sigma: float = 1.0) -> None:
        super().__init__(sigma=sigma)

    def covariance(self, X: Tensor, Z: Tensor | None, theta: Tensor) -> Tensor:
        if Z is None:
            return torch.diag_embed(self.variance(X, theta))
        return torch.zeros(len(X), len(Z), dtype=X.dtype, device=X.device)

    def variance(self, X: Tensor, theta: Tensor) -> Tensor:
        return (self._values(theta)["sigma"] ** 2).expand(len(X))

    def independent_variance(self, X: Tensor, theta: Tensor) -> Tensor:
        return self.variance(X, theta)
