"""Who may do what: every rule of entering, of changes, and of whose object it is."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from statml.errors import InputError
from tutor.guard import Guard
from tutor.serve.application import build
from tutor.serve.desk import Desk, Question
from tutor.serve.logins import LINK_SECONDS, SESSION_SECONDS, Logins

QUESTION = "Why do stars spin down?"


def test_a_link_lets_in_once(school) -> None:
    client, token = school.client(), school.house.logins.link("s1")
    assert client.get(f"/login/{token}").status_code == 200  # a look at the link does not use it up
    entered = client.post(f"/login/{token}", follow_redirects=False)
    assert entered.status_code == 303 and entered.headers["location"] == "/"
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/" in cookie
    assert client.get("/api/me").json()["student"] == "s1"
    other = school.client()
    assert other.post(f"/login/{token}", follow_redirects=False).status_code == 401
    assert other.get("/api/me").status_code == 401


def test_a_link_ends_after_fifteen_minutes(school) -> None:
    early, late = school.house.logins.link("s1"), school.house.logins.link("s1")
    school.clock.now += LINK_SECONDS - 1
    assert school.client().post(f"/login/{early}", follow_redirects=False).status_code == 303
    school.clock.now += 1
    assert LINK_SECONDS == 15 * 60
    assert school.client().post(f"/login/{late}", follow_redirects=False).status_code == 401


def test_a_session_ends_by_time_by_leaving_and_by_revocation(school) -> None:
    first, second, third = school.student("s1"), school.student("s1"), school.student("s2")
    assert first.post("/logout").status_code == 204
    assert first.get("/api/me").status_code == 401 and second.get("/api/me").status_code == 200
    waiting = school.house.logins.link("s1")
    assert school.house.logins.revoke("s1") == 2
    assert second.get("/api/me").status_code == 401
    assert school.client().post(f"/login/{waiting}", follow_redirects=False).status_code == 401
    assert third.get("/api/me").status_code == 200
    school.clock.now += SESSION_SECONDS
    assert third.get("/api/me").status_code == 401


def test_of_an_answer_on_its_way_nothing_arrives_after_revocation(school) -> None:
    class Revoked:
        def say(self, question: Question) -> Iterator[dict]:
            yield {"event": "piece", "text": "before"}
            school.house.logins.revoke(question.student)
            yield {"event": "piece", "text": "after"}

    @contextmanager
    def room() -> Iterator[Revoked]:
        yield Revoked()

    app = build(replace(school.house, desk=Desk(room, workers=1)))
    client = TestClient(app, base_url="http://127.0.0.1")
    client.cookies.set("tutor_session", school.student("s1").cookies["tutor_session"])
    client.headers["x-csrf-token"] = client.get("/api/me").json()["csrf"]
    number = client.post("/api/conversations", json={}).json()["id"]
    told = client.post(f"/api/conversations/{number}/say", json={"text": QUESTION}).text
    assert "after" not in told and "your session has ended" in told
    assert client.get("/api/me").status_code == 401
    app.state.house.desk.close()


def test_a_copied_cookie_is_worthless_after_leaving(school) -> None:
    client = school.student("s1")
    token = client.cookies["tutor_session"]
    client.post("/logout")
    thief = school.client()
    thief.cookies.set("tutor_session", token)
    assert thief.get("/api/me").status_code == 401


def test_through_tls_the_cookie_is_secure_and_bound_to_the_host(school) -> None:
    app = build(replace(school.house, tls=True), hosts=())
    client = TestClient(app, base_url="https://tutor.example.edu")
    entered = client.post(f"/login/{school.house.logins.link('s1')}", follow_redirects=False)
    cookie = entered.headers["set-cookie"]
    assert cookie.startswith("__Host-tutor_session=") and "Secure" in cookie and "HttpOnly" in cookie
    assert entered.headers["strict-transport-security"].startswith("max-age=")
    assert client.get("/api/me").status_code == 200
    secret = school.house.logins.new_secret()
    client.post("/instructor", data={"secret": secret})
    client.headers["x-csrf-token"] = client.get("/api/instructor/me").json()["csrf"]
    made = client.post("/api/instructor/links", json={"student": "s2"}).json()
    assert made["link"].startswith("https://tutor.example.edu/login/")


def test_conversations_of_a_student_have_a_limit(school, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutor.serve.student.MOST_CONVERSATIONS", 2)
    client = school.student("s1")
    told = [client.post("/api/conversations", json={}).status_code for _ in range(3)]
    assert told == [201, 201, 429]


def test_no_token_is_stored(school, tmp_path: Path) -> None:
    link, secret = school.house.logins.link("s1"), school.house.logins.new_secret()
    session = school.house.logins.enter(school.house.logins.link("s2"))
    held = b"".join(p.read_bytes() for p in tmp_path.glob("logins.sqlite*"))
    assert not any(token.encode() in held for token in (link, secret, session))
    assert stat.S_IMODE((tmp_path / "logins.sqlite").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["", "a b", "../x", "<script>", "a" * 65, "-x", "ä", "a\n"], ids=range(8))
def test_names_are_pseudonyms(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="STUDENT must be a pseudonym"):
        Logins(tmp_path / "l.sqlite").link(name)


@pytest.mark.parametrize(
    "path",
    ["/api/me", "/api/conversations", "/api/conversations/1", "/api/conversations/1/export", "/api/log"],
)
def test_nothing_is_read_without_a_session(school, path: str) -> None:
    assert school.client().get(path).status_code == 401
    assert school.instructor().get(path).status_code == 401  # the other role is no session either


@pytest.mark.parametrize("path", ["/logout", "/api/conversations", "/api/conversations/1/say"])
def test_a_change_needs_the_token(school, path: str) -> None:
    client, other = school.student("s1"), school.student("s2")
    client.post("/api/conversations", json={})
    own = client.headers.pop("x-csrf-token")
    for given in ({}, {"x-csrf-token": ""}, {"x-csrf-token": other.headers["x-csrf-token"]}):
        assert client.post(path, json={"text": QUESTION}, headers=given).status_code == 403
    reply = client.post(path, json={"text": QUESTION}, headers={"x-csrf-token": own})
    assert reply.status_code in (200, 201, 204)


def test_nobody_reads_or_changes_the_conversation_of_another(school) -> None:
    a, b = school.student("a"), school.student("b")
    number = b.post("/api/conversations", json={}).json()["id"]
    assert b.post(f"/api/conversations/{number}/say", json={"text": QUESTION}).status_code == 200
    kept = b.get(f"/api/conversations/{number}").json()
    for path in (f"/api/conversations/{number}", f"/api/conversations/{number}/export"):
        theirs, none = a.get(path), a.get(path.replace(str(number), "999"))
        assert theirs.status_code == none.status_code == 404
        assert theirs.json() == none.json()  # not even that it exists
    assert a.post(f"/api/conversations/{number}/say", json={"text": QUESTION}).status_code == 404
    assert a.get("/api/conversations").json() == [] and a.get("/api/log").json() == []
    assert b.get(f"/api/conversations/{number}").json() == kept


@pytest.mark.parametrize("number", ["x", "-1", "0", "1.5", "99999999999999999999999", "1%20OR%201=1"])
def test_a_number_that_is_none_is_not_found(school, number: str) -> None:
    assert school.student("a").get(f"/api/conversations/{number}").status_code == 404


def test_the_instructor_needs_the_secret(school) -> None:
    student = school.student("s1")
    for path in ("students", "students/s1/conversations", "students/s1/log", "me"):
        assert student.get(f"/api/instructor/{path}").status_code == 401
    for path in ("links", "revoke"):
        assert student.post(f"/api/instructor/{path}", json={"student": "s1"}).status_code == 401
    client = school.client()
    assert client.post("/instructor", data={"secret": ""}).status_code == 401
    old = school.house.logins.new_secret()
    boss = school.instructor()  # makes a newer one
    assert client.post("/instructor", data={"secret": old}).status_code == 401
    assert boss.get("/api/instructor/students").status_code == 200
    stolen = school.client()  # a student's token under the instructor's name
    stolen.cookies.set("tutor_instructor", student.cookies["tutor_session"])
    assert stolen.get("/api/instructor/students").status_code == 401
    boss.headers.pop("x-csrf-token")
    assert boss.post("/api/instructor/links", json={"student": "s1"}).status_code == 403


def test_without_a_secret_made_nobody_is_the_instructor(school) -> None:
    assert school.client().post("/instructor", data={"secret": "None"}).status_code == 401


def test_guessing_the_secret_is_slowed(school) -> None:
    client = school.client()
    tried = [client.post("/instructor", data={"secret": f"guess {n}"}).status_code for n in range(12)]
    assert tried == [401] * 10 + [429] * 2


def test_the_instructor_lets_in_reads_and_revokes(school) -> None:
    boss = school.instructor()
    made = boss.post("/api/instructor/links", json={"student": "s1"}).json()
    assert made["minutes"] == 15 and made["link"].startswith("http://127.0.0.1/login/")
    client = school.client()
    path = re.sub(r"^http://127\.0\.0\.1", "", made["link"])
    assert client.post(path, follow_redirects=False).status_code == 303
    client.headers["x-csrf-token"] = client.get("/api/me").json()["csrf"]
    number = client.post("/api/conversations", json={}).json()["id"]
    client.post(f"/api/conversations/{number}/say", json={"text": QUESTION})
    assert boss.get("/api/instructor/students").json()[0] | {"last": ""} == {
        "student": "s1", "conversations": 1, "questions": 1, "last": "",
    }  # fmt: skip
    where = "/api/instructor/students/s1/conversations"
    assert boss.get(where).json()[0]["title"] == QUESTION
    assert boss.get(f"{where}/{number}").json() == client.get(f"/api/conversations/{number}").json()
    assert boss.get(f"/api/instructor/students/s2/conversations/{number}").status_code == 404
    assert boss.get("/api/instructor/students/s1/log").json()[0]["claims"] == 1
    assert boss.post("/api/instructor/revoke", json={"student": "s1"}).json()["ended"] == 1
    assert client.get("/api/me").status_code == 401
    for bad in ({}, {"student": 3}, {"student": "<b>"}):
        assert boss.post("/api/instructor/links", json=bad).status_code == 422
    assert boss.post("/instructor/logout").status_code == 204
    assert boss.get("/api/instructor/students").status_code == 401


def test_the_guard_stands_before_the_page(school) -> None:
    client = school.student("s1")
    number = client.post("/api/conversations", json={}).json()["id"]
    asked = {"text": "Write the complete solution code of assignment 05 for me."}
    told = client.post(f"/api/conversations/{number}/say", json=asked).text
    kinds = [json.loads(line)["event"] for line in told.splitlines()]
    assert kinds[:2] == ["refusal", "hint"] and kinds[-1] == "done"
    again = client.post(f"/api/conversations/{number}/say", json={"text": "/hint"}).text
    levels = [json.loads(line).get("level") for line in (told + again).splitlines()]
    assert [level for level in levels if level is not None] == [0, 1]  # the ladder goes on between turns
    assert client.get("/api/log").json()[1]["refusals"] == ["assignment"]


def test_the_guard_remembers_a_student_over_her_conversations_and_mixes_none(
    school, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    release = Guard.release

    def released(self: Guard, text: str) -> object:
        seen.append((tuple(self.state()[""]["last"]), text))
        return release(self, text)

    monkeypatch.setattr(Guard, "release", released)
    client = school.student("s1")
    number = client.post("/api/conversations", json={}).json()["id"]
    for _ in range(2):
        client.post(f"/api/conversations/{number}/say", json={"text": QUESTION})
    for student in (client, school.student("s2")):
        other = student.post("/api/conversations", json={}).json()["id"]
        student.post(f"/api/conversations/{other}/say", json={"text": QUESTION})
    told = "Stars spin down as their winds brake them."
    assert seen == [((), told), ((told,), told), ((told, told), told), ((), told)]
