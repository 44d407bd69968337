r"""Two-point correlation of an abundance measured at points: HII regions, or stars.

    xi(r) = sum w_i w_j dz_i dz_j / sum w_i w_j over the pairs of a bin,    dz = z - weighted mean

over the variance at no separation, noise included. Errors of single points add to that variance only: they lower xi at all
r > 0 by one factor, which `fit_correlation_length` knows as the dilution. For a map of pixels use
`statml.statistics.field_correlation`, which needs no pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u

from statml.errors import InputError
from statml.research.abundances.correlation_model import Window
from statml.research.abundances.dimensions import LENGTH, magnitudes
from statml.statistics import Groups, jackknife, pair_counts
from statml.statistics.pairs import compact_regions

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class PointCorrelation:
    """Correlation function of an abundance at points.

    Attributes
    ----------
    edges : Quantity (k + 1,)
    separation : Quantity (k,)
        Of the middle of the area of each bin.
    xi : array (k,)
        Over the variance: 1 at no separation.
    pairs : array (k,)
    variance : float
        Weighted variance of the values about their mean, noise included.
    dilution : float or None
        Variance over the variance that is left when the known errors are taken away; None without errors.
    cov : array (k, k) or None
        Jackknife covariance over regions.
    window : Window
        For the integral constraint.
    """

    edges: u.Quantity
    separation: u.Quantity
    xi: Array
    pairs: Array
    variance: float
    dilution: float | None
    cov: Array | None
    window: Window


def two_point(
    x: Any, y: Any, dz: Any, bins: Any, err: Any = None, *, regions: int | None = None
) -> PointCorrelation:
    """Correlation function of an abundance at points of a plane.

    Parameters
    ----------
    x, y : Quantity (n,)
        Places in the plane of the galaxy, as `deproject` gives them.
    dz : array (n,)
        Abundances, or what is left of them when a gradient is removed.
    bins : Quantity (k + 1,)
        Edges of the separations, lower < r <= upper.
    err : float or array (n,), optional
        Standard errors. Points are weighted by 1 / (err^2 + s^2), with the scatter s that errors do not explain.
    regions : int, optional
        Number of compact regions for jackknife errors. One galaxy has few independent regions; a
        covariance from simulated fields is better.

    Returns
    -------
    PointCorrelation

    Raises
    ------
    InputError, InputTypeError, WrongUnitError
        Shapes do not fit, a value is not finite, an error not positive, a bin without pairs.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.uniform(0, 10, (2, 800)) * u.kpc
    >>> found = two_point(x, y, np.sin(x.value) + rng.normal(0, 0.3, 800), [0.1, 0.5, 1] * u.kpc)
    >>> found.xi.round(1)
    array([0.8, 0.7])
    """
    places = np.stack([magnitudes("x", x, LENGTH), magnitudes("y", y, LENGTH)], axis=-1)
    values = np.asarray(dz, float)
    if values.ndim != 1 or places.shape != (len(values), 2) or len(values) < 3:
        raise InputError(
            f"x and y have shape {places.shape[:-1]} and dz {values.shape}; accepted are equal (n,), n at least 3"
        )
    if not np.all(np.isfinite(values)):
        raise InputError("dz has a value that is not finite; accepted are finite values")
    if np.ptp(values) == 0:
        raise InputError(f"dz is {values[0]:g} everywhere; accepted are values that vary")
    edges = magnitudes("bins", bins, LENGTH)
    if edges.ndim != 1 or len(edges) < 2 or np.any(np.diff(edges) <= 0):
        raise InputError(
            f"bins has shape {edges.shape} or does not grow; accepted are 2 or more growing edges"
        )
    weight, dilution = _weights(values, err)
    xi = _xi(places, values, weight, edges)
    if not np.all(np.isfinite(xi)):
        raise InputError("bins has a bin without pairs; accepted are wider bins")
    cov = None
    if regions is not None:
        labels, _ = compact_regions(places, places, regions)
        rows = np.arange(len(values))
        found = jackknife(
            lambda left: _xi(places[left], values[left], weight[left], edges), rows, scheme=Groups(labels)
        )
        cov = np.atleast_2d(found.cov)
    return PointCorrelation(
        edges * LENGTH,
        _middle(edges) * LENGTH,
        xi,
        pair_counts(places, edges=edges),
        _variance(values, weight),
        dilution,
        cov,
        Window.of_points(places * LENGTH, edges * LENGTH, weight),
    )


def _weights(values: Array, err: Any) -> tuple[Array, float | None]:
    if err is None:
        return np.ones(len(values)), None
    errors = np.asarray(err, float)
    if errors.ndim == 0:
        errors = np.full(values.shape, float(errors))
    if errors.shape != values.shape or not np.all((errors > 0) & np.isfinite(errors)):
        raise InputError(
            f"err has shape {errors.shape} or a value not positive; accepted is a number or {values.shape}, > 0"
        )
    total, noise = float(np.var(values)), float(np.mean(errors**2))
    left = max(total - noise, 0.0)
    weight = 1 / (errors**2 + left)
    weighted = _variance(values, weight)
    own = weighted - float(np.average(errors**2, weights=weight))
    return weight / weight.mean(), weighted / own if own > 0 else np.inf


def _variance(values: Array, weight: Array) -> float:
    mean = np.average(values, weights=weight)
    # Weights enter pairs squared, and so they do where a point is paired with itself.
    return float(np.average((values - mean) ** 2, weights=weight**2))


def _xi(places: Array, values: Array, weight: Array, edges: Array) -> Array:
    off = weight * (values - np.average(values, weights=weight))
    above, below = np.maximum(off, 0), np.maximum(-off, 0)

    def pairs(first: Array, second: Array | None = None) -> Array:
        if second is None:
            return pair_counts(places, edges=edges, first_weights=first)
        return pair_counts(places, places, edges=edges, first_weights=first, second_weights=second)

    # The counts take weights >= 0: products of equal sign less those of opposite sign.
    products = pairs(above) + pairs(below) - pairs(above, below)
    with np.errstate(invalid="ignore", divide="ignore"):
        return products / pairs(weight) / _variance(values, weight)


def _middle(edges: Array) -> Array:
    """Mean separation of pairs spread evenly over each ring."""
    return 2 / 3 * np.diff(edges**3) / np.diff(edges**2)
