r"""Two-point correlation of points: how many more pairs than without structure.

The probability of a point in each of two small volumes at separation r is n^2 (1 + xi(r)) dV1 dV2.
From counts of data-data, data-random and random-random pairs, each over its number of all pairs,

    natural          xi = DD / RR - 1
    Davis-Peebles    xi = DD / DR - 1
    Landy-Szalay     xi = (DD - 2 DR + RR) / RR

The random points trace where data could have been seen. The first two see the fluctuation of the
mean density at the edges in first order; Landy-Szalay in second, and is the one to use.

The density is taken from the same data, so xi summed over all pairs is zero (integral constraint):
it is low by about the variance of the mean density, which counts where structure is as large as the field.

Errors come from regions: the points of one left out at a time (jackknife), or as many regions as
there are drawn with replacement (bootstrap). Pairs of points are not independent, so Poisson errors
of DD are too small wherever there is structure. A pair across two regions is left out twice, so errors
are up to 1.4 times too large at separations like the size of a region (Mohammad & Percival 2022);
down-weighting such pairs made them too small by a quarter for clustered points, and is not done here.

Sources: Landy & Szalay (1993), ApJ 412, 64; Davis & Peebles (1983); Norberg et al. (2009),
arXiv:0810.1885 (errors from regions); Mohammad & Percival (2022), MNRAS 514, 1289;
arXiv:2506.12230, chapter 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from statml.compute import generator
from statml.errors import InputError
from statml.statistics.pairs import (
    Metric,
    Points,
    as_edges,
    as_points,
    compact_regions,
    counts_by_region,
)
from statml.statistics.precision import inverse_covariance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray
Estimator = Literal["landy-szalay", "natural", "davis-peebles"]
ESTIMATORS = ("landy-szalay", "natural", "davis-peebles")


@dataclass(frozen=True, eq=False)
class TwoPoint:
    """A correlation function in bins of separation, with its errors.

    Attributes
    ----------
    edges : array (k + 1,)
        Bins, in the units they were given in.
    xi : array (k,)
    dd, dr, rr : array (k,)
        Pairs, weighted, each once.
    replicates : array (m, k) or None
        xi with each region left out, or of each bootstrap draw of regions.
    cov : array (k, k) or None
        Covariance of xi from the replicates.
    regions : int
        Number of regions; 0 without.
    """

    edges: Array
    xi: Array
    dd: Array
    dr: Array
    rr: Array
    replicates: Array | None
    cov: Array | None
    regions: int

    @property
    def separation(self) -> Array:
        """Middle of each bin, shape (k,)."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    @property
    def std(self) -> Array:
        """Standard errors of xi, shape (k,)."""
        return np.sqrt(np.diag(self._known_cov()))

    @property
    def poisson_std(self) -> Array:
        """Errors (1 + xi) / sqrt(DD) as if pairs were independent: a lower bound, shape (k,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.dd > 0, (1 + self.xi) / np.sqrt(self.dd), np.inf)

    def inverse_covariance(self) -> Array:
        """Inverse of `cov` with Hartlap's factor for the number of regions, shape (k, k).

        Raises
        ------
        InputError
            There are not more than k + 2 regions.
        """
        return inverse_covariance(self._known_cov(), self.regions)

    def chi2(self, model: Any = 0.0) -> float:
        """Chi-square of a model of xi, of shape (k,) or one number; 0 is no structure."""
        residual = self.xi - np.broadcast_to(np.asarray(model, float), self.xi.shape)
        return float(residual @ self.inverse_covariance() @ residual)

    def figure(self) -> Figure:
        """xi with its errors, and their correlation matrix."""
        from statml.statistics.pictures import two_point_figure

        return two_point_figure(self)

    def _known_cov(self) -> Array:
        if self.cov is None:
            raise InputError("regions is None, so that xi has no covariance; accepted is a number of regions")
        return self.cov


def two_point(
    data: Any,
    randoms: Any,
    edges: Any,
    *,
    estimator: Estimator = "landy-szalay",
    data_weights: Any = None,
    random_weights: Any = None,
    regions: int | tuple[Any, Any] | None = None,
    errors: Literal["jackknife", "bootstrap"] = "jackknife",
    size: int = 500,
    metric: Metric = "euclidean",
    rng: Any = None,
) -> TwoPoint:
    """Correlation function of points by counting pairs.

    Parameters
    ----------
    data : array (n, d)
        Positions; with ``metric="sky"`` longitude and latitude in degrees.
    randoms : array (m, d)
        Points without structure where data could have been seen; several times as many.
    edges : array (k + 1,)
        Bins of separation, lower < r <= upper; degrees on the sky.
    estimator : {"landy-szalay", "natural", "davis-peebles"}
    data_weights, random_weights : arrays, optional
    regions : int or (array (n,), array (m,)), optional
        Number of compact regions to make from the randoms, or the regions of data and
        randoms as labels. Without it there is no covariance.
    errors : {"jackknife", "bootstrap"}
    size : int
        Bootstrap draws.
    metric : {"euclidean", "sky"}
    rng : int, Generator or None
        Draws the bootstrap.

    Returns
    -------
    TwoPoint

    Raises
    ------
    InputError
        Shapes do not fit, a bin without random pairs, or an unknown name.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> parents, spread = rng.random((60, 2)), 0.01 * rng.normal(size=(300, 2))
    >>> data = np.clip(np.repeat(parents, 5, axis=0) + spread, 0, 1)
    >>> found = two_point(data, rng.random((3000, 2)), [0.01, 0.02, 0.2, 0.3], regions=16)
    >>> bool(found.xi[0] > 5 * found.std[0]), bool(abs(found.xi[2]) < 4 * found.std[2])
    (True, True)
    """
    if estimator not in ESTIMATORS:
        raise InputError(f"estimator is {estimator!r}; accepted are {', '.join(ESTIMATORS)}")
    if errors not in ("jackknife", "bootstrap"):
        raise InputError(f"errors is {errors!r}; accepted are 'jackknife' and 'bootstrap'")
    bins = as_edges(edges, metric)
    points = as_points("data", data, data_weights, metric)
    field = as_points("randoms", randoms, random_weights, metric)
    if points.positions.shape[1] != field.positions.shape[1]:
        raise InputError(
            f"data has {points.positions.shape[1]} coordinates and randoms {field.positions.shape[1]}; "
            "accepted are equal numbers"
        )
    points, field = _with_regions(points, field, regions)
    counts = RegionCounts(points, field, bins)
    if np.any((counts.rr if estimator != "davis-peebles" else counts.dr).sum(axis=(0, 1)) == 0):
        raise InputError("edges has a bin without pairs of randoms; accepted are wider bins, or more randoms")
    once = np.ones((1, counts.regions))
    replicates = cov = None
    if regions is not None:
        replicates = counts.xi(_multiplicities(errors, counts.regions, size, generator(rng)), estimator)
        cov = _covariance(replicates, errors)
    return TwoPoint(
        np.asarray(edges, float),
        counts.xi(once, estimator)[0],
        counts.dd.sum(axis=(0, 1)) / 2,
        counts.dr.sum(axis=(0, 1)),
        counts.rr.sum(axis=(0, 1)) / 2,
        replicates,
        cov,
        counts.regions if regions is not None else 0,
    )


class RegionCounts:
    """Pairs by regions, and the correlation function when regions are used other than once."""

    def __init__(self, data: Points, randoms: Points, edges: Array) -> None:
        self.regions = int(max(data.region.max(), randoms.region.max())) + 1
        self.dd = self._padded(counts_by_region(data, None, edges))
        self.dr = self._padded(counts_by_region(data, randoms, edges))
        self.rr = self._padded(counts_by_region(randoms, None, edges))
        self._data, self._randoms = self._sums(data), self._sums(randoms)

    def xi(self, uses: Array, estimator: Estimator) -> Array:
        """Correlation functions (m, k), region g used ``uses[i, g]`` times in the i-th.

        Two uses of one region are two copies at the same place, of which no pair is formed:
        pairs within a region count as often as it is used, not as its square.
        """
        dd, dr, rr = (self._weighted(uses, counts) for counts in (self.dd, self.dr, self.rr))
        all_dd = self._all_pairs(uses, self._data, self._data)
        all_rr = self._all_pairs(uses, self._randoms, self._randoms)
        first, second = uses @ self._data[0], uses @ self._randoms[0]
        copies = np.einsum("mg,g->m", uses * (uses - 1), self._data[0] * self._randoms[0])
        with np.errstate(divide="ignore", invalid="ignore"):
            dd, rr = dd / all_dd[:, None], rr / all_rr[:, None]
            dr = dr / (first * second - copies)[:, None]
            if estimator == "natural":
                return dd / rr - 1
            if estimator == "davis-peebles":
                return dd / dr - 1
            return (dd - 2 * dr + rr) / rr

    def _padded(self, counts: Array) -> Array:
        missing = [(0, self.regions - n) for n in counts.shape[:2]]
        return np.pad(counts, [*missing, (0, 0)])

    def _sums(self, points: Points) -> tuple[Array, Array]:
        """Weights and squared weights of each region, which make the number of all pairs."""
        weights = np.ones(len(points.region)) if points.weights is None else points.weights
        return tuple(np.bincount(points.region, w, self.regions) for w in (weights, weights**2))  # type: ignore[return-value]

    @staticmethod
    def _weighted(uses: Array, counts: Array) -> Array:
        across = np.einsum("mg,ghk,mh->mk", uses, counts, uses, optimize=True)
        return across - np.einsum("mg,ggk->mk", uses * (uses - 1), counts)

    @staticmethod
    def _all_pairs(uses: Array, one: tuple[Array, Array], other: tuple[Array, Array]) -> Array:
        total = (uses @ one[0]) * (uses @ other[0])
        return total - (uses * (uses - 1)) @ (one[0] * other[0]) - uses @ one[1]


def _with_regions(data: Points, randoms: Points, regions: Any) -> tuple[Points, Points]:
    if regions is None:
        return data, randoms
    if isinstance(regions, tuple):
        labels = [np.asarray(each) for each in regions]
        sizes = [len(data.positions), len(randoms.positions)]
        if len(labels) != 2 or any(each.shape != (n,) for each, n in zip(labels, sizes)):
            raise InputError(f"regions has labels of other shapes than ({sizes[0]},) and ({sizes[1]},)")
        _, number = np.unique(np.concatenate(labels), return_inverse=True)
        if number.max() == 0:
            raise InputError("regions holds one region; accepted are two or more")
        ours, theirs = number[: sizes[0]], number[sizes[0] :]
    else:
        theirs, ours = compact_regions(randoms.positions, data.positions, regions)
    return (
        Points(data.positions, data.weights, ours),
        Points(randoms.positions, randoms.weights, theirs),
    )


def _multiplicities(errors: str, regions: int, size: int, rng: np.random.Generator) -> Array:
    if errors == "jackknife":
        return 1.0 - np.eye(regions)
    if not isinstance(size, int | np.integer) or size < 2:
        raise InputError(f"size is {size!r}; accepted is a whole number of bootstrap draws, 2 or more")
    return rng.multinomial(regions, np.full(regions, 1 / regions), size=size).astype(float)


def _covariance(replicates: Array, errors: str) -> Array:
    if not np.all(np.isfinite(replicates)):
        raise InputError(
            "edges has a bin that is empty without one region; accepted are wider bins, more randoms or fewer regions"
        )
    if errors == "bootstrap":
        return np.atleast_2d(np.cov(replicates, rowvar=False))
    m, spread = len(replicates), replicates - replicates.mean(axis=0)
    return (m - 1) / m * spread.T @ spread
