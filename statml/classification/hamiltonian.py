r"""Exact draws from a posterior that is nearly normal: Hamiltonian Monte Carlo on Laplace's axes.

In z = F^-1 (b - mode), with F F^T Laplace's covariance, the posterior is close to a
standard normal, and the frictionless motion

    dz/dt = r,   dr/dt = grad log p(z),   r ~ N(0, 1) afresh for each trajectory

is close to a rotation, which after a quarter of a turn has forgotten where it started.
Leapfrog steps follow it; a Metropolis test of the energy they get wrong makes the
draws exact, whatever the shape of the posterior (Duane et al. 1987; Neal 2011). All
chains move together, so that a step is one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from statml.uncertainty.chains import effective_size, split_rhat

Array = np.ndarray

# Share of trajectories the step length is tuned to accept; near the best for a normal target.
TARGET_ACCEPTANCE = 0.85
# Trajectories last between these: around a quarter turn, and never twice the same.
DURATION = (np.pi / 4, 3 * np.pi / 4)
MAX_LEAPFROGS = 64


@dataclass(frozen=True)
class Chains:
    """Draws (chains, draws, p) and how they were obtained.

    Attributes
    ----------
    draws : array (chains, draws, p)
    acceptance : float
        Mean acceptance of the trajectories after warm-up.
    rhat, ess : arrays (p,)
        Split R-hat and bulk effective sample size; see `statml.uncertainty.chains`.
    """

    draws: Array
    acceptance: float
    rhat: Array
    ess: Array

    @property
    def flat(self) -> Array:
        """All draws, shape (chains * draws, p)."""
        return self.draws.reshape(-1, self.draws.shape[2])


def sample(
    log_density: Callable[[Array], tuple[Array, Array]],
    mode: Array,
    factor: Array,
    *,
    chains: int,
    draws: int,
    warmup: int,
    rng: np.random.Generator,
) -> Chains:
    """Draw from a density known up to a factor.

    Parameters
    ----------
    log_density : callable
        Values (m,) and gradients (m, p) at points (m, p).
    mode, factor : array (p,), (p, p)
        Of the normal approximation, covariance F F^T. The middle of the warm-up replaces
        it by what the chains have seen, for posteriors that are far from it.
    chains, draws, warmup : int
        Chains, and trajectories of each that are kept and that are not.
    rng : Generator
    """
    # Wider than the posterior, so that chains that agree afterwards have forgotten it.
    point = mode + 1.5 * rng.standard_normal((chains, len(mode))) @ factor.T
    mover = _Mover(log_density, factor, point, rng)
    log_step = np.log(0.9 * len(mode) ** -0.25)
    for i in range(warmup):
        accepted = mover.move(np.exp(log_step))
        log_step += (accepted.mean() - TARGET_ACCEPTANCE) * 2 / np.sqrt(i % max(warmup // 2, 1) + 10)
        if i < warmup // 2:
            mover.remember()
        elif i == warmup // 2:
            mover.learn()
    kept, rates = np.empty((chains, draws, len(mode))), np.empty(draws)
    for i in range(draws):
        rates[i] = mover.move(np.exp(log_step)).mean()
        kept[:, i] = mover.point
    return Chains(kept, float(rates.mean()), split_rhat(kept), effective_size(kept))


class _Mover:
    """The state of all chains: points (m, p), their log densities and gradients."""

    def __init__(
        self,
        log_density: Callable[[Array], tuple[Array, Array]],
        factor: Array,
        point: Array,
        rng: np.random.Generator,
    ) -> None:
        self.log_density, self.factor, self.rng = log_density, factor, rng
        self.point = point
        self.value, self.gradient = log_density(point)
        self.seen: list[Array] = []

    def move(self, step: float) -> Array:
        """One trajectory of every chain; acceptance probabilities (m,)."""
        momentum = self.rng.standard_normal(self.point.shape)
        duration = self.rng.uniform(*DURATION)
        leapfrogs = min(max(round(duration / step), 1), MAX_LEAPFROGS)
        point, value, gradient = self.point, self.value, self.gradient
        r = momentum + 0.5 * step * gradient @ self.factor
        for i in range(leapfrogs):
            point = point + step * r @ self.factor.T
            value, gradient = self.log_density(point)
            r = r + (step if i < leapfrogs - 1 else 0.5 * step) * gradient @ self.factor
        gain = value - self.value + 0.5 * np.sum(momentum**2 - r**2, axis=1)
        probability = np.exp(np.minimum(np.where(np.isfinite(gain), gain, -np.inf), 0.0))
        take = self.rng.random(len(point)) < probability
        self.point = np.where(take[:, None], point, self.point)
        self.gradient = np.where(take[:, None], gradient, self.gradient)
        self.value = np.where(take, value, self.value)
        return probability

    def remember(self) -> None:
        """Keep the points for `learn`."""
        self.seen.append(self.point)

    def learn(self) -> None:
        """Replace the axes by the covariance of the points seen since the first quarter, if they are enough."""
        points = np.concatenate(self.seen[len(self.seen) // 2 :])
        p = points.shape[1]
        if len(points) < 20 * p:
            return
        # Shrunk towards the axes in use, so that few points cannot make them singular.
        weight = len(points) / (len(points) + 5 * p)
        cov = np.atleast_2d(np.cov(points, rowvar=False))
        self.factor = np.linalg.cholesky(weight * cov + (1 - weight) * self.factor @ self.factor.T)
        self.seen = []
