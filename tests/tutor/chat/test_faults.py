"""Every fault of a model server, through the command line: one sentence or an answer, and nothing is lost."""

from __future__ import annotations

import io
import json
import os
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tutor.cli import main

QUESTION = "How does gyrochronology infer ages?"
QUOTE = "infers the age of a star from its rotation"
PAGE = f"# Ages of stars\n\nGyrochronology {QUOTE}. Stars spin down as their winds brake them.\n"


def claims(text: str = "Ages follow from rotation.") -> str:
    return json.dumps({"claims": [{"text": text, "source": "S1", "quote": QUOTE}]})


def odd(fake: ModuleType, **changed: Any) -> Any:
    return fake.Answer({**fake.completion(claims()), **changed})


#: Answers that are odd and can be used all the same.
ODD: dict[str, Callable[[ModuleType], Any]] = {
    "half a character": lambda fake: fake.completion(claims("Ages \ud800 follow from rotation.")),
    "invisible": lambda fake: fake.completion(claims("Ages \u0000\u001b[m follow from rotation.")),
    "tokens in words": lambda fake: odd(fake, usage={"prompt_tokens": "many", "completion_tokens": None}),
    "tokens given back": lambda fake: odd(fake, usage={"prompt_tokens": -9, "completion_tokens": 10**30}),
    "a model of no name": lambda fake: odd(fake, model=12),
}
#: Answers nothing can be made of.
BAD: dict[str, Callable[[ModuleType], Any]] = {
    "html": lambda fake: fake.Answer(raw=b"<html>not JSON</html>"),
    "nested": lambda fake: fake.completion("[" * 100_000),
    "types": lambda fake: fake.completion('{"claims": [{"text": 1, "source": 2, "quote": null}]}'),
    "nothing": lambda fake: fake.Answer(raw=b""),
    "bytes": lambda fake: fake.Answer(raw=b"\xff\xfe\x00" * 50),
    "elsewhere": lambda fake: fake.Answer({}, status=302, headers={"Location": "http://example.org/x"}),
    "429": lambda fake: fake.refusal(429, "slow down"),
    "500": lambda fake: fake.refusal(500, "broken"),
    "503": lambda fake: fake.refusal(503, "Loading model"),
    "truncated": lambda fake: fake.completion('{"claims": [{"text": "cut'),
    "wrong schema": lambda fake: fake.completion('{"answer": 42}'),
    "empty": lambda fake: fake.Answer({"choices": []}),
    "dropped": lambda fake: fake.Answer(fake.completion("x"), promised_length=10_000),
    "slow": lambda fake: fake.Answer(fake.completion("{}"), delay=2.0),
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("TUTOR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TUTOR_HOME", str(tmp_path))
    monkeypatch.setenv("TUTOR_EMBEDDER", "none")
    monkeypatch.setenv("TUTOR_TIMEOUT", "1")
    monkeypatch.setenv("TUTOR_OFFLINE", "1")
    (tmp_path / "ages.md").write_text(PAGE)
    assert main(["library", "add", str(tmp_path / "ages.md")]) == 0
    return tmp_path


@pytest.fixture(autouse=True)
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be asked of a name server, whatever a server says."""
    resolve = socket.getaddrinfo

    def numbers_only(host: Any, *given: Any, **named: Any) -> Any:
        assert host in ("127.0.0.1", "::1", None), f"the name {host!r} was looked up"
        return resolve(host, *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", numbers_only)


def run(verb: str, url: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(QUESTION + "\n"))
    arguments = [verb, QUESTION] if verb == "ask" else [verb]
    return main([*arguments, "--provider", "openai", "--base-url", url, "--model", "m"])


def kept(home: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(home / "conversations.sqlite") as db:
        return db.execute("SELECT kind, content FROM conversation_entries ORDER BY position").fetchall()


@pytest.mark.parametrize("verb", ["ask", "chat"])
@pytest.mark.parametrize("fault", ODD)
def test_an_odd_answer_is_an_answer(
    verb: str, fault: str, fake: ModuleType, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with fake.serve(ODD[fault](fake)) as server:
        assert run(verb, server.url, monkeypatch) == 0
    shown = capsys.readouterr()
    assert "follow from rotation." in shown.out and "\x1b" not in shown.out
    assert [kind for kind, _ in kept(home)] == ["student", "claim", "source", "done"]
    with sqlite3.connect(home / "conversations.sqlite") as db:
        assert all(tokens >= 0 for (tokens,) in db.execute("SELECT prompt_tokens FROM model_calls"))


@pytest.mark.parametrize("verb", ["ask", "chat"])
@pytest.mark.parametrize(
    "fault",
    [pytest.param(name, marks=() if name in ("html", "nested") else pytest.mark.slow) for name in BAD],
)
def test_a_fault_is_one_sentence(
    verb: str, fault: str, fake: ModuleType, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    capsys.readouterr()
    with fake.serve(BAD[fault](fake)) as server:
        assert run(verb, server.url, monkeypatch) == (2 if verb == "ask" else 0)
    shown = capsys.readouterr()
    said = shown.err if verb == "ask" else shown.out
    assert server.url in " ".join(said.split()) and "Traceback" not in said
    assert verb == "chat" or (said.count("\n") == 1 and not shown.out)
    (student, refusal, done) = kept(home)
    assert QUESTION in student[1] and '"service"' in refusal[1] and done[0] == "done"


def test_letters_that_are_none_are_asked_about_and_not_tripped_over(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = io.TextIOWrapper(io.BytesIO(b"How does gyro\xff\xfe infer ages?\n/hint\n"), "utf-8")
    monkeypatch.setattr("sys.stdin", said)
    assert main(["chat"]) == 0
    assert "Hint 1 of 4" in capsys.readouterr().out
    assert [kind for kind, _ in kept(home)].count("student") == 2
