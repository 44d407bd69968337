"""The tables of the library's file, and how an older file is brought to them.

Format 2 added vectors, harvests that can be taken up again, and ids of passages
that are never used twice (so that an index beside the file can tell a passage
that was replaced from one that stayed).
"""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

from statml.errors import InputError

FORMAT = "2"

_MANIFEST = "CREATE TABLE manifest (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT"
_DOCUMENTS = """
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
) STRICT
"""
_CHUNKS = """
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    section TEXT NOT NULL,
    text TEXT NOT NULL,
    "start" INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    UNIQUE (document, ordinal)
) STRICT
"""
_VECTORS = """
CREATE TABLE vectors (
    chunk INTEGER PRIMARY KEY REFERENCES chunks (id) ON DELETE CASCADE,
    vector BLOB NOT NULL
) STRICT
"""
_HARVESTS = """
CREATE TABLE harvests (
    name TEXT PRIMARY KEY,
    token TEXT NOT NULL,
    received INTEGER NOT NULL,
    changed TEXT NOT NULL
) STRICT
"""

#: What brings a file of the named format to the next one.
_STEPS = {
    "": (_MANIFEST, _DOCUMENTS, _CHUNKS, _VECTORS, _HARVESTS),
    "1": (
        "ALTER TABLE chunks RENAME TO chunks_1",
        _CHUNKS,
        "INSERT INTO chunks SELECT * FROM chunks_1",
        "DROP TABLE chunks_1",
        _VECTORS,
        _HARVESTS,
    ),
}


def prepare(db: sqlite3.Connection, path: Path | None) -> None:
    """Make the tables of a new file, or bring an older one to `FORMAT`, in one transaction.

    Raises
    ------
    InputError
        If the file was written in a format this version does not know.
    """
    # looked at without a lock, so that a reader need not wait for somebody who is adding
    found = _format(db)
    if found in _STEPS:
        db.execute("BEGIN IMMEDIATE")
        try:
            found = _format(db)  # another process may have been quicker
            for statement in _STEPS.get(found, ()):
                db.execute(statement)
            if not found:
                put(db, "generation", "0")
                put(db, "corpus_sha256", corpus_hash(db))
            if found in _STEPS:
                put(db, "format", FORMAT)
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        found = _format(db)
    if found != FORMAT:
        raise InputError(
            f"{path} has library format {found!r}, this version reads {FORMAT!r}; "
            "move it away and run `tutor library add`"
        )


def value(db: sqlite3.Connection, name: str) -> str:
    """An entry of the manifest, the empty text if there is none."""
    row = db.execute("SELECT value FROM manifest WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else ""


def put(db: sqlite3.Connection, name: str, entry: str) -> None:
    """Set an entry of the manifest."""
    db.execute("INSERT OR REPLACE INTO manifest (name, value) VALUES (?, ?)", (name, entry))


def corpus_hash(db: sqlite3.Connection) -> str:
    """Hash of every source id with the hash of its text."""
    digest = hashlib.sha256()
    for source_id, sha256 in db.execute("SELECT source_id, sha256 FROM documents ORDER BY source_id"):
        digest.update(f"{source_id}\0{sha256}\n".encode())
    return digest.hexdigest()


def _format(db: sqlite3.Connection) -> str:
    tables = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'manifest'").fetchone()
    return value(db, "format") if tables else ""
