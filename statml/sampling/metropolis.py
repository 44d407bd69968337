r"""Metropolis-Hastings: propose, and accept with a probability that keeps the target.

From x propose x' ~ q(x' | x) and go there with probability

    min(1, p(x') q(x | x') / (p(x) q(x' | x))),

else stay, and count x once more. The move satisfies detailed balance for p, whatever q;
q decides how fast. A normal proposal should have 2.38^2 / d times the covariance of
the target; the warm-up learns covariance and scale, and both are frozen after it.

Sources: Metropolis et al. (1953); Hastings (1970); Roberts, Gelman & Gilks (1997);
Haario, Saksman & Tamminen (2001). arXiv:2506.12230, chapter 13.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from statml.errors import InputError
from statml.sampling.target import Target
from statml.sampling.transition import Clock, Sampler, State

Array = np.ndarray

OPTIMAL_SCALE = 2.38
# Share of proposals to accept: in one dimension, and in many.
TARGET_ONE, TARGET_MANY = 0.44, 0.234
# Adaptation: steps between two looks at the covariance, and how fast the scale follows.
LOOK_EVERY = 50
SCALE_RATE = 0.6


@dataclass(frozen=True, eq=False)
class Proposal:
    """Normal proposals and what the warm-up has seen; leading axes are temperatures, if any."""

    scale: Array  # (..., 1, 1), multiplies the factor
    factor: Array  # (..., k, k), lower triangular
    learned: bool  # the factor is that of the target's covariance
    count: int
    mean: Array  # (..., k)
    scatter: Array  # (..., k, k), sum of outer products of deviations


@dataclass(frozen=True, eq=False)
class MetropolisState(State):
    """A state with its proposal."""

    proposal: Proposal


@dataclass(frozen=True)
class Metropolis(Sampler):
    """Random-walk Metropolis, or Metropolis-Hastings with a proposal of your own.

    Parameters
    ----------
    scale : float or array (parameters,), optional
        Standard deviation of the normal proposal. By default 2.38 / sqrt(parameters)
        times the spread of the starting points, to be adapted in a warm-up.
    cov : array (parameters, parameters), optional
        Covariance of the proposal, instead of `scale`.
    proposal : callable, optional
        ``proposal(points, rng)`` returns new points (chains, parameters) and
        log q(old | new) - log q(new | old), an array (chains,) or 0.
    target_accept : float, optional
        Share of accepted proposals that the warm-up steers to: 0.44 for one
        parameter, 0.234 for more.

    Examples
    --------
    >>> import numpy as np
    >>> from statml.sampling import sample
    >>> chain = sample(lambda x: -0.5 * np.sum(x**2, axis=-1), np.zeros((4, 1)),
    ...                sampler=Metropolis(scale=2.4), draws=2000, rng=0)
    >>> bool(abs(chain.draws.std() - 1) < 0.1)
    True
    """

    name: ClassVar[str] = "metropolis"

    scale: Any = None
    cov: Any = None
    proposal: Callable[[Array, np.random.Generator], tuple[Array, Any]] | None = None
    target_accept: float | None = None

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.scale, self.cov, self.proposal)) > 1:
            raise InputError(
                "scale, cov and proposal are given together; accepted is one of them, as each sets the proposal"
            )
        if self.scale is not None and not np.all(np.asarray(self.scale, float) > 0):
            raise InputError(f"scale is {self.scale!r}; accepted are positive numbers")
        if self.target_accept is not None and not 0 < self.target_accept < 1:
            raise InputError(f"target_accept is {self.target_accept!r}; accepted is a number between 0 and 1")

    def check(self, initial: Array) -> None:
        super().check(initial)
        k = initial.shape[-1]
        for name, value, shapes in (
            ("scale", self.scale, [(), (k,)]),
            ("cov", self.cov, [(k, k)]),
        ):
            if value is not None and np.shape(value) not in shapes:
                raise InputError(
                    f"{name} has shape {np.shape(value)}; accepted is {' or '.join(map(str, shapes))}"
                )
        if self.cov is not None:
            _cholesky(np.asarray(self.cov, float))

    def begin(
        self, target: Target, points: Array, log_prob: Array, rng: np.random.Generator
    ) -> MetropolisState:
        lead, k = points.shape[:-2], points.shape[-1]
        factor, scale = self._first_factor(points), 1.0
        if self.scale is None and self.cov is None:
            scale = OPTIMAL_SCALE / np.sqrt(k)
        return MetropolisState(
            points,
            log_prob,
            self._statistics(np.zeros(log_prob.shape, bool)),
            Proposal(
                np.full((*lead, 1, 1), scale),
                np.broadcast_to(factor, (*lead, k, k)).copy(),
                False,
                0,
                np.zeros((*lead, k)),
                np.zeros((*lead, k, k)),
            ),
        )

    def step(
        self, target: Target, state: MetropolisState, clock: Clock, rng: np.random.Generator
    ) -> MetropolisState:
        proposal, log_ratio = state.proposal, 0.0
        if self.proposal is None:
            noise = rng.standard_normal(state.points.shape)
            points = state.points + noise @ (proposal.scale * proposal.factor).swapaxes(-1, -2)
        else:
            points, log_ratio = self.proposal(state.points, rng)
            points = np.asarray(points, float)
            if points.shape != state.points.shape:
                raise InputError(
                    f"proposal returned points of shape {points.shape}; accepted is {state.points.shape}"
                )
        log_prob = target.value(points)
        gain = log_prob - state.log_prob + log_ratio
        accepted = -rng.standard_exponential(gain.shape) < gain
        new = np.where(accepted[..., None], points, state.points)
        if clock.adapting and self.proposal is None:
            proposal = self._adapted(proposal, new, gain, clock)
        return MetropolisState(
            new, np.where(accepted, log_prob, state.log_prob), self._statistics(accepted), proposal
        )

    @staticmethod
    def _statistics(accepted: Array) -> dict[str, Array]:
        return {"accepted": accepted}

    def _first_factor(self, points: Array) -> Array:
        k = points.shape[-1]
        if self.cov is not None:
            return _cholesky(np.asarray(self.cov, float))
        if self.scale is not None:
            return np.diag(np.broadcast_to(np.asarray(self.scale, float), (k,)))
        spread = np.std(points.reshape(-1, k), axis=0)
        return np.diag(np.where(spread > 0, spread, 1.0))

    def _adapted(self, proposal: Proposal, points: Array, gain: Array, clock: Clock) -> Proposal:
        """Follow the acceptance with the scale, and every so often the covariance seen so far."""
        k = points.shape[-1]
        wanted = self.target_accept or (TARGET_ONE if k == 1 else TARGET_MANY)
        with np.errstate(over="ignore"):
            rate = np.mean(np.exp(np.minimum(gain, 0.0)), axis=-1)
        drift = (rate - wanted) / (clock.step + 1) ** SCALE_RATE * k**0.5
        scale = proposal.scale * np.exp(drift)[..., None, None]
        count, mean, scatter = _more(proposal, points)
        if clock.step == clock.warmup // 4:  # what came before was on its way
            count, mean, scatter = 0, np.zeros_like(mean), np.zeros_like(scatter)
        factor, learned = proposal.factor, proposal.learned
        if clock.step % LOOK_EVERY == LOOK_EVERY - 1 and count >= 10 * k:
            variance = np.diagonal(scatter, axis1=-2, axis2=-1) / count
            if np.all(variance > 0):
                weight = count / (count + 5.0 * k)
                diagonal = variance[..., None] * np.eye(k)
                factor = np.linalg.cholesky(weight * scatter / count + (1 - weight) * diagonal)
                # The first covariance gives the scale a new meaning: a multiple of the target's width.
                scale = scale if learned else np.full_like(scale, OPTIMAL_SCALE / np.sqrt(k))
                learned = True
        return Proposal(scale, factor, learned, count, mean, scatter)


def _cholesky(cov: Array) -> Array:
    try:
        return np.linalg.cholesky(cov)
    except np.linalg.LinAlgError:
        raise InputError("cov is not positive definite; accepted is the covariance of a proposal") from None


def _more(proposal: Proposal, points: Array) -> tuple[int, Array, Array]:
    """Count, mean and scatter with the points (..., chains, k) of one more step (Welford, by batches)."""
    m = points.shape[-2]
    count = proposal.count + m
    batch = points.mean(axis=-2)
    centred = points - batch[..., None, :]
    shift = batch - proposal.mean
    scatter = proposal.scatter + centred.swapaxes(-1, -2) @ centred
    scatter = scatter + (proposal.count * m / count) * shift[..., :, None] * shift[..., None, :]
    return count, proposal.mean + shift * (m / count), scatter
