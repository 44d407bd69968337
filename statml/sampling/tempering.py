r"""Parallel tempering: chains at higher temperatures cross where the posterior has valleys.

At temperature T the target is prior * L^(1/T): the posterior at T = 1, the prior at
T = infinity. All temperatures run side by side, by Metropolis or as ensembles, and
neighbours exchange their places with probability

    min(1, (L_j / L_i)^(1/T_i - 1/T_j)),

which leaves the product of all targets as it is. What is drawn at T = 1 is returned;
the likelihoods at all temperatures give the evidence (`statml.sampling.evidence`).

Sources: Swendsen & Wang (1986); Geyer (1991); Earl & Deem (2005). Even and odd pairs
in turns: Okabe et al. (2001), Syed et al. (2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from statml.errors import InputError, InputTypeError
from statml.sampling.ensemble import Ensemble
from statml.sampling.metropolis import Metropolis
from statml.sampling.target import NumpyTarget, Target
from statml.sampling.transition import Clock, Sampler, State

Array = np.ndarray

# Default ladder: inverse temperatures (j / (n - 1))^power (Friel & Pettitt 2008).
RUNGS, POWER = 16, 5
INNER: dict[str, type[Sampler]] = {"metropolis": Metropolis, "ensemble": Ensemble}


@dataclass(frozen=True, eq=False)
class TemperedState(State):
    """Points at temperature 1, and the state (temperatures, chains, ...) of all."""

    every: Any


class TemperedTarget(Target):
    """log prior + log likelihood / T, for points (temperatures, chains, parameters)."""

    def __init__(self, posterior: Target, likelihood: Target, beta: Array) -> None:
        self.posterior, self.likelihood, self.beta = posterior, likelihood, beta[:, None]

    def value(self, points: Array) -> Array:
        log_posterior = self.posterior.value(points)
        if points.ndim == 2:
            return log_posterior
        log_likelihood = self.likelihood.value(points)
        possible = log_posterior > -np.inf
        if np.any(possible & (log_likelihood == -np.inf)):
            raise InputError(
                "log_likelihood is -inf where log_prob is finite; accepted is a log_prob that is the log prior "
                "plus log_likelihood"
            )
        cooled = log_posterior - (1 - self.beta) * np.where(possible, log_likelihood, 0.0)
        return np.where(possible, cooled, -np.inf)

    def value_and_gradient(self, points: Array) -> tuple[Array, Array]:
        raise NotImplementedError("tempering uses no gradients")

    def check(self, points: Array) -> Array:
        values = self.posterior.check(points)
        self.likelihood.check(points)
        return values


@dataclass(frozen=True, repr=False)
class Tempering(Sampler):
    """Parallel tempering over Metropolis or an ensemble; `log_prob` is log prior + log likelihood.

    Parameters
    ----------
    log_likelihood : callable
        As `log_prob`. It should be finite wherever the prior is not zero: where it is not, the
        evidence is that of the prior without this region.
    temperatures : int or array, optional
        Increasing from 1; up to infinity for an evidence. A number is that many with
        1/T = (j / (number - 1))^5; by default 16.
    inner : {"metropolis", "ensemble"}, Metropolis or Ensemble
        How each temperature moves. Metropolis learns a proposal for each temperature in
        the warm-up.
    steps : int
        Of the inner sampler between two exchanges; one draw is kept after each exchange.

    Notes
    -----
    The prior in `log_prob` must be normalised where an evidence is wanted. Statistics
    of the chain: ``log_likelihood`` (chains, draws, temperatures), and ``swapped``
    (chains, draws, temperatures - 1), NaN for pairs that had no turn.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import stats
    >>> from statml.sampling import sample
    >>> def likelihood(x):                                  # two far peaks
    ...     return np.logaddexp(*(stats.norm.logpdf(x[..., 0], at, 0.1) for at in (-3, 3))) - np.log(2)
    >>> def posterior(x):
    ...     return stats.norm.logpdf(x[..., 0], 0, 4) + likelihood(x)
    >>> chain = sample(posterior, np.full((4, 1), 3.0), sampler=Tempering(likelihood, 10),
    ...                draws=1000, warmup=1000, rng=0)
    >>> bool(0.3 < np.mean(chain.draws > 0) < 0.7)
    True
    >>> exact = stats.norm.logpdf(3, 0, np.hypot(4, 0.1))
    >>> value, error = chain.log_evidence()
    >>> bool(abs(value - exact) < 4 * error)
    True
    """

    name: ClassVar[str] = "tempering"

    log_likelihood: Callable[[Any], Any]
    temperatures: Any = None
    inner: Any = "metropolis"
    steps: int = 5

    def __post_init__(self) -> None:
        if not callable(self.log_likelihood):
            raise InputTypeError(
                f"log_likelihood is a {type(self.log_likelihood).__name__}; accepted is a function"
            )
        if not (isinstance(self.steps, int | np.integer) and self.steps >= 1):
            raise InputError(f"steps is {self.steps!r}; accepted is a whole number of at least 1")
        ladder = self.ladder
        if ladder.ndim != 1 or len(ladder) < 2 or ladder[0] != 1 or not np.all(np.diff(ladder) > 0):
            raise InputError(
                f"temperatures is {self.temperatures!r}; accepted are a number of at least 2, or temperatures "
                "that increase from 1"
            )
        _ = self.moves

    def __repr__(self) -> str:
        return f"Tempering({self.ladder.tolist()}, inner={self.moves!r}, steps={self.steps})"

    @property
    def ladder(self) -> Array:
        """The temperatures."""
        if self.temperatures is None or isinstance(self.temperatures, int | np.integer):
            number = RUNGS if self.temperatures is None else int(self.temperatures)
            with np.errstate(divide="ignore", invalid="ignore"):
                return 1 / (np.arange(number)[::-1] / (number - 1)) ** POWER
        return np.asarray(self.temperatures, float)

    @property
    def moves(self) -> Sampler:
        """The inner sampler."""
        if isinstance(self.inner, Metropolis | Ensemble):
            return self.inner
        if isinstance(self.inner, str) and self.inner in INNER:
            return INNER[self.inner]()
        raise InputError(
            f"inner is {self.inner!r}; accepted are 'metropolis', 'ensemble', or an instance of Metropolis "
            "or Ensemble"
        )

    @property
    def dependent(self) -> bool:
        return self.moves.dependent

    def check(self, initial: Array) -> None:
        self.moves.check(initial)

    def prepared(self, target: Target, vectorized: bool, parameters: int) -> TemperedTarget:
        """The target at all temperatures, from that at temperature 1."""
        likelihood = NumpyTarget(self.log_likelihood, vectorized, parameters, "log_likelihood")
        return TemperedTarget(target, likelihood, 1 / self.ladder)

    def begin(
        self, target: Target, points: Array, log_prob: Array, rng: np.random.Generator
    ) -> TemperedState:
        every = np.repeat(points[None], len(self.ladder), axis=0)
        return TemperedState(points, log_prob, {}, self.moves.begin(target, every, target.value(every), rng))

    def step(
        self,
        target: TemperedTarget,  # type: ignore[override]
        state: TemperedState,
        clock: Clock,
        rng: np.random.Generator,
    ) -> TemperedState:
        every, moves = state.every, self.moves
        for i in range(self.steps):
            inside = Clock(clock.step * self.steps + i, clock.warmup * self.steps)
            every = moves.step(target, every, inside, rng)
        likelihood = target.likelihood.value(every.points)
        points, log_prob, swapped = (
            every.points.copy(),
            every.log_prob.copy(),
            np.full_like(likelihood, np.nan),
        )
        beta = target.beta
        low = np.arange(clock.step % 2, len(beta) - 1, 2)
        high = low + 1
        gain = (beta[low] - beta[high]) * (likelihood[high] - likelihood[low])
        swap = -rng.standard_exponential(gain.shape) < gain
        for here, there in ((low, high), (high, low)):
            points[here] = np.where(swap[..., None], every.points[there], every.points[here])
            moved = every.log_prob[there] + (beta[here] - beta[there]) * likelihood[there]
            log_prob[here] = np.where(swap, moved, every.log_prob[here])
        after = likelihood.copy()
        after[low] = np.where(swap, likelihood[high], likelihood[low])
        after[high] = np.where(swap, likelihood[low], likelihood[high])
        swapped[low] = swap
        statistics = {
            "accepted": every.statistics["accepted"][0],
            "swapped": swapped[:-1].T,
            "log_likelihood": after.T,
        }
        return TemperedState(
            points[0], log_prob[0], statistics, replace(every, points=points, log_prob=log_prob)
        )
