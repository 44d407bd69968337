r"""What a correlation function of metals in a window of a galaxy should look like.

With S_min = 2 (sigma_inj^2 + beam^2), S_max = S_min + 4 kappa_t, kappa_t = l_corr^2 and z = r^2 / 2 S, metals are correlated as

    X(r) = [E1(z_max) - E1(z_min)] / ln(S_max / S_min),      X(0) = 1.

Independent errors raise the variance to f times the intrinsic one, and nothing else. The mean is not known but taken
from the window, which takes away from the products of all pairs, those of a place with itself included, their mean
C (the integral constraint): what is measured, the covariance at r over the variance, is

    xi(r) = [X(r) - C] / [f - C],      C = mean of X over all pairs at r > 0, and of f over those at r = 0.

A window of six correlation lengths has C = 0.07; a fit that leaves it out takes the missing tail for a short
correlation length.

Sources: Krumholz & Ting (2018), arXiv:1708.06853, and Li et al. (2021), arXiv:2104.14807, for X as a quadrature and f; the closed
form in `statml.research.abundances.kernel`; Peebles (1980) for the integral constraint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from astropy import units as u
from scipy import signal, special
from scipy.spatial.distance import pdist

from statml.errors import InputError
from statml.research.abundances.dimensions import LENGTH, magnitude, magnitudes

Array = np.ndarray

# Bins of the separations in a window; C changes by 2e-4 with twice as many.
WINDOW_BINS = 48


class Functions(NamedTuple):
    """E1 and the natural logarithm of a library of arrays."""

    exp1: Any
    log: Any


NUMPY = Functions(special.exp1, np.log)


@dataclass(frozen=True, eq=False)
class Window:
    """Separations of all pairs of places in a window.

    Attributes
    ----------
    separation : Quantity (m,)
    share : array (m,)
        Of all pairs, at each separation.
    same : float
        Share of the pairs of a place with itself; all shares sum to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> square = Window.of_grid(np.ones((64, 64)), 50 * u.pc)
    >>> round(1 / square.same), round(float(square.share @ square.separation.to_value(u.kpc)) / 3.2, 3)
    (4096, 0.521)
    """

    separation: u.Quantity
    share: Array
    same: float

    @classmethod
    def of_grid(cls, weights: Any, pixel: Any) -> Window:
        """A window of pixels, with weights (0 is masked) as the correlation function has."""
        weights = np.asarray(weights, float)
        if weights.ndim != 2 or not np.all((weights >= 0) & np.isfinite(weights)) or not weights.any():
            raise InputError(
                f"weights has shape {weights.shape} or a value that is negative or not finite; accepted are "
                "weights >= 0 of an image"
            )
        side = magnitude("pixel", pixel, LENGTH, above=0)
        pairs = np.maximum(signal.fftconvolve(weights, weights[::-1, ::-1]), 0.0)
        rows, columns = (np.arange(1 - n, n) for n in weights.shape)
        return cls._binned(
            side * np.hypot(rows[:, None], columns).ravel(), pairs.ravel(), float(np.sum(weights**2))
        )

    @classmethod
    def of_points(cls, positions: Any, weights: Any = None) -> Window:
        """A window known by the places that were measured, a Quantity (n, 2)."""
        places = magnitudes("positions", positions, LENGTH)
        if places.ndim != 2 or len(places) < 2:
            raise InputError(f"positions has shape {places.shape}; accepted is (n, 2), n at least 2")
        each = np.ones(len(places)) if weights is None else np.asarray(weights, float)
        if each.shape != (len(places),) or not np.all((each >= 0) & np.isfinite(each)) or not each.any():
            raise InputError(f"weights has shape {each.shape}; accepted are {len(places)} weights >= 0")
        first, second = np.triu_indices(len(places), 1)
        return cls._binned(pdist(places), 2 * each[first] * each[second], float(np.sum(each**2)))

    @classmethod
    def _binned(cls, distance: Array, pairs: Array, same: float) -> Window:
        apart = distance > 0
        distance, pairs = distance[apart], pairs[apart]
        place = np.minimum((distance / distance.max() * WINDOW_BINS).astype(int), WINDOW_BINS - 1)
        counts = np.bincount(place, pairs, WINDOW_BINS)
        used = counts > 1e-12 * counts.max()
        mean = np.bincount(place, pairs * distance, WINDOW_BINS)[used] / counts[used]
        total = counts[used].sum() + same
        return cls(mean * LENGTH, counts[used] / total, same / total)


def normalised(squared: Any, sigma2: Any, kappa_t: Any, functions: Functions = NUMPY) -> Any:
    """X at squared separations > 0, for variances sigma_inj^2 + beam^2; in any one unit of length."""
    low = 2 * sigma2
    high = low + 4 * kappa_t
    difference = functions.exp1(squared / (2 * high)) - functions.exp1(squared / (2 * low))
    return difference / functions.log(high / low)


@dataclass(frozen=True, eq=False)
class Expected:
    """The expected correlation function at some separations, a function of the parameters.

    Attributes
    ----------
    squared : array (k,)
        Squared separations in pc^2.
    window_squared, share : arrays (m,)
        Of the pairs of the window; empty where the mean is known.
    same : float
    """

    squared: Array
    window_squared: Array
    share: Array
    same: float

    @classmethod
    def at(cls, separations: Array, window: Window | None) -> Expected:
        """At separations in pc."""
        if window is None:
            return cls(separations**2, np.empty(0), np.empty(0), 0.0)
        return cls(separations**2, window.separation.to_value(LENGTH) ** 2, window.share, window.same)

    def __call__(self, sigma2: Any, kappa_t: Any, dilution: Any, functions: Functions = NUMPY) -> Any:
        """xi (..., k) for parameters (..., 1)."""
        found = normalised(self.squared, sigma2, kappa_t, functions)
        if not len(self.share):
            return found / dilution
        over_pairs = self.share * normalised(self.window_squared, sigma2, kappa_t, functions)
        lost = over_pairs.sum(-1)[..., None] + self.same * dilution
        return (found - lost) / (dilution - lost)
