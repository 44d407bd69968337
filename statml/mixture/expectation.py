"""The expectation step: what each row says about each component.

With T = R V_j R^T + S, z = w - R m_j, component j is seen at w with density
N(w; R m_j, T), and if the row came from it, its true value v has

    E[v] = m_j + V_j a,               a = R^T T^-1 z
    Cov[v] = V_j - V_j P V_j,         P = R^T T^-1 R

(Bovy, Hogg & Roweis 2011, Ann. Appl. Stat. 5, 1657, eq. 16). The sums over rows that the
maximisation step needs are linear in a, a a^T and P, so neither E[v] nor Cov[v] is
formed for any row: with L L^T = T, P = (L^-1 R)^T (L^-1 R) is summed as a product of
matrices, and V_j is applied once, to the sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, special

from statml.compute import namespace
from statml.mixture import cholesky
from statml.mixture.components import Components
from statml.mixture.measurements import Group, Measurements

Array = np.ndarray

LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Moments:
    """Sums over rows of the responsibility of each component, and of v - m_j and its square.

    `weight` (K,), `first` (K, d), `second` (K, d, d).
    """

    weight: Array
    first: Array
    second: Array


def expectation(components: Components, data: Measurements) -> tuple[Moments, float]:
    """Moments of the true values about the present means, and the log likelihood."""
    K, d = components.means.shape
    moments = Moments(np.zeros(K), np.zeros((K, d)), np.zeros((K, d, d)))
    log_likelihood = 0.0
    # products of a few rows with many columns, thousands of times: NumPy's and SciPy's threads would wait for each other
    with namespace().one_thread():
        for chunk in data.chunks():
            solved = solve(components, chunk)
            share, total = _responsibilities(solved.log_joint, chunk.namespace.xp)
            log_likelihood += float(total @ chunk.weights)
            solved.add_moments(share * chunk.weights, moments)
    return moments, log_likelihood


def log_joint(components: Components, data: Measurements) -> Array:
    """log(weights_j N(w_i; R m_j, T)), shape (n, K)."""
    found = np.zeros((data.n, len(components)))
    for chunk in data.chunks():
        found[chunk.rows] = chunk.namespace.to_numpy(solve(components, chunk).log_joint).T
    return found


def true_values(components: Components, data: Measurements) -> tuple[Array, Array, Array]:
    """Log joint densities (n, K), and mean (n, K, d) and covariance (n, K, d, d) of v given component and w."""
    K, d = components.means.shape
    joint = np.zeros((data.n, K))
    means, covariances = np.zeros((data.n, K, d)), np.zeros((data.n, K, d, d))
    for chunk in data.chunks():
        solved = solve(components, chunk)
        joint[chunk.rows] = chunk.namespace.to_numpy(solved.log_joint).T
        for j in range(K):
            a, P = solved.pull(j)
            V = components.covariances[j]
            means[chunk.rows, j] = components.means[j] + a @ V
            covariances[chunk.rows, j] = V - V @ P @ V
    return joint, means, covariances


def _responsibilities(joint: Any, xp: Any) -> tuple[Any, Any]:
    """Posterior probabilities of the components (K, n), and log densities of the rows (n,)."""
    top = xp.max(joint, axis=0)
    share = xp.exp(joint - top)
    total = xp.sum(share, axis=0)
    share /= total
    return share, top + xp.log(total)


def solve(components: Components, chunk: Group) -> Exact | Noisy:
    """The log densities of a chunk, and what is needed to sum its moments."""
    return Exact(components, chunk) if chunk.exact else Noisy(components, chunk)


class Exact:
    """Rows without errors: T is the block of V_j that was measured, one factor for all rows."""

    def __init__(self, components: Components, chunk: Group) -> None:
        self.components, self.chunk = components, chunk
        seen = chunk.seen
        m, n = chunk.values.shape
        self.log_joint = np.empty((len(components), n))
        for j, weight in enumerate(components.weights):
            factor = linalg.cholesky(components.covariances[j][np.ix_(seen, seen)], lower=True)
            whiten = linalg.solve_triangular(factor, np.eye(m), lower=True)
            y = whiten @ (chunk.values - components.means[j, seen, None])
            constant = np.log(weight) - np.sum(np.log(np.diag(factor))) - 0.5 * m * LOG_2PI
            self.log_joint[j] = constant - 0.5 * np.einsum("mn,mn->n", y, y)

    def add_moments(self, share: Array, moments: Moments) -> None:
        """Add the rows of this chunk, `share` (K, n) of each to each component."""
        seen, d = self.chunk.seen, self.components.n_features
        for j, own in enumerate(share):
            z = self.chunk.values - self.components.means[j, seen, None]
            weight, first, second = float(np.sum(own)), z @ own, (z * own) @ z.T
            if len(seen) < d:
                V = self.components.covariances[j]
                gain = linalg.solve(V[np.ix_(seen, seen)], V[seen], assume_a="pos").T  # V R^T T^-1
                rest = V - gain @ V[seen]
                first, second = gain @ first, gain @ second @ gain.T + weight * rest
            moments.weight[j] += weight
            moments.first[j] += first
            moments.second[j] += second

    def pull(self, j: int) -> tuple[Array, Array]:
        """a (n, d) and P (1, d, d) of component j."""
        seen, d = self.chunk.seen, self.components.n_features
        precision = linalg.inv(self.components.covariances[j][np.ix_(seen, seen)])
        a, P = np.zeros((len(self.chunk.rows), d)), np.zeros((1, d, d))
        a[:, seen] = (self.chunk.values - self.components.means[j, seen, None]).T @ precision
        P[0][np.ix_(seen, seen)] = precision
        return a, P


class Noisy:
    """Rows with errors of their own, or projected: one small matrix T for each row and component."""

    def __init__(self, components: Components, chunk: Group) -> None:
        self.components, self.chunk, self.ns = components, chunk, chunk.namespace
        xp = self.ns.xp
        m = chunk.values.shape[0]
        self.factors, joint = [], []
        for j, weight in enumerate(components.weights):
            columns = self._projected(j) if chunk.projection is not None else self._direct(j)
            cholesky.factorise(columns, xp)
            constant = float(np.log(weight)) - 0.5 * m * LOG_2PI
            squares = cholesky.squared_length(columns)
            joint.append(constant - cholesky.half_log_determinant(columns, xp) - 0.5 * squares)
            self.factors.append(columns)
        self.log_joint = xp.stack(joint)

    def add_moments(self, share: Any, moments: Moments) -> None:
        """Add the rows of this chunk, `share` (K, n) of each to each component."""
        xp, host = self.ns.xp, self.ns.to_numpy
        for j in range(len(self.components)):
            own, V = share[j], self.components.covariances[j]
            rows = self._inverse(j)
            a = cholesky.transposed_times(rows, self.factors[j])
            weight = float(xp.sum(own))
            pull = self._embed(host(a @ own))
            change = self._embed(host((a * own) @ a.T - cholesky.packed_sum(rows, own, xp)), square=True)
            moments.weight[j] += weight
            moments.first[j] += V @ pull
            moments.second[j] += weight * V + V @ change @ V

    def pull(self, j: int) -> tuple[Array, Array]:
        """a (n, d) and P (n, d, d) of component j."""
        host, d = self.ns.to_numpy, self.components.n_features
        rows = self._inverse(j)
        n, seen = len(self.chunk.rows), self._seen()
        a, P, small = np.zeros((n, d)), np.zeros((n, d, d)), np.zeros((n, len(seen), len(seen)))
        a[:, seen] = host(cholesky.transposed_times(rows, self.factors[j])).T
        for row in map(host, rows):
            small[:, : len(row), : len(row)] += np.einsum("an,bn->nab", row, row)
        P[:, seen[:, None], seen] = small
        return a, P

    def _inverse(self, j: int) -> list[Any]:
        if self.chunk.projection is None:
            return cholesky.inverse_rows(self.factors[j], self.ns.xp)
        return cholesky.solved_rows(self.factors[j], self.chunk.projection)

    def _seen(self) -> Array:
        return self.chunk.seen if self.chunk.projection is None else np.arange(self.components.n_features)

    def _embed(self, value: Array, square: bool = False) -> Array:
        """A vector or matrix over the measured features, as one over all."""
        seen, d = self._seen(), self.components.n_features
        if len(seen) == d:
            return value
        full = np.zeros((d, d) if square else d)
        full[np.ix_(seen, seen) if square else seen] = value
        return full

    def _direct(self, j: int) -> list[Any]:
        """Columns of T = V + S with z below, for values that are features."""
        chunk, xp, seen = self.chunk, self.ns.xp, self.chunk.seen
        V = self.ns.asarray(self.components.covariances[j][np.ix_(seen, seen)])
        mean = self.ns.asarray(self.components.means[j, seen])
        m, n = chunk.values.shape
        columns = []
        for k in range(m):
            column = xp.empty((m - k + 1, n), dtype=V.dtype, device=V.device)
            column[: m - k] = V[k:, k][:, None]
            if chunk.variances is not None:
                column[0] += chunk.variances[k]
            elif chunk.noise is not None:
                column[: m - k] += chunk.noise[k]
            column[m - k] = chunk.values[k] - mean[k]
            columns.append(column)
        return columns

    def _projected(self, j: int) -> list[Any]:
        """Columns of T = R V R^T + S with z below."""
        chunk, xp, R = self.chunk, self.ns.xp, self.chunk.projection
        V, mean = self.ns.asarray(self.components.covariances[j]), self.ns.asarray(self.components.means[j])
        m, n = chunk.values.shape
        columns = []
        for k in range(m):
            column = xp.empty((m - k + 1, n), dtype=V.dtype, device=V.device)
            column[: m - k] = xp.sum(R[k:] * (V @ R[k])[None], axis=1)
            if chunk.variances is not None:
                column[0] += chunk.variances[k]
            elif chunk.noise is not None:
                column[: m - k] += chunk.noise[k]
            column[m - k] = chunk.values[k] - mean @ R[k]
            columns.append(column)
        return columns


def log_density(joint: Array) -> Array:
    """Log density of each row from its log joint densities with the components, (n,)."""
    return special.logsumexp(joint, axis=1)


def responsibilities(joint: Array) -> Array:
    """Posterior probability of each component for each row, (n, K)."""
    return np.exp(joint - log_density(joint)[:, None])
