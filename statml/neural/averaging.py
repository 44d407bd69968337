"""An exponential moving average of the weights, which forgets the noise of single steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Averaged:
    """The average a <- d a + (1 - d) w of weights w after each step.

    In the first steps d is smaller, (1 + t) / (10 + t), so that the first weights are soon forgotten.
    """

    def __init__(self, parameters: list[nn.Parameter], decay: float) -> None:
        self.parameters = parameters
        self.decay = decay
        self.weights: list[Tensor] = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 0."""
        keep = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.weights, [p.detach() for p in self.parameters], 1 - keep)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the context the network has the averages in place of its weights."""
        own = [p.data for p in self.parameters]
        self.keep()
        try:
            yield
        finally:
            for p, value in zip(self.parameters, own):
                p.data = value

    def keep(self) -> None:
        """Give the network the averages."""
        for p, value in zip(self.parameters, self.weights):
            p.data = value
