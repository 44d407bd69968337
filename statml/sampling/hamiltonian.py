r"""Hamiltonian motion, shared by HMC and NUTS.

A point x with log density L(x) gets a momentum p, and rolls with energy

    H(x, p) = |p|^2 / 2 - L(x)

in coordinates in which the target is about round: with axes A (standard deviations, or
a Cholesky factor of the covariance, which is the inverse mass matrix), x = A u and the
gradient for u is A^T grad L. The leapfrog

    p <- p + eps/2 A^T grad L(x);   x <- x + eps A p;   p <- p + eps/2 A^T grad L(x)

is reversible and keeps volume, so only its energy error has to be corrected for.

Sources: Duane et al. (1987); Neal (2011), arXiv:1206.1901; Betancourt (2017),
arXiv:1701.02434.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statml.sampling.adaptation import EARLY, DualAveraging, Moments, window_ends
from statml.sampling.target import Target
from statml.sampling.transition import Clock, State

Array = np.ndarray

# An energy error above this is called a divergence: the leapfrog has lost the trajectory.
MAX_ENERGY_ERROR = 1000.0


@dataclass(frozen=True, eq=False)
class Tuning:
    """Step length and axes, and what they are learned from."""

    step: float
    axes: Array  # (k,) or (k, k)
    averaging: DualAveraging
    moments: Moments


@dataclass(frozen=True, eq=False)
class HamiltonianState(State):
    """A state with its gradient and tuning."""

    gradient: Array
    tuning: Tuning


def begin(
    target: Target, points: Array, rng: np.random.Generator, dense: bool, step: float | None
) -> HamiltonianState:
    """First state: unit axes and, without a given step, one that accepts about 80 %."""
    k = points.shape[1]
    log_prob, gradient = target.value_and_gradient(points)
    axes = np.eye(k) if dense else np.ones(k)
    first = step or reasonable_step(target, points, log_prob, gradient, axes, 0.1, rng)
    tuning = Tuning(first, axes, DualAveraging.begin(first), Moments.begin(k, dense))
    return HamiltonianState(points, log_prob, {}, gradient, tuning)


def whitened(vector: Array, axes: Array) -> Array:
    """A^T v for rows v: a gradient in round coordinates."""
    return vector * axes if axes.ndim == 1 else vector @ axes


def stretched(vector: Array, axes: Array) -> Array:
    """A p for rows p: a velocity in the target's coordinates."""
    return vector * axes if axes.ndim == 1 else vector @ axes.T


def kinetic(p: Array) -> Array:
    """|p|^2 / 2 of each row."""
    return 0.5 * np.einsum("ij,ij->i", p, p)


def leapfrog(
    target: Target, x: Array, p: Array, white: Array, step: Any, axes: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """One step of rows (m, k); `step` is a number or (m, 1), negative for backwards in time.

    Returns
    -------
    tuple
        x, p, log density, its gradient, and the gradient in round coordinates, `white`.
    """
    half = 0.5 * step
    p = p + half * white
    x = x + step * stretched(p, axes)
    log_prob, gradient = target.value_and_gradient(x)
    white = whitened(gradient, axes)
    return x, p + half * white, log_prob, gradient, white


def reasonable_step(
    target: Target,
    points: Array,
    log_prob: Array,
    gradient: Array,
    axes: Array,
    step: float,
    rng: np.random.Generator,
) -> float:
    """Double or halve a step until the mean acceptance of one leapfrog crosses 80 %."""
    direction = 0
    white = whitened(gradient, axes)
    for _ in range(100):
        p = rng.standard_normal(points.shape)
        with np.errstate(all="ignore"):
            _, moved, value, _, _ = leapfrog(target, points, p, white, step, axes)
            gain = value - kinetic(moved) - log_prob + kinetic(p)
            acceptance = np.mean(np.exp(np.minimum(np.where(np.isnan(gain), -np.inf, gain), 0.0)))
        way = 1 if acceptance > 0.8 else -1
        if direction and way != direction:
            break
        direction = way
        step *= 2.0**way
    return step


def adapted(
    target: Target,
    state: HamiltonianState,
    acceptance: float,
    wanted: float,
    clock: Clock,
    rng: np.random.Generator,
) -> Tuning:
    """The tuning after a step of the warm-up, whose mean acceptance is given."""
    tuning = state.tuning
    averaging = tuning.averaging.after(acceptance, wanted)
    step, axes, moments = float(np.exp(averaging.log_step)), tuning.axes, tuning.moments
    first, ends = window_ends(clock.warmup)
    early = clock.step < first and clock.step <= EARLY[-1]
    if ends and (early or first <= clock.step <= ends[-1]):
        moments = moments.with_points(state.points)
        if clock.step in ends or (early and clock.step in EARLY):
            axes = moments.widths() if early else moments.axes()
            moments = Moments.begin(len(moments.mean), axes.ndim == 2)
            step = reasonable_step(target, state.points, state.log_prob, state.gradient, axes, step, rng)
            averaging = DualAveraging.begin(step)
    if clock.step == clock.warmup - 1:
        step = float(np.exp(averaging.log_average))
    return Tuning(step, axes, averaging, moments)
