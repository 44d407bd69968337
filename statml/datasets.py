"""Data sets by name: ``load("gaia_xp")`` gives a table, wherever its file lies.

Each data set is a folder with a card (``card.toml``: what it is, rows, columns with units, source, citation,
licence, SHA-256 of every file) and, where its licence allows, its files. The cards travel with the package;
a file that may not travel is looked for, in this order,

1. beside its card (bundled data sets),
2. under the folder the environment variable ``STATML_DATA`` names,
3. in the user's cache (``pooch.os_cache("statml")``),
4. at the card's URL, downloaded into that cache.

A file counts only if its SHA-256 is the card's, so the same name is the same data everywhere.

>>> from statml import datasets
>>> datasets.list_datasets()  # doctest: +ELLIPSIS
[...'gaia_xp'...]
>>> stars = datasets.load("gaia_xp")
>>> stars["flux"].shape
(4000, 343)
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from statml.errors import DataNotFoundError, InputError, InputTypeError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Column", "DataFile", "DatasetCard", "card", "fetch", "list_datasets", "load"]

CARD_SCHEMA = 1
TIERS = ("real", "semi-synthetic", "synthetic")
_DOWNLOAD_TIMEOUT = 60  # seconds without an answer


@dataclass(frozen=True)
class Column:
    """One column of a data set: its name, its unit (astropy's notation, "" for none), what it holds."""

    name: str
    unit: str
    description: str


@dataclass(frozen=True)
class DataFile:
    """One file of a data set.

    Attributes
    ----------
    path : str
        Relative to the card's folder (bundled), to ``STATML_DATA`` or to the cache.
    sha256 : str
        Hexadecimal digest the file must have.
    url : str or None
        Where it can be downloaded; None if a person has to obtain it.
    """

    path: str
    sha256: str
    url: str | None = None


@dataclass(frozen=True)
class DatasetCard:
    """What is known about a data set without opening it (see `card`).

    Attributes
    ----------
    name, title, description : str
    tier : {"real", "semi-synthetic", "synthetic"}
        Observed; real objects with computed parts; made by our own generator.
    rows : int
    columns : tuple of Column
    source, licence, credit : str
        Where it comes from, under which terms, and the sentence its owners ask for.
    citation : tuple of str
    bundled : bool
        True if the files travel with the package.
    files : tuple of DataFile
    reader : str
        Which reader turns the files into what `load` returns.
    folder : Path
        Where the card lies.
    """

    name: str
    title: str
    description: str
    tier: str
    rows: int
    columns: tuple[Column, ...]
    source: str
    citation: tuple[str, ...]
    licence: str
    credit: str
    bundled: bool
    files: tuple[DataFile, ...]
    reader: str
    folder: Path

    @property
    def units(self) -> dict[str, str]:
        """Units by column name."""
        return {column.name: column.unit for column in self.columns}


def list_datasets() -> list[str]:
    """Return the names of all data sets, in alphabetical order."""
    return sorted(path.parent.name for path in _cards_folder().glob("*/card.toml"))


def card(name: str) -> DatasetCard:
    """Return the card of a data set.

    Parameters
    ----------
    name : str
        One of `list_datasets`.

    Raises
    ------
    InputError
        If there is no such data set, or its card breaks the schema.

    Examples
    --------
    >>> from statml import datasets
    >>> datasets.card("gaia_xp").licence
    'CC BY-SA 3.0 IGO'
    """
    if not isinstance(name, str):
        raise InputTypeError(f"name must be a string, one of {_known()}, not {type(name).__name__}")
    known = list_datasets()
    if name not in known:
        raise InputError(f"name={name!r} is not a data set; known are {_known()}")
    return _read_card(_cards_folder() / name)


def fetch(name: str) -> list[Path]:
    """Return the local paths of a data set's files, downloading what is missing.

    Parameters
    ----------
    name : str
        One of `list_datasets`.

    Returns
    -------
    list of Path
        In the order of ``card(name).files``; each has the SHA-256 its card gives.

    Raises
    ------
    InputError
        If `name` is unknown, or a file found is not the one the card describes.
    DataNotFoundError
        If a file is nowhere and cannot be downloaded; says where to put it.
    """
    found = card(name)
    return [_locate(found, file) for file in found.files]


def load(name: str) -> Any:
    """Load a data set.

    Parameters
    ----------
    name : str
        One of `list_datasets`.

    Returns
    -------
    astropy.table.Table, or what the data set's README says
        Columns carry their units; ``table.meta["card"]`` is the `DatasetCard`.

        ``"gaia_xp"``
            Table of 4,000 stars; ``flux`` and ``flux_err`` have shape (4000, 343), ``table.meta["wavelength"]``
            holds the 343 wavelengths in nm.
        ``"hogg2010"``
            Table of 20 points with ``x, y, x_err, y_err, rho_xy``.
        ``"nist"``
            Dictionary of two Tables, ``"norris"`` and ``"longley"``; ``table.meta["certified"]`` holds the
            certified answers.
        ``"arxiv_demo"``
            List of ten dictionaries with ``id, title, authors, abstract`` and more.
        ``"apogee_asteroseismic"``
            Table of 2,855 giants; its file is yours to obtain.

    Raises
    ------
    InputError, DataNotFoundError
        As `fetch`.

    Examples
    --------
    >>> from statml import datasets
    >>> stars = datasets.load("gaia_xp")
    >>> len(stars), stars["teff"].unit
    (4000, Unit("K"))
    """
    found = card(name)
    return _READERS[found.reader](found, fetch(name))


# --- cards ---


def _cards_folder() -> Path:
    # In a wheel `datasets/` travels as the package `statml._data`; an editable install does not map it, so
    # there the repository's own folder is read.
    package = Path(__file__).resolve().parent
    for folder in (package / "_data", package.parent / "datasets"):
        if folder.is_dir():
            return folder
    raise DataNotFoundError(
        f"statml's data cards are missing: neither {package / '_data'} nor its source folder exists"
    )


def _known() -> str:
    return ", ".join(list_datasets())


def _read_card(folder: Path) -> DatasetCard:
    path = folder / "card.toml"
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        if raw["schema"] != CARD_SCHEMA:
            raise InputError(f"{path}: schema={raw['schema']!r}, this version reads schema {CARD_SCHEMA}")
        result = DatasetCard(
            name=raw["name"],
            title=raw["title"],
            description=raw["description"].strip(),
            tier=raw["tier"],
            rows=raw["rows"],
            columns=tuple(Column(**column) for column in raw["columns"]),
            source=raw["source"].strip(),
            citation=tuple(raw["citation"]),
            licence=raw["licence"],
            credit=raw["credit"].strip(),
            bundled=raw["bundled"],
            files=tuple(DataFile(**file) for file in raw["files"]),
            reader=raw["reader"],
            folder=folder,
        )
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error
    except KeyError as error:
        raise InputError(f"{path}: the field {error.args[0]!r} is missing") from error
    except TypeError as error:
        raise InputError(f"{path}: a column or file has a wrong field ({error})") from error
    if result.name != folder.name:
        raise InputError(f"{path}: name={result.name!r} must be the folder's name, {folder.name!r}")
    if result.tier not in TIERS:
        raise InputError(f"{path}: tier={result.tier!r} must be one of {', '.join(TIERS)}")
    if result.reader not in _READERS:
        raise InputError(f"{path}: reader={result.reader!r} must be one of {', '.join(_READERS)}")
    return result


# --- files ---


def _locate(found: DatasetCard, file: DataFile) -> Path:
    """Find one file in the bundle, ``STATML_DATA``, the cache or on the net."""
    if found.bundled:
        return _verified(found.folder / file.path, file, found.name)
    places = []
    if user_folder := os.environ.get("STATML_DATA"):
        places.append(Path(user_folder).expanduser())
    cache = _cache_folder()
    places.append(cache)
    for place in places:
        if (place / file.path).is_file():
            return _verified(place / file.path, file, found.name)
    if file.url is None:
        raise DataNotFoundError(
            f"data set {found.name!r}: its licence ({found.licence}) does not let us distribute {file.path};"
            f" obtain it from {found.source} and put it at {places[0] / file.path}"
            + ("" if user_folder else " or under the folder STATML_DATA names")
        )
    return _download(found, file, cache)


def _cache_folder() -> Path:
    import pooch

    return Path(pooch.os_cache("statml"))


def _download(found: DatasetCard, file: DataFile, cache: Path) -> Path:
    import pooch

    assert file.url is not None
    target = cache / file.path
    try:
        # pooch writes to a temporary file, checks the hash, then renames: nothing half-written is left.
        pooch.retrieve(
            file.url,
            known_hash=f"sha256:{file.sha256}",
            fname=target.name,
            path=target.parent,
            downloader=pooch.HTTPDownloader(timeout=_DOWNLOAD_TIMEOUT),
        )
    except ValueError as error:
        raise InputError(
            f"data set {found.name!r}: what {file.url} sends has another SHA-256 than its card; nothing kept"
        ) from error
    except OSError as error:  # requests' exceptions are OSErrors
        raise DataNotFoundError(
            f"data set {found.name!r}: {file.url} could not be downloaded ({type(error).__name__});"
            f" get the file by other means and put it at {target}"
        ) from error
    return target


def _verified(path: Path, file: DataFile, name: str) -> Path:
    if not path.is_file():
        raise DataNotFoundError(
            f"data set {name!r}: its bundled file {path} is missing; install statml again"
        )
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != file.sha256:
        raise InputError(
            f"data set {name!r}: {path} is not the file the card describes"
            f" (SHA-256 {digest[:16]}..., expected {file.sha256[:16]}...); replace or remove it"
        )
    return path


# --- readers ---


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


def _read_apogee_asteroseismic(found: DatasetCard, paths: list[Path]) -> Table:
    import numpy as np

    with np.load(paths[0], allow_pickle=False) as archive:
        values, red_clump = archive["data"], archive["label"]
    names = [name for name in found.units if name != "red_clump"]
    return _table(found, dict(zip(names, values.T, strict=True)) | {"red_clump": red_clump})


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


_READERS: dict[str, Callable[[DatasetCard, list[Path]], Any]] = {
    "apogee_asteroseismic": _read_apogee_asteroseismic,
    "csv": _read_csv,
    "gaia_xp": _read_gaia_xp,
    "jsonl": _read_jsonl,
    "nist": _read_nist,
}
