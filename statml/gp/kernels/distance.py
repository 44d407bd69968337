r"""Distances between rows, with gradients that hold where two rows coincide.

Stationary kernels are functions of

    r^2 = sum_j (x_j - z_j)^2 / l_j^2 .

Its gradient needs no memory beyond the scaled rows: for an incoming gradient G it is
2 (diag(G 1) A - G B). Kernels are written as functions of r^2, not of r, whose
derivative at zero does not exist though that of a Matern kernel does.
"""

from __future__ import annotations

from typing import Any

import torch

from statml.errors import InputError

Tensor = torch.Tensor


class _SquaredDistance(torch.autograd.Function):
    """r^2 of every pair of rows of A and B; twice differentiable."""

    @staticmethod
    def forward(ctx: Any, A: Tensor, B: Tensor) -> Tensor:
        ctx.save_for_backward(A, B)
        gap = A[:, :1] - B[:, 0]
        total = gap.square_()
        for j in range(1, A.shape[1]):
            gap = A[:, j : j + 1] - B[:, j]
            total.addcmul_(gap, gap)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (G,) = gradients
        A, B = ctx.saved_tensors
        return 2 * (G.sum(1, keepdim=True) * A - G @ B), 2 * (G.sum(0)[:, None] * B - G.T @ A)


def squared_distance(X: Tensor, Z: Tensor, length_scale: Tensor) -> Tensor:
    """r^2 of every pair of rows, scaled by one length or by one for each feature, (n, m).

    Raises
    ------
    InputError
        There are not as many lengths as features.
    """
    if length_scale.ndim == 1 and len(length_scale) != X.shape[1]:
        raise InputError(
            f"length_scale has {len(length_scale)} values and the kernel sees {X.shape[1]} features; "
            "accepted are as many, or one number"
        )
    # The gradient takes differences of rows: without a common offset they keep their digits.
    center = Z.detach().mean(0) if len(Z) else 0.0
    return _SquaredDistance.apply((X - center) / length_scale, (Z - center) / length_scale)


def square_root(r2: Tensor) -> Tensor:
    """r, with a gradient of zero (not NaN) where r is zero."""
    positive = r2 > 0
    return torch.where(positive, torch.sqrt(torch.where(positive, r2, 1.0)), 0.0)
