"""Fit and check the tutor's silence: ``python -m tutor.library.evaluation.abstention ABSTRACTS.sqlite``.

Every question with a known source is asked twice, with its sources in the
library and with them withheld: the second time the best that is left speaks of
nearly the same thing and does not answer. Unanswerable questions are asked
once. Every other question is for fitting, the rest for checking.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from statml import console
from tutor.library import confidence
from tutor.library.confidence import FEATURES, Signs, signs
from tutor.library.evaluation.benchmark import DEPTH, Query, course_sections, questions
from tutor.library.index.hybrid import LibraryIndex, Mode
from tutor.library.index.minilm import MiniLM
from tutor.library.index.stored import embed
from tutor.library.search import Hit
from tutor.library.store import Library
from tutor.library.support import supporting

COEFFICIENTS = Path(__file__).with_name("confidence.json")
#: Passages the tutor looks at for an answer.
K = 5
WAYS: tuple[Mode, ...] = ("words", "vectors", "hybrid")


@dataclass(frozen=True)
class Trial:
    """One question with what was found: is its answer there?"""

    query: str
    kind: str
    answerable: bool
    signs: Signs | None


def trials(index: LibraryIndex, queries: Iterable[Query]) -> Iterator[Trial]:
    """Ask each question as it is, and again without the pages of its sources; signs are None where no passage is fit."""
    for query in queries:
        vector = index.encode([query.text])[0]
        rankings = [index.search_vector(query.text, vector, DEPTH, mode=way) for way in WAYS]
        if not query.relevant:
            yield _trial(index, query, "unanswerable", False, rankings)
            continue
        # what the search does not find is no question to the judge
        if any(hit.chunk.source_id in query.relevant for hit in rankings[-1][:K]):
            yield _trial(index, query, "source there", True, rankings)
        left = [[hit for hit in hits if not _of(hit, query)] for hits in rankings]
        yield _trial(index, query, "source withheld", False, left)


def _of(hit: Hit, query: Query) -> bool:
    pages = {name.partition("#")[0] for name in query.relevant}
    return hit.chunk.source_id.partition("#")[0] in pages


def _trial(
    index: LibraryIndex, query: Query, kind: str, answerable: bool, rankings: Sequence[Sequence[Hit]]
) -> Trial:
    words, vectors, hybrid = rankings
    fit, _ = supporting(query.text, hybrid[:K], index.weight)
    found = signs(query.text, words, vectors, fit, index.weight) if fit else None
    return Trial(query.text, kind, answerable, found)


def fitted(found: Sequence[Trial]) -> dict[str, object]:
    """Coefficients of the logistic function, with a weak penalty on signs of unit spread."""
    from sklearn.linear_model import LogisticRegression

    judged = [trial for trial in found if trial.signs is not None]
    X = np.array([trial.signs.values() for trial in judged if trial.signs is not None])
    y = np.array([trial.answerable for trial in judged])
    mean, spread = X.mean(axis=0), X.std(axis=0)
    model = LogisticRegression(C=3.0).fit((X - mean) / spread, y)
    weights = model.coef_[0] / spread
    return {
        "constant": round(float(model.intercept_[0] - weights @ mean), 3),
        "weights": {name: round(float(w), 3) for name, w in zip(FEATURES, weights)},
        "trials": len(judged),
    }


def rates(found: Sequence[Trial], threshold: float = confidence.THRESHOLD) -> dict[str, dict[str, int]]:
    """Of each kind of trial: how many, answered by the rule of words alone, and with the score as well."""
    out: dict[str, dict[str, int]] = {}
    for trial in found:
        entry = out.setdefault(trial.kind, {"asked": 0, "by words": 0, "with the score": 0})
        entry["asked"] += 1
        entry["by words"] += trial.signs is not None
        entry["with the score"] += (
            trial.signs is not None and confidence.probability(trial.signs) >= threshold
        )
    return out


def given(index: LibraryIndex, queries: Iterable[Query]) -> dict[str, int]:
    """How many questions are answered from a library, and how many of these from the right source first."""
    sure = confidence.Confidence(index)
    counts = dict.fromkeys(("asked", "by words", "right", "with the score", "right with the score"), 0)
    for query in queries:
        fit, _ = supporting(query.text, index.search(query.text, K), index.weight)
        right = bool(fit) and fit[0].chunk.source_id in query.relevant
        scored = sure(query.text, fit) >= confidence.THRESHOLD
        for name, one in zip(counts, (True, bool(fit), right, scored, scored and right)):
            counts[name] += one
    return counts


def _unanswerable(path: Path) -> list[Query]:
    entries = json.loads(path.read_text(encoding="utf-8"))
    return [Query(e["question"], e["question"]) for e in entries if not e["answerable"]]


def main() -> int:
    """Fit on every other question, print the coefficients, the rates on the others, and answers from the abstracts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("abstracts", type=Path, help="a library of abstracts with vectors")
    parser.add_argument("--write", action="store_true", help="put the new coefficients into use")
    parser.add_argument("--unseen", type=Path, help="JSON of {question, answerable}: those without an answer")
    args = parser.parse_args()
    embedder = MiniLM()
    course = Library(None)
    course.add(course_sections())
    embed(course, embedder)
    large = LibraryIndex(Library(args.abstracts), embedder, folder=args.abstracts.parent)
    known = {document.source_id for document in large.library.documents()}
    abstracts = [query for query in questions("abstracts") if set(query.relevant) <= known]
    found = [
        *trials(LibraryIndex(course, embedder), questions("course")),
        *trials(large, [*abstracts, *questions("unanswerable")]),
    ]
    names = list(dict.fromkeys(trial.query for trial in found))
    even = set(names[::2])
    entry = fitted([trial for trial in found if trial.query in even])
    if args.write:
        COEFFICIENTS.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    checked = rates([trial for trial in found if trial.query not in even])
    asked = {"on papers": abstracts, "unanswerable": questions("unanswerable")}
    if args.unseen:
        asked["unanswerable, unseen"] = _unanswerable(args.unseen)
    console.print_json(
        {
            "fit": entry,
            "check with the coefficients in use": checked,
            "answers from the abstracts": {name: given(large, queries) for name, queries in asked.items()},
        }
    )
    return console.EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
