r"""The log evidence of hyperparameters, with unknown constants integrated out.

With y = H mu + f + noise and a flat prior on mu (Rasmussen & Williams 2006, eq. 2.45; G = H^T K^-1 H),

    log p(y) = -1/2 [ (y - H mu)^T K^-1 (y - H mu) + log det K + log det G + (n - k) log 2 pi ]

at mu = G^-1 H^T K^-1 y. Its derivative needs no derivative of mu, which is at its maximum, and
d log det G = sum_j d (g_j^T K^-1 g_j) at fixed g = H G^-1/2: more calls of one filter, no matrices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from statml.gp.kernels import Kernel
from statml.gp.state_space.block_filter import LOG_2PI
from statml.gp.state_space.likelihood import Sampling, Terms

Tensor = torch.Tensor


@dataclass(frozen=True)
class Data:
    """Sorted values, the variances of their errors, and the columns H of unknown constants (n, k)."""

    sampling: Sampling
    y: Tensor
    noise: Tensor
    columns: Tensor

    @property
    def is_plain(self) -> bool:
        """A known mean, one band, values at an instant, finite errors."""
        alone = self.sampling.bands is None and self.sampling.exposure is None
        return alone and not self.columns.shape[1] and math.isfinite(self.noise.sum().item())

    def to(self, place: str) -> Data:
        """On another device."""
        at = self.sampling
        moved = [None if x is None else x.to(place) for x in (at.t, at.exposure, at.bands)]
        return Data(Sampling(*moved), self.y.to(place), self.noise.to(place), self.columns.to(place))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Constants:
    """The constants mu (k,) and G = H^T K^-1 H (k, k)."""

    mu: Tensor
    G: Tensor


def log_evidence(
    kernel: Kernel,
    theta: Tensor,
    data: Data,
    extra: Tensor | None = None,
    factor: Tensor | None = None,
    *,
    scan: bool = False,
) -> Tensor:
    """Log evidence, (), differentiable in every tensor.

    Parameters
    ----------
    kernel : Kernel
    theta : tensor (k,)
    data : Data
    extra : tensor (), optional
        Variance to add to that of every error.
    factor : tensor (b, r), optional
        L of the bands.
    """
    terms = Terms(kernel, theta, data.sampling, factor, scan=scan)
    noise = data.noise if extra is None else data.noise + extra
    used = len(noise)
    if not math.isfinite(noise.detach().sum().item()):
        used = int(torch.isfinite(noise).sum())
    if not data.columns.shape[1]:
        logdet, quadratic = terms(data.y, noise)
        return -0.5 * (logdet + quadratic + used * LOG_2PI)
    with torch.no_grad():
        frozen = Terms(
            kernel, theta.detach(), data.sampling, None if factor is None else factor.detach(), scan=scan
        )
    constants = fit_constants(frozen, data, noise.detach())
    logdet, quadratic = terms(data.y - data.columns @ constants.mu, noise)
    triangle = torch.linalg.cholesky(constants.G)
    roots = torch.linalg.solve_triangular(triangle, data.columns.T, upper=False)
    k = len(roots)
    # Each is 1: they are here for their derivatives.
    own = sum((terms(root, noise)[1] - 1 for root in roots), start=torch.zeros_like(logdet))
    logdet_G = 2 * torch.log(torch.diagonal(triangle)).sum()
    return -0.5 * (logdet + quadratic + own + logdet_G + (used - k) * LOG_2PI)


def fit_constants(terms: Terms, data: Data, noise: Tensor) -> Constants:
    """The constants at fixed hyperparameters, by generalised least squares."""
    y, columns = data.y.detach(), data.columns
    whitened = []
    for column in columns.T:
        with torch.enable_grad():
            values = column.clone().requires_grad_()
            quadratic = terms(values, noise)[1]
            whitened.append(torch.autograd.grad(quadratic, values)[0] / 2)  # K^-1 h
    W = torch.stack(whitened, 1)
    G = columns.T @ W
    G = (G + G.T) / 2
    return Constants(torch.linalg.solve(G, W.T @ y), G)
