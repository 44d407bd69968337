"""A second look at the top: each word of the question against each word of a passage.

    late = mean over the question's tokens of  max over the passage's tokens  cos(token, token)

A vector of a whole passage is a mean, in which one telling word drowns; here it
keeps its voice, and so does one that says the same otherwise. The token vectors
are those that MiniLM averages, so no further weights are needed; but every
passage is read again, some 45 ms of processor time each.

Source: late interaction is Khattab and Zaharia's, 2020, SIGIR, 39 (ColBERT),
whose model was trained for it; this one was not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tutor.library.chunks import Chunk
from tutor.library.index.minilm import MiniLM

#: What is added to the score: on our questions the most that costs nothing.
WEIGHT = 0.25


class LateInteraction:
    """A `Reranker` of `MiniLM`'s own token vectors.

    Parameters
    ----------
    embedder : MiniLM
    """

    def __init__(self, embedder: MiniLM) -> None:
        self._embedder = embedder

    def __call__(self, query: str, chunks: Sequence[Chunk], scores: np.ndarray) -> np.ndarray:
        """The scores of the first ranking, with what the words add."""
        asked, *read = self._embedder.tokens([query, *(chunk.meaning for chunk in chunks)])
        words = asked[1:-1]  # without the marks of beginning and end
        if not len(words):
            return scores
        late = np.array([(words @ passage.T).max(axis=1).mean() for passage in read])
        return np.asarray(scores + WEIGHT * late, dtype=np.float64)
