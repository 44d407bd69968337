"""Files: find one that a card describes, in the bundle, the user's folders or on the net, and check it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from statml.datasets.cards import DataFile, DatasetCard
from statml.errors import DataNotFoundError, InputError

_DOWNLOAD_TIMEOUT = 60  # seconds without an answer


def locate(found: DatasetCard, file: DataFile) -> Path:
    """Find one file in the bundle, ``STATML_DATA``, the cache or on the net."""
    if found.bundled:
        return _verified(found.folder / file.path, file, found.name)
    if (path := find(file)) is not None:
        return _verified(path, file, found.name)
    if file.url is None:
        raise DataNotFoundError(
            f"data set {found.name!r}: its licence ({found.licence}) does not let us distribute {file.path};"
            f" obtain it from {found.source} and put it at {_places()[0] / file.path}"
            + ("" if os.environ.get("STATML_DATA") else " or under the folder STATML_DATA names")
        )
    return _download(found, file, _cache_folder())


def find(file: DataFile) -> Path | None:
    """Where a file that is not bundled lies already: under ``STATML_DATA`` or in the cache; None if nowhere."""
    return next((place / file.path for place in _places() if (place / file.path).is_file()), None)


def _places() -> list[Path]:
    user_folder = os.environ.get("STATML_DATA")
    return [*([Path(user_folder).expanduser()] if user_folder else []), _cache_folder()]


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
