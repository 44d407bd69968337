r"""What a correlation function of metals in a window of a galaxy should look like.

With S_min = 2 (sigma_inj^2 + beam^2), S_max = S_min + 4 kappa_t, kappa_t = l_corr^2 and z = r^2 / 2 S, metals are correlated as

    X(r) = [E1(z_max) - E1(z_min)] / ln(S_max / S_min),      X(0) = 1,

and independent errors raise the variance to f times the intrinsic one, X(0) = f, and nothing else. The mean is not
known but taken from the window. With c_i the covariance of place i with that mean and V its variance, a pair has on average

    <(z_i - mean)(z_j - mean)> = X(r_ij) - c_i - c_j + V,

the integral constraint: c_i and V are means of X over the separations from i to all places and over all pairs. Averaged over the
pairs of a bin, and over the places for the variance,

    xi_b = [B_b X - 2 C_b X + V] / [f - 2 C_0 X + V]

with fixed weights B, C on X at the separations of the window (`Window` counts them once). The usual short form, C_b = V for
all bins, is off by up to 0.007 for a square of six correlation lengths, where V is 0.07: members of pairs that are a third
of the side apart lie nearer to the middle than places do on the mean.

Sources: Krumholz & Ting (2018), arXiv:1708.06853, and Li et al. (2021), arXiv:2104.14807, for X as a quadrature and for f; the
closed form in `statml.research.abundances.kernel`; Peebles (1980) for the integral constraint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import fft, special

from statml.errors import InputError
from statml.research.abundances.dimensions import LENGTH, magnitude, magnitudes

Array = np.ndarray

# Separations are kept apart up to so many of the shortest one, and then to 8 %.
EXACT, RATIO = 6.0, 1.08


class Functions(NamedTuple):
    """E1 and the natural logarithm of a library of arrays."""

    exp1: Any
    log: Any


NUMPY = Functions(special.exp1, np.log)


@dataclass(frozen=True, eq=False)
class Window:
    """Which separations a window has, all of its pairs counted once for all fits.

    Attributes
    ----------
    edges : array (k + 1,)
        Bins of the correlation function in pc, lower < r <= upper.
    separation : array (m,)
        Separations in pc, > 0.
    pairs : array (k, m)
        Of the pairs of each bin, the share at each separation.
    around : array (k + 1, m)
        Of the separations from a place to all places: for places as they enter the variance (row 0) and each bin.
    itself : array (k + 1,)
        The share of a place with itself in these.
    all_pairs, same : array (m,), float
        The same for all pairs of places.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> square = Window.of_grid(np.ones((64, 64)), 50 * u.pc, [0.1, 0.2, 0.4] * u.kpc)
    >>> round(1 / square.same), (square.pairs @ square.separation).round(0)
    (4096, array([154., 306.]))
    """

    edges: Array
    separation: Array
    pairs: Array
    around: Array
    itself: Array
    all_pairs: Array
    same: float

    @classmethod
    def of_grid(cls, weights: Any, pixel: Any, edges: Any) -> Window:
        """A window of pixels, with weights (0 is masked) and edges as the correlation function has."""
        weights = np.asarray(weights, float)
        if weights.ndim != 2 or not np.all((weights >= 0) & np.isfinite(weights)) or not weights.any():
            raise InputError(
                f"weights has shape {weights.shape} or a value that is negative or not finite; accepted are "
                "weights >= 0 of an image"
            )
        side, limits = magnitude("pixel", pixel, LENGTH, above=0), _limits(edges)
        shape = [fft.next_fast_len(2 * n - 1, real=True) for n in weights.shape]
        rows, columns = (np.abs(np.fft.fftfreq(n, 1 / n)) for n in shape)
        distance = side * np.hypot(rows[:, None], columns)
        counted = _Separations(distance.ravel(), side, limits)
        place = _bin_of(distance, limits)
        transform = fft.rfft2(weights, shape)

        def related(to: Array) -> Array:
            """Sum over places of to(x) w(x + lag), by lag."""
            return fft.irfft2(fft.rfft2(to, shape).conj() * transform, shape).ravel()

        def neighbours(mask: Array) -> Array:
            found = fft.irfft2(fft.rfft2(mask.astype(float)) * transform, shape)
            return np.maximum(found[: weights.shape[0], : weights.shape[1]], 0.0)

        pairs = np.maximum(related(weights), 0.0)
        slots, m = counted.slot_of(distance.ravel()), len(counted.limits)
        lengths = np.bincount(slots, pairs * distance.ravel(), m)
        counted = counted.with_means(lengths, np.bincount(slots, pairs, m))
        members = [weights * neighbours(place == b) for b in range(len(limits) - 1)]
        around = [counted.shares(related(each)) for each in (weights**2, *members)]
        all_pairs, same = counted.shares(pairs)
        in_bins = [
            counted.shares(np.where(place.ravel() == b, pairs, 0.0))[0] for b in range(len(limits) - 1)
        ]
        return cls._of(limits, counted, in_bins, around, all_pairs, same)

    @classmethod
    def of_points(cls, positions: Any, edges: Any, weights: Any = None) -> Window:
        """A window known by the places that were measured, a Quantity (n, 2)."""
        places, limits = magnitudes("positions", positions, LENGTH), _limits(edges)
        if places.ndim != 2 or len(places) < 3:
            raise InputError(f"positions has shape {places.shape}; accepted is (n, 2), n at least 3")
        each = np.ones(len(places)) if weights is None else np.asarray(weights, float)
        if each.shape != (len(places),) or not np.all((each >= 0) & np.isfinite(each)) or not each.any():
            raise InputError(f"weights has shape {each.shape}; accepted are {len(places)} weights >= 0")
        reach = float(np.hypot(*np.ptp(places, axis=0)))
        counted = _Separations(np.array([0.0, reach]), limits[1] / EXACT, limits)
        m = len(counted.distance)
        hits, length = np.zeros((len(places), m + 1)), np.zeros(m + 1)
        in_bins, members = np.zeros((len(limits) - 1, m + 1)), np.zeros((len(limits) - 1, len(places)))
        for i, (here, weight) in enumerate(zip(places, each)):
            distance = np.hypot(*(places - here).T)
            slot, place = counted.slot_of(distance), _bin_of(distance, limits)
            hits[i] = np.bincount(slot, each, m + 1)
            length += weight * np.bincount(slot, each * distance, m + 1)
            inside = place >= 0
            np.add.at(in_bins, (place[inside], slot[inside]), weight * each[inside])
            members[:, i] = weight * np.bincount(place[inside], each[inside], len(limits) - 1)
        counted = counted.with_means(length, each @ hits)
        around = [counted.split(to @ hits) for to in (each**2, *members)]
        all_pairs, same = counted.split(each @ hits)
        return cls._of(limits, counted, [counted.split(row)[0] for row in in_bins], around, all_pairs, same)

    @classmethod
    def _of(
        cls, limits: Array, counted: _Separations, in_bins: Any, around: Any, all_pairs: Array, same: float
    ) -> Window:
        shares, itself = zip(*around)
        return cls(
            limits, counted.distance, np.array(in_bins), np.array(shares), np.array(itself), all_pairs, same
        )


class _Separations:
    """Slots of separation: 0, then all different ones while they are few, then in proportion.

    Each stands at `distance`, the mean of what is in it, once `with_means` has been told.
    """

    def __init__(self, distance: Array, shortest: float, edges: Array) -> None:
        near = np.unique(np.round(distance[(distance > 0) & (distance <= EXACT * shortest)], 6))
        near = near if len(near) > 1 else np.geomspace(shortest / EXACT, EXACT * shortest, 40)
        count = max(int(np.ceil(np.log(max(distance.max() / near[-1], 1.0)) / np.log(RATIO))), 1)
        far = near[-1] * RATIO ** np.arange(1, count + 1)
        # No slot belongs to two bins of the correlation function.
        self.limits = np.unique(np.concatenate([[0.0], near * (1 + 1e-9), far, edges]))
        self.distance = (self.limits[:-1] + self.limits[1:]) / 2
        self._slots = self.slot_of(distance)

    def slot_of(self, distance: Array) -> Array:
        return np.minimum(
            np.searchsorted(self.limits, distance * (1 - 1e-12), side="left"), len(self.limits) - 1
        )

    def with_means(self, lengths: Array, pairs: Array) -> _Separations:
        """With each slot at the mean of the separations that are in it."""
        self.distance = np.where(
            pairs[1:] > 0, lengths[1:] / np.where(pairs[1:] > 0, pairs[1:], 1), self.distance
        )
        return self

    def shares(self, pairs: Array) -> tuple[Array, float]:
        """Shares at each separation > 0 and at 0, of weights for each of the distances it was made of."""
        return self.split(np.bincount(self._slots, np.maximum(pairs, 0.0), len(self.limits)))

    def split(self, slots: Array) -> tuple[Array, float]:
        total = slots.sum()
        if not total > 0:
            raise InputError("edges has a bin without any pair of the window; accepted are wider bins")
        return slots[1:] / total, float(slots[0] / total)


def _limits(edges: Any) -> Array:
    limits = np.atleast_1d(magnitudes("edges", edges, LENGTH))
    if len(limits) < 2 or limits[0] < 0 or np.any(np.diff(limits) <= 0):
        raise InputError(f"edges is {edges}; accepted are two or more growing separations, none negative")
    return limits


def _bin_of(distance: Array, limits: Array) -> Array:
    """The bin of each distance, lower < r <= upper; -1 for none."""
    place = np.searchsorted(limits, distance * (1 - 1e-12), side="left") - 1
    return np.where((place < 0) | (place >= len(limits) - 1), -1, place)


def normalised(squared: Any, sigma2: Any, kappa_t: Any, functions: Functions = NUMPY) -> Any:
    """X at squared separations > 0, for variances sigma_inj^2 + beam^2; in any one unit of length."""
    low = 2 * sigma2
    high = low + 4 * kappa_t
    difference = functions.exp1(squared / (2 * high)) - functions.exp1(squared / (2 * low))
    return difference / functions.log(high / low)


@dataclass(frozen=True, eq=False)
class Expected:
    """The expected correlation function, (over X + own f) / (over_0 X + own_0 f), a function of the parameters.

    Attributes
    ----------
    squared : array (m,)
        Squared separations in pc^2 at which X is needed.
    over : array (k, m)
    own : array (k,)
    over_0, own_0 : array (m,), float
    """

    squared: Any
    over: Any
    own: Any
    over_0: Any
    own_0: float

    @classmethod
    def known_mean(cls, separations: Array) -> Expected:
        """At separations in pc, with a mean that is known."""
        k = len(separations)
        return cls(separations**2, np.eye(k), np.zeros(k), np.zeros(k), 1.0)

    @classmethod
    def within(cls, window: Window) -> Expected:
        """In the bins of a window, about its mean."""
        over = -2 * window.around + window.all_pairs
        own = -2 * window.itself + window.same
        return cls(window.separation**2, over[1:] + window.pairs, own[1:], over[0], float(1 + own[0]))

    def __call__(self, sigma2: Any, kappa_t: Any, dilution: Any, functions: Functions = NUMPY) -> Any:
        """xi (..., k) for parameters (..., 1)."""
        x = normalised(self.squared, sigma2, kappa_t, functions)
        return (x @ self.over.T + self.own * dilution) / (
            (x @ self.over_0)[..., None] + self.own_0 * dilution
        )
