"""The library of XP spectra is read out of a wheel: one row for each star, missing values NaN."""

import gzip
import io
import zipfile

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal

from statml import datasets
from statml.datasets.spectra import MEMBER, RENAMED, WAVELENGTH, library_columns
from statml.errors import InputError

CARD = datasets.card("gaia_xp_library")


def wheel(path, table):
    stream = io.BytesIO()
    fits.BinTableHDU(table).writeto(stream)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, gzip.compress(stream.getvalue()))
    return path


def small_table():
    kinds = {"source_id": "i8", "apogee_id": "S30", "flux": ("f4", 343), "flux_err": ("f4", 343)}
    described = [(RENAMED.get(n, n), *np.atleast_1d(kinds.get(n, "f4"))) for n in CARD.units]
    table = np.zeros(
        4, [(name, kind, int(shape[0])) if shape else (name, kind) for name, kind, *shape in described]
    )
    table["gaiaedr3_source_id"] = [7, 3, 7, 5]
    table["snr"] = [10, 20, 30, 40]
    table["teff"] = [5000, 5100, 5200, 5300]
    table["ak_targ"] = [0.1, -85, 0.2, 13.7]
    table["apogee_id"] = b"2M0001 "
    return table


def test_the_best_row_of_each_star_is_kept_and_sentinels_are_not(tmp_path):
    columns = library_columns(wheel(tmp_path / "x.whl", small_table()), list(CARD.units))
    assert list(columns) == list(CARD.units)
    assert_array_equal(columns["source_id"], [3, 5, 7])
    assert_array_equal(columns["teff"], [5100, 5300, 5200])
    assert_array_equal(np.isnan(columns["ak_targ"]), [True, True, False])
    assert columns["flux"].shape == (3, 343) and columns["flux"].dtype == float
    assert columns["apogee_id"][0] == "2M0001"


def test_another_file_is_refused(tmp_path):
    for content in (b"no archive", None):
        path = tmp_path / "y.whl"
        if content is None:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("other.txt", "")
        else:
            path.write_bytes(content)
        with pytest.raises(InputError, match=r"holds no table .* accepted is the wheel"):
            library_columns(path, list(CARD.units))


@pytest.mark.slow
@pytest.mark.data
def test_the_bundled_sample_is_part_of_it(xp_library):
    stars, sample = xp_library, datasets.load("gaia_xp")
    assert len(stars) == len(np.unique(stars["source_id"])) == CARD.rows
    assert_array_equal(stars.meta["wavelength"], WAVELENGTH)
    same = stars[np.searchsorted(stars["source_id"], sample["source_id"])]
    assert_array_equal(same["source_id"], sample["source_id"])
    assert_allclose(same["teff"], sample["teff"])
    assert np.max(np.abs(same["flux"] - sample["flux"]) / sample["flux_err"]) <= 1 / 64
    labelled = np.isfinite(stars["fe_h"]) & np.isfinite(stars["alpha_m"]) & (stars["teff"] < 7500)
    assert labelled.sum() == 35_326


@pytest.fixture
def xp_library():
    from statml.datasets.files import find

    if not all(find(file) for file in CARD.files):
        pytest.skip(f"{CARD.files[0].path} is neither under $STATML_DATA nor in the cache")
    return datasets.load("gaia_xp_library")
