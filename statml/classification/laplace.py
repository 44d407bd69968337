r"""Laplace's approximation: a normal posterior at the mode, and the evidence that comes with it.

    log Z = log p(t | b) + log N(b; m0, S0) + (p / 2) log 2 pi - (1/2) log det H

at the mode b, where H is the curvature of minus the log posterior there. With
b = m0 + L0 u, S0 = L0 L0^T, the prior of u is N(0, I), so that

    log Z = log p(t | b) - |u|^2 / 2 - (1/2) log det (I + L0^T (A^T W A) L0)

and the last two terms are Occam's factor: what the prior allowed against what the data left.

Source: Ting (arXiv:2506.12230), chapter 9; MacKay (1992), Neural Computation 4, 720.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize

from statml.classification.likelihood import BernoulliRows
from statml.classification.newton import Step, climb
from statml.compute import spread
from statml.regression.evidence import Prior

Array = np.ndarray

# Search box of the evidence: width of the prior of standardised slopes, in log odds.
WIDTH_RANGE = (1e-3, 1e2)
# Prior width of the constant at the mean of the features: 1 in e^20 to e^20 to 1 is 2 sigma.
CONSTANT_WIDTH = 10.0


class LogPosterior:
    """log p(t | b) + log N(b; m0, S0) as a function of the parameters b."""

    def __init__(self, rows: BernoulliRows, prior: Prior) -> None:
        self.rows = rows
        self.prior = prior
        self._inverse = _solve(prior.factor, np.eye(len(prior.factor)))
        self._constant = float(np.linalg.slogdet(self._inverse)[1]) - 0.5 * len(prior.mean) * np.log(
            2 * np.pi
        )

    def value(self, params: Array) -> Array:
        """At parameter vectors (m, p): (m,)."""
        whitened = (params - self.prior.mean) @ self._inverse.T
        return self.rows.log_likelihood(params) - 0.5 * np.sum(whitened**2, axis=1) + self._constant

    def with_gradient(self, params: Array) -> tuple[Array, Array]:
        """Values (m,) and gradients (m, p)."""
        whitened = (params - self.prior.mean) @ self._inverse.T
        value, gradient = self.rows.with_gradient(params)
        value = value - 0.5 * np.sum(whitened**2, axis=1) + self._constant
        return value, gradient - whitened @ self._inverse


@dataclass(frozen=True)
class NormalApproximation:
    """Mode (p,), factor F with covariance F F^T, log evidence, log likelihood at the mode, Newton steps."""

    mode: Array
    factor: Array
    log_evidence: float
    log_likelihood: float
    steps: int

    @property
    def cov(self) -> Array:
        """F F^T."""
        return self.factor @ self.factor.T


def laplace(rows: BernoulliRows, prior: Prior, start: Array | None = None) -> NormalApproximation:
    """The mode of the posterior and the normal distribution of the same curvature.

    Parameters
    ----------
    rows : BernoulliRows
    prior : Prior
    start : array (p,), optional
        Where Newton starts, in the units of the parameters; the prior mean by default.
    """
    L0, m0 = prior.factor, prior.mean

    def objective(u: Array) -> float:
        return float(rows.log_likelihood((m0 + L0 @ u)[None])[0]) - 0.5 * float(u @ u)

    def newton_step(u: Array) -> Step:
        curvature = rows.curvature(m0 + L0 @ u)
        factor = _inverse_factor(L0, curvature.observed, curvature.expected)
        slope = factor.T @ (L0.T @ curvature.gradient - u)
        return Step(factor @ slope, float(np.linalg.norm(slope)), factor)

    at = np.zeros(len(m0)) if start is None else _solve(L0, start - m0)
    top = climb(objective, newton_step, at, n=len(rows.target), may_stall=False)
    mode = m0 + L0 @ top.params
    curvature = rows.curvature(mode)
    factor = _inverse_factor(L0, curvature.observed, curvature.expected)
    logdet = -2 * float(np.sum(np.log(np.abs(np.diag(factor)))))
    log_evidence = curvature.value - 0.5 * float(top.params @ top.params) - 0.5 * logdet
    return NormalApproximation(mode, L0 @ factor, float(log_evidence), float(curvature.value), top.steps)


def _solve(L0: Array, right: Array) -> Array:
    """L0^-1 right, its rows first brought to one size: units of the features are no ill condition."""
    size = np.max(np.abs(L0), axis=1)
    return linalg.solve(L0 / size[:, None], (right.T / size).T)


def _inverse_factor(L0: Array, observed: Array, expected: Array) -> Array:
    """Upper triangular F with F F^T = (I + L0^T information L0)^-1.

    Errors of the features can make the observed information indefinite far from the
    mode; there the expected one, which never is, still leads uphill.
    """
    identity = np.eye(len(L0))
    for information in (observed, expected):
        try:
            lower = linalg.cholesky(identity + L0.T @ information @ L0, lower=True)
        except linalg.LinAlgError:
            continue
        return linalg.solve_triangular(lower, identity, lower=True).T
    raise ArithmeticError("the information matrix holds NaN")  # the boundary refuses what leads here


# -- priors -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standardisation:
    """Centre and scale of the features, (d,) each: where the constant lives, what a slope is per."""

    center: Array
    scale: Array
    intercept: bool

    @classmethod
    def of(cls, X: Array, *, intercept: bool) -> Standardisation:
        """From the training rows; without intercept nothing is centred."""
        width = spread(X)
        return cls(
            X.mean(axis=0) if intercept else np.zeros(X.shape[1]),
            np.where(width > 0, width, 1.0),
            intercept,
        )

    def prior(self, width: float, constant_width: float | None = None) -> Prior:
        """Independent normal priors of this width for the standardised slopes and the constant at the centre."""
        slopes = width / self.scale
        return centred_prior(
            slopes, self.center, (constant_width or CONSTANT_WIDTH) if self.intercept else None
        )


def centred_prior(slope_widths: Array, center: Array, constant_width: float | None) -> Prior:
    """Independent normal slopes, and a constant that is independent of them at the centre of the features."""
    if constant_width is None:
        return Prior(np.zeros(len(slope_widths)), np.diag(slope_widths))
    factor = np.diag(np.concatenate([[constant_width], slope_widths]))
    # b_0 = c - sum_j b_j center_j: the constant at the centre, moved to 0
    factor[0, 1:] = -slope_widths * center
    return Prior(np.zeros(len(factor)), factor)


def widest_evidence(
    fit: Callable[[float, Array | None], NormalApproximation],
) -> tuple[float, NormalApproximation]:
    """The prior width with the largest evidence, and the fit there; `fit` takes a width and a start."""
    best: dict[str, NormalApproximation] = {}

    def loss(log_width: float) -> float:
        start = best["fit"].mode if best else None
        found = fit(float(np.exp(log_width)), start)
        if not best or found.log_evidence > best["fit"].log_evidence:
            best["fit"] = found
        return -found.log_evidence

    low, high = np.log(WIDTH_RANGE)
    grid = np.linspace(low, high, 9)
    values = [loss(point) for point in grid]
    place = int(np.argmin(values))
    around = grid[max(place - 1, 0)], grid[min(place + 1, len(grid) - 1)]
    result = optimize.minimize_scalar(loss, bounds=around, method="bounded", options={"xatol": 1e-4})
    log_width = result.x if result.fun < values[place] else grid[place]
    width = float(np.exp(log_width))
    return width, fit(width, best["fit"].mode)
