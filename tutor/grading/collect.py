"""Find one submission per student in a folder; what cannot be taken is recorded, never the end of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from statml.errors import DataNotFoundError, InputError

_ENDINGS = (".ipynb", ".py")
_PREFERRED = ("submission", "assignment")


@dataclass(frozen=True)
class HandedIn:
    """What one student handed in.

    Attributes
    ----------
    student : str
        Name of the folder or file.
    path : Path or None
        The submission.
    problem : str
        Why there is no usable file; empty where there is one.
    """

    student: str
    path: Path | None
    problem: str = ""


def collect(folder: Path) -> list[HandedIn]:
    """Submissions below `folder`: ``<student>/<file>`` or ``<student>.ipynb`` (also ``.py``), by name.

    Raises
    ------
    DataNotFoundError
        There is no such folder.
    InputError
        It is not a folder, or holds no submission.
    """
    if not folder.exists():
        raise DataNotFoundError(f"SUBMISSIONS is {folder}, which does not exist; give the class's folder")
    if not folder.is_dir():
        raise InputError(f"SUBMISSIONS is {folder}, which is a file; give the folder that holds the class")
    found: dict[str, HandedIn] = {}
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith((".", "__")):
            continue
        if entry.is_symlink():
            given = HandedIn(entry.stem, None, f"{entry.name} is a link; the file itself is needed")
        elif entry.is_dir():
            given = _from_folder(entry)
        elif entry.suffix in _ENDINGS:
            given = HandedIn(entry.stem, entry)
        else:
            continue
        if given.student in found:
            given = HandedIn(given.student, None, "handed in as a file and as a folder; one is needed")
        found[given.student] = given
    if not found:
        raise InputError(
            f"SUBMISSIONS is {folder}, which holds no submission; accepted are <student>/<file> and "
            "<student>.ipynb or .py"
        )
    return [found[student] for student in sorted(found)]


def _from_folder(folder: Path) -> HandedIn:
    files = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix in _ENDINGS and not path.name.startswith(".") and (path.is_symlink() or path.is_file())
    ]
    if len(files) > 1:
        named = [path for path in files if path.stem in _PREFERRED]
        if len(named) != 1:
            listed = ", ".join(path.name for path in files[:5])
            return HandedIn(folder.name, None, f"the folder holds {len(files)} candidates: {listed}")
        files = named
    if not files:
        return HandedIn(folder.name, None, "the folder holds no .ipynb or .py file")
    if files[0].is_symlink():
        # a link could lead to any file of the grader's machine
        return HandedIn(folder.name, None, f"{files[0].name} is a link; the file itself is needed")
    return HandedIn(folder.name, files[0])
