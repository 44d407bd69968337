"""A new file may be opened by several at once: none of them is turned away."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tutor import write_ahead as module
from tutor.library.chunks import Document
from tutor.library.store import Library
from tutor.records import Records
from tutor.records.transcripts import Transcripts
from tutor.write_ahead import write_ahead


def mode(path: Path) -> str:
    """The journal of a file, as a fresh connection finds it."""
    db = sqlite3.connect(path)
    try:
        return str(db.execute("PRAGMA journal_mode").fetchone()[0])
    finally:
        db.close()


@pytest.fixture
def locked(tmp_path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(tmp_path / "file.sqlite", isolation_level=None, check_same_thread=False)
    db.execute("CREATE TABLE t (a)")
    db.execute("BEGIN EXCLUSIVE")
    yield db
    db.close()


def test_it_waits_for_whoever_has_the_file(tmp_path: Path, locked, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            locked.execute("COMMIT")

    monkeypatch.setattr(module.time, "sleep", sleep)
    db = sqlite3.connect(tmp_path / "file.sqlite", timeout=0.0)
    write_ahead(db, 60.0)
    db.close()
    assert len(waited) == 3 and mode(tmp_path / "file.sqlite") == "wal"


def test_its_patience_ends(tmp_path: Path, locked) -> None:
    db = sqlite3.connect(tmp_path / "file.sqlite", timeout=0.0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        write_ahead(db, 0.0)
    db.close()


def test_what_waiting_cannot_mend_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: pytest.fail("it waited"))
    (tmp_path / "file.sqlite").write_text("no database, but long enough to be looked at " * 40)
    db = sqlite3.connect(tmp_path / "file.sqlite", timeout=0.0)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        write_ahead(db, 60.0)
    db.close()


def open_records(path: Path, name: str) -> None:
    with Records(path) as records:
        Transcripts(records).begin(name, "extractive", "none")


def open_library(path: Path, name: str) -> None:
    Library(path).add([Document(name, name, "The light of a star, and what is known of it. " * 4)])


@pytest.mark.parametrize("work", [open_records, open_library])
def test_four_may_open_a_new_file_at_once(tmp_path: Path, work: Callable[[Path, str], None]) -> None:
    # without the waiting one round in eight failed; forty rounds let that pass once in 200
    failures: list[Exception] = []
    for round_ in range(40):
        path, together = tmp_path / f"{round_}.sqlite", threading.Barrier(4)

        def open_it(name: str, path: Path = path, together: threading.Barrier = together) -> None:
            together.wait()
            try:
                work(path, name)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=open_it, args=(f"s{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
