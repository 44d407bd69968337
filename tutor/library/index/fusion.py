"""One ranking out of two: by words and by vectors.

    score = (1 - MEANING) * BM25 / (sum of the weights of the question's terms) + MEANING * cosine

Both terms are absolute: the first is the share of its greatest possible value
that a passage's BM25 reaches, below one, and where no passage holds the
question's words it is small for all of them and the cosines decide. Every
passage that stands among the first of *either* ranking gets both, so nothing is
lost by standing late in the other one, which is what ranks alone cannot say.

`by_ranks` is the fusion by ranks, which needs no scores; on our questions it is
worse (``docs/tutor_library.md``).

Sources: Bruch, Gai and Ingber 2023, ACM TOIS 42, 20 (sums of scaled scores
against ranks); Cormack, Clarke and Büttcher 2009, SIGIR, 758 (ranks).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tutor.library.index.passages import Ids, Mask

#: Weight of the cosine beside the share of words: the best of eleven, 0.2 to 0.7, on the questions
#: of ``evaluation/course.jsonl``; from 0.3 to 0.45 there is little between them.
MEANING = 0.35
#: Constant of the fusion by ranks, and what a rank by vectors counts there beside one by words.
RRF, SHARE = 60, 1 / 3

Scores = NDArray[np.floating]


def by_scores(words: Scores, cosines: Scores, encoded: Mask) -> NDArray[np.float64]:
    """Combined scores of passages of which both are known.

    Parameters
    ----------
    words : (n,)
        BM25 as a share of the greatest possible.
    cosines : (n,)
    encoded : (n,)
        Which passages have a vector. One that has none yet is not held back for it: among
        the cosines it takes the place that it has among the words.

    Examples
    --------
    >>> by_scores(np.array([0.8, 0.1]), np.array([0.4, 0.6]), np.array([True, True])).round(3).tolist()
    [0.66, 0.275]
    """
    best = float(words.max(initial=0.0))
    stand_in = float(cosines[encoded].max(initial=0.0))
    places = words / best if best > 0 else words
    near = np.where(encoded, cosines, stand_in * places)
    return np.asarray((1 - MEANING) * words + MEANING * near, dtype=np.float64)


def by_ranks(
    rankings: Sequence[Ids], weights: Sequence[float] = (1.0, SHARE), *, alone: Iterable[int] = ()
) -> tuple[Ids, NDArray[np.float64]]:
    """Reciprocal-rank fusion: ids by the sum of ``weight / (60 + rank)``, ranks from 1, best first.

    Those of `alone` can be in the first ranking only, whose weight is then the sum of all.

    Examples
    --------
    >>> by_ranks([np.array([7, 8]), np.array([8, 9])])[0].tolist()
    [8, 7, 9]
    """
    total: dict[int, float] = {}
    for ranking, weight in zip(rankings, weights):
        for rank, identity in enumerate(ranking.tolist(), start=1):
            total[identity] = total.get(identity, 0.0) + weight / (RRF + rank)
    for identity in alone:
        total[identity] *= sum(weights) / weights[0]
    order = sorted(total, key=lambda identity: -total[identity])
    return np.array(order, dtype=np.int64), np.array([total[one] for one in order])
