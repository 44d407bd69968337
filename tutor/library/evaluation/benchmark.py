"""Run questions through search by words, by vectors and by both, and measure the rankings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from statml.errors import DataNotFoundError, InputError
from tutor.library.chunks import Document, Rejected
from tutor.library.default import default_documents
from tutor.library.evaluation import measures
from tutor.library.index.hybrid import LibraryIndex, Mode
from tutor.library.ingest.records import record

WAYS: tuple[Mode, ...] = ("words", "vectors", "ranks", "hybrid")
#: Passages read to rank documents: several of one document count once.
DEPTH = 60
SEED = 20250609

_HEADING = re.compile(r"^## +(.+?) *#*$", re.MULTILINE)


@dataclass(frozen=True)
class Query:
    """A question, and the documents that answer it: 2 answers it, 1 helps."""

    id: str
    text: str
    relevant: dict[str, int] = field(default_factory=dict)
    kind: str = "plain"


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes
    ----------
    documents, queries : int
        Looked through, and asked.
    ways : dict
        Of each way of search, each measure with its interval.
    differences : dict
        Hybrid less each of the other ways, of each measure, on the same questions.
    missing : tuple of str
        Relevant ids that the corpus does not hold; they count as not found.
    model : str
        Of the vectors.
    """

    documents: int
    queries: int
    ways: dict[str, dict[str, measures.Interval]]
    differences: dict[str, dict[str, measures.Interval]]
    missing: tuple[str, ...]
    model: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def read_corpus(path: Path) -> list[Document]:
    """Read ``{id, title, text, year?, categories?}``, a document a line.

    Raises
    ------
    InputError
        With the line that is none.
    """
    documents = []
    for where, entry in _lines(path):
        try:
            documents.append(record(entry, str(path)))
        except ValueError as error:
            raise InputError(f"{where} {error}") from error
    return documents


def read_queries(path: Path) -> list[Query]:
    """Read ``{id, text, relevant: {document id: grade}}``, a question a line.

    Raises
    ------
    InputError
        With the line that is none.
    """
    queries: list[Query] = []
    for where, entry in _lines(path):
        relevant = entry.get("relevant") if isinstance(entry, dict) else None
        if (
            not isinstance(relevant, dict)
            or not isinstance(entry.get("text"), str)
            or not entry["text"].strip()
        ):
            raise InputError(f"{where} must hold id, text and relevant (document ids with grades)")
        if any(isinstance(g, bool) or not isinstance(g, int) or not 0 <= g <= 10 for g in relevant.values()):
            raise InputError(f"{where}: grades must be whole numbers from 0 to 10, got {relevant}")
        queries.append(
            Query(
                str(entry.get("id", len(queries) + 1)),
                entry["text"],
                relevant,
                str(entry.get("kind", "plain")),
            )
        )
    return queries


def questions(name: str) -> list[Query]:
    """The tutor's own: ``course``, ``abstracts`` or ``unanswerable``."""
    with resources.as_file(resources.files("tutor.library.evaluation") / f"{name}.jsonl") as path:
        return read_queries(path)


def course_sections() -> Iterator[Document]:
    """The default collection, its pages divided at their second headings: ``page#heading``.

    Raises
    ------
    DataNotFoundError
        In an installed copy, which has no ``docs`` beside it.
    """
    found = False
    for document in default_documents():
        if isinstance(document, Rejected):
            continue
        if document.kind == "abstract":
            yield document
            continue
        found = found or document.source_id.startswith("docs/")
        yield from _divided(document)
    if not found:
        raise DataNotFoundError(
            "the tutor's own questions are about docs/, which is in a checkout only; "
            "give --corpus and --queries, or --library"
        )


def run(index: LibraryIndex, queries: Iterable[Query]) -> Report:
    """Ask every question in every way, and measure.

    Parameters
    ----------
    index : LibraryIndex
        With vectors, or only ``words`` is measured.
    queries : iterable of Query
        Those without a relevant document are passed over: there is nothing to rank.

    Raises
    ------
    InputError
        If no question has a relevant document.
    """
    asked = [query for query in queries if any(grade > 0 for grade in query.relevant.values())]
    if not asked:
        raise InputError("no question has a relevant document: nothing can be measured")
    ways = WAYS if index.has_vectors else WAYS[:1]
    vectors = index.encode([query.text for query in asked]) if index.has_vectors else None
    values: dict[str, dict[str, np.ndarray]] = {}
    for way in ways:
        rankings = [
            ranked(index, query.text, None if vectors is None else vectors[row], way)
            for row, query in enumerate(asked)
        ]
        values[way] = _measured(rankings, asked)
    rng = np.random.default_rng(SEED)
    known = {document.source_id for document in index.library.documents()}
    return Report(
        len(known),
        len(asked),
        {way: {m: measures.interval(v, rng) for m, v in found.items()} for way, found in values.items()},
        {
            f"hybrid - {way}": {
                m: measures.interval(values["hybrid"][m] - v, rng) for m, v in values[way].items()
            }
            for way in ways[:-1]
        }
        if len(ways) > 1
        else {},
        tuple(sorted({name for query in asked for name in query.relevant} - known)),
        index.library.manifest("embedder"),
    )


def ranked(index: LibraryIndex, text: str, vector: Any, way: Mode) -> list[str]:
    """Documents in the order of their best passages."""
    hits = index.search_vector(text, vector, DEPTH, mode=way)
    return list(dict.fromkeys(hit.chunk.source_id for hit in hits))


def _measured(rankings: Sequence[Sequence[str]], asked: Sequence[Query]) -> dict[str, np.ndarray]:
    pairs = list(zip(rankings, asked))
    return {
        "recall@5": np.array([measures.recall(r, q.relevant, 5) for r, q in pairs]),
        "recall@10": np.array([measures.recall(r, q.relevant, 10) for r, q in pairs]),
        "ndcg@10": np.array([measures.ndcg(r, q.relevant) for r, q in pairs]),
        "mrr": np.array([measures.reciprocal_rank(r, q.relevant) for r, q in pairs]),
    }


def _divided(document: Document) -> Iterator[Document]:
    text, start, name, title = document.text, 0, document.source_id, document.title
    for heading in [*_HEADING.finditer(text), None]:
        part = text[start : heading.start() if heading else len(text)].strip()
        if part:
            yield Document(name, title, part, "markdown", document.origin)
        if heading is not None:
            slug = re.sub(r"[^a-z0-9]+", "-", heading.group(1).lower()).strip("-")
            name, title = f"{document.source_id}#{slug}", f"{document.title}: {heading.group(1)}"
            start = heading.end()


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    if not path.is_file():
        raise DataNotFoundError(f"there is no file {path}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield f"{path}, line {number}", json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}, line {number} is no JSON: {error}") from error
