r"""The slope of a Gaussian process is a Gaussian process:

    cov(f'(x), f(z)) = dk(x, z) / dx,      cov(f'(x), f'(z)) = d2k(x, z) / dx dz

(Rasmussen & Williams 2006, section 9.4). Both come from the kernel by automatic
differentiation: for any weights V, the gradient of sum_ij V_ij k(x_i, z_j) by x_i is
linear in V_i, and its gradient by V is the matrix of derivatives.
"""

from __future__ import annotations

import numpy as np
import torch

from statml.gp.kernels.base import Kernel, Tensor
from statml.gp.posterior import Conditioned, Posterior

Array = np.ndarray

# New points whose prior covariance is formed together where only its diagonal is wanted.
BLOCK_ROWS = 128


def first_derivative(kernel: Kernel, X: Tensor, Z: Tensor, theta: Tensor, feature: int) -> Tensor:
    """dk(x_i, z_j) / dx_i by one feature, a tensor (n, m) that may be differentiated by Z."""
    with torch.enable_grad():
        rows = X.detach().requires_grad_()
        weights = torch.ones(len(X), len(Z), dtype=X.dtype, device=X.device, requires_grad=True)
        total = (weights * kernel.covariance(rows, Z, theta)).sum()
        (gradient,) = torch.autograd.grad(
            total, rows, create_graph=True, allow_unused=True, materialize_grads=True
        )
        if not gradient.requires_grad:  # a constant
            return torch.zeros_like(weights)
        (matrix,) = torch.autograd.grad(
            gradient[:, feature].sum(),
            weights,
            create_graph=Z.requires_grad,
            allow_unused=True,
            materialize_grads=True,
        )
    return matrix


def second_derivative(kernel: Kernel, X: Tensor, Z: Tensor, theta: Tensor, feature: int) -> Tensor:
    """d2k(x_i, z_j) / dx_i dz_j by one feature, a tensor (n, m)."""
    with torch.enable_grad():
        columns = Z.detach().requires_grad_()
        first = first_derivative(kernel, X, columns, theta, feature)
        weights = torch.ones_like(first).requires_grad_()
        if not first.requires_grad:
            return torch.zeros_like(first)
        (gradient,) = torch.autograd.grad(
            (weights * first).sum(), columns, create_graph=True, allow_unused=True, materialize_grads=True
        )
        if not gradient.requires_grad:
            return torch.zeros_like(first)
        (matrix,) = torch.autograd.grad(
            gradient[:, feature].sum(), weights, allow_unused=True, materialize_grads=True
        )
    return matrix


def slope_at(posterior: Posterior, points: Tensor, feature: int) -> Conditioned:
    """The slope of the process by one feature at new points."""
    training = posterior.tensor(posterior.X)
    cross = first_derivative(posterior.kernel, points, training, posterior.theta, feature)
    gradient = posterior.tensor(posterior.mean.slopes(feature))
    with torch.no_grad():
        return posterior.condition(cross.detach(), gradient.expand(len(points), -1))


def slope_marginals(posterior: Posterior, X: Array, feature: int) -> tuple[Array, Array]:
    """Mean and variance of the slope at new points, (n,) each."""
    mean, variance = np.zeros((2, len(X)))
    for start in range(0, len(X), BLOCK_ROWS):
        rows = slice(start, min(start + BLOCK_ROWS, len(X)))
        points = posterior.tensor(X[rows])
        found = slope_at(posterior, points, feature)
        prior = second_derivative(posterior.kernel, points, points, posterior.theta, feature).diagonal()
        mean[rows] = found.mean.cpu().numpy()
        variance[rows] = (prior.detach() + found.variance_shift()).clamp(min=0).cpu().numpy()
    return mean, variance


def slope_covariance(posterior: Posterior, X: Array, feature: int) -> Array:
    """Joint covariance of the slopes, (n, n)."""
    points = posterior.tensor(X)
    found = slope_at(posterior, points, feature)
    prior = second_derivative(posterior.kernel, points, points, posterior.theta, feature)
    return (prior.detach() + found.shift(found)).cpu().numpy()
