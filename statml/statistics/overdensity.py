r"""Overdensities of points: how unlikely is a crowd, anywhere one has looked?

Around each of N points, at each radius, count the others. Without structure the count is
binomial, exactly, with the share f of the region that the window covers there:

    n_i ~ Binomial(N - 1, f_i),        E[n_i] = rho A (N - 1) / N

The point itself is not counted: it is always there, and would add one to every window. p_local is
the probability of so many or more; the likelihood ratio compares the best rate with the expected one.

Having looked at N places and several radii, something rare is found by chance (the
look-elsewhere effect). The smallest p_local of fields without structure says how rare:

    p_global = (1 + null fields with a smaller p_local) / (1 + null fields)

is right whatever the windows overlap. The effective number of independent trials T follows from
the same fields, P(min p <= x) = 1 - (1 - x)^T, and extends p_global below 1 / (1 + fields).

Sources: Kulldorff (1997), Comm. Stat. 26, 1481; Gross & Vitells (2010), arXiv:1005.1891;
Davison & Hinkley (1997), section 4.2 (Monte Carlo tests); arXiv:2506.12230, chapter 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse, special, stats
from scipy.spatial import cKDTree

from statml.compute import generator
from statml.console import progress
from statml.errors import InputError
from statml.plain_numbers import refuse_quantity
from statml.statistics.windows import Region

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray
# Shuffled fields whose windows are counted in one product.
TOGETHER = 64


@dataclass(frozen=True, eq=False)
class Overdensity:
    """One crowded window.

    Attributes
    ----------
    position : array (d,)
    radius : float
    count : int
    expected : float
    p_local, p_global : float
        Probability of so many there, and of anything as unlikely anywhere in the search.
    """

    position: Array
    radius: float
    count: int
    expected: float
    p_local: float
    p_global: float


@dataclass(frozen=True, eq=False)
class OverdensitySearch:
    """Every window of a search, and what chance makes of it.

    Attributes
    ----------
    centres : array (n, d)
    radii : array (k,)
    counts, expected, p_local : array (n, k)
    likelihood_ratio : array (n, k)
        sqrt(2 log L / L0) where there are more than expected, else 0: standard deviations, for large counts.
    null_smallest : array (m,)
        Smallest p_local of each field without structure.
    """

    centres: Array
    radii: Array
    counts: Array
    expected: Array
    p_local: Array
    likelihood_ratio: Array
    null_smallest: Array

    @property
    def p_global(self) -> float:
        """Probability that a field without structure holds a window as unlikely as the most unlikely one."""
        return float(self.at_large(self.p_local.min()))

    @property
    def trials(self) -> float:
        """Effective number of independent windows, known to trials / sqrt(null fields)."""
        return float(-1 / np.mean(np.log1p(-np.minimum(self.null_smallest, 1 - 1e-12))))

    def at_large(self, p_local: Any) -> Array:
        """p_global of any p_local, from the null fields alone; never below 1 / (1 + fields)."""
        ordered = np.sort(self.null_smallest)
        # Equal up to rounding counts as smaller: the counts are whole numbers, and ties are common.
        smaller = np.searchsorted(ordered, np.asarray(p_local) * (1 + 1e-9), side="right")
        return (1 + smaller) / (1 + len(ordered))

    def extrapolated(self, p_local: Any) -> Array:
        """p_global of any p_local from the number of trials: an extrapolation, for the very unlikely."""
        return -np.expm1(self.trials * np.log1p(-np.minimum(p_local, 1 - 1e-12)))

    def detections(self, alpha: float = 0.05) -> list[Overdensity]:
        """Windows that do not overlap with p_global <= alpha, the most unlikely first.

        Raises
        ------
        InputError
            `alpha` is not between 0 and 1, or the null fields are too few to reach it.
        """
        if not 0 < alpha < 1:
            raise InputError(f"alpha is {alpha!r}; accepted is a probability between 0 and 1")
        if alpha * (1 + len(self.null_smallest)) < 1:
            raise InputError(
                f"alpha is {alpha!r} with {len(self.null_smallest)} null fields; accepted are at least 1 / alpha - 1"
            )
        p_global = self.at_large(self.p_local)
        found: list[Overdensity] = []
        for index in np.argsort(self.p_local, axis=None, kind="stable"):
            i, k = np.unravel_index(index, self.p_local.shape)
            if p_global[i, k] > alpha:
                break
            position, radius = self.centres[i], float(self.radii[k])
            if all(np.linalg.norm(position - each.position) > radius + each.radius for each in found):
                found.append(
                    Overdensity(
                        position,
                        radius,
                        int(self.counts[i, k]),
                        float(self.expected[i, k]),
                        float(self.p_local[i, k]),
                        float(p_global[i, k]),
                    )
                )
        return found

    def figure(self, alpha: float = 0.05) -> Figure:
        """The field with its detections, and the most unlikely window beside those of the null fields."""
        from statml.statistics.pictures import overdensity_figure

        return overdensity_figure(self, alpha)


def search_overdensities(
    points: Any, region: Region, radii: Any, *, null_fields: int = 199, rng: Any = None
) -> OverdensitySearch:
    """Count around every point at every radius, and in fields without structure.

    Parameters
    ----------
    points : array (n, d)
    region : Rectangle or RandomPoints
        Where points could have been seen; gives the edge correction and the null fields.
    radii : float or array (k,)
        In the units of the points. Each radius is one more place to look.
    null_fields : int
        Fields of n points without structure; 199 can say p_global = 0.005.
    rng : int, Generator or None

    Returns
    -------
    OverdensitySearch

    Raises
    ------
    InputError
        Points outside the region, radii that are not positive, fewer than 19 null fields.

    Examples
    --------
    >>> import numpy as np
    >>> from statml.statistics import Rectangle
    >>> rng = np.random.default_rng(0)
    >>> field, cluster = rng.uniform(0, 100, (300, 2)), rng.normal(40, 1.5, (12, 2))
    >>> search = search_overdensities(np.vstack([field, cluster]), Rectangle((0, 100), (0, 100)), 4.0, rng=1)
    >>> [bool(np.hypot(*(found.position - 40)) < 4) for found in search.detections(0.01)]
    [True]
    >>> search.p_global
    0.005
    """
    points, radii = _points(points), _radii(radii)
    region.check(points)
    _check_fields("null_fields", null_fields)
    random = generator(rng)
    counts, shares = _windows(points, region, radii)
    n = len(points) - 1
    smallest = np.array(
        [
            _binomial_tail(*_windows(region.draw(len(points), random), region, radii), n).min()
            for _ in progress(range(null_fields), "null fields")
        ]
    )
    return OverdensitySearch(
        points,
        radii,
        counts,
        n * shares,
        _binomial_tail(counts, shares, n),
        _likelihood_ratio(counts, n * shares, n),
        smallest,
    )


def search_marked(
    positions: Any, marked: Any, radii: Any, *, permutations: int = 999, rng: Any = None
) -> OverdensitySearch:
    """Where are the marked ones of some points crowded, wherever the points themselves are?

    Needs no region: the unmarked points say where a marked one could have been. Without
    structure every choice of the marked ones is equally likely, so that their number in a
    window of k points is hypergeometric, exactly, and shuffled marks are null fields.

    Parameters
    ----------
    positions : array (n, d)
        Marked and unmarked points; windows lie about all of them.
    marked : bool array (n,)
    radii : float or array (k,)
    permutations : int
    rng : int, Generator or None

    Returns
    -------
    OverdensitySearch
        Its counts are of marked points, the centre included.

    Raises
    ------
    InputError
        As `search_overdensities`, or none or all of the points are marked.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> stars = rng.normal(size=(400, 2))                       # crowded in the middle
    >>> young = (rng.random(400) < 0.1) | (np.hypot(*(stars - 1).T) < 0.25)
    >>> search = search_marked(stars, young, 0.3, rng=0)
    >>> search.p_global < 0.01, bool(np.hypot(*(search.detections(0.01)[0].position - 1)) < 0.3)
    (True, True)
    """
    positions, radii = _points(positions), _radii(radii)
    marked = np.asarray(marked)
    if marked.shape != (len(positions),) or marked.dtype != bool or marked.all() or not marked.any():
        raise InputError(
            f"marked is {marked.dtype} {marked.shape}, or the same for all; accepted are {len(positions)} of "
            "True and False, both among them"
        )
    _check_fields("permutations", permutations)
    random, n, total = generator(rng), len(positions), int(marked.sum())
    neighbours = [_neighbours(positions, radius) for radius in radii]
    sizes = [np.asarray(each.sum(axis=1)).ravel().astype(int) for each in neighbours]
    tables = [_hypergeometric_tails(size, n, total) for size in sizes]
    counts = np.column_stack([each @ marked for each in neighbours])
    p_local = np.column_stack([table[start + counts[:, k]] for k, (table, start) in enumerate(tables)])
    smallest = np.empty(0)
    for first in progress(range(0, permutations, TOGETHER), "permutations"):
        shuffled = random.permuted(
            np.tile(marked, (min(TOGETHER, permutations - first), 1)).astype(np.int64), axis=1
        ).T
        each = [
            table[start[:, None] + near @ shuffled].min(axis=0)
            for near, (table, start) in zip(neighbours, tables)
        ]
        smallest = np.append(smallest, np.min(each, axis=0))
    expected = np.column_stack(sizes) * total / n
    return OverdensitySearch(
        positions, radii, counts, expected, p_local, _likelihood_ratio(counts, expected, total), smallest
    )


def _windows(points: Array, region: Region, radii: Array) -> tuple[Array, Array]:
    """Other points within each radius of each point, and the share of the region there, both (n, k)."""
    tree = cKDTree(points)
    counts = [tree.query_ball_point(points, radius, return_length=True) - 1 for radius in radii]
    return np.column_stack(counts), np.column_stack([region.share(points, radius) for radius in radii])


def _binomial_tail(counts: Array, shares: Array, n: int) -> Array:
    """P(so many or more of n), elementwise; 0 < shares <= 1."""
    tail = special.betainc(np.maximum(counts, 1), n - np.maximum(counts, 1) + 1, shares)
    # Below the smallest double all are equally unlikely, but not impossible.
    return np.where(counts > 0, np.maximum(tail, np.finfo(float).tiny), 1.0)


def _likelihood_ratio(counts: Array, expected: Array, n: int) -> Array:
    expected = np.minimum(expected, n)
    rest = special.xlogy(n - counts, (n - counts) / np.maximum(n - expected, np.finfo(float).tiny))
    log_ratio = special.xlogy(counts, counts / np.maximum(expected, np.finfo(float).tiny)) + rest
    return np.where(counts > expected, np.sqrt(2 * np.maximum(log_ratio, 0.0)), 0.0)


def _neighbours(positions: Array, radius: float) -> Any:
    """Which points lie within `radius` of which, themselves included: a sparse (n, n) matrix of ones."""
    tree = cKDTree(positions)
    lists = tree.query_ball_point(positions, radius, return_sorted=False)
    lengths = np.array([len(each) for each in lists])
    columns = np.concatenate([np.asarray(each, np.int64) for each in lists])
    return sparse.csr_array(
        (np.ones(len(columns), np.int64), columns, np.append(0, np.cumsum(lengths))),
        shape=(len(positions), len(positions)),
    )


def _hypergeometric_tails(sizes: Array, n: int, total: int) -> tuple[Array, Array]:
    """P(so many or more marked among k) for all counts of each window: a flat table, and where each window starts."""
    kinds, kind = np.unique(sizes, return_inverse=True)
    starts = np.append(0, np.cumsum(kinds + 1))
    table = np.concatenate([stats.hypergeom.sf(np.arange(k + 1) - 1, n, total, k) for k in kinds])
    return np.maximum(table, np.finfo(float).tiny), starts[kind]


def _points(points: Any) -> Array:
    refuse_quantity("points", points)
    points = np.asarray(points, float)
    if points.ndim != 2 or len(points) < 2 or not np.all(np.isfinite(points)):
        raise InputError(f"points has shape {points.shape} or a value that is not finite; accepted is (n, d)")
    return points


def _radii(radii: Any) -> Array:
    radii = np.atleast_1d(np.asarray(radii, float))
    if radii.ndim != 1 or not np.all(np.isfinite(radii) & (radii > 0)):
        raise InputError("radii holds a value that is not positive and finite; accepted are radii > 0")
    return radii


def _check_fields(name: str, value: Any) -> None:
    if not isinstance(value, int | np.integer) or value < 19:
        raise InputError(f"{name} is {value!r}; accepted is a whole number of at least 19")
