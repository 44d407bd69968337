"""What both sides show of the records, looked up with the student they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException

from statml.errors import InputError
from tutor.records.transcripts import Entry, Transcripts

TITLE = 80


@dataclass(frozen=True)
class Kept:
    """A conversation that is over, as the export reads it."""

    number: int
    said: list[Entry]

    def entries(self) -> list[Entry]:
        """All that was said."""
        return self.said


def entries_of(store: Transcripts, number: int, student: str) -> list[Entry]:
    """All entries of a student's conversation; 404 where that student has none of this number."""
    try:
        return store.entries(number, student)
    except InputError:
        raise HTTPException(404, "there is no such conversation") from None


def plain(entry: Entry) -> dict[str, Any]:
    """An entry as plain values."""
    return {"at": entry.at, "kind": entry.kind, **entry.content}


def listed(store: Transcripts, student: str) -> list[dict[str, Any]]:
    """A student's conversations with their first words, newest first."""
    return [
        {"id": kept.id, "at": kept.created_at, "title": _first_words(store, kept.id, student)}
        for kept in store.conversations(student)
    ]


def log_of(store: Transcripts, student: str) -> list[dict[str, Any]]:
    """Every question of a student with what became of it, newest first."""
    asked: list[dict[str, Any]] = []
    for kept in reversed(store.conversations(student)):
        before = 0
        for entry in store.entries(kept.id, student):
            if entry.kind == "student":
                asked.append(
                    {
                        "conversation": kept.id,
                        "at": entry.at,
                        "prompt": entry.content["text"],
                        "claims": 0,
                        "dropped": 0,
                        "hints": [],
                        "tools": [],
                        "refusals": [],
                        "answered_by": "",
                        "tokens": 0,
                    }
                )
            elif asked and asked[-1]["conversation"] == kept.id:
                before = _note(asked[-1], entry, before)
    return asked[::-1]


def students(store: Transcripts) -> list[dict[str, Any]]:
    """Everybody who has conversed: how often, and when last."""
    with store.records.transaction() as db:
        rows = db.execute(
            "SELECT student, count(DISTINCT conversations.id), sum(kind = 'student'), max(at) "
            "FROM conversations LEFT JOIN conversation_entries ON conversation_id = conversations.id "
            "GROUP BY student ORDER BY student"
        ).fetchall()
    return [
        {"student": r[0], "conversations": r[1], "questions": r[2] or 0, "last": r[3] or ""} for r in rows
    ]


def _first_words(store: Transcripts, number: int, student: str) -> str:
    said = next((e.content["text"] for e in store.entries(number, student) if e.kind == "student"), "")
    words = " ".join(str(said).split())
    return words if len(words) <= TITLE else words[: TITLE - 1] + "…"


def _note(line: dict[str, Any], entry: Entry, before: int) -> int:
    """Add an event to its question's line; return the tokens of the conversation so far."""
    content = entry.content
    if entry.kind == "claim":
        line["claims"] += 1
    elif entry.kind == "hint":
        line["hints"].append(f"{content['assignment']}/{content['task']}: {content['name']}")
    elif entry.kind == "toolcall":
        line["tools"].append(content["name"])
    elif entry.kind == "refusal":
        line["refusals"].append(content["kind"])
    elif entry.kind == "done":
        line["answered_by"] = f"{content['provider']}: {content['model']}"
        line["dropped"] = content["dropped"]
        line["tokens"] = content["tokens"] - before
        return int(content["tokens"])
    return before
