"""How sure is it that the passages found answer the question? A probability, set on questions with known answers.

The rule of `tutor.library.support` measures whether a passage *speaks of* the
question, and a library of all of astronomy speaks of nearly everything: to
"What is dark energy?" hundreds of passages come up, each as near as the next,
and none of them was written to answer it. Where a passage answers, it stands
out. So three signs are taken:

    words     how far the best BM25 score stands above the mean of the next nine, relative to it
    vectors   how far the best cosine stands above the mean of the next nine
    coverage  the share of the question's words, by weight, that the best fit passage holds

A logistic function of them, fitted to questions asked twice, with their sources
in the library and with their sources withheld, gives the probability that the
answer is there; below `THRESHOLD` the tutor keeps silent.
`tutor.library.evaluation.abstention` fits and checks it.

Source: margins of a ranking as a prediction of its worth are those of Zhou and
Croft 2007, SIGIR, 543.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from tutor.library.index.hybrid import LibraryIndex
from tutor.library.search import Hit
from tutor.library.support import support

#: Below this probability the tutor keeps silent: a wrong answer costs a reader more than none.
THRESHOLD = 0.6
FEATURES = ("words", "vectors", "coverage")
#: Passages over which a best one stands out.
FIELD = 10


@dataclass(frozen=True)
class Signs:
    """What speaks for an answer; see the module."""

    words: float
    vectors: float
    coverage: float

    def values(self) -> list[float]:
        """In the order of `FEATURES`."""
        return [getattr(self, name) for name in FEATURES]


class Confidence:
    """Probability that the passages answer a question, for a library with vectors.

    Parameters
    ----------
    index : LibraryIndex
        Asked once more by words and once by vectors.
    """

    def __init__(self, index: LibraryIndex) -> None:
        self._index = index

    def __call__(self, question: str, fit: Sequence[Hit]) -> float:
        """The probability, given the passages fit to answer from; 0 without any."""
        if not fit:
            return 0.0
        vector = self._index.encode([question])[0]
        words = self._index.search_vector(question, vector, FIELD, mode="words")
        vectors = self._index.search_vector(question, vector, FIELD, mode="vectors")
        return probability(signs(question, words, vectors, fit, self._index.weight))


def signs(
    question: str,
    words: Sequence[Hit],
    vectors: Sequence[Hit],
    fit: Sequence[Hit],
    weight: Callable[[str], float],
) -> Signs:
    """Measure the three signs.

    Parameters
    ----------
    question : str
    words, vectors : sequence of Hit
        The two rankings, of which the first `FIELD` are looked at.
    fit : sequence of Hit
        The passages to answer from.
    weight : callable
        Rarity of a term.
    """
    first, rest = _first_and_rest(words)
    near, others = _first_and_rest(vectors)
    held = (support(question, [hit.chunk.searchable], weight).coverage for hit in fit)
    return Signs((first - rest) / first if first > 0 else 0.0, near - others, max(held, default=0.0))


def probability(found: Signs) -> float:
    """The fitted logistic function of the signs."""
    constant, weights = _coefficients()
    score = constant + sum(weight * value for weight, value in zip(weights, found.values()))
    return 1 / (1 + math.exp(-score))


def _first_and_rest(hits: Sequence[Hit]) -> tuple[float, float]:
    """The best score, and the mean of the next ones; a ranking that ends earlier goes on with zeros."""
    scores = [hit.score for hit in hits[:FIELD]]
    return (scores[0], sum(scores[1:]) / (FIELD - 1)) if scores else (0.0, 0.0)


@lru_cache(maxsize=1)
def _coefficients() -> tuple[float, tuple[float, ...]]:
    text = (resources.files("tutor.library.evaluation") / "confidence.json").read_text(encoding="utf-8")
    entry = json.loads(text)
    return float(entry["constant"]), tuple(float(entry["weights"][name]) for name in FEATURES)
