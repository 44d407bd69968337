"""What a server can do is found out by asking it, remembered with its age, and used."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from statml.errors import ServiceError
from tutor.cli import main
from tutor.providers import Message, open_provider
from tutor.providers.capabilities import FILE, FRESH, Capabilities, remember, remembered
from tutor.providers.endpoint import Endpoint
from tutor.providers.openai_compatible import OpenAICompatibleProvider
from tutor.providers.probe import CAPABILITIES, probe
from tutor.settings import Settings

SECRET = "sk-very-secret-0123456789"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
HELLO = [Message("user", "hello")]


def server(fake: ModuleType, *lacking: str, ignoring: tuple[str, ...] = ()) -> Callable[[str, Any], Any]:
    """A server that can do everything but what it is said to lack (refused) or to ignore (taken, no effect)."""

    def answer(path: str, body: dict[str, Any]) -> Any:
        kind = body.get("response_format", {}).get("type", "")
        # what a request tries, by the field that only this request has
        fields = {
            "stream": body.get("stream"),
            "stream_options": body.get("stream_options"),
            "logprobs": body.get("logprobs"),
            "seed": "seed" in body,
            "max_tokens": "max_tokens" in body,
        }
        tried = [kind, *(name for name, there in fields.items() if there)]
        if path.endswith("/models"):
            tried, said = ["models"], {"object": "list", "data": [{"id": "m", "object": "model"}]}
        elif path.endswith("/embeddings"):
            tried = ["embeddings"]
            said = {"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.1] * 8}]}  # fmt: skip
        elif path.endswith("/responses"):
            tried, said = ["responses"], {"id": "r", "object": "response", "output": [], "model": "m"}
        else:
            held = kind and kind not in ignoring
            listed = {"content": [{"token": "b", "logprob": -0.1, "bytes": None, "top_logprobs": []}]}
            said = fake.completion(
                '{"hue": "blue"}' if held else "Blue, of course.",
                logprobs=listed if body.get("logprobs") and "logprobs" not in ignoring else None,
            )
        refused = [name for name in tried if name in lacking]
        if refused:
            status = 404 if path.endswith(("/models", "/embeddings", "/responses")) else 400
            return fake.refusal(status, f"{refused[0]} is not supported here")
        if body.get("stream") and "stream" not in ignoring:
            return fake.streamed("Blue.")
        return fake.Answer(said)

    return answer


def found(fake: ModuleType, *lacking: str, ignoring: tuple[str, ...] = ()) -> tuple[dict[str, str], Endpoint]:
    with fake.serve(rule=server(fake, *lacking, ignoring=ignoring)) as running:
        endpoint = Endpoint(running.url, "m", retries=0, timeout=30, environ={})
        return {finding.capability: finding.state for finding in probe(endpoint)}, endpoint


def test_a_server_that_can_do_everything(fake: ModuleType) -> None:
    states, endpoint = found(fake)
    assert states == dict.fromkeys(CAPABILITIES, "yes")
    assert endpoint.known.format == "json_schema"


@pytest.mark.parametrize("lacking", [name for name in CAPABILITIES if name != "chat"])
def test_what_is_refused_is_found_and_nothing_else(fake: ModuleType, lacking: str) -> None:
    states, endpoint = found(fake, lacking)
    assert states == {**dict.fromkeys(CAPABILITIES, "yes"), lacking: "no"}
    assert endpoint.known.lacks(lacking)


@pytest.mark.parametrize("ignored", ["json_schema", "json_object", "stream", "logprobs"])
def test_what_is_taken_without_effect_is_told_apart(fake: ModuleType, ignored: str) -> None:
    states, _ = found(fake, ignoring=(ignored,))
    assert states == {**dict.fromkeys(CAPABILITIES, "yes"), ignored: "ignored"}


def test_a_limit_by_another_name(fake: ModuleType) -> None:
    states, endpoint = found(fake, "max_tokens")
    assert states == dict.fromkeys(CAPABILITIES, "yes") and endpoint.known.lacks("max_tokens")


@pytest.mark.parametrize(
    ("status", "state"), [(400, "no"), (405, "no"), (501, "no"), (429, "unknown"), (503, "unknown")]
)
def test_busy_is_not_unable(fake: ModuleType, status: int, state: str) -> None:
    able = server(fake)

    def rule(path: str, body: dict[str, Any]) -> Any:
        return fake.refusal(status, "no") if path.endswith("/embeddings") else able(path, body)

    with fake.serve(rule=rule) as running:
        endpoint = Endpoint(running.url, "m", retries=0, environ={})
        states = {finding.capability: finding.state for finding in probe(endpoint)}
    assert states["embeddings"] == state
    assert ("embeddings" in endpoint.known.states) == (state == "no")


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_a_server_that_does_not_answer_ends_the_check(fake: ModuleType, status: int) -> None:
    said = fake.refusal(status, f"no, {SECRET}")
    with (
        fake.serve(said) as running,
        pytest.raises(ServiceError, match=f"status {status}") as error,
    ):
        list(probe(Endpoint(running.url, "m", retries=0, environ={"OPENAI_API_KEY": SECRET})))
    assert SECRET not in str(error.value)


# --- the command ---


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("TUTOR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TUTOR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    return tmp_path / "home"


def test_the_command_asks_then_remembers(
    fake: ModuleType, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake.serve(rule=server(fake, "json_schema", "seed")) as running:
        named = ["--provider", "openai", "--base-url", running.url, "--model", "m"]
        assert main(["provider", "check", "--known", *named]) == 2
        assert "nothing is remembered" in capsys.readouterr().err and not running.requests
        assert main(["provider", "check", *named]) == 0
        table = capsys.readouterr().out
        sent = len(running.requests)
        assert main(["provider", "check", "--known", "--json", *named]) == 0
        assert len(running.requests) == sent
        kept = json.loads(capsys.readouterr().out)
        # and a question is put at once the way this server takes it
        settings = Settings(home, provider="openai", base_url=running.url, model="m")
        reply = open_provider(settings).chat(HELLO, schema={"type": "object"}, seed=1)
    last = running.requests[-1]
    assert len(running.requests) == sent + 1
    assert last["response_format"]["type"] == "json_object" and "seed" not in last
    assert reply.notes == ("the server does not take seed",)
    assert "json_schema  no" in table and "json_object  yes" in table and "by json_object" in table
    assert {row["name"]: row["state"] for row in kept["capabilities"]}["seed"] == "no"
    assert kept["age_seconds"] < 60 and kept["base_url"] == running.url
    stored = b"".join(path.read_bytes() for path in home.iterdir())
    assert b"check of json_object" in stored and SECRET.encode() not in stored
    assert SECRET not in table and (home / FILE).stat().st_mode & 0o077 == 0


def test_the_command_without_a_server(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["provider", "check"]) == 2
    assert "nothing to check" in capsys.readouterr().err
    assert main(["provider", "check", "--provider", "openai"]) == 2
    assert "needs base_url" in capsys.readouterr().err


# --- what is remembered ---


def test_old_or_broken_memory_counts_for_nothing(tmp_path: Path) -> None:
    def kept(age: timedelta) -> Capabilities:
        at = (datetime.now(UTC) - age).isoformat()
        remember(tmp_path, "http://127.0.0.1:1/v1", "m", Capabilities({"seed": "no"}, at))
        return remembered(tmp_path, "http://127.0.0.1:1/v1", "m")

    assert kept(timedelta(days=1)).lacks("seed")
    assert not kept(FRESH + timedelta(seconds=1)).states
    assert not kept(timedelta(days=-1)).states  # the clock was set back
    remember(tmp_path, "http://127.0.0.1:1/v1", "other", Capabilities().learned("n", "no"))
    assert kept(timedelta(0)).lacks("seed") and not remembered(tmp_path, "http://127.0.0.1:2/v1", "m").states
    for broken in ("", "[]", '{"http://127.0.0.1:1/v1 m": 3}', '{"http://127.0.0.1:1/v1 m": {"states": 1}}'):
        (tmp_path / FILE).write_text(broken)
        assert not remembered(tmp_path, "http://127.0.0.1:1/v1", "m").states
    remember(tmp_path / "no" / "folder", "a", "m", Capabilities())
    remember(Path("/dev/null/x"), "a", "m", Capabilities())


def test_prose_in_spite_of_a_schema_is_learned(fake: ModuleType) -> None:
    learned: list[Capabilities] = []
    replies = ["Certainly! The value is one.", '{"a": 1}', '{"a": 2}']
    with fake.serve(*map(fake.completion, replies)) as running:
        provider = OpenAICompatibleProvider(running.url, "m", retries=0, environ={}, learned=learned.append)
        assert provider.chat(HELLO, schema=SCHEMA).parsed == {"a": 1}
        assert provider.chat(HELLO, schema=SCHEMA).parsed == {"a": 2}
    kinds = [request["response_format"]["type"] for request in running.requests]
    assert kinds == ["json_schema", "json_schema", "json_object"]
    assert json.dumps(SCHEMA, sort_keys=True) in running.requests[1]["messages"][-1]["content"]
    assert [known.states["json_schema"] for known in learned] == ["ignored"]


def test_a_refusal_for_another_reason_teaches_nothing(fake: ModuleType) -> None:
    too_long = fake.refusal(400, "the prompt has 9000 tokens, the context 8192")
    with fake.serve(too_long) as running:
        provider = OpenAICompatibleProvider(running.url, "m", retries=0, environ={})
        with pytest.raises(ServiceError, match="9000 tokens"):
            provider.chat(HELLO, schema=SCHEMA)
    assert not provider.endpoint.known.states


def test_a_server_that_does_not_stream_is_asked_whole(fake: ModuleType) -> None:
    with fake.serve(rule=server(fake, "stream")) as running:
        provider = OpenAICompatibleProvider(running.url, "m", retries=0, environ={})
        for _ in range(2):
            turn = provider.stream(HELLO)
            with pytest.raises(StopIteration) as end:
                next(turn)
            assert end.value.value.text == "Blue, of course."
    assert [bool(request.get("stream")) for request in running.requests] == [True, False, False]


def test_a_server_that_does_not_count_still_streams(fake: ModuleType) -> None:
    with fake.serve(rule=server(fake, "stream_options")) as running:
        provider = OpenAICompatibleProvider(running.url, "m", retries=0, environ={})
        assert ["".join(provider.stream(HELLO)) for _ in range(2)] == ["Blue.", "Blue."]
    assert [bool(request.get("stream_options")) for request in running.requests] == [True, False, False]


def test_a_streamed_reply_of_another_shape_is_repaired_once(fake: ModuleType) -> None:
    with fake.serve(fake.streamed('{"a": "one"}'), fake.completion('{"a": 1}')) as running:
        turn = OpenAICompatibleProvider(running.url, "m", retries=0, environ={}).stream(HELLO, schema=SCHEMA)
        said = []
        with pytest.raises(StopIteration) as end:
            while True:
                said.append(next(turn))
    assert "".join(said) == '{"a": "one"}' and end.value.value.parsed == {"a": 1}
    assert end.value.value.usage.prompt_tokens == 14 and len(running.requests) == 2
