"""Maps of a flow that are linear and need no context: order, direction, unit of the columns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from statml.errors import InputError
from statml.neural.flows.transform import Transform


class Permutation(Transform):
    """The columns in another order; volume is kept.

    Parameters
    ----------
    order : sequence of int
        Column j of z is column ``order[j]`` of x.

    Examples
    --------
    >>> Permutation([2, 0, 1])(torch.tensor([[1.0, 2.0, 3.0]]))
    (tensor([[3., 1., 2.]]), tensor([0.]))
    """

    order: Tensor
    back: Tensor

    def __init__(self, order: Any) -> None:
        super().__init__()
        order = torch.as_tensor(order, dtype=torch.long)
        if order.ndim != 1 or not torch.equal(order.sort().values, torch.arange(len(order))):
            raise InputError(f"order is {order.tolist()}; accepted is a permutation of 0 ... d - 1")
        self.register_buffer("order", order)
        self.register_buffer("back", order.argsort())

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x[:, self.order], x.new_zeros(len(x))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return z[:, self.back]


class Rotation(Transform):
    """A rotation that is learned, z = exp(A - A^T) x; volume is kept.

    Parameters
    ----------
    d : int
        Columns. It starts as the identity.
    """

    def __init__(self, d: int) -> None:
        super().__init__()
        self.generator = nn.Parameter(torch.zeros(d, d))

    @property
    def matrix(self) -> Tensor:
        """The orthogonal matrix, shape (d, d)."""
        return torch.matrix_exp(self.generator - self.generator.T)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x @ self.matrix.T, x.new_zeros(len(x))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return z @ self.matrix


class Standardisation(Transform):
    """(x - center) / scale, fixed: the networks behind it see columns of order one.

    Parameters
    ----------
    center, scale : arrays (d,)
        `scale` > 0.

    Examples
    --------
    >>> Standardisation([1.0], [2.0])(torch.tensor([[5.0]]))
    (tensor([[2.]]), tensor([-0.6931]))
    """

    center: Tensor
    scale: Tensor

    def __init__(self, center: Any, scale: Any) -> None:
        super().__init__()
        dtype = torch.get_default_dtype()
        self.register_buffer("center", torch.as_tensor(center, dtype=dtype))
        self.register_buffer("scale", torch.as_tensor(scale, dtype=dtype))
        if not bool((self.scale > 0).all()):
            raise InputError("scale holds a value that is not positive; accepted are values > 0")

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (x - self.center) / self.scale, -self.scale.log().sum().expand(len(x))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.center + self.scale * z
