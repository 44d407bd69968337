"""Where EM begins: k-means++ on what is known of each row.

One normal is fitted to everything first; its posterior means stand for rows that are
noisy, incomplete or projected, its posterior covariances for what they do not say. The
same normal, shrunk to the volume of one of K, is the prior's default V0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statml.mixture.components import Components
from statml.mixture.em import Climb, maximisation
from statml.mixture.expectation import Moments, true_values
from statml.mixture.kmeans import lloyd, nearest
from statml.mixture.measurements import Measurements
from statml.mixture.prior import CovariancePrior
from statml.mixture.seeding import canonical_order, plus_plus

Array = np.ndarray

LLOYD_STEPS = 10
SINGLE_STEPS = 200
SINGLE_TOL = 1e-6


@dataclass(frozen=True)
class Overview:
    """One normal for everything, `covariance` (d, d), and each row's true value under it."""

    covariance: Array
    means: Array
    spreads: Array

    @classmethod
    def of(cls, data: Measurements, mean: Array, variance: Array) -> Overview:
        """From a first guess of the mean (d,) and of the variances (d,) of the true values."""
        weak = CovariancePrior(1.0, np.diag(variance))
        single = Components(np.ones(1), mean[None], np.diag(variance)[None])
        single = Climb(data, weak, SINGLE_TOL, SINGLE_STEPS)(single).components
        _, means, spreads = true_values(single, data)
        return cls(single.covariances[0], means[:, 0], spreads[:, 0])


def start(overview: Overview, weights: Array, k: int, rng: np.random.Generator, *, wide: bool) -> Components:
    """K components: clusters of k-means++, or (`wide`) random rows, each with the covariance of all.

    The two find different maxima. Clusters are apart, and EM from them stays with
    components that are; wide ones may become one inside the other.
    """
    used = np.flatnonzero(weights > 0)
    used = used[canonical_order(overview.means[used])]
    own = weights[used]
    if wide:
        centers = overview.means[used][_distinct(overview.means[used], own, k, rng)]
        return Components(np.full(k, 1 / k), centers, np.stack([overview.covariance] * k))
    scale = np.sqrt(np.diag(overview.covariance))
    rows = overview.means[used] / scale
    centers = lloyd(rows, own, plus_plus(rows, own, k, rng), LLOYD_STEPS)[0]
    labels = nearest(rows, centers)[0]
    centers = centers * scale
    share = own * (labels == np.arange(k)[:, None])
    gap = overview.means[used] - centers[:, None]
    moments = Moments(
        share.sum(axis=1),
        np.einsum("kn,knd->kd", share, gap),
        np.einsum("kn,knd,kne->kde", share, gap, gap, optimize=True)
        + np.tensordot(share, overview.spreads[used], 1),
    )
    empty = Components(np.full(k, 1 / k), centers, np.zeros((k, *overview.covariance.shape)))
    # Whatever the prior of the fit, the start is one with room in it.
    return maximisation(empty, moments, default_prior(overview, k, 1.0))


def _distinct(rows: Array, weights: Array, k: int, rng: np.random.Generator) -> list[int]:
    """k random rows that differ, as long as there are so many: equal components would stay equal for ever."""
    edges = np.cumsum(weights)
    chosen: list[int] = []
    for _ in range(20 * k):
        row = min(int(np.searchsorted(edges, rng.random() * edges[-1], side="right")), len(rows) - 1)
        if not any(np.array_equal(rows[row], rows[other]) for other in chosen):
            chosen.append(row)
        if len(chosen) == k:
            return chosen
    return (chosen * k)[:k]


def default_prior(overview: Overview, k: int, strength: float) -> CovariancePrior:
    """V0 is the covariance of all true values over K^(2/d)."""
    return CovariancePrior(strength, overview.covariance / k ** (2 / len(overview.covariance)))
