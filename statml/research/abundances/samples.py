"""Correlations between abundances as observed: three published matrices, and open clusters from which we make one.

Errors of single abundances are those the authors of the comparison used (dex): APOGEE for Ting & Weinberg
(2022), their own for Mead et al. (2025).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from statml import datasets
from statml.errors import InputError

Array = np.ndarray

APOGEE_ERRORS = {
    "O": 0.00958, "Ni": 0.00972, "Ca": 0.0114, "Mn": 0.0126, "Si": 0.0143, "Al": 0.018, "Co": 0.0308, "Cr": 0.0295,
    "K": 0.0298, "Cu": 0.0301, "S": 0.031, "V": 0.0373, "Na": 0.036, "Mg": 0.0107, "Fe": 0.008,
}  # fmt: skip
MEAD_ERRORS = {
    "C": 0.01, "O": 0.013, "Na": 0.014, "Mg": 0.012, "Al": 0.01, "Si": 0.006, "S": 0.018, "Ca": 0.008, "Sc": 0.015,
    "Ti": 0.008, "V": 0.009, "Cr": 0.008, "Mn": 0.008, "Fe": 0.003, "Co": 0.0085, "Ni": 0.007, "Cu": 0.015, "Zn": 0.014,
    "Sr": 0.008, "Y": 0.011, "Zr": 0.014, "Ba": 0.011, "La": 0.023, "Ce": 0.018, "Pr": 0.015, "Nd": 0.013, "Sm": 0.019,
    "Eu": 0.015, "Gd": 0.009, "Dy": 0.0195,
}  # fmt: skip
SAMPLES = ("mead25", "ting22_0.1", "ting22_0.05", "occam")
# Of the clusters that are compared.
RADII = (5.0, 14.0)  # kpc
CLIP = 4.0  # in median absolute deviations, as standard deviations


@dataclass(frozen=True, eq=False)
class Sample:
    """Observed correlations of n elements.

    Attributes
    ----------
    name : str
    symbols : tuple of str
    values : array (n, n)
        Symmetric, ones on the diagonal, NaN where a pair was not observed.
    sigma_dex : dict
        Standard errors of the abundances; empty where correlations are compared as they are.
    """

    name: str
    symbols: tuple[str, ...]
    values: Array
    sigma_dex: Mapping[str, float]

    def select(self, symbols: list[str]) -> Sample:
        """Return the part of these elements."""
        index = [self.symbols.index(symbol) for symbol in symbols]
        return Sample(self.name, tuple(symbols), self.values[np.ix_(index, index)], self.sigma_dex)


def load_sample(name: str) -> Sample:
    """Load one of the samples of stars: "mead25", "ting22_0.1", "ting22_0.05" or "occam".

    Parameters
    ----------
    name : str

    Returns
    -------
    Sample

    Raises
    ------
    InputError
        No such sample.
    DataNotFoundError
        Its table is not there; says where to put it.
    """
    if name not in SAMPLES:
        raise InputError(f"name is {name!r}; accepted are {', '.join(map(repr, SAMPLES))}")
    if name == "occam":
        return clusters_sample(datasets.load("occam_clusters"))
    table = datasets.load("stellar_correlations")
    rows = table[table["sample"] == name]
    symbols = tuple(dict.fromkeys([*map(str, rows["first"]), *map(str, rows["second"])]))
    values = np.full((len(symbols), len(symbols)), np.nan)
    np.fill_diagonal(values, 1.0)
    for first, second, rho in rows["first", "second", "correlation"]:
        i, j = symbols.index(first), symbols.index(second)
        values[i, j] = values[j, i] = rho
    return Sample(name, symbols, values, MEAD_ERRORS if name == "mead25" else APOGEE_ERRORS)


def clusters_sample(clusters: Table, radius: str = "r_gc_cg") -> Sample:
    """Correlate abundances of open clusters about a linear gradient with radius.

    Clusters of quality 1 or 2 between 5 and 14 kpc count; a straight line in radius is taken from each [X/H], and
    residuals beyond four (scaled) median absolute deviations are left out.

    Parameters
    ----------
    clusters : Table
        The data set ``occam_clusters``.
    radius : str
        The column of galactocentric radii.
    """
    r = np.asarray(clusters[radius], dtype=float)
    good = (np.asarray(clusters["quality"]) >= 1) & (r > RADII[0]) & (r < RADII[1])
    iron = np.asarray(clusters["fe_h"], dtype=float)
    lines = [name for name in clusters.colnames if name.endswith("_fe")]
    abundances = {"Fe": iron} | {name[:-3].capitalize(): np.asarray(clusters[name]) + iron for name in lines}
    residuals = {symbol: _residual(r, values, good) for symbol, values in abundances.items()}
    symbols = tuple(residuals)
    matrix = np.eye(len(symbols))
    for (i, x), (j, y) in itertools.combinations(enumerate(residuals.values()), 2):
        both = np.isfinite(x) & np.isfinite(y)
        matrix[i, j] = matrix[j, i] = np.corrcoef(x[both], y[both])[0, 1]
    return Sample("occam", symbols, matrix, {})


def _residual(r: Array, values: Array, good: Array) -> Array:
    used = good & np.isfinite(values)
    residual = values - np.polyval(np.polyfit(r[used], values[used], 1), r)
    centre = np.median(residual[used])
    spread = 1.4826 * np.median(np.abs(residual[used] - centre))
    return np.where(used & (np.abs(residual - centre) < CLIP * spread), residual, np.nan)
