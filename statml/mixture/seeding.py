"""Where clusters begin: k-means++.

The first centre is a random row, each further one a row drawn with probability
proportional to its squared distance to the nearest centre so far (Arthur & Vassilvitskii
2007, SODA, 1027), which costs at most 8 (log k + 2) times the optimum in expectation. Of a
few candidates the one that lowers that sum most is kept.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def canonical_order(X: Array) -> Array:
    """Rows sorted by their values, so that what is drawn does not depend on their order in the input."""
    return np.lexsort(X.T[::-1])


def plus_plus(X: Array, weights: Array, k: int, rng: np.random.Generator) -> Array:
    """k centres (k, d) among the rows of X, which are in canonical order."""
    tries = 2 + int(np.log(k))
    centers = X[_draw(weights, rng.random(1))]
    distance = _squared(X, centers[0])
    for _ in range(1, k):
        mass = weights * distance
        if not np.sum(mass) > 0:  # fewer distinct rows than centres: the rest coincide
            centers = np.concatenate([centers, X[_draw(weights, rng.random(1))]])
            continue
        candidates = _draw(mass, rng.random(tries))
        nearest = [np.minimum(distance, _squared(X, X[row])) for row in candidates]
        best = int(np.argmin([weights @ each for each in nearest]))
        centers = np.concatenate([centers, X[candidates[best], None]])
        distance = nearest[best]
    return centers


def _draw(mass: Array, uniform: Array) -> Array:
    """Rows by the inverse of their cumulative mass, so that a row of weight two is a row given twice."""
    edges = np.cumsum(mass)
    return np.minimum(np.searchsorted(edges, uniform * edges[-1], side="right"), len(mass) - 1)


def _squared(X: Array, center: Array) -> Array:
    return np.sum((X - center) ** 2, axis=1)
