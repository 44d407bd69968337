"""Budgets stop hard: what is stopped, broken, uncounted or still under way is spent too."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from statml.errors import ServiceError
from tutor.budget import AccountedProvider, Budget, BudgetExceededError, high_estimate
from tutor.providers import Message, Reply, Usage
from tutor.providers.base import Choice
from tutor.providers.openai_compatible import OpenAICompatibleProvider
from tutor.records import Records
from tutor.records.calls import Calls

SECRET = "sk-very-secret-0123456789"
ASKED = [Message("user", "Why do stars spin down?")]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with Records(tmp_path / "records.sqlite") as opened:
        yield opened


class Model:
    """A provider that says `text`, letter by letter where it streams, and may not count its tokens."""

    name, model = "openai", "m"

    def __init__(self, text: str = "word " * 20, usage: Usage | None = None) -> None:
        self.text, self.usage, self.asked = text, usage or Usage(), 0

    def chat(self, messages: Any, **options: Any) -> Reply:
        self.asked += 1
        return Reply((Choice(self.text),), self.model, self.usage)

    def stream(self, messages: Any, **options: Any) -> Any:
        reply = self.chat(messages, **options)
        yield from self.text
        return reply


def accounted(inner: Any, records: Records, limit: int | None = None, **options: Any) -> AccountedProvider:
    return AccountedProvider(inner, Calls(records, "s1"), Budget(student_tokens=limit), **options)


def rows(records: Records) -> list[tuple[Any, ...]]:
    with records.reading() as db:
        query = "SELECT error, prompt_tokens, answer_tokens FROM model_calls ORDER BY id"
        return [tuple(row) for row in db.execute(query)]


@pytest.mark.parametrize("way", ["stopped", "uncounted"])
def test_what_is_not_counted_is_estimated(records: Records, way: str) -> None:
    model = Model()
    provider = accounted(model, records, 2000)
    with pytest.raises(BudgetExceededError):
        for number in range(100):
            turn = provider.stream([Message("user", f"Question {number}")], max_tokens=50)
            next(turn)
            if way == "stopped":
                turn.close()
            else:
                list(turn)
    assert 1 < model.asked < 100
    assert Calls(records, "s1").spent().tokens <= 2000


def test_what_the_server_counts_is_believed(records: Records) -> None:
    accounted(Model(usage=Usage(7, 3)), records).chat(ASKED)
    assert rows(records) == [(None, 7, 3)]


def test_calls_at_the_same_time_share_what_is_left(records: Records) -> None:
    going, done = threading.Event(), threading.Event()

    class Slow(Model):
        def chat(self, messages: Any, **options: Any) -> Reply:
            going.set()
            assert done.wait(60)
            return super().chat(messages, **options)

    def first() -> None:
        with Records(records.path) as own:
            accounted(Slow(usage=Usage(7, 3)), own, 700).chat(ASKED, max_tokens=500)

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert going.wait(60)
        second = Model()
        with pytest.raises(BudgetExceededError):
            accounted(second, records, 700).chat([Message("user", "Another?")], max_tokens=500)
    finally:
        done.set()
        thread.join()
    assert second.asked == 0
    # what the first did not take is free again
    assert accounted(second, records, 700).chat([Message("user", "Another?")], max_tokens=500).text


def test_a_process_that_is_killed_has_spent_what_it_might_have(records: Records) -> None:
    class Killed(BaseException): ...

    class Dies(Model):
        def chat(self, messages: Any, **options: Any) -> Reply:
            # what another process sees at this moment, and after a kill
            seen.extend(rows(records))
            raise Killed

    seen: list[tuple[Any, ...]] = []
    with pytest.raises(Killed):
        accounted(Dies(), records).chat(ASKED, max_tokens=500)
    assert seen[0][0] == "was not finished" and seen[0][2] == 500


def test_a_sample_that_is_drawn_is_not_taken_from_the_cache(records: Records) -> None:
    model = Model()
    provider = accounted(model, records)
    for options in ({"temperature": 0.7}, {"temperature": 0.7, "seed": 1}, {"temperature": 0.0}, {}):
        for _ in range(2):
            provider.chat(ASKED, **options)
    assert model.asked == 2 + 1 + 1 + 1


@pytest.mark.parametrize(
    "changed",
    [
        {"schema": SCHEMA},
        {"schema": {**SCHEMA, "required": []}},
        {"seed": 1},
        {"max_tokens": 5},
        {"temperature": 0.5, "seed": 1},
        {"n": 2},
        {"messages": [Message("user", "Why do stars spin down!")]},
        {"messages": [Message("system", "Why do stars spin down?")]},
        {"model": "other"},
        {"url": "http://127.0.0.1:2/v1"},
        {"prompt": "v2"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_the_cache_tells_apart_what_matters(records: Records, changed: dict[str, Any]) -> None:
    asked: list[str] = []

    class Recorded(OpenAICompatibleProvider):
        def chat(self, messages: Any, **options: Any) -> Reply:
            asked.append(self.model)
            return Reply((Choice('{"a": 1}', {"a": 1}),), self.model, Usage(1, 1))

    def ask(url: str = "http://127.0.0.1:1/v1", model: str = "m", prompt: str = "v1", **call: Any) -> None:
        provider = accounted(Recorded(url, model, environ={}), records, prompt=prompt)
        provider.chat(call.pop("messages", ASKED), **call)

    ask()
    ask()
    assert len(asked) == 1
    ask(**changed)
    assert len(asked) == 2


def test_the_estimate_is_on_the_high_side() -> None:
    # tokens of the byte-pair tokenizer of SmolLM2
    counted = {
        " ".join(f"{i / 7:.6f}" for i in range(100)): 929,
        "Stars spin down as their winds brake them. " * 20: 182,
        "引力透镜效应的观测" * 50: 900,
        "σ²≈μ±Δ" * 80: 560,
        "🪐🔭✨" * 50: 400,
    }
    for text, tokens in counted.items():
        assert tokens <= high_estimate(text)


def test_a_server_that_fails_leaves_no_key_behind(fake: ModuleType, records: Records, tmp_path: Path) -> None:
    """The bytes of the key are in no record, no error and no file, whatever the server says of it."""
    said = f"Incorrect API key provided: {SECRET}. Authorization: Bearer {SECRET}"
    errors = []
    for answer in (
        fake.refusal(401, said),
        fake.refusal(500, said),
        fake.Answer(raw=said.encode()),
        fake.Answer(fake.completion(said), promised_length=99_999),
    ):
        with fake.serve(answer) as server:
            url = server.url.replace("//", f"//user:{SECRET}@")
            provider = OpenAICompatibleProvider(
                url, "m", retries=0, timeout=0.2, environ={"OPENAI_API_KEY": SECRET}
            )
            for ask in (provider_chat, provider_stream):
                with pytest.raises(ServiceError) as error:
                    ask(accounted(provider, records))
                errors.append(str(error.value))
    assert len(errors) == 8 and len(rows(records)) == 8
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for text in (*errors, stored.decode("latin-1"), json.dumps(rows(records))):
        assert SECRET not in text and SECRET[3:] not in text


def provider_chat(provider: AccountedProvider) -> None:
    provider.chat(ASKED, schema=SCHEMA)


def provider_stream(provider: AccountedProvider) -> None:
    list(provider.stream(ASKED, schema=SCHEMA))
