"""Questions made of the papers themselves: ``python -m tutor.library.evaluation.known_items ABSTRACTS.jsonl.gz``.

A title asks for its abstract, stored without it; the last sentence asks for the
rest. Which paper is meant is known, so hundreds of questions cost nothing, but
their authors wrote question and answer with one pen: they are *semi-synthetic*,
and kind to words. So they are also asked with the rarest of the words taken
away that question and paper share, as somebody would who says it otherwise.

Source: known-item search by Azzopardi, de Rijke and Balog 2007, SIGIR, 455.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from statml import console
from tutor import language
from tutor.library.chunks import Document
from tutor.library.evaluation.benchmark import Query, run
from tutor.library.evaluation.command import table
from tutor.library.index.hybrid import LibraryIndex
from tutor.library.index.minilm import MiniLM
from tutor.library.index.stored import embed
from tutor.library.ingest.records import read_lines
from tutor.library.store import Library

#: Words taken away.
LESS = (0, 3, 6)
_SEED = 7


def by_title(papers: Sequence[Document], questions: int) -> tuple[list[Document], list[Query]]:
    """Abstracts without their titles, and the first `questions` titles as questions."""
    documents = [Document(one.source_id, "", one.text) for one in papers]
    return documents, [Query(one.source_id, one.title, {one.source_id: 2}) for one in papers[:questions]]


def by_last_sentence(papers: Sequence[Document], questions: int) -> tuple[list[Document], list[Query]]:
    """Papers without their last sentences, and those of the first `questions` as questions."""
    documents, queries = [], []
    for number, one in enumerate(papers):
        spans = list(language.sentences(one.text))
        if len(spans) < 3:
            continue
        start = spans[-1][0]
        documents.append(Document(one.source_id, one.title, one.text[:start]))
        if number < questions:
            queries.append(Query(one.source_id, one.text[start:], {one.source_id: 2}))
    return documents, queries


def harder(index: LibraryIndex, queries: Sequence[Query], less: int) -> list[Query]:
    """The questions without the `less` rarest of the words that they share with their paper."""
    held: dict[str, set[str]] = {}
    for chunk in index.library.chunks():
        held.setdefault(chunk.source_id, set()).update(language.terms(chunk.searchable))
    return [Query(q.id, _without(index, q, held[q.id], less), q.relevant) for q in queries]


def _without(index: LibraryIndex, query: Query, held: set[str], less: int) -> str:
    words = query.text.split()
    rarity = {w: max((index.weight(t) for t in language.terms(w) if t in held), default=0.0) for w in words}
    gone = sorted((w for w in rarity if rarity[w] > 0), key=lambda w: (-rarity[w], w))[:less]
    return " ".join(word for word in words if word not in gone)


def main() -> int:
    """Print a table for titles and for last sentences, whole and with words taken away."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("abstracts", type=Path, help="JSON lines: id, title, abstract")
    parser.add_argument("--documents", type=int, default=1500)
    parser.add_argument("--questions", type=int, default=400)
    args = parser.parse_args()
    papers = [one for one in read_lines(args.abstracts, "") if isinstance(one, Document)]
    picks = np.random.default_rng(_SEED).permutation(len(papers))[: args.documents]
    chosen = [papers[i] for i in picks]
    embedder = MiniLM(reduced=True)
    for name, make in (("titles", by_title), ("last sentences", by_last_sentence)):
        documents, queries = make(chosen, args.questions)
        library = Library(None)
        library.add(documents)
        embed(library, embedder)
        index = LibraryIndex(library, embedder)
        for less in LESS:
            print(f"{name}, {less} words taken away (semi-synthetic)")
            print(table(run(index, harder(index, queries, less))) + "\n")
    return console.EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
