r"""An ensemble of walkers that propose from where the others are: no scale to tune.

The stretch move takes walker x along the line through another walker y,

    x' = y + z (x - y),   g(z) ~ 1/sqrt(z) on [1/a, a],

accepted with probability min(1, z^(d-1) p(x') / p(x)). The differential-evolution
move takes the difference of two other walkers as its step. Both commute with every
linear map of the parameters, so a narrow ellipse is as easy as a circle. Half of the
walkers moves while the other half stands still, all of a half in one call of log_prob.

The walkers are not independent chains. Statistics that compare chains (R-hat) or
count them as separate experiments do not apply; `Chain` says so.

Sources: Goodman & Weare (2010), CAMCoS 5, 65; ter Braak (2006), Stat. Comput. 16, 239;
Foreman-Mackey et al. (2013), PASP 125, 306. arXiv:2506.12230, chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from statml.errors import InputError
from statml.sampling.target import Target
from statml.sampling.transition import Clock, Sampler, State

Array = np.ndarray

# Every so many differential steps one of full length, which can jump from mode to mode.
JUMP_EVERY = 10
# Relative jitter of the differential step, so that no lattice of points is left unvisited.
JITTER = 1e-5
# Which half moves, its walkers, and those that stand: new points and what they add to the log acceptance.
_Draw = Callable[[int, Array, Array], tuple[Array, Any]]


@dataclass(frozen=True)
class Ensemble(Sampler):
    """Affine-invariant ensemble of walkers; `initial` is (walkers, parameters).

    Parameters
    ----------
    a : float
        Largest stretch, above 1.
    move : {"stretch", "differential"}
        How a walker proposes.

    Examples
    --------
    >>> import numpy as np
    >>> from statml.sampling import sample
    >>> start = np.random.default_rng(1).normal(size=(32, 2))
    >>> narrow = lambda x: -0.5 * (x[..., 0] ** 2 + (1000 * x[..., 1]) ** 2)
    >>> chain = sample(narrow, start, sampler=Ensemble(), draws=2000, warmup=500, rng=0)
    >>> bool(800 < 1 / chain["theta[1]"].std() < 1200)
    True
    """

    name: ClassVar[str] = "ensemble"

    a: float = 2.0
    move: str = "stretch"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.a) and self.a > 1):
            raise InputError(f"a is {self.a!r}; accepted is a number above 1")
        if self.move not in ("stretch", "differential"):
            raise InputError(f"move is {self.move!r}; accepted are 'stretch' and 'differential'")

    @property
    def dependent(self) -> bool:
        return True

    def check(self, initial: Array) -> None:
        super().check(initial)
        walkers, k = initial.shape
        if walkers % 2 or walkers < max(2 * k, 4):
            raise InputError(
                f"initial has {walkers} walkers for {k} parameters; accepted are an even number of at least "
                f"{max(2 * k, 4)}"
            )
        centred = initial - initial.mean(axis=0)
        spread = np.sqrt(np.mean(centred**2, axis=0))
        rank = 0 if np.any(spread == 0) else np.linalg.matrix_rank(centred / spread)
        if rank < k:
            raise InputError(
                "the walkers of initial lie in a subspace, which an ensemble never leaves; accepted are "
                "walkers spread over all parameters"
            )

    def begin(self, target: Target, points: Array, log_prob: Array, rng: np.random.Generator) -> State:
        return State(points, log_prob, {"accepted": np.zeros(log_prob.shape, bool)})

    def step(self, target: Target, state: State, clock: Clock, rng: np.random.Generator) -> State:
        points, log_prob = state.points.copy(), state.log_prob.copy()
        shape = points.shape
        walkers, k = shape[-2:]
        half = walkers // 2
        groups = points.size // (walkers * k)
        # Numbers for both halves at once; a temperature is a group that keeps to itself.
        uniform = rng.random((3, 2, groups, half))
        threshold = np.log(uniform[0])
        halves = points.reshape(groups, 2, half, k), log_prob.reshape(groups, 2, half)
        propose = self._stretch if self.move == "stretch" else self._differential
        accepted = np.empty((groups, 2, half), bool)
        draw = propose(uniform[1:], k, clock, rng)
        for side in (0, 1):
            moving, standing = halves[0][:, side], halves[0][:, 1 - side]
            proposed, log_factor = draw(side, moving, standing)
            value = target.value(proposed if len(shape) > 2 else proposed[0])
            gain = value - halves[1][:, side]
            gain += log_factor
            take = threshold[side] < gain
            np.copyto(moving, proposed, where=take[..., None])
            np.copyto(halves[1][:, side], value, where=take)
            accepted[:, side] = take
        return State(points, log_prob, {"accepted": accepted.reshape(shape[:-1])})

    def _stretch(self, uniform: Array, k: int, clock: Clock, rng: np.random.Generator) -> _Draw:
        """Both halves' stretches and partners from uniform numbers (2, 2, groups, half)."""
        half = uniform.shape[3]
        low = 1 / math.sqrt(self.a)
        root = uniform[0] * (math.sqrt(self.a) - low)
        root += low
        log_factor = np.log(root)
        log_factor *= 2 * (k - 1)
        stretch = (root * root)[..., None]
        partner = (uniform[1] * half).astype(np.intp)

        def draw(side: int, moving: Array, standing: Array) -> tuple[Array, Array]:
            other = _chosen(standing, partner[side])
            new = moving - other
            new *= stretch[side]
            new += other
            return new, log_factor[side]

        return draw

    def _differential(self, uniform: Array, k: int, clock: Clock, rng: np.random.Generator) -> _Draw:
        """Differences of two standing walkers, nearly all of the best length for a normal target."""
        groups, half = uniform.shape[2:]
        length = 1.0 if clock.step % JUMP_EVERY == 0 else 2.38 / np.sqrt(2 * k)
        first = (uniform[0] * half).astype(np.intp)
        second = (first + 1 + (uniform[1] * (half - 1)).astype(np.intp)) % half
        gamma = length + JITTER * rng.standard_normal((2, groups, half, 1))

        def draw(side: int, moving: Array, standing: Array) -> tuple[Array, float]:
            step = _chosen(standing, first[side]) - _chosen(standing, second[side])
            return moving + gamma[side] * step, 0.0

        return draw


def _chosen(standing: Array, index: Array) -> Array:
    """Walker index[g, i] of group g, for all g and i."""
    if len(standing) == 1:
        return standing[0].take(index[0], axis=0)[None]
    return np.take_along_axis(standing, index[..., None], axis=1)
