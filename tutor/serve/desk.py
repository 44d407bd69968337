"""Questions are answered in a few threads, each with its own library and records.

SQLite connections and indexes belong to the thread that opened them, so a turn
of a conversation stays in one thread from its first event to its last; the
events cross into the server's loop one by one. A turn runs to its end even if
the student has closed the page: the transcript is whole when she returns.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, suppress
from typing import Any, Protocol

from statml.errors import ServiceError, StatmlError

_LOG = logging.getLogger("tutor.serve")
_END: dict[str, Any] = {}


class Room(Protocol):
    """What a thread answers from."""

    def say(self, student: str, conversation: int, text: str) -> Iterator[dict[str, Any]]:
        """Events of one turn as plain values, each already kept."""


class BusyError(ServiceError):
    """No further question can be taken now."""


class Turn:
    """The events of one question as they come, to be read in the loop that asked."""

    def __init__(self, student: str, conversation: int, text: str) -> None:
        self.student, self.conversation, self.text = student, conversation, text
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def put(self, event: dict[str, Any]) -> None:
        """Hand an event over from the thread that made it; nobody may be left to read it."""
        with suppress(RuntimeError):  # the server has stopped
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the events until the turn has ended."""
        while (event := await self._events.get()) is not _END:
            yield event


class Desk:
    """Threads that answer.

    Parameters
    ----------
    open_room : callable
        Opens what a thread answers from, inside that thread.
    workers : int
        Threads.
    waiting : int
        Questions that may wait.
    """

    def __init__(
        self, open_room: Callable[[], AbstractContextManager[Room]], *, workers: int = 2, waiting: int = 50
    ) -> None:
        self._open_room = open_room
        self._turns: queue.Queue[Turn | None] = queue.Queue(waiting)
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, daemon=True, name=f"desk-{n}") for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def ask(self, student: str, conversation: int, text: str) -> Turn:
        """Take a question; call it from the server's loop.

        Raises
        ------
        BusyError
            The student's last question is still being answered, or too many wait.
        """
        turn = Turn(student, conversation, text)
        with self._lock:
            if student in self._busy:
                raise BusyError("your last question is still being answered; wait for its end")
            try:
                self._turns.put_nowait(turn)
            except queue.Full:
                raise BusyError("too many questions are waiting; ask again in a minute") from None
            self._busy.add(student)
        return turn

    def close(self, wait: float = 5.0) -> None:
        """Stop once the questions taken are answered, or after `wait` seconds."""
        for _ in self._threads:
            with suppress(queue.Full):
                self._turns.put(None, timeout=wait)
        for thread in self._threads:
            thread.join(wait)

    def _work(self) -> None:
        while True:
            turn: Turn | None = None
            try:
                with self._open_room() as room:
                    while (turn := self._turns.get()) is not None:
                        self._answer(room, turn)
                    return
            except StatmlError as error:  # the room cannot be opened: said to whoever asks next
                turn = self._turns.get()
                if turn is None:
                    return
                self._end(turn, str(error))

    def _answer(self, room: Room, turn: Turn) -> None:
        problem = ""
        try:
            for event in room.say(turn.student, turn.conversation, turn.text):
                turn.put(event)
        except StatmlError as error:
            problem = str(error)
        except Exception:  # a bug: logged here with its trace, told there without
            _LOG.exception("a turn of conversation %d failed", turn.conversation)
            problem = "something failed here; your question is kept, ask it again or tell your instructor"
        finally:
            self._end(turn, problem)

    def _end(self, turn: Turn, problem: str) -> None:
        if problem:
            turn.put({"event": "refusal", "kind": "service", "text": problem})
        with self._lock:
            self._busy.discard(turn.student)
        turn.put(_END)
