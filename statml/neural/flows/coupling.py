r"""Coupling: some columns stay, and say how the others move.

    z_stay = x_stay,     z_move = f(x_move; parameters(x_stay, context))

The Jacobian is triangular, both directions cost one pass of the network, and what
stays in one layer has to move in another. References: Dinh, Sohl-Dickstein & Bengio
(2017), arXiv:1605.08803, affine; Durkan et al. (2019), arXiv:1906.04032, splines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from statml.errors import InputError
from statml.neural.flows.conditioner import Conditioner
from statml.neural.flows.monotone import Monotone
from statml.neural.flows.transform import Transform


class Coupling(Transform):
    """Move some columns by maps that depend on the others.

    Parameters
    ----------
    moves : sequence of bool (d,)
        Which columns move; at least one stays.
    family : Affine or Spline
    context : int
        Columns of the context.
    hidden : sequence of int
        Widths of the network's layers.
    """

    moving: Tensor
    staying: Tensor

    def __init__(
        self, moves: Any, family: Monotone, *, context: int = 0, hidden: Sequence[int] = (64, 64)
    ) -> None:
        super().__init__()
        moves = torch.as_tensor(moves, dtype=torch.bool)
        if moves.all() or not moves.any():
            raise InputError(
                f"moves is {moves.tolist()}; accepted are columns that move and columns that stay (for one column "
                "take Autoregressive)"
            )
        self.register_buffer("moving", torch.nonzero(moves).ravel())
        self.register_buffer("staying", torch.nonzero(~moves).ravel())
        self.family = family
        self.conditioner = Conditioner(len(self.staying), context, len(self.moving), family.size, hidden)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        parameters = self.conditioner(x[:, self.staying], context)
        moved, log_slope = self.family.forward(x[:, self.moving], parameters)
        return x.index_copy(1, self.moving, moved), log_slope.sum(dim=1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        parameters = self.conditioner(z[:, self.staying], context)
        return z.index_copy(1, self.moving, self.family.inverse(z[:, self.moving], parameters))
