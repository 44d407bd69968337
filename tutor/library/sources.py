"""Readers: files into documents. What cannot be read is reported and skipped, never fatal.

================  =====================================================================
``*.jsonl[.gz]``  one object a line: ``id``, ``title``, ``abstract`` (or ``text``), and
                  optionally ``authors``, ``categories``, ``year``
``*.md``          Markdown; the first heading is the title
``*.py``          a course assignment in the percent format: its Markdown cells
================  =====================================================================
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from statml.errors import DataNotFoundError, InputError
from tutor.library.chunks import Document

SUFFIXES = (".jsonl", ".jsonl.gz", ".md", ".py")

_ARXIV = re.compile(r"^(?:\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})(?:v\d+)?$")
_CELL = re.compile(r"^# %%(.*)$", re.MULTILINE)
_TITLE = re.compile(r"^#\s+(.+?)\s*#*\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Rejected:
    """What a reader could not use: where it stands and why."""

    where: str
    reason: str


def read(paths: Iterable[Path]) -> Iterator[Document | Rejected]:
    """Yield the documents of files and folders, in order of name.

    Parameters
    ----------
    paths : iterable of Path
        In a folder, files of other kinds are passed over; hidden ones too.

    Raises
    ------
    DataNotFoundError
        For a path that does not exist (before anything is read).
    InputError
        For a file named outright whose kind has no reader.
    """
    listed = list(paths)
    for path in listed:
        if not path.exists():
            raise DataNotFoundError(f"there is no file or folder {path} to add")
        if path.is_file() and _suffix(path) is None:
            raise InputError(f"{path.name} is of no kind that can be added; accepted: {', '.join(SUFFIXES)}")
    return _read_all(listed)


def _read_all(paths: Iterable[Path]) -> Iterator[Document | Rejected]:
    for path in paths:
        if path.is_file():
            yield from read_file(path)
            continue
        for file in sorted(p for p in path.rglob("*") if p.is_file() and _suffix(p)):
            if not any(part.startswith(".") for part in file.relative_to(path).parts):
                yield from read_file(file)


def read_file(path: Path, source_id: str | None = None) -> Iterator[Document | Rejected]:
    """Yield the documents of one file; `source_id` names a Markdown file or assignment."""
    suffix = _suffix(path)
    try:
        if suffix in (".jsonl", ".jsonl.gz"):
            yield from _jsonl(path)
            return
        text = path.read_text(encoding="utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        yield Rejected(str(path), f"cannot be read: {error}")
        return
    name = source_id or _relative(path)
    if suffix == ".md":
        yield Document(name, _title(text, path.stem), text, "markdown", str(path))
    elif (cells := _markdown_cells(text)) is None:
        yield Rejected(str(path), "is Python without Markdown cells (# %% [markdown])")
    else:
        yield Document(name, _title(cells, path.parent.name), cells, "assignment", str(path))


def _suffix(path: Path) -> str | None:
    return next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), None)


def _relative(path: Path) -> str:
    """A file's id: its path as seen from here, else from the root."""
    full = path.resolve()
    return (full.relative_to(Path.cwd()) if full.is_relative_to(Path.cwd()) else full).as_posix()


def _title(text: str, otherwise: str) -> str:
    heading = _TITLE.search(text)
    return heading.group(1) if heading else otherwise


def _jsonl(path: Path) -> Iterator[Document | Rejected]:
    with gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                yield _record(json.loads(line), str(path))
            except (ValueError, RecursionError) as error:
                yield Rejected(where, str(error))


def _record(entry: Any, origin: str) -> Document:
    if not isinstance(entry, dict):
        raise ValueError("is not a JSON object")
    body = entry.get("abstract") or entry.get("text")
    wanted = {"id": entry.get("id"), "title": entry.get("title"), "abstract": body}
    for name, value in wanted.items():
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"has no {name}" + (" (or text)" if name == "abstract" else ""))
    if not _encodable(json.dumps(entry, ensure_ascii=False)):
        raise ValueError("holds half a character (a lone surrogate)")
    source_id = str(wanted["id"]).strip()
    details: dict[str, Any] = {}
    for name in ("authors", "categories"):
        value = entry.get(name)
        if isinstance(value, str):
            value = [value]
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            details[name] = value
    year = entry.get("year") or str(entry.get("created", ""))[:4]
    if str(year).isdigit():
        details["year"] = int(year)
    if _ARXIV.match(source_id):
        details["url"] = f"https://arxiv.org/abs/{source_id}"
    title = " ".join(str(wanted["title"]).split())
    return Document(source_id, title, str(body), "abstract", origin, details)


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _markdown_cells(text: str) -> str | None:
    """The Markdown cells of a percent-format file, without their comment marks; None if there are none."""
    marks = list(_CELL.finditer(text))
    cells = []
    for mark, following in zip_longest(marks, marks[1:]):
        if "[markdown]" not in mark.group(1):
            continue
        body = text[mark.end() : following.start() if following else len(text)]
        lines = [re.sub(r"^# ?", "", line) for line in body.strip().splitlines() if line.startswith("#")]
        cells.append("\n".join(lines).strip())
    return "\n\n".join(cell for cell in cells if cell) or None
