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

from collections.abc import Callable
from pathlib import Path
from typing import Any

from statml.datasets.cards import Column, DataFile, DatasetCard, cards_folder, read_card
from statml.datasets.files import locate
from statml.datasets.readers import READERS
from statml.errors import InputError, InputTypeError

__all__ = ["Column", "DataFile", "DatasetCard", "card", "fetch", "list_datasets", "load"]


def list_datasets() -> list[str]:
    """Return the names of all data sets, in alphabetical order."""
    return sorted(path.parent.name for path in cards_folder().glob("*/card.toml"))


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
    found = read_card(cards_folder() / name)
    _reader(found)  # a card whose reader does not exist is broken, whether or not it is loaded
    return found


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
    return [locate(found, file) for file in found.files]


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
    return _reader(found)(found, fetch(name))


def _reader(found: DatasetCard) -> Callable[[DatasetCard, list[Path]], Any]:
    if found.reader not in READERS:
        raise InputError(
            f"{found.folder / 'card.toml'}: reader={found.reader!r} must be one of {', '.join(READERS)}"
        )
    return READERS[found.reader]


def _known() -> str:
    return ", ".join(list_datasets())
