"""How sure is it that the passages found answer the question? A probability, set on questions with known answers.

The rule of `tutor.library.support` measures whether a passage *speaks of* the
question, and a library of all of astronomy speaks of nearly everything. With
sentence vectors more can be seen: of the passages fit to answer from, how near
the best sentence is to the question, how near the passage, and how much of the
question's words it holds. A logistic function of the three, fitted to questions
asked twice, with their sources in the library and with their sources withheld,
gives the probability that the answer is there; below `THRESHOLD` the tutor
keeps silent. `tutor.library.evaluation.abstention` fits and checks it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from tutor import language
from tutor.library.index.hybrid import LibraryIndex
from tutor.library.search import Hit
from tutor.library.support import support

#: Below this probability the tutor keeps silent.
THRESHOLD = 0.5
FEATURES = ("sentence", "passage", "coverage")


@dataclass(frozen=True)
class Signs:
    """What speaks for an answer: two cosines and a share of words, of the best passage each."""

    sentence: float
    passage: float
    coverage: float

    def values(self) -> list[float]:
        """In the order of `FEATURES`."""
        return [getattr(self, name) for name in FEATURES]


class Confidence:
    """Probability that the passages answer a question, for a library with vectors.

    Parameters
    ----------
    index : LibraryIndex
        Encodes question and sentences.
    """

    def __init__(self, index: LibraryIndex) -> None:
        self._index = index

    def __call__(self, question: str, hits: Sequence[Hit]) -> float:
        """The probability; 0 without passages."""
        if not hits:
            return 0.0
        return probability(self.signs(question, hits))

    def signs(self, question: str, hits: Sequence[Hit]) -> Signs:
        """Measure the signs over the passages `hits`."""
        texts = [question, *(hit.chunk.meaning for hit in hits)]
        for hit in hits:
            text = hit.chunk.text
            texts += [text[start:end] for start, end in language.sentences(text)]
        vectors = self._index.encode(texts)
        alike = vectors[1:] @ vectors[0]
        sentences = alike[len(hits) :]
        held = (support(question, [hit.chunk.searchable], self._index.weight).coverage for hit in hits)
        return Signs(float(np.max(sentences, initial=0.0)), float(np.max(alike[: len(hits)])), max(held))


def probability(signs: Signs) -> float:
    """The fitted logistic function of the signs."""
    constant, weights = _coefficients()
    score = constant + sum(weight * value for weight, value in zip(weights, signs.values()))
    return 1 / (1 + math.exp(-score))


@lru_cache(maxsize=1)
def _coefficients() -> tuple[float, tuple[float, ...]]:
    text = (resources.files("tutor.library.evaluation") / "confidence.json").read_text(encoding="utf-8")
    entry = json.loads(text)
    return float(entry["constant"]), tuple(float(entry["weights"][name]) for name in FEATURES)
