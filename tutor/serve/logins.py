"""Who may enter: links that work once, sessions that end, and the instructor's secret.

Only SHA-256 digests are stored. Every token is 256 random bits, so a digest
without salt cannot be searched; whoever reads the file can enter with nothing
that is in it. The file lies apart from the records, readable by its owner alone.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from statml.errors import InputError, ServiceError

LINK_SECONDS = 15 * 60
SESSION_SECONDS = 12 * 3600
STUDENT, INSTRUCTOR = "student", "instructor"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
# in one transaction: a file system is asked once to keep its word, and not once a table
_TABLES = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS links (
    digest  TEXT PRIMARY KEY,
    student TEXT NOT NULL,
    ends    REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
    digest  TEXT PRIMARY KEY,
    role    TEXT NOT NULL CHECK (role IN ('student', 'instructor')),
    student TEXT NOT NULL,
    ends    REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS instructor (
    only   INTEGER PRIMARY KEY CHECK (only = 1),
    digest TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS place (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    url  TEXT NOT NULL
) STRICT;
COMMIT;
"""


@dataclass(frozen=True)
class Session:
    """Somebody who has entered: in which role, under which pseudonym, and the token against forged changes."""

    role: str
    student: str
    csrf: str


class Logins:
    """Links, sessions and the instructor's secret in one SQLite file.

    Each call opens the file for itself: threads and processes may share it.

    Parameters
    ----------
    path : Path
    clock : callable, optional
        Seconds since the epoch; for tests.

    Raises
    ------
    ServiceError
        The file cannot be opened.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path, self._clock = path, clock
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            with self._change() as db:
                db.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise ServiceError(f"the logins in {path} cannot be opened: {error}") from error

    def link(self, student: str) -> str:
        """Make a token that lets a student in once within 15 minutes.

        Raises
        ------
        InputError
            `student` is no pseudonym of 1 to 64 letters, digits or ``. _ @ -``.
        """
        token = secrets.token_urlsafe(32)
        ends = self._clock() + LINK_SECONDS
        with self._change() as db:
            db.execute("DELETE FROM links WHERE ends <= ?", (self._clock(),))
            db.execute("DELETE FROM sessions WHERE ends <= ?", (self._clock(),))
            db.execute("INSERT INTO links VALUES (?, ?, ?)", (digest(token), checked_name(student), ends))
        return token

    def enter(self, token: str) -> str | None:
        """Exchange a link's token for a session's; None if it was used, has ended or never was."""
        with self._change() as db:
            row = db.execute(
                "DELETE FROM links WHERE digest = ? RETURNING student, ends", (digest(token),)
            ).fetchone()
            if row is None or row[1] <= self._clock():
                return None
            return self._begin(db, STUDENT, row[0])

    def session(self, token: str) -> Session | None:
        """Whose session a cookie is; None if it has ended."""
        with self._change() as db:
            row = db.execute(
                "SELECT role, student FROM sessions WHERE digest = ? AND ends > ?",
                (digest(token), self._clock()),
            ).fetchone()
        return None if row is None else Session(row[0], row[1], csrf_token(token))

    def leave(self, token: str) -> None:
        """End one session."""
        with self._change() as db:
            db.execute("DELETE FROM sessions WHERE digest = ?", (digest(token),))

    def revoke(self, student: str) -> int:
        """End every session and link of a student; return how many there were."""
        with self._change() as db:
            ended = db.execute(
                "DELETE FROM sessions WHERE role = ? AND student = ?", (STUDENT, student)
            ).rowcount
            return int(ended + db.execute("DELETE FROM links WHERE student = ?", (student,)).rowcount)

    def new_secret(self) -> str:
        """Make the instructor's secret, replacing an older one and ending its sessions."""
        secret = secrets.token_urlsafe(32)
        with self._change() as db:
            db.execute("INSERT OR REPLACE INTO instructor VALUES (1, ?)", (digest(secret),))
            db.execute("DELETE FROM sessions WHERE role = ?", (INSTRUCTOR,))
        return secret

    def enter_instructor(self, secret: str) -> str | None:
        """Exchange the instructor's secret for a session; None if it is not that."""
        with self._change() as db:
            row = db.execute("SELECT digest FROM instructor").fetchone()
            if row is None or not hmac.compare_digest(row[0], digest(secret)):
                return None
            return self._begin(db, INSTRUCTOR, "")

    def set_url(self, url: str) -> None:
        """Note where the server is, for links made on the command line."""
        with self._change() as db:
            db.execute("INSERT OR REPLACE INTO place VALUES (1, ?)", (url,))

    def url(self) -> str:
        """Where the server last started is, or nothing."""
        with self._change() as db:
            row = db.execute("SELECT url FROM place").fetchone()
        return str(row[0]) if row else ""

    def _begin(self, db: sqlite3.Connection, role: str, student: str) -> str:
        token = secrets.token_urlsafe(32)
        ends = self._clock() + SESSION_SECONDS
        db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", (digest(token), role, student, ends))
        return token

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self.path, timeout=10.0)
        try:
            with db:
                yield db
        finally:
            db.close()


def checked_name(student: str) -> str:
    """The pseudonym, if it is one.

    Examples
    --------
    >>> checked_name("student-07")
    'student-07'
    """
    if not _NAME.fullmatch(student):
        raise InputError(
            f"STUDENT must be a pseudonym of 1 to 64 letters, digits or . _ @ -, got {student[:80]!r}"
        )
    return student


def digest(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def csrf_token(session: str) -> str:
    """The token a page sends with every change: it follows from the cookie, which other sites cannot read."""
    return hmac.new(session.encode("utf-8", "surrogateescape"), b"csrf", hashlib.sha256).hexdigest()
