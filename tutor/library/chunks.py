"""Documents and the passages they are cut into.

A passage is about 200 words of one section, cut between sentences, the next one
beginning some 40 words back so that no argument is torn at a seam. Offsets
always count characters of the document's own text: ``document.text[start:end]``
is the passage verbatim.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tutor import language

WORDS = 200
OVERLAP = 40

_HEADING = re.compile(r"^(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Document:
    """A text that may be quoted.

    Attributes
    ----------
    source_id : str
        What a citation names: an arXiv number, a path, ``course/05_...``.
    title, text : str
        `text` is kept as it came; every offset counts its characters.
    kind : str
        ``abstract``, ``markdown`` or ``assignment``; decides how it is cut.
    origin : str
        The file it was read from.
    details : mapping
        What else is known: authors, categories, year, url.
    """

    source_id: str
    title: str
    text: str
    kind: str = "abstract"
    origin: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Hash of title and text: equal means there is nothing new to store."""
        return hashlib.sha256(f"{self.title}\0{self.text}".encode()).hexdigest()


@dataclass(frozen=True)
class Rejected:
    """What a reader could not use: where it stands and why."""

    where: str
    reason: str


@dataclass(frozen=True)
class Chunk:
    """A passage: ``document.text[start:end]``, with the headings it stands under."""

    source_id: str
    title: str
    ordinal: int
    section: str
    text: str
    start: int
    end: int
    authors: str = ""
    url: str = ""

    @property
    def searchable(self) -> str:
        """What search reads: the passage under its title, section and authors."""
        return "\n".join(part for part in (self.title, self.section, self.authors, self.text) if part)

    @property
    def meaning(self) -> str:
        """What a sentence vector is made of: the same without the authors, whose names mean nothing."""
        return "\n".join(part for part in (self.title, self.section, self.text) if part)


def cut(document: Document, *, words: int = WORDS, overlap: int = OVERLAP) -> list[Chunk]:
    """Cut a document into passages.

    Parameters
    ----------
    document : Document
        Markdown and assignments are first divided at their headings.
    words : int
        Words of a passage; one long sentence may exceed it.
    overlap : int
        Words shared by neighbours within a section.

    Returns
    -------
    list of Chunk
        In order; empty for a document without text.
    """
    authors = ", ".join(str(name) for name in document.details.get("authors", ()))
    chunks: list[Chunk] = []
    for section, start, end in _sections(document):
        for first, last in _passages(document.text, start, end, words, overlap):
            text = document.text[first:last]
            chunks.append(
                Chunk(
                    document.source_id,
                    document.title,
                    len(chunks),
                    section,
                    text,
                    first,
                    last,
                    authors,
                    str(document.details.get("url", "")),
                )
            )
    return chunks


def _sections(document: Document) -> Iterator[tuple[str, int, int]]:
    """Yield ``(path of headings, start, end)``; the heading lines themselves belong to no section."""
    text = document.text
    if document.kind == "abstract":
        yield "", 0, len(text)
        return
    fenced = [match.span() for match in _FENCE.finditer(text)]
    path: list[tuple[int, str]] = []
    start = 0
    for heading in _HEADING.finditer(text):
        if any(a <= heading.start() < b for a, b in fenced):
            continue  # a comment in a code block
        yield " > ".join(name for _, name in path), start, heading.start()
        level = len(heading.group(1))
        path = [*((depth, name) for depth, name in path if depth < level), (level, heading.group(2))]
        start = heading.end()
    yield " > ".join(name for _, name in path), start, len(text)


def _passages(text: str, start: int, end: int, words: int, overlap: int) -> Iterator[tuple[int, int]]:
    spans = [(start + a, start + b) for a, b in language.sentences(text[start:end])]
    counts = [len(text[a:b].split()) for a, b in spans]
    first = 0
    while first < len(spans):
        last, total = first, counts[first]
        while last + 1 < len(spans) and total + counts[last + 1] <= words:
            last += 1
            total += counts[last]
        yield spans[first][0], spans[last][1]
        if last + 1 >= len(spans):
            return
        back, shared = last + 1, 0
        while back - 1 > first and shared + counts[back - 1] <= overlap:
            back -= 1
            shared += counts[back]
        first = back
