r"""Bounded columns: a flow on the whole line, seen through a map onto an interval.

    low < x < high:   z = log((x - low) / (high - x))
    low < x:          z = log(x - low)
    x < high:         z = -log(high - x)

Outside the bounds the density is zero, exactly; without the map a flow leaks
probability over an edge, because the base has it everywhere.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from statml.errors import InputError
from statml.neural.flows.transform import Transform


class Support(Transform):
    """Map the support of each column onto the whole line.

    Parameters
    ----------
    low, high : arrays (d,)
        Bounds, -inf and inf where there is none.

    Examples
    --------
    >>> half = Support([0.0], [float("inf")])
    >>> half(torch.tensor([[1.0], [-1.0]]))[1]  # the density left of the bound is zero
    tensor([0., -inf])
    """

    low: Tensor
    high: Tensor

    def __init__(self, low: Any, high: Any) -> None:
        super().__init__()
        dtype = torch.get_default_dtype()
        self.register_buffer("low", torch.as_tensor(low, dtype=dtype))
        self.register_buffer("high", torch.as_tensor(high, dtype=dtype))
        if self.low.shape != self.high.shape or not bool((self.low < self.high).all()):
            raise InputError("low and high are not bounds of the same columns; accepted are low < high")

    def _kinds(self) -> tuple[Tensor, Tensor, Tensor]:
        below, above = torch.isfinite(self.low), torch.isfinite(self.high)
        return below & above, below & ~above, above & ~below

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        both, below, above = self._kinds()
        inside = ((x > self.low) & (x < self.high)).all(dim=1)
        # A row outside is moved inside before the logarithms, so that no NaN reaches a gradient.
        middle = torch.where(
            both, 0.5 * (self.low + self.high), torch.where(below, self.low + 1, self.high - 1)
        )
        x = torch.where(inside[:, None] | ~(both | below | above), x, middle)
        left = torch.where(both | below, x - self.low, 1.0).log()
        right = torch.where(both | above, self.high - x, 1.0).log()
        z = torch.where(both, left - right, torch.where(below, left, torch.where(above, -right, x)))
        width = torch.where(both, self.high - self.low, 1.0).log()
        log_det = (width - left - right).sum(dim=1)
        return z, torch.where(inside, log_det, -torch.inf)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        both, below, above = self._kinds()
        # From the nearer bound: low + w is exact where w is small, high - w where that is.
        width = torch.where(both, self.high - self.low, 1.0)
        from_low = torch.where(both, self.low, 0.0) + width * torch.sigmoid(z)
        from_high = torch.where(both, self.high, 0.0) - width * torch.sigmoid(-z)
        between = torch.where(z < 0, from_low, from_high)
        right = torch.where(above, self.high, 0.0) - torch.exp(-z)
        left = torch.where(below, self.low, 0.0) + torch.exp(z)
        return torch.where(both, between, torch.where(below, left, torch.where(above, right, z)))
