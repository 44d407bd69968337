r"""Maximum likelihood of a line among independent rows that are not normal.

Each row contributes log f_i(eta_i; shape) with eta_i = a_i^T x, and the shape
parameters (degrees of freedom, fraction of outliers, ...) are shared. Rows are
independent, so one derivative of f_i with respect to eta_i gives the whole block
of the information that belongs to the line,

    I = [A^T diag(w) A,  A^T C;  C^T A,  S],     w_i = -d^2 log f_i / d eta_i^2.

The first derivatives are written down by each family; the second ones are their
complex-step derivatives (Squire & Trapp 1998), which have no cancellation and so
are exact to rounding. A Newton iteration inside a box finishes what an EM
iteration has begun; a shape parameter that ends on the box is taken as known.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from statml.compute import generator

Array = np.ndarray

SEARCH_ROWS = 2000
EM_STEPS = 40
# EM ends where a step gains less log likelihood than this; Newton is faster from there.
EM_GAIN = 1e-2
# Starts whose log likelihoods are this close after EM are one; of the others, the best few are polished.
SAME_PLACE = 0.05
POLISHED = 3
NEWTON_STEPS = 100
# Added to the unit diagonal of the scaled information.
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-3, 1e-6, 1e12
# A complex step has no cancellation, so it may be as small as floats go.
COMPLEX_STEP = 1e-100
# Newton decrement (twice the expected gain in log likelihood) below which nothing is left to gain.
CONVERGED = 1e-14


@dataclass(frozen=True)
class Rows:
    """Design (n, p), target (n,) and error variances (n,), zero where `fit` was given no errors."""

    A: Array
    y: Array
    variance: Array

    def few(self) -> Rows:
        """A fixed random choice of `SEARCH_ROWS` rows; all of them where there are no more."""
        n = len(self.y)
        if n <= SEARCH_ROWS:
            return self
        chosen = generator(0).choice(n, SEARCH_ROWS, replace=False)
        return Rows(self.A[chosen], self.y[chosen], self.variance[chosen])

    def weighted_line(self, weights: Array) -> Array:
        """Least-squares parameters (p,) with the given weights (inverse variances), shape (n,)."""
        weighted = weights[:, None] * self.A
        return linalg.lstsq(self.A.T @ weighted, weighted.T @ self.y, check_finite=False)[0]


class RowLikelihood(ABC):
    """Log likelihood of theta = (line, shape); a family of independent rows."""

    rows: Rows
    # Bounds of the shape parameters, shape (m,) each; the line is free.
    shape_low: Array
    shape_high: Array

    @abstractmethod
    def terms(self, eta: Array, shape: Array) -> tuple[Array, Array, Array]:
        """Log densities (n,), their derivatives by eta (n,) and by the shape (n, m); complex in, complex out."""

    @abstractmethod
    def em_step(self, theta: Array) -> Array:
        """One step of an EM algorithm; never lowers the likelihood."""

    def split(self, theta: Array) -> tuple[Array, Array]:
        """The line (p,) and the shape (m,)."""
        p = self.rows.A.shape[1]
        return theta[:p], theta[p:]

    def value(self, theta: Array) -> float:
        """Log likelihood."""
        line, shape = self.split(theta)
        return float(np.sum(self.terms(self.rows.A @ line, shape)[0]))

    def gradient(self, theta: Array) -> Array:
        """Its derivative by theta, shape (p + m,)."""
        line, shape = self.split(theta)
        _, by_eta, by_shape = self.terms(self.rows.A @ line, shape)
        return np.concatenate([self.rows.A.T @ by_eta, by_shape.sum(axis=0)])

    def information(self, theta: Array) -> Array:
        """Observed information, minus the matrix of second derivatives, shape (p + m, p + m)."""
        A = self.rows.A
        p, m = A.shape[1], len(theta) - A.shape[1]
        line, shape = self.split(theta)
        eta, step = A @ line, 1j * COMPLEX_STEP
        matrix = np.empty((p + m, p + m))
        curvature = -self.terms(eta + step, shape)[1].imag / COMPLEX_STEP
        matrix[:p, :p] = A.T @ (curvature[:, None] * A)
        for j in range(m):
            _, by_eta, by_shape = self.terms(eta, shape + step * (np.arange(m) == j))
            matrix[:p, p + j] = matrix[p + j, :p] = -(A.T @ by_eta.imag) / COMPLEX_STEP
            matrix[p:, p + j] = -by_shape.imag.sum(axis=0) / COMPLEX_STEP
        return matrix

    def on_bounds(self, theta: Array, gradient: Array) -> Array:
        """True where a parameter sits on its bound and the likelihood pushes it outward, shape (p + m,)."""
        p = len(theta) - len(self.shape_low)
        low = np.concatenate([np.full(p, -np.inf), self.shape_low])
        high = np.concatenate([np.full(p, np.inf), self.shape_high])
        return ((theta <= low) & (gradient < 0)) | ((theta >= high) & (gradient > 0))

    def inside(self, theta: Array) -> Array:
        """Theta with its shape moved into the box."""
        line, shape = self.split(theta)
        return np.concatenate([line, np.clip(shape, self.shape_low, self.shape_high)])


@dataclass(frozen=True)
class Maximum:
    """A local maximum: theta (p + m,), its log likelihood, which parameters are on no bound (p + m,)."""

    theta: Array
    value: float
    free: Array

    def line_covariance(self, likelihood: RowLikelihood) -> Array:
        """Covariance of the line (p, p), the free shape parameters marginalised.

        From the inverse of the observed information. Where that is not positive
        definite (a shape parameter that the data hardly determine), the shape is
        taken as known.
        """
        p = likelihood.rows.A.shape[1]
        information = likelihood.information(self.theta)
        for free in (np.flatnonzero(self.free), np.arange(p)):
            block = information[np.ix_(free, free)]
            scale = np.sqrt(np.abs(np.diag(block)))
            scale = np.where(scale > 0, scale, 1.0)
            try:
                factor = linalg.cholesky(block / np.outer(scale, scale), lower=True)
            except linalg.LinAlgError:
                continue
            inverse = linalg.cho_solve((factor, True), np.eye(len(free)))
            return (inverse / np.outer(scale, scale))[:p, :p]
        # Gauss-Newton in place of Newton: always positive definite.
        _, by_eta, _ = likelihood.terms(likelihood.rows.A @ self.theta[:p], likelihood.split(self.theta)[1])
        scores = by_eta[:, None] * likelihood.rows.A
        return linalg.pinvh(scores.T @ scores)


def maximise(likelihood: RowLikelihood, starts: Iterable[Array]) -> Maximum:
    """The best local maximum over the starts: EM from each, then Newton from the best of them.

    Notes
    -----
    EM sees at most `SEARCH_ROWS` rows: the maxima of so many lie close to those of all.
    Starts that it has brought to one likelihood are taken as one.
    """
    search = copy.copy(likelihood)
    search.rows = likelihood.rows.few()
    climbed = sorted((_em(search, start) for start in starts), key=lambda pair: -pair[1])
    distinct = [climbed[0]]
    for pair in climbed[1:]:
        if distinct[-1][1] - pair[1] > SAME_PLACE and len(distinct) < POLISHED:
            distinct.append(pair)
    return max((_newton(likelihood, theta) for theta, _ in distinct), key=lambda found: found.value)


def _em(likelihood: RowLikelihood, start: Array) -> tuple[Array, float]:
    """Theta and log likelihood some EM steps above a start."""
    theta = likelihood.inside(start)
    value = likelihood.value(theta)
    for _ in range(EM_STEPS):
        candidate = likelihood.inside(likelihood.em_step(theta))
        gain = likelihood.value(candidate) - value
        if not gain > 0:
            break
        theta, value = candidate, value + gain
        if gain < EM_GAIN:
            break
    return theta, value


def _newton(likelihood: RowLikelihood, theta: Array) -> Maximum:
    """Damped Newton steps (Levenberg) over the parameters that are on no bound."""
    value, damping = likelihood.value(theta), FIRST_DAMPING
    for _ in range(NEWTON_STEPS):
        gradient = likelihood.gradient(theta)
        free = np.flatnonzero(~likelihood.on_bounds(theta, gradient))
        block = likelihood.information(theta)[np.ix_(free, free)]
        scale = np.sqrt(np.maximum(np.abs(np.diag(block)), 1e-12))
        block, slope = block / np.outer(scale, scale), gradient[free] / scale
        candidate, new, expected = theta, -np.inf, 0.0
        while not new >= value and damping < MOST_DAMPING:
            step = _solve(block + damping * np.eye(len(free)), slope)
            if step is not None:
                candidate = theta.copy()
                candidate[free] += step / scale
                candidate = likelihood.inside(candidate)
                new, expected = likelihood.value(candidate), float(slope @ step)
            if not new >= value:
                damping = max(10 * damping, LEAST_DAMPING)
        if not new >= value:
            break
        # Below the least damping the step is plain Newton, which doubles the digits.
        plain, damping = damping == 0, damping / 30 if damping > LEAST_DAMPING else 0.0
        stands = np.array_equal(candidate, theta)
        theta, value = candidate, new
        if stands or (plain and expected < CONVERGED * max(1.0, abs(value))):
            break
    return Maximum(theta, value, ~likelihood.on_bounds(theta, likelihood.gradient(theta)))


def _solve(matrix: Array, right: Array) -> Array | None:
    """The solution of a positive-definite system, or None where it is not one."""
    try:
        return linalg.cho_solve(linalg.cho_factor(matrix, lower=True), right)
    except linalg.LinAlgError:
        return None
