r"""The mean of a softmax under a normal: probabilities of several classes with uncertain scores.

For two classes this is one integral (`logistic_normal`). For more, the mean is taken over
quasi-random draws of the scores (Sobol points, largest variance first), the same ones
every time, so that the answer is a smooth, reproducible function. A closed form goes by pairs
of classes, s_cd = E sigma(eta_c - eta_d) (Daunizeau 2017):

    P(c) ~ 1 / (1 + sum_{d != c} s_dc / s_cd),   divided by their sum

It is exact for two classes and for certain scores and costs no draws, but is off by up to
0.03, 0.08 and 0.18 where the scores are uncertain by 0.5, 1 and 4.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
from scipy import special
from scipy.stats import qmc

from statml.classification.logistic_normal import averaged_sigmoid
from statml.classification.multinomial import softmax

Array = np.ndarray
Averaging = Literal["quasi-random", "pairwise"]

# Draws of the scores: 2^10 leave an error of 5e-4 in a probability where the scores are uncertain by 1,
# and of 5e-3 where they are by 4 (eight classes).
LOG2_DRAWS = 10
# Scores in memory at once.
_CHUNK_SCORES = 4_000_000


def pairwise_softmax(scores: Array, pair_variance: Array) -> Array:
    """E softmax(eta) from its pairs.

    Parameters
    ----------
    scores : array (n, k)
        Means of eta.
    pair_variance : array (n, k, k)
        Variance of eta_c - eta_d.

    Returns
    -------
    array (n, k)

    Examples
    --------
    >>> scores = np.array([[0.0, 1.0, 2.0]])
    >>> pairwise_softmax(scores, np.zeros((1, 3, 3))).round(3)
    array([[0.09 , 0.245, 0.665]])
    >>> pairwise_softmax(scores, 9.0 * (1 - np.eye(3))[None]).round(3)
    array([[0.195, 0.311, 0.494]])
    """
    n, k = scores.shape
    total = np.ones((n, k))
    for c in range(k):
        for d in range(c):
            gap, variance = scores[:, c] - scores[:, d], pair_variance[:, c, d]
            with np.errstate(divide="ignore", over="ignore"):
                ratio = averaged_sigmoid(-gap, variance) / averaged_sigmoid(gap, variance)
                total[:, c] += ratio
                total[:, d] += 1 / ratio
    proba = 1 / total
    return proba / proba.sum(axis=1, keepdims=True)


def sampled_softmax(scores: Array, covariance: Array) -> Array:
    """E softmax(eta) over quasi-random draws of eta, the same ones every time.

    Parameters
    ----------
    scores : array (n, k)
        Means of eta.
    covariance : array (n, k, k)
        Covariances of eta.

    Returns
    -------
    array (n, k)
    """
    n, k = scores.shape
    # A common shift of all scores changes nothing, so it takes no draws.
    centred = covariance - covariance.mean(axis=1, keepdims=True)
    centred -= centred.mean(axis=2, keepdims=True)
    values, vectors = np.linalg.eigh(centred)
    roots = (vectors * np.sqrt(np.clip(values, 0, None))[:, None, :])[:, :, :0:-1]
    draws = _normal_draws(k - 1)
    proba = np.empty((n, k))
    rows = max(_CHUNK_SCORES // (len(draws) * k), 1)
    for start in range(0, n, rows):
        part = slice(start, start + rows)
        eta = scores[part, None, :] + draws @ roots[part].transpose(0, 2, 1)
        proba[part] = softmax(eta.reshape(-1, k))[0].reshape(-1, len(draws), k).mean(axis=1)
    return proba / proba.sum(axis=1, keepdims=True)


@cache
def _normal_draws(dimensions: int) -> Array:
    """Scrambled Sobol points as standard normals, each with its mirror image, (2^LOG2_DRAWS, dimensions)."""
    points = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(0)).random_base2(LOG2_DRAWS - 1)
    draws = special.ndtri(np.clip(points, 1e-12, 1 - 1e-12))
    return np.concatenate([draws, -draws])
