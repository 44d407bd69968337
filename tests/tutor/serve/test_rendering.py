"""The page's scripts run by node over a document of plain objects: what they ask, and what they make of replies.

It stands in for a browser where none is installed; it parses no markup, so an
attack could only show as an element or a link that we made ourselves.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

STATIC = Path(str(resources.files("tutor.serve"))) / "static"
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="needs node to run the page's scripts")

OURS = {
    "div", "article", "p", "blockquote", "button", "li", "span", "a", "code", "dl", "dt", "dd", "option",
    "table", "thead", "tbody", "tr", "th", "td", "i", "ul",
}  # fmt: skip


def run(scenario: dict, page: str = "index.html") -> dict:
    ids = re.findall(r'\sid="([^"]+)"', (STATIC / page).read_text(encoding="utf-8"))
    done = subprocess.run(
        [str(NODE), "--no-warnings", "--experimental-default-type=module", str(Path(__file__).parent / "stub_dom.mjs"), str(STATIC), json.dumps(ids)],
        input=json.dumps(scenario), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def elements(node: dict) -> Iterator[dict]:
    yield node
    for child in node["children"]:
        if isinstance(child, dict):
            yield from elements(child)


def hostile(payload: str) -> list[dict]:
    """A turn in which everything a source, a model or a tool could say is the payload."""
    return [
        {"event": "piece", "text": payload},
        {"event": "claim", "text": payload, "quote": payload, "source_id": payload, "section": payload,
         "start": 0, "end": 1, "number": 1},
        {"event": "claim", "text": f"x {payload}", "quote": payload, "source_id": payload, "section": payload,
         "start": 0, "end": 1, "number": 1},
        {"event": "source", "number": 1, "source_id": payload, "title": payload, "section": payload, "url": payload},
        {"event": "toolcall", "name": payload, "arguments": {payload: payload}, "result": {payload: payload}, "error": ""},
        {"event": "toolcall", "name": payload, "arguments": {}, "result": {}, "error": payload},
        {"event": "hint", "assignment": payload, "task": payload, "level": 0, "name": payload, "text": payload,
         "source": payload, "section": payload},
        {"event": "refusal", "kind": "unsupported", "text": payload},
        {"event": "done", "provider": payload, "model": payload, "tokens": 0, "cost": 0.0, "dropped": 0},
    ]  # fmt: skip


def replies(told: list[dict], title: str = "earlier") -> dict:
    return {
        "GET /api/me": [200, {"student": "s1", "csrf": "the token", "provider": "extractive", "model": ""}],
        "GET /api/conversations": [200, [{"id": 7, "at": "2026-11-24T12:00:00+00:00", "title": title}]],
        "POST /api/conversations": [201, {"id": 8}],
        "POST /api/conversations/8/say": [200, "".join(json.dumps(event) + "\n" for event in told)],
        "GET /api/log": [200, [{"conversation": 8, "at": "2026-11-24T12:00:00+00:00", "prompt": title, "claims": 2,
                                "dropped": 1, "hints": [title], "tools": [title], "refusals": [title],
                                "answered_by": title, "tokens": 12}]],
        "GET /api/conversations/7": [200, [{"at": "", "kind": "student", "text": title},
                                           *({"at": "", "kind": e["event"], **e} for e in told)]],
    }  # fmt: skip


ASK = [{"id": "question", "event": "keydown", "key": "Enter", "value": "Why?"}]


def test_a_question_is_asked_with_the_token_and_its_answer_shown_beside_its_source() -> None:
    told = [
        {"event": "claim", "text": "Stars spin down.", "quote": "Stars  spin down.", "source_id": "ages", "section": "",
         "start": 0, "end": 17, "number": 1},
        {"event": "source", "number": 1, "source_id": "ages", "title": "Ages of stars", "section": "", "url": "https://arxiv.org/abs/1"},
        {"event": "done", "provider": "extractive", "model": "none", "tokens": 0, "cost": 0.0, "dropped": 0},
    ]  # fmt: skip
    done = run({"script": "app.js", "replies": replies(told), "steps": ASK})
    said = [a for a in done["asked"] if a["path"].endswith("/say")]
    assert [json.loads(a["body"]) for a in said] == [{"text": "Why?"}]
    changes = [a for a in done["asked"] if a["method"] == "POST"]
    assert all(a["headers"]["X-CSRF-Token"] == "the token" for a in changes)
    shown = done["shown"]
    assert "Why?" in shown["turns"]["text"] and "Stars spin down." in shown["turns"]["text"]
    assert "Ages of stars" in shown["sources"]["text"] and "Stars spin down." in shown["sources"]["text"]
    assert shown["source-count"]["text"] == "1" and shown["status"]["text"] == "The answer is complete."
    assert shown["question"]["value"] == "" and "waiting" not in json.dumps(shown["turns"])
    (link,) = [e for e in elements(shown["sources"]) if e["tag"] == "a"]
    assert link["attributes"]["href"] == "https://arxiv.org/abs/1"
    assert link["attributes"]["rel"] == "noopener noreferrer"


def test_payloads_stay_text_and_make_no_element_or_link_of_their_own(payloads: list[str]) -> None:
    told = [event for payload in payloads for event in hostile(payload)]
    steps = [
        *ASK,
        {"id": "tab-log", "event": "click"},
        {"id": "conversations", "event": "change", "value": "7"},
    ]
    shown = run({"script": "app.js", "replies": replies(told, payloads[0]), "steps": steps})["shown"]
    for part in ("turns", "sources", "log", "conversations"):
        for each in elements(shown[part]):
            assert each["tag"] in OURS, each["tag"]
            assert not any(name.startswith("on") or name in ("style", "src") for name in each["attributes"])
            href = each["attributes"].get("href", "https://")
            assert re.match(r"https?://", href), href
    for payload in payloads:
        assert payload in shown["turns"]["text"] and " ".join(payload.split()) in shown["sources"]["text"]
    assert payloads[0] in shown["log"]["text"] and payloads[0] in shown["conversations"]["text"]


def test_the_page_begins_with_a_welcome_and_new_comes_back_to_it() -> None:
    known = {"replies": replies([]), "script": "app.js"}
    shown = run({**known, "steps": []})["shown"]
    assert len(shown["turns"]["children"]) == 1 and shown["who"]["text"] == "s1"
    shown = run({**known, "steps": [*ASK, {"id": "new", "event": "click"}]})["shown"]
    assert len(shown["turns"]["children"]) == 1 and shown["export"]["hidden"]


def test_a_refusal_of_the_server_is_shown_and_the_question_kept() -> None:
    known = replies([])
    known["POST /api/conversations/8/say"] = [429, {"detail": "too many questions are waiting"}]
    shown = run({"script": "app.js", "replies": known, "steps": ASK})["shown"]
    assert "too many questions are waiting" in shown["turns"]["text"]
    assert shown["question"]["value"] == "Why?"


def test_the_instructor_makes_a_link_and_reads() -> None:
    known = {
        "GET /api/instructor/me": [200, {"csrf": "t"}],
        "GET /api/instructor/students": [200, [{"student": "s1", "conversations": 1, "questions": 2, "last": ""}]],
        "POST /api/instructor/links": [201, {"student": "s1", "link": "http://127.0.0.1/login/abc", "minutes": 15}],
    }  # fmt: skip
    steps = [{"id": "student", "event": "none", "value": "s1"}, {"id": "link", "event": "submit"}]
    done = run({"script": "instructor.js", "replies": known, "steps": steps}, "instructor.html")
    assert "http://127.0.0.1/login/abc" in done["shown"]["made"]["text"]
    assert "s1" in done["shown"]["class"]["text"]
