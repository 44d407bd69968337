r"""Draws from a posterior that is nearly normal: Hamiltonian Monte Carlo on Laplace's axes.

In z = F^-1 (b - mode), with F F^T Laplace's covariance, the posterior is close to a
standard normal, and a trajectory of `statml.sampling.HMC` is close to a rotation, which
after a quarter of a turn has forgotten where it started. The acceptance step makes the
draws exact, whatever the shape of the posterior.
"""

from __future__ import annotations

import numpy as np

from statml.classification.laplace import LogPosterior, NormalApproximation
from statml.sampling import HMC, Chain, ValueAndGradient, sample

Array = np.ndarray

# The chains start wider than the posterior, so that chains that agree have forgotten their start.
START_WIDTH = 1.5


def posterior_draws(
    posterior: LogPosterior,
    normal: NormalApproximation,
    *,
    chains: int,
    draws: int,
    warmup: int,
    rng: np.random.Generator,
) -> Chain:
    """Chains of draws of the parameters.

    Parameters
    ----------
    posterior : LogPosterior
    normal : NormalApproximation
        Where the chains start, and the axes they begin with; the warm-up learns better ones.
    chains, draws, warmup : int
        Chains, and trajectories of each that are kept and that are not.
    rng : Generator
    """

    def whitened(z: Array) -> tuple[Array, Array]:
        value, gradient = posterior.with_gradient(normal.mode + z @ normal.factor.T)
        return value, gradient @ normal.factor

    p = len(normal.mode)
    chain = sample(
        ValueAndGradient(whitened),
        START_WIDTH * rng.standard_normal((chains, p)),
        sampler=HMC(dense=True, target_accept=0.85, step_size=0.9 * p**-0.25),
        draws=draws,
        warmup=warmup,
        rng=rng,
        progress=False,
    )
    return chain.transformed(
        lambda z: normal.mode + z @ normal.factor.T, tuple(f"params[{j}]" for j in range(p))
    )
