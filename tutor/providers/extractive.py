"""The provider that needs no model: it answers with sentences of the given sources.

Sentences are ranked by the rarity-weighted share of the question's content
words they hold, a word counting once over the whole answer (so the second
sentence is chosen for what the first leaves open); by the rank of the passage
they stand in; and, for "What is X?", by whether they say what X is. It writes
nothing of its own, so it can be irrelevant but never invents.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from statml.errors import ServiceError
from tutor import language
from tutor.providers.base import Choice, Message, Reply, Schema, Source
from tutor.providers.structured import shape_problem

#: Most sentences of one answer.
MOST_SENTENCES = 3
#: A further sentence must bring at least this share of the question's weight.
LEAST_GAIN = 0.15
#: What the first passage is ahead of the second by twice, of the third by three times, in shares of the weight;
#: it was chosen on the 105 questions of `tutor.library.evaluation`.
FIRST = 1.0
#: What a sentence is ahead by that says what the thing asked for is.
DEFINES = 1.0
#: Shorter sentences (headings, labels) and longer ones (tables, code) are no answers.
SENTENCE_WORDS = (6, 90)

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)

# What a question of amount, time or person must find in the sentence that answers it.
_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|dozen|hundred|thousand|million|billion)s?\b",
    re.I,
)
_NEEDS: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = (
    (re.compile(r"\bhow (?:many|much|old|far|large|long|fast|big|precise|often)\b", re.I), _NUMBER),
    (
        re.compile(r"\b(?:what|which) (?:year|date)\b|\bwhen (?:was|were|did|will)\b", re.I),
        re.compile(r"\b(?:1[5-9]|20)\d\d\b"),
    ),
)


_WHAT_IS = re.compile(
    r"\s*what (?:is|are|was|were|does|do) (?:an? |the )?([^?]{1,60}?)(?: mean)?\s*\?*\s*$", re.I
)


@dataclass(frozen=True)
class Sentence:
    """A sentence that may answer: its source's label and rank, its text, the question's terms it holds, whether it defines."""

    label: str
    text: str
    found: frozenset[str]
    rank: int = 0
    defines: bool = False


class ExtractiveProvider:
    """Answers ``{"claims": [{"text", "source", "quote"}]}`` from the sources of the last message.

    Parameters
    ----------
    weight : callable, optional
        Rarity of a term in the whole library; without it, rarity among the
        sentences of the given sources.

    Examples
    --------
    >>> sources = (Source("S1", "A Gaussian process is a prior over functions. It is often used."),)
    >>> reply = ExtractiveProvider().chat([Message("user", "What is a Gaussian process?", sources)])
    >>> reply.parsed["claims"][0]["quote"]
    'A Gaussian process is a prior over functions.'
    """

    name = "extractive"
    model = "none (sentences of the sources)"

    def __init__(self, weight: Callable[[str], float] | None = None) -> None:
        self._weight = weight

    def chat(
        self,
        messages: Sequence[Message],
        *,
        schema: Schema | None = None,
        n: int = 1,
        seed: int | None = None,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        top_logprobs: int | None = None,
    ) -> Reply:
        """Quote the sentences that hold most of the last message's question.

        Every sample is the same; seed, temperature and limits have no effect.

        Raises
        ------
        ServiceError
            If the last message has no sources, or the schema asks for more
            than quoting: both need a model.
        """
        last = messages[-1] if messages else Message("user", "")
        if not last.sources:
            raise ServiceError(
                "the extractive provider only quotes sources and was given none; "
                "choose a model with --provider openai --base-url URL --model NAME"
            )
        chosen = select(last.content, last.sources, self._weight)
        value = {"claims": [{"text": s.text, "source": s.label, "quote": s.text} for s in chosen]}
        problem = shape_problem(value, schema) if schema else ""
        if problem:
            raise ServiceError(
                "the extractive provider only quotes sources and cannot fill the asked form "
                f"({problem}); choose a model with --provider openai --base-url URL --model NAME"
            )
        choice = Choice(json.dumps(value, ensure_ascii=False), parsed=value)
        return Reply((choice,) * n, self.model)


def select(
    question: str, sources: Sequence[Source], weight: Callable[[str], float] | None = None
) -> list[Sentence]:
    """Choose up to `MOST_SENTENCES` sentences that together hold most of the question's weight.

    Parameters
    ----------
    question : str
        In plain English.
    sources : sequence of Source
        Best first; of two equal sentences the earlier source wins.
    weight : callable, optional
        Rarity of a term.

    Returns
    -------
    list of Sentence
        Empty if no sentence holds a content word of the question.
    """
    asked = language.question_terms(question)
    candidates = list(_candidates(question, asked, sources))
    weigh = weight or _rarity(candidates)
    total = sum(weigh(term) for term in asked)
    chosen: list[Sentence] = []
    covered: frozenset[str] = frozenset()

    def share(terms: frozenset[str]) -> float:
        return sum(weigh(term) for term in sorted(terms)) / total

    def gain(sentence: Sentence) -> float:
        # what is new decides; that it speaks of the same thing breaks near-ties
        held = share(sentence.found - covered) + 0.25 * share(sentence.found & covered)
        return held + FIRST / (1 + sentence.rank) + DEFINES * sentence.defines

    while candidates and total > 0 and len(chosen) < MOST_SENTENCES:
        best = max(candidates, key=gain)  # the first of equals
        new = share(best.found - covered)
        if new <= 0 or (chosen and new < LEAST_GAIN):
            break
        chosen.append(best)
        covered |= best.found
        candidates = [c for c in candidates if c.text != best.text]
    return chosen


def _candidates(question: str, asked: Sequence[str], sources: Sequence[Source]) -> Iterator[Sentence]:
    wanted = set(asked)
    needs = [answer for pattern, answer in _NEEDS if pattern.search(question)]
    least, most = SENTENCE_WORDS
    echo = " ".join(question.lower().split()).rstrip("?")
    definition = _definition(question)
    for rank, source in enumerate(sources):
        fenced = [match.span() for match in _FENCE.finditer(source.text)]
        for start, end in language.sentences(source.text):
            text = source.text[start:end]
            if any(start < stop and begin < end for begin, stop in fenced):
                continue
            if not least <= len(text.split()) <= most or text.startswith("|") or text.endswith(("?", ":")):
                continue  # a row of a table, a question, or what only leads to an example
            if not all(need.search(text) for need in needs):
                continue
            if echo in " ".join(text.lower().split()):
                continue  # a page that shows how to ask this does not answer it
            found = wanted & set(language.terms(text))
            if found:
                defines = definition is not None and definition.search(text) is not None
                yield Sentence(source.label, text, frozenset(found), rank, defines)


def _definition(question: str) -> re.Pattern[str] | None:
    """What a sentence looks like that answers "What is X?"; None for other questions."""
    asked = _WHAT_IS.match(question)
    if asked is None:
        return None
    words = r"\s+".join(re.escape(word) for word in asked.group(1).split())
    # at the start of a clause: a conjugate prior is not what a prior is
    start = r"(?:^|[.,;:(]\s*|\b(?:an?|the)\s+)[*_`]*"
    return re.compile(rf"{start}{words}s?[*_`]*(?:\s*\([^)]*\))?\s+(?:is|are|was|were|means?)\b", re.I)


def _rarity(candidates: Sequence[Sentence]) -> Callable[[str], float]:
    holding = Counter(term for sentence in candidates for term in sentence.found)
    count = len(candidates)
    return lambda term: math.log1p((count - holding[term] + 0.5) / (holding[term] + 0.5))
