"""The Metropolis steps for line, scatter and components (`gibbs_collapsed` is what they sample).

Gradient g and expected information G of phi give the proposal

    phi' ~ N(phi + delta G^-1 g,  eps^2 G^-1),    all at phi.

delta = eps = 1 is a Newton step with noise: from anywhere it lands on the whole
conditional posterior, and is mostly accepted where that is nearly normal. delta = 0
with a random eps is a random walk, for where it is not. Close to zero scatter a random
walk in log sigma takes over (`walk_of_scatter`). All are exact through the
Metropolis-Hastings ratio, whatever stands for g and G.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statml.regression.errors_in_variables.gibbs_collapsed import Collapsed, Layout, Local, Rows
from statml.regression.errors_in_variables.kelly_model import Moments
from statml.regression.errors_in_variables.kelly_prior import FullPrior

Array = np.ndarray
# Proposals beyond are refused: the rows have a spread of about 1.
FARTHEST = 1e20


@dataclass(frozen=True)
class _Proposal:
    """N(phi + delta G^-1 g, eps^2 G^-1) from one point; entries that stay have g = 0 and G = 1."""

    mean: Array
    lower: Array  # Cholesky factor of G
    scale: Array

    @classmethod
    def at(
        cls, phi: Array, gradient: Array, information: Array, moving: Array, drift: Array, scale: Array
    ) -> _Proposal:
        both = moving[:, :, None] & moving[:, None, :]
        diagonal = np.maximum(np.einsum("cii->ci", information), 1e-12)
        size = np.sqrt(np.where(moving, diagonal, 1))
        unit = np.where(both, information, 0) / (size[:, :, None] * size[:, None, :])
        unit = np.clip(unit, -1, 1)  # what rounding left of a wild proposal may be no covariance
        # Collinear features leave a direction without information; it must only be bounded.
        np.einsum("cii->ci", unit)[...] = 1 + 1e-9
        lower = size[:, :, None] * _cholesky(unit)
        half = np.linalg.solve(lower, np.where(moving, gradient, 0)[:, :, None])
        step = np.linalg.solve(np.swapaxes(lower, 1, 2), half)[:, :, 0]
        return cls(phi + drift[:, None] * step, lower, scale)

    def draw(self, normal: Array) -> Array:
        jump = np.linalg.solve(np.swapaxes(self.lower, 1, 2), normal[:, :, None])[:, :, 0]
        return self.mean + self.scale[:, None] * jump

    def log_density(self, phi: Array, moving: Array) -> Array:
        gap = np.where(moving, phi - self.mean, 0) / self.scale[:, None]
        standard = np.einsum("cij,ci->cj", self.lower, gap)
        diagonal = np.einsum("cii->ci", self.lower)
        size = moving.sum(axis=1) * np.log(self.scale)
        return np.log(diagonal).sum(axis=1) - size - 0.5 * np.sum(standard**2, axis=1)


def _cholesky(matrix: Array) -> Array:
    """Cholesky factors of matrices of unit diagonal; an indefinite one is replaced by the nearest that is not."""
    try:
        return np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(matrix)
        positive = vectors * np.maximum(values, 1e-9)[:, None] @ np.swapaxes(vectors, 1, 2)
        return np.linalg.cholesky(positive)


def metropolis(
    posterior: Collapsed,
    phi: Array,
    here: Local,
    moving: Array,
    drift: Array,
    scale: Array,
    rng: np.random.Generator,
    *,
    settling: bool,
) -> tuple[Array, Local]:
    """One proposal for every chain.

    Parameters
    ----------
    phi : array (C, N)
    here : tuple
        ``posterior.at(phi)``.
    moving : array (C, N) of bool
        Entries that are proposed anew; chosen by what the step keeps, the labels.
    drift, scale : arrays (C,)
        delta and eps.
    settling : bool
        Accept every rise as well, which finds the posterior from far away; for draws
        that are thrown away.

    Returns
    -------
    phi : array (C, N)
    there : tuple
        The posterior at it.
    """
    layout = posterior.layout
    leaving = _Proposal.at(phi, *here[1:], moving, drift, scale)
    proposed = leaving.draw(np.where(moving, rng.standard_normal(phi.shape), 0))
    inside = layout.scatter_inside(layout.unpack(proposed)[1], posterior.prior)
    inside &= np.all(np.abs(proposed) < FARTHEST, axis=1)
    proposed[~inside] = phi[~inside]
    with np.errstate(all="ignore"):
        there = posterior.at(proposed)
    inside &= np.isfinite(there[0]) & np.isfinite(there[2]).all(axis=(1, 2))
    gradient = np.where(inside[:, None], there[1], 0)
    information = np.where(inside[:, None, None], there[2], np.eye(phi.shape[1]))
    returning = _Proposal.at(proposed, gradient, information, moving, drift, scale)
    gain = there[0] - here[0]
    ratio = gain + returning.log_density(phi, moving) - leaving.log_density(proposed, moving)
    accepted = inside & (np.log(rng.random(len(phi))) < ratio)
    if settling:
        accepted |= inside & (gain > 0)
    chosen = (
        np.where(accepted, there[0], here[0]),
        np.where(accepted[:, None], gradient, here[1]),
        np.where(accepted[:, None, None], information, here[2]),
    )
    return np.where(accepted[:, None], proposed, phi), chosen


def walk_of_scatter(
    rows: Rows,
    prior: FullPrior,
    layout: Layout,
    state: tuple[Array, Array, Array, Array],
    rng: np.random.Generator,
) -> Array:
    """sigma^2 (C,) after a step of log sigma with a random length, everything else held.

    Parameters
    ----------
    state : (params, sigma2, centers, covs)
    """
    params, sigma2, centers, covs = state
    chains = len(params)
    length = np.exp(rng.uniform(np.log(0.1), np.log(3.0), chains))
    proposed = sigma2 * np.exp(2 * length * rng.standard_normal(chains))
    inside = layout.scatter_inside(proposed, prior)
    proposed = np.where(inside, proposed, sigma2)

    def log_density(sigma2: Array) -> Array:
        moments = Moments.of(params, sigma2, centers, covs, layout.intercept)
        return rows.log_density(moments) + prior.log_scatter(0.5 * np.log(sigma2))

    ratio = log_density(proposed) - log_density(sigma2)
    return np.where(inside & (np.log(rng.random(chains)) < ratio), proposed, sigma2)
