"""The instructor's side, behind a secret of its own: links, revocation, transcripts."""

from __future__ import annotations

import time
from collections import deque
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from course.assignment import load
from statml.errors import InputError
from tutor.serve import export, homework
from tutor.serve.access import (
    Body,
    ChangingInstructor,
    Instructor,
    cookie,
    drop_cookie,
    found_session,
    house,
    set_cookie,
)
from tutor.serve.logins import INSTRUCTOR, LINK_SECONDS, checked_name
from tutor.serve.shown import entries_of, listed, log_of, plain, students
from tutor.serve.student import downloaded, page

router = APIRouter()
#: Wrong secrets within a minute, after which all have to wait.
FAILURES = 10


@router.get("/instructor")
def index(request: Request) -> Response:
    """The class, or the question for the secret."""
    return page("instructor.html" if found_session(request, INSTRUCTOR) else "secret.html")


@router.post("/instructor")
async def enter(request: Request) -> Response:
    """Exchange the secret for a session."""
    failures: deque[float] = request.app.state.failures
    while failures and failures[0] < time.monotonic() - 60:
        failures.popleft()
    if len(failures) >= FAILURES:
        raise HTTPException(429, "too many wrong secrets; wait a minute")
    form = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=5)
    home = house(request)
    secret = form.get("secret", [""])[0].strip()
    session = await run_in_threadpool(home.logins.enter_instructor, secret)
    if session is None:
        failures.append(time.monotonic())
        return page("secret.html", 401)
    response = RedirectResponse("/instructor", 303)
    set_cookie(response, INSTRUCTOR, session, tls=home.tls)
    return response


@router.post("/instructor/logout")
def leave(request: Request, who: ChangingInstructor) -> Response:
    """End this session."""
    home = house(request)
    home.logins.leave(cookie(request, INSTRUCTOR))
    response = Response(status_code=204)
    drop_cookie(response, INSTRUCTOR, tls=home.tls)
    return response


@router.get("/api/instructor/me")
def me(who: Instructor) -> dict[str, str]:
    """The token for changes."""
    return {"csrf": who.csrf}


@router.get("/api/instructor/students")
def everybody(request: Request, who: Instructor) -> list[dict[str, Any]]:
    """All students who have conversed."""
    with house(request).transcripts() as store:
        return students(store)


@router.post("/api/instructor/links", status_code=201)
def link(request: Request, who: ChangingInstructor, sent: Body) -> dict[str, Any]:
    """A link that lets a student in once within 15 minutes."""
    home = house(request)
    student = _named(sent)
    scheme = "https" if home.tls else "http"
    base = home.public_url or f"{scheme}://{request.headers['host']}"
    return {
        "student": student,
        "link": f"{base}/login/{home.logins.link(student)}",
        "minutes": LINK_SECONDS // 60,
    }


@router.post("/api/instructor/revoke")
def revoke(request: Request, who: ChangingInstructor, sent: Body) -> dict[str, Any]:
    """End every session and link of a student."""
    student = _named(sent)
    return {"student": student, "ended": house(request).logins.revoke(student)}


@router.get("/api/instructor/students/{student}/conversations")
def conversations(request: Request, student: str, who: Instructor) -> list[dict[str, Any]]:
    """A student's conversations."""
    with house(request).transcripts() as store:
        return listed(store, student)


@router.get("/api/instructor/students/{student}/conversations/{number}")
def conversation(request: Request, student: str, number: int, who: Instructor) -> list[dict[str, Any]]:
    """All that was said in one of them."""
    with house(request).transcripts() as store:
        return [plain(entry) for entry in entries_of(store, number, student)]


@router.get("/api/instructor/students/{student}/log")
def log(request: Request, student: str, who: Instructor) -> list[dict[str, Any]]:
    """A student's log of AI use."""
    with house(request).transcripts() as store:
        return log_of(store, student)


@router.get("/api/instructor/homework")
def assignments(request: Request, who: Instructor) -> list[dict[str, Any]]:
    """Assignments with their due dates."""
    return homework.assignments(house(request).home)


@router.get("/api/instructor/homework/{assignment}")
def ai_use(request: Request, assignment: str, who: Instructor) -> list[dict[str, Any]]:
    """How a class used AI in an assignment, a line a student."""
    with house(request).transcripts() as store:
        return homework.of_class(store, homework.checked(assignment))


@router.get("/api/instructor/homework/{assignment}/export.{kind}")
def ai_use_exported(request: Request, assignment: str, kind: str, who: Instructor) -> Response:
    """The class as a table (``csv``), or everything of everybody (``json``, ``md``)."""
    number = homework.checked(assignment)
    with house(request).transcripts() as store:
        rows = homework.of_class(store, number)
        if kind not in ("csv", "json", "md"):
            raise HTTPException(404, "there is no such file")
        headers = {"Content-Disposition": f'attachment; filename="ai_use_{number}.{kind}"'}
        if kind == "csv":
            return PlainTextResponse(export.table(rows), headers=headers, media_type="text/csv")
        everything = [homework.used(store, row["student"], number) for row in rows]
    if kind == "json":
        return JSONResponse(everything, headers=headers)
    card = load(number).card
    return PlainTextResponse("\n".join(export.markdown(used, card) for used in everything), headers=headers)


@router.get("/api/instructor/students/{student}/homework/{assignment}")
def ai_use_of(request: Request, student: str, assignment: str, who: Instructor) -> dict[str, Any]:
    """How one student used AI in an assignment."""
    with house(request).transcripts() as store:
        return homework.used(store, student, homework.checked(assignment))


@router.get("/api/instructor/students/{student}/homework/{assignment}/export.{kind}")
def ai_use_of_exported(
    request: Request, student: str, assignment: str, kind: str, who: Instructor
) -> Response:
    """The same as a file."""
    number, student = homework.checked(assignment), _named({"student": student})
    with house(request).transcripts() as store:
        return downloaded(homework.used(store, student, number), number, kind)


def _named(sent: dict[str, Any]) -> str:
    student = sent.get("student")
    try:
        return checked_name(student if isinstance(student, str) else "")
    except InputError as error:
        raise HTTPException(422, str(error)) from None
