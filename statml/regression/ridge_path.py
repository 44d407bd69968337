r"""Every penalty of a ridge regression from one singular value decomposition.

Reduce the (weighted) data to a triangle, take the unpenalised constant off, and
decompose what is left on scaled features, R S^-1 = U diag(s) V^T, c = U^T z. Then

    chi2(a)  = rho^2 + sum_j c_j^2 (a / (s_j^2 + a))^2
    tr H(a)  = 1 + sum_j s_j^2 / (s_j^2 + a)
    GCV(a)   = n chi2(a) / (n - tr H(a))^2

and the marginal likelihood follows from c_j ~ N(0, 1 + s_j^2 / a) under the prior that
the penalty is, the constant having a flat one. Leave-one-out residuals need the rows
as well, r_i / (1 - h_i), and no second fit.

References: Golub, Heath & Wahba (1979), Technometrics 21, 215; arXiv:2506.12230, ch. 4-5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, optimize, sparse, special

from statml.compute import ROUNDING
from statml.regression.least_squares import Triangle
from statml.regression.predictive import BLOCK_ROWS

Array = np.ndarray

# Penalties searched, in units of the largest squared singular value.
ALPHA_RANGE = (1e-10, 1e6)
# With more features than rows a penalty that leaves nothing to the residuals has nothing to
# be chosen by; with three degrees of freedom a prediction has a variance.
LEFT_OVER = 3.0
# The first grid finds the valley, the next two its bottom to 0.1 per cent.
GRID_POINTS, GRIDS = 61, 3


@dataclass(frozen=True)
class RidgePath:
    """Decomposed data: singular values s (d,), projections c (d,), directions V (d, d).

    `constant` is the first row of the triangle, [r00, r01] with z0, or None without
    an intercept; `scale` (d,) is what each feature's slope is multiplied with in the penalty.
    """

    s: Array
    c: Array
    V: Array
    scale: Array
    constant: tuple[float, Array, float] | None
    rho: float
    n: int

    @classmethod
    def of(cls, triangle: Triangle, scale: Array, *, intercept: bool) -> RidgePath:
        """Decompose a triangle of the design [1, X] or X."""
        first = int(intercept)
        R, z = triangle.R, triangle.z
        constant = (float(R[0, 0]), R[0, 1:], float(z[0])) if intercept else None
        centred = R[first:, first:].copy()
        # What rounding leaves of a feature that does not vary is no direction to fit along.
        rounding = ROUNDING * np.linalg.norm(R[:, first:], axis=0)
        centred[:, np.linalg.norm(centred, axis=0) <= rounding] = 0.0
        U, s, Vt = linalg.svd(centred / scale)
        s = np.where(np.arange(len(s)) < triangle.n - first, s, 0.0)  # more columns than rows
        return cls(s, U.T @ z[first:], Vt.T, scale, constant, triangle.rho, triangle.n)

    # -- functions of the penalty; `alpha` may be an array -----------------------------

    def chi2(self, alpha: Any) -> Array:
        """Weighted sum of squared residuals."""
        return self.rho**2 + (self._shrunk(alpha) ** 2) @ self.c**2

    def penalised(self, alpha: Any) -> Array:
        """chi2 + alpha |b|^2, at its minimum."""
        return self.rho**2 + self._shrunk(alpha) @ self.c**2

    def residual_dof(self, alpha: Any) -> Array:
        """n - tr H, without the cancellation of that difference."""
        free = self.n - (self.constant is not None)
        possible = min(len(self.s), free)
        return free - possible + np.sum(self._shrunk(alpha)[..., :possible], axis=-1)

    def gcv(self, alpha: Any) -> Array:
        """Generalised cross-validation: an estimate of the weighted squared error of a new row."""
        with np.errstate(divide="ignore", invalid="ignore"):
            score = self.n * self.chi2(alpha) / self.residual_dof(alpha) ** 2
        return np.where(self.residual_dof(alpha) > 0, score, np.inf)

    def log_evidence(self, alpha: Any, *, absolute: bool, noise_logdet: float) -> Array:
        """Log marginal likelihood; a scale of the errors that is not `absolute` is integrated out.

        The constant has a flat prior of density 1, the scale 1 / scale^2.
        """
        free = self.n - (self.constant is not None)
        with np.errstate(divide="ignore"):
            growth = np.sum(np.log1p(self.s**2 / np.asarray(alpha, float)[..., None]), axis=-1)
        logdet = noise_logdet + growth
        if self.constant is not None:
            logdet = logdet + 2 * np.log(abs(self.constant[0]))
        misfit = self.penalised(alpha)
        if absolute:
            return -0.5 * (free * np.log(2 * np.pi) + logdet + misfit)
        with np.errstate(divide="ignore"):
            return special.gammaln(free / 2) - 0.5 * (free * np.log(np.pi * misfit) + logdet)

    def _shrunk(self, alpha: Any) -> Array:
        """alpha / (s^2 + alpha), shape (..., d): the share of each direction that is left in the residual."""
        alpha = np.asarray(alpha, float)[..., None]
        total = self.s**2 + alpha
        return np.where(total > 0, alpha / np.where(total > 0, total, 1), 1.0)

    # -- at one penalty ---------------------------------------------------------------

    def solution(self, alpha: float) -> tuple[Array, Array]:
        """Parameters (p,) and factor F (p, p) with (A^T C^-1 A + alpha S^2)^-1 = F F^T."""
        total = self.s**2 + alpha
        slopes = self.V @ (self.s * self.c / total) / self.scale
        factor = (self.V / np.sqrt(total)) / self.scale[:, None]
        if self.constant is None:
            return slopes, factor
        r00, r01, z0 = self.constant
        full = np.zeros((len(slopes) + 1, len(slopes) + 1))
        full[0, 0] = 1 / r00
        full[0, 1:] = -(r01 @ factor) / r00
        full[1:, 1:] = factor
        return np.concatenate([[(z0 - r01 @ slopes) / r00], slopes]), full

    def loo_scores(self, X: Any, y: Array, weights: Array | None, alphas: Array) -> Array:
        """Mean weighted squared leave-one-out error at each penalty, shape (k,)."""
        alphas = np.atleast_1d(np.asarray(alphas, float))
        inverse = 1 / (self.s[:, None] ** 2 + alphas)
        total = np.zeros(len(alphas))
        for low in range(0, self.n, BLOCK_ROWS):
            rows = slice(low, low + BLOCK_ROWS)
            own, target, scores = self._rotated(X[rows], y[rows], None if weights is None else weights[rows])
            left = 1 - own[:, None] ** 2 - scores**2 @ inverse
            residual = target[:, None] - scores @ (inverse * (self.s * self.c)[:, None])
            # A row of leverage 1 alone decides a parameter; nothing predicts it.
            alone = left < 1e-12
            total += np.sum(np.where(alone, np.inf, residual / np.where(alone, 1, left)) ** 2, axis=0)
        return total / self.n

    def _rotated(self, X: Any, y: Array, weights: Array | None) -> tuple[Array, Array, Array]:
        """Weighted rows in the directions V: part of the constant, y without it, scores (m, d)."""
        block = np.asarray(X.toarray() if sparse.issparse(X) else X)
        weight = np.ones(len(y)) if weights is None else weights
        if self.constant is None:
            return np.zeros(len(y)), weight * y, (weight[:, None] * block / self.scale) @ self.V
        r00, r01, z0 = self.constant
        own = weight / r00
        centred = weight[:, None] * block - own[:, None] * r01
        return own, weight * y - own * z0, (centred / self.scale) @ self.V


def best_penalty(loss: Callable[[Array], Array], path: RidgePath) -> float:
    """The penalty of least loss, on three grids in log alpha, each around the best of the one before.

    At the lower end ``LEFT_OVER`` degrees of freedom are left to the residuals.
    """
    # Features that all do not vary decide nothing; one of unit spread would have s^2 = n.
    largest = (float(path.s[0]) ** 2 if len(path.s) else 0.0) or float(path.n)
    low, high = np.log(ALPHA_RANGE[0] * largest), np.log(ALPHA_RANGE[1] * largest)

    def spare(log_alpha: float) -> float:
        return float(path.residual_dof(np.exp(log_alpha))) - LEFT_OVER

    if spare(low) < 0:
        low = float(optimize.brentq(spare, low, high)) if spare(high) > 0 else high
    grid = np.linspace(low, high, GRID_POINTS)
    for _ in range(GRIDS):
        best = int(np.argmin(loss(np.exp(grid))))
        chosen = grid[best]
        grid = np.linspace(grid[max(best - 1, 0)], grid[min(best + 1, GRID_POINTS - 1)], GRID_POINTS)
    return float(np.exp(chosen))
