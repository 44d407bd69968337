"""The library on disk: one SQLite file that is the truth about texts and passages.

Indexes (words today, vectors beside them) are built from it and can be thrown
away. Every commit that changes something raises the generation number, so that
a reader with an index in memory sees at once that it is behind; the manifest
carries a hash of the whole corpus.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from statml.errors import DataNotFoundError, InputError
from tutor.library import schema
from tutor.library.chunks import Chunk, Document, Rejected, cut
from tutor.write_ahead import write_ahead

_PASSAGE = (
    'SELECT chunks.id, source_id, title, details, ordinal, section, chunks.text, "start", "end"'
    " FROM chunks JOIN documents ON documents.id = document"
)
#: Documents of one commit: what a crash may cost, and how often readers reload.
BATCH = 1000
_WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class AddReport:
    """What one `Library.add` did, in documents."""

    added: int
    updated: int
    unchanged: int
    rejected: tuple[Rejected, ...]
    generation: int


@dataclass(frozen=True)
class Stats:
    """What the library holds."""

    documents: int
    chunks: int
    words: int
    kinds: dict[str, int]
    generation: int
    corpus_sha256: str


class Library:
    """Documents and passages in SQLite.

    Parameters
    ----------
    path : Path or None
        The file, made with its folders by the first `add`; None keeps the library
        in memory.

    Examples
    --------
    >>> library = Library(None)
    >>> library.add([Document("a", "Stars", "Stars shine.")]).added
    1
    >>> library.add([Document("a", "Stars", "Stars shine.")]).unchanged
    1
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._connection is not None and self.path is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def exists(self) -> bool:
        """Whether there is a library to read."""
        return self._connection is not None or (self.path is not None and self.path.is_file())

    @property
    def generation(self) -> int:
        """Number of commits that changed something; 0 for a library that does not exist."""
        return int(self.manifest("generation")) if self.exists else 0

    def add(self, items: Iterable[Document | Rejected], *, batch: int = BATCH) -> AddReport:
        """Store documents, `batch` of them in each transaction; a crash loses the last one only.

        A document already there with the same text is left alone; with another
        text it is replaced, its passages and vectors with it. What a reader
        rejected is handed through. Adding the same items again after a crash
        takes up where it stopped.

        Parameters
        ----------
        items : iterable of Document or Rejected
            As the readers of `tutor.library.ingest` yield them.
        batch : int
        """
        counts = {"added": 0, "updated": 0, "unchanged": 0}
        rejected: list[Rejected] = []
        # nothing usable must leave no empty library behind: the file is opened at the first document
        stream = iter(items)
        for first in stream:
            if isinstance(first, Document):
                stream = chain([first], stream)
                break
            rejected.append(first)
        else:
            return AddReport(**counts, rejected=tuple(rejected), generation=self.generation)
        while self._add_batch(list(islice(stream, batch)), counts, rejected):
            pass
        return AddReport(**counts, rejected=tuple(rejected), generation=self.generation)

    def _add_batch(
        self, items: Sequence[Document | Rejected], counts: dict[str, int], rejected: list[Rejected]
    ) -> bool:
        """Store one batch; says whether there was anything in it."""
        if not items:
            return False
        with self.transaction() as db:
            generation = int(schema.value(db, "generation")) + 1
            outcomes = [
                item if isinstance(item, Rejected) else self._store(db, item, generation) for item in items
            ]
            if "added" in outcomes or "updated" in outcomes:
                schema.put(db, "generation", str(generation))
                schema.put(db, "corpus_sha256", schema.corpus_hash(db))
        for outcome in outcomes:
            if isinstance(outcome, Rejected):
                rejected.append(outcome)
            else:
                counts[outcome] += 1
        return True

    def _store(self, db: sqlite3.Connection, document: Document, generation: int) -> str | Rejected:
        chunks = cut(document)
        if not chunks:
            return Rejected(document.origin or document.source_id, "it holds no text")
        old = db.execute(
            "SELECT id, sha256, kind, origin FROM documents WHERE source_id = ?", (document.source_id,)
        ).fetchone()
        if old is not None:
            if old["sha256"] == document.sha256 and old["kind"] == document.kind:
                return "unchanged"
            if document.kind != "abstract" and old["origin"] != document.origin:
                return Rejected(
                    document.origin, f"the id {document.source_id!r} already stands for {old['origin']}"
                )
            db.execute("DELETE FROM documents WHERE id = ?", (old["id"],))
        cursor = db.execute(
            "INSERT INTO documents (source_id, title, text, kind, origin, details, sha256, generation)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                document.source_id,
                document.title,
                document.text,
                document.kind,
                document.origin,
                json.dumps(dict(document.details), ensure_ascii=False, sort_keys=True),
                document.sha256,
                generation,
            ),
        )
        db.executemany(
            'INSERT INTO chunks (document, ordinal, section, text, "start", "end") VALUES (?, ?, ?, ?, ?, ?)',
            [(cursor.lastrowid, c.ordinal, c.section, c.text, c.start, c.end) for c in chunks],
        )
        return "added" if old is None else "updated"

    def document(self, source_id: str) -> Document:
        """Return one document.

        Raises
        ------
        InputError
            If the library holds no such source.
        """
        row = self.reading().execute("SELECT * FROM documents WHERE source_id = ?", (source_id,)).fetchone()
        if row is None:
            raise InputError(f"the library holds no source {source_id!r}")
        return _document(row)

    def documents(self) -> list[Document]:
        """All documents, ordered by source id."""
        return [_document(r) for r in self.reading().execute("SELECT * FROM documents ORDER BY source_id")]

    def chunks(self) -> list[Chunk]:
        """All passages, ordered by source id and place."""
        rows = self.reading().execute(f"{_PASSAGE} ORDER BY source_id, ordinal")
        return [_chunk(row) for row in rows]

    def passages(self, ids: Sequence[int]) -> list[Chunk]:
        """The passages of these ids (``chunks.id``), in their order; one that is gone is left out."""
        marks = ", ".join("?" * len(ids))
        rows = self.reading().execute(f"{_PASSAGE} WHERE chunks.id IN ({marks})", list(ids))
        found = {row["id"]: _chunk(row) for row in rows}
        return [found[one] for one in ids if one in found]

    def stats(self) -> Stats:
        """Count what is held."""
        db = self.reading()
        kinds = {
            row["kind"]: row["number"]
            for row in db.execute(
                "SELECT kind, count(*) AS number FROM documents GROUP BY kind ORDER BY kind"
            )
        }
        documents = self.documents()
        return Stats(
            documents=len(documents),
            chunks=db.execute("SELECT count(*) FROM chunks").fetchone()[0],
            words=sum(len(d.text.split()) for d in documents),
            kinds=kinds,
            generation=self.generation,
            corpus_sha256=self.manifest("corpus_sha256"),
        )

    def verify(self) -> list[str]:
        """Check the file against itself; return the faults found, none for a sound library.

        SQLite's own check, every document's hash, every passage's offsets, and
        the hash of the whole corpus.
        """
        db = self.reading()
        faults = [f"SQLite: {row[0]}" for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
        texts: dict[str, str] = {}
        for row in db.execute("SELECT * FROM documents ORDER BY source_id"):
            texts[row["source_id"]] = row["text"]
            if _document(row).sha256 != row["sha256"]:
                faults.append(f"{row['source_id']}: its text does not fit its hash")
        with_chunks = set()
        for chunk in self.chunks():
            with_chunks.add(chunk.source_id)
            if texts[chunk.source_id][chunk.start : chunk.end] != chunk.text:
                faults.append(f"{chunk.source_id}: passage {chunk.ordinal} does not stand where it says")
        faults += [f"{source}: has no passages" for source in sorted(set(texts) - with_chunks)]
        if schema.corpus_hash(db) != self.manifest("corpus_sha256"):
            faults.append("the corpus does not fit the hash in the manifest")
        return faults

    def manifest(self, name: str) -> str:
        """An entry of the manifest, the empty text if there is none."""
        return schema.value(self.reading(), name)

    def reading(self) -> sqlite3.Connection:
        """The connection, for queries that change nothing."""
        if not self.exists and self.path is not None:
            raise DataNotFoundError(f"there is no library at {self.path}: run `tutor library add --demo`")
        return self._open()

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(
                    f"cannot make the library folder {self.path.parent} ({error.strerror}); set TUTOR_HOME"
                ) from error
        try:
            # autocommit: transactions are opened and closed in `transaction` alone
            db = sqlite3.connect(self.path or ":memory:", isolation_level=None, timeout=_WAIT_SECONDS)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA foreign_keys = ON")
            if self.path is not None:
                write_ahead(db, _WAIT_SECONDS)
            schema.prepare(db, self.path)
        except sqlite3.Error as error:
            raise InputError(
                f"{self.path} cannot be read as a library ({error}); move it away and run `tutor library add`"
            ) from error
        self._connection = db
        return db

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """What is read inside is the library at one moment, whatever others add or replace meanwhile."""
        db = self.reading()
        db.execute("BEGIN")
        try:
            db.execute("SELECT 1 FROM manifest").fetchone()  # the moment is that of the first question
            yield db
        finally:
            db.execute("COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction for writing: committed at the end, taken back on any error."""
        db = self._open()
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise InputError(f"{self.path} cannot be written ({error}); is another tutor adding?") from error
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise


def _document(row: sqlite3.Row) -> Document:
    return Document(
        row["source_id"], row["title"], row["text"], row["kind"], row["origin"], json.loads(row["details"])
    )


def _chunk(row: sqlite3.Row) -> Chunk:
    details = json.loads(row["details"])
    return Chunk(
        row["source_id"],
        row["title"],
        row["ordinal"],
        row["section"],
        row["text"],
        row["start"],
        row["end"],
        ", ".join(map(str, details.get("authors", ()))),
        str(details.get("url", "")),
    )
