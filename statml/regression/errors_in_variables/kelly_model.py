"""What is seen of a row if its true covariates are from component k: a normal (x, y).

With z = (x, y), G = (1, beta')' and the unit vector e of y, xi ~ N(mu_k, T_k) gives

    z  ~  N(m_k, B_k + E),      m_k = G mu_k + alpha e,     B_k = G T_k G' + sigma^2 e e'

where E = [[S, c], [c', s^2]] holds the errors of the row. Nothing is lost where E is
zero in some direction, or where the errors of x and y are correlated. In the
factorisation B_k + E = L D L' with y last, the last pivot is the variance of y given x
and the last entry of L^-1 (z - m_k) is y minus its mean given x: with correlated errors
both contain c, because x then tells something about the error of y.

Matrices of rows are nested lists of long arrays (the axes of the matrix outermost),
of which the lower triangle is kept; so one formula serves every dimension, any
number of chains and rows, NumPy and PyTensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

Array = np.ndarray
LOG_2PI = float(np.log(2 * np.pi))
# Rows whose densities are computed together, so that what is between stays in the cache.
BLOCK = 2048


def blocks(n: int) -> list[slice]:
    """n rows in parts."""
    return [slice(first, min(first + BLOCK, n)) for first in range(0, n, BLOCK)]


def ldl(matrix: Sequence[Sequence[Any]]) -> tuple[list[list[Any]], list[Any]]:
    """M = L D L' of a symmetric positive definite matrix: rows of L below its unit diagonal, and D."""
    lower: list[list[Any]] = []
    pivots: list[Any] = []
    for i in range(len(matrix)):
        row: list[Any] = []
        unscaled: list[Any] = []
        pivot = matrix[i][i]
        for j in range(i):
            value = matrix[i][j]
            for k in range(j):
                value = value - unscaled[k] * lower[j][k]
            unscaled.append(value)
            row.append(value / pivots[j])
            pivot = pivot - value * row[j]
        lower.append(row)
        pivots.append(pivot)
    return lower, pivots


def forward(lower: Sequence[Sequence[Any]], right: Sequence[Any]) -> list[Any]:
    """Solve L u = right for a unit lower triangle."""
    solution: list[Any] = []
    for i, value in enumerate(right):
        for j in range(i):
            value = value - lower[i][j] * solution[j]
        solution.append(value)
    return solution


def product(values: Sequence[Any]) -> Any:
    """The product of a list of arrays."""
    total = values[0]
    for value in values[1:]:
        total = total * value
    return total


@dataclass(frozen=True)
class Moments:
    """Mean (C, K, D) and covariance (C, K, D, D) of the true (xi, eta) in each component, D = d + 1."""

    mean: Array
    cov: Array

    @classmethod
    def of(cls, params: Array, sigma2: Array, centers: Array, covs: Array, intercept: bool) -> Moments:
        """From lines (C, p), scatter variances (C,), and components (C, K, d), (C, K, d, d)."""
        d = centers.shape[-1]
        slopes = params[:, params.shape[1] - d :]
        of_y = np.einsum("ckj,cj->ck", centers, slopes)
        if intercept:
            of_y += params[:, :1]
        across = np.einsum("ckij,cj->cki", covs, slopes)
        cov = np.empty((*centers.shape[:2], d + 1, d + 1))
        cov[..., :d, :d] = covs
        cov[..., :d, d] = cov[..., d, :d] = across
        cov[..., d, d] = np.einsum("cki,ci->ck", across, slopes) + sigma2[:, None]
        return cls(np.concatenate([centers, of_y[..., None]], axis=2), cov)


@dataclass(frozen=True)
class Points:
    """Measured rows: one data set for all chains (B = 1), or one for each (B = C).

    Attributes
    ----------
    z : array (D, B, n)
        x, then y; where `upper`, y is the limit below which the measured y lies.
    errors : array (D, D, B, n)
        Covariance of the errors of z.
    upper : array (B, n) of bool
    """

    z: Array
    errors: Array
    upper: Array

    @classmethod
    def of(cls, X: Array, y: Array, S: Array, c: Array, s2: Array, upper: Array) -> Points:
        """From arrays with rows first, (n, d), (n,), (n, d, d), ..., or (B, n, d), (B, n), ..."""
        if X.ndim == 2:
            X, y, S, c, s2, upper = (values[None] for values in (X, y, S, c, s2, upper))
        z = np.concatenate([X, y[..., None]], axis=2)
        errors = np.empty((*z.shape, z.shape[2]))
        errors[..., :-1, :-1] = S
        errors[..., :-1, -1] = errors[..., -1, :-1] = c
        errors[..., -1, -1] = s2
        return cls(
            np.ascontiguousarray(np.moveaxis(z, -1, 0)),
            np.ascontiguousarray(np.moveaxis(errors, (-2, -1), (0, 1))),
            np.asarray(upper, bool),
        )

    def factored(self, moments: Moments) -> tuple[list[list[Any]], list[Any], list[Any]]:
        """(L, D, L^-1 (z - m)) of every row in every component, entries (C, K, n)."""
        size = len(self.z)
        mean, cov = moments.mean[..., None], moments.cov[..., None]
        lower, pivots = ldl(
            [[cov[:, :, i, j] + self.errors[i, j, :, None] for j in range(i + 1)] for i in range(size)]
        )
        return lower, pivots, forward(lower, [self.z[i, :, None] - mean[:, :, i] for i in range(size)])

    def log_joint(self, weights: Array, pivots: list[Array], white: list[Array]) -> Array:
        """log of weight_k p(x, y | component k) but for 2 pi, shape (C, K, n)."""
        quadratic = white[0] ** 2 / pivots[0]
        for u, pivot in zip(white[1:-1], pivots[1:-1]):
            quadratic += u**2 / pivot
        log_weights = np.log(weights)[..., None]
        if not np.any(self.upper):
            quadratic += white[-1] ** 2 / pivots[-1]
            quadratic += np.log(product(pivots))
            quadratic *= -0.5
            quadratic += log_weights
            return quadratic
        of_x = -0.5 * (quadratic + np.log(product(pivots[:-1])))
        of_y = -0.5 * (white[-1] ** 2 / pivots[-1] + np.log(pivots[-1]))
        # A limit says that y lies below it: the density turns into a probability.
        limit = np.broadcast_to(self.upper[:, None], of_y.shape)
        of_y[limit] = special.log_ndtr(white[-1][limit] / np.sqrt(pivots[-1][limit])) + 0.5 * LOG_2PI
        return log_weights + of_x + of_y

    def log_likelihood(self, weights: Array, moments: Moments) -> Array:
        """Log of p(x, y | parameters), the true covariates integrated out, for each of C draws, shape (C,)."""
        n = self.z.shape[2]
        total = np.full(len(weights), -0.5 * LOG_2PI * self.z.shape[0] * n)
        for rows in blocks(n):
            total += self.block(rows)._log_sums(weights, moments)
        return total

    def block(self, rows: slice) -> Points:
        """Some of the rows."""
        return Points(self.z[..., rows], self.errors[..., rows], self.upper[..., rows])

    def _log_sums(self, weights: Array, moments: Moments) -> Array:
        """Log density of all rows but for 2 pi, (C,)."""
        _, pivots, white = self.factored(moments)
        log_joint = self.log_joint(weights, pivots, white)
        # By hand: twice as fast as scipy's logsumexp, and the components are few.
        largest = log_joint[:, 0].copy()
        for component in range(1, log_joint.shape[1]):
            np.maximum(largest, log_joint[:, component], out=largest)
        largest = np.where(largest > -np.inf, largest, 0.0)
        log_joint -= largest[:, None]
        joint = np.exp(log_joint, out=log_joint).sum(axis=1)
        return largest.sum(axis=1) + np.log(joint).sum(axis=1)
