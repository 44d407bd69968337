"""Answer a question from the library, with a verified quote behind every claim, or not at all.

search -> is it supported? -> provider -> does every quote stand there? -> answer

The provider is not trusted: a claim is kept only if its quote stands verbatim
in the passage it names, its numbers stand in that quote, and quote and claim
speak of the same thing. The rest is listed as unsupported. That a quote is
verified means that the words stand in the source; whether the claim reads them
rightly is for the reader, who therefore always sees both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

from statml.errors import InputError
from tutor import language
from tutor.library.chunks import Chunk
from tutor.library.confidence import THRESHOLD
from tutor.library.quotes import find_quote, normalise
from tutor.library.search import Hit, Retriever
from tutor.library.support import COVERAGE, SENTENCE_COVERAGE, Support, support, supporting
from tutor.providers.base import Message, Provider, Source

PROMPT = "answer.v1"
#: Fewer words than this stand in a source by accident.
QUOTE_WORDS = 4
#: Share of a claim's content words that its quote (or the heading over it) must hold.
CLAIM_OVERLAP = 0.3
LONGEST_QUESTION = 2000

CLAIMS_SCHEMA: dict[str, Any] = {
    "title": "claims",
    "type": "object",
    "properties": {
        "claims": {
            "type": "array",
            "maxItems": 5,
            "items": {
                "type": "object",
                "properties": {
                    "text": {"type": "string"},
                    "source": {"type": "string"},
                    "quote": {"type": "string"},
                },
                "required": ["text", "source", "quote"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["claims"],
    "additionalProperties": False,
}

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True)
class Claim:
    """One supported sentence.

    Attributes
    ----------
    text : str
        What is claimed.
    source_id, title, section : str
        Where it stands.
    quote : str
        The source's own words: ``document.text[start:end]``.
    start, end : int
        Characters of the document's text.
    verified : bool
        Always True here; claims that fail are `Unsupported`.
    """

    text: str
    source_id: str
    title: str
    section: str
    quote: str
    start: int
    end: int
    url: str = ""
    verified: bool = True


@dataclass(frozen=True)
class Unsupported:
    """A claim the provider made and the sources do not bear out, with the reason."""

    text: str
    source_id: str
    quote: str
    reason: str
    verified: bool = False


@dataclass(frozen=True)
class Searched:
    """A passage that was looked at: its source and its search score."""

    source_id: str
    title: str
    section: str
    score: float


@dataclass(frozen=True)
class Answer:
    """The outcome of `ask`.

    Attributes
    ----------
    claims : tuple of Claim
        Empty if `abstained`.
    unsupported : tuple of Unsupported
        What was dropped.
    abstained : bool
        The library does not support an answer; `reason` says why in a sentence.
    support : Support
        Of the best passage.
    searched : tuple of Searched
        The passages looked at, best first.
    confidence : float or None
        Probability that the passages hold the answer (`tutor.library.confidence`);
        None where it was not asked for or no passage was fit.
    """

    question: str
    abstained: bool
    reason: str
    claims: tuple[Claim, ...]
    unsupported: tuple[Unsupported, ...]
    support: Support
    searched: tuple[Searched, ...]
    provider: str
    model: str
    prompt: str
    confidence: float | None = None

    @classmethod
    def silent(cls, question: str, reason: str, provider: str, model: str) -> Answer:
        """Silence before anything was looked up."""
        return cls(question, True, reason, (), (), Support(0.0, (), ()), (), provider, model, PROMPT)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the same for the same question, library and reply."""
        plain = asdict(self)
        plain["support"]["coverage"] = round(self.support.coverage, 4)
        for passage in plain["searched"]:
            passage["score"] = round(passage["score"], 4)
        if self.confidence is not None:
            plain["confidence"] = round(self.confidence, 3)
        return plain


def ask(
    question: str,
    retriever: Retriever,
    provider: Provider,
    *,
    k: int = 5,
    confidence: Callable[[str, Sequence[Hit]], float] | None = None,
) -> Answer:
    """Answer `question` from the passages `retriever` finds.

    Parameters
    ----------
    question : str
        In plain English, at most `LONGEST_QUESTION` characters.
    retriever : Retriever
        Search over the library.
    provider : Provider
        Who words the answer; the extractive one quotes.
    k : int
        Passages looked at.
    confidence : callable, optional
        Probability that passages answer a question, such as a
        `tutor.library.confidence.Confidence`; below its threshold there is no answer.

    Returns
    -------
    Answer
        With claims, or abstained; the rule is that of `tutor.library.support`,
        and of `confidence` where it is given.

    Raises
    ------
    InputError
        For an empty or overlong question, or `k` below 1.
    ServiceError
        If the provider cannot answer.

    Examples
    --------
    >>> from tutor.library.chunks import Document, cut
    >>> from tutor.library.search import BM25Retriever
    >>> from tutor.providers.extractive import ExtractiveProvider
    >>> text = "Gyrochronology infers the age of a star from its rotation. Stars spin down with time."
    >>> retriever = BM25Retriever(cut(Document("notes", "Stellar ages", text)))
    >>> answer = ask("How does gyrochronology infer ages?", retriever, ExtractiveProvider())
    >>> answer.claims[0].quote
    'Gyrochronology infers the age of a star from its rotation.'
    >>> ask("What is the mass of M87?", retriever, ExtractiveProvider()).abstained
    True
    """
    question = checked_question(question)
    hits = retriever.search(question, k)
    fit, best = supporting(question, hits, retriever.weight)
    searched = tuple(Searched(h.chunk.source_id, h.chunk.title, h.chunk.section, h.score) for h in hits)

    def outcome(
        claims: Sequence[Claim], unsupported: Sequence[Unsupported], reason: str, model: str = provider.model
    ) -> Answer:
        return Answer(
            question,
            not claims,
            "" if claims else reason,
            tuple(claims),
            tuple(unsupported),
            best,
            searched,
            provider.name,
            model,
            PROMPT,
            sure,
        )

    sure: float | None = None
    if not fit:
        return outcome([], [], _why_silent(best, bool(hits)))
    if confidence is not None:
        sure = confidence(question, fit)
        if sure < THRESHOLD:
            return outcome([], [], _why_unsure(sure))
    passages = {f"S{number}": hit for number, hit in enumerate(fit, start=1)}
    sources = tuple(Source(label, hit.chunk.text, hit.chunk.title) for label, hit in passages.items())
    reply = provider.chat(
        [Message("system", prompt_text()), Message("user", question, sources)],
        schema=CLAIMS_SCHEMA,
        seed=0,
        max_tokens=900,
    )
    claims: list[Claim] = []
    unsupported: list[Unsupported] = []
    for entry in reply.parsed["claims"]:
        judged = judge(entry["text"], entry["source"], entry["quote"], passages)
        (claims if isinstance(judged, Claim) else unsupported).append(judged)  # type: ignore[arg-type]
    if not claims:
        reason = (
            "none of the claims made is borne out by the passage it names"
            if unsupported
            else "the passages found speak of it without answering it"
        )
        return outcome([], unsupported, reason, reply.model)
    if provider.name == "extractive":
        claims = _speaking(question, claims, retriever.weight)
        reason = "no sentence of the passages found holds enough of the question"
        return outcome(claims, [], reason, reply.model)
    return outcome(claims, unsupported, "", reply.model)


def judge(text: str, label: str, quote: str, passages: dict[str, Hit]) -> Claim | Unsupported:
    """Check one claim against the passage it names; see the module for the conditions."""
    hit = passages.get(label.strip().strip("[]()"))
    if hit is None:
        return Unsupported(text, "", quote, f"it names {label!r}, which is not among the passages")
    chunk = hit.chunk

    def unsupported(reason: str) -> Unsupported:
        return Unsupported(text, chunk.source_id, quote, reason)

    if len(quote.split()) < QUOTE_WORDS:
        return unsupported(f"its quote has fewer than {QUOTE_WORDS} words")
    span = find_quote(quote, chunk.text)
    if span is None:
        return unsupported("its quote does not stand in the passage")
    if not span.whole_words:
        return unsupported("its quote begins or ends inside a word or number of the passage")
    verbatim = chunk.text[span.start : span.end]
    numbers = set(_NUMBER.findall(normalise(text))) - set(_NUMBER.findall(normalise(verbatim)))
    if numbers:
        return unsupported(f"its quote does not hold the number {min(numbers)}")
    if _overlap(text, verbatim, chunk) < CLAIM_OVERLAP:
        return unsupported("its quote speaks of something else")
    return Claim(
        text,
        chunk.source_id,
        chunk.title,
        chunk.section,
        verbatim,
        chunk.start + span.start,
        chunk.start + span.end,
        chunk.url,
    )


def prompt_text(name: str = PROMPT) -> str:
    """The instructions of a prompt version, from ``tutor/library/prompts/NAME.txt``."""
    return resources.files("tutor.library").joinpath("prompts", f"{name}.txt").read_text(encoding="utf-8")


def checked_question(question: str) -> str:
    """Return the question without blanks around it; refuse an empty or overlong one."""
    stripped = question.strip()
    if not stripped:
        raise InputError('the question is empty; ask something, for example `tutor ask "What is Kurucz-a1?"`')
    if any("\ud800" <= character <= "\udfff" for character in stripped):
        raise InputError("the question is not readable text; give it in UTF-8")
    if len(stripped) > LONGEST_QUESTION:
        raise InputError(
            f"the question has {len(stripped)} characters; at most {LONGEST_QUESTION} are accepted"
        )
    return stripped


def _overlap(text: str, quote: str, chunk: Chunk) -> float:
    claimed = set(language.terms(text))
    held = set(language.terms(" ".join((quote, chunk.title, chunk.section))))
    return len(claimed & held) / len(claimed) if claimed else 0.0


def _speaking(question: str, claims: Sequence[Claim], weight: Callable[[str], float]) -> list[Claim]:
    """Keep the sources whose quotes, under their title and headings, hold enough of the question."""
    kept = []
    for source_id in {claim.source_id for claim in claims}:
        own = [claim for claim in claims if claim.source_id == source_id]
        texts = [part for claim in own for part in (claim.quote, claim.title, claim.section)]
        if support(question, texts, weight).sufficient(SENTENCE_COVERAGE):
            kept.append(source_id)
    return [claim for claim in claims if claim.source_id in kept]


def _why_unsure(sure: float) -> str:
    return (
        f"the passages found speak of it, but are unlikely to answer it (probability {sure:.2f}, "
        f"{THRESHOLD:.2f} is asked)"
    )


def _why_silent(best: Support, found: bool) -> str:
    if not found:
        return "no passage has a content word in common with the question"
    if best.missing_names:
        return "no passage found names " + ", ".join(best.missing_names)
    return (
        f"the best passage holds {best.coverage:.0%} of the question's content by weight, "
        f"{COVERAGE:.0%} is asked; it lacks: {', '.join(best.missing)}"
    )
