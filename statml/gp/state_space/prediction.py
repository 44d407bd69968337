"""The process at new times given the data, in O(n + m): smoothing with values that are missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from statml.compute import generator
from statml.gp.kernels import Kernel
from statml.gp.state_space.chain import Chain
from statml.gp.state_space.evidence import Constants, Data
from statml.gp.state_space.forms import form
from statml.gp.state_space.likelihood import Sampling, build_chain
from statml.gp.state_space.recursion import simulate, smooth

Array = np.ndarray
Tensor = torch.Tensor

# Of the variance of the process: where less is left in a draw, its value is taken as known.
KNOWN = 1e-13


@dataclass(frozen=True)
class Together:
    """Data and new times as one chain; `old` and `new` are the steps of either."""

    chain: Chain
    old: Array
    new: Array
    white: float


def together(
    kernel: Kernel, theta: Tensor, data: Sampling | None, new: Sampling, factor: Tensor | None
) -> Together:
    """Merge the times of data with new ones, which may come in any order."""
    parts = [new] if data is None else [data, new]
    t = torch.cat([part.t for part in parts])
    exposed = any(part.exposure is not None for part in parts)
    exposure = torch.cat(
        [torch.zeros_like(part.t) if part.exposure is None else part.exposure for part in parts]
    )
    order = torch.argsort(t, stable=True)
    bands = None if new.bands is None else torch.cat([part.bands for part in parts])  # type: ignore[misc]
    merged = Sampling(t[order], exposure[order] if exposed else None, None if bands is None else bands[order])
    found = form(kernel, theta)
    chain = build_chain(found, merged, factor)
    place = np.empty(len(t), dtype=int)
    place[order.numpy()] = chain.at.numpy()
    first = len(t) - len(new.t)
    return Together(chain, place[:first], place[first:], float(found.white))


def predict(
    where: Together, data: Data, noise: Tensor, constants: Constants | None, new_columns: Tensor
) -> tuple[Array, Array]:
    """Means and variances of the true values (white scatter left out) at the new steps."""
    A, Q, h = _matrices(where.chain)
    n, k = len(h), data.columns.shape[1]
    mu = torch.zeros(k, dtype=torch.float64) if constants is None else constants.mu
    Y = np.zeros((n, 1 + k))
    Y[where.old] = torch.cat([(data.y - data.columns @ mu)[:, None], data.columns], 1).numpy()
    means, variances = _smooth(Y, _noise(n, where, noise), A, Q, h)
    mean, variance = means[where.new, 0] + (new_columns @ mu).numpy(), variances[where.new]
    if constants is not None:
        # What the data do not say about a constant is unknown here too.
        unexplained = new_columns.numpy() - means[where.new, 1:]
        variance = variance + np.sum(
            unexplained * np.linalg.solve(constants.G.numpy(), unexplained.T).T, axis=1
        )
    return mean, np.maximum(variance, 0.0)


def draw_prior(where: Together, size: int, rng: Any) -> Array:
    """Joint draws of the process at all steps, (steps, size)."""
    A, Q, h = _matrices(where.chain)
    drawn = np.zeros((len(h), size))
    scale = float(np.max(np.einsum("ni,ij,nj->n", h, Q[0], h)))
    simulate(A, Q, h, generator(rng).standard_normal((len(h), size)), KNOWN * scale, drawn)
    return drawn


def draw_posterior(
    where: Together,
    data: Data,
    noise: Tensor,
    constants: Constants | None,
    new_columns: Tensor,
    size: int,
    rng: Any,
) -> Array:
    """Joint draws at the new steps, (m, size): prior draws, corrected by what their data miss.

    A draw f* of the prior with data y* differs from its own smoothed mean as the truth does from ours
    (Durbin & Koopman 2002), so f* + smoothed(y - y*) is a draw of the posterior.
    """
    rng = generator(rng)
    A, Q, h = _matrices(where.chain)
    n, k = len(h), data.columns.shape[1]
    drawn = draw_prior(where, size, rng)
    spread = _noise(n, where, noise)[where.old]
    finite = np.isfinite(spread)
    errors = np.where(finite, np.sqrt(np.where(finite, spread, 0.0)), 0.0)[:, None] * rng.standard_normal(
        (len(where.old), size)
    )
    missed = np.zeros((n, size))
    mu = np.zeros((k, size))
    if constants is not None:
        root = np.linalg.inv(np.linalg.cholesky(constants.G.numpy())).T
        mu = constants.mu.numpy()[:, None] + root @ rng.standard_normal((k, size))
    missed[where.old] = data.y.numpy()[:, None] - data.columns.numpy() @ mu - drawn[where.old] - errors
    means, _ = _smooth(missed, _noise(n, where, noise), A, Q, h)
    return (drawn + means)[where.new] + new_columns.numpy() @ mu


def _matrices(chain: Chain) -> tuple[Array, Array, Array]:
    A, Q, h = (np.ascontiguousarray(matrix.detach().numpy()) for matrix in (chain.A, chain.Q, chain.h))
    return A, Q, h


def _noise(n: int, where: Together, noise: Tensor) -> Array:
    full = np.full(n, np.inf)
    full[where.old] = noise.numpy() + where.white
    return full


def _smooth(Y: Array, noise: Array, A: Array, Q: Array, h: Array) -> tuple[Array, Array]:
    means, variances = np.zeros(Y.shape), np.zeros(len(Y))
    smooth(Y, noise, A, Q, h, means, variances, np.zeros(Y.shape), np.zeros(len(Y)))
    return means, variances
