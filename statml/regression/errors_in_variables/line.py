r"""What a fitted line predicts when nothing is known about the true x but its measurement.

With a flat prior, a measured x of covariance S leaves the true x at N(x, S), so

    y* = a + b.x +- sqrt(var a + x' cov(b) x + 2 x' cov(a, b)  +  b'S b + tr(S cov b)  +  s^2)

the propagation of `LinearRegression`. A method that knows the population of the
true x (Kelly) predicts otherwise: it moves x towards that population first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from statml.regression.errors_in_variables.method import FittedLine, Measured
from statml.regression.linear import LinearRegression
from statml.regression.predictive import design, input_variance, joint_covariance, total_std
from statml.uncertainty.covariance import DiagonalCovariance
from statml.uncertainty.distributions import PredictiveDistribution
from statml.uncertainty.parametric import Gaussian
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray


@dataclass(frozen=True)
class PropagatedLine(FittedLine):
    """A line with normal parameters and normal scatter; errors of x are propagated through it.

    Attributes
    ----------
    params, params_cov, scatter, extras
        As in `FittedLine`.
    intercept : bool
        The first parameter is a constant.
    """

    params: Array
    params_cov: Array
    scatter: float
    extras: dict[str, Any]
    intercept: bool

    def predict_dist(
        self, X: Array, X_cov: CovarianceStack | None, y_var: Array | None
    ) -> PredictiveDistribution:
        A = design(X, self.intercept)
        first = int(self.intercept)
        modes = A @ linalg.cholesky(self.params_cov, lower=True)
        inputs = input_variance(X_cov, self.params[first:], self.params_cov[first:, first:], len(X))
        measured = np.zeros(len(X)) if y_var is None else y_var
        scatter = np.full(len(X), self.scatter**2)
        variances = {
            "parameter": np.einsum("ij,ij->i", modes, modes),
            "input": inputs,
            "noise": measured,
            "model": scatter,
        }
        joint = joint_covariance(inputs + measured + scatter, modes, None)
        return Gaussian(A @ self.params, total_std(variances), variance_components=variances, cov=joint)


@dataclass(frozen=True)
class OrdinaryLine(FittedLine):
    """Ordinary least squares: nothing was given beside X and y, so the noise of y is fitted."""

    line: LinearRegression
    extras: dict[str, Any]
    scatter: float = 0.0

    @property
    def params(self) -> Array:  # type: ignore[override]
        """Intercept and slopes."""
        return self.line.params_

    @property
    def params_cov(self) -> Array:  # type: ignore[override]
        """Their covariance, with the fitted noise."""
        return self.line.params_cov_

    @classmethod
    def fit(cls, rows: Measured) -> OrdinaryLine:
        """Least squares of rows without errors."""
        line = LinearRegression(fit_intercept=rows.intercept).fit(rows.X, rows.y)
        noise = np.sqrt(line.chi2_ / len(rows.y))
        density = -0.5 * len(rows.y) * (1 + np.log(2 * np.pi * noise**2)) if noise > 0 else np.inf
        return cls(line, {"chi2_": line.chi2_, "dof_": line.dof_, "log_likelihood_": float(density)})

    def predict_dist(
        self, X: Array, X_cov: CovarianceStack | None, y_var: Array | None
    ) -> PredictiveDistribution:
        measured = None if y_var is None else DiagonalCovariance(y_var)
        return self.line.predict_dist(X, X_cov=X_cov, y_cov=measured)
