"""Find passages: one small interface, and BM25 behind it.

`Retriever` is all the rest of the tutor knows of search. A vector index and the
fusion of several rankings take the same two methods.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from statml.errors import InputError, MissingExtraError
from tutor import language
from tutor.library.chunks import Chunk

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
        try:
            import bm25s
        except ImportError as error:
            raise MissingExtraError("the tutor needs bm25s: install statml[tutor]") from error
        self.chunks = list(chunks)
        documents = [language.terms(chunk.searchable) for chunk in self.chunks]
        self._holding: dict[str, int] = {}
        for document in documents:
            for term in set(document):
                self._holding[term] = self._holding.get(term, 0) + 1
        # a term of its own, so that passages without content words do not leave the index empty
        self._index: Any = bm25s.BM25()
        self._index.index([document or ["\0"] for document in documents], show_progress=False)

    def search(self, query: str, k: int) -> list[Hit]:
        """Return up to `k` passages, best first; equal scores keep the order of the library.

        Raises
        ------
        InputError
            For `k` below 1.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        known = [term for term in language.terms(query) if term in self._holding]
        if not known:
            return []  # bm25s fails on a query of which it knows no word
        scores = self._index.get_scores(known)
        order = np.argsort(-scores, kind="stable")[:k]
        return [Hit(self.chunks[i], float(scores[i])) for i in order if scores[i] > 0]

    def weight(self, term: str) -> float:
        """Inverse document frequency, ``log(1 + (N - df + 1/2) / (df + 1/2))``."""
        holding = self._holding.get(term, 0)
        return math.log1p((len(self.chunks) - holding + 0.5) / (holding + 0.5))
