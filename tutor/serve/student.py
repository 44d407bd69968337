"""The student's side: enter by a link, converse, read the log of AI use.

Every object is looked up together with the student who asks: a conversation of
somebody else is answered as one that does not exist.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from importlib import resources
from typing import Any, cast

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    StreamingResponse,
)
from starlette.concurrency import run_in_threadpool

from course.assignment import load
from tutor.chat.conversation import Conversation
from tutor.chat.export import markdown
from tutor.library.answer import LONGEST_QUESTION
from tutor.records.reflections import Reflections
from tutor.serve import export, homework
from tutor.serve.access import (
    Body,
    ChangingStudent,
    House,
    Student,
    cookie,
    drop_cookie,
    found_session,
    house,
    set_cookie,
)
from tutor.serve.desk import BusyError, Question, Turn
from tutor.serve.logins import STUDENT
from tutor.serve.shown import Kept, entries_of, listed, log_of, plain

router = APIRouter()
MOST_CONVERSATIONS = 500
_ENDED = {"event": "refusal", "kind": "service", "text": "your session has ended; what was said is kept"}
STATIC = str(resources.files("tutor.serve").joinpath("static"))


def page(name: str, status: int = 200) -> FileResponse:
    """A page of ours; it holds no word of anybody's."""
    return FileResponse(f"{STATIC}/{name}", status, media_type="text/html; charset=utf-8")


@router.get("/")
def index(request: Request) -> Response:
    """The page, or the word that a link is needed."""
    return page("index.html") if found_session(request, STUDENT) else page("outside.html", 401)


@router.get("/login/{token}")
def ask_to_enter(token: str) -> Response:
    """A button: programs that look at links in mail must not use them up."""
    return page("login.html")


@router.post("/login/{token}")
def enter(request: Request, token: str) -> Response:
    """Use the link up and give the session."""
    home = house(request)
    session = home.logins.enter(token)
    if session is None:
        return page("outside.html", 401)
    response = RedirectResponse("/", 303)
    set_cookie(response, STUDENT, session, tls=home.tls)
    return response


@router.post("/logout")
def leave(request: Request, who: ChangingStudent) -> Response:
    """End this session."""
    home = house(request)
    home.logins.leave(cookie(request, STUDENT))
    response = Response(status_code=204)
    drop_cookie(response, STUDENT, tls=home.tls)
    return response


@router.get("/api/me")
def me(request: Request, who: Student) -> dict[str, Any]:
    """Who has entered, the token for changes, and who words the answers."""
    home = house(request)
    return {
        "student": who.student,
        "csrf": who.csrf,
        "provider": home.provider,
        "model": home.model,
        "answering": home.desk.answering(who.student),
    }


@router.get("/api/assignments")
def assignments(request: Request, who: Student) -> list[dict[str, Any]]:
    """Assignments one can choose, with their tasks and due dates."""
    return homework.assignments(house(request).home)


@router.get("/api/conversations")
def conversations(request: Request, who: Student) -> list[dict[str, Any]]:
    """The student's conversations, newest first."""
    with house(request).transcripts() as store:
        return listed(store, who.student)


@router.post("/api/conversations", status_code=201)
def begin(request: Request, who: ChangingStudent, sent: Body) -> dict[str, int]:
    """Begin a conversation."""
    home = house(request)
    with home.transcripts() as store:
        if len(store.conversations(who.student)) >= MOST_CONVERSATIONS:
            raise HTTPException(429, f"{MOST_CONVERSATIONS} conversations are the most one can have")
        return {"id": store.begin(who.student, home.provider, home.model)}


@router.get("/api/conversations/{number}")
def conversation(request: Request, number: int, who: Student) -> list[dict[str, Any]]:
    """All that was said."""
    with house(request).transcripts() as store:
        return [plain(entry) for entry in entries_of(store, number, who.student)]


@router.post("/api/conversations/{number}/say")
async def say(request: Request, number: int, who: ChangingStudent, sent: Body) -> StreamingResponse:
    """Ask; the events of the answer come as lines of JSON while they are made."""
    text = sent.get("text")
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST_QUESTION:
        raise HTTPException(422, f"text must be 1 to {LONGEST_QUESTION} characters")
    if not _encodable(text):
        raise HTTPException(422, "text must be characters of Unicode, without half surrogates")
    assignment = homework.checked(sent["assignment"]) if sent.get("assignment") else ""
    home = house(request)
    await run_in_threadpool(_check_owned, home, number, who.student)
    try:
        turn = home.desk.ask(Question(who.student, number, text, assignment))
    except BusyError as error:
        raise HTTPException(429, str(error)) from None
    # a proxy that gathers pieces would make a stream of them no more
    return StreamingResponse(
        _lines(request, turn), media_type="application/x-ndjson", headers={"X-Accel-Buffering": "no"}
    )


@router.post("/api/conversations/{number}/stop")
def stop(request: Request, number: int, who: ChangingStudent, sent: Body) -> dict[str, bool]:
    """End the answer that is being given in a conversation; what was said is kept."""
    home = house(request)
    _check_owned(home, number, who.student)
    return {"stopped": home.desk.stop(who.student, number)}


@router.get("/api/conversations/{number}/export")
def exported(request: Request, number: int, who: Student) -> PlainTextResponse:
    """The conversation as Markdown, ending with the AI-use entry of the course."""
    with house(request).transcripts() as store:
        kept = Kept(number, entries_of(store, number, who.student))
    text = markdown(cast(Conversation, kept))  # it reads the number and the entries, nothing else
    name = f"conversation-{number}.md"
    return PlainTextResponse(text, headers={"Content-Disposition": f'attachment; filename="{name}"'})


@router.get("/api/log")
def log(request: Request, who: Student) -> list[dict[str, Any]]:
    """The log of AI use: every question, what became of it, and who answered; newest first."""
    with house(request).transcripts() as store:
        return log_of(store, who.student)


@router.get("/api/homework/{assignment}")
def used(request: Request, assignment: str, who: Student) -> dict[str, Any]:
    """How the student used AI in an assignment: questions, reflection, and the course's entry of both."""
    with house(request).transcripts() as store:
        return homework.used(store, who.student, homework.checked(assignment))


@router.post("/api/homework/{assignment}")
def reflect(request: Request, assignment: str, who: ChangingStudent, sent: Body) -> dict[str, Any]:
    """Keep the student's reflection on an assignment."""
    number = homework.checked(assignment)
    said, confidence = homework.read(sent)
    with house(request).transcripts() as store:
        Reflections(store.records).keep(who.student, number, said, confidence)
        return homework.told(Reflections(store.records).of(who.student, number))


@router.get("/api/homework/{assignment}/export.{kind}")
def handed_in(request: Request, assignment: str, kind: str, who: Student) -> Response:
    """The same to keep or hand in, as Markdown or JSON."""
    number = homework.checked(assignment)
    with house(request).transcripts() as store:
        return downloaded(homework.used(store, who.student, number), number, kind)


def downloaded(used: dict[str, Any], assignment: str, kind: str) -> Response:
    """One student's use of AI in an assignment as a file."""
    name = f"ai_use_{assignment}_{used['student']}.{kind}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    if kind == "json":
        return JSONResponse(used, headers=headers)
    if kind == "md":
        return PlainTextResponse(export.markdown(used, load(assignment).card), headers=headers)
    raise HTTPException(404, "there is no such file")


def _check_owned(home: House, number: int, student: str) -> None:
    with home.transcripts() as store:
        entries_of(store, number, student)


async def _lines(request: Request, turn: Turn) -> AsyncIterator[str]:
    async for event in turn.events():
        if await run_in_threadpool(found_session, request, STUDENT) is None:
            yield json.dumps(_ENDED) + "\n"  # revoked meanwhile: not a word more
            return
        yield json.dumps(event) + "\n"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
