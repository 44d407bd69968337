"""The library on disk: one SQLite file that is the truth about texts and passages.

Indexes (words today, vectors beside them) are built from it and can be thrown
away. Every commit that changes something raises the generation number, so that
a reader with an index in memory sees at once that it is behind; the manifest
carries a hash of the whole corpus.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from statml.errors import DataNotFoundError, InputError
from tutor.library.chunks import Chunk, Document, cut
from tutor.library.sources import Rejected

FORMAT = "1"

_SCHEMA = """
CREATE TABLE manifest (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    source_id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    kind TEXT NOT NULL,
    origin TEXT NOT NULL,
    details TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    generation INTEGER NOT NULL
) STRICT;
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    section TEXT NOT NULL,
    text TEXT NOT NULL,
    "start" INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    UNIQUE (document, ordinal)
) STRICT;
"""


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
        return int(self._manifest("generation")) if self.exists else 0

    def add(self, items: Iterable[Document | Rejected]) -> AddReport:
        """Store documents in one transaction: all of them or, after a crash, none.

        A document already there with the same text is left alone; with another
        text it is replaced. What a reader rejected is handed through.

        Parameters
        ----------
        items : iterable of Document or Rejected
            As the readers of `tutor.library.sources` yield them.
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
        with self._transaction() as db:
            generation = int(_value(db, "generation")) + 1
            for item in stream:
                if isinstance(item, Rejected):
                    rejected.append(item)
                    continue
                outcome = self._store(db, item, generation)
                if isinstance(outcome, Rejected):
                    rejected.append(outcome)
                else:
                    counts[outcome] += 1
            if counts["added"] + counts["updated"]:
                _set(db, "generation", str(generation))
                _set(db, "corpus_sha256", _corpus_hash(db))
            else:
                generation -= 1
        return AddReport(**counts, rejected=tuple(rejected), generation=generation)

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
        row = self._read().execute("SELECT * FROM documents WHERE source_id = ?", (source_id,)).fetchone()
        if row is None:
            raise InputError(f"the library holds no source {source_id!r}")
        return _document(row)

    def documents(self) -> list[Document]:
        """All documents, ordered by source id."""
        return [_document(r) for r in self._read().execute("SELECT * FROM documents ORDER BY source_id")]

    def chunks(self) -> list[Chunk]:
        """All passages, ordered by source id and place."""
        rows = self._read().execute(
            'SELECT source_id, title, details, ordinal, section, chunks.text, "start", "end"'
            " FROM chunks JOIN documents ON documents.id = document ORDER BY source_id, ordinal"
        )
        return [_chunk(row) for row in rows]

    def stats(self) -> Stats:
        """Count what is held."""
        db = self._read()
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
            corpus_sha256=self._manifest("corpus_sha256"),
        )

    def verify(self) -> list[str]:
        """Check the file against itself; return the faults found, none for a sound library.

        SQLite's own check, every document's hash, every passage's offsets, and
        the hash of the whole corpus.
        """
        db = self._read()
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
        if _corpus_hash(db) != self._manifest("corpus_sha256"):
            faults.append("the corpus does not fit the hash in the manifest")
        return faults

    def _manifest(self, name: str) -> str:
        return _value(self._read(), name)

    def _read(self) -> sqlite3.Connection:
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
            # autocommit: transactions are opened and closed in `_transaction` alone
            db = sqlite3.connect(self.path or ":memory:", isolation_level=None, timeout=30)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA foreign_keys = ON")
            if self.path is not None:
                db.execute("PRAGMA journal_mode = WAL")
            self._prepare(db)
        except sqlite3.Error as error:
            raise InputError(
                f"{self.path} cannot be read as a library ({error}); move it away and run `tutor library add`"
            ) from error
        self._connection = db
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        # looked at without a lock, so that a reader need not wait for somebody who is adding
        if not _has_manifest(db):
            db.execute("BEGIN IMMEDIATE")
            try:
                if not _has_manifest(db):
                    for statement in _SCHEMA.split(";\n"):
                        db.execute(statement)
                    _set(db, "format", FORMAT)
                    _set(db, "generation", "0")
                    _set(db, "corpus_sha256", _corpus_hash(db))
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise
        if _value(db, "format") != FORMAT:
            raise InputError(
                f"{self.path} has library format {_value(db, 'format')!r}, this version reads {FORMAT!r}; "
                "move it away and run `tutor library add`"
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
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


def _has_manifest(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'manifest'").fetchone() is not None


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


def _value(db: sqlite3.Connection, name: str) -> str:
    row = db.execute("SELECT value FROM manifest WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else ""


def _set(db: sqlite3.Connection, name: str, value: str) -> None:
    db.execute("INSERT OR REPLACE INTO manifest (name, value) VALUES (?, ?)", (name, value))


def _corpus_hash(db: sqlite3.Connection) -> str:
    digest = hashlib.sha256()
    for row in db.execute("SELECT source_id, sha256 FROM documents ORDER BY source_id"):
        digest.update(f"{row['source_id']}\0{row['sha256']}\n".encode())
    return digest.hexdigest()
