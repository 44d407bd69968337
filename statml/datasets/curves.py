"""The 27 models of NIST's nonlinear reference regressions, as functions of x and their parameters.

``MODELS[name](x, b1, b2, ...)`` is the curve of one problem, written as NIST states
it; `x` has shape (n,), for ``nelson`` (2, n). Nelson's curve is of log y.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray


def _rise(x: Array, b1: float, b2: float) -> Array:
    return b1 * (1 - np.exp(-b2 * x))


def _decay_over_line(x: Array, b1: float, b2: float, b3: float) -> Array:
    return np.exp(-b1 * x) / (b2 + b3 * x)


def _three_decays(x: Array, *b: float) -> Array:
    return b[0] * np.exp(-b[1] * x) + b[2] * np.exp(-b[3] * x) + b[4] * np.exp(-b[5] * x)


def _two_peaks(x: Array, *b: float) -> Array:
    peaks = (height * np.exp(-((x - center) ** 2) / width**2) for height, center, width in (b[2:5], b[5:8]))
    return b[0] * np.exp(-b[1] * x) + sum(peaks)


def _cubic_over_cubic(x: Array, *b: float) -> Array:
    return (b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3) / (1 + b[4] * x + b[5] * x**2 + b[6] * x**3)


def _quadratic_over_quadratic(x: Array, *b: float) -> Array:
    return (b[0] + b[1] * x + b[2] * x**2) / (1 + b[3] * x + b[4] * x**2)


def _three_cycles(x: Array, *b: float) -> Array:
    year = 2 * np.pi * x / 12
    first, second = 2 * np.pi * x / b[3], 2 * np.pi * x / b[6]
    return (
        b[0]
        + b[1] * np.cos(year)
        + b[2] * np.sin(year)
        + b[4] * np.cos(first)
        + b[5] * np.sin(first)
        + b[7] * np.cos(second)
        + b[8] * np.sin(second)
    )


MODELS: dict[str, Callable[..., Any]] = {
    "bennett5": lambda x, b1, b2, b3: b1 * (b2 + x) ** (-1 / b3),
    "boxbod": _rise,
    "chwirut1": _decay_over_line,
    "chwirut2": _decay_over_line,
    "danwood": lambda x, b1, b2: b1 * x**b2,
    "eckerle4": lambda x, b1, b2, b3: b1 / b2 * np.exp(-0.5 * ((x - b3) / b2) ** 2),
    "enso": _three_cycles,
    "gauss1": _two_peaks,
    "gauss2": _two_peaks,
    "gauss3": _two_peaks,
    "hahn1": _cubic_over_cubic,
    "kirby2": _quadratic_over_quadratic,
    "lanczos1": _three_decays,
    "lanczos2": _three_decays,
    "lanczos3": _three_decays,
    "mgh09": lambda x, b1, b2, b3, b4: b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4),
    "mgh10": lambda x, b1, b2, b3: b1 * np.exp(b2 / (x + b3)),
    "mgh17": lambda x, b1, b2, b3, b4, b5: b1 + b2 * np.exp(-x * b4) + b3 * np.exp(-x * b5),
    "misra1a": _rise,
    "misra1b": lambda x, b1, b2: b1 * (1 - (1 + b2 * x / 2) ** -2),
    "misra1c": lambda x, b1, b2: b1 * (1 - (1 + 2 * b2 * x) ** -0.5),
    "misra1d": lambda x, b1, b2: b1 * b2 * x / (1 + b2 * x),
    "nelson": lambda x, b1, b2, b3: b1 - b2 * x[0] * np.exp(-b3 * x[1]),
    "rat42": lambda x, b1, b2, b3: b1 / (1 + np.exp(b2 - b3 * x)),
    "rat43": lambda x, b1, b2, b3, b4: b1 / (1 + np.exp(b2 - b3 * x)) ** (1 / b4),
    "roszman1": lambda x, b1, b2, b3, b4: b1 - b2 * x - np.arctan(b3 / (x - b4)) / np.pi,
    "thurber": _cubic_over_cubic,
}
