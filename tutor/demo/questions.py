"""The second part of the demonstration: a question the sources answer, and one they do not."""

from __future__ import annotations

from dataclasses import dataclass

from tutor.library import Answer, BM25Retriever, Library, ask
from tutor.library.default import default_documents
from tutor.providers.extractive import ExtractiveProvider

ANSWERABLE = "How does the LMC change the Milky Way halo?"
UNANSWERABLE = "What is the mass of the black hole in M87?"
CONTEXT = 220


@dataclass(frozen=True)
class Passage:
    """A quote where it stands: the words before it, the quote, the words after."""

    title: str
    source_id: str
    before: str
    quote: str
    after: str


@dataclass(frozen=True)
class Asked:
    """An answer with the passages its claims rest on."""

    answer: Answer
    passages: list[Passage]


def ask_both() -> list[Asked]:
    """Put both questions to the bundled library, without a model."""
    library = Library(None)
    library.add(default_documents())
    retriever = BM25Retriever(library.chunks())
    provider = ExtractiveProvider(retriever.weight)
    answers = [ask(question, retriever, provider) for question in (ANSWERABLE, UNANSWERABLE)]
    return [Asked(answer, _passages(answer, library)) for answer in answers]


def _passages(answer: Answer, library: Library) -> list[Passage]:
    found = []
    for claim in answer.claims:
        text = library.document(claim.source_id).text
        before, after = (
            text[max(0, claim.start - CONTEXT) : claim.start],
            text[claim.end : claim.end + CONTEXT],
        )
        # Whole words at the cuts.
        before = before if claim.start <= CONTEXT else "… " + before.partition(" ")[2]
        after = after if claim.end + CONTEXT >= len(text) else after.rpartition(" ")[0] + " …"
        found.append(Passage(claim.title, claim.source_id, before, text[claim.start : claim.end], after))
    return found
