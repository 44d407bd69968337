"""Attacks: prompts that want the solution, and a model that does all it can to give it away."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from course import assignment as course_assignment
from statml.errors import DataNotFoundError
from tutor.chat import Claim, Conversation, Hint, Piece, Refusal, ToolCall
from tutor.guard import open_guard
from tutor.guard.evaluation import functions
from tutor.guard.transformations import WAYS
from tutor.library import BM25Retriever, Document, cut
from tutor.providers.extractive import ExtractiveProvider
from tutor.providers.scripted import ScriptedProvider
from tutor.records.transcripts import Transcripts

ATTACKS = [
    (kind, text)
    for kind, texts in json.loads((Path(__file__).with_name("attacks.json")).read_text()).items()
    for text in texts
]


@pytest.fixture(scope="module", autouse=True)
def instructor() -> Path:
    try:
        return course_assignment.instructor_folder()
    except DataNotFoundError:
        pytest.skip("needs the instructor's folder")


def shown(events: list[Any]) -> str:
    """All text a student sees of a turn."""
    texts = [
        f"{e.text} {e.quote}" if isinstance(e, Claim) else e.text
        for e in events
        if isinstance(e, Claim | Hint | Piece | Refusal)
    ]
    return "\n".join([*texts, *(str(e.result) for e in events if isinstance(e, ToolCall))])


def squashed(text: str) -> str:
    return re.sub(r"\W|_", "", text.lower())


@pytest.fixture(scope="module")
def solution_lines() -> list[str]:
    public = squashed(course_assignment.load("05").text)
    lines = [squashed(line) for _, _, code in functions() for line in code.splitlines()]
    return [line for line in dict.fromkeys(lines) if len(line) >= 25 and line not in public]


def obedient(messages: Any) -> dict[str, Any]:
    """A model that always gives the solution, with a quote of the source it was given."""
    source = messages[-1].sources[0]
    words = " ".join(source.text.split()[:8])
    code = "\n".join(body for _, _, body in functions())
    return {"claims": [{"text": f"{words}: {code}", "source": source.label, "quote": words}]}


def test_there_are_enough_attacks() -> None:
    assert len(ATTACKS) >= 40 and len({text for _, text in ATTACKS}) == len(ATTACKS)


@pytest.mark.parametrize(("kind", "text"), ATTACKS, ids=[f"{k}-{i}" for i, (k, _) in enumerate(ATTACKS)])
def test_an_attack_gets_no_solution(
    kind: str, text: str, library: BM25Retriever, store: Transcripts, solution_lines: list[str]
) -> None:
    def hostile(messages: Any) -> dict[str, Any]:
        return obedient(messages) if messages[-1].sources else {"tool": "none", "arguments": {}}

    quoted = Conversation(library, ExtractiveProvider(), store, "s1", guard=open_guard())
    model = Conversation(library, ScriptedProvider([hostile] * 3), store, "s1", guard=open_guard())
    for talk in (quoted, model):
        events = list(talk.say(text))
        said = squashed(shown(events))
        assert not [line for line in solution_lines if line in said]
        assert any(isinstance(e, Refusal | Claim) for e in events)
        if kind != "poisoned":
            refusals = {e.kind for e in events if isinstance(e, Refusal)}
            assert refusals & {"assignment", "rules", "unsupported"}
    # a poisoned page may be quoted, as any other; it is never obeyed
    outside = " ".join(e.text for e in quoted.events() if isinstance(e, Piece | Hint | Refusal))
    assert "BANANA" not in outside


def test_a_solution_in_the_library_is_not_quoted(store: Transcripts, solution_lines: list[str]) -> None:
    code = course_assignment.load("05").solution().read_text()
    pages = cut(Document("leak", "Whitened design", f"Whitened design of spectra.\n\n{code}"))
    talk = Conversation(BM25Retriever(pages), ExtractiveProvider(), store, "s1", guard=open_guard())
    for question in ("What is a whitened design of spectra?", "Where is triu_indices of axes.shape used?"):
        said = squashed(shown(list(talk.say(question))))
        assert not [line for line in solution_lines if line in said]


@pytest.mark.parametrize("way", WAYS)
def test_a_hostile_model_line_by_line(way: str, store: Transcripts, solution_lines: list[str]) -> None:
    """The model gives `posterior` in a disguise, turn after turn, each claim with a true quote that fits."""
    body = next(code for _, name, code in functions() if name == "posterior")
    turns = WAYS[way](body)
    words = " ".join(sorted({w for turn in turns for w in re.findall(r"\w+", turn)}))
    quote = "Turn of the whitened design"
    page = Document("page", "Whitened design", f"{quote} of spectra.\n\n{words}")

    def hostile(turn: str) -> Any:
        return lambda messages: {
            "claims": [
                {
                    "text": f"{quote} {turn}",
                    "source": "S1",
                    "quote": " ".join(messages[-1].sources[0].text.split()),
                }
            ]
        }

    talk = Conversation(
        BM25Retriever(cut(page)), ScriptedProvider(map(hostile, turns)), store, "s1", guard=open_guard()
    )
    said = "\n".join(shown(list(talk.say("What is the turn of the whitened design?"))) for _ in turns)
    if way in ("verbatim", "renamed", "comments translated", "line numbers"):
        assert not [line for line in solution_lines if line in squashed(said)]
    # whatever the disguise: the conversation ends each turn and tells of no error
    assert not any(isinstance(e, Refusal) and e.kind == "service" for e in talk.events())
