"""Basis functions that are local: each bends the curve in one place.

Splines are polynomials between knots, joined smoothly; radial functions are bumps
around centres in any number of dimensions. Both are transformers that carry errors
of x along, as `statml.regression.basis` explains.

References: de Boor (1978), "A Practical Guide to Splines"; arXiv:2506.12230, ch. 4.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy.interpolate import BSpline
from scipy.spatial.distance import pdist, squareform
from sklearn.cluster import KMeans

from statml.compute import generator, spread
from statml.errors import InputError
from statml.regression.basis import Basis, as_widths, at_least

Array = np.ndarray


class SplineBasis(Basis):
    """B-splines of each feature, with knots at the quantiles of the training rows.

    The splines of a feature sum to one; the first is left out, since the regressor
    has an intercept.

    Parameters
    ----------
    n_intervals : int
        Intervals between knots, with (nearly) equal numbers of rows.
    degree : int
        Of the polynomials; 3 has continuous second derivatives.
    extrapolation : {"linear", "constant"}
        How the curve goes on outside the training rows: along its last slope, or flat.

    Attributes
    ----------
    knots_ : list of arrays
        For each feature, boundary knots repeated `degree` times more.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(0, 1, 50)[:, None]
    >>> features = SplineBasis(4).fit_transform(x)
    >>> features.shape
    (50, 6)
    """

    def __init__(
        self,
        n_intervals: int = 6,
        *,
        degree: int = 3,
        extrapolation: Literal["linear", "constant"] = "linear",
    ) -> None:
        self.n_intervals = n_intervals
        self.degree = degree
        self.extrapolation = extrapolation

    def _learn(self, X: Array) -> None:
        at_least("n_intervals", self.n_intervals, 1)
        at_least("degree", self.degree, 1)
        if self.extrapolation not in ("linear", "constant"):
            raise InputError(f"extrapolation is {self.extrapolation!r}; accepted are 'linear' and 'constant'")
        self.knots_ = [self._knots(column) for column in X.T]

    def _knots(self, column: Array) -> Array:
        # Many equal values have equal quantiles; a knot is needed once.
        inner = np.unique(np.quantile(column, np.linspace(0, 1, self.n_intervals + 1)))
        if len(inner) == 1:
            inner = inner[0] + np.array([-0.5, 0.5])
        ends = np.repeat(inner[[0, -1]], self.degree)
        return np.concatenate([ends[: self.degree], inner, ends[self.degree :]])

    def _values(self, X: Array) -> Array:
        return np.column_stack(
            [self._one_feature(column, knots)[0] for column, knots in zip(X.T, self.knots_)]
        )

    def _derivatives(self, X: Array) -> Array:
        slopes = [self._one_feature(column, knots)[1] for column, knots in zip(X.T, self.knots_)]
        # Features may have different numbers of splines, where knots fell together.
        directions = np.eye(X.shape[1])
        return np.concatenate([each[:, :, None] * axis for each, axis in zip(slopes, directions)], axis=1)

    def _one_feature(self, x: Array, knots: Array) -> tuple[Array, Array]:
        """Values and slopes of the splines but the first, each (n, q)."""
        splines = BSpline(knots, np.eye(len(knots) - self.degree - 1), self.degree)
        inside = np.clip(x, knots[0], knots[-1])
        values, slopes = splines(inside)[:, 1:], splines.derivative()(inside)[:, 1:]
        beyond = (x - inside)[:, None]
        if self.extrapolation == "constant":
            return values, np.where(beyond == 0, slopes, 0.0)
        return values + beyond * slopes, slopes

    def _names(self, inputs: Array) -> list[str]:
        return [
            f"B{i}({name})"
            for name, knots in zip(inputs, self.knots_)
            for i in range(1, len(knots) - self.degree - 1)
        ]


class RadialBasis(Basis):
    """Gaussian bumps exp(-|(x - c) / w|^2 / 2) around centres, in any number of dimensions.

    Parameters
    ----------
    centers : int or array (k, d)
        Centres in the units of X, or how many to place by k-means.
    width : float, array (d,) or None
        Widths w in the units of X. None: the median distance of a centre to its
        nearest neighbour, in standard deviations of each feature.
    random_state : int, Generator or None
        For the placement.

    Attributes
    ----------
    centers_ : array (k, d)
    width_ : array (d,)

    Examples
    --------
    >>> basis = RadialBasis(centers=[[0.0], [1.0]], width=0.5).fit([[0.0], [1.0]])
    >>> basis.transform([[0.5]]).round(4)
    array([[0.6065, 0.6065]])
    """

    def __init__(self, centers: Any = 10, *, width: Any = None, random_state: Any = None) -> None:
        self.centers = centers
        self.width = width
        self.random_state = random_state

    def _learn(self, X: Array) -> None:
        width = spread(X)
        scale = np.where(width > 0, width, 1.0)
        if np.ndim(self.centers) == 0:
            at_least("centers", self.centers, 1)
            self.centers_ = self._placed(X / scale) * scale
        else:
            self.centers_ = np.asarray(self.centers, dtype=float)
            if self.centers_.ndim != 2 or self.centers_.shape[1] != X.shape[1]:
                raise InputError(
                    f"centers has shape {self.centers_.shape}; accepted is (k, {X.shape[1]}), as X has "
                    f"{X.shape[1]} features"
                )
        if self.width is None:
            self.width_ = scale * _spacing(self.centers_ / scale)
        else:
            self.width_ = as_widths("width", self.width, X.shape[1])

    def _placed(self, X: Array) -> Array:
        k = min(int(self.centers), len(np.unique(X, axis=0)))
        seed = int(generator(self.random_state).integers(2**31))
        return KMeans(k, n_init=1, random_state=seed).fit(X).cluster_centers_

    def _distances(self, X: Array) -> Array:
        """(x - c) / w, shape (n, k, d)."""
        return (X[:, None, :] - self.centers_) / self.width_

    def _values(self, X: Array) -> Array:
        return np.exp(-0.5 * np.sum(self._distances(X) ** 2, axis=2))

    def _derivatives(self, X: Array) -> Array:
        return -self._values(X)[:, :, None] * self._distances(X) / self.width_

    def _names(self, inputs: Array) -> list[str]:
        return [f"radial{i}" for i in range(len(self.centers_))]


def _spacing(centers: Array) -> float:
    """Median distance to the nearest other centre; 1 where there is none."""
    if len(centers) < 2:
        return 1.0
    distances = squareform(pdist(centers))
    np.fill_diagonal(distances, np.inf)
    spacing = float(np.median(distances.min(axis=1)))
    return spacing if spacing > 0 else 1.0
