r"""The No-U-Turn sampler: trajectories that end where they would turn back, for all chains together.

From a point and a momentum the trajectory is doubled, forwards or backwards in time at
random, until its ends approach each other: with rho the sum of the momenta along it,

    p_first . rho <= 0   or   p_last . rho <= 0,

for the whole trajectory, each half that was doubled on the way, and each half with the
neighbouring end of the other one. The next point is drawn from the trajectory with
probability proportional to exp(-H), within each half multinomially, and with a
preference for the newer half.

All chains double in step, so that the control flow is one Python loop and each
leapfrog is one batch: at depth j every chain that is still going adds 2^j points, in its
own direction, and chains drop out of the batch when their trajectory is complete.
Subtrees are merged on a stack (two entries of one size make one of twice the size),
which holds j entries, not 2^j.

Sources: Hoffman & Gelman (2014), JMLR 15, 1593; Betancourt (2017), arXiv:1701.02434,
appendix A (multinomial, generalised criterion); the checks across halves are Stan's
since 2.21; lockstep without recursion: Lao & Dillon (2019), Phan et al. (2019),
arXiv:1912.11554. Coordinates are those of `statml.sampling.hamiltonian`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from statml.errors import InputError
from statml.sampling import hamiltonian
from statml.sampling.adaptation import window_ends
from statml.sampling.hamiltonian import MAX_ENERGY_ERROR, HamiltonianState, kinetic, leapfrog
from statml.sampling.hmc import check_step, check_target_accept
from statml.sampling.target import Target
from statml.sampling.transition import Clock, Sampler

Array = np.ndarray

# Doublings allowed before the end of the first window of the warm-up.
EARLY_DEPTH = 6


@dataclass(frozen=True)
class NUTS(Sampler):
    """No-U-Turn sampler with adapted step length and mass matrix.

    Parameters
    ----------
    target_accept : float
        Mean acceptance that the warm-up steers the step length to; higher means shorter
        steps, and fewer divergences where the curvature changes.
    max_depth : int
        Doublings at most, 2^max_depth - 1 gradients for a draw.
    dense : bool
        Learn the whole covariance, not only the width of each parameter.
    step_size : float, optional
        First step length; kept where there is no warm-up.

    Examples
    --------
    >>> import torch
    >>> from statml.sampling import sample
    >>> chain = sample(lambda x: -0.5 * (x**2).sum(-1), [[0.0, 1.0], [1.0, 0.0]], sampler="nuts",
    ...                draws=500, warmup=200, rng=0)
    >>> bool(abs(chain.draws.std() - 1) < 0.1), int(chain.divergences)
    (True, 0)
    """

    name: ClassVar[str] = "nuts"
    gradient: ClassVar[bool] = True
    default_warmup: ClassVar[int] = 1000

    target_accept: float = 0.8
    max_depth: int = 10
    dense: bool = False
    step_size: float | None = None

    def __post_init__(self) -> None:
        check_target_accept(self.target_accept)
        check_step(self.step_size)
        if not (isinstance(self.max_depth, int | np.integer) and self.max_depth >= 1):
            raise InputError(f"max_depth is {self.max_depth!r}; accepted is a whole number of at least 1")

    def begin(
        self, target: Target, points: Array, log_prob: Array, rng: np.random.Generator
    ) -> HamiltonianState:
        return hamiltonian.begin(target, points, rng, self.dense, self.step_size)

    def step(
        self, target: Target, state: HamiltonianState, clock: Clock, rng: np.random.Generator
    ) -> HamiltonianState:
        with np.errstate(all="ignore"):
            moved = _Trajectories(target, state, rng).grown(self._depth(clock))
        if not clock.adapting:
            return moved
        acceptance = float(np.mean(moved.statistics["acceptance_rate"]))
        new = hamiltonian.adapted(target, moved, acceptance, self.target_accept, clock, rng)
        return HamiltonianState(moved.points, moved.log_prob, moved.statistics, moved.gradient, new)

    def _depth(self, clock: Clock) -> int:
        """Doublings allowed: fewer until the widths of the parameters have been learned."""
        ends = window_ends(clock.warmup)[1]
        early = clock.adapting and bool(ends) and clock.step <= ends[0]
        return min(self.max_depth, EARLY_DEPTH) if early else self.max_depth


@dataclass(frozen=True, eq=False)
class _Span:
    """A stretch of trajectory of every chain in the batch: momenta at its ends, and their sum."""

    first: Array
    last: Array
    rho: Array
    size: int


def _dot(a: Array, b: Array) -> Array:
    return np.einsum("ij,ij->i", a, b)


def _join(a: _Span, b: _Span) -> tuple[_Span, Array]:
    """b after a, and for which chains the two together still go on."""
    rho = a.rho + b.rho
    least = np.minimum(_dot(a.first, rho), _dot(b.last, rho))
    if a.size > 1:  # for single points these are the same
        across, back = a.rho + b.first, b.rho + a.last
        for p, other in ((a.first, across), (b.first, across), (a.last, back), (b.last, back)):
            least = np.minimum(least, _dot(p, other))
    return _Span(a.first, b.last, rho, a.size + b.size), least > 0


class _Trajectories:
    """The trajectories of all chains while they grow.

    `live` are the chains still growing; all other arrays follow them, except the
    results (`point`, `log_prob`, `gradient`, and statistics), which are of all chains.
    """

    def __init__(self, target: Target, state: HamiltonianState, rng: np.random.Generator) -> None:
        self.target, self.state, self.rng = target, state, rng
        self.axes, self.eps = state.tuning.axes, state.tuning.step
        m = len(state.points)
        p = rng.standard_normal(state.points.shape)
        self.start_energy = kinetic(p) - state.log_prob
        self.live = np.arange(m)
        self.energy = self.start_energy
        # Both ends, backwards (0) and forwards (1): position, momentum, gradient in round coordinates.
        white = hamiltonian.whitened(state.gradient, self.axes)
        self.x, self.p, self.white = np.stack([state.points] * 2), np.stack([p] * 2), np.stack([white] * 2)
        self.rho, self.log_weight = p, np.zeros(m)
        self.point, self.log_prob = state.points.copy(), state.log_prob.copy()
        self.gradient, self.chosen_error = state.gradient.copy(), np.zeros(m)
        self.acceptance, self.leapfrogs = np.zeros(m), np.zeros(m, int)
        self.depth, self.diverging = np.zeros(m, int), np.zeros(m, bool)

    def grown(self, max_depth: int) -> HamiltonianState:
        """Double until every trajectory is complete."""
        for depth in range(max_depth):
            self._double(depth)
            if not len(self.live):
                break
        state, steps = self.state, np.maximum(self.leapfrogs, 1)
        statistics = {
            "acceptance_rate": self.acceptance / steps,
            "diverging": self.diverging,
            "tree_depth": self.depth,
            "n_steps": self.leapfrogs,
            "step_size": np.full(len(steps), self.eps),
            "energy": self.start_energy - self.chosen_error,
        }
        return HamiltonianState(self.point, self.log_prob, statistics, self.gradient, state.tuning)

    def _double(self, depth: int) -> None:
        live, rows = self.live, np.arange(len(self.live))
        side = (self.rng.random(len(live)) < 0.5).astype(int)
        new = _Subtree(self, side)
        ok = new.grow(depth)
        self.depth[live] = depth + 1
        # The newer half is preferred: Betancourt's biased progressive sampling.
        take = ok & (np.log(self.rng.random(len(live))) < new.log_weight - self.log_weight)
        chosen = live[take]
        self.point[chosen], self.log_prob[chosen] = new.point[take], new.log_prob[take]
        self.gradient[chosen], self.chosen_error[chosen] = new.gradient[take], new.error[take]
        self.log_weight = np.logaddexp(self.log_weight, new.log_weight)
        # In the order of time along the direction that was taken, the old trajectory comes first.
        old = _Span(self.p[1 - side, rows], self.p[side, rows], self.rho, 2**depth)
        joined, straight = _join(old, new.span)
        self.x[side, rows], self.p[side, rows], self.white[side, rows] = new.x, new.p, new.white
        self.rho = joined.rho
        self._keep(ok & straight)

    def _keep(self, going: Array) -> None:
        if going.all():
            return
        self.live, self.rho = self.live[going], self.rho[going]
        self.x, self.p, self.white = self.x[:, going], self.p[:, going], self.white[:, going]
        self.log_weight = self.log_weight[going]


class _Subtree:
    """2^depth further points of every live chain, from one end of its trajectory."""

    span: _Span

    def __init__(self, tree: _Trajectories, side: Array) -> None:
        self.tree = tree
        rows = np.arange(len(side))
        self.x, self.p, self.white = tree.x[side, rows], tree.p[side, rows], tree.white[side, rows]
        self.step = (tree.eps * (2.0 * side - 1.0))[:, None]
        self.log_weight = np.full(len(side), -np.inf)
        self.point, self.gradient = self.x.copy(), self.x.copy()
        self.log_prob, self.error = np.zeros(len(side)), np.zeros(len(side))

    def grow(self, depth: int) -> Array:
        """Add the points; for which chains neither a divergence nor a turn was met."""
        tree = self.tree
        stack: list[_Span] = []
        ok = np.ones(len(self.x), bool)
        # In one call, though chains that stop early leave some unused.
        thresholds = np.log(tree.rng.random((2**depth, len(self.x))))
        for threshold in thresholds:
            ok = self._leap(ok, threshold)
            span = _Span(self.p, self.p, self.p, 1)
            while stack and stack[-1].size == span.size:
                span, straight = _join(stack.pop(), span)
                ok &= straight
            if not ok.any():
                self.span = _Span(self.p, self.p, self.p, 1)
                return ok
            stack.append(span)
        self.span = stack[0]
        return ok

    def _leap(self, ok: Array, threshold: Array) -> Array:
        """One leapfrog of the chains that are ok; the point replaces the chosen one by its weight."""
        tree = self.tree
        if ok.all():
            index: Any = slice(None)
            chains = tree.live
            moved = leapfrog(tree.target, self.x, self.p, self.white, self.step, tree.axes)
            self.x, self.p, log_prob, gradient, self.white = moved
            p = self.p
        else:
            index, chains = np.flatnonzero(ok), tree.live[ok]
            x, p, log_prob, gradient, white = leapfrog(
                tree.target, self.x[index], self.p[index], self.white[index], self.step[index], tree.axes
            )
            self.x, self.p, self.white = self.x.copy(), self.p.copy(), self.white.copy()
            self.x[index], self.p[index], self.white[index] = x, p, white
        gain = tree.energy[chains] + log_prob - kinetic(p)
        gain = np.where(np.isnan(gain), -np.inf, gain)
        tree.acceptance[chains] += np.exp(np.minimum(gain, 0.0))
        tree.leapfrogs[chains] += 1
        diverging = gain < -MAX_ENERGY_ERROR
        self._choose(index, threshold[index], gain, log_prob, gradient)
        if not diverging.any():
            return ok
        tree.diverging[chains] |= diverging
        result = ok.copy()
        result[index] &= ~diverging
        return result

    def _choose(self, index: Any, threshold: Array, gain: Array, log_prob: Array, gradient: Array) -> None:
        weight = np.logaddexp(self.log_weight[index], gain)
        take = threshold < gain - weight
        self.log_weight[index] = weight
        place = take if isinstance(index, slice) else index[take]
        self.point[place], self.gradient[place] = self.x[place], gradient[take]
        self.log_prob[place], self.error[place] = log_prob[take], gain[take]
