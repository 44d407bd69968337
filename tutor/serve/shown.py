"""What both sides show of the records, looked up with the student they belong to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException

from statml.errors import InputError
from tutor.records.transcripts import Entry, Transcripts
from tutor.serve.dressing import dressed

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
    except (InputError, OverflowError):  # SQLite counts to 2**63
        raise HTTPException(404, "there is no such conversation") from None


def plain(entry: Entry) -> dict[str, Any]:
    """An entry as plain values, its formulas beside its text."""
    return dressed({"at": entry.at, "kind": entry.kind, **entry.content})


def listed(store: Transcripts, student: str) -> list[dict[str, Any]]:
    """A student's conversations with their first words, newest first."""
    with store.records.transaction() as db:
        rows = db.execute(
            "SELECT id, created_at, (SELECT json_extract(content, '$.text') FROM conversation_entries "
            "WHERE conversation_id = conversations.id AND kind = 'student' ORDER BY position LIMIT 1) "
            "FROM conversations WHERE student = ? ORDER BY id DESC",
            (student,),
        ).fetchall()
    return [{"id": row[0], "at": row[1], "title": _short(row[2] or "")} for row in rows]


def log_of(store: Transcripts, student: str) -> list[dict[str, Any]]:
    """Every question of a student with what became of it, newest first."""
    with store.records.transaction() as db:
        rows = db.execute(
            "SELECT conversation_id, position, at, kind, content FROM conversation_entries "
            "JOIN conversations ON conversations.id = conversation_id WHERE student = ? "
            "ORDER BY conversation_id, position",
            (student,),
        ).fetchall()
    asked: list[dict[str, Any]] = []
    before = 0
    for number, position, at, kind, content in rows:
        entry = Entry(position, at, kind, json.loads(content))
        same = bool(asked) and asked[-1]["conversation"] == number
        before = before if same else 0
        if entry.kind == "student":
            asked.append(_line(number, entry))
        elif same:
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


def _short(said: str) -> str:
    words = " ".join(said.split())
    return words if len(words) <= TITLE else words[: TITLE - 1] + "…"


def _line(conversation: int, entry: Entry) -> dict[str, Any]:
    """A question of which nothing has become yet."""
    return {
        "conversation": conversation,
        "at": entry.at,
        "assignment": entry.content.get("assignment", ""),
        "prompt": entry.content["text"],
        "claims": 0,
        "dropped": 0,
        "hints": [],
        "tools": [],
        "refusals": [],
        "answered_by": "",
        "tokens": 0,
    }


def _note(line: dict[str, Any], entry: Entry, before: int) -> int:
    """Add an event to its question's line; return the tokens of the conversation so far."""
    content = entry.content
    if entry.kind == "claim":
        line["claims"] += 1
    elif entry.kind == "hint":
        line["assignment"] = line["assignment"] or content["assignment"]
        line["hints"].append(f"{content['assignment']}/{content['task']}: {content['name']}")
    elif entry.kind == "toolcall":
        line["tools"].append(content["name"])
    elif entry.kind == "refusal":
        line["refusals"].append(content["kind"])
    elif entry.kind == "done":
        extractive = content["provider"] == "extractive"
        line["answered_by"] = "no model" if extractive else f"{content['provider']}: {content['model']}"
        line["dropped"] = content["dropped"]
        line["tokens"] = content["tokens"] - before
        return int(content["tokens"])
    return before
