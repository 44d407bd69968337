"""Maps of elements that were simulated, and what is measured from them.

Everything is in units of the environment (`Environment.length_unit`, the field in m / L0^2), as the theory is, so that
numbers can be compared as they come. The mean of each map is taken away before anything is measured. The box has then no
wave longer than its side; what it lacks at zero separation is the power at k = 0 over its area,
`Fields.missing_variance`: theory minus that is what a box shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from astropy import units as u
from scipy import special

from statml.errors import InputError
from statml.research.abundances.dimensions import LENGTH, WAVENUMBER, magnitudes
from statml.research.abundances.environment import Environment

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Measured:
    """A statistic of every realisation.

    Attributes
    ----------
    each : array (realisations, ...)
    """

    each: Array

    @property
    def mean(self) -> Array:
        """Mean over the realisations."""
        return self.each.mean(axis=0)

    @property
    def std_error(self) -> Array:
        """Standard error of the mean, from the scatter of the realisations."""
        if len(self.each) < 2:
            raise InputError("there is one realisation, which has no scatter; accepted are two or more")
        return self.each.std(axis=0, ddof=1) / np.sqrt(len(self.each))


@dataclass(frozen=True, eq=False, repr=False)
class Fields:
    """Maps of elements, of several realisations of one environment.

    Attributes
    ----------
    symbols : tuple of str
    product_maps : array (realisations, lags, products, grid, grid)
        Of each channel and delay, in m / L0^2.
    mixing : array (elements, products)
    missing : array (products, products)
        Power at k = 0 over the area of the box.
    box : Quantity
        Side of the periodic square.
    lags : Quantity (lags,)
        Times of observation, after the first possible one.
    env : Environment
    """

    symbols: tuple[str, ...]
    product_maps: Array
    mixing: Array
    missing: Array
    box: u.Quantity
    lags: u.Quantity
    env: Environment

    def __repr__(self) -> str:
        realisations, _, products, grid, _ = self.product_maps.shape
        return (
            f"Fields({', '.join(self.symbols)}: {realisations} realisations of {products} products, "
            f"{grid} x {grid} cells of {self.pixel:.4g})"
        )

    def __len__(self) -> int:
        return len(self.product_maps)

    @property
    def pixel(self) -> u.Quantity:
        """Side of a cell."""
        return self.box / self.product_maps.shape[-1]

    @property
    def maps(self) -> Array:
        """Maps of the elements, (realisations, lags, elements, grid, grid) in m / L0^2."""
        return np.einsum("es,rtsyx->rteyx", self.mixing.astype(self.product_maps.dtype), self.product_maps)

    @property
    def missing_variance(self) -> Array:
        """What the box lacks of the covariance of the elements (elements, elements), see the module."""
        return self.mixing @ self.missing @ self.mixing.T

    def mean(self) -> Measured:
        """Mean of each element, (elements,)."""
        means = self.product_maps[:, 0].mean(axis=(-2, -1), dtype=float)
        return Measured(means @ self.mixing.T)

    def covariance(self, lag: int = 0) -> Measured:
        """Covariance (elements, elements) of elements at the first time with elements at the time `lag`."""
        shells = self._shells(self._lag(lag))
        return Measured(self._mixed(shells.sum(axis=-1)))

    def correlation(self, lag: int = 0) -> Measured:
        """Correlation coefficients (elements, elements) of each realisation."""
        cov = self.covariance(lag).each
        first, other = self.covariance().each, cov
        if lag:
            other = self._mixed(self._power_of(lag, lag).sum(axis=-1))
            return Measured(cov / np.sqrt(_diagonal(first)[:, :, None] * _diagonal(other)[:, None, :]))
        return Measured(cov / np.sqrt(_diagonal(first)[:, :, None] * _diagonal(first)[:, None, :]))

    def cross_correlation(self, r: Any, lag: int = 0) -> Measured:
        """Covariance at separations `r` (a Quantity), (elements, elements, separations), over all directions."""
        distance = np.atleast_1d(magnitudes("r", r, LENGTH)) / self.box.value
        if np.any((distance < 0) | (distance > 0.5)):
            raise InputError(
                f"r reaches beyond 0 to half of the box, {0.5 * self.box}; accepted are separations within"
            )
        waves = special.j0(2 * np.pi * np.sqrt(self._modes[1])[:, None] * distance)
        return Measured(self._mixed(self._shells(self._lag(lag)) @ waves))

    def third_cumulant(self) -> Measured:
        """Third cumulant of each element, (elements,)."""
        return Measured(np.array([np.mean(_centred(maps) ** 3, axis=(-2, -1)) for maps in self._each()]))

    def skewness(self) -> Measured:
        """Skewness of each element, (elements,)."""
        return Measured(self.third_cumulant().each / _diagonal(self.covariance().each) ** 1.5)

    def power(self, edges: Any, lag: int = 0) -> tuple[Measured, Array, u.Quantity]:
        """Cross power spectra in bins of wavenumber.

        Parameters
        ----------
        edges : Quantity (k + 1,)
            Limits of the bins, such as 1 / kpc.
        lag : int
            Time of the second element of each pair.

        Returns
        -------
        power : Measured
            (elements, elements, k), as `power_spectrum` gives it.
        modes : array (k,)
            Waves in each bin, which are independent of each other (two of opposite sign are one).
        wavenumbers : Quantity (shells,)
            Of every shell of the box within the edges. Average the theory over `fields.in_bins` to compare.

        Raises
        ------
        InputError
            A bin holds no wave of the box.
        """
        _, squares, counts = self._modes
        place = self._bins(edges)
        inside = place >= 0
        bins = int(place.max()) + 1
        numbers = np.bincount(place[inside], counts[inside], bins)
        shells = self._shells(self._lag(lag))[..., inside]
        summed = np.zeros((*shells.shape[:-1], bins))
        for b in range(bins):
            summed[..., b] = shells[..., place[inside] == b].sum(axis=-1) / numbers[b]
        area = (self.box.value / self.env.length_unit.value) ** 2
        k = 2 * np.pi * np.sqrt(squares[inside]) / self.box.value * WAVENUMBER
        return Measured(self._mixed(summed * area)), numbers / 2, k

    def in_bins(self, values: Array, edges: Any) -> Array:
        """Mean over each bin of `edges` of values at the shells that `power` returns, each wave counted once."""
        place, counts = self._bins(edges), self._modes[2]
        inside = place >= 0
        bins = int(place.max()) + 1
        weight = counts[inside]
        return np.bincount(place[inside], weight * values, bins) / np.bincount(place[inside], weight, bins)

    def _bins(self, edges: Any) -> Array:
        limits = np.atleast_1d(magnitudes("edges", edges, WAVENUMBER)) * self.box.value / (2 * np.pi)
        if len(limits) < 2 or np.any(np.diff(limits) <= 0):
            raise InputError(f"edges is {edges}; accepted are two or more growing wavenumbers")
        place = np.searchsorted(limits, np.sqrt(self._modes[1]), side="right") - 1
        place[place == len(limits) - 1] = -1
        if len(np.unique(place[place >= 0])) < len(limits) - 1:
            raise InputError(
                "edges has a bin without any wave of the box; accepted are wider bins, or a larger box"
            )
        return place

    @cached_property
    def _modes(self) -> tuple[Array, Array, Array]:
        """Shell of each mode of the half spectrum, squared number of each shell, and waves in it (both signs)."""
        grid = self.product_maps.shape[-1]
        along, across = np.fft.fftfreq(grid, 1 / grid), np.arange(grid // 2 + 1)
        squares = np.rint(along[:, None] ** 2 + across**2).astype(int)
        values, shell = np.unique(squares, return_inverse=True)
        # Columns in the middle stand for two waves of opposite sign.
        twice = np.full(squares.shape, 2.0)
        twice[:, [0, -1]] = 1.0
        return shell.reshape(squares.shape), values, np.bincount(shell.ravel(), twice.ravel())

    def _lag(self, lag: int) -> tuple[int, int]:
        if not isinstance(lag, int | np.integer) or not 0 <= lag < len(self.lags):
            raise InputError(
                f"lag is {lag!r}; accepted is the number of a time, from 0 to {len(self.lags) - 1}"
            )
        return 0, int(lag)

    def _shells(self, times: tuple[int, int]) -> Array:
        if times not in self._found:
            self._found[times] = self._power_of(*times)
        return self._found[times]

    @cached_property
    def _found(self) -> dict[tuple[int, int], Array]:
        return {}

    def _power_of(self, first: int, second: int) -> Array:
        """Sum over the waves of every shell of F_X conj(F_Y), (realisations, products, products, shells)."""
        shell, squares, _ = self._modes
        grid, products = self.product_maps.shape[-1], self.product_maps.shape[2]
        twice = np.full(shell.shape, 2.0)
        twice[:, [0, -1]] = 1.0
        found = np.zeros((len(self), products, products, len(squares)))
        for number, maps in enumerate(self.product_maps):
            one, other = (np.fft.rfft2(maps[time]) / grid**2 for time in (first, second))
            for i in range(products):
                for j in range(i if first == second else 0, products):
                    product = twice * (one[i] * other[j].conj()).real
                    found[number, i, j] = np.bincount(shell.ravel(), product.ravel(), len(squares))
                    if first == second:
                        found[number, j, i] = found[number, i, j]
        found[..., 0] = 0.0  # the mean
        return found

    def _mixed(self, values: Array) -> Array:
        """From pairs of products to pairs of elements."""
        return np.einsum("ai,bj,rij...->rab...", self.mixing, self.mixing, values)

    def _each(self) -> Iterator[Array]:
        for maps in self.product_maps[:, 0]:
            yield np.einsum("es,syx->eyx", self.mixing, maps)


def _centred(maps: Array) -> Array:
    return maps - maps.mean(axis=(-2, -1), keepdims=True)


def _diagonal(matrices: Array) -> Array:
    return np.diagonal(matrices, axis1=1, axis2=2)
