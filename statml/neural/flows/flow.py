"""A base distribution and the transforms that lead to it: densities, draws, inversion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from statml.compute import generator
from statml.neural.flows.transform import Transform


class StandardNormal(nn.Module):
    """d independent normals of mean 0 and variance 1."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.d = d

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of each row, shape (n,)."""
        return -0.5 * (z**2).sum(dim=1) - 0.5 * self.d * math.log(2 * math.pi)

    def sample(self, size: int, *, rng: Any = None) -> Tensor:
        """Draws, shape (size, d), float64."""
        return torch.from_numpy(generator(rng).standard_normal((size, self.d)))


class Flow(nn.Module):
    """p(x | context): the base density seen through the transforms.

    Parameters
    ----------
    base : StandardNormal
    transforms : sequence of Transform
        From the data to the base, in this order.

    Examples
    --------
    >>> from statml.neural.flows import Standardisation
    >>> flow = Flow(StandardNormal(1), [Standardisation([3.0], [2.0])])
    >>> flow.log_prob(torch.tensor([[3.0]]))  # the log density of N(3, 4) at its mean
    tensor([-1.6121])
    """

    def __init__(self, base: StandardNormal, transforms: Sequence[Transform]) -> None:
        super().__init__()
        self.base = base
        self.transforms = nn.ModuleList(transforms)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z and log |det dz/dx| of each row of x."""
        total = x.new_zeros(len(x))
        for transform in self.transforms:
            x, log_det = transform(x, context)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """The x that each z stands for."""
        for transform in reversed(self.transforms):
            z = transform.inverse(z, context)  # type: ignore[operator]
        return z

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density of each row, shape (n,); -inf outside the support."""
        z, log_det = self.forward(x, context)
        return self.base.log_prob(z) + log_det

    @torch.no_grad()
    def sample(self, size: int | None = None, context: Tensor | None = None, *, rng: Any = None) -> Tensor:
        """Draws of x, shape (size, d), or one for each row of the context.

        Parameters
        ----------
        size : int, optional
            Without a context.
        context : tensor (n, c), optional
        rng : int, Generator or None
        """
        count = len(context) if context is not None else 1 if size is None else size
        z = self.base.sample(count, rng=rng)
        like = next((p for p in (*self.parameters(), *self.buffers()) if p.is_floating_point()), z)
        return self.inverse(z.to(like.device, like.dtype), context)
