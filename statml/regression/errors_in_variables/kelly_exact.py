"""The posterior of the line where X is exact: one integral over the scatter.

The covariates then say nothing beyond their values, and given sigma the line is an
ordinary conjugate regression with variances s_i^2 + sigma^2. Its evidence times the
prior of sigma, on a fine grid of log sigma, is the posterior of sigma; the
trapezoid sum of a smooth peak converges faster than any power of the step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statml.errors import InputError
from statml.regression.errors_in_variables.gibbs_collapsed import LARGEST, SMALLEST
from statml.regression.errors_in_variables.kelly_prior import FullPrior

Array = np.ndarray
GRID = 400
# Log density below its peak where the grid may end.
DEPTH = 36.0


@dataclass(frozen=True)
class ExactLine:
    """Posterior of line and scatter on a grid of sigma.

    Attributes
    ----------
    probability, sigma : arrays (G,)
    means : array (G, p)
        Posterior mean of the line at each sigma.
    covs : array (G, p, p)
    """

    probability: Array
    sigma: Array
    means: Array
    covs: Array

    @property
    def mean(self) -> Array:
        """Posterior mean of the line, shape (p,)."""
        return self.probability @ self.means

    @property
    def cov(self) -> Array:
        """Posterior covariance of the line, shape (p, p)."""
        gap = self.means - self.mean
        return np.einsum("g,gij->ij", self.probability, self.covs) + (self.probability * gap.T) @ gap

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Array, Array]:
        """Independent draws of the line (..., p) and sigma (...)."""
        edges = np.cumsum(self.probability)
        place = np.searchsorted(edges, rng.random(shape) * edges[-1])
        factors = np.linalg.cholesky(self.covs)
        normal = rng.standard_normal((*shape, self.means.shape[1]))
        params = self.means[place] + np.einsum("...ij,...j->...i", factors[place], normal)
        # Between grid points, so that sigma is continuous.
        step = np.log(self.sigma[1] / self.sigma[0])
        return params, self.sigma[place] * np.exp(step * (rng.random(shape) - 0.5))


def refuse_dependent(X: Array, intercept: bool) -> None:
    """Raise where rows and a flat prior leave a slope undecided.

    Raises
    ------
    InputError
        A feature does not vary, or features depend on each other.
    """
    A = np.column_stack([np.ones(len(X)), X]) if intercept else X
    if np.linalg.matrix_rank(A) < A.shape[1]:
        raise InputError(
            "X has features that depend on each other or do not vary, and the prior of the line is flat; "
            "accepted are independent features or a KellyPrior with line_cov"
        )


def exact_line(A: Array, y: Array, s2: Array, prior: FullPrior) -> ExactLine:
    """Posterior of y = A theta + noise of variance s2 + sigma^2, A (n, p), under a prior that decides it."""
    bounds = np.log(prior.scatter_scale) + np.array([SMALLEST, LARGEST])
    coarse = np.linspace(bounds[0], bounds[1], GRID)
    log_density = np.array([_conditional(A, y, s2, t, prior)[0] for t in coarse])
    high = np.flatnonzero(log_density > log_density.max() - DEPTH)
    low, top = coarse[max(high[0] - 1, 0)], coarse[min(high[-1] + 1, GRID - 1)]
    fine = np.linspace(low, top, GRID)
    found = [_conditional(A, y, s2, t, prior) for t in fine]
    log_density = np.array([each[0] for each in found])
    probability = np.exp(log_density - log_density.max())
    return ExactLine(
        probability / probability.sum(),
        np.exp(fine),
        np.array([each[1] for each in found]),
        np.array([each[2] for each in found]),
    )


def _conditional(
    A: Array, y: Array, s2: Array, log_sigma: float, prior: FullPrior
) -> tuple[float, Array, Array]:
    """Log posterior density of log sigma, and mean and covariance of the line given it."""
    variance = s2 + np.exp(2 * log_sigma)
    weighted = A / variance[:, None]
    precision = A.T @ weighted + prior.line_precision
    cov = np.linalg.inv(precision)
    mean = cov @ (weighted.T @ y + prior.line_precision @ prior.line_mean)
    residual, gap = y - A @ mean, mean - prior.line_mean
    log_density = -0.5 * (
        np.sum(np.log(variance) + residual**2 / variance)
        + gap @ prior.line_precision @ gap
        + np.linalg.slogdet(precision)[1]
    )
    return log_density + float(prior.log_scatter(np.array(log_sigma))), mean, cov
