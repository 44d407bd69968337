r"""Counts of pairs in bins of separation, region by region.

Pairs are counted by two k-d trees at once (scipy.spatial.cKDTree), which pass over whole
branches at a time, exactly. On the sky positions become unit vectors and angles chords,
c = 2 sin(theta / 2), which keeps the bins exact too.

A separation s belongs to the bin with lower < s <= upper. Pairs of a point with itself, and
of points at the same place, belong to no bin as long as the first edge is 0 or more. Pairs
within one set are counted once.

Counted by pairs of regions, N_gh, they serve every jackknife and bootstrap over regions
without counting again (`statml.statistics.two_point`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.spatial import cKDTree

from statml.errors import InputError
from statml.plain_numbers import refuse_quantity

Array = np.ndarray
Metric = Literal["euclidean", "sky"]


@dataclass(frozen=True, eq=False)
class Points:
    """Positions in Cartesian coordinates, with weights and regions."""

    positions: Array
    weights: Array | None
    region: Array  # (n,), 0 ... g - 1


def as_points(name: str, positions: Any, weights: Any, metric: Metric) -> Points:
    """Check positions (n, d) and weights (n,); longitude and latitude in degrees become unit vectors.

    Raises
    ------
    InputError
        Shapes do not fit, a value is not finite, or a weight is negative.
    """
    refuse_quantity(name, positions)
    positions = np.asarray(positions, float)
    if positions.ndim == 1:
        positions = positions[:, None]
    if positions.ndim != 2 or len(positions) < 2 or not np.all(np.isfinite(positions)):
        raise InputError(
            f"{name} has shape {positions.shape} or a value that is not finite; accepted is (n, d), n at least 2"
        )
    if metric == "sky":
        positions = _unit_vectors(name, positions)
    elif metric != "euclidean":
        raise InputError(f"metric is {metric!r}; accepted are 'euclidean' and 'sky'")
    if weights is not None:
        weights = np.asarray(weights, float)
        if weights.shape != (len(positions),) or not np.all((weights >= 0) & np.isfinite(weights)):
            raise InputError(
                f"weights of {name} have shape {weights.shape} or a value that is negative or not finite; "
                f"accepted are {len(positions)} weights >= 0"
            )
    return Points(positions, weights, np.zeros(len(positions), int))


def as_edges(edges: Any, metric: Metric) -> Array:
    """Check edges of bins (k + 1,); on the sky degrees become chords."""
    edges = np.asarray(edges, float)
    if edges.ndim != 1 or len(edges) < 2 or not np.all(np.isfinite(edges)) or np.any(np.diff(edges) <= 0):
        raise InputError(
            f"edges has shape {edges.shape} or does not grow; accepted are 2 or more growing edges"
        )
    if edges[0] < 0 or (metric == "sky" and edges[-1] > 180):
        raise InputError(
            f"edges reach from {edges[0]:g} to {edges[-1]:g}; accepted are separations >= 0 (sky: <= 180)"
        )
    if metric == "euclidean":
        return edges
    # No two points are farther apart than 180 degrees, but by rounding.
    return np.where(edges == 180, 3.0, 2 * np.sin(np.radians(edges) / 2))


def pair_counts(
    first: Any,
    second: Any = None,
    *,
    edges: Any,
    first_weights: Any = None,
    second_weights: Any = None,
    metric: Metric = "euclidean",
) -> Array:
    """Pairs of points by their separation, weighted by the product of the weights.

    Parameters
    ----------
    first : array (n, d)
        On the sky: longitude and latitude in degrees.
    second : array (m, d), optional
        Without it, pairs within the first set, each counted once.
    edges : array (k + 1,)
        In units of the positions; on the sky in degrees.
    first_weights, second_weights : array (n,) and (m,), optional
    metric : {"euclidean", "sky"}

    Returns
    -------
    array (k,)

    Raises
    ------
    InputError
        Shapes do not fit, a value is not finite, a weight is negative, edges do not grow.

    Examples
    --------
    >>> import numpy as np
    >>> square = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
    >>> pair_counts(square, edges=[0, 1, 2])                  # four sides, two diagonals
    array([4., 2.])
    """
    edges = as_edges(edges, metric)
    one = as_points("first", first, first_weights, metric)
    if second is None:
        return counts_by_region(one, None, edges)[0, 0] / 2
    return counts_by_region(one, as_points("second", second, second_weights, metric), edges)[0, 0]


def counts_by_region(first: Points, second: Points | None, edges: Array) -> Array:
    """Pairs N_gh with one point in region g of `first` and one in h of `second`, (g, h, k).

    Within one set every pair is counted twice, as (i, j) and (j, i), so that the matrix
    is symmetric and sums over its rows and columns are meant literally.
    """
    ours = _trees(first)
    theirs = ours if second is None else _trees(second)
    counts = np.zeros((len(ours), len(theirs), len(edges) - 1))
    for g, (tree, weights) in enumerate(ours):
        for h, (other, other_weights) in enumerate(theirs):
            if second is None and h < g:
                counts[g, h] = counts[h, g]
            elif tree is not None and other is not None:
                pair = None if weights is None and other_weights is None else (weights, other_weights)
                counts[g, h] = np.diff(tree.count_neighbors(other, edges, weights=pair).astype(float))
    return counts


def _trees(points: Points) -> list[tuple[cKDTree | None, Array | None]]:
    found: list[tuple[cKDTree | None, Array | None]] = []
    for g in range(points.region.max() + 1):
        rows = points.region == g
        tree = cKDTree(points.positions[rows], leafsize=32) if rows.any() else None
        found.append((tree, None if points.weights is None else points.weights[rows]))
    return found


def compact_regions(randoms: Array, data: Array, count: int) -> tuple[Array, Array]:
    """Labels of `count` regions with equally many randoms, of the randoms and of the data.

    The randoms are cut in two across their longest side, in proportion to the regions on
    either hand, and so on; the data follow the same cuts.

    Raises
    ------
    InputError
        `count` is no whole number from 2 to half the randoms.
    """
    if not isinstance(count, int | np.integer) or not 2 <= count <= len(randoms) // 2:
        raise InputError(
            f"regions is {count!r}; accepted is a whole number from 2 to half of {len(randoms)} randoms"
        )
    labels = np.zeros(len(randoms), int), np.zeros(len(data), int)
    waiting = [(np.arange(len(randoms)), np.arange(len(data)), 0, int(count))]
    while waiting:
        random_rows, data_rows, first, parts = waiting.pop()
        labels[0][random_rows] = labels[1][data_rows] = first
        if parts == 1:
            continue
        axis = int(np.argmax(np.ptp(randoms[random_rows], axis=0)))
        low, along = parts // 2, randoms[random_rows, axis]
        cut = np.quantile(along, low / parts)
        below, data_below = along <= cut, data[data_rows, axis] <= cut
        waiting.append((random_rows[below], data_rows[data_below], first, low))
        waiting.append((random_rows[~below], data_rows[~data_below], first + low, parts - low))
    return labels


def _unit_vectors(name: str, positions: Array) -> Array:
    if positions.shape[1] != 2 or np.any(np.abs(positions[:, 1]) > 90):
        raise InputError(
            f"{name} has {positions.shape[1]} columns or a latitude beyond 90; accepted on the sky are longitude "
            "and latitude in degrees"
        )
    longitude, latitude = np.radians(positions).T
    return np.column_stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)]
    )
