"""BM25 over stemmed content words: bm25s for the bulk, the passages added since scored by the same formula.

A score of bm25s holds the rarities of the whole collection, so one more passage
means another index, which takes seconds for tens of thousands. What came after
the last build is therefore kept as counts and scored at the question,

    sum over t of  log(1 + (N - df + 1/2) / (df + 1/2)) * tf / (tf + k1 (1 - b + b L / mean L)),

until it is a tenth of the collection. Source: Robertson and Zaragoza 2009,
Foundations and Trends in IR 3, 333; Lù 2024, arXiv:2407.03618 (bm25s).
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statml.errors import MissingExtraError
from tutor import language
from tutor.library.index.passages import Ids, Mask, Passages
from tutor.library.store import Library

#: Saturation of repetitions and correction for length. Our passages are of like length, and on our questions
#: these (Anserini's) are better than the 1.5 and 0.75 of bm25s.
K1, B = 0.9, 0.4
#: A newer part beyond this share of the whole is built in.
NEWER = 0.1
#: Passages read at a time.
_PART = 2000


class WordIndex:
    """Searches terms; ids and texts come from the library.

    Parameters
    ----------
    folder : Path or None
        Where a built index is kept, for the next process; None keeps none.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._built = _Built.empty()
        self._newer = _Newer()
        self._ids: Ids = np.zeros(0, np.int64)
        self._order: Ids = self._ids
        self._place: Ids = self._ids
        self._read = False

    @property
    def ids(self) -> Ids:
        """Ids of all passages indexed, those of the built part first."""
        return self._ids

    def _number(self) -> None:
        self._ids = np.concatenate([self._built.ids, np.array(self._newer.ids, np.int64)])
        self._order = np.argsort(self._ids, kind="stable")

    def refresh(self, library: Library, passages: Passages) -> None:
        """Take in the passages that came since; forget none before the next build."""
        if not self._read and self._folder is not None:
            self._built = _Built.load(self._folder) or self._built
            self._number()
        self._read = True
        lacking = passages.lacking(self.ids)
        gone = len(self.ids) + len(lacking) - len(passages.ids)
        if len(lacking) + len(self._newer.ids) + gone > NEWER * max(len(passages.ids), 500):
            self._built = _Built.make(passages.ids, library)
            self._newer = _Newer()
            if self._folder is not None:
                self._built.save(self._folder)
        else:
            for ids, terms in _terms(lacking, library):
                self._newer.add(ids, terms)
        self._number()
        self._place = passages.place(self.ids)

    def add(self, ids: Sequence[int], terms: Sequence[list[str]]) -> None:
        """Build over `terms` alone, without a library behind it."""
        self._built = _Built.of(np.array(ids, np.int64), list(terms))
        self._number()
        self._place = np.arange(len(ids), dtype=np.int64)

    def scores(self, query: str) -> NDArray[np.float32]:
        """BM25 of all of `ids`, 0 for a passage without any term of `query`."""
        terms = language.terms(query)
        return np.concatenate([self._built.scores(terms), self._newer.scores(terms, self)])

    def search(self, query: str, k: int, allowed: Mask | None = None) -> tuple[Ids, NDArray[np.float32]]:
        """Ids and scores of the `k` best passages that hold a term of `query`, best first."""
        return self.best(self.scores(query), k, allowed)

    def best(
        self, scores: NDArray[np.float32], k: int, allowed: Mask | None = None
    ) -> tuple[Ids, NDArray[np.float32]]:
        """Ids and scores of the `k` best by `scores`, as `scores` returned them, best first."""
        fit = (self._place >= 0) & (scores > 0)
        if allowed is not None and len(allowed):
            fit &= allowed[np.where(self._place >= 0, self._place, 0)]
        rows = np.flatnonzero(fit)
        found = scores[rows]
        if k < len(rows):
            best = np.argpartition(-found, k - 1)[:k]
            # everything equal to the last one, so that the order of the library decides
            best = np.flatnonzero(found >= found[best].min())
            rows, found = rows[best], found[best]
        order = np.argsort(-found, kind="stable")[:k]
        return self._ids[rows[order]], found[order]

    def of(self, scores: NDArray[np.float32], ids: Ids) -> NDArray[np.float32]:
        """The part of `scores` that belongs to `ids`, all of them indexed."""
        return scores[self._order[np.searchsorted(self._ids, ids, sorter=self._order)]]

    def bound(self, query: str) -> float:
        """What no BM25 of `query` can exceed: each term with its whole weight."""
        return sum(self.weight(term) for term in language.terms(query))

    def weight(self, term: str) -> float:
        """Inverse document frequency, ``log(1 + (N - df + 1/2) / (df + 1/2))``."""
        holding = self._built.holding.get(term, 0) + self._newer.holding[term]
        number = len(self._built.ids) + len(self._newer.ids)
        return math.log1p((number - holding + 0.5) / (holding + 0.5))

    @property
    def mean_length(self) -> float:
        """Mean number of terms of a passage."""
        number = len(self._built.ids) + len(self._newer.ids)
        return (self._built.words + self._newer.words) / number if number else 1.0


class _Built:
    """An index of bm25s with its ids and document frequencies."""

    def __init__(self, ids: Ids, index: Any, holding: dict[str, int], words: int) -> None:
        self.ids, self._index, self.holding, self.words = ids, index, holding, words

    @classmethod
    def empty(cls) -> _Built:
        return cls(np.zeros(0, np.int64), None, {}, 0)

    @classmethod
    def make(cls, ids: Ids, library: Library) -> _Built:
        """Build over the library's passages `ids`."""
        parts = list(_terms(ids, library))
        kept = [one for part, _ in parts for one in part]
        return cls.of(np.array(kept, np.int64), [terms for _, part in parts for terms in part])

    @classmethod
    def of(cls, ids: Ids, terms: list[list[str]]) -> _Built:
        holding: Counter[str] = Counter()
        for document in terms:
            holding.update(set(document))
        index: Any = None
        if len(ids):
            index = _bm25s().BM25(k1=K1, b=B)
            # a term of its own, so that passages without content words do not leave the index empty
            index.index([document or ["\0"] for document in terms], show_progress=False)
        return cls(ids, index, dict(holding), sum(map(len, terms)))

    def scores(self, terms: Sequence[str]) -> NDArray[np.float32]:
        known = [term for term in terms if term in self.holding]
        if not known:  # bm25s fails on a query of which it knows no word
            return np.zeros(len(self.ids), np.float32)
        return np.asarray(self._index.get_scores(known), dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write the index under a new name and then put it into place; a folder that cannot be written is left."""
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(dir=folder, prefix="new-"))
            if self._index is not None:
                self._index.save(str(new), show_progress=False)
            np.save(new / "ids.npy", self.ids)
            entry = {"holding": self.holding, "words": self.words, "constants": [K1, B]}
            (new / "terms.json").write_text(json.dumps(entry), encoding="utf-8")
            name = f"built-{os.getpid()}-{new.name[4:]}"
            new.rename(folder / name)
            current = folder / "current.new"
            current.write_text(name, encoding="utf-8")
            current.replace(folder / "current")
            for old in folder.iterdir():
                if old.is_dir() and old.name != name:
                    shutil.rmtree(old, ignore_errors=True)

    @classmethod
    def load(cls, folder: Path) -> _Built | None:
        """Read what `save` wrote; None where there is nothing whole."""
        try:
            place = folder / (folder / "current").read_text(encoding="utf-8").strip()
            entry = json.loads((place / "terms.json").read_text(encoding="utf-8"))
            if entry["constants"] != [K1, B]:
                return None
            ids = np.load(place / "ids.npy")
            index = _bm25s().BM25.load(str(place), show_progress=False) if len(ids) else None
        except (OSError, ValueError, KeyError):
            return None
        return cls(ids, index, entry["holding"], entry["words"])


class _Newer:
    """Counts of the terms of passages that came after the last build."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.holding: Counter[str] = Counter()
        self.words = 0
        self._counts: list[Counter[str]] = []

    def add(self, ids: Sequence[int], terms: Sequence[list[str]]) -> None:
        for identity, document in zip(ids, terms):
            counts = Counter(document)
            self.ids.append(int(identity))
            self._counts.append(counts)
            self.holding.update(set(counts))
            self.words += len(document)

    def scores(self, terms: Sequence[str], index: WordIndex) -> NDArray[np.float32]:
        weights = [(term, index.weight(term)) for term in terms if term in self.holding]
        mean = index.mean_length
        scores = np.zeros(len(self.ids), np.float32)
        for row, counts in enumerate(self._counts):
            length = K1 * (1 - B + B * counts.total() / mean)
            scores[row] = sum(
                weight * counts[term] / (counts[term] + length) for term, weight in weights if term in counts
            )
        return scores


def _terms(ids: Ids, library: Library) -> list[tuple[list[int], list[list[str]]]]:
    parts = []
    for start in range(0, len(ids), _PART):
        wanted = [int(one) for one in ids[start : start + _PART]]
        chunks = library.passages(wanted)
        if len(chunks) == len(wanted):
            parts.append((wanted, [language.terms(chunk.searchable) for chunk in chunks]))
        else:  # something was replaced under our hands: one by one
            for one in wanted:
                parts += [([one], [language.terms(c.searchable)]) for c in library.passages([one])]
    return parts


def _bm25s() -> Any:
    try:
        import bm25s
    except ImportError as error:
        raise MissingExtraError("the tutor needs bm25s: install statml[tutor]") from error
    return bm25s
