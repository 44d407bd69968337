"""The student's bundle: text, starter notebook, card and public tests, and nothing else.

The same sources give the same bytes. What is in it is stated in CONTENTS.md,
and where the instructor's half is at hand the bundle is searched for it before
anyone can take it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from course.assignment import ASSIGNMENTS, Assignment, instructor_folder, load, numbers
from course.leaks import distinctive_lines, find_leaks
from statml.errors import DataNotFoundError, InputError, MissingExtraError

_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def starter_notebook(assignment: Assignment) -> str:
    """The starter as a notebook (JSON text), cell ids counted instead of drawn at random."""
    try:
        import jupytext
    except ImportError as error:
        raise MissingExtraError("notebooks need jupytext: pip install 'statml[course]'") from error
    notebook = jupytext.reads(assignment.text, fmt="py:percent")
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{index:02d}"
        cell["metadata"] = {}
    notebook["metadata"] = {"kernelspec": _KERNEL, "language_info": {"name": "python"}}
    return str(jupytext.writes(notebook, fmt="ipynb")).rstrip("\n") + "\n"


def build_student_bundle(out: str | Path, wanted: Sequence[str] | None = None) -> list[Path]:
    """Write the bundle of one or more assignments.

    Parameters
    ----------
    out : path
        Folder to make; it must not exist or be empty.
    wanted : sequence of str, optional
        Assignment numbers; all of them by default.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        `out` holds files, an assignment is unknown, or the bundle would hold
        something of the instructor's.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"out is {out}, which is not an empty folder; give a new one")
    assignments = [load(number) for number in (wanted or numbers())]
    out.parent.mkdir(parents=True, exist_ok=True)
    # Built aside and moved in one step: a bundle is whole or not there.
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".bundle-") as aside:
        folder = Path(aside) / "bundle"
        for assignment in assignments:
            _write(assignment, folder / assignment.name)
        _refuse_leaks(folder)
        (folder / "CONTENTS.md").write_text(_contents(folder), encoding="utf-8")
        if out.exists():
            out.rmdir()
        os.replace(folder, out)
    return sorted(path for path in out.rglob("*") if path.is_file())


def _write(assignment: Assignment, folder: Path) -> None:
    folder.mkdir(parents=True)
    for source in (assignment.starter, assignment.folder / "card.toml", assignment.public_tests):
        shutil.copyfile(source, folder / source.name)
    (folder / "assignment.ipynb").write_text(starter_notebook(assignment), encoding="utf-8")


def _refuse_leaks(folder: Path) -> None:
    try:
        instructor = instructor_folder()
    except DataNotFoundError:
        return  # built from the wheel, which has nothing to leak
    leaks = find_leaks(folder, distinctive_lines(instructor, ASSIGNMENTS))
    if leaks:
        raise InputError(f"the bundle would give away the instructor's half: {leaks[0]}")


def _contents(folder: Path) -> str:
    lines = [
        "# What is in this bundle",
        "",
        "Per assignment: `assignment.ipynb` (text and functions to write), the same as `assignment.py` in",
        "percent format (hand in either), `card.toml` (points, limits, signatures), `tests_public.py`.",
        "Not in it: solutions, hidden tests, rubrics.",
        "",
        "Check yourself with `course check 05 assignment.ipynb`.",
        "",
        "| file | sha256 |",
        "|---|---|",
    ]
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"| {path.relative_to(folder).as_posix()} | {digest} |")
    return "\n".join(lines) + "\n"
