"""Questions are answered in a few threads, each with its own library and records.

SQLite connections and indexes belong to the thread that opened them, so a turn
of a conversation stays in one thread from its first event to its last; the
events cross into the server's loop one by one. A turn runs to its end even if
the student has closed the page: the transcript is whole when she returns. One she
stops ends at the next piece of the model, or at once if it had not begun. No error
ends a thread, also not one that is no `Exception`, as the panic of a library in Rust.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from statml.errors import ServiceError, StatmlError
from tutor.serve.dressing import dressed

_LOG = logging.getLogger("tutor.serve")
_END: dict[str, Any] = {}
_FAILED = "something failed here; ask again or tell your instructor"


@dataclass(frozen=True)
class Question:
    """What a student asks, where, and about which assignment (empty: about none)."""

    student: str
    conversation: int
    text: str
    assignment: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)


class Room(Protocol):
    """What a thread answers from."""

    def say(self, question: Question) -> Iterator[dict[str, Any]]:
        """Events of one turn as plain values, each already kept; fewer once the question is stopped."""


class BusyError(ServiceError):
    """No further question can be taken now."""


class Turn:
    """The events of one question as they come, to be read in the loop that asked."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.begun = False
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
        self._busy: dict[str, Turn] = {}
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, daemon=True, name=f"desk-{n}") for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def ask(self, question: Question) -> Turn:
        """Take a question; call it from the server's loop.

        Raises
        ------
        BusyError
            The student's last question is still being answered, or too many wait.
        """
        turn = Turn(question)
        with self._lock:
            if question.student in self._busy:
                raise BusyError("your last question is still being answered; wait for its end")
            try:
                self._turns.put_nowait(turn)
            except queue.Full:
                raise BusyError("too many questions are waiting; ask again in a minute") from None
            self._busy[question.student] = turn
        return turn

    def answering(self, student: str) -> int | None:
        """The conversation in which a question of this student is being answered, if one is."""
        with self._lock:
            turn = self._busy.get(student)
        return turn.question.conversation if turn else None

    def stop(self, student: str, conversation: int) -> bool:
        """End the answer a student waits for; False if there is none in this conversation."""
        with self._lock:
            turn = self._busy.get(student)
            if turn is None or turn.question.conversation != conversation:
                return False
            turn.question.stopped.set()
            waiting = not turn.begun
            if waiting:
                del self._busy[student]
        if waiting:  # whoever takes it from the queue lets it lie
            turn.put({"event": "refusal", "kind": "stopped", "text": "You took the question back."})
            turn.put(_END)
        return True

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
                        if self._begins(turn):
                            self._answer(room, turn)
                    return
            except BaseException as error:  # the room cannot be opened: said to whoever asks next
                problem = str(error)
                if not isinstance(error, StatmlError):
                    _LOG.exception("what answers come from cannot be opened")
                    problem = _FAILED
                turn = self._turns.get()
                if turn is None:
                    return
                if self._begins(turn):
                    self._end(turn, problem)

    def _begins(self, turn: Turn) -> bool:
        with self._lock:
            turn.begun = not turn.question.stopped.is_set()
        return turn.begun

    def _answer(self, room: Room, turn: Turn) -> None:
        problem = ""
        try:
            for event in room.say(turn.question):
                turn.put(dressed(event))
        except StatmlError as error:
            problem = str(error)
        except BaseException:  # a bug: logged here with its trace, told there without
            _LOG.exception("a turn of conversation %d failed", turn.question.conversation)
            problem = _FAILED
        finally:
            self._end(turn, problem)

    def _end(self, turn: Turn, problem: str) -> None:
        if problem:
            turn.put({"event": "refusal", "kind": "service", "text": problem})
        with self._lock:
            self._busy.pop(turn.question.student, None)
        turn.put(_END)
