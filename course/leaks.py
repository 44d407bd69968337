"""Does a folder hold anything of the instructor's half?

A student's bundle, the wheel and the sdist are searched for the instructor's
files by name and for every line of theirs that is long enough to be nobody
else's. Lines the student's half shares (imports, signatures) do not count.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from pathlib import Path

from course.syntax import parse

KEPT_BACK = frozenset({"solution.py", "tests_hidden.py", "rubric.yaml"})
TEXT_SUFFIXES = frozenset({".py", ".ipynb", ".md", ".txt", ".toml", ".yaml", ".yml", ".json", ".cfg", ".rst"})
# Shorter lines ("mean, cov = posterior(Phi, y, ...") may be written twice by chance.
SHORTEST = 45


def distinctive_lines(instructor: Path, public: Path) -> dict[str, str]:
    """Lines of ``instructor/assignments`` found nowhere under `public`, with their file.

    Parameters
    ----------
    instructor : Path
        The instructor's folder.
    public : Path
        The folder of the students' halves.

    Returns
    -------
    dict
        Line, white space normalised, to the instructor's file it is from.
    """
    shared = {line for path in _text_files(public) for line in long_lines(path)}
    return {
        line: path.name
        for path in _text_files(instructor / "assignments")
        for line in long_lines(path)
        if line not in shared
    }


def long_lines(path: Path) -> list[str]:
    """The lines of a file that are too long to be anybody else's by chance."""
    lines = (_normalised(line).strip("# ") for line in _text(path).splitlines())
    return [line for line in dict.fromkeys(lines) if len(line) >= SHORTEST]


def code_lines(path: Path) -> list[str]:
    """`long_lines` of a script that lie inside the body of a function: where a solution is."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    inside = {
        _normalised(line)
        for node in ast.walk(parse(text))
        if isinstance(node, ast.FunctionDef)
        for line in lines[node.body[0].lineno - 1 : node.end_lineno]
    }
    return [line for line in long_lines(path) if line in inside]


def find_leaks(folder: Path, distinctive: Iterable[str]) -> list[str]:
    """One sentence for each thing under `folder` that a student must not have."""
    found = []
    needles = list(distinctive)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        inside = path.relative_to(folder)
        if path.name in KEPT_BACK or "instructor" in inside.parts:
            found.append(f"{inside} belongs to the instructor")
        elif path.suffix in TEXT_SUFFIXES:
            text = _normalised(_text(path))
            found += [f"{inside} holds the line {line!r}" for line in needles if line in text]
    return found


def _text_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in TEXT_SUFFIXES)


def _text(path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.name in KEPT_BACK and path.suffix == ".yaml":
        return "\n".join(_strings(text))
    if path.suffix != ".ipynb":
        return text
    # In the file a notebook's lines are JSON strings; compare what they say.
    try:
        cells = json.loads(text)["cells"]
    except (ValueError, KeyError, TypeError):
        return text
    return "\n".join("".join(cell.get("source", "")) for cell in cells)


def _strings(text: str) -> list[str]:
    """Every string of a YAML file, each on one line: a rubric's sentences without its punctuation."""
    import yaml

    found, waiting = [], [yaml.safe_load(text)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            found.append(_normalised(value))
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return found


def _normalised(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
