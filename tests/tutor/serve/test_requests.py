"""What holds for every request: headers, sizes, hosts, origins; and what an answer looks like on the way."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

import pytest

STATIC = Path(str(resources.files("tutor.serve"))) / "static"
QUESTION = "Why do stars spin down?"


@pytest.mark.parametrize("path", ["/", "/login/x", "/instructor", "/static/app.js", "/api/me", "/nowhere"])
def test_headers_are_on_every_answer(school, path: str) -> None:
    headers = school.client().get(path).headers
    policy = headers["content-security-policy"]
    assert (
        policy.startswith("default-src 'self';")
        and "unsafe" not in policy
        and "frame-ancestors 'none'" in policy
    )
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin" and headers["cache-control"] == "no-store"
    assert "strict-transport-security" not in headers


def test_headers_are_on_refusals_too(school) -> None:
    refused = school.client().get("/", headers={"host": "evil.example"})
    assert refused.status_code == 421 and "content-security-policy" in refused.headers


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil:80", "[::1"])
def test_a_name_that_only_resolves_here_is_refused(school, host: str) -> None:
    assert school.client().get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost", "localhost:1", "[::1]:8765"])
def test_our_own_names_are_accepted(school, host: str) -> None:
    assert school.client().get("/login/x", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=["other", "null", "port", "cross", "same-site"],
)
def test_a_change_from_another_page_is_refused(school, headers: dict[str, str]) -> None:
    client = school.student("s1")
    assert client.post("/api/conversations", json={}, headers=headers).status_code == 403
    assert client.post("/login/x", headers=headers).status_code == 403
    assert client.post("/instructor", data={"secret": "x"}, headers=headers).status_code == 403
    good = {"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}
    assert client.post("/api/conversations", json={}, headers=good).status_code == 201


def test_large_requests_are_refused(school) -> None:
    client = school.student("s1")
    number = client.post("/api/conversations", json={}).json()["id"]
    say = f"/api/conversations/{number}/say"
    large = "x" * 20_000
    assert client.post(say, json={"text": large}).status_code == 413

    def pieces():  # no length is announced
        yield b'{"text": "'
        for _ in range(20):
            yield b"x" * 1000
        yield b'"}'

    sent = {"content-type": "application/json"}
    assert client.post(say, content=pieces(), headers=sent).status_code == 413
    assert client.get("/" + "x" * 3000).status_code == 414
    assert client.get("/api/me", headers={"content-length": "-5"}).status_code == 400
    assert client.get(f"/api/conversations/{number}").json() == []  # nothing of it was kept


@pytest.mark.parametrize(
    ("text", "status"),
    [("", 422), ("  ", 422), (None, 422), (["a"], 422), ("x" * 2001, 422), ("x" * 2000, 200)],
    ids=["empty", "blank", "none", "list", "long", "longest"],
)
def test_a_question_is_text_of_some_length(school, text: object, status: int) -> None:
    client = school.student("s1")
    number = client.post("/api/conversations", json={}).json()["id"]
    assert client.post(f"/api/conversations/{number}/say", json={"text": text}).status_code == status


def test_bodies_are_json_objects(school) -> None:
    client, kind = school.student("s1"), {"content-type": "application/json"}
    assert client.post("/api/conversations", data={"a": "b"}).status_code == 415
    for body in (b"{", b"[1]", b"\xff", b"[" * 9000):
        assert client.post("/api/conversations", content=body, headers=kind).status_code == 400
    number = client.post("/api/conversations", json={}).json()["id"]
    lone = b'{"text": "a \\ud800 b"}'
    assert client.post(f"/api/conversations/{number}/say", content=lone, headers=kind).status_code == 422


def test_an_answer_streams_its_events_and_is_kept(school) -> None:
    client = school.student("s1")
    number = client.post("/api/conversations", json={}).json()["id"]
    reply = client.post(f"/api/conversations/{number}/say", json={"text": QUESTION})
    assert reply.headers["content-type"].startswith("application/x-ndjson")
    told = [json.loads(line) for line in reply.text.splitlines()]
    assert [event["event"] for event in told] == ["claim", "source", "done"]
    assert told[0]["quote"] == "Stars spin down as their winds brake them."
    kept = client.get(f"/api/conversations/{number}").json()
    assert [entry["kind"] for entry in kept] == ["student", "claim", "source", "done"]
    assert client.get("/api/conversations").json()[0]["title"] == QUESTION
    (line,) = client.get("/api/log").json()
    assert (line["prompt"], line["claims"], line["tokens"]) == (QUESTION, 1, 0)
    assert line["answered_by"] == "no model"
    export = client.get(f"/api/conversations/{number}/export")
    assert "attachment" in export.headers["content-disposition"] and "ai_use:" in export.text
    assert export.headers["content-type"].startswith("text/plain")


def test_what_students_and_sources_say_travels_as_data(school, payloads: list[str]) -> None:
    client = school.student("s1")
    number = client.post("/api/conversations", json={}).json()["id"]
    for payload in payloads:
        reply = client.post(f"/api/conversations/{number}/say", json={"text": payload})
        assert reply.status_code == 200 and "html" not in reply.headers["content-type"]
    kept = client.get(f"/api/conversations/{number}")
    assert kept.headers["content-type"] == "application/json"
    assert [e["text"] for e in kept.json() if e["kind"] == "student"] == payloads
    for path in ("/", "/instructor"):  # the pages hold no word of anybody's
        assert "pwned" not in client.get(path).text
    reflected = client.get("/login/<script>pwned</script>")
    assert "pwned" not in reflected.text


def test_pages_hold_no_inline_script_or_style_and_nothing_from_elsewhere() -> None:
    pages = sorted(STATIC.glob("*.html"))
    assert len(pages) == 5
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<style|\sstyle\s*=|\son\w+\s*=|javascript:|https?://", text), page.name
        assert all(re.match(r'[^>]*\ssrc="/static/', tag) for tag in re.findall(r"<script([^>]*>)", text))
        assert re.search(r'<html lang="en">', text) and "<title>" in text and 'name="viewport"' in text
    assert "://" not in (STATIC / "style.css").read_text(encoding="utf-8")


def test_scripts_have_no_way_to_parse_markup() -> None:
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc|createContextualFragment|setHTML"
    scripts = sorted(STATIC.glob("*.js"))
    assert len(scripts) == 8
    for script in scripts:
        assert not re.search(ways, script.read_text(encoding="utf-8")), script.name


def test_every_control_has_a_name_and_every_id_is_there() -> None:
    for page, scripts in {"index.html": ("app.js",), "instructor.html": ("instructor.js",)}.items():
        text = (STATIC / page).read_text(encoding="utf-8")
        ids = set(re.findall(r'\sid="([^"]+)"', text))
        for script in scripts:
            used = set(re.findall(r'\$\("([^"]+)"\)', (STATIC / script).read_text(encoding="utf-8")))
            assert used <= ids, used - ids
        named = set(re.findall(r'<label[^>]*\sfor="([^"]+)"', text))
        for field in re.findall(r"<(?:input|textarea|select)[^>]*>", text):
            assert re.search(r'id="([^"]+)"', field).group(1) in named, field
        for button in re.findall(r"<button[^>]*>[^<]*</button>", text):
            assert "aria-label" in button or re.search(r">\s*\w", button) or ">/hint<" in button, button
        for target in re.findall(r'aria-(?:controls|labelledby|describedby)="([^"]+)"', text):
            assert target in ids, target


def luminance(colour: str) -> float:
    parts = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str, dark: int) -> float:
    """Ratio of two of the page's colours, as WCAG 2.2 defines it."""
    style = (STATIC / "style.css").read_text(encoding="utf-8")
    pairs = {
        name: (light, night)
        for name, light, night in re.findall(r"--([\w-]+): light-dark\((#\w+), (#\w+)\)", style)
    }
    bright, dim = sorted((luminance(pairs[one][dark]), luminance(pairs[other][dark])), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("dark", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("text", "grounds"),
    [
        ("ink", ("paper", "sheet", "raised", "blue-wash", "gold-wash")),
        ("faint", ("paper", "sheet", "raised")),
        ("blue", ("paper", "sheet", "blue-wash")),
        ("on-blue", ("blue",)),
        ("gold", ("gold-wash", "paper")),
        ("red", ("red-wash", "sheet")),
    ],
)
def test_text_stands_out_from_its_ground(text: str, grounds: tuple[str, ...], dark: int) -> None:
    for ground in grounds:
        assert contrast(text, ground, dark) >= 4.5, (text, ground)  # level AA


def test_fields_stand_out_and_colours_are_the_listed_ones() -> None:
    for dark in (0, 1):
        for ground in ("paper", "sheet"):
            assert contrast("edge", ground, dark) >= 3  # level AA for what is not text
            assert contrast("blue", ground, dark) >= 3  # the ring of the focus
    style = (STATIC / "style.css").read_text(encoding="utf-8")
    assert not re.search(
        r"#[0-9a-fA-F]{3,8}\b|rgba?\(|hsla?\(", style.split("}", 1)[1]
    )  # all pairs are tested above
    for used in set(re.findall(r"[^-]color: var\(--([\w-]+)\)", style)):
        assert used in ("ink", "faint", "blue", "on-blue", "gold", "red"), used


def test_nothing_moves_for_whoever_wants_it_still() -> None:
    style = (STATIC / "style.css").read_text(encoding="utf-8")
    still = re.findall(r"@media \(prefers-reduced-motion: reduce\) {(.*?animation: none.*?)}", style)
    moving = re.findall(r"([^{}]*){[^{}]*\banimation: \w+ [^{}]*}", style)
    assert "transition" not in style and len(moving) == 1 and moving[0].strip() in still[0]
    for script in STATIC.glob("*.js"):
        text = script.read_text(encoding="utf-8")
        assert "smooth" not in text or "prefers-reduced-motion" in text, script.name
