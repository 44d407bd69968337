r"""Two-point correlation of a field on a grid: an image or a cube, with a mask and weights.

With weights w (0 where the field is not known) and delta = field - mean, the mean product of the
field at two places r apart is, over all pairs of pixels,

    xi(r) = sum w(x) delta(x) w(x + r) delta(x + r) / sum w(x) w(x + r)

Numerator and denominator are autocorrelations, both by FFT with zeros around, so that an edge or
a mask, however ragged, costs nothing and biases nothing: O(N log N) instead of all pairs.

The mean is that of the same field, unless it is given, which makes the sum of all pair
products zero: E[xi_hat(r)] = xi(r) - (mean of xi over all pairs), about, the integral constraint
(`integral_constraint` gives the second term for a model). At r = 0 the noise of the pixels
adds its variance; elsewhere independent noise adds none.

Sources: Wiener (1930) and Khinchin (1934); Szapudi et al. (2005), ApJ 631, L1;
arXiv:2506.12230, chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.fft import next_fast_len

from statml.compute import Device, Namespace, namespace
from statml.errors import InputError
from statml.plain_numbers import refuse_quantity
from statml.statistics.precision import inverse_covariance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray
# Pair weights below this fraction of the largest are rounding of the FFT.
ROUNDING = 1e-10


@dataclass(frozen=True, eq=False)
class FieldCorrelation:
    """Correlation function of a field in bins of separation.

    Attributes
    ----------
    edges : array (k + 1,)
    separation : array (k,)
        Mean separation of the pairs in each bin; NaN without pairs.
    xi : array (k,)
        In units of the field squared; NaN in a bin without pairs.
    pairs : array (k,)
        Sum of w w over the pairs of each bin, each pair once.
    mean, variance : float
        Weighted mean, and xi(0), the weighted variance about it (noise included).
    replicates : array (t, k) or None
        xi without each of t tiles.
    cov : array (k, k) or None
        Jackknife covariance over the tiles.
    """

    edges: Array
    separation: Array
    xi: Array
    pairs: Array
    mean: float
    variance: float
    replicates: Array | None
    cov: Array | None

    @property
    def std(self) -> Array:
        """Standard errors of xi, shape (k,)."""
        return np.sqrt(np.diag(self._known_cov()))

    def inverse_covariance(self) -> Array:
        """Inverse of `cov` with Hartlap's factor for the number of tiles, shape (k, k)."""
        cov = self._known_cov()
        return inverse_covariance(cov, len(self.replicates))  # type: ignore[arg-type]

    def figure(self) -> Figure:
        """xi against separation, with errors where there are tiles."""
        from statml.statistics.pictures import field_figure

        return field_figure(self)

    def _known_cov(self) -> Array:
        if self.cov is None:
            raise InputError(
                "tiles is None, so that xi has no covariance; accepted is a number of tiles per side"
            )
        return self.cov


def field_correlation(
    field: Any,
    edges: Any,
    *,
    weights: Any = None,
    mean: float | None = None,
    pixel: float = 1.0,
    tiles: int | None = None,
    device: Device = "cpu",
) -> FieldCorrelation:
    """Correlation function of a field on a grid.

    Parameters
    ----------
    field : array of one to three dimensions
        May be NaN where the weight is 0.
    edges : array (k + 1,)
        Bins of separation, lower < r <= upper, in the units of `pixel`.
    weights : array like `field`, optional
        0 masks a pixel; 1 / variance is best where noise dominates. Without it 1, and 0 where NaN.
    mean : float, optional
        The mean, where it is known; otherwise the weighted mean of the field.
    pixel : float
        Side of a pixel.
    tiles : int, optional
        Tiles along each side for jackknife errors; each should be larger than the separations.
    device : {"cpu", "cuda", "auto"}

    Returns
    -------
    FieldCorrelation

    Raises
    ------
    InputError
        Shapes do not fit, weights are negative or all zero, or the field is not finite where they are not.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(size=(64, 64))
    >>> found = field_correlation(noise, [0.5, 1.5, 2.5], tiles=4)
    >>> bool(np.all(np.abs(found.xi) < 4 * found.std)), round(found.variance, 1)
    (True, 1.0)
    """
    values, weight = _checked(field, weights)
    edges = _edges(edges, pixel)
    space = namespace(device)
    centre = float(np.sum(weight * values) / np.sum(weight)) if mean is None else float(mean)
    bins = _Bins(values.shape, edges / pixel)

    def correlation(w: Array, about: float) -> tuple[Array, Array, float]:
        product, pair = bins.autocorrelation(space, w * (values - about)), bins.autocorrelation(space, w)
        pair = np.where(pair > ROUNDING * pair.max(), pair, 0.0)
        numerator, denominator = bins.sums(product), bins.sums(pair)
        with np.errstate(invalid="ignore", divide="ignore"):
            return numerator / denominator, pair, float(product.flat[0] / pair.flat[0])

    xi, pair, variance = correlation(weight, centre)
    pairs = bins.sums(pair)
    with np.errstate(invalid="ignore", divide="ignore"):
        separation = bins.sums(pair * bins.distance) / pairs * pixel
    replicates = cov = None
    if tiles is not None:
        lowered = []
        for without in _without_tiles(weight, tiles):
            about = centre if mean is not None else float(np.sum(without * values) / np.sum(without))
            lowered.append(correlation(without, about)[0])
        replicates = np.array(lowered)
        spread = replicates - replicates.mean(axis=0)
        cov = (len(lowered) - 1) / len(lowered) * spread.T @ spread
    return FieldCorrelation(edges, separation, xi, pairs / 2, centre, variance, replicates, cov)


def integral_constraint(
    weights: Any, model: Callable[[Array], Array], *, variance: float = 0.0, pixel: float = 1.0
) -> float:
    """What a correlation function loses when the mean is taken from the field itself.

    Parameters
    ----------
    weights : array of one to three dimensions
        As for `field_correlation`; 1 for a field without mask.
    model : callable
        xi at separations > 0, (m,) to (m,).
    variance : float
        xi(0), noise of the pixels included.
    pixel : float

    Returns
    -------
    float
        Add it to an estimated xi before comparing with the model, or subtract it from the model.

    Examples
    --------
    >>> import numpy as np
    >>> integral_constraint(np.ones((10, 10)), lambda r: np.zeros_like(r), variance=3.0)    # white noise
    0.03
    """
    weights = np.asarray(weights, float)
    bins = _Bins(weights.shape, np.array([0.0, float(max(weights.shape))]))
    pair = bins.autocorrelation(namespace("cpu"), weights)
    pair = np.where(pair > ROUNDING * pair.max(), pair, 0.0)
    squared, place = np.unique(np.rint(bins.distance.ravel() ** 2), return_inverse=True)
    total = np.bincount(place, pair.ravel())
    xi = np.concatenate([[variance], np.asarray(model(pixel * np.sqrt(squared[1:])), float)])
    return float(round(np.sum(total * xi) / np.sum(total), 15))


class _Bins:
    """The lags of a padded grid, and which bin each belongs to."""

    def __init__(self, shape: tuple[int, ...], edges: Array) -> None:
        # Zeros enough that no lag of interest wraps around.
        reach = [min(int(np.ceil(edges[-1])), n - 1) for n in shape]
        self.padded = tuple(next_fast_len(n + more, real=True) for n, more in zip(shape, reach))
        axes = [np.fft.fftfreq(n, 1 / n) for n in self.padded]
        squares = sum(np.ix_(*(axis**2 for axis in axes)))
        # Lags beyond the reach along one axis hold wrapped pairs.
        inside = np.ones(self.padded, bool)
        for dimension, (axis, far) in enumerate(zip(axes, reach)):
            inside &= (np.abs(axis) <= far).reshape([-1 if d == dimension else 1 for d in range(len(shape))])
        self.distance = np.sqrt(squares)
        found = np.searchsorted(edges, self.distance.ravel() * (1 - 1e-12), side="left") - 1
        self._size = len(edges) - 1
        wanted = inside.ravel() & (found >= 0) & (found < self._size)
        self._lags, self._bin = np.flatnonzero(wanted), found[wanted]

    def autocorrelation(self, space: Namespace, field: Array) -> Array:
        """Sum over x of f(x) f(x + lag) for every lag, of the padded shape."""
        padded = np.zeros(self.padded)
        padded[tuple(slice(n) for n in field.shape)] = field
        transformed = space.xp.fft.rfftn(space.asarray(padded))
        power = space.xp.abs(transformed) ** 2
        axes = tuple(range(len(self.padded)))
        return space.to_numpy(space.xp.fft.irfftn(power, s=self.padded, axes=axes))

    def sums(self, values: Array) -> Array:
        """Sums over the lags of each bin."""
        return np.bincount(self._bin, values.ravel()[self._lags], self._size)


def _checked(field: Any, weights: Any) -> tuple[Array, Array]:
    refuse_quantity("field", field)
    field = np.asarray(field, float)
    if not 1 <= field.ndim <= 3 or field.size < 2:
        raise InputError(f"field has shape {field.shape}; accepted are one to three dimensions")
    if weights is None:
        weights = np.isfinite(field).astype(float)
    weights = np.asarray(weights, float)
    if weights.shape != field.shape or not np.all((weights >= 0) & np.isfinite(weights)):
        raise InputError(
            f"weights has shape {weights.shape} or a value that is negative or not finite; accepted are weights "
            f">= 0 of shape {field.shape}"
        )
    if np.count_nonzero(weights) < 2:
        raise InputError("weights is zero almost everywhere; accepted are at least two pixels that count")
    known = weights > 0
    if not np.all(np.isfinite(field[known])):
        raise InputError("field is not finite where its weight is not zero; accepted there are finite values")
    return np.where(known, field, 0.0), weights


def _edges(edges: Any, pixel: float) -> Array:
    edges = np.asarray(edges, float)
    if not (np.isfinite(pixel) and pixel > 0):
        raise InputError(f"pixel is {pixel!r}; accepted is the side of a pixel, > 0")
    if edges.ndim != 1 or len(edges) < 2 or not np.all(np.isfinite(edges)):
        raise InputError(f"edges has shape {edges.shape} or a value that is not finite; accepted is (k + 1,)")
    if edges[0] < 0 or np.any(np.diff(edges) <= 0):
        raise InputError("edges does not grow from 0 or more; accepted are growing separations")
    return edges


def _without_tiles(weights: Array, tiles: int) -> list[Array]:
    """Weights with each tile set to zero; tiles that are masked already are not left out."""
    if not isinstance(tiles, int | np.integer) or not 2 <= tiles <= min(weights.shape):
        raise InputError(
            f"tiles is {tiles!r}; accepted is a whole number from 2 to the shortest side, {min(weights.shape)}"
        )
    cuts = [np.linspace(0, n, tiles + 1).astype(int) for n in weights.shape]
    found = []
    for place in product(range(tiles), repeat=weights.ndim):
        tile = tuple(slice(cut[i], cut[i + 1]) for cut, i in zip(cuts, place))
        if np.any(weights[tile] > 0):
            without = weights.copy()
            without[tile] = 0.0
            found.append(without)
    if len(found) < 2 or any(np.count_nonzero(each) < 2 for each in found):
        raise InputError("tiles leave fewer than two tiles with pixels that count; accepted are more tiles")
    return found
