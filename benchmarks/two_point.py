"""Pair counts and field correlations beside treecorr, at equal answers.

points    pairs of n points in the unit square, 8 bins of separation from 0.002 to 0.02
weights   the same with a weight for each point
field     correlation of an image of n pixels with a mask, 8 bins of one pixel

treecorr runs with bin_slop=0, where it counts exactly what we count, in one thread and in as
many as it likes; its default lets pairs fall into the neighbouring bin, is several times
faster, and is no peer here. For the image it treats pixels as points (KKCorrelation); the
FFT does not look at pairs at all. What is timed goes from arrays to counts, trees included.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import treecorr

from benchmarks.measurement import Answer, Competitor, DisagreementError, largest_difference, machine
from benchmarks.regression import compare
from statml.statistics import field_correlation, pair_counts

Array = np.ndarray
EDGES = np.geomspace(0.002, 0.02, 9)
PIXELS = np.arange(0.5, 9.0)
# treecorr keeps weights in single precision.
SAME = 1e-5


def benchmark(sizes: list[int], repeats: int) -> dict[str, Any]:
    """Compare answers, then measure, for every problem and size.

    Parameters
    ----------
    sizes : list of int
        Points or pixels, growing; the last one is the headline.
    repeats : int

    Raises
    ------
    DisagreementError
        treecorr's counts are not ours.
    """
    where = machine()
    return {
        "family": "two_point",
        "n_features": 2,
        "repeats": repeats,
        "machine": where,
        "measurements": [
            compare(problem, competitors, same, n, repeats)
            for n in sizes
            for problem, competitors in problems(n).items()
        ],
        "gpu": "not measured",
    }


def problems(n: int) -> dict[str, list[Competitor]]:
    """The competitors of each problem, ours first."""
    rng = np.random.default_rng(20250616)
    points, weights = rng.random((n, 2)), rng.uniform(0.5, 2, n)
    side = int(np.sqrt(n))
    image, mask = rng.normal(size=(side, side)), (rng.random((side, side)) > 0.2).astype(float)
    return {
        "points": [
            Competitor("statml pair_counts", True, lambda: Answer(pair_counts(points, edges=EDGES), None)),
            *(_treecorr_points(points, None, threads) for threads in (1, None)),
        ],
        "weights": [
            Competitor(
                "statml pair_counts",
                True,
                lambda: Answer(pair_counts(points, edges=EDGES, first_weights=weights), None),
            ),
            *(_treecorr_points(points, weights, threads) for threads in (1, None)),
        ],
        "field": [
            Competitor(
                "statml field_correlation",
                True,
                lambda: Answer(field_correlation(image, PIXELS, weights=mask).xi, None),
            ),
            _treecorr_field(image, mask),
        ],
    }


def same(ours: Answer, theirs: Answer) -> dict[str, float]:
    """Largest relative difference of the counts; refuses more than `SAME`."""
    difference = largest_difference(ours.params, theirs.params)
    if not difference < SAME:
        raise DisagreementError(f"params differ by {difference:.1e}; accepted is less than {SAME:.0e}")
    return {"params": difference}


def _treecorr_points(points: Array, weights: Array | None, threads: int | None) -> Competitor:
    def count() -> Answer:
        pairs = treecorr.NNCorrelation(
            min_sep=EDGES[0], max_sep=EDGES[-1], nbins=len(EDGES) - 1, bin_slop=0, num_threads=threads
        )
        pairs.process(treecorr.Catalog(x=points[:, 0], y=points[:, 1], w=weights))
        return Answer(pairs.npairs if weights is None else pairs.weight, None)

    return Competitor(f"treecorr exact ({threads or 'all'} threads)", False, count)


def _treecorr_field(image: Array, mask: Array) -> Competitor:
    y, x = np.nonzero(mask)
    values = image[y, x]

    def count() -> Answer:
        pairs = treecorr.KKCorrelation(
            min_sep=PIXELS[0], max_sep=PIXELS[-1], nbins=len(PIXELS) - 1, bin_type="Linear", bin_slop=0
        )
        pairs.process(treecorr.Catalog(x=x, y=y, k=values - values.mean()))
        return Answer(pairs.xi, None)

    return Competitor("treecorr KK exact", False, count)
