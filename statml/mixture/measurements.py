"""Noisy and incomplete rows, sorted by what was measured of each.

    w_i = R_i v_i + noise of covariance S_i

Rows that miss the same entries form a group: for these R_i picks rows of the identity,
and S_i loses the same rows and columns. That is exact, where a huge variance in place
of a missing value is neither exact nor stable.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from statml.compute import Namespace
from statml.compute import namespace as cpu_namespace
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray

# Bytes of the Cholesky factors of one chunk of rows for one component: they should stay in the
# cache of a CPU, and yet outweigh the cost of calling NumPy; a GPU wants few large steps.
CPU_CHUNK_BYTES = 2**21
GPU_CHUNK_BYTES = 2**28
FEWEST_ROWS = 256


@dataclass(frozen=True)
class Group:
    """Rows of one kind. The objects lie along the last axis of every array.

    Attributes
    ----------
    rows : array (n,)
        Where the rows were in the input.
    seen : array (m,)
        Which of the d features were measured; unused with a projection.
    values : array (m, n)
    variances : array (m, n) or None
        Independent errors; None where they are correlated or there are none.
    noise : list of m arrays or None
        Column k of S from the diagonal down, (m - k, n).
    projection : array (m, d, n) or None
    weights : array (n,)
    namespace : Namespace
        Where values, errors, projection and weights are kept.
    """

    rows: Array
    seen: Array
    values: Any
    variances: Any
    noise: list[Any] | None
    projection: Any
    weights: Any
    namespace: Namespace

    @property
    def exact(self) -> bool:
        """Whether the values have no errors and are features themselves; or there are none."""
        plain = self.variances is None and self.noise is None and self.projection is None
        return plain or len(self.seen) == 0

    def least_noise(self) -> float:
        """The smallest eigenvalue of any S."""
        if self.variances is not None:
            return float(np.min(self.namespace.to_numpy(self.variances)))
        if self.noise is None:
            return 0.0
        m, n = self.values.shape
        lower = np.zeros((n, m, m))
        for k, column in enumerate(self.noise):
            lower[:, k:, k] = self.namespace.to_numpy(column).T
        return float(np.min(np.linalg.eigvalsh(lower)))  # looks at the lower triangle alone

    def chunk(self, part: slice) -> Group:
        """Some of the rows."""
        return Group(
            self.rows[part],
            self.seen,
            self.values[:, part],
            None if self.variances is None else self.variances[:, part],
            None if self.noise is None else [column[:, part] for column in self.noise],
            None if self.projection is None else self.projection[:, :, part],
            self.weights[part],
            self.namespace,
        )


@dataclass(frozen=True)
class Measurements:
    """All rows: groups, the number of rows and features, and the sum of weights."""

    groups: list[Group]
    n: int
    n_features: int
    total_weight: float

    @classmethod
    def of(
        cls,
        X: Array,
        *,
        namespace: Namespace,
        errors: CovarianceStack | None = None,
        projection: Array | None = None,
        weights: Array | None = None,
    ) -> Measurements:
        """From X (n, m) with NaN where nothing was measured; rows of weight zero are left out."""
        n = len(X)
        weights = np.ones(n) if weights is None else weights
        used = np.flatnonzero(weights > 0)
        groups = []
        for seen, rows in _patterns(np.isfinite(X[used])):
            rows = used[rows]
            groups.append(_group(X, rows, seen, errors, projection, weights, namespace))
        d = X.shape[1] if projection is None else projection.shape[2]
        return cls(groups, n, d, float(np.sum(weights)))

    def least_noise(self) -> float:
        """The smallest variance any combination of a row's values has from its errors; 0 where there are none."""
        return min((group.least_noise() for group in self.groups if len(group.seen) > 0), default=0.0)

    def chunks(self) -> Iterator[Group]:
        """The rows in portions whose factors fit into the cache."""
        for group in self.groups:
            limit = CPU_CHUNK_BYTES if group.namespace.device == "cpu" else GPU_CHUNK_BYTES
            m, n = group.values.shape
            entries = m * (m + 5) // 2
            size = max(limit // (8 * max(entries, 1)), FEWEST_ROWS)
            for start in range(0, n, size):
                yield group.chunk(slice(start, start + size))


def _patterns(seen: Array) -> Iterator[tuple[Array, Array]]:
    """(columns measured, rows that measured just these) of every pattern of missing values."""
    if np.all(seen):
        yield np.arange(seen.shape[1]), np.arange(len(seen))
        return
    kinds, kind = np.unique(seen, axis=0, return_inverse=True)
    order = np.argsort(kind.ravel(), kind="stable")
    edges = np.cumsum(np.bincount(kind.ravel(), minlength=len(kinds)))[:-1]
    for pattern, rows in zip(kinds, np.split(order, edges)):
        yield np.flatnonzero(pattern), rows


def _group(
    X: Array,
    rows: Array,
    seen: Array,
    errors: CovarianceStack | None,
    projection: Array | None,
    weights: Array,
    namespace: Namespace,
) -> Group:
    if (errors is None and projection is None) or len(seen) == 0:
        namespace = cpu_namespace()  # one matrix for all rows is no work for a GPU
    variances, noise = None, None
    if errors is not None:
        independent = errors.variances
        if independent is not None:
            variances = namespace.asarray(np.ascontiguousarray(independent[np.ix_(rows, seen)].T))
        else:
            dense = errors[rows].to_dense()[:, seen][:, :, seen]
            noise = [namespace.asarray(np.ascontiguousarray(dense[:, k:, k].T)) for k in range(len(seen))]
    own = None
    if projection is not None:
        own = namespace.asarray(np.ascontiguousarray(projection[rows][:, seen].transpose(1, 2, 0)))
    return Group(
        rows,
        seen,
        namespace.asarray(np.ascontiguousarray(X[np.ix_(rows, seen)].T)),
        variances,
        noise,
        own,
        namespace.asarray(weights[rows]),
        namespace,
    )
