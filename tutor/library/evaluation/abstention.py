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
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from statml import console
from tutor.library import confidence
from tutor.library.confidence import FEATURES, Confidence, Signs
from tutor.library.evaluation.benchmark import Query, course_sections, questions
from tutor.library.index.hybrid import LibraryIndex
from tutor.library.index.minilm import MiniLM
from tutor.library.index.stored import embed
from tutor.library.search import Hit
from tutor.library.store import Library
from tutor.library.support import supporting

#: Passages the tutor looks at for an answer.
K = 5


@dataclass(frozen=True)
class Trial:
    """One question with what was found: is its answer there?"""

    query: str
    kind: str
    answerable: bool
    signs: Signs | None


def trials(index: LibraryIndex, queries: Iterable[Query]) -> Iterator[Trial]:
    """Ask each question as it is, and again without its sources; signs are None where no passage is fit."""
    judge = Confidence(index)
    for query in queries:
        vector = index.encode([query.text])[0]
        hits = index.search_vector(query.text, vector, 60)
        if query.relevant:
            # what the search does not find is no question to the judge
            if any(hit.chunk.source_id in query.relevant for hit in hits[:K]):
                yield _trial(index, judge, query, "source there", True, hits[:K])
            left = [hit for hit in hits if not _of(hit, query)]
            yield _trial(index, judge, query, "source withheld", False, left[:K])
        else:
            yield _trial(index, judge, query, "unanswerable", False, hits[:K])


def _of(hit: Hit, query: Query) -> bool:
    pages = {name.partition("#")[0] for name in query.relevant}
    return hit.chunk.source_id.partition("#")[0] in pages


def _trial(
    index: LibraryIndex, judge: Confidence, query: Query, kind: str, answerable: bool, hits: Sequence[Hit]
) -> Trial:
    fit, _ = supporting(query.text, hits, index.weight)
    return Trial(query.text, kind, answerable, judge.signs(query.text, fit) if fit else None)


def fitted(found: Sequence[Trial]) -> dict[str, object]:
    """Coefficients of the logistic function, with a weak penalty."""
    from sklearn.linear_model import LogisticRegression

    judged = [trial for trial in found if trial.signs is not None]
    X = np.array([trial.signs.values() for trial in judged if trial.signs is not None])
    y = np.array([trial.answerable for trial in judged])
    model = LogisticRegression(C=10.0).fit(X, y)
    return {
        "constant": round(float(model.intercept_[0]), 3),
        "weights": {name: round(float(w), 3) for name, w in zip(FEATURES, model.coef_[0])},
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


def main() -> int:
    """Fit on every other question, write ``confidence.json``, print the rates on the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("abstracts", type=Path, help="a library of abstracts with vectors")
    parser.add_argument("--out", type=Path, help="where the trials and the coefficients are written")
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
    if args.out:
        (args.out / "trials.json").write_text(
            json.dumps([asdict(t) for t in found], indent=1), encoding="utf-8"
        )
        (args.out / "confidence.json").write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    console.print_json({"fit": entry, "check": rates([replace(t) for t in found if t.query not in even])})
    return console.EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
