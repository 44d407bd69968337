"""Finding the hyperparameters that maximise an evidence: quasi-Newton steps from several starts."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize
from sklearn.exceptions import ConvergenceWarning

from statml.errors import InputError

Array = np.ndarray

# Starts are drawn within this distance of the first one, in logs: a factor of 10.
SPREAD = np.log(10.0)
MAX_STEPS = 500
# What a point counts where the evidence cannot be computed.
UNREACHABLE = 1e300


@dataclass(frozen=True)
class Maximum:
    """Where an evidence is largest: the point (k,), its value, and the values of all starts."""

    point: Array
    value: float
    values: Array


def maximise(
    value_and_gradient: Callable[[Array], tuple[float, Array]],
    start: Array,
    bounds: Array,
    *,
    restarts: int,
    rng: np.random.Generator,
) -> Maximum:
    """Maximise from `start`, and from `restarts` points drawn around it.

    Parameters
    ----------
    value_and_gradient : callable
        Of a point (k,); an `InputError` counts as a value of minus infinity.
    start : array (k,)
    bounds : array (k, 2)
    restarts : int
    rng : Generator

    Raises
    ------
    InputError
        No start has a finite value.
    """
    starts = [start, *(start + rng.uniform(-SPREAD, SPREAD, (restarts, len(start))))]
    found = []
    for begin in starts:
        found.append(_climb(value_and_gradient, np.clip(begin, bounds[:, 0], bounds[:, 1]), bounds))
    values = np.array([value for _, value, _ in found])
    best = int(np.argmax(values))
    point, value, converged = found[best]
    if not np.isfinite(value):
        value_and_gradient(np.clip(start, bounds[:, 0], bounds[:, 1]))  # says what is wrong there
        raise InputError("the evidence is not finite at the start; give a kernel with other hyperparameters")
    if not converged:
        warnings.warn(
            f"the evidence was still growing after {MAX_STEPS} steps; start from other hyperparameters",
            ConvergenceWarning,
            stacklevel=3,
        )
    return Maximum(point, value, values)


def _climb(
    value_and_gradient: Callable[[Array], tuple[float, Array]], start: Array, bounds: Array
) -> tuple[Array, float, bool]:
    unit = 1.0

    def loss(point: Array) -> tuple[float, Array]:
        try:
            value, gradient = value_and_gradient(point)
        except InputError:
            # A singular matrix on the way: the line search steps back.
            return UNREACHABLE, np.zeros(len(point))
        return -value / unit, -gradient / unit

    first, gradient = loss(start)
    if len(start) == 0 or first == UNREACHABLE:
        return start, -first if first < UNREACHABLE else -np.inf, True
    # In units of the steepest slope at the start first steps are of order one; longer ones end in
    # the plateau where a process of tiny length is nothing but noise.
    unit = max(1.0, float(np.max(np.abs(gradient))))
    result = optimize.minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": MAX_STEPS, "ftol": 1e-10, "gtol": 1e-6},
    )
    return result.x, -unit * float(result.fun), result.status != 1
