"""K-means: k centres, each the mean of the rows nearest to it.

    inertia = sum_i weights_i min_j |x_i - c_j|^2

Lloyd's two steps (assign each row to its nearest centre, move each centre to the mean of
its rows) never raise it, and end in a local minimum; which one depends on the start, so
there are several. Source: Ting, "Statistical Machine Learning for Astronomy"
(arXiv:2506.12230), chapter 11; Lloyd (1982, IEEE Trans. Inf. Theory 28, 129).
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from statml.compute import generator
from statml.errors import InputError
from statml.mixture.seeding import canonical_order, plus_plus
from statml.uncertainty.contract import one_sentence
from statml.uncertainty.measurement import refuse_quantities

Array = np.ndarray

# Distances computed at once.
CHUNK = 2**22


class KMeans(TransformerMixin, ClusterMixin, BaseEstimator):
    """Clusters of equal, round extent: the limit of a Gaussian mixture whose covariances are one s^2 I, s -> 0.

    Parameters
    ----------
    n_clusters : int, default 8
    n_init : int, default 10
        Starts by k-means++; the smallest inertia wins.
    max_iter : int, default 300
        Steps of each start.
    random_state : None, int or Generator

    Attributes
    ----------
    cluster_centers_ : array (k, d)
        Largest cluster first.
    labels_ : array (n,)
    inertia_ : float
        Weighted sum of squared distances to the nearest centre, in squared units of X.
    n_iter_ : int
        Steps of the best start.
    starts_ : array (n_init,)
        Inertia of every start, to see how many found the same.

    Notes
    -----
    Scale the columns first: a distance mixes their units. Rows must be complete and are
    taken as exact; for errors and missing values use `ExtremeDeconvolution`.

    Examples
    --------
    >>> import numpy as np
    >>> model = KMeans(n_clusters=2, random_state=0).fit([[0.0], [1.0], [10.0], [11.0], [12.0]])
    >>> model.cluster_centers_.ravel().tolist(), model.inertia_
    ([11.0, 0.5], 2.5)
    """

    def __init__(
        self, n_clusters: int = 8, *, n_init: int = 10, max_iter: int = 300, random_state: Any = None
    ) -> None:
        self.n_clusters = n_clusters
        self.n_init = n_init
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Self:
        """Find the centres.

        Parameters
        ----------
        X : array (n, d)
        y : ignored
        sample_weight : array (n,), optional
            A row of weight two counts as two rows.

        Raises
        ------
        InputError
            A parameter is out of range, or there are fewer rows than clusters.
        """
        refuse_quantities(X=X)
        with one_sentence():
            X = validate_data(self, X, dtype=np.float64)
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        for name in ("n_clusters", "n_init", "max_iter"):
            if not getattr(self, name) >= 1:
                raise InputError(f"{name} is {getattr(self, name)!r}; accepted is an integer >= 1")
        used = weights > 0
        if np.sum(used) < self.n_clusters:
            raise InputError(
                f"X has n_samples = {np.sum(used)} rows of positive weight; accepted are at least "
                f"n_clusters = {self.n_clusters}"
            )
        rng = generator(self.random_state)
        center = np.average(X, axis=0, weights=weights)
        order = canonical_order(X[used])
        rows, own = (X[used] - center)[order], weights[used][order]
        runs = [
            lloyd(rows, own, plus_plus(rows, own, self.n_clusters, rng), self.max_iter)
            for _ in range(self.n_init)
        ]
        self.starts_ = np.array([run[1] for run in runs])
        centers, self.inertia_, self.n_iter_, converged = runs[int(np.argmin(self.starts_))]
        if not converged:
            warnings.warn(
                f"KMeans stopped after max_iter = {self.max_iter} steps before its clusters stood still",
                ConvergenceWarning,
                stacklevel=2,
            )
        size = np.bincount(nearest(rows, centers)[0], own, self.n_clusters)
        self.cluster_centers_ = centers[np.argsort(-size, kind="stable")] + center
        self.labels_ = nearest(X, self.cluster_centers_)[0].astype(np.int32)
        return self

    def predict(self, X: Any) -> Array:
        """The nearest centre of each row, (n,)."""
        return nearest(self._new_rows(X), self.cluster_centers_)[0].astype(np.int32)

    def transform(self, X: Any) -> Array:
        """Distances to all centres, (n, k), in units of X."""
        return np.sqrt(_squared_distances(self._new_rows(X), self.cluster_centers_))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Minus the inertia of X: larger is better."""
        X = self._new_rows(X)
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
        return -float(weights @ nearest(X, self.cluster_centers_)[1])

    def _new_rows(self, X: Any) -> Array:
        check_is_fitted(self)
        refuse_quantities(X=X)
        with one_sentence():
            return validate_data(self, X, reset=False, dtype=np.float64)

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)


def lloyd(X: Array, weights: Array, centers: Array, max_iter: int) -> tuple[Array, float, int, bool]:
    """(centres, inertia, steps, whether the assignment stood still) from given centres."""
    k = len(centers)
    before = None
    for step in range(1, max_iter + 1):
        labels, distance = nearest(X, centers)
        if before is not None and np.array_equal(labels, before):
            return centers, float(weights @ distance), step, True
        before = labels
        size = np.bincount(labels, weights, k)
        sums = np.stack([np.bincount(labels, weights * column, k) for column in X.T], axis=1)
        empty = size == 0
        centers = sums / np.where(empty, 1, size)[:, None]
        if np.any(
            empty
        ):  # an empty cluster restarts on the rows that fit worst, if any are off their centres
            worst = np.argsort(-weights * distance, kind="stable")[: np.sum(empty)]
            moving = np.flatnonzero(empty)[distance[worst] > 0]
            centers[moving] = X[worst[distance[worst] > 0]]
    return centers, float(weights @ nearest(X, centers)[1]), max_iter, False


def nearest(X: Array, centers: Array) -> tuple[Array, Array]:
    """Index of the nearest centre and squared distance to it, each (n,)."""
    labels, distance = np.empty(len(X), np.intp), np.empty(len(X))
    size = max(CHUNK // len(centers), 1)
    half = 0.5 * np.sum(centers**2, axis=1)
    for start in range(0, len(X), size):
        part = slice(start, start + size)
        # |x|^2 is the same for all centres; the winner's distance is then computed without cancellation.
        labels[part] = np.argmin(half - X[part] @ centers.T, axis=1)
        distance[part] = np.sum((X[part] - centers[labels[part]]) ** 2, axis=1)
    return labels, distance


def _squared_distances(X: Array, centers: Array) -> Array:
    return np.stack([np.sum((X - center) ** 2, axis=1) for center in centers], axis=1)
