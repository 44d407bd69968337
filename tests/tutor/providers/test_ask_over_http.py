"""The whole way of a question to a model server and back, as `tutor ask --provider openai` goes it."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from statml.errors import ServiceError
from tutor.library import Answer, BM25Retriever, Document, ask, cut
from tutor.providers import CallRecord, open_provider
from tutor.settings import Settings

TEXT = "Gyrochronology infers the age of a star from its rotation. Stars spin down as their winds brake them."
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


def asked(url: str, home: Path, log: list[CallRecord] | None = None) -> Answer:
    settings = Settings(home, provider="openai", base_url=url, model="m", offline=True, timeout=30)
    provider = open_provider(settings, log=None if log is None else log.append)
    return ask(QUESTION, BM25Retriever(cut(Document("notes", "Ages", TEXT))), provider)


def test_claims_come_back_judged(fake: ModuleType, tmp_path: Path) -> None:
    log: list[CallRecord] = []
    with fake.serve(fake.completion(json.dumps({"claims": [GOOD, BAD]}))) as server:
        answer = asked(server.url, tmp_path, log)
    assert [claim.quote for claim in answer.claims] == [GOOD["quote"]]
    assert [dropped.quote for dropped in answer.unsupported] == [BAD["quote"]]
    assert (answer.provider, answer.model) == ("openai", "fake-1")
    assert len(log) == 1 and log[0].reply is not None and log[0].reply.usage.prompt_tokens == 7
    sent = server.requests[0]["messages"]
    assert TEXT in sent[1]["content"] and TEXT not in sent[0]["content"] and QUESTION in sent[1]["content"]


def test_a_model_that_invents_everything_leads_to_silence(fake: ModuleType, tmp_path: Path) -> None:
    with fake.serve(fake.completion(json.dumps({"claims": [BAD]}))) as server:
        answer = asked(server.url, tmp_path)
    assert answer.abstained and answer.unsupported[0].reason == "its quote does not stand in the passage"


def test_a_model_that_talks_instead_is_one_sentence(fake: ModuleType, tmp_path: Path) -> None:
    with (
        fake.serve(fake.completion("Ages follow from rotation, dear student.")) as server,
        pytest.raises(ServiceError, match="did not return JSON of the asked shape"),
    ):
        asked(server.url, tmp_path)
