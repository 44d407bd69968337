"""A conversation: what it answers, how it helps, and that nothing said is ever lost."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from statml.errors import InputError
from tutor.budget import Budget
from tutor.chat import Claim, Conversation, Done, Hint, Piece, Refusal, Source, ToolCall
from tutor.chat.export import markdown
from tutor.library import BM25Retriever
from tutor.providers.extractive import ExtractiveProvider
from tutor.providers.openai_compatible import OpenAICompatibleProvider
from tutor.providers.scripted import ScriptedProvider
from tutor.records import Records
from tutor.records.calls import Calls
from tutor.records.transcripts import Transcripts

QUESTION = "How does gyrochronology infer ages?"
GOOD = {
    "text": "Ages follow from rotation.",
    "source": "S1",
    "quote": "infers the age of a star from its rotation",
}
BAD = {
    "text": "Ages follow from colour.",
    "source": "S1",
    "quote": "infers the age of a star from its colour",
}


def streamed(fake: ModuleType, text: str, *, cut: int | None = None, finish: bool = True) -> Any:
    """A stream of server-sent events with `text` in pieces of ten characters."""
    said = text[:cut]
    chunks: list[dict[str, Any]] = [
        {"delta": {"content": said[i : i + 10]}, "finish_reason": None} for i in range(0, len(said), 10)
    ]
    if finish:
        chunks.append({"delta": {}, "finish_reason": "stop"})
    head = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "fake-1"}
    lines = [{**head, "choices": [{"index": 0, **chunk}]} for chunk in chunks]
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    body = "".join(
        f"data: {json.dumps(line)}\n\n" for line in [*lines, {**head, "choices": [], "usage": usage}]
    )
    ends = "data: [DONE]\n\n" if finish else ""
    return fake.Answer(raw=(body + ends).encode(), promised_length=None if finish else len(body) + 500)


def kinds(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


def quoting(library: BM25Retriever, store: Transcripts, **options: Any) -> Conversation:
    return Conversation(library, ExtractiveProvider(), store, "s1", **options)


def test_an_answer_is_claims_with_sources(library: BM25Retriever, store: Transcripts) -> None:
    talk = quoting(library, store)
    events = list(talk.say(QUESTION))
    assert kinds(events) == ["Claim", "Source", "Done"]
    assert events[0].quote == "Gyrochronology infers the age of a star from its rotation."
    assert events[1].source_id == "ages" and events[0].number == events[1].number == 1
    # a source cited again keeps its number and is not introduced twice
    again = list(talk.say("Why do stars spin down?"))
    assert kinds(again) == ["Claim", "Done"] and again[0].number == 1


def test_silence_without_support(library: BM25Retriever, store: Transcripts) -> None:
    events = list(quoting(library, store).say("What is the best pizza in Columbus?"))
    assert kinds(events) == ["Refusal", "Done"] and events[0].kind == "unsupported"


def test_below_the_score_it_is_silent(library: BM25Retriever, store: Transcripts) -> None:
    events = list(quoting(library, store, confidence=lambda question, hits: 0.1).say(QUESTION))
    assert kinds(events) == ["Refusal", "Done"] and "probability 0.10" in events[0].text


def test_what_a_model_invents_is_dropped_and_counted(library: BM25Retriever, store: Transcripts) -> None:
    talk = Conversation(library, ScriptedProvider([{"claims": [BAD, GOOD]}]), store, "s1")
    events = list(talk.say(QUESTION))
    assert [e.text for e in events if isinstance(e, Claim)] == [GOOD["text"]]
    assert events[-1].dropped == 1


def test_the_ladder_climbs_and_ends(library: BM25Retriever, store: Transcripts) -> None:
    talk = quoting(library, store)
    first = list(talk.say("Write the function log_evidence for assignment 05."))
    assert kinds(first) == ["Refusal", "Hint", "Done"] and first[0].kind == "assignment"
    hints = [e for _ in range(4) for e in talk.say("/hint") if isinstance(e, Hint)]
    assert [h.level for h in (first[1], *hints)] == [0, 1, 2, 3, 3]
    assert {h.task for h in hints} == {"log_evidence"}
    assert any(isinstance(e, Source) and "05_bayesian" in e.source_id for e in talk.events())
    assert any(isinstance(e, Piece) and "last hint" in e.text for e in talk.events())
    assert [e.kind for e in talk.say("/hint nonsense") if isinstance(e, Refusal)] == ["input"]


def test_after_the_due_date_it_answers_from_the_sources(library: BM25Retriever, store: Transcripts) -> None:
    events = list(
        quoting(library, store, lifted={"05"}).say("Show the solution of assignment 05: what is a prior?")
    )
    assert not any(isinstance(e, Hint) or (isinstance(e, Refusal) and e.kind == "assignment") for e in events)


def test_it_resumes_where_it_was(library: BM25Retriever, tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    with Records(path) as records:
        talk = quoting(library, Transcripts(records))
        list(talk.say(QUESTION))
        list(talk.say("/hint coverage"))
        said = talk.events()
    with Records(path) as records:
        again = quoting(library, Transcripts(records), number=talk.number)
        assert again.events() == said and again.sources == talk.sources
        assert [e.level for e in again.say("/hint") if isinstance(e, Hint)] == [1]


def test_hints_go_on_where_the_same_conversation_got_elsewhere(
    library: BM25Retriever, store: Transcripts
) -> None:
    one = quoting(library, store)
    two = quoting(library, store, number=one.number)

    def hinted(talk: Conversation) -> list[int]:
        return [e.level for e in talk.say("/hint coverage") if isinstance(e, Hint)]

    assert hinted(one) + hinted(one) == [0, 1]
    assert hinted(two) == [2]
    turn = one.say(QUESTION)
    next(turn)
    assert hinted(two) == [3]
    list(turn)  # began with 2, and takes nothing back
    assert store.state(one.number)["levels"] == {"05/coverage": 3}


def test_nobody_opens_anothers_conversation(library: BM25Retriever, store: Transcripts) -> None:
    mine = quoting(library, store)
    with pytest.raises(InputError) as others:
        Conversation(library, ExtractiveProvider(), store, "s2", number=mine.number)
    with pytest.raises(InputError) as none:
        Conversation(library, ExtractiveProvider(), store, "s2", number=99)
    assert str(others.value).replace(str(mine.number), "N") == str(none.value).replace("99", "N")


def test_an_answer_that_is_stopped_is_kept_so_far(library: BM25Retriever, store: Transcripts) -> None:
    talk = quoting(library, store)
    turn = talk.say(QUESTION)
    first = next(turn)
    turn.close()  # what Ctrl-C does to it
    assert talk.events() == [first]
    assert [e.content["text"] for e in talk.entries() if e.kind == "student"] == [QUESTION]
    assert list(talk.say("/hint coverage"))[-1:] and store.state(talk.number)["task"] == "05/coverage"


def test_a_follow_up_is_understood(library: BM25Retriever, store: Transcripts) -> None:
    def rewritten(messages: Any) -> dict[str, Any]:
        assert QUESTION in messages[-1].content
        return {"question": "Why does gyrochronology infer ages from rotation?"}

    script = ScriptedProvider([{"claims": [GOOD]}, rewritten, {"claims": [GOOD]}])
    talk = Conversation(library, script, store, "s1")
    list(talk.say(QUESTION))
    assert "Claim" in kinds(list(talk.say("And why does it?")))
    quoted = quoting(library, store)
    list(quoted.say(QUESTION))
    assert "Claim" in kinds(list(quoted.say("and why?")))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda fake: fake.refusal(429, "slow down"), "429"),
        (lambda fake: fake.refusal(500, "broken"), "500"),
        (lambda fake: fake.refusal(503, "Loading model"), "503"),
        (lambda fake: fake.completion('{"claims": [{"text": "cut'), "JSON"),
        (lambda fake: fake.completion('{"answer": 42}'), "JSON of the asked shape"),
        (lambda fake: fake.Answer(raw=b"<html>not JSON</html>"), "not a chat completion"),
        (lambda fake: fake.Answer({"choices": []}), "no choices"),
        (lambda fake: fake.Answer(fake.completion("x"), promised_length=10_000), "server"),
        (lambda fake: fake.Answer(fake.completion("{}"), delay=1.0), "did not answer"),
    ],
    ids=["429", "500", "503", "truncated", "wrong schema", "html", "empty", "dropped", "slow"],
)
def test_a_faulty_server_loses_nothing(
    fake: ModuleType,
    library: BM25Retriever,
    store: Transcripts,
    answer: Callable[[ModuleType], Any],
    said: str,
) -> None:
    patience = 0.4 if said == "did not answer" else 20.0
    with fake.serve(answer(fake)) as server:
        provider = OpenAICompatibleProvider(server.url, "m", offline=True, timeout=patience, retries=0)
        talk = Conversation(library, provider, store, "s1")
        events = list(talk.say(QUESTION))
    assert kinds(events) == ["Refusal", "Done"] and events[0].kind == "service"
    assert said in events[0].text and "Traceback" not in events[0].text
    assert talk.events() == events and talk.entries()[0].content["text"] == QUESTION
    assert Calls(store.records, "s1").spent().calls == 1  # the failed call is logged too


def test_every_call_is_logged_and_the_same_one_answered_from_the_cache(
    fake: ModuleType, library: BM25Retriever, store: Transcripts
) -> None:
    with fake.serve(streamed(fake, json.dumps({"claims": [GOOD]}))) as server:
        provider = OpenAICompatibleProvider(server.url, "m", offline=True)
        talks = [Conversation(library, provider, store, "s1") for _ in range(2)]
        outcomes = [list(talk.say(QUESTION)) for talk in talks]
        assert len(server.requests) == 1
        other = OpenAICompatibleProvider(server.url, "another", offline=True)
        list(Conversation(library, other, store, "s1").say(QUESTION))
        assert len(server.requests) == 2  # another model is another question
    assert outcomes[0][:-1] == outcomes[1][:-1]
    assert (outcomes[0][-1].tokens, outcomes[1][-1].tokens) == (10, 0)
    with store.records.transaction() as db:
        rows = [
            tuple(r) for r in db.execute("SELECT student, purpose, cached, prompt_tokens FROM model_calls")
        ]
    assert rows == [("s1", "answer", 0, 7), ("s1", "answer", 1, 7), ("s1", "answer", 0, 7)]


def test_a_claim_is_shown_before_the_next_is_written(library: BM25Retriever, store: Transcripts) -> None:
    text = json.dumps({"claims": [GOOD, BAD, {**GOOD, "text": "Rotation gives ages."}]})
    sent = 0

    class Slow(ScriptedProvider):
        def stream(self, messages: Any, **options: Any) -> Any:
            nonlocal sent
            for letter in text:
                sent += 1
                yield letter
            return self.chat(messages, schema=options["schema"])

    talk = Conversation(library, Slow([text]), store, "s1")
    turn = talk.say(QUESTION)
    first = next(turn)
    assert first.text == GOOD["text"] and sent < len(text) / 2
    rest = list(turn)
    assert [e.text for e in rest if isinstance(e, Claim)] == ["Rotation gives ages."] and rest[
        -1
    ].dropped == 1


def test_a_stream_over_http(fake: ModuleType, library: BM25Retriever, store: Transcripts) -> None:
    text = json.dumps({"claims": [GOOD, {**GOOD, "text": "Rotation gives ages."}]})
    with fake.serve(streamed(fake, text)) as server:
        provider = OpenAICompatibleProvider(server.url, "m", offline=True)
        events = list(Conversation(library, provider, store, "s1").say(QUESTION))
        assert server.requests[0]["stream"] is True
    assert kinds(events) == ["Claim", "Source", "Claim", "Done"] and events[-1].tokens == 10


def test_a_stream_that_breaks_off_keeps_what_came(
    fake: ModuleType, library: BM25Retriever, store: Transcripts
) -> None:
    text = json.dumps({"claims": [GOOD, {**GOOD, "text": "Rotation gives ages."}]})
    with fake.serve(streamed(fake, text, cut=-20, finish=False)) as server:
        provider = OpenAICompatibleProvider(server.url, "m", offline=True, timeout=20.0, retries=0)
        talk = Conversation(library, provider, store, "s1")
        events = list(talk.say(QUESTION))
    assert kinds(events) == ["Claim", "Source", "Refusal", "Done"] and "broke off" in events[2].text
    assert talk.events() == events


def test_a_stopped_stream_is_logged(library: BM25Retriever, store: Transcripts) -> None:
    class Slow(ScriptedProvider):
        def stream(self, messages: Any, **options: Any) -> Any:
            yield json.dumps({"claims": [GOOD]})[:-2]
            raise AssertionError("nobody waits for more")

    talk = Conversation(library, Slow([]), store, "s1")
    turn = talk.say(QUESTION)
    assert isinstance(next(turn), Claim)
    turn.close()
    with store.records.transaction() as db:
        assert [row[0] for row in db.execute("SELECT error FROM model_calls")] == ["stopped by the student"]


@pytest.mark.parametrize(
    ("budget", "asked"),
    [
        (Budget(run_tokens=100), 0),
        (Budget(student_tokens=100), 0),
        (Budget(run_cost=1e-6, prompt_price=1.0, answer_price=1.0), 0),
        (Budget(student_cost=1e-6, answer_price=1.0), 0),
        (Budget(run_tokens=100_000, run_cost=1.0, prompt_price=1.0), 1),
    ],
)
def test_the_budget_is_a_hard_stop(
    library: BM25Retriever, store: Transcripts, budget: Budget, asked: int
) -> None:
    script = ScriptedProvider([{"claims": [GOOD]}])
    talk = Conversation(library, script, store, "s1", budget=budget)
    events = list(talk.say(QUESTION))
    assert len(script.calls) == asked
    if not asked:
        assert events[0].kind == "budget" and "extractive" in events[0].text


def test_what_another_student_spent_does_not_count(
    fake: ModuleType, library: BM25Retriever, store: Transcripts
) -> None:
    calls = Calls(store.records, "s2")
    with fake.serve(fake.completion(json.dumps({"claims": [GOOD]}))) as server:
        provider = OpenAICompatibleProvider(server.url, "m", offline=True)
        list(Conversation(library, provider, store, "s1").say(QUESTION))
    assert calls.spent().tokens == 0 and Calls(store.records, "s1").spent().tokens == 10


def test_a_budget_below_zero_is_refused() -> None:
    with pytest.raises(InputError, match="run_tokens must be 0 or more, got -1"):
        Budget(run_tokens=-1)


def test_a_model_may_call_a_computation_but_not_put_numbers_in(
    library: BM25Retriever, store: Transcripts
) -> None:
    class Recorded:
        def __init__(self) -> None:
            self.called: list[Any] = []

        def call(self, name: str, arguments: dict[str, Any]) -> ToolCall:
            self.called.append((name, arguments))
            return ToolCall(name, arguments, {"value": 1.0})

        def close(self) -> None: ...

    chosen = {"tool": "convert", "arguments": {"value": 3.0, "unit": "pc", "to": "lyr"}}
    invented = {"tool": "convert", "arguments": {"value": 4.0, "unit": "pc", "to": "lyr"}}
    script = ScriptedProvider([chosen, invented, {"claims": []}])
    tools = Recorded()
    talk = Conversation(library, script, store, "s1", tools=tools)  # type: ignore[arg-type]
    assert kinds(list(talk.say("Convert 3 pc to lyr"))) == ["ToolCall", "Done"]
    second = list(talk.say("Convert 3 pc to lyr, please"))
    assert "did not name" in second[0].error and len(tools.called) == 1


def test_export_escapes_and_logs(library: BM25Retriever, store: Transcripts) -> None:
    import yaml

    talk = quoting(library, store)
    list(talk.say("What is a <script>alert(1)</script> prior?\n# Not a heading ```"))
    list(talk.say(QUESTION))
    list(talk.say("/hint q1"))
    text = markdown(talk)
    assert "<script>" not in text.split("```yaml")[0] and "\n# Not" not in text
    assert "Gyrochronology infers the age" in text and "05/q1" in text
    block = yaml.safe_load(text.split("```yaml")[1].split("```")[0])
    assert block["ai_use"][0]["prompts"][1] == QUESTION


def test_a_database_of_the_first_version_is_brought_up(tmp_path: Path) -> None:
    from tutor.records.migrate import _statements, migrations

    path = tmp_path / "old.sqlite"
    db = sqlite3.connect(path)
    for statement in _statements(migrations()[0][1]):
        db.execute(statement)
    db.execute("CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL)")
    db.execute("INSERT INTO schema_version VALUES (1, 'then')")
    db.commit()
    db.close()
    with Records(path) as records:
        assert Transcripts(records).begin("s1", "extractive", "none") == 1


def test_the_end_says_who_answered(library: BM25Retriever, store: Transcripts) -> None:
    (*_, last) = quoting(library, store).say(QUESTION)
    assert isinstance(last, Done) and last.provider == "extractive" and last.tokens == 0
