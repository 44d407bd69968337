"""Turns in their threads: one at a time for a student, whole even when nobody listens, never a traceback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from statml.errors import InputError
from tutor.serve.desk import BusyError, Desk, Question

#: Seconds; only a fault waits so long.
PATIENCE = 60.0


class PanicException(BaseException):
    """As a library in Rust raises it."""


BUGS = {"bug": ZeroDivisionError, "panic": PanicException}


class Gated:
    """Answers when a test opens the gate."""

    def __init__(self) -> None:
        self.gate, self.finished = threading.Event(), threading.Event()

    def say(self, question: Question) -> Iterator[dict]:
        yield {"event": "piece", "text": question.text}
        self.gate.wait(PATIENCE)
        if question.stopped.is_set():
            return
        if question.text in BUGS:
            raise BUGS[question.text]("a detail nobody should see")
        yield {"event": "done"}
        self.finished.set()


def opened(room: object):
    @contextmanager
    def open_room() -> Iterator[object]:
        yield room

    return open_room


def test_a_student_has_one_question_at_a_time_and_the_others_are_not_held_up() -> None:
    room = Gated()

    async def run() -> None:
        desk = Desk(opened(room), workers=2)
        first = desk.ask(Question("a", 1, "one"))
        with pytest.raises(BusyError, match="still being answered"):
            desk.ask(Question("a", 2, "two"))
        other = desk.ask(Question("b", 3, "three"))
        room.gate.set()
        for turn in (first, other):
            assert [e["event"] async for e in turn.events()] == ["piece", "done"]
        again = desk.ask(Question("a", 1, "again"))
        assert [e["event"] async for e in again.events()] == ["piece", "done"]
        desk.close()

    asyncio.run(run())


def test_waiting_has_an_end() -> None:
    room = Gated()

    async def run() -> None:
        desk = Desk(opened(room), workers=1, waiting=1)
        turns = []
        with pytest.raises(BusyError, match="too many"):
            for n in range(4):
                turns.append(desk.ask(Question(f"s{n}", n, "x")))
        assert 1 <= len(turns) <= 2
        room.gate.set()
        for turn in turns:
            assert [e["event"] async for e in turn.events()] == ["piece", "done"]
        desk.close()

    asyncio.run(run())


def test_a_question_is_stopped_while_it_is_answered_and_while_it_waits() -> None:
    room = Gated()

    async def run() -> None:
        desk = Desk(opened(room), workers=1)
        first, second = desk.ask(Question("a", 1, "one")), desk.ask(Question("b", 2, "two"))
        events = first.events()
        assert (await anext(events))["event"] == "piece"
        assert desk.answering("a") == 1 and desk.answering("c") is None
        assert not desk.stop("a", 7) and not desk.stop("c", 1)  # another's or another conversation
        assert desk.stop("b", 2)  # nobody has taken it yet: it ends at once
        assert [(e["event"], e["kind"]) async for e in second.events()] == [("refusal", "stopped")]
        assert desk.stop("a", 1)
        room.gate.set()
        assert [e async for e in events] == []
        again = desk.ask(Question("b", 2, "again"))  # the one taken back is not answered before it
        assert [e.get("text") async for e in again.events()] == ["again", None]
        assert desk.answering("a") is None
        desk.close()

    asyncio.run(run())


def test_a_turn_ends_though_the_page_was_closed() -> None:
    room = Gated()

    async def leave() -> Desk:
        desk = Desk(opened(room), workers=1)
        turn = desk.ask(Question("a", 1, "x"))
        async for _ in turn.events():
            break
        return desk

    desk = asyncio.run(leave())  # the loop is gone before the answer is
    room.gate.set()
    assert room.finished.wait(PATIENCE)
    desk.close()


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_becomes_one_sentence_without_detail(bug: str) -> None:
    room = Gated()
    room.gate.set()

    async def run() -> None:
        desk = Desk(opened(room), workers=1)
        told = [e async for e in desk.ask(Question("a", 1, bug)).events()]
        assert told[-1]["event"] == "refusal" and "detail" not in told[-1]["text"]
        assert [e["event"] async for e in desk.ask(Question("a", 1, "fine")).events()] == ["piece", "done"]
        desk.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (InputError("the index is empty: run `tutor library add ...`"), "tutor library add"),
        (ZeroDivisionError("a detail nobody should see"), "something failed"),
        (PanicException("a detail nobody should see"), "something failed"),
    ],
    ids=["ours", "a bug", "a panic"],
)
def test_a_library_that_cannot_be_opened_is_said_and_tried_again(error: BaseException, shown: str) -> None:
    tries = []

    @contextmanager
    def open_room() -> Iterator[object]:
        tries.append(1)
        if len(tries) == 1:
            raise error
        room = Gated()
        room.gate.set()
        yield room

    async def run() -> None:
        desk = Desk(open_room, workers=1)
        told = [e async for e in desk.ask(Question("a", 1, "x")).events()]
        assert shown in told[0]["text"] and "detail" not in told[0]["text"]
        assert [e["event"] async for e in desk.ask(Question("a", 1, "x")).events()] == ["piece", "done"]
        desk.close()

    asyncio.run(asyncio.wait_for(run(), PATIENCE))
