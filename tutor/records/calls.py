"""Calls of models: every one logged where it is made, its reply kept for the same question again.

The log is written by this layer and not by a command, so that no way of using
the library goes around it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from tutor.providers.base import CallRecord, Choice, Message, Reply, Schema, Usage
from tutor.records.store import Records, now

_UNFINISHED = "was not finished"


@dataclass(frozen=True)
class Spent:
    """Tokens and money, added up over logged calls; replies from the cache cost nothing."""

    tokens: int = 0
    cost: float = 0.0
    calls: int = 0


class Calls:
    """Log and cache of model calls in a `Records` file.

    Parameters
    ----------
    records : Records
    student : str
        On whose account calls are put.
    """

    def __init__(self, records: Records, student: str) -> None:
        self._records = records
        self.student = student

    def log(
        self,
        call: CallRecord,
        *,
        purpose: str,
        conversation: int | None = None,
        cost: float = 0.0,
        cached: bool = False,
    ) -> None:
        """Store one call, a failed one too."""
        usage = call.reply.usage if call.reply else Usage()
        with self._records.transaction() as db:
            self._insert(db, call, usage, purpose, conversation, cost, cached)

    def begin(
        self,
        call: CallRecord,
        most: Usage,
        check: Callable[[Spent | None, Spent], None],
        *,
        purpose: str,
        conversation: int | None = None,
        cost: float = 0.0,
    ) -> int:
        """Store a call before it is sent, with what it may take at most; its row.

        Parameters
        ----------
        call : CallRecord
        most : Usage
            Counts as spent until `end`; for good if the process is killed before.
        check : callable
            Given what the conversation and the student spent, raises if that
            leaves too little. No other call comes between check and row.
        """
        with self._records.transaction() as db:
            run = self._spent(db, conversation) if conversation is not None else None
            check(run, self._spent(db))
            return self._insert(
                db, replace(call, error=_UNFINISHED), most, purpose, conversation, cost, False
            )

    def end(self, row: int, call: CallRecord, usage: Usage, *, cost: float = 0.0) -> None:
        """Replace the row of `begin` by how the call ended and what it took."""
        with self._records.transaction() as db:
            db.execute(
                "UPDATE model_calls SET model = ?, response = ?, error = ?, prompt_tokens = ?, "
                "answer_tokens = ?, seconds = ?, cost = ? WHERE id = ?",
                (
                    call.reply.model if call.reply else call.model,
                    call.reply.text if call.reply else None,
                    call.error,
                    usage.prompt_tokens,
                    usage.completion_tokens,
                    call.seconds,
                    cost,
                    row,
                ),
            )

    def _insert(
        self,
        db: sqlite3.Connection,
        call: CallRecord,
        usage: Usage,
        purpose: str,
        conversation: int | None,
        cost: float,
        cached: bool,
    ) -> int:
        request = canonical(call.messages, call.schema, call.options)
        cursor = db.execute(
            "INSERT INTO model_calls (created_at, provider, model, purpose, request_sha256, request, "
            "response, error, prompt_tokens, answer_tokens, seconds, student, conversation_id, cached, "
            "cost) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                now(),
                call.provider,
                call.reply.model if call.reply else call.model,
                purpose,
                hashlib.sha256(request.encode()).hexdigest(),
                request,
                call.reply.text if call.reply else None,
                call.error,
                usage.prompt_tokens,
                usage.completion_tokens,
                call.seconds,
                self.student,
                conversation,
                int(cached),
                cost,
            ),
        )
        return int(cursor.lastrowid or 0)

    def spent(self, conversation: int | None = None) -> Spent:
        """What the student's calls took: all of them, or those of one conversation."""
        with self._records.reading() as db:
            return self._spent(db, conversation)

    def _spent(self, db: sqlite3.Connection, conversation: int | None = None) -> Spent:
        query = (
            "SELECT coalesce(sum(prompt_tokens + answer_tokens), 0), coalesce(sum(cost), 0), count(*) "
            "FROM model_calls WHERE cached = 0 AND student = ?"
        )
        values: tuple[Any, ...] = (self.student,)
        if conversation is not None:
            query, values = query + " AND conversation_id = ?", (self.student, conversation)
        row = db.execute(query, values).fetchone()
        return Spent(int(row[0]), float(row[1]), int(row[2]))

    def cached(self, key: str) -> Reply | None:
        """The reply kept under a key."""
        with self._records.reading() as db:
            row = db.execute("SELECT reply FROM response_cache WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        kept = json.loads(row[0])
        choices = tuple(Choice(c["text"], c["parsed"], c["finish"]) for c in kept["choices"])
        return Reply(choices, kept["model"], Usage(**kept["usage"]), tuple(kept["notes"]))

    def keep(self, key: str, reply: Reply) -> None:
        """Keep a reply; one with log-probabilities is not, they are not worth their room."""
        if any(choice.logprobs for choice in reply.choices):
            return
        kept = {
            "choices": [{"text": c.text, "parsed": c.parsed, "finish": c.finish} for c in reply.choices],
            "model": reply.model,
            "usage": asdict(reply.usage),
            "notes": reply.notes,
        }
        with self._records.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO response_cache VALUES (?, ?, ?)",
                (key, json.dumps(kept, ensure_ascii=False), now()),
            )


def canonical(messages: tuple[Message, ...], schema: Schema | None, options: Mapping[str, Any]) -> str:
    """A call as one text, the same for the same call whatever delimiter is drawn for its sources."""
    value = {
        "messages": [asdict(message) for message in messages],
        "schema": schema,
        "options": dict(options),
    }
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
