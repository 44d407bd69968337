"""A written answer as a reader sees it, every character traceable to the submission.

Comments, invisible and direction-changing characters and text styled to be
hidden are taken out and reported: what a human cannot see must neither earn
points nor reach a grader. `PlainAnswer.span` leads from the plain text back to
the verbatim place, so evidence can always be shown where it stands.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from tutor.language import sentences

# Longer answers are cut: nobody reads on, and patterns must stay fast.
MAX_CHARACTERS = 20_000

_MARKER = re.compile(r"\A\s*<!--\s*answer:\s*[a-z][a-z0-9_]*\s*-->")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)|\[[^\[\]\n]{0,100}\]:\s{0,10}#[^\n]*", re.DOTALL)
# Attributes are looked at apart and lengths bounded: one pattern for all would take forever on a hostile text.
_OPENING = re.compile(r"<(\w{1,20})\b([^<>]{0,300})>")
_STYLING = re.compile(r"\b(?:style|hidden|color|size)\b", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>\n]{0,200}>")
_INVISIBLE = {"Cf", "Cc", "Co", "Cs"}
_BLANKS = set("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")
_EMPHASIS = set("*`")


@dataclass(frozen=True)
class Hidden:
    """Something a reader does not see: its place in the cell, what it is, its text."""

    start: int
    end: int
    kind: str
    text: str


@dataclass(frozen=True)
class PlainAnswer:
    """A cell's text without what cannot be seen.

    Attributes
    ----------
    source : str
        The cell, verbatim.
    text : str
        What is read: single spaces, paragraphs separated by an empty line.
    origin : tuple of int
        Position in `source` of each character of `text`.
    hidden : tuple of Hidden
        What was taken out.
    cut : bool
        The answer is longer than is read.
    """

    source: str
    text: str
    origin: tuple[int, ...]
    hidden: tuple[Hidden, ...]
    cut: bool

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Place in `source` of ``text[start:end]``."""
        return self.origin[start], self.origin[end - 1] + 1

    def hides_something(self, start: int, end: int) -> bool:
        """Whether something was taken out of ``source[start:end]``."""
        return any(item.start < end and item.end > start for item in self.hidden)

    def paragraphs(self) -> list[list[tuple[int, int]]]:
        """Sentences of each paragraph, as places in `text`."""
        found = []
        start = 0
        for block in self.text.split("\n\n"):
            if block.strip():
                found.append([(start + a, start + b) for a, b in sentences(block)])
            start += len(block) + 2
        return found


def read_plainly(source: str) -> PlainAnswer:
    """Take out of a cell what a reader does not see.

    Examples
    --------
    >>> answer = read_plainly("<!-- answer: q1 -->\\nHeavy <!-- full marks --> ta\\u200bils.")
    >>> answer.text
    'Heavy tails.'
    >>> [(item.kind, item.text) for item in answer.hidden]
    [('comment', 'full marks'), ('invisible characters', '1 of them')]
    """
    kept = source[:MAX_CHARACTERS]
    removed: list[tuple[int, int]] = []
    hidden: list[Hidden] = []
    marker = _MARKER.match(kept)
    if marker:
        removed.append(marker.span())
    last = marker.end() if marker else 0
    for start, end, kind in sorted([*_comments(kept), *_styled(kept)]):
        if end > last:
            start = max(start, last)
            removed.append((start, end))
            hidden.append(Hidden(start, end, kind, _without_marks(kept[start:end])))
            last = end
    removed += [match.span() for match in _TAG.finditer(kept)]
    skip = bytearray(len(kept))
    for start, end in removed:
        skip[start:end] = b"\x01" * (end - start)
    text, origin, invisible = _spaced(kept, skip)
    hidden += [Hidden(place, place + 1, "invisible characters", "") for place in invisible]
    return PlainAnswer(source, text, origin, _joined(hidden), len(source) > MAX_CHARACTERS)


def _comments(kept: str) -> Iterator[tuple[int, int, str]]:
    for match in _COMMENT.finditer(kept):
        yield match.start(), match.end(), "comment"


def _styled(kept: str) -> Iterator[tuple[int, int, str]]:
    lower = kept.lower()
    for match in _OPENING.finditer(kept):
        if _STYLING.search(match.group(2)):
            closing = lower.find(f"</{match.group(1).lower()}", match.end())
            end = lower.find(">", closing) + 1 if closing >= 0 else 0
            yield match.start(), end or len(kept), "hidden text"


def _spaced(kept: str, skip: bytearray) -> tuple[str, tuple[int, ...], list[int]]:
    text: list[str] = []
    origin: list[int] = []
    invisible: list[int] = []
    newlines, space_at = 0, -1
    for place, character in enumerate(kept):
        if skip[place]:
            continue
        if character.isspace():
            newlines += character == "\n"
            space_at = place
            continue
        if unicodedata.category(character) in _INVISIBLE or character in _BLANKS:
            invisible.append(place)
            continue
        if character in _EMPHASIS:
            continue
        if space_at >= 0 and text:
            gap = "\n\n" if newlines > 1 else " "
            text.append(gap)
            origin.extend([space_at] * len(gap))
        newlines, space_at = 0, -1
        for form in unicodedata.normalize("NFKC", character):
            text.append(form)
            origin.append(place)
    return "".join(text), tuple(origin), invisible


def _joined(hidden: list[Hidden]) -> tuple[Hidden, ...]:
    seen = [item for item in hidden if item.text or item.kind != "invisible characters"]
    single = [item for item in hidden if item not in seen]
    if single:
        told = f"{len(single)} of them"
        seen += [Hidden(item.start, item.end, item.kind, told) for item in single]
    return tuple(sorted(seen, key=lambda item: item.start))


def _without_marks(raw: str) -> str:
    return " ".join(re.sub(r"<!--|-->|<[^>]*>", " ", raw).split())
