"""Claims of an answer one by one, while the model still writes the next.

Whether there is an answer at all, from which passages and with which prompt, is
decided by `tutor.library.answer.ask` itself, run with a provider that only notes
what it is asked. Then the model is asked, and each claim is judged at the moment
its JSON object closes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from tutor.budget import AccountedProvider
from tutor.library.answer import CLAIMS_SCHEMA, Claim, Unsupported, ask, judge
from tutor.library.search import Hit, Retriever
from tutor.library.support import supporting
from tutor.providers.base import Choice, Message, Reply
from tutor.providers.structured import whole_characters

#: As many as `CLAIMS_SCHEMA` allows.
MOST_CLAIMS = 5


class _Noted:
    """Notes what it is asked and answers with no claim."""

    name, model = "noted", "none"

    def __init__(self) -> None:
        self.messages: tuple[Message, ...] = ()
        self.options: dict[str, Any] = {}

    def chat(self, messages: Sequence[Message], *, schema: Any = None, **options: Any) -> Reply:
        self.messages, self.options = tuple(messages), options
        return Reply((Choice('{"claims": []}', parsed={"claims": []}),), self.model)


class _Remembered:
    """A retriever that remembers what it found last."""

    def __init__(self, inner: Retriever) -> None:
        self._inner = inner
        self.hits: list[Hit] = []

    def search(self, query: str, k: int) -> list[Hit]:
        self.hits = self._inner.search(query, k)
        return self.hits

    def weight(self, term: str) -> float:
        return self._inner.weight(term)


@dataclass(frozen=True)
class Request:
    """What a model is to be asked.

    Attributes
    ----------
    messages : tuple of Message
        Empty if the library supports no answer; `reason` then says why.
    passages : dict of str to Hit
        By label.
    """

    messages: tuple[Message, ...]
    options: dict[str, Any]
    passages: dict[str, Hit]
    reason: str

    @classmethod
    def of(
        cls,
        question: str,
        library: Retriever,
        confidence: Callable[[str, Sequence[Hit]], float] | None = None,
    ) -> Request:
        """The request `ask` would make."""
        noted, found = _Noted(), _Remembered(library)
        answer = ask(question, found, noted, confidence=confidence)
        fit, _ = supporting(question, found.hits, library.weight) if noted.messages else ([], None)
        passages = {f"S{number}": hit for number, hit in enumerate(fit, start=1)}
        return cls(noted.messages, noted.options, passages, answer.reason)

    def claims(self, provider: AccountedProvider) -> Iterator[Claim | Unsupported]:
        """Ask, and judge each claim as it is complete; raises as `AccountedProvider.stream`."""
        judged: list[tuple[str, str]] = []

        def new(entries: Sequence[dict[str, str]]) -> Iterator[Claim | Unsupported]:
            for entry in entries[:MOST_CLAIMS]:
                if (entry["text"], entry["quote"]) not in judged:
                    judged.append((entry["text"], entry["quote"]))
                    yield judge(entry["text"], entry["source"], entry["quote"], self.passages)

        text = ""
        with closing(provider.stream(self.messages, schema=CLAIMS_SCHEMA, **self.options)) as pieces:
            while True:
                try:
                    text += next(pieces)
                except StopIteration as end:
                    reply: Reply = end.value
                    break
                yield from new(complete_claims(text))
        # what came in no pieces: a reply of the cache, or of a second try
        yield from new(reply.parsed["claims"])


def complete_claims(text: str) -> list[dict[str, str]]:
    """The claims whose objects are closed in the beginning of a JSON text.

    Examples
    --------
    >>> complete_claims('{"claims": [{"text": "A.", "source": "S1", "quote": "q"}, {"text": "B')
    [{'text': 'A.', 'source': 'S1', 'quote': 'q'}]
    """
    text = whole_characters(text)
    start = text.find('"claims"')
    place = text.find("[", start)
    found: list[dict[str, str]] = []
    if start < 0 or place < 0:
        return found
    decoder = json.JSONDecoder()
    while True:
        place = text.find("{", place)
        if place < 0:
            return found
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            return found
        if all(isinstance(value.get(key), str) for key in ("text", "source", "quote")):
            found.append({key: value[key] for key in ("text", "source", "quote")})
