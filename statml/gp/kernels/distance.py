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
    """r^2 of every pair of rows of A and B; twice differentiable in them.

    A and B are X and Z, centred and scaled by l. The value is taken of X, Z and l: the
    difference of two near rows is exact before it is scaled, and not after.
    """

    @staticmethod
    def forward(ctx: Any, A: Tensor, B: Tensor, X: Tensor, Z: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(A, B)
        scale = scale.expand(X.shape[1])
        total = (X[:, :1] - Z[:, 0]).div_(scale[0]).square_()
        for j in range(1, X.shape[1]):
            gap = (X[:, j : j + 1] - Z[:, j]).div_(scale[j])
            total.addcmul_(gap, gap)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        (G,) = gradients
        A, B = ctx.saved_tensors
        by_A = 2 * (G.sum(1, keepdim=True) * A - G @ B)
        by_B = 2 * (G.sum(0)[:, None] * B - G.T @ A)
        return by_A, by_B, None, None, None


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
    A, B = (X - center) / length_scale, (Z - center) / length_scale
    return _SquaredDistance.apply(A, B, X.detach(), Z.detach(), length_scale.detach())


def square_root(r2: Tensor) -> Tensor:
    """r, with a gradient of zero (not NaN) where r is zero."""
    positive = r2 > 0
    return torch.where(positive, torch.sqrt(torch.where(positive, r2, 1.0)), 0.0)
