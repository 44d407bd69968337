"""The records: what was graded, when, with which versions; one SQLite file.

Only pseudonyms enter. A result is stored in one transaction under a key that
covers everything it depends on, so a run that was killed finds what it had
finished.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from course.schema import SCHEMA_VERSION, AiUseEntry, CriterionResult, Result, TestResult
from statml.errors import InputError, ServiceError
from tutor.records.migrate import migrate
from tutor.write_ahead import write_ahead

_WAIT_SECONDS = 10.0
_TEST = ("name", "title", "visibility", "status", "points", "max_points", "message", "seconds")


class Records:
    """Open (and create, and bring up to date) the records in a file.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    ServiceError
        The file is not a database of ours, is locked, or was written by a newer version.

    Examples
    --------
    >>> with Records(":memory:") as records:
    ...     run = records.start_run("grade", "05", {"grader": "1"})
    ...     records.results(run)
    []
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        try:
            self._db = sqlite3.connect(self.path, timeout=_WAIT_SECONDS, isolation_level=None)
            try:
                write_ahead(self._db, _WAIT_SECONDS)
                self._db.execute("PRAGMA foreign_keys = ON")
                migrate(self._db, self.path)
            except BaseException:
                self._db.close()
                raise
        except sqlite3.Error as error:
            raise ServiceError(f"the records in {self.path} cannot be opened: {error}") from error
        self._db.row_factory = sqlite3.Row

    def start_run(self, kind: str, assignment: str, versions: Mapping[str, str]) -> int:
        """Begin a run and return its number."""
        with self._transaction():
            cursor = self._db.execute(
                "INSERT INTO runs (kind, assignment, started_at, versions) VALUES (?, ?, ?, ?)",
                (kind, assignment, now(), json.dumps(dict(versions))),
            )
        return int(cursor.lastrowid or 0)

    def finish_run(self, run: int) -> None:
        """Note that a run came to its end."""
        with self._transaction():
            self._db.execute("UPDATE runs SET finished_at = ? WHERE id = ?", (now(), run))

    def has_result(self, key: str) -> bool:
        """Whether a result with this key has been stored."""
        return self._db.execute("SELECT 1 FROM results WHERE key = ?", (key,)).fetchone() is not None

    def save_result(self, run: int, key: str, result: Result, ai_use: tuple[AiUseEntry, ...] = ()) -> None:
        """Store a result with all its parts, or nothing.

        Parameters
        ----------
        run : int
        key : str
            Digest of everything the result depends on.
        result : Result
            `result.student` must be a pseudonym.
        ai_use : tuple of AiUseEntry
            What the student documented.

        Raises
        ------
        InputError
            There is a result with this key already.
        """
        with self._transaction():
            if self.has_result(key):
                raise InputError(f"key is {key[:12]}..., for which a result is already stored")
            submission = self._submission(result)
            self._db.execute(
                "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    key,
                    submission,
                    run,
                    now(),
                    SCHEMA_VERSION,
                    int(result.executed),
                    json.dumps(result.flags),
                    json.dumps(result.versions),
                ),
            )
            self._save_tests(key, result.tests)
            self._save_criteria(key, result.criteria)
            self._db.execute("DELETE FROM ai_use WHERE submission_id = ?", (submission,))
            self._db.executemany(
                "INSERT INTO ai_use (submission_id, position, entry) VALUES (?, ?, ?)",
                [(submission, n, entry.model_dump_json()) for n, entry in enumerate(ai_use)],
            )
            self._db.execute("INSERT INTO run_results VALUES (?, ?)", (run, key))

    def use_result(self, run: int, key: str) -> Result:
        """Take a stored result into a run, and return it."""
        result = self.result(key)
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO run_results VALUES (?, ?)", (run, key))
        return result

    def result(self, key: str) -> Result:
        """The result stored under a key.

        Raises
        ------
        InputError
            There is none.
        """
        row = self._db.execute(
            "SELECT * FROM results JOIN submissions ON submissions.id = submission_id WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            raise InputError(f"key is {key[:12]}..., for which no result is stored")
        return Result(
            schema_version=row["schema"],
            assignment=row["assignment"],
            student=row["student"],
            submission_sha256=row["sha256"],
            executed=bool(row["executed"]),
            tests=tuple(self._tests(key)),
            criteria=tuple(self._criteria(key)),
            flags=tuple(json.loads(row["flags"])),
            versions=json.loads(row["versions"]),
        )

    def results(self, run: int) -> list[Result]:
        """The results a run delivers, by pseudonym."""
        keys = self._db.execute(
            "SELECT result_key FROM run_results JOIN results ON key = result_key "
            "JOIN submissions ON submissions.id = submission_id WHERE run_results.run_id = ? ORDER BY student",
            (run,),
        ).fetchall()
        return [self.result(row["result_key"]) for row in keys]

    def log_event(self, run: int | None, kind: str, content: Mapping[str, Any]) -> None:
        """Append to the event log, which cannot be changed afterwards."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO events (run_id, at, kind, content) VALUES (?, ?, ?, ?)",
                (run, now(), kind, json.dumps(dict(content))),
            )

    def events(self, run: int) -> list[tuple[str, dict[str, Any]]]:
        """Kind and content of a run's events, in order."""
        rows = self._db.execute("SELECT kind, content FROM events WHERE run_id = ? ORDER BY id", (run,))
        return [(row["kind"], json.loads(row["content"])) for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Records:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing: what is done on the connection inside the block is kept at its end."""
        with self._transaction():
            yield self._db

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """For questions alone: no lock is taken, so that nobody waits for a reader and no reader waits."""
        try:
            yield self._db
        except sqlite3.OperationalError as error:
            raise ServiceError(f"the records in {self.path} cannot be read: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has ended it already
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            raise ServiceError(f"the records in {self.path} cannot be written: {error}") from error

    def _submission(self, result: Result) -> int:
        identity = (result.student, result.assignment, result.submission_sha256)
        self._db.execute(
            "INSERT OR IGNORE INTO submissions (student, assignment, sha256, received_at) VALUES (?, ?, ?, ?)",
            (*identity, now()),
        )
        row = self._db.execute(
            "SELECT id FROM submissions WHERE student = ? AND assignment = ? AND sha256 = ?", identity
        ).fetchone()
        return int(row["id"])

    def _save_tests(self, key: str, tests: tuple[TestResult, ...]) -> None:
        rows = [(key, n, *(getattr(test, name) for name in _TEST)) for n, test in enumerate(tests)]
        self._db.executemany("INSERT INTO test_results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def _save_criteria(self, key: str, criteria: tuple[CriterionResult, ...]) -> None:
        for position, item in enumerate(criteria):
            stored = item.model_dump(mode="json")
            self._db.execute(
                "INSERT INTO criterion_results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    key,
                    position,
                    item.criterion,
                    item.question,
                    item.points,
                    item.max_points,
                    json.dumps(stored["evidence"]),
                    json.dumps(stored["distribution"]),
                    item.source,
                    item.status,
                    int(item.needs_human),
                    json.dumps(item.flags),
                    item.feedback,
                    json.dumps(item.versions),
                ),
            )

    def _tests(self, key: str) -> Iterator[TestResult]:
        for row in self._db.execute(
            "SELECT * FROM test_results WHERE result_key = ? ORDER BY position", (key,)
        ):
            yield TestResult(**{name: row[name] for name in _TEST})

    def _criteria(self, key: str) -> Iterator[CriterionResult]:
        query = "SELECT * FROM criterion_results WHERE result_key = ? ORDER BY position"
        for row in self._db.execute(query, (key,)):
            plain = {name: row[name] for name in ("criterion", "question", "points", "max_points", "source")}
            parsed = {
                name: json.loads(row[name]) for name in ("evidence", "distribution", "flags", "versions")
            }
            yield CriterionResult(
                **plain,
                **parsed,
                status=row["status"],
                needs_human=bool(row["needs_human"]),
                feedback=row["feedback"],
            )


def now() -> str:
    """The time as stored everywhere: UTC, ISO 8601, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
