r"""Hamiltonian Monte Carlo: trajectories of a set duration, accepted by their energy error.

A fresh momentum, a roll over the duration t, then Metropolis with the probability
min(1, exp(H - H')). A duration of about a quarter turn (pi / 2 in round coordinates)
forgets most; a fixed one would fall into step with some direction of the target, so
it is drawn afresh for each step, uniform around the set one.

Sources: Duane et al. (1987); Neal (2011), arXiv:1206.1901. arXiv:2506.12230, chapter 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from statml.errors import InputError
from statml.sampling import hamiltonian
from statml.sampling.hamiltonian import MAX_ENERGY_ERROR, HamiltonianState, kinetic, leapfrog
from statml.sampling.target import Target
from statml.sampling.transition import Clock, Sampler

Array = np.ndarray

MAX_LEAPFROGS = 1024


@dataclass(frozen=True)
class HMC(Sampler):
    """Hamiltonian Monte Carlo with adapted step length and mass matrix.

    Parameters
    ----------
    duration : float
        Of a trajectory, in units in which the target has unit width: pi / 2 is a quarter turn.
    jitter : float
        Durations are uniform between (1 - jitter) and (1 + jitter) times this; 0 to 1.
    target_accept : float
        Mean acceptance that the warm-up steers the step length to.
    dense : bool
        Learn the whole covariance, not only the width of each parameter.
    step_size : float, optional
        First step length; kept where there is no warm-up.

    Examples
    --------
    >>> import torch
    >>> from statml.sampling import sample
    >>> chain = sample(lambda x: -0.5 * (x**2).sum(-1), [[0.0, 1.0], [1.0, 0.0]], sampler=HMC(),
    ...                draws=500, warmup=200, rng=0)
    >>> bool(abs(chain.draws.std() - 1) < 0.1)
    True
    """

    name: ClassVar[str] = "hmc"
    gradient: ClassVar[bool] = True
    default_warmup: ClassVar[int] = 1000

    duration: float = np.pi / 2
    jitter: float = 0.5
    target_accept: float = 0.8
    dense: bool = False
    step_size: float | None = None

    def __post_init__(self) -> None:
        check_target_accept(self.target_accept)
        check_step(self.step_size)
        if not self.duration > 0 or not 0 <= self.jitter <= 1:
            raise InputError(
                f"duration is {self.duration!r} and jitter {self.jitter!r}; accepted are a positive number "
                "and one between 0 and 1"
            )

    def begin(
        self, target: Target, points: Array, log_prob: Array, rng: np.random.Generator
    ) -> HamiltonianState:
        return hamiltonian.begin(target, points, rng, self.dense, self.step_size)

    def step(
        self, target: Target, state: HamiltonianState, clock: Clock, rng: np.random.Generator
    ) -> HamiltonianState:
        tuning = state.tuning
        duration = self.duration * (1 + self.jitter * rng.uniform(-1, 1))
        leapfrogs = int(np.clip(np.round(duration / tuning.step), 1, MAX_LEAPFROGS))
        p = rng.standard_normal(state.points.shape)
        before = kinetic(p) - state.log_prob
        x, log_prob, gradient = state.points, state.log_prob, state.gradient
        white = hamiltonian.whitened(gradient, tuning.axes)
        with np.errstate(all="ignore"):
            for _ in range(leapfrogs):
                x, p, log_prob, gradient, white = leapfrog(target, x, p, white, tuning.step, tuning.axes)
            error = kinetic(p) - log_prob - before
        error = np.where(np.isnan(error), np.inf, error)
        acceptance = np.exp(-np.maximum(error, 0.0))
        take = rng.random(len(x)) < acceptance
        moved = HamiltonianState(
            np.where(take[:, None], x, state.points),
            np.where(take, log_prob, state.log_prob),
            {
                "acceptance_rate": acceptance,
                "diverging": error > MAX_ENERGY_ERROR,
                "n_steps": np.full(len(x), leapfrogs),
                "step_size": np.full(len(x), tuning.step),
                "energy": np.where(take, error, 0.0) + before,
            },
            np.where(take[:, None], gradient, state.gradient),
            tuning,
        )
        if not clock.adapting:
            return moved
        new = hamiltonian.adapted(target, moved, float(acceptance.mean()), self.target_accept, clock, rng)
        return HamiltonianState(moved.points, moved.log_prob, moved.statistics, moved.gradient, new)


def check_target_accept(value: float) -> None:
    """Refuse what is no acceptance to steer to."""
    if not 0 < value < 1:
        raise InputError(f"target_accept is {value!r}; accepted is a number between 0 and 1")


def check_step(value: float | None) -> None:
    """Refuse what is no step length."""
    if value is not None and not value > 0:
        raise InputError(f"step_size is {value!r}; accepted is a positive number")
