r"""Networks that supply the parameters of a flow's maps.

`Conditioner` sees all of its input. `MaskedConditioner` is a MADE (Germain et al. 2015,
arXiv:1502.03509): the parameters of column j depend on columns 1 ... j - 1 and the
context only, because the weights that would say otherwise are zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


def with_context(x: Tensor, context: Tensor | None) -> Tensor:
    """Columns of x and of the context side by side."""
    return x if context is None else torch.cat([x, context], dim=-1)


class Conditioner(nn.Module):
    """A network from (n, inputs + context) to parameters (n, outputs, size); zeros at first."""

    def __init__(self, inputs: int, context: int, outputs: int, size: int, hidden: Sequence[int]) -> None:
        super().__init__()
        widths = [inputs + context, *hidden]
        layers: list[nn.Module] = []
        for into, out in pairwise(widths):
            layers += [nn.Linear(into, out), nn.SiLU()]
        last = nn.Linear(widths[-1], outputs * size)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)
        self.shape = (outputs, size)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.layers(with_context(x, context)).unflatten(-1, self.shape)


class MaskedLinear(nn.Linear):
    """A linear layer some of whose weights are zero and stay so; `mask` is (outputs, inputs)."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask)

    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(input, self.mask * self.weight, self.bias)


class MaskedConditioner(nn.Module):
    """A MADE from (n, d) and a context to parameters (n, d, size); zeros at first.

    A hidden unit of degree m sees columns 1 ... m; one of degree 0 the context alone.
    """

    def __init__(self, d: int, context: int, size: int, hidden: Sequence[int]) -> None:
        super().__init__()
        degrees = torch.cat([torch.arange(1, d + 1), torch.zeros(context, dtype=torch.long)])
        layers: list[nn.Module] = []
        for width in hidden:
            ahead = torch.arange(width) % d
            layers += [MaskedLinear((ahead[:, None] >= degrees).float()), nn.SiLU()]
            degrees = ahead
        outputs = torch.arange(1, d + 1).repeat_interleave(size)
        last = MaskedLinear((outputs[:, None] > degrees).float())
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)
        self.shape = (d, size)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.layers(with_context(x, context)).unflatten(-1, self.shape)
