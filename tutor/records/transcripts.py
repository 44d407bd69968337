"""Conversations, entry by entry: each is stored before the next is shown, so that nothing said is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from statml.errors import InputError
from tutor.records.store import Records, now

_OPENED = "SELECT id, student, provider, model, created_at FROM conversations WHERE student = ?"


@dataclass(frozen=True)
class Entry:
    """One thing that was said: who or what (`kind`), when, and its plain values."""

    position: int
    at: str
    kind: str
    content: dict[str, Any]


@dataclass(frozen=True)
class Opened:
    """A conversation: its number, whose it is, with which provider, and when it began."""

    id: int
    student: str
    provider: str
    model: str
    created_at: str


class Transcripts:
    """The conversations in a `Records` file.

    Every reading method takes the student: a conversation of somebody else is
    answered exactly as one that does not exist.

    Parameters
    ----------
    records : Records

    Examples
    --------
    >>> with Records(":memory:") as records:
    ...     store = Transcripts(records)
    ...     number = store.begin("s1", "extractive", "none")
    ...     store.add(number, "student", {"text": "What is a prior?"})
    ...     [entry.content["text"] for entry in store.entries(number, "s1")]
    ['What is a prior?']
    """

    def __init__(self, records: Records) -> None:
        self.records = records

    def begin(self, student: str, provider: str, model: str) -> int:
        """Open a conversation and return its number."""
        with self.records.transaction() as db:
            cursor = db.execute(
                "INSERT INTO conversations (student, provider, model, created_at) VALUES (?, ?, ?, ?)",
                (student, provider, model, now()),
            )
        return int(cursor.lastrowid or 0)

    def add(self, conversation: int, kind: str, content: Mapping[str, Any]) -> None:
        """Append an entry."""
        with self.records.transaction() as db:
            db.execute(
                "INSERT INTO conversation_entries SELECT ?, coalesce(max(position), 0) + 1, ?, ?, ? "
                "FROM conversation_entries WHERE conversation_id = ?",
                (conversation, now(), kind, json.dumps(dict(content), ensure_ascii=False), conversation),
            )

    def entries(self, conversation: int, student: str) -> list[Entry]:
        """All entries, in order.

        Raises
        ------
        InputError
            The student has no such conversation.
        """
        self.conversation(conversation, student)
        with self.records.reading() as db:
            rows = db.execute(
                "SELECT position, at, kind, content FROM conversation_entries "
                "WHERE conversation_id = ? ORDER BY position",
                (conversation,),
            ).fetchall()
        return [Entry(row[0], row[1], row[2], json.loads(row[3])) for row in rows]

    def conversation(self, conversation: int, student: str) -> Opened:
        """One conversation; raises as `entries`."""
        with self.records.reading() as db:
            row = db.execute(f"{_OPENED} AND id = ?", (student, conversation)).fetchone()
        if row is None:
            raise InputError(f"there is no conversation {conversation}; `tutor chat --list` shows yours")
        return Opened(*row)

    def conversations(self, student: str) -> list[Opened]:
        """A student's conversations, newest first."""
        with self.records.reading() as db:
            rows = db.execute(f"{_OPENED} ORDER BY id DESC", (student,)).fetchall()
        return [Opened(*row) for row in rows]

    def state(self, conversation: int) -> dict[str, Any]:
        """What the conversation remembers besides its entries: levels of hints, what the guard has seen."""
        with self.records.reading() as db:
            row = db.execute("SELECT state FROM conversations WHERE id = ?", (conversation,)).fetchone()
        return dict(json.loads(row[0])) if row else {}

    def change_state(self, conversation: int, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        """Replace the state by what `change` makes of it; nobody else changes it in between."""
        with self.records.transaction() as db:
            state = json.dumps(dict(change(self.state(conversation))))
            db.execute("UPDATE conversations SET state = ? WHERE id = ?", (state, conversation))
