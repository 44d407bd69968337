"""Find passages: one small interface, and BM25 over a list of passages behind it.

`Retriever` is all the rest of the tutor knows of search.
`tutor.library.index.LibraryIndex` takes the same two methods over a library's
file, by words, vectors or both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from statml.errors import InputError
from tutor import language
from tutor.library.chunks import Chunk
from tutor.library.index.words import WordIndex

EMPTY = (
    "the library is empty: run `tutor library add --demo`, or `tutor library add PATH` for your own sources"
)


@dataclass(frozen=True)
class Hit:
    """A passage and its score; scores of one search may be compared, those of two may not."""

    chunk: Chunk
    score: float


class Retriever(Protocol):
    """Search over passages."""

    def search(self, query: str, k: int) -> list[Hit]:
        """Return up to `k` passages, best first; none that has nothing in common with the query."""
        ...

    def weight(self, term: str) -> float:
        """Rarity of a term (`tutor.language.terms`): highest for one that no passage holds."""
        ...


class BM25Retriever:
    """BM25 over stemmed content words.

    Parameters
    ----------
    chunks : sequence of Chunk
        The passages; title, section and authors are searched with the text.

    Raises
    ------
    InputError
        If there are none; the sentence names the command that mends it.
    """

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        if not chunks:
            raise InputError(EMPTY)
        self.chunks = list(chunks)
        self._index = WordIndex()
        terms = [language.terms(chunk.searchable) for chunk in self.chunks]
        self._index.add(range(len(self.chunks)), terms)

    def search(self, query: str, k: int) -> list[Hit]:
        """Return up to `k` passages, best first; equal scores keep the order of the library.

        Raises
        ------
        InputError
            For `k` below 1.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        ids, scores = self._index.search(query, k)
        return [Hit(self.chunks[i], float(score)) for i, score in zip(ids, scores)]

    def weight(self, term: str) -> float:
        """Inverse document frequency, ``log(1 + (N - df + 1/2) / (df + 1/2))``."""
        return self._index.weight(term)
