"""Nobody meets what is somebody else's: every route there is, and twenty students at once."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor

from starlette.routing import Mount, Route

#: Routes without a session: what they show is nobody's.
OPEN = {"/", "/login/{token}", "/instructor"}
SAMPLES = {"assignment": "05", "kind": "json", "student": "b"}
STOPPED = "/api/conversations/{number}/stop"


def routes(app) -> list[tuple[str, str]]:
    """Method and path of every route of the application, however deep it was included."""
    found, pending = [], list(app.routes)
    while pending:
        route = pending.pop()
        if isinstance(route, Mount):
            assert route.path == "/static", route.path
        elif hasattr(route, "original_router"):  # how FastAPI keeps an included router
            pending += route.original_router.routes
        else:
            assert isinstance(route, Route), f"{type(route)} is a kind of route this test does not know"
            found += [(method, route.path) for method in route.methods - {"HEAD"}]
    return sorted(found)


def test_all_routes_are_known_to_these_tests(school) -> None:
    found = routes(school.client().app)
    assert len(found) >= 28
    for _, path in found:
        names = set(re.findall(r"{(\w+)}", path))
        assert names <= {"token", "number", "assignment", "kind", "student"}, path
        assert path in OPEN or path == "/logout" or path.startswith(("/api/", "/instructor")), path
        if "{student}" in path:
            assert path.startswith("/api/instructor/"), path  # a student is never asked for by name
    assert {path for _, path in found if not path.startswith("/api/")} == OPEN | {
        "/logout",
        "/instructor/logout",
    }


def test_no_route_shows_or_changes_what_is_anothers(school) -> None:
    a, b = school.student("a"), school.student("b")
    number = b.post("/api/conversations", json={}).json()["id"]
    secret = "a secret of b about stars"
    assert (
        b.post(f"/api/conversations/{number}/say", json={"text": secret, "assignment": "05"}).status_code
        == 200
    )
    b.post("/api/homework/05", json={"purpose": secret})
    before = b.get(f"/api/conversations/{number}").json(), b.get("/api/homework/05").json()
    nobody = school.client()
    for method, path in routes(a.app):
        if path in OPEN or path.endswith("logout"):
            continue
        theirs = path.format(number=number, **SAMPLES)
        sent = {"json": {"text": "x", "purpose": "x"}} if method != "GET" else {}
        assert nobody.request(method, theirs, **sent).status_code == 401, (method, path)
        reply = a.request(method, theirs, **sent)
        assert secret not in reply.text, (method, path)
        if "{number}" in path and "instructor" not in path:
            none = a.request(method, path.format(number=10**6, **SAMPLES), **sent)
            assert (reply.status_code, reply.text) == (404, none.text), (method, path)
        if path.startswith("/api/instructor"):
            assert reply.status_code == 401, (method, path)
    assert (b.get(f"/api/conversations/{number}").json(), b.get("/api/homework/05").json()) == before


def test_every_change_needs_the_token_and_this_page(school) -> None:
    student, boss = school.student("s1"), school.instructor()
    for client in (student, boss):
        token = client.headers.pop("x-csrf-token")
        for method, path in routes(client.app):
            if method == "GET" or path in OPEN:
                continue
            mine = "instructor" in path
            if mine is not (client is boss):
                continue
            where = path.format(number=1, **SAMPLES)
            assert client.request(method, where, json={}).status_code == 403, path
            for forged in ("", "0" * 64, token[:-1], token + "0"):
                assert (
                    client.request(method, where, json={}, headers={"x-csrf-token": forged}).status_code
                    == 403
                )
            elsewhere = {"x-csrf-token": token, "origin": "https://evil.example"}
            assert client.request(method, where, json={}, headers=elsewhere).status_code == 403, path


def test_twenty_students_at_once_get_their_own_answers(school) -> None:
    def one(n: int) -> tuple[str, list[dict], list[dict]]:
        client = school.student(f"s{n}")
        number = client.post("/api/conversations", json={}).json()["id"]
        text = f"Why do stars spin down? I am number {n}."
        reply = client.post(f"/api/conversations/{number}/say", json={"text": text})
        told = [json.loads(line) for line in reply.text.splitlines()]
        return text, told, client.get(f"/api/conversations/{number}").json()

    with ThreadPoolExecutor(20) as pool:
        done = list(pool.map(one, range(20)))
    for text, told, kept in done:
        assert told[-1]["event"] == "done"
        assert [e["text"] for e in kept if e["kind"] == "student"] == [text]
        assert [e["event"] for e in kept[1:]] == [e["event"] for e in told]
        assert not any(other in json.dumps(kept) for other, _, _ in done if other != text)
