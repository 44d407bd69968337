r"""Autoregressive maps: each column moves by a map that depends on the columns before it.

    z_j = f(x_j; parameters_j(x_1 ... x_{j-1}, context))

Densities cost one pass of a masked network (MADE), draws one pass for each column.
With one column the parameters depend on the context alone, and the map is a
conditional distribution in one dimension. Reference: Papamakarios, Pavlakou & Murray
(2017), arXiv:1705.07057.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from statml.neural.flows.conditioner import MaskedConditioner
from statml.neural.flows.monotone import Monotone
from statml.neural.flows.transform import Transform


class Autoregressive(Transform):
    """Move every column by a map that depends on the columns before it.

    Parameters
    ----------
    d : int
        Columns.
    family : Affine or Spline
    context : int
        Columns of the context.
    hidden : sequence of int
        Widths of the masked network's layers.
    """

    def __init__(
        self, d: int, family: Monotone, *, context: int = 0, hidden: Sequence[int] = (64, 64)
    ) -> None:
        super().__init__()
        self.family = family
        self.conditioner = MaskedConditioner(d, context, family.size, hidden)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_slope = self.family.forward(x, self.conditioner(x, context))
        return z, log_slope.sum(dim=1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        x = torch.zeros_like(z)
        # After pass j the first j columns are right, and the next depends on those alone.
        for j in range(z.shape[1]):
            parameters = self.conditioner(x, context)[:, j]
            x = x.index_copy(
                1, torch.tensor([j], device=z.device), self.family.inverse(z[:, j], parameters)[:, None]
            )
        return x
