r"""A lower bound of a Gaussian process' evidence that costs O(n m^2), and the posterior that reaches it.

The m values u = f(Z) at inducing points stand for the function. With L L^T = K_ZZ, the features
phi(x) = L^-1 k(Z, x) and white weights v = L^-1 u, what the points cannot tell of f(x) has the
variance k(x, x) - |phi(x)|^2. For y_i = f(x_i) + h(x_i)^T beta + noise of variance s_i^2 (given errors
and scatter, row by row) the best normal posterior of v and beta is that of a *linear* model,

    y ~ N(Phi w, diag(s^2)),   w = (v, beta),   v ~ N(0, 1),

and the bound is the evidence of that model less what was neglected (Titsias 2009):

    log p(y) >= log N(y; H b, Phi Phi^T + H B H^T + diag(s^2)) - sum_i (k_ii - |phi_i|^2) / (2 s_i^2).

Everything it needs of the data are sums over rows, which are therefore taken a block or a minibatch
at a time.

Source: Titsias (2009), AISTATS 5, 567; its heteroscedastic form is the same algebra with s_i for s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from statml.gp.kernels import Kernel
from statml.gp.marginal_likelihood import Observations, cholesky
from statml.gp.mean_function import MeanFunction
from statml.gp.posterior import Conditioned, Posterior

# Rows whose features are held at once where no derivative is asked for.
BLOCK_ROWS = 8192


@dataclass(frozen=True)
class Hyperparameters:
    """Where a bound is evaluated: log hyperparameters of the kernel, variance of the scatter, points Z."""

    theta: Tensor
    scatter_variance: Tensor
    inducing: Tensor


@dataclass(frozen=True)
class Sums:
    """What a bound needs of rows; of two sets of rows they add.

    Attributes
    ----------
    rows : int
    gram : Tensor (M, M)
        sum_i phi_i phi_i^T / s_i^2, mean function included: M = m + its coefficients.
    moment : Tensor (M,)
        sum_i phi_i r_i / s_i^2, r the residual from the prior mean.
    square : Tensor ()
        sum_i r_i^2 / s_i^2.
    log_noise : Tensor ()
        sum_i log s_i^2.
    neglected : Tensor ()
        sum_i (k_ii - |phi_i|^2) / s_i^2.
    """

    rows: int
    gram: Tensor
    moment: Tensor
    square: Tensor
    log_noise: Tensor
    neglected: Tensor

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.rows + other.rows,
            self.gram + other.gram,
            self.moment + other.moment,
            self.square + other.square,
            self.log_noise + other.log_noise,
            self.neglected + other.neglected,
        )


def row_sums(kernel: Kernel, data: Observations, at: Hyperparameters, factor: Tensor) -> Sums:
    """The sums over all rows of `data`, differentiable; `factor` is L."""
    own = kernel.independent_variance(data.X, at.theta)
    noise = data.errors + at.scatter_variance + own
    phi = torch.linalg.solve_triangular(factor, kernel.covariance(at.inducing, data.X, at.theta), upper=False)
    untold = kernel.variance(data.X, at.theta) - own - phi.square().sum(0)
    H = data.mean.design(data.X)
    residual = data.y - H @ torch.as_tensor(data.mean.start, device=data.y.device)
    root = noise.sqrt()
    A, r = torch.cat([phi, H.T]) / root, residual / root
    return Sums(len(data), A @ A.T, A @ r, r @ r, noise.log().sum(), (untold / noise).sum())


def block_sums(kernel: Kernel, data: Observations, at: Hyperparameters, factor: Tensor) -> Sums:
    """The same without derivatives, a block of rows at a time."""
    with torch.no_grad():
        parts = (
            row_sums(kernel, rows_of(data, slice(start, start + BLOCK_ROWS)), at, factor)
            for start in range(0, len(data), BLOCK_ROWS)
        )
        total = next(parts)
        for part in parts:
            total = total + part
    return total


def rows_of(data: Observations, rows: slice | Tensor) -> Observations:
    """Some of the rows."""
    return Observations(data.X[rows], data.y[rows], data.errors[rows], data.mean)


def inducing_factor(kernel: Kernel, at: Hyperparameters) -> Tensor:
    """L, the lower Cholesky factor of K_ZZ, (m, m).

    Where points nearly determine each other a little variance is added: values of f seen through
    that much noise stand for the function instead, so the bound remains one.
    """
    K = kernel.covariance(at.inducing, at.inducing, at.theta)
    jitter = cholesky(K.detach())[1]
    return torch.linalg.cholesky(K + jitter * torch.eye(len(K), dtype=K.dtype, device=K.device))


def prior_precision(mean: MeanFunction, m: int, like: Tensor) -> Tensor:
    """Of the white weights and the mean function's coefficients, (M, M); 0 for a vague mean."""
    precision = torch.zeros(m + mean.size, m + mean.size, dtype=like.dtype, device=like.device)
    precision[:m, :m].diagonal().fill_(1.0)
    if mean.prior is not None:
        root = torch.as_tensor(mean.prior.factor, device=like.device)
        precision[m:, m:] = torch.cholesky_inverse(root)
    return precision


def bound(sums: Sums, mean: MeanFunction) -> Tensor:
    """The collapsed lower bound of log p(y), a tensor of one number."""
    M = len(sums.moment)
    P = prior_precision(mean, M - mean.size, sums.moment) + sums.gram
    root = torch.linalg.cholesky(P)
    explained = torch.linalg.solve_triangular(root, sums.moment[:, None], upper=False).square().sum()
    free = mean.size if mean.prior is None else 0
    value = -0.5 * (
        sums.square
        - explained
        + sums.log_noise
        + 2 * root.diagonal().log().sum()
        + (sums.rows - free) * math.log(2 * math.pi)
        + sums.neglected
    )
    if mean.prior is not None:
        return value - torch.as_tensor(mean.prior.factor).diagonal().log().sum().to(value.device)
    return value + mean.log_scale


def collapsed_bound(kernel: Kernel, data: Observations, at: Hyperparameters) -> Tensor:
    """The bound with derivatives by `at`, all rows at once."""
    return bound(row_sums(kernel, data, at, inducing_factor(kernel, at)), data.mean)


@dataclass(frozen=True)
class SparsePosterior(Posterior):
    """The process given the data through m inducing points, which are its ``X``.

    ``mean_factor`` is the Cholesky factor of the precision of all M weights.
    """

    def condition(self, cross: Tensor, design: Tensor) -> Conditioned:
        v = torch.linalg.solve_triangular(self.tensor(self.factor), cross.T, upper=False)
        u = torch.linalg.solve_triangular(
            self.tensor(self.mean_factor), torch.cat([v, design.T]), upper=False
        )
        mean = cross @ self.tensor(self.weights) + design @ self.tensor(self.mean_weights)
        return Conditioned(mean, v, u)


def sparse_posterior(
    kernel: Kernel, data: Observations, at: Hyperparameters
) -> tuple[SparsePosterior, float]:
    """The optimal posterior, and its bound.

    Parameters
    ----------
    kernel : Kernel
        With the hyperparameters of `at`.
    data : Observations
        Of any length: they are read a block at a time.
    at : Hyperparameters
    """
    with torch.no_grad():
        factor = inducing_factor(kernel, at)
        sums = block_sums(kernel, data, at, factor)
        m = len(at.inducing)
        root = torch.linalg.cholesky(prior_precision(data.mean, m, sums.moment) + sums.gram)
        weights = torch.cholesky_solve(sums.moment[:, None], root)[:, 0]
        on_cross = torch.linalg.solve_triangular(factor.T, weights[:m, None], upper=True)[:, 0]
        coefficients = torch.as_tensor(data.mean.start, device=weights.device) + weights[m:]
        value = float(bound(sums, data.mean))
    posterior = SparsePosterior(
        kernel,
        data.mean,
        X=at.inducing.cpu().numpy(),
        weights=on_cross.cpu().numpy(),
        factor=factor.cpu().numpy(),
        white_design=np.zeros((m, 0)),
        mean_factor=root.cpu().numpy(),
        mean_weights=coefficients.cpu().numpy(),
        place=str(data.X.device),
    )
    return posterior, value
