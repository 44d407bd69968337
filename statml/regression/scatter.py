r"""Scatter with heavy tails, or with a width that follows the features.

Each y departs from the line by its measurement error and by intrinsic scatter,

    y_i = a_i^T x + N(0, s_i^2 / lambda_i) + N(0, err_i^2),    log s_i = g_i^T gamma,

with lambda_i = 1 for normal scatter and lambda_i ~ Gamma(nu/2, rate nu/2) for
Student-t scatter of nu degrees of freedom. The sum over lambda is a trapezoid
sum in log lambda, which converges exponentially; it turns every prediction into
a finite mixture of normals, exact where scatter and error have to be convolved.

Source: Lange, Little & Taylor (1989), JASA 84, 881; Gelman et al., BDA3, ch. 17.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize, special

from statml.compute import spread
from statml.regression.evidence import Posterior, Prior
from statml.uncertainty.mixtures import student_as_normals

Array = np.ndarray

# log lambda from nearly no weight (a far outlier) to more than any nu >= 2.1 needs
LOG_LAMBDA = np.linspace(-14.0, 3.5, 72)
# below two the variance is infinite; above fifty the t is a normal in all but name
DF_RANGE = (2.1, 50.0)
# a priori log s varies by this much over the rows, however many features it follows
LOG_SCALE_SPREAD = 0.5


@dataclass(frozen=True)
class Scatter:
    """A fitted scatter: coefficients of log s on standardised features, degrees of freedom.

    `log_range` holds log s between the least and the largest of the rows it was
    fitted on: extrapolated, an exponential soon becomes absurd.
    """

    gamma: Array
    center: Array
    scale: Array
    df: float | None
    log_range: tuple[float, float] = (-np.inf, np.inf)

    def at(self, X: Array) -> Array:
        """Scale s of the scatter at each row of X, shape (n,)."""
        slopes = self.gamma[1:] / self.scale
        log_scatter = self.gamma[0] - self.center @ slopes + X @ slopes
        return np.exp(np.clip(log_scatter, *self.log_range))

    def mixture(self) -> tuple[Array, Array]:
        """Weights (K,) and precisions lambda (K,) of the mixture; one of each for normal scatter."""
        if self.df is None:
            return np.ones(1), np.ones(1)
        return student_as_normals(self.df)


def _log_weights(df: float) -> Array:
    half = 0.5 * df
    log_density = half * np.log(half) - special.gammaln(half) + half * LOG_LAMBDA - half * np.exp(LOG_LAMBDA)
    return log_density + np.log(LOG_LAMBDA[1] - LOG_LAMBDA[0])


def fit_scatter(
    A: Array,
    X: Array,
    y: Array,
    error_variance: Array,
    prior: Prior,
    start: tuple[Array, float],
    *,
    student: bool,
    follow_features: bool,
) -> tuple[Scatter, Posterior]:
    """Fit line, scatter and tails together; the line's posterior is a Laplace approximation.

    Parameters
    ----------
    A, X, y : arrays (n, p), (n, d), (n,)
        Design, features, target.
    error_variance : array (n,)
        Squared measurement errors, zero where there are none.
    prior : Prior
        Of the parameters of the line.
    start : (array (p,), float)
        A first line and scatter.
    student, follow_features : bool
        Student-t instead of normal; log s linear in the features instead of constant.
    """
    center, width = X.mean(axis=0), spread(X)
    width = np.where(width > 0, width, 1.0)
    # In units of the spread of y: limits and tolerances of the search are numbers without a unit.
    unit = float(spread(y)) or float(np.sqrt(error_variance.max())) or 1.0
    y, error_variance = y / unit, error_variance / unit**2
    prior = Prior(prior.mean / unit, prior.factor / unit)
    G = np.ones((len(y), 1))
    if follow_features:
        G = np.column_stack([G, (X - center) / width])
    problem = _Problem(A, G, y, error_variance, prior, student)
    # The line is searched in the whitened parameters of its own Laplace approximation,
    # which makes the search nearly isotropic whatever the units of X are.
    line, scatter = start[0] / unit, start[1] / unit
    first = problem.pack(line, np.concatenate([[np.log(scatter)], np.zeros(G.shape[1] - 1)]), 5.0)
    search = optimize.minimize(
        problem.loss, first, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "maxcor": 30}
    )
    line, gamma, df = problem.unpack(search.x)
    full = np.zeros(X.shape[1] + 1)
    full[: len(gamma)] = gamma
    full[0] += np.log(unit)
    log_scatter = G @ gamma + np.log(unit)
    log_range = float(log_scatter.min()), float(log_scatter.max())
    fitted = Scatter(full, center, width, df if student else None, log_range)
    found = problem.laplace(line, gamma, df)
    log_evidence = found.log_evidence - len(y) * float(np.log(unit))
    return fitted, Posterior(found.mean * unit, found.factor * unit, log_evidence)


class _Problem:
    """Negative log posterior of (line, log-scale coefficients, degrees of freedom)."""

    def __init__(
        self, A: Array, G: Array, y: Array, error_variance: Array, prior: Prior, student: bool
    ) -> None:
        self.A, self.G, self.y, self.prior, self.student = A, G, y, prior, student
        self.error_variance = error_variance[:, None]
        self.slope_width = LOG_SCALE_SPREAD / np.sqrt(max(G.shape[1] - 1, 1))
        self.log_lambda = LOG_LAMBDA if student else np.zeros(1)
        # u = L0^-1 (x - m0), measured in widths of the rows' influence
        B = A @ prior.factor
        self._metric = linalg.cholesky(
            B.T @ B / max(float(np.var(y)), 1e-24) + np.eye(B.shape[1]), lower=True
        )
        self._B = B
        self._offset = y - A @ prior.mean

    def pack(self, line: Array, gamma: Array, df: float) -> Array:
        u = linalg.solve(self.prior.factor, line - self.prior.mean)
        low, high = DF_RANGE
        return np.concatenate([self._metric.T @ u, gamma, [special.logit((df - low) / (high - low))]])

    def unpack(self, theta: Array) -> tuple[Array, Array, float]:
        p = self.A.shape[1]
        u = linalg.solve_triangular(self._metric, theta[:p], lower=True, trans="T")
        low, high = DF_RANGE
        df = low + (high - low) * float(special.expit(theta[-1]))
        return self.prior.mean + self.prior.factor @ u, theta[p:-1], df

    def loss(self, theta: Array) -> tuple[float, Array]:
        p = self.A.shape[1]
        u = linalg.solve_triangular(self._metric, theta[:p], lower=True, trans="T")
        gamma = theta[p:-1]
        low, high = DF_RANGE
        unit = float(special.expit(theta[-1]))
        df = low + (high - low) * unit
        residual = self._offset - self._B @ u
        log_density, share, precision, scatter_part = self._mixture(residual, gamma, df)
        value = -np.sum(log_density) + 0.5 * u @ u + 0.5 * np.sum((gamma[1:] / self.slope_width) ** 2)
        mean_precision = np.sum(share * precision, axis=1)
        d_u = -self._B.T @ (mean_precision * residual) + u
        # d log N / d log s = (r^2 q - 1) (s^2 / lambda) q
        d_log_s = np.sum(share * (residual[:, None] ** 2 * precision - 1) * scatter_part * precision, axis=1)
        d_gamma = -self.G.T @ d_log_s
        d_gamma[1:] += gamma[1:] / self.slope_width**2
        d_df = 0.0
        if self.student:
            half = 0.5 * df
            slope = 0.5 * (np.log(half) + 1 - special.digamma(half) + LOG_LAMBDA - np.exp(LOG_LAMBDA))
            d_df = -float(np.sum(share @ slope)) * (high - low) * unit * (1 - unit)
        d_theta = linalg.solve_triangular(self._metric, d_u, lower=True)
        return value, np.concatenate([d_theta, d_gamma, [d_df]])

    def _mixture(self, residual: Array, gamma: Array, df: float) -> tuple[Array, Array, Array, Array]:
        """Log density (n,), responsibilities, precisions and scatter variances, each (n, K)."""
        scatter_part = np.exp(2 * np.clip(self.G @ gamma, -50, 50))[:, None] * np.exp(-self.log_lambda)
        precision = 1 / (scatter_part + self.error_variance)
        log_terms = 0.5 * (np.log(precision / (2 * np.pi)) - residual[:, None] ** 2 * precision)
        if self.student:
            log_terms += _log_weights(df)
        log_density = special.logsumexp(log_terms, axis=1)
        return log_density, np.exp(log_terms - log_density[:, None]), precision, scatter_part

    def laplace(self, line: Array, gamma: Array, df: float) -> Posterior:
        """Normal approximation of the line's posterior at the fitted scatter."""
        p = self.A.shape[1]
        u = linalg.solve(self.prior.factor, line - self.prior.mean)
        residual = self._offset - self._B @ u
        log_density, share, precision, _ = self._mixture(residual, gamma, df)
        mean_precision = np.sum(share * precision, axis=1)
        variation = np.sum(share * precision**2, axis=1) - mean_precision**2
        # Observed information (Louis 1982): an outlier's own curvature may be negative.
        curvature = mean_precision - residual**2 * variation
        try:
            factor = linalg.cholesky(self._B.T @ (curvature[:, None] * self._B) + np.eye(p), lower=True)
        except linalg.LinAlgError:
            factor = linalg.cholesky(self._B.T @ (mean_precision[:, None] * self._B) + np.eye(p), lower=True)
        log_evidence = float(np.sum(log_density) - 0.5 * u @ u - np.sum(np.log(np.diag(factor))))
        return Posterior(line, self.prior.factor @ linalg.inv(factor).T, log_evidence)
