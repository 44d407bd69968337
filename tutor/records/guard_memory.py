"""What a student has been shown of the solutions: one row an assignment, over all her conversations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tutor.records.store import Records

#: The row of what belongs to no single assignment.
WORDS = ""


class GuardMemory:
    """The guard's memory of one student in a `Records` file.

    It is replaced and never appended to, so it holds at most what the
    fingerprints of the assignments hold.

    Parameters
    ----------
    records : Records
    student : str

    Examples
    --------
    >>> with Records(":memory:") as records:
    ...     memory = GuardMemory(records, "s1")
    ...     nothing = memory.recall()
    ...     memory.keep({"05": {"seen": [1]}}, after=nothing)
    ...     memory.keep({"05": {"seen": [2]}}, after=nothing)  # somebody was faster
    ...     memory.recall()
    True
    False
    {'05': {'seen': [1]}}
    """

    def __init__(self, records: Records, student: str) -> None:
        self._records = records
        self.student = student

    def recall(self) -> dict[str, Any]:
        """What is remembered, by assignment; empty at first."""
        return {assignment: json.loads(memory) for assignment, memory in self._rows().items()}

    def keep(self, memory: Mapping[str, Any], *, after: Mapping[str, Any]) -> bool:
        """Replace the rows that `memory` names, if `after` is still what is remembered.

        Returns
        -------
        bool
            False, and nothing done, if another conversation of the student has
            changed the memory meanwhile: recall it and judge again.
        """
        with self._records.transaction() as db:
            known = self._rows()
            if known != {assignment: _text(value) for assignment, value in after.items()}:
                return False
            changed = [(self.student, name, _text(value)) for name, value in memory.items()]
            db.executemany(
                "INSERT OR REPLACE INTO guard_memory VALUES (?, ?, ?)",
                [row for row in changed if known.get(row[1]) != row[2]],
            )
        return True

    def _rows(self) -> dict[str, str]:
        with self._records.reading() as db:
            query = "SELECT assignment, memory FROM guard_memory WHERE student = ?"
            return {row[0]: row[1] for row in db.execute(query, (self.student,))}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
