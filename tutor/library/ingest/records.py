"""Records of papers: JSON lines of our own form, Kaggle's arXiv snapshot, saved answers of arXiv."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tutor.library.chunks import Document, Rejected
from tutor.library.ingest import arxiv_xml

ARXIV = re.compile(r"^(?:(?P<new>\d{4})\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/(?P<old>\d{4})\d{3})(?:v\d+)?$")
#: What of the snapshot is kept.
SUBJECT = "astro-ph"


def read_lines(path: Path, source_id: str) -> Iterator[Document | Rejected]:
    """One document a line, streamed; lines of Kaggle's snapshot outside `SUBJECT` are passed over."""
    with gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
                if isinstance(entry, dict) and "authors_parsed" in entry:
                    if not any(one.startswith(SUBJECT) for one in str(entry.get("categories")).split()):
                        continue
                    entry = _from_snapshot(entry)
                yield record(entry, str(path))
            except (ValueError, RecursionError) as error:
                yield Rejected(f"{path}, line {number}", str(error))


def read_xml(path: Path, source_id: str) -> Iterator[Document | Rejected]:
    """The papers of a saved answer of arXiv's OAI-PMH or API."""
    for entry in arxiv_xml.parse(path.read_bytes()).papers:
        try:
            yield record(entry, str(path))
        except ValueError as error:
            yield Rejected(f"{path}, {entry.get('id') or 'a paper without id'}", str(error))


def record(entry: Any, origin: str) -> Document:
    """Make a document of ``{id, title, abstract or text, authors?, categories?, year?, license?}``.

    Raises
    ------
    ValueError
        With what is missing.
    """
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
    year = entry.get("year") or str(entry.get("created", ""))[:4] or arxiv_year(source_id)
    if str(year).isdigit():
        details["year"] = int(year)
    if isinstance(entry.get("license"), str):
        details["license"] = entry["license"]
    if ARXIV.match(source_id):
        details["url"] = f"https://arxiv.org/abs/{source_id}"
    title = " ".join(str(wanted["title"]).split())
    return Document(source_id, title, str(body), "abstract", origin, details)


def arxiv_year(source_id: str) -> int | str:
    """The year an arXiv number was given out, the empty text for another id.

    Examples
    --------
    >>> arxiv_year("2507.09622"), arxiv_year("astro-ph/9901001"), arxiv_year("notes.md")
    (2025, 1999, '')
    """
    match = ARXIV.match(source_id)
    if match is None:
        return ""
    number = int((match["new"] or match["old"])[:2])
    return number + (1900 if number > 90 else 2000)


def _from_snapshot(entry: dict[str, Any]) -> dict[str, Any]:
    names = [
        " ".join(part for part in reversed(author[:2]) if part)
        for author in entry["authors_parsed"]
        if isinstance(author, list) and all(isinstance(part, str) for part in author)
    ]
    abstract = entry.get("abstract")
    return {
        **{name: entry.get(name) for name in ("id", "title", "license")},
        # the snapshot breaks lines where the authors' mail did
        "abstract": " ".join(abstract.split()) if isinstance(abstract, str) else abstract,
        "authors": names,
        "categories": str(entry.get("categories")).split(),
    }


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
