r"""The likelihood of perpendicular distances from a line, with scatter and outliers.

With the unit normal of the line along (-b, 1), a point at vertical residual r_i lies at the
perpendicular distance D_i = r_i / sqrt(q), q = 1 + |b|^2, and its errors project on the
normal as v_i / q (v_i as in `york`). With a variance V of the truth along the normal,

    log L = sum_i log N(D_i; 0, v_i / q + V)

(Hogg, Bovy & Lang 2010, eq. 35; eq. 32 is V = 0 without the term of the variances). Outliers
are points of a broader scatter around the same line,

    log L = sum_i log [ (1 - P) N(D_i; 0, v_i / q + V) + P N(D_i; 0, v_i / q + V + U) ]

"Perpendicular" depends on the units of x and y; the likelihood is computed in those given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import integrate, interpolate, optimize, special

from statml.regression.errors_in_variables.standard import Standardised

Array = np.ndarray

# Share of outliers, as log odds: one in 10^4 (none, in effect) to one half.
LOG_ODDS = (float(np.log(1e-4)), 0.0)
# Variance of the outliers beyond that of the others, in units of the typical one.
LOG_BROAD = (float(np.log(4.0)), float(np.log(1e8)))
# Where rows are exact the scatter must not vanish.
LEAST_SCATTER = 1e-10
# Points of the posterior of the scatter.
GRID = 21


@dataclass(frozen=True)
class Perpendicular:
    """Minus log L over (line, V, log odds of an outlier, log U); the variances in units of `unit`.

    `ratio` (d,) is y_scale / X_scale, which makes q that of the data.
    """

    points: Standardised
    ratio: Array
    unit: float
    scatter: bool
    outliers: bool

    @classmethod
    def of(cls, points: Standardised, slopes: Array, *, scatter: bool, outliers: bool) -> Perpendicular:
        """With a unit of variance taken from the residuals of a first line."""
        ratio = points.y_scale / points.X_scale
        residual = points.residual(points.with_constant(slopes))
        q = 1 + float(np.sum((ratio * slopes) ** 2))
        typical = float(np.median(points.vertical_variance(slopes)))
        unit = typical if typical > 0 else float(np.mean(residual**2))
        return cls(points, ratio, max(unit / q, np.finfo(float).tiny), scatter, outliers)

    @property
    def p(self) -> int:
        """Parameters of the line."""
        return self.points.X.shape[1] + int(self.points.intercept)

    def bounds(self) -> list[tuple[float | None, float | None]]:
        """Where each parameter may lie."""
        exact = np.any((self.points.y_var == 0) & ~self.points.X_cov.any(axis=(1, 2)))
        limits: list[tuple[float | None, float | None]] = [(None, None)] * self.p
        limits += [(LEAST_SCATTER if exact else 0.0, None)] * self.scatter
        return limits + [LOG_ODDS, LOG_BROAD] * self.outliers

    def split(self, theta: Array) -> tuple[Array, float, float, float]:
        """(line, V, log odds, U) in standardised units."""
        V = self.unit * theta[self.p] if self.scatter else 0.0
        odds, log_broad = theta[-2:] if self.outliers else (-np.inf, 0.0)
        return theta[: self.p], V, float(odds), self.unit * float(np.exp(log_broad))

    def component(self, line: Array, V: float) -> tuple[Array, Array]:
        """log N(D_i; 0, v_i / q + V) and its gradient (n, p + 1) by the line and by V."""
        first = int(self.points.intercept)
        slopes = line[first:]
        q = 1 + float(np.sum((self.ratio * slopes) ** 2))
        dq = 2 * self.ratio**2 * slopes
        residual = self.points.residual(line)
        variance = self.points.vertical_variance(slopes) + V * q
        with np.errstate(divide="ignore", invalid="ignore"):
            standard = residual / variance
            by_variance = 0.5 * (standard**2 - 1 / variance)
            density = -0.5 * (residual * standard + np.log(2 * np.pi * variance / q))
        gradient = np.empty((len(residual), self.p + 1))
        gradient[:, :first] = standard[:, None]
        drift = 2 * (self.points.X_cov @ slopes - self.points.xy_cov) + V * dq
        gradient[:, first:-1] = (
            standard[:, None] * self.points.X + by_variance[:, None] * drift + 0.5 * dq / q
        )
        gradient[:, -1] = by_variance * q
        return density, gradient

    def rows(self, theta: Array) -> tuple[Array, Array, Array]:
        """log L of each row, its gradient (n, len(theta)), and the probability of being an outlier."""
        line, V, odds, U = self.split(theta)
        narrow, narrow_slope = self.component(line, V)
        gradient = np.empty((len(narrow), len(theta)))
        if not self.outliers:
            gradient[:, : self.p] = narrow_slope[:, :-1]
            if self.scatter:
                gradient[:, self.p] = self.unit * narrow_slope[:, -1]
            return narrow, gradient, np.zeros(len(narrow))
        broad, broad_slope = self.component(line, V + U)
        share = special.log_expit(odds), special.log_expit(-odds)
        density = np.logaddexp(narrow + share[1], broad + share[0])
        outlier = np.exp(broad + share[0] - density)
        mixed = narrow_slope * (1 - outlier)[:, None] + broad_slope * outlier[:, None]
        gradient[:, : self.p] = mixed[:, :-1]
        if self.scatter:
            gradient[:, self.p] = self.unit * mixed[:, -1]
        gradient[:, -2] = outlier - special.expit(odds)
        gradient[:, -1] = outlier * broad_slope[:, -1] * U
        return density, gradient, outlier

    def loss(self, theta: Array) -> tuple[float, Array]:
        """Minus log L and its gradient."""
        density, gradient, _ = self.rows(theta)
        value = -float(np.sum(density))
        if not np.isfinite(value):
            return 1e300, np.zeros(len(theta))
        return value, -gradient.sum(axis=0)

    def hessian(self, theta: Array, free: Array) -> Array:
        """Second derivatives by the free parameters, as differences of the gradient."""
        columns = []
        for j in np.flatnonzero(free):
            step = 1e-5 * max(abs(theta[j]), 0.1)
            lower, upper = theta.copy(), theta.copy()
            lower[j], upper[j] = theta[j] - step, theta[j] + step
            columns.append((self.loss(upper)[1] - self.loss(lower)[1])[free] / (2 * step))
        matrix = np.array(columns)
        return (matrix + matrix.T) / 2

    def maximise(self, starts: list[Array]) -> tuple[Array, float]:
        """The best point reached, and its log L."""
        bounds = self.bounds()
        found = [
            optimize.minimize(
                self.loss,
                start,
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-9},
            )
            for start in starts
        ]
        best = min(found, key=lambda result: result.fun)
        theta = self.newton(best.x)
        return theta, -self.loss(theta)[0]

    def inside(self, theta: Array) -> Array:
        """Which parameters are not at a bound."""
        return np.array(
            [
                (low is None or value > low + 1e-7) and (high is None or value < high - 1e-7)
                for value, (low, high) in zip(theta, self.bounds())
            ]
        )

    def newton(self, theta: Array, *, held: int | None = None, tolerance: float = 1e-13) -> Array:
        """Newton steps from a point near the maximum, as long as they go up; `held` is not moved."""
        value = self.loss(theta)[0]
        for _ in range(20):
            free = self.inside(theta) & (np.arange(len(theta)) != held)
            try:
                step = np.linalg.solve(self.hessian(theta, free), -self.loss(theta)[1][free])
            except np.linalg.LinAlgError:
                break
            trial = theta.copy()
            trial[free] += step
            for j, (low, high) in enumerate(self.bounds()):
                if free[j] and low is not None:
                    trial[j] = np.clip(trial[j], low, high)
            there = self.loss(trial)[0]
            if not there <= value:
                break
            moved = np.max(np.abs(trial - theta) / (np.abs(theta) + 1))
            theta, value = trial, there
            if moved < tolerance:
                break
        return theta


def upper_limit(likelihood: Perpendicular, theta: Array, level: float) -> Array:
    """The point whose scatter is the `level` quantile of the posterior, all else maximised there.

    The posterior of s = sqrt(V) >= 0 for a flat prior of s and of the line, the line
    integrated out by Laplace's approximation; over a grid around its peak.

    Parameters
    ----------
    theta : array
        At the maximum.
    """
    place = likelihood.p
    least = likelihood.bounds()[place][0] or 0.0

    def at(scatter: float, near: Array) -> tuple[float, Array]:
        near = near.copy()
        near[place] = max(scatter**2, least)
        found = likelihood.newton(near, held=place, tolerance=1e-7)
        free = likelihood.inside(found) & (np.arange(len(theta)) != place)
        return -likelihood.loss(found)[0] - 0.5 * np.linalg.slogdet(likelihood.hessian(found, free))[1], found

    peak = float(np.sqrt(theta[place]))
    top = at(peak, theta)[0]
    width = 0.1 + 0.1 * peak
    while at(peak + width, theta)[0] > top - 2:
        width *= 2
    while width > 1e-6 * peak and at(peak + width / 2, theta)[0] < top - 8:
        width /= 2
    grid = np.linspace(max(peak - 3 * width, 0.0), peak + 3 * width, GRID)
    density, states, state = [], [], theta
    for scatter in grid:
        value, state = at(scatter, state)
        density.append(value)
        states.append(state)
    fine = np.linspace(grid[0], grid[-1], 2001)
    smooth = interpolate.Akima1DInterpolator(grid, np.maximum(np.array(density) - np.max(density), -50))(fine)
    mass = integrate.cumulative_trapezoid(np.exp(smooth), fine, initial=0)
    limit = float(np.interp(level, mass / mass[-1], fine))
    return at(limit, states[int(np.searchsorted(grid, limit))])[1]
