"""BibTeX: an entry with an abstract is that abstract; one without is its title and where it appeared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tutor.library.chunks import Document, Rejected
from tutor.library.ingest.latex import plain

_ENTRY = re.compile(r"@\s*(?P<kind>\w+)\s*(?P<open>[{(])", re.ASCII)
_FIELD = re.compile(r"\s*,?\s*(?P<name>[\w-]+)\s*=\s*", re.ASCII)
_NO_PAPERS = {"string", "preamble", "comment"}
#: Journals as ADS abbreviates them.
_JOURNALS = {
    "aap": "Astronomy & Astrophysics",
    "aj": "The Astronomical Journal",
    "apj": "The Astrophysical Journal",
    "apjl": "The Astrophysical Journal Letters",
    "apjs": "The Astrophysical Journal Supplement Series",
    "araa": "Annual Review of Astronomy and Astrophysics",
    "mnras": "Monthly Notices of the Royal Astronomical Society",
    "nat": "Nature",
    "pasp": "Publications of the Astronomical Society of the Pacific",
    "prd": "Physical Review D",
    "prl": "Physical Review Letters",
}


def read(path: Path, source_id: str) -> Iterator[Document | Rejected]:
    """Every entry as a document, named by its arXiv number, DOI or key (in this order)."""
    text = path.read_text(encoding="utf-8")
    strings: dict[str, str] = {}
    position = 0
    while (match := _ENTRY.search(text, position)) is not None:
        end = _closing(text, match.end() - 1)
        line = text.count("\n", 0, match.start()) + 1
        if end is None:
            yield Rejected(f"{path}, line {line}", "an entry that is never closed")
            position = match.end()
            continue
        position = end + 1
        body = text[match.end() : end]
        kind = match["kind"].lower()
        if kind == "string":
            strings.update(_fields(body, strings))
        if kind in _NO_PAPERS:
            continue
        key, _, rest = body.partition(",")
        try:
            yield _document(key.strip(), _fields(rest, strings), str(path))
        except ValueError as error:
            yield Rejected(f"{path}, line {line}", str(error))


def _document(key: str, fields: dict[str, str], origin: str) -> Document:
    title = plain(fields.get("title", ""))
    if not title:
        raise ValueError(f"the entry {key or 'without a key'} has no title")
    authors = [plain(_name(one)) for one in re.split(r"\s+and\s+", fields.get("author", "")) if one.strip()]
    journal = fields.get("journal", "").strip()
    journal = _JOURNALS.get(journal.lstrip("\\"), plain(journal))
    year = fields.get("year", "").strip("{} ")
    eprint = re.sub(r"^arXiv:", "", fields.get("eprint", "").strip(), flags=re.IGNORECASE)
    doi = fields.get("doi", "").strip()
    source_id = eprint or (f"doi:{doi}" if doi else key)
    if not source_id:
        raise ValueError(f"the entry {title!r} has no key")
    details: dict[str, object] = {"authors": authors, "bibtex_key": key}
    if year.isdigit():
        details["year"] = int(year)
    if fields.get("primaryclass"):
        details["categories"] = [fields["primaryclass"].strip()]
    if eprint:
        details["url"] = f"https://arxiv.org/abs/{eprint}"
    elif doi:
        details["url"] = f"https://doi.org/{doi}"
    abstract = plain(fields.get("abstract", ""))
    if abstract:
        return Document(source_id, title, abstract, "abstract", origin, details)
    where = ", ".join(part for part in (journal, year) if part)
    return Document(source_id, title, f"{title}. {where}".strip() + ".", "reference", origin, details)


def _name(name: str) -> str:
    """``Last, First`` as ``First Last``."""
    last, comma, first = name.partition(",")
    return f"{first.strip()} {last.strip()}" if comma else name.strip()


def _fields(body: str, strings: dict[str, str]) -> dict[str, str]:
    """``name = {value}`` pairs; values joined by ``#``, names of @string replaced."""
    found: dict[str, str] = {}
    position = 0
    while (match := _FIELD.match(body, position)) is not None:
        value, position = _value(body, match.end(), strings)
        found[match["name"].lower()] = value
    return found


def _value(body: str, position: int, strings: dict[str, str]) -> tuple[str, int]:
    parts = []
    while True:
        while position < len(body) and body[position].isspace():
            position += 1
        if position < len(body) and body[position] in '{"':
            end = _closing(body, position)
            end = len(body) if end is None else end
            parts.append(body[position + 1 : end])
            position = end + 1
        else:
            bare = re.compile(r"[^\s,#]*").match(body, position)
            assert bare is not None
            parts.append(strings.get(bare.group().lower(), bare.group()))
            position = bare.end()
        joined = re.compile(r"\s*#").match(body, position)
        if joined is None:
            return "".join(parts), position
        position = joined.end()


def _closing(text: str, start: int) -> int | None:
    """Where the bracket or quotation mark at `start` closes; None if it does not."""
    opener = text[start]
    closer = {"{": "}", "(": ")", '"': '"'}[opener]
    depth = 0
    for place in range(start + 1, len(text)):
        character = text[place]
        if text[place - 1] == "\\":
            continue
        if character == closer and depth == 0:
            return place
        depth += (character == "{") - (character == "}")
    return None
