"""The real Gaia XP spectra in the form the assignments use: few bins, one split.

An assignment's notebook and its tests must see the same stars, so the binning
and the split are written once, here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statml.errors import InputError

# The 343 samples of an XP spectrum: 336 to 1020 nm in steps of 2 nm.
WAVELENGTH_NM = 336.0 + 2.0 * np.arange(343)
# Below and above this range the spectrophotometers give little but noise.
USED_NM = (392.0, 992.0)
SAMPLES_PER_BIN = 5


@dataclass(frozen=True)
class BinnedStars:
    """Stars with binned spectra.

    Attributes
    ----------
    flux, flux_err : ndarray (n, 60)
        Mean flux of each bin and its standard error; a spectrum is given in
        units of its own median.
    teff, teff_err : ndarray (n,)
        Effective temperature from APOGEE and its standard error [K].
    source_id : ndarray (n,)
        Gaia DR3 identifier.
    wavelength : ndarray (60,)
        Centre of each bin [nm].
    """

    flux: np.ndarray
    flux_err: np.ndarray
    teff: np.ndarray
    teff_err: np.ndarray
    source_id: np.ndarray
    wavelength: np.ndarray

    def take(self, rows: np.ndarray) -> BinnedStars:
        """The stars of `rows` (indices or a mask)."""
        return BinnedStars(
            self.flux[rows],
            self.flux_err[rows],
            self.teff[rows],
            self.teff_err[rows],
            self.source_id[rows],
            self.wavelength,
        )


def bin_spectra(flux: np.ndarray, flux_err: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average neighbouring samples of XP spectra between 392 and 992 nm.

    Parameters
    ----------
    flux, flux_err : ndarray (n, 343)
        Sampled spectra and the standard errors of the samples, taken as
        independent (neighbouring XP samples are in truth correlated, so the
        errors of the bins are lower limits).

    Returns
    -------
    flux, flux_err : ndarray (n, 60)
    wavelength : ndarray (60,)
        Bin centres [nm].

    Raises
    ------
    InputError
        The spectra do not have 343 samples.
    """
    flux, flux_err = np.asarray(flux, dtype=float), np.asarray(flux_err, dtype=float)
    if flux.ndim != 2 or flux.shape[1] != len(WAVELENGTH_NM) or flux_err.shape != flux.shape:
        raise InputError(
            f"flux and flux_err have shapes {flux.shape} and {flux_err.shape}; both must be (n, 343)"
        )
    used = (USED_NM[0] <= WAVELENGTH_NM) & (USED_NM[1] > WAVELENGTH_NM)
    n_bins = int(used.sum()) // SAMPLES_PER_BIN
    shape = (-1, n_bins, SAMPLES_PER_BIN)
    error = np.sqrt(np.sum(flux_err[:, used].reshape(shape) ** 2, axis=2)) / SAMPLES_PER_BIN
    wavelength = WAVELENGTH_NM[used].reshape(shape[1:]).mean(axis=1)
    return flux[:, used].reshape(shape).mean(axis=2), error, wavelength


def binned_stars(teff_range: tuple[float, float] = (4000.0, 7000.0)) -> BinnedStars:
    """The stars of the data set ``gaia_xp`` in a range of temperature, spectra binned.

    Parameters
    ----------
    teff_range : (float, float)
        Lowest and highest effective temperature [K].

    Returns
    -------
    BinnedStars
        One row per star (a source observed twice is kept once), by source id.
    """
    from statml import datasets

    table = datasets.load("gaia_xp")
    teff = np.asarray(table["teff"], dtype=float)
    _, first = np.unique(np.asarray(table["source_id"]), return_index=True)
    keep = first[(teff[first] >= teff_range[0]) & (teff[first] <= teff_range[1])]
    flux, flux_err, wavelength = bin_spectra(
        np.asarray(table["flux"])[keep], np.asarray(table["flux_err"])[keep]
    )
    teff_err = np.asarray(table["teff_err"], dtype=float)
    return BinnedStars(
        flux, flux_err, teff[keep], teff_err[keep], np.asarray(table["source_id"])[keep], wavelength
    )


def split(stars: BinnedStars, *, seed: int, train_fraction: float = 0.6) -> tuple[BinnedStars, BinnedStars]:
    """Training stars and new stars; no star is in both.

    Parameters
    ----------
    stars : BinnedStars
    seed : int
        Another seed gives another split; the same seed the same one.
    train_fraction : float
        Share of training stars.
    """
    if not 0 < train_fraction < 1:
        raise InputError(f"train_fraction is {train_fraction}; it must lie between 0 and 1")
    order = np.random.default_rng(seed).permutation(len(stars.teff))
    n_train = round(train_fraction * len(order))
    return stars.take(order[:n_train]), stars.take(order[n_train:])
