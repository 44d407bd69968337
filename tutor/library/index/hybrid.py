"""Search by words and by meaning together, always over the library as it is now.

Two rankings, BM25 and cosine, become one (`tutor.library.index.fusion`).
Near-repetitions may then be pushed down (maximal marginal relevance), and a
second look may re-order the top. Before every search the library's generation
is compared: one number read from SQLite, and what another process has added is
taken in.

Source: Carbonell and Goldstein 1998, SIGIR, 335 (diversity).
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from statml.errors import InputError
from tutor.library.chunks import Chunk
from tutor.library.index.chroma import ChromaIndex
from tutor.library.index.embedding import Embedder, Vectors
from tutor.library.index.fusion import by_ranks, by_scores
from tutor.library.index.matrix import Matrix
from tutor.library.index.passages import Filter, Ids, Mask, Passages
from tutor.library.index.stored import check_model
from tutor.library.index.words import WordIndex
from tutor.library.search import EMPTY, Hit
from tutor.library.store import Library

Mode = Literal["hybrid", "vectors", "words", "ranks"]

#: How deep each ranking is read.
DEPTH = 100
#: Passages handed to diversity and to a reranker.
TOP = 30


class VectorIndex(Protocol):
    """Nearest vectors: `Matrix` exactly, `ChromaIndex` approximately."""

    @property
    def known(self) -> Container[int]:
        """Ids of the passages that have a vector."""
        ...

    def search(self, query: Vectors, k: int, allowed: Mask | None = None) -> tuple[Ids, Vectors]:
        """Ids and cosines of the `k` nearest, best first."""
        ...

    def rows(self, ids: Ids) -> Vectors:
        """Vectors of `ids`."""
        ...

    def close(self) -> None:
        """Let others write."""
        ...

    def __len__(self) -> int: ...


class Reranker(Protocol):
    """A second look at the top of a hybrid ranking.

    It is given the scores of the first look, and returns one for each passage, the higher the better.
    """

    def __call__(
        self, query: str, chunks: Sequence[Chunk], scores: np.ndarray
    ) -> Sequence[float] | np.ndarray: ...


class LibraryIndex:
    """A `Retriever` over a `Library`: words, vectors, or both.

    Parameters
    ----------
    library : Library
    embedder : Embedder, optional
        Encodes queries; without one, or in a library without vectors, words alone are searched.
    folder : Path, optional
        Where the built indexes are kept; None keeps them in memory.
    vectors : str
        ``mapped``, ``chroma``, or the URL of a Chroma server.
    reranker : Reranker, optional
    diversity : float
        0 ranks by relevance alone; 1 looks at relevance and difference alike.

    Raises
    ------
    InputError
        If the library's vectors were made by another model.
    """

    def __init__(
        self,
        library: Library,
        embedder: Embedder | None = None,
        *,
        folder: Path | None = None,
        vectors: str = "mapped",
        reranker: Reranker | None = None,
        diversity: float = 0.0,
    ) -> None:
        if not 0 <= diversity <= 1:
            raise InputError(f"diversity must be between 0 and 1, got {diversity}")
        self.library = library
        self._embedder = embedder
        self._reranker = reranker
        self._diversity = diversity
        self._generation = -1
        self._passages = Passages(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32))
        self._words = WordIndex(folder / "words" if folder else None)
        self._matrix = Matrix(library, folder / "vectors" if folder else None)
        self._vectors: VectorIndex = self._matrix
        if vectors != "mapped" and (folder is not None or vectors != "chroma"):
            place = folder / "chroma" if folder is not None and vectors == "chroma" else vectors
            self._vectors = ChromaIndex(library, self._matrix, place)
        self.refresh()

    def refresh(self) -> bool:
        """Reload if the library has changed; says whether it had."""
        if self.library.generation == self._generation:
            return False
        # all of one moment: what was listed a line ago may be gone
        with self.library.snapshot():
            generation = self.library.generation
            if self._embedder is not None:
                check_model(self.library, self._embedder)
            passages = self._passages.followed(self.library)
            self._words.refresh(self.library, passages)
            if self._embedder is not None:
                self._matrix.refresh(passages)
        if self._embedder is not None and isinstance(self._vectors, ChromaIndex):
            self._vectors.refresh()
        self._passages, self._generation = passages, generation
        return True

    def close(self) -> None:
        """Let another process write into Chroma; a search takes this up again."""
        self._vectors.close()

    @property
    def has_vectors(self) -> bool:
        """Whether a query is compared by its meaning."""
        return self._embedder is not None and len(self._vectors) > 0

    def weight(self, term: str) -> float:
        """Rarity of a term in the library."""
        return self._words.weight(term)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of `texts` by the library's model.

        Raises
        ------
        InputError
            If no embedder was given.
        """
        if self._embedder is None:
            raise InputError("this index has no embedder: set TUTOR_EMBEDDER")
        return self._embedder(texts)

    def search(self, query: str, k: int, *, only: Filter | None = None, mode: Mode = "hybrid") -> list[Hit]:
        """Return up to `k` passages, best first.

        Parameters
        ----------
        query : str
        k : int
        only : Filter, optional
            Years and categories.
        mode : {"hybrid", "vectors", "words", "ranks"}
            ``hybrid`` sums the scores of both, ``ranks`` goes by the two ranks alone; both are
            ``words`` where there are no vectors.

        Raises
        ------
        InputError
            For an empty library, `k` below 1, or ``vectors`` where there are none.
        """
        return self.search_vector(query, None, k, only=only, mode=mode)

    def search_vector(
        self,
        query: str,
        vector: Vectors | None,
        k: int,
        *,
        only: Filter | None = None,
        mode: Mode = "hybrid",
    ) -> list[Hit]:
        """`search` with the query's vector at hand, ``(dimension,)``."""
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        self.refresh()
        # texts and ranks of one moment, while others add
        with self.library.snapshot():
            return self._found(query, vector, k, only, mode)

    def _found(
        self, query: str, vector: Vectors | None, k: int, only: Filter | None, mode: Mode
    ) -> list[Hit]:
        if not len(self._passages.ids):
            raise InputError(EMPTY)
        if mode == "vectors" and not self.has_vectors:
            raise InputError("the library has no vectors: run `tutor library embed`")
        allowed = self._passages.allowed(only) if only else None
        ids, scores = self._ranked(query, vector, max(DEPTH, k), allowed, mode)
        top = max(k, TOP if self._diversity or self._reranker else 0)
        ids, scores = ids[:top], np.asarray(scores[:top], dtype=float)
        if self._reranker is not None and mode == "hybrid":
            ids, scores = self._reranked(query, ids, scores)
        if self._diversity and self.has_vectors:
            order = diversify(scores, self._vectors.rows(ids), self._diversity)
            ids, scores = ids[order], scores[order]
        score = dict(zip(ids[:k].tolist(), scores[:k].tolist()))
        chosen = [int(one) for one in ids[:k]]
        chunks = self.library.passages(chosen)
        if len(chunks) < len(chosen):  # replaced since the refresh a moment ago
            chosen = [one for one in chosen if self.library.passages([one])]
        return [Hit(chunk, float(score[one])) for chunk, one in zip(chunks, chosen)]

    def _ranked(
        self, query: str, vector: Vectors | None, depth: int, allowed: Mask | None, mode: Mode
    ) -> tuple[Ids, np.ndarray]:
        """The first `depth` of each ranking asked for, best first."""
        if mode == "words" or not self.has_vectors:
            return self._words.search(query, depth, allowed)
        vector = self.encode([query])[0] if vector is None else vector
        near, cosines = self._vectors.search(vector, depth, allowed)
        if mode == "vectors":
            return near, cosines
        words, known = self._words.scores(query), self._vectors.known
        named, _ = self._words.best(words, depth, allowed)
        if mode == "ranks":
            return by_ranks([named, near], alone=[i for i in named.tolist() if i not in known])
        ids = np.union1d(named, near)
        scores = by_scores(
            self._words.of(words, ids) / max(self._words.bound(query), 1e-9),
            self._vectors.rows(ids) @ vector,
            np.array([one in known for one in ids.tolist()], dtype=bool),
        )
        order = np.argsort(-scores, kind="stable")
        return ids[order], scores[order]

    def _reranked(self, query: str, ids: Ids, scores: np.ndarray) -> tuple[Ids, np.ndarray]:
        """The first `TOP` in their new order; the rest keep their places below."""
        assert self._reranker is not None
        first = [place for place, one in enumerate(ids[:TOP]) if self.library.passages([int(one)])]
        if not first:
            return ids, scores
        chunks = self.library.passages([int(ids[place]) for place in first])
        new = np.asarray(self._reranker(query, chunks, scores[first]), dtype=float)
        order = np.argsort(-new, kind="stable")
        rest = scores[TOP:] - max(0.0, float(scores[TOP:].max(initial=-np.inf) - new.min()))
        return np.concatenate([ids[first][order], ids[TOP:]]), np.concatenate([new[order], rest])


def diversify(scores: np.ndarray, vectors: Vectors, diversity: float) -> list[int]:
    """Order by maximal marginal relevance: the score, less likeness to what stands above.

    Parameters
    ----------
    scores : (n,)
        Scaled to 0..1 here.
    vectors : (n, d)
        Of unit length.
    diversity : float
        Weight of the likeness.

    Examples
    --------
    >>> same, other = [1.0, 0.0], [0.0, 1.0]
    >>> diversify(np.array([3.0, 2.9, 2.0]), np.array([same, same, other], np.float32), 1.0)
    [0, 2, 1]
    """
    if not len(scores):
        return []
    spread = scores.max() - scores.min()
    relevance = (scores - scores.min()) / spread if spread > 0 else np.ones(len(scores))
    alike = vectors @ vectors.T
    chosen = [int(np.argmax(relevance))]
    left = [i for i in range(len(scores)) if i != chosen[0]]
    while left:
        value = [relevance[i] - diversity * float(alike[i, chosen].max()) for i in left]
        chosen.append(left.pop(int(np.argmax(value))))
    return chosen
