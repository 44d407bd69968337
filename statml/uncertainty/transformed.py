r"""Predictions that are a normal distribution seen through a rising map: any shape in one dimension, in closed form.

    Z ~ N(0, 1),   Y = T^{-1}(Z),   F(y) = Phi(T(y)),   p(y) = phi(T(y)) T'(y)

T is given at knots (y_k, z_k) with its slopes there, runs between them as a monotone
rational-quadratic spline and beyond them as a straight line, so the tails are normal.
Quantiles are exact inverses, moments and scores are integrals of F over the knots
(Gauss-Legendre) plus closed forms of the tails.

References: Gregory & Delbourgo (1982, IMA J. Numer. Anal. 2, 123) for the spline;
Gneiting & Raftery (2007, JASA 102, 359) for the score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from scipy import special

from statml.compute import generator
from statml.errors import InputError
from statml.uncertainty.distributions import (
    PredictiveDistribution,
    as_components,
    join_components,
    pick_components,
    rows,
)

Array = np.ndarray
# Values for which knots are searched at once.
BLOCK = 4_000_000
# Integration points of one prediction, spread over its bins.
POINTS = 256


class TransformedNormal(PredictiveDistribution):
    """Predictions of any shape: a normal through a monotone spline.

    Parameters
    ----------
    y, z : arrays (n, K)
        Knots of the map T from y to a standard normal z; both rise along each row.
    slope : array (n, K)
        dT/dy at the knots, positive.

    Examples
    --------
    >>> knots = np.linspace(-2.0, 2.0, 9)
    >>> lognormal = TransformedNormal(np.exp(knots)[None], knots[None], np.exp(-knots)[None])
    >>> lognormal.ppf(0.84).round(3), lognormal.cdf(1.0)
    (array([2.703]), array([0.5]))
    """

    def __init__(
        self, y: Any, z: Any, slope: Any, *, variance_components: Mapping[str, Any] | None = None
    ) -> None:
        self.y, self.z, self.slope = (np.asarray(side, float) for side in (y, z, slope))
        if self.y.ndim != 2 or self.y.shape[1] < 2 or self.z.shape != self.y.shape:
            raise InputError(f"y has shape {self.y.shape}, z {self.z.shape}; accepted is (n, K) with K >= 2")
        rising = np.all(np.diff(self.y) > 0) and np.all(np.diff(self.z) > 0)
        if self.slope.shape != self.y.shape or not rising or not np.all(self.slope > 0):
            raise InputError(
                "y, z, slope do not describe a rising map; accepted are rising knots, slopes > 0"
            )
        self.variance_components = as_components(variance_components, len(self))

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, key: Any) -> TransformedNormal:
        key = rows(key, len(self))
        return TransformedNormal(
            self.y[key],
            self.z[key],
            self.slope[key],
            variance_components=pick_components(self.variance_components, key),
        )

    # -- the map -----------------------------------------------------------------------

    def to_normal(self, y: Any) -> tuple[Array, Array]:
        """z = T(y) and dT/dy, of the shape of `y`, (..., n)."""
        y = np.asarray(y, float) + np.zeros(len(self))
        row, k, inside = _bins(y, self.y)
        ends = _ends(row, k, self.y, self.z, self.slope)
        z, slope = _between(np.clip((y - ends[0]) / (ends[1] - ends[0]), 0, 1), *ends)
        left = y <= self.y[:, 0]
        rate = np.where(left, self.slope[:, 0], self.slope[:, -1])
        tail = np.where(
            left, self.z[:, 0] + rate * (y - self.y[:, 0]), self.z[:, -1] + rate * (y - self.y[:, -1])
        )
        return np.where(inside, z, tail), np.where(inside, slope, rate)

    def from_normal(self, z: Any) -> Array:
        """y = T^{-1}(z), of the shape of `z`, (..., n)."""
        z = np.asarray(z, float) + np.zeros(len(self))
        row, k, inside = _bins(z, self.z)
        y0, y1, z0, z1, d0, d1 = _ends(row, k, self.y, self.z, self.slope)
        width, height = y1 - y0, z1 - z0
        chord = height / width
        rise, bend = np.clip(z - z0, 0, height), d0 + d1 - 2 * chord
        a, b, c = height * (chord - d0) + rise * bend, height * d0 - rise * bend, -chord * rise
        t = np.clip(2 * c / (-b - np.sqrt(np.maximum(b**2 - 4 * a * c, 0))), 0, 1)
        left = z <= self.z[:, 0]
        start = np.where(left, self.z[:, 0], self.z[:, -1])
        end = np.where(left, self.y[:, 0], self.y[:, -1])
        rate = np.where(left, self.slope[:, 0], self.slope[:, -1])
        return np.where(inside, y0 + t * width, end + (z - start) / rate)

    # -- the interface -------------------------------------------------------------------

    def cdf(self, y: Any) -> Array:
        return special.ndtr(self.to_normal(y)[0])

    def ppf(self, probability: Any) -> Array:
        return self.from_normal(special.ndtri(np.asarray(probability, float)))

    def log_prob(self, y: Any) -> Array:
        z, slope = self.to_normal(y)
        return -0.5 * z**2 - 0.5 * np.log(2 * np.pi) + np.log(slope)

    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        return self.from_normal(generator(rng).standard_normal((size, len(self))))

    @property
    def mean(self) -> Array:
        return self._moments[0]

    @property
    def std(self) -> Array:
        return self._moments[1]

    def crps(self, y: Any) -> Array:
        y = np.asarray(y, float) + np.zeros(len(self))
        inside = np.clip(y, self.y[:, 0], self.y[:, -1])
        below, above = self._squares_up_to(inside)
        z = self.to_normal(y)[0]
        low, high = self.slope[:, 0], self.slope[:, -1]
        left, right = y < self.y[:, 0], y > self.y[:, -1]
        # what lies between y and the outer knot, where T is a straight line
        below = np.where(left, _square(z) / low, below)
        above = above + np.where(left, (_square(-z) - _square(-self.z[:, 0])) / low, 0.0)
        above = np.where(right, _square(-z) / high, above)
        below = below + np.where(right, (_square(z) - _square(self.z[:, -1])) / high, 0.0)
        return below + above

    @classmethod
    def _join(cls, parts: Sequence[TransformedNormal]) -> TransformedNormal:
        count = max(part.y.shape[1] for part in parts)
        sides = zip(*(part._with_knots(count) for part in parts))
        return cls(*(np.concatenate(side) for side in sides), variance_components=join_components(parts))

    def _with_knots(self, count: int) -> tuple[Array, Array, Array]:
        """The same map with more knots, set on the straight line behind the last one."""
        more = np.arange(1, count - self.y.shape[1] + 1) * np.diff(self.y[:, -2:])
        last = self.slope[:, -1:]
        return (
            np.hstack([self.y, self.y[:, -1:] + more]),
            np.hstack([self.z, self.z[:, -1:] + last * more]),
            np.hstack([self.slope, np.broadcast_to(last, more.shape)]),
        )

    # -- integrals -----------------------------------------------------------------------

    @cached_property
    def _rule(self) -> tuple[Array, Array]:
        """Points and weights of Gauss-Legendre on [0, 1], for one bin."""
        points, weights = np.polynomial.legendre.leggauss(max(4, POINTS // self.y.shape[1]))
        return 0.5 * (points + 1), 0.5 * weights

    @cached_property
    def _inside(self) -> tuple[Array, Array, Array]:
        """y, z and weights of all points of all bins, each (P, K - 1, n)."""
        points, weights = (part[:, None, None] for part in self._rule)
        y, z, slope = self.y.T, self.z.T, self.slope.T
        at = _between(points, y[:-1], y[1:], z[:-1], z[1:], slope[:-1], slope[1:])[0]
        width = np.diff(y, axis=0)
        return y[:-1] + points * width, at, weights * width

    @cached_property
    def _moments(self) -> tuple[Array, Array]:
        first, low, high = self.y[:, 0], self.slope[:, 0], self.slope[:, -1]
        left, right = _once(self.z[:, 0]) / low, _once(-self.z[:, -1]) / high
        y, z, weight = self._inside
        rest = weight * special.ndtr(-z)
        shift = rest.sum(axis=(0, 1)) + right - left  # the mean is the first knot plus this
        bends = np.sum((y - first) * rest, axis=(0, 1))
        outer = _twice(self.z[:, 0]) / low**2 + _twice(-self.z[:, -1]) / high**2
        square = 2 * (bends + outer + (self.y[:, -1] - first) * right)
        return first + shift, np.sqrt(np.maximum(square - shift**2, np.finfo(float).tiny))

    @cached_property
    def _squares(self) -> tuple[Array, Array]:
        """Integrals of F^2 from -inf, and of (1 - F)^2 to inf, at every knot, each (K, n)."""
        _, z, weight = self._inside
        cdf = special.ndtr(z)
        below, above = np.sum(weight * cdf**2, axis=0), np.sum(weight * (1 - cdf) ** 2, axis=0)
        left, right = _square(self.z[:, 0]) / self.slope[:, 0], _square(-self.z[:, -1]) / self.slope[:, -1]
        from_left = np.cumsum(np.vstack([left[None], below]), axis=0)
        from_right = np.cumsum(np.vstack([right[None], above[::-1]]), axis=0)[::-1]
        return from_left, from_right

    def _squares_up_to(self, y: Array) -> tuple[Array, Array]:
        """Both integrals at y of shape (..., n), within the knots."""
        row, k, _ = _bins(y, self.y)
        ends = _ends(row, k, self.y, self.z, self.slope)
        low, high = ends[0], ends[1]
        place = (y - low) / (high - low)
        below, above = self._squares[0][k, row], self._squares[1][k + 1, row]
        for point, weight in zip(*self._rule):
            near = special.ndtr(_between(place * point, *ends)[0])
            far = special.ndtr(-_between(place + (1 - place) * point, *ends)[0])
            below = below + weight * (y - low) * near**2
            above = above + weight * (high - y) * far**2
        return below, above


def _between(
    t: Array, y0: Array, y1: Array, z0: Array, z1: Array, d0: Array, d1: Array
) -> tuple[Array, Array]:
    """z and dz/dy of the spline a fraction t along a bin."""
    height = z1 - z0
    chord = height / (y1 - y0)
    rest = t * (1 - t)
    below = chord + (d0 + d1 - 2 * chord) * rest
    z = z0 + height * (chord * t**2 + d0 * rest) / below
    return z, chord**2 * (d1 * t**2 + 2 * chord * rest + d0 * (1 - t) ** 2) / below**2


def _bins(value: Array, along: Array) -> tuple[Array, Array, Array]:
    """Row and bin of each value of shape (..., n), and whether it is between the outer knots."""
    flat = value.reshape(-1, len(along))
    k = np.empty(flat.shape, int)
    step = max(1, BLOCK // along.size)
    for low in range(0, len(flat), step):
        k[low : low + step] = np.sum(along[:, 1:-1] <= flat[low : low + step, :, None], axis=-1)
    row = np.broadcast_to(np.arange(len(along)), value.shape)
    return row, k.reshape(value.shape), (value > along[:, 0]) & (value < along[:, -1])


def _ends(row: Array, k: Array, *sides: Array) -> list[Array]:
    """Each side at the left and at the right knot of a bin."""
    return [side[row, end] for side in sides for end in (k, k + 1)]


def _once(z: Array) -> Array:
    """The integral of Phi up to z."""
    return z * special.ndtr(z) + _density(z)


def _twice(z: Array) -> Array:
    """The integral of (z - x) Phi(x) up to z."""
    return 0.5 * ((z**2 + 1) * special.ndtr(z) + z * _density(z))


def _square(z: Array) -> Array:
    """The integral of Phi^2 up to z."""
    phi = special.ndtr(z)
    return z * phi**2 + 2 * _density(z) * phi - special.ndtr(np.sqrt(2) * z) / np.sqrt(np.pi)


def _density(z: Array) -> Array:
    return np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
