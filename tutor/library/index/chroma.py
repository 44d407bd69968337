"""ChromaDB as the index of vectors: embedded in this process, or a server by its URL.

Chroma answers unfiltered searches from its graph (HNSW); filtered ones are
answered exactly, from the matrix, where Chroma's ``where`` takes a third of a
second at 1e5 vectors. An embedded client does not see what another process adds
after it was opened. So Chroma is never asked what is new: the library's file
says it, vectors Chroma lacks are searched exactly beside it, and of the
processes on one machine only the one that holds a lock writes into it.

Our embedding function is always given (Chroma's own would fetch a model), and
its telemetry is off.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, KeysView
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from statml.errors import InputError, MissingExtraError, ServiceError, StatmlError
from tutor.library.index.embedding import Vectors
from tutor.library.index.matrix import Matrix, lock_alone
from tutor.library.index.passages import Ids, Mask
from tutor.library.index.stored import identity
from tutor.library.store import Library

#: Chroma takes at most 5461 rows a call, and its server 40 MB.
BATCH, NUMBERS = 4000, 4_000_000
#: Neighbours kept and looked at while the graph is built and searched.
GRAPH = {"hnsw:space": "ip", "hnsw:M": 16, "hnsw:construction_ef": 100, "hnsw:search_ef": 100}
_OPENING = threading.Lock()


class ChromaIndex:
    """Approximate search by Chroma, made whole by the exact `Matrix`.

    Parameters
    ----------
    library : Library
    matrix : Matrix
        Refreshed before this index.
    place : Path or str
        A folder for the embedded database, or ``http://host:port`` of a server.

    Raises
    ------
    MissingExtraError
        If chromadb is not installed.
    ServiceError
        If the server does not answer.
    """

    def __init__(self, library: Library, matrix: Matrix, place: Path | str) -> None:
        self._library = library
        self._matrix = matrix
        self._place = place
        self._collection: Any = None
        self._model = ""
        self._lock: Any = None
        self._inside: set[int] = set()
        self._lacking: Ids = np.zeros(0, np.int64)
        self._gone = 0

    @property
    def known(self) -> KeysView[int]:
        """Ids of the passages that have a vector."""
        return self._matrix.known

    def refresh(self) -> None:
        """Open the collection of the library's model, and bring it up to the matrix if we may write."""
        # the matrix's and not the library's, which may by now be another: vectors of two models must not meet
        model = self._matrix.model
        if not model:
            self._collection, self._model = None, ""
            return
        with self._told():
            if model != self._model:
                self._collection = self._open(model)
                self._inside = self._ids_inside()
                self._model = model
            if self._may_write():
                self._synchronise()
        alive = self._matrix.known
        self._lacking = np.array(sorted(alive - self._inside), dtype=np.int64)
        self._gone = len(self._inside - alive)

    def search(self, query: Vectors, k: int, allowed: Mask | None = None) -> tuple[Ids, Vectors]:
        """Ids and cosines of the `k` nearest rows, best first; see `Matrix.search`."""
        if self._collection is None or allowed is not None or not self._inside:
            return self._matrix.search(query, k, allowed)
        asked = min(k + min(self._gone, 10 * k), len(self._inside))
        answer = self._asked(query, asked)
        ids = np.array([int(one) for one in answer["ids"][0]], dtype=np.int64)
        scores = 1 - np.array(answer["distances"][0], dtype=np.float32)
        known = self._matrix.known
        # another thread of this process may have added what is searched beside it here
        kept = np.array([one in known and one in self._inside for one in ids.tolist()], dtype=bool)
        ids, scores = ids[kept], scores[kept]
        if len(self._lacking):
            ids = np.concatenate([ids, self._lacking])
            scores = np.concatenate([scores, self._matrix.rows(self._lacking) @ query])
        best = np.lexsort((ids, -scores))[:k]
        return ids[best], scores[best]

    def _asked(self, query: Vectors, number: int) -> Any:
        def ask() -> Any:
            return self._collection.query(query_embeddings=[query], n_results=number, include=["distances"])

        with suppress(Exception):
            return ask()
        # a server that was restarted may have lost everything: once more from the beginning
        self._model = ""
        self.refresh()
        with self._told():
            return ask()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell any failure of Chroma's own in one sentence."""
        try:
            yield
        except StatmlError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            mend = "remove the folder" if isinstance(self._place, Path) else "start it"
            raise ServiceError(
                f"Chroma at {self._place} does not answer ({reason}): {mend}, or set TUTOR_VECTORS=mapped to do without it"
            ) from error

    def rows(self, ids: Ids) -> Vectors:
        """Vectors of `ids`."""
        return self._matrix.rows(ids)

    def __len__(self) -> int:
        return len(self._matrix)

    def close(self) -> None:
        """Let another process write."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _open(self, model: str) -> Any:
        try:
            import chromadb
            from chromadb.config import Settings
        except ImportError as error:
            raise MissingExtraError(
                "the vector index chroma needs chromadb: install statml[tutor], or set TUTOR_VECTORS=mapped"
            ) from error
        settings = Settings(anonymized_telemetry=False)
        dimension = self._matrix.vectors.shape[1]
        name = re.sub(r"[^A-Za-z0-9]+", "-", model).strip("-")[:50]
        with _alone(self._place):
            if isinstance(self._place, Path):
                client: Any = chromadb.PersistentClient(str(self._place), settings)
                name = f"passages-{name}"
            else:
                url = urlsplit(self._place)
                client = chromadb.HttpClient(
                    url.hostname or "", url.port or 8000, url.scheme == "https", settings=settings
                )
                # a server may hold several libraries, whose passages have the same numbers
                name = f"passages-{identity(self._library)[:12]}-{name}"
            collection = client.get_or_create_collection(
                name,
                metadata={**GRAPH, "model": model, "dimension": dimension},
                embedding_function=_stand_in(),
            )
        stored = collection.metadata or {}
        if stored.get("model") != model or stored.get("dimension") != dimension:
            raise InputError(
                f"Chroma's collection {name} holds vectors of {stored.get('model')}, the library's are of {model}; "
                "remove the collection, it is made anew from the library"
            )
        return collection

    def _may_write(self) -> bool:
        """Hold the lock of the embedded database; a server takes writes from everybody."""
        if not isinstance(self._place, Path) or self._lock is not None:
            return True
        try:
            import fcntl
        except ImportError:
            return True  # Windows: one process is the rule
        lock = (self._place / "writer.lock").open("w")
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return False
        self._lock = lock
        # what another writer added while we had none of it
        self._inside = self._ids_inside()
        return True

    def _ids_inside(self) -> set[int]:
        return {int(one) for one in self._collection.get(include=[])["ids"]}

    def _synchronise(self) -> None:
        alive = self._matrix.known
        lacking = sorted(alive - self._inside)
        batch = min(BATCH, max(1, NUMBERS // max(1, self._matrix.vectors.shape[1])))
        for start in range(0, len(lacking), batch):
            ids = lacking[start : start + batch]
            rows = self._matrix.rows(np.array(ids, dtype=np.int64))
            self._collection.upsert(ids=[str(one) for one in ids], embeddings=rows)
            self._inside.update(ids)
        gone = sorted(self._inside - alive)
        for start in range(0, len(gone), BATCH):
            ids = gone[start : start + BATCH]
            with suppress(ValueError):  # removed by somebody else
                self._collection.delete(ids=[str(one) for one in ids])
            self._inside.difference_update(ids)


@contextmanager
def _alone(place: Path | str) -> Iterator[None]:
    """Let one after the other open an embedded database: Chroma makes tables and clients as if it were alone."""
    if not isinstance(place, Path):
        yield
        return
    place.mkdir(parents=True, exist_ok=True)
    with _OPENING, (place / "opening.lock").open("w") as lock:
        lock_alone(lock.fileno())
        yield


def _stand_in() -> Any:
    """An embedding function that refuses: vectors come from the library, and Chroma must not fetch a model."""
    from chromadb.api.types import EmbeddingFunction

    class LibraryVectors(EmbeddingFunction):  # type: ignore[misc]
        def __init__(self) -> None:
            """Nothing to set up."""

        def __call__(self, input: Any) -> Any:
            raise InputError("vectors are made by the library, Chroma is given them")

        @staticmethod
        def name() -> str:
            return "statml-library"

        def get_config(self) -> dict[str, Any]:
            return {}

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Any:
            return LibraryVectors()

    return LibraryVectors()
