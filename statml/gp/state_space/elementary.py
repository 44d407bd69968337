r"""Transitions of first and second order over many steps at once: exp, sin and cos that vectorise.

A process of second order, x'' + 2 c x' + w^2 x = white noise, in the coordinates
(x, x'/w) moves over a step dt by

    A(dt) = p I + s G,    p = e^{-c dt} C,    s = e^{-c dt} S,    G = [[c, w], [-w, -c]],

with k = w^2 - c^2, C = cos(sqrt(k) dt), S = sin(sqrt(k) dt) / sqrt(k); both are entire
functions of k, so one formula holds for an under-, a critically and an overdamped
oscillator (Matern 3/2 is the critical one). Its stationary covariance is q I.

The C library's functions are called one number at a time and would take most of the time
of a filter; the loops below hold nothing but arithmetic, and the compiler turns them into
vector instructions. Reduction to a small interval, then Taylor polynomials long enough for
a double (Muller, "Elementary Functions", 2016, ch. 11).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# Kinds of blocks, as the compiled code is told.
FIRST_ORDER, UNDERDAMPED, CRITICAL, OVERDAMPED = 0, 1, 2, 3
# |k| / w^2 below which C and S are summed as series in k: dS/dk is 0/0 at k = 0.
NEARLY_CRITICAL = 1e-3
# |k| dt^2 below which differences are replaced by series.
SHORT = 0.25
# Beyond this many radians three parts of pi/2 no longer reduce an angle to all its digits.
LARGEST_ANGLE = 1e5
# e^-708 is the smallest exponential that is not denormal.
LONGEST_DECAY = 708.0

ROUND = 6755399441055744.0  # 1.5 * 2^52: adding and subtracting it rounds to an integer
LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
HALF_PI_1, HALF_PI_2, HALF_PI_3 = 1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled at its first call, and kept on disk where there is a place for that."""
    try:
        return njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # neither this folder nor the user's cache can be written
        return njit(**OPTIONS)(function)


@intrinsic
def float_of_bits(typing_context, bits):  # type: ignore[no-untyped-def]
    """The double whose bits are those of an int64."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@intrinsic
def bits_of_float(typing_context, value):  # type: ignore[no-untyped-def]
    """The bits of a double as an int64."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@njit(inline="always")
def _exp(x):  # type: ignore[no-untyped-def]
    """e^x for -708 <= x <= 0."""
    k = (x * LOG2_E + ROUND) - ROUND
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    e = 1.0 / 6227020800.0
    e = e * r + 1.0 / 479001600.0
    e = e * r + 1.0 / 39916800.0
    e = e * r + 1.0 / 3628800.0
    e = e * r + 1.0 / 362880.0
    e = e * r + 1.0 / 40320.0
    e = e * r + 1.0 / 5040.0
    e = e * r + 1.0 / 720.0
    e = e * r + 1.0 / 120.0
    e = e * r + 1.0 / 24.0
    e = e * r + 1.0 / 6.0
    e = e * r + 0.5
    e = e * r + 1.0
    e = e * r + 1.0
    return e * float_of_bits((np.int64(k) + 1023) << 52)


@njit(inline="always")
def _sin_cos(x):  # type: ignore[no-untyped-def]
    """sin x and cos x for 0 <= x <= 1e5."""
    k = (x * (2 / math.pi) + ROUND) - ROUND
    r = ((x - k * HALF_PI_1) - k * HALF_PI_2) - k * HALF_PI_3
    z = r * r
    s = 1.0 / 355687428096000.0
    s = s * z - 1.0 / 1307674368000.0
    s = s * z + 1.0 / 6227020800.0
    s = s * z - 1.0 / 39916800.0
    s = s * z + 1.0 / 362880.0
    s = s * z - 1.0 / 5040.0
    s = s * z + 1.0 / 120.0
    s = s * z - 1.0 / 6.0
    s = r + r * z * s
    c = 1.0 / 20922789888000.0
    c = c * z - 1.0 / 87178291200.0
    c = c * z + 1.0 / 479001600.0
    c = c * z - 1.0 / 3628800.0
    c = c * z + 1.0 / 40320.0
    c = c * z - 1.0 / 720.0
    c = c * z + 1.0 / 24.0
    c = c * z - 0.5
    c = 1.0 + z * c
    quadrant = np.int64(k) & 3
    swap = (quadrant & 1) == 1
    sine = c if swap else s
    cosine = s if swap else c
    sine = -sine if (quadrant & 2) == 2 else sine
    cosine = -cosine if ((quadrant + 1) & 2) == 2 else cosine
    return sine, cosine


@njit(inline="always")
def _sine_series(z):  # type: ignore[no-untyped-def]
    """S / dt as a series in z = k dt^2, for |z| < 1 / 4."""
    total = 1.0 / 1307674368000.0
    total = 1.0 / 6227020800.0 - z * total
    total = 1.0 / 39916800.0 - z * total
    total = 1.0 / 362880.0 - z * total
    total = 1.0 / 5040.0 - z * total
    total = 1.0 / 120.0 - z * total
    total = 1.0 / 6.0 - z * total
    return 1.0 - z * total


@njit(inline="always")
def _slope_series(z):  # type: ignore[no-untyped-def]
    """dS/dk / dt^3 as a series in z = k dt^2, for |z| < 1 / 4."""
    total = 7.0 / 1307674368000.0
    total = 6.0 / 6227020800.0 - z * total
    total = 5.0 / 39916800.0 - z * total
    total = 4.0 / 362880.0 - z * total
    total = 3.0 / 5040.0 - z * total
    total = 2.0 / 120.0 - z * total
    return z * total - 1.0 / 6.0


@compiled
def transitions(steps, kind, decay, stiffness, p, s):  # type: ignore[no-untyped-def]
    """Fill p and s (see the module) for every step.

    Parameters
    ----------
    steps : array (n,)
        Not negative.
    kind : int
        `FIRST_ORDER` (p is e^{-c dt}, s stays), `UNDERDAMPED`, `CRITICAL` or `OVERDAMPED`.
    decay, stiffness : float
        c and k.
    p, s : arrays (n,)
        Results.
    """
    n = len(steps)
    if kind == FIRST_ORDER:
        for i in range(n):
            p[i] = _exp(-min(decay * steps[i], LONGEST_DECAY))
    elif kind == UNDERDAMPED:
        d = math.sqrt(stiffness)
        longest = 0.0
        for i in range(n):
            longest = max(longest, steps[i])
        if longest * d <= LARGEST_ANGLE:
            for i in range(n):
                e = _exp(-min(decay * steps[i], LONGEST_DECAY))
                sine, cosine = _sin_cos(d * steps[i])
                p[i] = e * cosine
                s[i] = e * sine / d
        else:
            for i in range(n):
                e = math.exp(-min(decay * steps[i], LONGEST_DECAY))
                p[i] = e * math.cos(d * steps[i])
                s[i] = e * math.sin(d * steps[i]) / d
    elif kind == CRITICAL:
        for i in range(n):
            dt = min(steps[i], LONGEST_DECAY / decay)
            z = stiffness * dt * dt
            e = _exp(-decay * dt)
            c, w, term = 1.0, 1.0, 1.0
            for j in range(1, 10):
                term *= -z / ((2 * j - 1) * (2 * j))
                c += term
                w += term / (2 * j + 1)
            p[i] = e * c
            s[i] = e * w * dt
    else:
        root = math.sqrt(-stiffness)
        fast = decay + root
        slow = (decay * decay + stiffness) / fast
        for i in range(n):
            e_slow = _exp(-min(slow * steps[i], LONGEST_DECAY))
            e_fast = _exp(-min(fast * steps[i], LONGEST_DECAY))
            p[i] = 0.5 * (e_slow + e_fast)
            # The difference of two numbers near 1 would lose the digits of a short step.
            z = stiffness * steps[i] * steps[i]
            e = _exp(-min(decay * steps[i], LONGEST_DECAY))
            near = e * steps[i] * _sine_series(max(z, -SHORT))
            s[i] = near if z > -SHORT else 0.5 * (e_slow - e_fast) / root


@compiled
def stiffness_slopes(steps, kind, decay, stiffness, p, s, slopes):  # type: ignore[no-untyped-def]
    """Fill `slopes` with the derivative of s by k at every step (that of p is -dt s / 2)."""
    if kind == CRITICAL:
        for i in range(len(steps)):
            dt = min(steps[i], LONGEST_DECAY / decay)
            z = stiffness * dt * dt
            total, term = 0.0, 1.0 / 6.0
            for j in range(1, 11):
                total += j * term
                term *= -z / ((2 * j + 2) * (2 * j + 3))
            slopes[i] = -_exp(-decay * dt) * total * dt * dt * dt
    elif kind != FIRST_ORDER:
        for i in range(len(steps)):
            dt = steps[i]
            z = stiffness * dt * dt
            e = _exp(-min(decay * dt, LONGEST_DECAY))
            near = e * dt * dt * dt * _slope_series(min(max(z, -SHORT), SHORT))
            slopes[i] = near if abs(z) < SHORT else (dt * p[i] - s[i]) / (2 * stiffness)
