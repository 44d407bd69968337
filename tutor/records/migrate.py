"""Bring a database to the newest schema: numbered SQL files, applied in order, each in one transaction."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from importlib import resources

from statml.errors import ServiceError


def migrations() -> list[tuple[int, str]]:
    """Version and SQL of every migration, in order."""
    folder = resources.files("tutor.records") / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda f: f.name)
    return [(int(file.name.split("_")[0]), file.read_text(encoding="utf-8")) for file in files]


def migrate(connection: sqlite3.Connection, path: str) -> int:
    """Apply what is missing and return the version.

    Raises
    ------
    ServiceError
        The database was written by a newer version of this program.
    """
    steps = migrations()
    if _version(connection) == steps[-1][0]:
        return steps[-1][0]  # nothing to write: whoever only reads must not wait for a writer
    # two programs may open a new database at once: the second waits here and finds the work done
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL)"
        )
        row = connection.execute("SELECT max(version) FROM schema_version").fetchone()
        current, newest = row[0] or 0, steps[-1][0]
        if current > newest:
            raise ServiceError(
                f"the records in {path} have schema version {current}, this program knows {newest}; "
                "upgrade it with pip install --upgrade 'statml[tutor]'"
            )
        for version, sql in steps:
            if version > current:
                for statement in _statements(sql):
                    connection.execute(statement)
                applied = (version, datetime.now(UTC).isoformat(timespec="seconds"))
                connection.execute("INSERT INTO schema_version VALUES (?, ?)", applied)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return newest


def _version(connection: sqlite3.Connection) -> int:
    known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'"
    if connection.execute(known).fetchone() is None:
        return 0
    return int(connection.execute("SELECT max(version) FROM schema_version").fetchone()[0] or 0)


def _statements(sql: str) -> list[str]:
    # executescript would commit first and leave half a migration behind when it fails
    statements, lines = [], ""
    for line in sql.splitlines(keepends=True):
        lines += line
        if sqlite3.complete_statement(lines):
            statements.append(lines)
            lines = ""
    return statements
