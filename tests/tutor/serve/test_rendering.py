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


COURSE = {
    "number": "05", "title": "Temperatures", "due": "2026-12-01", "days": 7, "over": False, "rungs": 4,
    "tasks": [{"name": "posterior", "what": "posterior(Phi, y)"}, {"name": "q1", "what": "Why?"}],
}  # fmt: skip
REFLECTION = {
    "purpose": "", "what_accepted": "", "what_rejected": "", "how_verified": "", "effect_on_answer": "",
    "confidence": None, "changed_at": "", "missing": ["purpose"],
}  # fmt: skip


def replies(told: list[dict], title: str = "earlier") -> dict:
    return {
        "GET /api/me": [200, {"student": "s1", "csrf": "the token", "provider": "extractive", "model": "",
                              "answering": None}],
        "GET /api/assignments": [200, [COURSE]],
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
    assert [json.loads(a["body"]) for a in said] == [{"text": "Why?", "assignment": ""}]
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
    assert shown["hint"]["hidden"] and shown["due"]["hidden"]  # no homework is chosen yet
    shown = run({**known, "steps": [*ASK, {"id": "new", "event": "click"}]})["shown"]
    assert len(shown["turns"]["children"]) == 1 and shown["export"]["hidden"]


def test_a_refusal_of_the_server_is_shown_and_the_question_kept() -> None:
    known = replies([])
    known["POST /api/conversations/8/say"] = [429, {"detail": "too many questions are waiting"}]
    shown = run({"script": "app.js", "replies": known, "steps": ASK})["shown"]
    assert "Too many questions are waiting." in shown["note"]["text"] and not shown["note"]["hidden"]
    assert shown["turns"]["text"] == ""  # it was not asked
    assert shown["question"]["value"] == "Why?"


def test_the_instructor_makes_a_link_and_reads() -> None:
    known = {
        "GET /api/instructor/me": [200, {"csrf": "t"}],
        "GET /api/instructor/students": [200, [{"student": "s1", "conversations": 1, "questions": 2, "last": ""}]],
        "GET /api/instructor/homework": [200, [COURSE]],
        "GET /api/instructor/homework/05": [200, [{"student": "s1", "questions": 3, "hints": 2, "refusals": 1, "tokens": 0,
                                                   "last": "", "reflected": True, "missing": ["confidence"]}]],
        "POST /api/instructor/links": [201, {"student": "s1", "link": "http://127.0.0.1/login/abc", "minutes": 15}],
    }  # fmt: skip
    steps = [{"id": "student", "event": "none", "value": "s1"}, {"id": "link", "event": "submit"}]
    done = run({"script": "instructor.js", "replies": known, "steps": steps}, "instructor.html")
    assert "http://127.0.0.1/login/abc" in done["shown"]["made"]["text"]
    assert "s1" in done["shown"]["class"]["text"]
    assert "5 of 6 answers" in done["shown"]["use"]["text"] and "in 7 days" in done["shown"]["due"]["text"]
    links = [e["attributes"]["href"] for e in elements(done["shown"]["use"]) if e["tag"] == "a"]
    assert links == [f"/api/instructor/homework/05/export.{kind}" for kind in ("csv", "json", "md")]


CHOOSE = {"id": "assignment", "event": "change", "value": "05"}


def test_a_homework_is_chosen_and_the_next_hint_asked_for_by_a_button() -> None:
    hint = {"event": "hint", "assignment": "05", "task": "posterior", "level": 0, "name": "question",
            "text": "Which?", "source": "", "section": ""}  # fmt: skip
    steps = [CHOOSE, {"id": "hint", "event": "click"}]
    done = run({"script": "app.js", "replies": replies([hint]), "steps": steps})
    (said,) = [json.loads(a["body"]) for a in done["asked"] if a["path"].endswith("/say")]
    assert said == {"text": "/hint posterior", "assignment": "05"}
    assert done["shown"]["hint"]["text"] == "Next hint (1 of 4 had)"
    assert "due in 7 days" in done["shown"]["due"]["text"]


def test_a_due_date_that_has_passed_is_said() -> None:
    known = replies([])
    known["GET /api/assignments"] = [200, [{**COURSE, "due": "2026-11-01", "days": -23, "over": True}]]
    shown = run({"script": "app.js", "replies": known, "steps": [CHOOSE]})["shown"]
    assert "was due on" in shown["due"]["text"] and "its solution may be spoken of" in shown["due"]["text"]


def test_a_reflection_is_written_kept_and_exported() -> None:
    used = {"student": "s1", "assignment": "05", "questions": [], "reflection": REFLECTION, "ai_use": []}
    known = replies([]) | {
        "GET /api/homework/05": [200, used],
        "POST /api/homework/05": [200, {**REFLECTION, "purpose": "to see", "changed_at": "2026-11-24T12:00:00+00:00"}],
    }  # fmt: skip
    steps = [
        CHOOSE,
        {"id": "tab-log", "event": "click"},
        {"id": "purpose", "event": "none", "value": "to see"},
        {"id": "confidence", "event": "none", "value": "0.7"},
        {"id": "reflection", "event": "submit"},
    ]
    done = run({"script": "app.js", "replies": known, "steps": steps})
    (kept,) = [
        json.loads(a["body"]) for a in done["asked"] if a["method"] == "POST" and "homework" in a["path"]
    ]
    assert kept["purpose"] == "to see" and kept["confidence"] == 0.7 and kept["how_verified"] == ""
    assert done["shown"]["reflection-state"]["text"].startswith("Saved")
    links = [e["attributes"]["href"] for e in elements(done["shown"]["log-files"]) if e["tag"] == "a"]
    assert links == ["/api/homework/05/export.md", "/api/homework/05/export.json"]


def test_a_session_that_ended_leaves_the_page_and_the_question_where_they_are() -> None:
    known = replies([])
    known["POST /api/conversations/8/say"] = [401, {"detail": "log in"}]
    shown = run({"script": "app.js", "replies": known, "steps": ASK})["shown"]  # a reload would fail
    assert "Your session has ended" in shown["note"]["text"] and shown["question"]["value"] == "Why?"


def test_formulas_are_built_from_the_lists_alone() -> None:
    good = ["mrow", {}, ["msub", {}, ["mi", {}, "M"], ["mn", {}, "1"]], ["mo", {"stretchy": "false"}, "<"]]
    bad = [
        ["script", {}, "window.pwned=1"],
        ["mrow", {"href": "javascript:window.pwned=1"}, ["mi", {}, "x"]],
        ["mrow", {"onclick": "window.pwned=1"}, ["mi", {}, "x"]],
        ["mspace", {"width": "9999em"}],
        ["mrow", {}, ["mrow", {}, ["img", {"src": "x"}]]],
        "text",
        ["mi", {}, {"tag": "script"}],
    ]
    told = [
        {"event": "claim", "text": f"${n}$", "quote": f"${n}$", "source_id": "a", "section": "", "number": 1,
         "shown": {"quote": ["see ", {"tex": f"tex{n}", "block": False, "math": tree}], "text": []}}
        for n, tree in enumerate([good, *bad])
    ]  # fmt: skip
    shown = run({"script": "app.js", "replies": replies(told), "steps": ASK})["shown"]
    made = list(elements(shown["turns"]))
    math = [e for e in made if e["space"] == "http://www.w3.org/1998/Math/MathML"]
    assert [e["tag"] for e in math] == ["math", "mrow", "msub", "mi", "mn", "mo"]
    assert {e["tag"] for e in made if e not in math} <= OURS
    assert not any(name in ("href", "onclick", "src") for e in made for name in e["attributes"])
    assert all(f"$tex{n}$" in shown["turns"]["text"] for n in range(1, len(bad) + 1))


def test_payloads_in_names_titles_tasks_and_reflections_stay_text(payloads: list[str]) -> None:
    all_of_them = " ".join(payloads)
    course = {**COURSE, "title": all_of_them, "tasks": [{"name": all_of_them, "what": all_of_them}]}
    said = {**REFLECTION, "changed_at": "2026-11-24T12:00:00+00:00", "purpose": all_of_them}
    lines = replies([], all_of_them)["GET /api/log"][1]
    used = {"student": "s1", "assignment": "05", "reflection": said, "ai_use": [],
            "questions": [{**lines[0], "assignment": all_of_them}]}  # fmt: skip
    known = replies([], all_of_them) | {
        "GET /api/assignments": [200, [course]],
        "GET /api/homework/05": [200, used],
    }
    steps = [CHOOSE, {"id": "tab-log", "event": "click"}]
    student = run({"script": "app.js", "replies": known, "steps": steps})["shown"]
    row = {"student": all_of_them, "questions": 1, "hints": 1, "refusals": 1, "tokens": 1, "last": all_of_them,
           "reflected": True, "missing": [all_of_them], "conversations": 1}  # fmt: skip
    known = {
        "GET /api/instructor/me": [200, {"csrf": "t"}],
        "GET /api/instructor/students": [200, [row]],
        "GET /api/instructor/homework": [200, [course]],
        "GET /api/instructor/homework/05": [200, [row]],
    }
    boss = run({"script": "instructor.js", "replies": known, "steps": []}, "instructor.html")["shown"]
    shown = [student[part] for part in ("log", "log-homework", "assignment", "task", "due")]
    for part in (*shown, boss["class"], boss["use"], boss["homework"]):
        assert payloads[0] in part["text"]
        for each in elements(part):
            assert each["tag"] in OURS, each["tag"]
            assert not any(name.startswith("on") or name in ("style", "src") for name in each["attributes"])
    assert student["purpose"]["value"] == all_of_them
