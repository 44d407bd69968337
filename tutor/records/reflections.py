"""What students say of their use of AI, one reflection a homework, in the words of the course's AI-use entry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from tutor.records.store import Records, now

#: What a student says herself; the rest of an entry (tool, version, date, prompts) is in the log.
SAID = ("purpose", "what_accepted", "what_rejected", "how_verified", "effect_on_answer")


@dataclass(frozen=True)
class Reflection:
    """One reflection.

    Attributes
    ----------
    said : dict of str to str
        By the names in `SAID`; what is not said is empty.
    confidence : float or None
        The student's, from 0 to 1, in the result she kept.
    changed_at : str
        Empty where nothing was said yet.
    """

    said: Mapping[str, str] = field(default_factory=dict)
    confidence: float | None = None
    changed_at: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of what is not said yet."""
        open_ = [name for name in SAID if not self.said.get(name, "").strip()]
        return (*open_, *(("confidence",) if self.confidence is None else ()))


class Reflections:
    """The reflections in a `Records` file.

    Parameters
    ----------
    records : Records

    Examples
    --------
    >>> with Records(":memory:") as records:
    ...     store = Reflections(records)
    ...     store.keep("s1", "05", {"purpose": "to understand the evidence"}, 0.8)
    ...     store.of("s1", "05").missing
    ('what_accepted', 'what_rejected', 'how_verified', 'effect_on_answer')
    """

    def __init__(self, records: Records) -> None:
        self.records = records

    def keep(
        self, student: str, assignment: str, said: Mapping[str, str], confidence: float | None = None
    ) -> None:
        """Replace a student's reflection on an assignment."""
        entry = {**{name: said.get(name, "") for name in SAID}, "confidence": confidence}
        with self.records.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO reflections VALUES (?, ?, ?, ?)",
                (student, assignment, json.dumps(entry, ensure_ascii=False), now()),
            )

    def of(self, student: str, assignment: str) -> Reflection:
        """A student's reflection on an assignment; an empty one where there is none."""
        return self.on(assignment).get(student, Reflection())

    def on(self, assignment: str) -> dict[str, Reflection]:
        """All reflections on an assignment by student."""
        with self.records.transaction() as db:
            rows = db.execute(
                "SELECT student, entry, changed_at FROM reflections WHERE assignment = ? ORDER BY student",
                (assignment,),
            ).fetchall()
        return {row[0]: _read(json.loads(row[1]), row[2]) for row in rows}


def _read(entry: dict[str, object], changed_at: str) -> Reflection:
    confidence = entry.pop("confidence", None)
    said = {name: str(value) for name, value in entry.items()}
    return Reflection(said, float(confidence) if isinstance(confidence, int | float) else None, changed_at)
