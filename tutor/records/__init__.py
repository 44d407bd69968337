"""What was graded, reviewed and examined: one SQLite file, migrated by numbered SQL files."""

from __future__ import annotations

from tutor.records.store import Records

__all__ = ["Records"]
