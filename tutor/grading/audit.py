"""The audit log: what ran when, with which versions and what it decided; appended, never rewritten.

Every entry goes to the records (where triggers forbid changing it) and, for a
reader without a database, as one line of JSON to ``audit.jsonl``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tutor.records.store import Records, now

AUDIT_FILE = "audit.jsonl"


class Audit:
    """Appends to both logs of a run."""

    def __init__(self, out: Path, records: Records, run: int) -> None:
        self._path = out / AUDIT_FILE
        self._records = records
        self._run = run
        _end_last_line(self._path)

    def log(self, kind: str, **content: Any) -> None:
        """Append one event."""
        self._records.log_event(self._run, kind, content)
        line = json.dumps({"at": now(), "run": self._run, "event": kind, **content}, ensure_ascii=False)
        with open(self._path, "a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(line + "\n")


def _end_last_line(path: Path) -> None:
    # a run that was killed may have left half a line; the next entry must not be glued to it
    if not path.exists() or path.stat().st_size == 0:
        return
    with open(path, "rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")
