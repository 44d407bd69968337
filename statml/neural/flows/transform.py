"""The interface of all pieces of a flow: an invertible map that knows how it stretches volume."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn


class Transform(nn.Module):
    """An invertible map from data towards the base, for each context.

    ``transform(x, context)`` is ``(z, log_det)`` of shapes (n, d) and (n,), with
    log_det = log |det dz/dx|; ``transform.inverse(z, context)`` is x.
    """

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z and log |det dz/dx| of each row."""

    @abstractmethod
    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """The x that this z comes from."""
