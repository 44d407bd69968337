"""Vectors in the library's file: made once for every passage, in commits of a few hundred.

The file is the truth; memory-mapped matrices and Chroma's index are copies that
are brought up to it. The manifest names the model and the length of its
vectors, and nothing made by another model is stored or compared.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from statml.errors import InputError
from tutor.library import schema
from tutor.library.index.embedding import Embedder, Vectors
from tutor.library.store import Library

#: Passages encoded between two commits: what a kill may cost.
CHECKPOINT = 512
#: Passages encoded between two reports of progress.
REPORT = 128


@dataclass(frozen=True)
class EmbedReport:
    """What one `embed` did."""

    embedded: int
    seconds: float
    model: str

    @property
    def rate(self) -> float:
        """Passages a second."""
        return self.embedded / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class VectorStats:
    """What the library's vectors are; `model` is empty where there are none."""

    vectors: int
    passages: int
    model: str
    dimension: int
    corpus_sha256: str


def embed(
    library: Library,
    embedder: Embedder,
    *,
    checkpoint: int = CHECKPOINT,
    done: Callable[[int], None] = lambda number: None,
) -> EmbedReport:
    """Give every passage that lacks one its vector.

    Parameters
    ----------
    library : Library
    embedder : Embedder
    checkpoint : int
        Passages of one commit; passages of like length are encoded together.
    done : callable
        Told the number of passages, a few seconds' work at a time.

    Raises
    ------
    InputError
        If the library's vectors were made by another model.
    """
    check_model(library, embedder)
    began, embedded = time.perf_counter(), 0
    while True:
        rows = (
            library.reading()
            .execute(
                "SELECT id FROM chunks WHERE id NOT IN (SELECT chunk FROM vectors) ORDER BY id LIMIT ?",
                (checkpoint,),
            )
            .fetchall()
        )
        if not rows:
            break
        ids = [row["id"] for row in rows]
        chunks = library.passages(ids)
        if len(chunks) == len(ids):
            store(library, embedder, ids, _encoded(embedder, [chunk.meaning for chunk in chunks], done))
            embedded += len(ids)
    # not only where something was encoded: a kill may have come between the last vector and this
    if library.manifest("vectors_corpus_sha256") != library.manifest("corpus_sha256"):
        with library.transaction() as db:
            schema.put(db, "vectors_corpus_sha256", schema.value(db, "corpus_sha256"))
    return EmbedReport(embedded, time.perf_counter() - began, embedder.id)


def _encoded(embedder: Embedder, texts: Sequence[str], done: Callable[[int], None]) -> Vectors:
    # texts of like length together, so that parts are padded no more than the whole would be
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    parts = []
    for start in range(0, len(order), REPORT):
        parts.append(embedder([texts[i] for i in order[start : start + REPORT]]))
        done(len(parts[-1]))
    return np.concatenate(parts)[np.argsort(order)]


def store(library: Library, embedder: Embedder, ids: Sequence[int], vectors: Vectors) -> None:
    """Write vectors of the passages `ids` in one commit, and raise the generation.

    Raises
    ------
    InputError
        For vectors of another model or length, or that are not finite.
    """
    if vectors.shape != (len(ids), embedder.dimension) or not np.isfinite(vectors).all():
        raise InputError(
            f"vectors must be finite and of shape ({len(ids)}, {embedder.dimension}), got {vectors.shape}"
        )
    rows = [(chunk, row.tobytes()) for chunk, row in zip(ids, np.ascontiguousarray(vectors, np.float32))]
    with library.transaction() as db:
        check_model(library, embedder)
        if not schema.value(db, "embedder"):
            schema.put(db, "embedder", embedder.id)
            schema.put(db, "dimension", str(embedder.dimension))
        # a passage that was replaced while it was being encoded is passed over
        db.executemany(
            "INSERT OR REPLACE INTO vectors (chunk, vector) SELECT id, ? FROM chunks WHERE id = ?",
            [(vector, chunk) for chunk, vector in rows],
        )
        schema.put(db, "generation", str(int(schema.value(db, "generation")) + 1))


def forget(library: Library) -> None:
    """Drop every vector and the name of their model."""
    with library.transaction() as db:
        db.execute("DELETE FROM vectors")
        db.execute("DELETE FROM manifest WHERE name IN ('embedder', 'dimension', 'vectors_corpus_sha256')")
        schema.put(db, "generation", str(int(schema.value(db, "generation")) + 1))


def identity(library: Library) -> str:
    """A name no other library has; given when it is first asked for, and kept in the file."""
    if not library.manifest("identity"):
        with library.transaction() as db:
            schema.put(db, "identity", schema.value(db, "identity") or uuid.uuid4().hex)
    return library.manifest("identity")


def check_model(library: Library, embedder: Embedder) -> None:
    """Refuse an embedder that is not the one the library's vectors were made by.

    Raises
    ------
    InputError
        With both names and the commands that mend it.
    """
    if not library.exists:
        return
    model = library.manifest("embedder")
    if model and model != embedder.id:
        raise InputError(
            f"the library's vectors were made by {model}, the embedder now is {embedder.id}: vectors of two "
            "models cannot be compared; set TUTOR_EMBEDDER back, or run `tutor library embed --anew`"
        )
    dimension = library.manifest("dimension")
    if dimension and int(dimension) != embedder.dimension:
        raise InputError(
            f"the library's vectors have length {dimension}, {embedder.id} now makes {embedder.dimension}; "
            "run `tutor library embed --anew`"
        )


def vector_stats(library: Library) -> VectorStats:
    """Count vectors and name their model."""
    db = library.reading()
    return VectorStats(
        vectors=db.execute("SELECT count(*) FROM vectors").fetchone()[0],
        passages=db.execute("SELECT count(*) FROM chunks").fetchone()[0],
        model=library.manifest("embedder"),
        dimension=int(library.manifest("dimension") or 0),
        corpus_sha256=library.manifest("vectors_corpus_sha256"),
    )


def verify_vectors(library: Library) -> list[str]:
    """Faults of the stored vectors: a wrong length, a number that is none, a length other than one, no model."""
    db = library.reading()
    stats = vector_stats(library)
    if not stats.vectors:
        return []
    if not stats.model:
        return ["the vectors name no model: run `tutor library embed --anew`"]
    faults = []
    for chunk, blob in db.execute("SELECT chunk, vector FROM vectors ORDER BY chunk"):
        if len(blob) != 4 * stats.dimension:
            faults.append(f"vector of passage {chunk}: {len(blob)} bytes, {4 * stats.dimension} are due")
            continue
        length = float(np.linalg.norm(np.frombuffer(blob, np.float32)))
        if not abs(length - 1) < 1e-3:
            faults.append(f"vector of passage {chunk}: its length is {length:.4g}, not 1")
    if stats.vectors == stats.passages and stats.corpus_sha256 != library.manifest("corpus_sha256"):
        faults.append("the vectors were made for another corpus: run `tutor library embed`")
    return faults
