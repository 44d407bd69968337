"""Due dates of assignments, and which of them are over.

They stand in ``due.toml`` (``"05" = 2026-12-01``) in the instructor's folder,
or else in the tutor's home. An assignment without a date is not over: its
solution stays closed.
"""

from __future__ import annotations

import tomllib
from contextlib import suppress
from datetime import date
from pathlib import Path

from course.assignment import instructor_folder
from statml.errors import DataNotFoundError, InputError

FILE = "due.toml"


def due_dates(home: Path) -> dict[str, date]:
    """Number of each assignment with a date, and the date.

    Raises
    ------
    InputError
        The file is not TOML, or holds something that is not a date.
    """
    folders = [home]
    with suppress(DataNotFoundError):
        folders.insert(0, instructor_folder())
    for folder in folders:
        path = folder / FILE
        if path.is_file():
            return _read(path)
    return {}


def over(dates: dict[str, date], today: date) -> frozenset[str]:
    """Assignments whose due date lies before `today`."""
    return frozenset(number for number, day in dates.items() if day < today)


def _read(path: Path) -> dict[str, date]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not readable TOML: {error}") from error
    for number, day in values.items():
        if type(day) is not date:
            raise InputError(f"{path}, entry {number!r} must be a date such as 2026-12-01, got {day!r}")
    return values
