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
# A slope so many times the median is that of a stiff hyperparameter. With 30 the Mauna Loa series ends in a lesser
# maximum; without any limit periods over thousands of cycles do.
STIFF = 50.0
# The search ends where a step gains less log evidence than this, or no slope is larger than that.
SMALLEST_GAIN, SMALLEST_SLOPE = 1e-8, 1e-4
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
    try:
        first, gradient = value_and_gradient(start)
    except InputError:
        return start, -np.inf, True
    if len(start) == 0:
        return start, first, True
    # In units of the largest slope at the start the first step is of order one in one hyperparameter and
    # shorter in the others; longer ones end in the plateau where a process of tiny length is nothing but
    # noise. A period over thousands of cycles is stiffer than all else: it moves in steps of its own.
    slopes = np.abs(gradient)
    unit = max(1.0, min(float(np.max(slopes)), STIFF * float(np.median(slopes))))
    step = np.minimum(1.0, unit / np.maximum(slopes, unit))

    def loss(scaled: Array) -> tuple[float, Array]:
        try:
            value, gradient = value_and_gradient(start + step * scaled)
        except InputError:
            # A singular matrix on the way: the line search steps back.
            return UNREACHABLE, np.zeros(len(start))
        return -value / unit, -step * gradient / unit

    result = optimize.minimize(
        loss,
        np.zeros(len(start)),
        jac=True,
        method="L-BFGS-B",
        bounds=(bounds - start[:, None]) / step[:, None],
        # Tolerances of the evidence and of its slopes, in the units of the loss.
        options={"maxiter": MAX_STEPS, "ftol": SMALLEST_GAIN / unit, "gtol": SMALLEST_SLOPE / unit},
    )
    point = np.clip(start + step * result.x, bounds[:, 0], bounds[:, 1])
    return point, -unit * float(result.fun), result.status != 1
