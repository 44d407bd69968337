"""Who is asking: the session behind a cookie, and the token that every change carries."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request, Response

from tutor.records import Records
from tutor.records.transcripts import Transcripts
from tutor.serve.desk import Desk
from tutor.serve.logins import INSTRUCTOR, SESSION_SECONDS, STUDENT, Logins, Session

COOKIES = {STUDENT: "tutor_session", INSTRUCTOR: "tutor_instructor"}
CSRF_HEADER = "x-csrf-token"


@dataclass(frozen=True)
class House:
    """What the routes work with; kept as ``app.state.house``."""

    logins: Logins
    records: Path
    desk: Desk
    provider: str = "extractive"
    model: str = ""
    tls: bool = False
    public_url: str = ""

    @property
    def home(self) -> Path:
        """Where the records lie, and the due dates."""
        return self.records.parent

    @contextmanager
    def transcripts(self) -> Iterator[Transcripts]:
        """The conversations, opened in the calling thread."""
        with Records(self.records) as records:
            yield Transcripts(records)


def house(request: Request) -> House:
    """The house this request came to."""
    found: House = request.app.state.house
    return found


def cookie_name(role: str, *, tls: bool) -> str:
    """Name of the cookie; through TLS with the prefix that binds it to this host."""
    return f"__Host-{COOKIES[role]}" if tls else COOKIES[role]


def cookie(request: Request, role: str) -> str:
    """The token in the cookie, or nothing."""
    return request.cookies.get(cookie_name(role, tls=house(request).tls), "")


def set_cookie(response: Response, role: str, token: str, *, tls: bool) -> None:
    """Give the session to the browser: out of reach of scripts and of other sites."""
    response.set_cookie(
        cookie_name(role, tls=tls),
        token,
        max_age=SESSION_SECONDS,
        path="/",
        httponly=True,
        samesite="strict",
        secure=tls,
    )


def drop_cookie(response: Response, role: str, *, tls: bool) -> None:
    """Take the session from the browser."""
    response.delete_cookie(cookie_name(role, tls=tls), path="/", httponly=True, samesite="strict", secure=tls)


def found_session(request: Request, role: str) -> Session | None:
    """The session of this role, if the request has one."""
    token = cookie(request, role)
    session = house(request).logins.session(token) if token else None
    return session if session is not None and session.role == role else None


def student(request: Request) -> Session:
    """The student who asks; 401 without a session."""
    session = found_session(request, STUDENT)
    if session is None:
        raise HTTPException(401, "log in with the link your instructor gave you")
    return session


def instructor(request: Request) -> Session:
    """The instructor; 401 without a session of that role."""
    session = found_session(request, INSTRUCTOR)
    if session is None:
        raise HTTPException(401, "log in with the instructor's secret")
    return session


def changing_student(request: Request) -> Session:
    """The student, with the token that only this page knows."""
    return _with_token(request, student(request))


def changing_instructor(request: Request) -> Session:
    """The instructor, with the token that only this page knows."""
    return _with_token(request, instructor(request))


def _with_token(request: Request, session: Session) -> Session:
    given = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(given.encode("utf-8", "replace"), session.csrf.encode()):
        raise HTTPException(403, f"a change needs the page's token in the header {CSRF_HEADER}")
    return session


async def body(request: Request) -> dict[str, Any]:
    """The JSON object a change carries."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "a change must be sent as application/json")
    try:
        value = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body must be JSON") from None
    if not isinstance(value, dict):
        raise HTTPException(400, "the body must be a JSON object")
    return value


Body = Annotated[dict[str, Any], Depends(body)]
Student = Annotated[Session, Depends(student)]
ChangingStudent = Annotated[Session, Depends(changing_student)]
Instructor = Annotated[Session, Depends(instructor)]
ChangingInstructor = Annotated[Session, Depends(changing_instructor)]
