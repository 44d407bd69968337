"""Readers: turn the files of a data set into what a student works with."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from statml.datasets.cards import DatasetCard

if TYPE_CHECKING:
    from astropy.table import Table


def _table(found: DatasetCard, columns: dict[str, Any]) -> Table:
    """Make a table with the card's columns, in the card's order, with its units."""
    from astropy.table import Table
    from astropy.units import Unit

    table = Table({name: columns[name] for name in found.units})
    for column in found.columns:
        table[column.name].description = column.description
        if column.unit:
            table[column.name].unit = Unit(column.unit)
    table.meta["card"] = found
    return table


def _read_csv(found: DatasetCard, paths: list[Path]) -> Table:
    return _table(found, _csv_columns(paths[0]))


def _csv_columns(path: Path) -> dict[str, Any]:
    from astropy.table import Table

    table = Table.read(path, format="ascii.csv")
    return {name: table[name].data for name in table.colnames}


def _read_jsonl(found: DatasetCard, paths: list[Path]) -> list[dict[str, Any]]:
    with paths[0].open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _read_nist(found: DatasetCard, paths: list[Path]) -> dict[str, Table]:
    """Return one table per CSV file; the card writes its columns as ``table.column``."""
    *tables, certified = paths
    answers = tomllib.loads(certified.read_text(encoding="utf-8"))
    result = {}
    for path in tables:
        prefix = path.stem + "."
        own = tuple(
            replace(column, name=column.name.removeprefix(prefix))
            for column in found.columns
            if column.name.startswith(prefix)
        )
        result[path.stem] = _table(replace(found, columns=own), _csv_columns(path))
        result[path.stem].meta = {"card": found, "certified": answers[path.stem]}
    return result


def _read_nist_curves(found: DatasetCard, paths: list[Path]) -> dict[str, Table]:
    """Return one table for each problem, with its certified answers and its model."""
    import numpy as np

    from statml.datasets.curves import MODELS

    columns = _csv_columns(paths[0])
    result = {}
    for name, answers in tomllib.loads(paths[1].read_text(encoding="utf-8")).items():
        rows = columns["problem"] == name
        # Only nelson has a second predictor; elsewhere the column is masked.
        values = {c: np.ma.filled(columns[c][rows].astype(float), np.nan) for c in found.units}
        own = tuple(column for column in found.columns if not np.all(np.isnan(values[column.name])))
        result[name] = _table(replace(found, columns=own), values)
        result[name].meta = {"card": found, "certified": answers, "model": MODELS[name]}
    return result


def _read_apogee_asteroseismic(found: DatasetCard, paths: list[Path]) -> Table:
    import numpy as np

    with np.load(paths[0], allow_pickle=False) as archive:
        values, red_clump = archive["data"], archive["label"]
    names = [name for name in found.units if name != "red_clump"]
    return _table(found, dict(zip(names, values.T, strict=True)) | {"red_clump": red_clump})


def _read_correlation_lengths(found: DatasetCard, paths: list[Path]) -> Table:
    """Two tables under one set of names; the second writes nothing where only an upper limit is known."""
    import csv

    import numpy as np

    named = {
        "li21": ("Mass", "error_Mass", "lSFR", "error_lSFR", "L_K19N2O2"),
        "li23": ("log(Mstar)", "error_log(Mstar)", "log(SFR)", "error_log(SFR)", "lcorr"),
    }
    numbers = [name for name in found.units if name not in ("sample", "name", "upper_limit")]
    columns: dict[str, list[Any]] = {name: [] for name in found.units}
    for path, (sample, (*values, length)) in zip(paths, named.items(), strict=True):
        wanted = [*values, f"{length}_50", f"{length}_16", f"{length}_84"]
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                columns["sample"].append(sample)
                columns["name"].append(row["name"])
                columns["upper_limit"].append(row[f"{length}_50"] == "")
                for name, key in zip(numbers, wanted, strict=True):
                    columns[name].append(float(row[key] or "nan"))
    return _table(found, {name: np.array(values) for name, values in columns.items()})


def _read_sculptor(found: DatasetCard, paths: list[Path]) -> Table:
    """The columns of the file in its order, under the card's names."""
    return _table(found, dict(zip(found.units, _csv_columns(paths[0]).values(), strict=True)))


def _read_gaia_xp(found: DatasetCard, paths: list[Path]) -> Table:
    import numpy as np

    with np.load(paths[0], allow_pickle=False) as archive:
        columns: dict[str, Any] = dict(archive)
    wavelength = columns.pop("wavelength").astype(float)
    columns["flux_err"] = columns["flux_err"].astype(float)
    columns["flux"] = columns.pop("flux_steps") * (columns["flux_err"] / columns.pop("steps_per_sigma"))
    for name, values in columns.items():
        if values.dtype.kind == "f":
            columns[name] = values.astype(float)
    columns["apogee_id"] = columns["apogee_id"].astype(str)
    table = _table(found, columns)
    table.meta["wavelength"] = wavelength
    return table


def _read_hubble_stamps(found: DatasetCard, paths: list[Path]) -> Table:
    import numpy as np

    with np.load(paths[0], allow_pickle=False) as archive:
        columns = {
            name: values if name == "npix" else values.astype(float) for name, values in archive.items()
        }
    return _table(found, columns)


def _read_gaia_100pc(found: DatasetCard, paths: list[Path]) -> Table:
    """The archive's table, with our endings of the names of errors, and NaN for what is missing."""
    import numpy as np

    columns = {name.replace("_error", "_err"): values for name, values in _csv_columns(paths[0]).items()}
    for name, values in columns.items():
        if values.dtype.kind == "f":
            columns[name] = np.ma.filled(values, np.nan)
    return _table(found, columns)


def _read_rr_lyrae_stripe82(found: DatasetCard, paths: list[Path]) -> Table:
    import numpy as np
    from astropy.table import Table

    named = {
        "id": "__SIG2010_",
        "type": "Type",
        "period": "Per",
        "amp_g": "gAmp",
        "ra": "RAJ2000",
        "dec": "DEJ2000",
        "extinction_r": "Ar",
        "distance": "Dist",
        "mag_g": "gmag",
        "mag_v": "Vmag",
    }
    table = Table.read(paths[0], format="fits")
    columns: dict[str, Any] = {ours: np.array(table[theirs]) for ours, theirs in named.items()}
    columns["type"] = np.char.strip(columns["type"].astype(str))
    for name, values in columns.items():
        if values.dtype.kind == "f":  # the file's byte order is not the machine's
            columns[name] = values.astype(float)
    return _table(found, columns)


def _read_rr_lyrae_light_curves(found: DatasetCard, paths: list[Path]) -> Table:
    """Measurements of all stars and bands one below the other; missing ones are left out."""
    import gzip
    import tarfile

    import numpy as np

    lines = gzip.decompress(paths[1].read_bytes()).decode("ascii").splitlines()
    stars = {int(line.split()[0]): line.split()[1:3] for line in lines if not line.startswith("#")}
    pieces: list[Any] = []
    with tarfile.open(paths[0]) as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member) if member.name.endswith(".dat") else None
            if content is None:
                continue
            star = int(Path(member.name).stem)
            # Two coordinates, then time, magnitude and error in each of five bands.
            rows = np.array(content.read().split(), dtype=float).reshape(-1, 17)[:, 2:].reshape(-1, 5, 3)
            for band, values in zip("ugriz", rows.transpose(1, 0, 2)):
                # -99.99 and errors of 99.999 stand for no measurement.
                measured = values[(values[:, 1] > 0) & (values[:, 2] < 99)]
                pieces.append((np.full(len(measured), star), np.full(len(measured), band), measured))
    ids, bands, values = (np.concatenate(part) for part in zip(*pieces))
    order = np.lexsort((values[:, 0], bands, ids))
    ids, bands, values = ids[order], bands[order], values[order]
    columns = dict(zip(("mjd", "mag", "mag_err"), values.T)) | {"id": ids, "band": bands}
    columns["type"] = np.array([stars[star][0] for star in ids])
    columns["period"] = np.array([float(stars[star][1]) for star in ids])
    return _table(found, columns)


def _read_nucleosynthesis_curves(found: DatasetCard, paths: list[Path]) -> Table:
    """Vector columns, one for each channel; the ages are in ``meta``."""
    import numpy as np
    from astropy import units as u

    with np.load(paths[0], allow_pickle=False) as archive:
        channels = {
            str(name): archive["cumulative"][:, i].astype(float) for i, name in enumerate(archive["channels"])
        }
        table = _table(found, {"element": archive["elements"], **channels})
        table.meta["age"] = archive["time_Myr"] * u.Myr
    return table


def _read_stellar_correlations(found: DatasetCard, paths: list[Path]) -> Table:
    """Pairs from one triangular matrix and two lists."""
    matrix, *lists = paths
    rows: list[tuple[str, str, str, float]] = []
    header, *lines = matrix.read_text(encoding="utf-8").splitlines()
    symbols = header.removeprefix("#").split()
    first = [symbols.index(symbol) == i for i, symbol in enumerate(symbols)]  # carbon is there twice
    for i, line in enumerate(lines):
        for j, value in enumerate(line.split()[:i]):
            if first[i] and first[j]:
                rows.append(("mead25", symbols[j], symbols[i], float(value)))
    for path, sample in zip(lists, ("ting22_0.1", "ting22_0.05"), strict=True):
        for line in path.read_text(encoding="utf-8").splitlines():
            one, other, value = line.split()
            rows.append((sample, one, other, float(value)))
    return _table(found, dict(zip(found.units, map(list, zip(*rows, strict=True)), strict=True)))


def _read_occam_clusters(found: DatasetCard, paths: list[Path]) -> Table:
    import numpy as np
    from astropy.table import Table

    named = {"name": "NAME", "quality": "QUAL"}
    table = Table.read(paths[0], format="fits")
    columns: dict[str, Any] = {}
    for name in found.units:
        values = table[named.get(name, name.upper())]
        # the file's byte order is not the machine's
        if values.dtype.kind == "S":
            columns[name] = np.char.strip(values.astype(str))
        elif values.dtype.kind == "f":
            columns[name] = np.ma.filled(values.astype(float), np.nan)
        else:
            columns[name] = np.array(values, dtype=int)
    return _table(found, columns)


def _read_gaia_xp_library(found: DatasetCard, paths: list[Path]) -> Table:
    from statml.datasets.spectra import WAVELENGTH, library_columns

    table = _table(found, library_columns(paths[0], list(found.units)))
    table.meta["wavelength"] = WAVELENGTH
    return table


READERS: dict[str, Callable[[DatasetCard, list[Path]], Any]] = {
    "apogee_asteroseismic": _read_apogee_asteroseismic,
    "correlation_lengths": _read_correlation_lengths,
    "csv": _read_csv,
    "gaia_100pc": _read_gaia_100pc,
    "gaia_xp": _read_gaia_xp,
    "gaia_xp_library": _read_gaia_xp_library,
    "hubble_stamps": _read_hubble_stamps,
    "jsonl": _read_jsonl,
    "nist": _read_nist,
    "nist_curves": _read_nist_curves,
    "nucleosynthesis_curves": _read_nucleosynthesis_curves,
    "occam_clusters": _read_occam_clusters,
    "rr_lyrae_stripe82": _read_rr_lyrae_stripe82,
    "rr_lyrae_light_curves": _read_rr_lyrae_light_curves,
    "sculptor": _read_sculptor,
    "stellar_correlations": _read_stellar_correlations,
}
