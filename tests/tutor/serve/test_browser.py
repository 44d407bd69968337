"""The page in headless Chromium: a conversation as a student has it, and twenty attacks that do nothing.

Pictures are left in ``build/serve/`` for a person to look at.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import uvicorn

from tutor.records import Records
from tutor.records.transcripts import Transcripts
from tutor.serve.access import House
from tutor.serve.application import build
from tutor.serve.command import bind
from tutor.serve.desk import Desk, Question
from tutor.serve.logins import Logins

CHROMIUM = shutil.which("chromium")
PICTURES = Path(__file__).parents[3] / "build" / "serve"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (Debian: apt install chromium)")


def devtools() -> ModuleType:
    path = Path(__file__).parent / "devtools.py"
    spec = importlib.util.spec_from_file_location("serve_devtools", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault("serve_devtools", module)
    spec.loader.exec_module(module)
    return module


def claim(text: str, number: int, source: str, section: str = "") -> dict[str, Any]:
    return {"event": "claim", "text": text, "quote": text, "source_id": source, "section": section,
            "start": 0, "end": len(text), "number": number}  # fmt: skip


def source(number: int, name: str, title: str, section: str = "", url: str = "") -> dict[str, Any]:
    return {"event": "source", "number": number, "source_id": name, "title": title, "section": section, "url": url}  # fmt: skip


DONE = {"event": "done", "provider": "extractive", "model": "none", "tokens": 0, "cost": 0.0, "dropped": 0}
ANSWER = [
    claim("Gyrochronology infers the age of a star from its rotation.", 1, "2306.11232"),
    source(1, "2306.11232", "Ages of stars from rotation", "1 Introduction", "https://arxiv.org/abs/2306.11232"),
    claim("Stars spin down as their winds brake them, so that the period grows as a power of age.", 1, "2306.11232"),
    claim("A prior is a distribution that says what is known before the data are seen.", 2, "docs/chapters/05.md"),
    source(2, "docs/chapters/05.md", "Bayesian linear regression", "The prior"),
    DONE,
]  # fmt: skip
HINT = [
    {"event": "refusal", "kind": "assignment",
     "text": "I do not solve assignment 05 before it is due, but I help you to: here is a hint."},
    {"event": "hint", "assignment": "05", "task": "q1", "level": 1, "name": "concept", "source": "", "section": "",
     "text": "Which quantity of the posterior shrinks as more stars are added, and which does not?"},
    {"event": "toolcall", "name": "fit", "arguments": {"x": [1, 2, 3], "y": [2, 4, 6.1]}, "error": "",
     "result": {"coefficients": [-0.0666667, 2.05], "standard_errors": [0.0881917, 0.0408248]}},
    DONE,
]  # fmt: skip


FORMULAS = [
    claim(r"The mean is $\boldsymbol{\mu}_n = \boldsymbol{\Sigma}_n \mathbf{X}^\top \mathbf{C}^{-1} \mathbf{y}$, for a "
          r"prior of $\unknown{zero}$.", 1, "docs/chapters/05.md"),
    source(1, "docs/chapters/05.md", r"Bayesian regression of $T_{\rm eff}$", "The posterior"),
    claim(r"$$\log p(\mathbf{y}) = -\frac{1}{2} \mathbf{r}^\top \mathbf{C}^{-1} \mathbf{r} - \frac{1}{2} \log\det \mathbf{C} "
          r"- \frac{n}{2} \log 2\pi + \sum_{i=1}^{n} \frac{(y_i - \hat y_i)^2}{\sigma_i^2 + \sigma_0^2}$$", 1, "docs/chapters/05.md"),
    DONE,
]  # fmt: skip
RUNG = {"event": "hint", "assignment": "05", "task": "posterior", "level": 0, "name": "question", "source": "", "section": "",
        "text": r"With one parameter, $w = 3 \pm 1$: how do prior and measurement share the last word?"}  # fmt: skip
STOPPED = {
    "event": "refusal",
    "kind": "stopped",
    "text": "You stopped this answer; what was said before is kept.",
}


def hostile(payload: str) -> list[dict[str, Any]]:
    return [
        claim(payload, 1, payload, payload),
        {**claim(payload, 1, payload), "text": f"as {payload} says"},
        source(1, payload, payload, payload, payload),
        {"event": "toolcall", "name": payload, "arguments": {payload: payload}, "result": {payload: payload}, "error": ""},
        {"event": "hint", "assignment": payload, "task": payload, "level": 0, "name": payload, "text": payload,
         "source": payload, "section": payload},
        {"event": "piece", "text": payload},
        {"event": "refusal", "kind": "unsupported", "text": payload},
        {**DONE, "provider": payload, "model": payload},
    ]  # fmt: skip


class Stage:
    """Says what the test wants said, and keeps it as a conversation does."""

    #: Opened by a test to let the rest of a slow answer through.
    gate = threading.Event()

    def __init__(self, store: Transcripts) -> None:
        self._store = store

    def say(self, question: Question) -> Iterator[dict[str, Any]]:
        conversation, text = question.conversation, question.text
        about = {"assignment": question.assignment} if question.assignment else {}
        self._store.add(conversation, "student", {"text": text, **about})
        told = {
            "Why do stars spin down?": ANSWER,
            "Give me the solution of assignment 05": HINT,
            "/hint posterior": [RUNG, DONE],
            "slow": FORMULAS,
        }
        for number, event in enumerate(told.get(text) or hostile(text)):
            while text == "slow" and number == 2 and not (self.gate.wait(0.02) or question.stopped.is_set()):
                pass
            if question.stopped.is_set():
                event = STOPPED
            self._store.add(conversation, event["event"], event)
            yield event
            if event is STOPPED:
                return


@dataclass
class Site:
    """A running page."""

    url: str
    logins: Logins
    server: uvicorn.Server

    def cut(self) -> None:
        """Break every connection off, as a train does that enters a tunnel."""
        for connection in list(self.server.server_state.connections):
            connection.loop.call_soon_threadsafe(connection.transport.abort)  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("serve")

    @contextmanager
    def room() -> Iterator[Stage]:
        with Records(folder / "class.sqlite") as records:
            yield Stage(Transcripts(records))

    logins = Logins(folder / "logins.sqlite")
    app = build(House(logins, folder / "class.sqlite", Desk(room, workers=1)))
    listening = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, http="h11", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield Site(f"http://127.0.0.1:{listening.getsockname()[1]}", logins, server)
    server.should_exit = True
    thread.join(60)
    listening.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with devtools().Browser(CHROMIUM, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def entered(browser: Any, site: Site, student: str) -> Any:
    """A tab in which a student has pressed the button behind her link."""
    tab = browser.tab()
    tab.size(1280, 820)
    enter(tab, site, student)
    return tab


def enter(tab: Any, site: Site, student: str) -> None:
    """Open a new link of a student and press its button."""
    url, logins = site.url, site.logins
    tab.send("Page.navigate", url=f"{url}/login/{logins.link(student)}")
    tab.wait("document.querySelector('.card form')")
    if student == "look":
        tab.picture(PICTURES / "login.png")
    tab.run("document.forms[0].requestSubmit()")
    tab.wait("document.body && document.body.dataset.ready")


def online(tab: Any, on: bool) -> None:
    """Whether new requests of a tab reach anybody."""
    free = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    tab.send("Network.emulateNetworkConditions", offline=not on, **free)


def asked(tab: Any, text: str) -> None:
    """Ask, and wait for the end of the answer."""
    before = tab.run("document.querySelectorAll('.by').length")
    press(tab, text)
    tab.wait(f"document.querySelectorAll('.by').length > {before} && !document.getElementById('send').hidden")


def press(tab: Any, text: str) -> None:
    """Type a question and press Enter."""
    tab.run(f"document.getElementById('question').value = {json.dumps(text)}")
    tab.run("document.getElementById('question').focus()")
    tab.key("Enter", 13)


def test_a_conversation_as_a_student_has_it(browser: Any, site: Site) -> None:
    tab = entered(browser, site, "look")
    tab.picture(PICTURES / "welcome.png")
    asked(tab, "Why do stars spin down?")
    asked(tab, "Give me the solution of assignment 05")
    assert tab.run("document.querySelectorAll('#sources > li').length") == 2
    assert tab.run("document.activeElement.id") == "question"
    assert "[object" not in tab.run("document.body.innerText")
    assert not tab.nameless()
    tab.run("document.getElementById('assignment').focus()")  # a homework and a hint by keys alone
    tab.key("ArrowDown", 40)
    assert tab.run("document.getElementById('assignment').value") == "05"
    for stop in ("task", "hint"):
        tab.key("Tab", 9)
        assert tab.run("document.activeElement.id") == stop
        assert tab.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.key("Enter", 13)
    tab.wait("document.querySelectorAll('.by').length == 3 && !document.getElementById('send').hidden")
    assert tab.run("document.getElementById('hint').textContent") == "Next hint (1 of 4 had)"
    tab.run("document.querySelector('.cite').click()")
    assert tab.run("document.activeElement.id") == "source-1"
    for name, size in {"wide": (1280, 820), "tablet": (820, 1100), "phone": (390, 844)}.items():
        for dark in (False, True):
            tab.size(*size, dark=dark)
            time.sleep(0.1)
            tab.picture(PICTURES / f"conversation_{name}_{'dark' if dark else 'light'}.png")
            # nothing runs out of the page sideways; innerWidth would grow with what does
            assert tab.run("document.documentElement.scrollWidth") <= size[0]
    tab.size(1280, 820)
    tab.run("document.getElementById('tab-log').click()")
    tab.wait(
        "document.querySelectorAll('#log tbody tr').length == 2 && !document.getElementById('reflection').hidden"
    )
    assert not tab.nameless()
    tab.picture(PICTURES / "log.png")
    assert not tab.named("Runtime.exceptionThrown")
    assert not [e for e in tab.named("Log.entryAdded") if e["entry"]["level"] == "error"]
    tab.close()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Closed until the test opens it; nobody is left waiting behind it."""
    Stage.gate.clear()
    yield Stage.gate
    Stage.gate.set()


def test_an_answer_streams_outlives_its_connection_and_is_stopped(
    browser: Any, site: Site, gate: threading.Event
) -> None:
    url, logins = site.url, site.logins
    tab = entered(browser, site, "slow")
    press(tab, "slow")
    tab.wait("document.querySelectorAll('.claim').length == 1 && !document.getElementById('stop').hidden")
    assert tab.run("document.querySelectorAll('.waiting').length") == 1  # the rest is still to come
    tab.picture(PICTURES / "streaming.png")
    other = browser.tab()  # the same student opens the page once more: she sees what was said so far
    other.send("Page.navigate", url=url)
    other.wait(
        "document.querySelectorAll('.claim').length == 1 && document.getElementById('note').textContent"
    )
    online(tab, False)
    site.cut()
    gate.set()
    other.wait("document.querySelectorAll('.by').length == 1 && document.getElementById('note').hidden")
    tab.wait("document.getElementById('note').textContent.includes('connection is lost')")
    tab.picture(PICTURES / "lost.png")
    online(tab, True)
    tab.wait("document.querySelectorAll('.by').length == 1 && document.getElementById('note').hidden")
    for each in (tab, other):
        assert each.run("document.querySelectorAll('.claim').length") == 2
        assert each.run("document.querySelectorAll('#turns math').length") == 2
        assert each.run("document.querySelector('#turns').textContent.includes('$\\\\unknown{zero}$')")
    tab.send("Page.bringToFront")  # what lies behind is not drawn for seconds
    for name, size in {"wide": (1280, 820), "phone": (390, 844)}.items():
        tab.size(*size)
        tab.picture(PICTURES / f"formulas_{name}.png")
        assert tab.run("document.documentElement.scrollWidth") <= size[0]
    tab.size(1280, 820)
    gate.clear()
    press(tab, "slow")
    tab.wait("document.querySelectorAll('.claim').length == 3")
    tab.run("document.getElementById('stop').click()")
    tab.wait("!document.getElementById('send').hidden")
    assert "You stopped this answer" in tab.run(
        "document.querySelector('#turns article:last-child').textContent"
    )
    logins.revoke("slow")
    press(tab, "and then?")
    tab.wait("document.getElementById('note').textContent.includes('session has ended')")
    assert tab.run("document.getElementById('question').value") == "and then?"
    tab.picture(PICTURES / "session_ended.png")
    enter(other, site, "slow")  # a new link in the same browser
    tab.run("document.querySelector('#note button').click()")
    tab.wait("document.getElementById('note').hidden")
    tab.run("document.getElementById('ask').requestSubmit()")
    tab.wait(
        "document.getElementById('question').value == '' && document.querySelectorAll('.by').length == 2"
    )
    other.close()
    tab.close()


def test_the_instructor_sees_the_class(browser: Any, site: Site) -> None:
    url, logins = site.url, site.logins
    tab = browser.tab()
    tab.size(1280, 820)
    tab.send("Page.navigate", url=f"{url}/instructor")
    tab.wait("document.getElementById('secret')")
    tab.run(f"document.getElementById('secret').value = {json.dumps(logins.new_secret())}")
    tab.run("document.forms[0].requestSubmit()")
    tab.wait("document.body && document.body.dataset.ready")
    tab.picture(PICTURES / "instructor.png")
    assert not tab.nameless()
    assert not tab.named("Runtime.exceptionThrown")
    tab.close()


def test_the_attacks_would_work_on_a_page_that_parsed_them(browser: Any, payloads: list[str]) -> None:
    """The control: by innerHTML and without our policy at least one of the twenty runs."""
    tab = browser.tab()
    for payload in payloads:
        tab.run(f"(document.body.innerHTML = {json.dumps(payload)}, 0)")
    tab.wait("window.pwned")
    tab.close()


def test_twenty_attacks_in_questions_and_sources_do_nothing(
    browser: Any, site: Site, payloads: list[str]
) -> None:
    assert len(payloads) == 20
    tab = entered(browser, site, "attacked")
    for payload in payloads:
        asked(tab, payload)
    check_untouched(tab, site.url, payloads)
    tab.picture(PICTURES / "attacks.png")
    # again as kept: the list of conversations, the transcript, the log, links that are pressed
    tab.run("(window.before = true, 0)")
    tab.send("Page.reload")
    tab.wait(
        "!window.before && document.body && document.body.dataset.ready "
        "&& document.querySelectorAll('#conversations option').length > 1"
    )
    tab.run(
        "{ const s = document.getElementById('conversations'); s.value = s.options[1].value; s.dispatchEvent(new Event('change')); }"
    )
    tab.wait("document.querySelectorAll('.by').length == 20")
    tab.run("for (const b of document.querySelectorAll('#turns button, #sources a')) b.click()")
    tab.run("document.getElementById('tab-log').click()")
    tab.wait("document.querySelectorAll('#log tbody tr').length == 20")
    check_untouched(tab, site.url, payloads)
    tab.close()


def check_untouched(tab: Any, url: str, payloads: list[str]) -> None:
    """No script ran, no element came of a payload, nothing was asked of another host, no dialog, every word shown."""
    assert tab.run("window.pwned") is None
    foreign = "script, style, iframe, object, embed, svg, math, img, form, input, link, base, details, body"
    assert tab.run(f"[...document.querySelectorAll('#turns, #sources, #log')].flatMap(p => [...p.querySelectorAll('{foreign}')]).length") == 0  # fmt: skip
    assert tab.run("[...document.querySelectorAll('a[href]')].every(a => /^https?:/.test(a.href))")
    assert not tab.named("Page.javascriptDialogOpening")
    assert not tab.named("Runtime.exceptionThrown")
    asked_of = {request["request"]["url"] for request in tab.named("Network.requestWillBeSent")}
    assert all(each.startswith(url) for each in asked_of), asked_of
    shown = tab.run("document.getElementById('turns').textContent")
    assert all(payload in shown for payload in payloads)
