r"""Stochastic variational training of a sparse Gaussian process: a step for every minibatch.

The bound of `collapsed_bound` is reached by one normal q(w) = N(P^-1 h, P^-1), with

    P = P_0 + sum_i phi_i phi_i^T / s_i^2,   h = sum_i phi_i r_i / s_i^2.

For any other q it is a sum over rows less a divergence,

    sum_i E_q log N(y_i; phi_i^T w, s_i^2) - (k_ii - |phi_i|^2) / (2 s_i^2) - KL(q || p),

so a minibatch gives an unbiased estimate of it. A natural gradient step of length rho puts
P <- (1 - rho) P + rho P', with P' estimated from the minibatch, and likewise h; hyperparameters and inducing points
take a step of Adam along their gradient at that q. Since w is white a priori, the divergence does not
depend on them.

Source: Hensman, Fusi & Lawrence (2013), arXiv:1309.6835; Salimbeni et al. (2018), arXiv:1803.09151.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from statml.gp.collapsed_bound import (
    Hyperparameters,
    Sums,
    inducing_factor,
    prior_precision,
    row_sums,
    rows_of,
)
from statml.gp.kernels import Kernel
from statml.gp.marginal_likelihood import Observations
from statml.gp.mean_function import MeanFunction

Array = np.ndarray
# Natural steps: 1 at first, and no shorter than this, as the features change under way.
LEAST_RHO = 0.1


@dataclass(frozen=True)
class NaturalNormal:
    """q(w) by its natural parameters: precision (M, M), and precision times mean (M,)."""

    precision: Tensor
    moment: Tensor

    def step(self, sums: Sums, share: float, mean: MeanFunction, rho: float) -> NaturalNormal:
        """A natural gradient step on rows that are `share` of all.

        Parameters
        ----------
        sums : Sums
            Of the minibatch.
        share : float
            Rows of the minibatch over all rows.
        mean : MeanFunction
        rho : float
            Length; 1 forgets all other rows.
        """
        prior = prior_precision(mean, len(self.moment) - mean.size, self.moment)
        return NaturalNormal(
            (1 - rho) * self.precision + rho * (prior + sums.gram / share),
            (1 - rho) * self.moment + rho * sums.moment / share,
        )


def expected_log_likelihood(sums: Sums, q: NaturalNormal) -> Tensor:
    """E_q log p of the rows behind `sums`, what the features neglect taken off; differentiable by the sums."""
    root = torch.linalg.cholesky(q.precision)
    w = torch.cholesky_solve(q.moment[:, None], root)[:, 0]
    second = torch.outer(w, w) + torch.cholesky_inverse(root)
    quadratic = sums.square - 2 * (w @ sums.moment) + (second * sums.gram).sum()
    return -0.5 * (quadratic + sums.log_noise + sums.rows * math.log(2 * math.pi) + sums.neglected)


def train(
    kernel: Kernel,
    data: Observations,
    variables: Tensor,
    unpack: Callable[[Tensor], Hyperparameters],
    limits: tuple[Tensor, Tensor],
    *,
    batch_size: int,
    epochs: int,
    learning_rate: float,
    rng: np.random.Generator,
) -> Tensor:
    """Variables after some epochs of minibatches.

    Parameters
    ----------
    variables : Tensor (k,)
        What is learned, of order one.
    unpack : callable
        From variables to `Hyperparameters`.
    limits : tuple of Tensor (k,)
        Lower and upper bounds.
    batch_size, epochs : int
    learning_rate : float
        Of Adam at first; falls to zero along a cosine.
    rng : Generator
        Of the order of the rows.
    """
    n = len(data)
    batches = math.ceil(n / batch_size)
    variables = variables.detach().clone().requires_grad_()
    adam = torch.optim.Adam([variables], lr=learning_rate)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(epochs * batches, 1))
    q: NaturalNormal | None = None
    for step in range(epochs * batches):
        if step % batches == 0:
            order = torch.from_numpy(rng.permutation(n)).to(data.X.device)
        rows = order[step % batches :: batches]
        at = unpack(variables)
        sums = row_sums(kernel, rows_of(data, rows), at, inducing_factor(kernel, at))
        share = len(rows) / n
        with torch.no_grad():
            q = q or NaturalNormal(torch.zeros_like(sums.gram), torch.zeros_like(sums.moment))
            q = q.step(sums, share, data.mean, max(1 / (1 + step), LEAST_RHO))
        adam.zero_grad()
        (-expected_log_likelihood(sums, q) / len(rows)).backward()
        adam.step()
        fall.step()
        with torch.no_grad():
            variables.clamp_(*limits)
    return variables.detach()
