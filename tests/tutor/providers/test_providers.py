"""The providers that need no server, the log seam, and the choice by settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from statml.errors import InputError, ServiceError
from tutor.providers import CallRecord, LoggedProvider, Message, Source, open_provider, render
from tutor.providers.extractive import MOST_SENTENCES, ExtractiveProvider, select
from tutor.providers.scripted import ScriptedProvider
from tutor.providers.structured import ShapeError, finished_part, parse
from tutor.settings import Settings

TEXT = (
    "Gyrochronology infers the age of a star from its rotation. Stars spin down as their winds brake them. "
    "The Sun rotates in about 25 days at its equator."
)
SOURCE = (Source("S1", TEXT, "Stellar ages"),)


def test_extractive_quotes_the_sentence_that_answers() -> None:
    reply = ExtractiveProvider().chat([Message("user", "Why do stars spin down?", SOURCE)])
    assert reply.parsed["claims"][0]["quote"] == "Stars spin down as their winds brake them."
    assert reply.parsed["claims"][0]["source"] == "S1"


def test_extractive_says_nothing_of_its_own() -> None:
    for sentence in select("age rotation stars sun winds", SOURCE):
        assert sentence.text in TEXT
    assert len(select("age rotation stars sun winds", SOURCE)) <= MOST_SENTENCES


def test_a_question_of_amount_wants_a_number() -> None:
    source = (Source("S1", "The Sun rotates slowly at its equator now. " + TEXT),)
    chosen = select("How many days does the Sun rotate at its equator?", source)
    assert [sentence.text for sentence in chosen] == ["The Sun rotates in about 25 days at its equator."]


def test_extractive_skips_code_and_questions() -> None:
    text = "```\nthe rotation of the star is here in code\n```\n\nWhat is the rotation of a star called then?"
    assert select("What is the rotation of a star?", (Source("S1", text),)) == []


def test_a_sentence_that_repeats_the_question_is_no_answer() -> None:
    source = (Source("S1", "You may type tutor ask why do stars spin down? to see it. " + TEXT),)
    chosen = select("Why do stars spin down?", source)
    assert [s.text for s in chosen] == ["Stars spin down as their winds brake them."]


def test_extractive_without_sources_names_the_mend() -> None:
    with pytest.raises(ServiceError, match="--provider openai"):
        ExtractiveProvider().chat([Message("user", "Grade this.")])


def test_extractive_refuses_a_form_it_cannot_fill() -> None:
    schema = {"type": "object", "required": ["level"]}
    with pytest.raises(ServiceError, match="level"):
        ExtractiveProvider().chat([Message("user", "Why do stars spin down?", SOURCE)], schema=schema)


def test_scripted_keeps_order_and_sees_messages() -> None:
    provider = ScriptedProvider(["a", lambda messages: messages[-1].content.upper(), {"x": 1}])
    assert provider.chat([Message("user", "hi")], n=2).choices[1].text == "HI"
    assert provider.chat([Message("user", "hi")], schema={"type": "object"}).parsed == {"x": 1}
    with pytest.raises(ServiceError, match="no line left"):
        provider.chat([Message("user", "hi")])
    assert len(provider.calls) == 3


def test_every_call_is_logged_failures_too() -> None:
    records: list[CallRecord] = []
    provider = LoggedProvider(ScriptedProvider(["a"]), records.append)
    provider.chat([Message("user", "one")], seed=1)
    with pytest.raises(ServiceError):
        provider.chat([Message("user", "two")])
    assert [record.error is None for record in records] == [True, False]
    assert records[0].reply is not None and records[0].reply.text == "a"
    assert records[0].options == {"seed": 1} and records[1].messages[0].content == "two"


def test_a_source_cannot_close_its_fence() -> None:
    first, second = (render(Message("user", "q", SOURCE)) for _ in range(2))
    mark = first.splitlines()[1].removeprefix("<<<").split()[0]
    assert len(mark) == 16 and mark not in second


@pytest.mark.parametrize("text", ['{see below} {"a": 1} done', '```\n{"a": 1}\n```', '{"a": 1}'])
def test_json_is_found_in_its_wrapping(text: str) -> None:
    assert parse(text, {"type": "object", "required": ["a"]}) == {"a": 1}


def test_an_unfinished_entry_is_never_taken_for_a_finished_one() -> None:
    value = {"claims": [{"t": 'a "quoted" \\ brace } ] [', "q": [1, [2]]}, {"t": "b\\", "q": [[1], [2]]}]}
    text = json.dumps(value)
    for length in range(len(text)):
        try:
            kept = finished_part(text[:length], {"type": "object"})
        except ShapeError:
            continue
        assert kept["claims"] and kept["claims"] == value["claims"][: len(kept["claims"])]


@pytest.mark.parametrize("text", ["", "no", '{"a": ', "[" * 100_000, '{"a": Infinity}'])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ShapeError):
        parse(text, {"type": "object", "required": ["a"]})


def test_the_default_is_extractive(tmp_path: Path) -> None:
    assert open_provider(Settings(tmp_path)).name == "extractive"


@pytest.mark.parametrize("given", [{"model": "m"}, {"base_url": "http://127.0.0.1:1/v1"}])
def test_a_server_needs_address_and_model(tmp_path: Path, given: dict[str, str]) -> None:
    with pytest.raises(InputError, match="the provider openai needs"):
        open_provider(Settings(tmp_path, provider="openai", **given))  # type: ignore[arg-type]


def test_opening_a_provider_sends_nothing(tmp_path: Path) -> None:
    settings = Settings(tmp_path, provider="openai", base_url="http://127.0.0.1:1/v1", model="m")
    assert open_provider(settings).model == "m"
    assert open_provider(settings, log=lambda record: None).name == "openai"


def test_what_is_asks_for_a_sentence_that_says_so() -> None:
    passages = (
        Source(
            "S1", "Nobody likes a wide prior less than whoever has to defend one. It was wide.", "Debates"
        ),
        Source("S2", "A prior is the distribution of the parameters before the data are seen.", "Words"),
        Source("S3", "Prior work on this subject has looked at many more priors than one.", "History"),
    )
    reply = ExtractiveProvider().chat([Message("user", "What is a prior?", passages)])
    assert reply.parsed["claims"][0]["source"] == "S2"
    plain = ExtractiveProvider().chat([Message("user", "How wide should a prior be?", passages)])
    assert plain.parsed["claims"][0]["source"] == "S1"


def test_what_leads_to_an_example_is_no_answer() -> None:
    page = Source(
        "S1", "A flow of a single normal is fitted so:\n\nA flow maps a normal to the data.", "Flows"
    )
    (claim,) = ExtractiveProvider().chat([Message("user", "What is a flow?", (page,))]).parsed["claims"]
    assert claim["quote"] == "A flow maps a normal to the data."
