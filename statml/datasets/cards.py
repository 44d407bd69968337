"""Cards: what is known about a data set without opening it, read from its ``card.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from statml.errors import DataNotFoundError, InputError

CARD_SCHEMA = 1
TIERS = ("real", "semi-synthetic", "synthetic")


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
    """What is known about a data set without opening it.

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


def cards_folder() -> Path:
    """Where the cards lie: in the package, or in a checkout beside it."""
    # In a wheel `datasets/` travels as the package `statml._data`; an editable install does not map it, so
    # there the repository's own folder is read.
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_data", package.parent / "datasets"):
        if folder.is_dir():
            return folder
    raise DataNotFoundError(
        f"statml's data cards are missing: neither {package / '_data'} nor its source folder exists"
    )


def read_card(folder: Path) -> DatasetCard:
    """Read and check the card of one folder.

    Raises
    ------
    InputError
        The card breaks the schema.
    """
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
    return result
