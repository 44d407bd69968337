r"""The likelihood of a binary class given features with errors, and its derivatives.

    P(t_i = 1) = E sigma(b_0 + b^T x),   x ~ N(x_i, S_i)

S_i is the covariance of the errors of row i. The log odds of the row are normal with
mean m_i = b_0 + b^T x_i and variance v_i = b^T S_i b, and what they amount to is
eta(m_i, v_i) of `statml.classification.effective_log_odds`: the log-likelihood is
that of logistic regression with these log odds. The average runs over N(x_i, S_i),
that is, all true features are equally likely before the measurement;
`statml.classification.population` says when that is wrong.

With exact features the log-likelihood is concave; with errors it need not be.

Source: Ting (arXiv:2506.12230), chapter 9; Carroll et al. (2006), "Measurement Error in
Nonlinear Models", chapter 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from statml.classification.effective_log_odds import EFFECTIVE, LogOdds, effective, with_slopes
from statml.classification.logistic_normal import Averaging
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray


@dataclass(frozen=True)
class Curvature:
    """Log-likelihood at one point, its gradient (p,), and the observed and expected information (p, p)."""

    value: float
    gradient: Array
    observed: Array
    expected: Array


class BernoulliRows:
    """Classes of the rows of a design, whose features may have errors.

    Parameters
    ----------
    design : array (n, p)
        [1, X], or X without intercept.
    target : array (n,)
        0 or 1.
    stack : CovarianceStack or None
        Errors of the features, (n, d, d); the last d columns of the design are theirs.
    averaging : {"exact", "probit"}
        How the sigmoid is averaged over the errors.
    """

    def __init__(
        self,
        design: Array,
        target: Array,
        stack: CovarianceStack | None = None,
        averaging: Averaging = "exact",
    ) -> None:
        self.design = design
        self.target = np.asarray(target, float)
        self.stack = stack
        self.averaging = averaging
        self.first = 0 if stack is None else design.shape[1] - stack.shape[1]

    def curvature(self, params: Array) -> Curvature:
        """Value and derivatives at parameters (p,)."""
        mean = self.design @ params
        if self.stack is None:
            p = special.expit(mean)
            information = (self.design * (p * (1 - p))[:, None]).T @ self.design
            gradient = self.design.T @ (self.target - p)
            return Curvature(float(self._log_probability(mean)), gradient, information, information)
        pulled = self.stack.times(params[self.first :])
        odds = EFFECTIVE[self.averaging](mean, pulled @ params[self.first :])
        p = special.expit(odds.eta)
        left = self.target - p
        # d m = a, d v = 2 S b
        jacobian = odds.by_mean[:, None] * self.design
        jacobian[:, self.first :] += (2 * odds.by_variance)[:, None] * pulled
        expected = (jacobian * (p * (1 - p))[:, None]).T @ jacobian
        observed = expected - self._bending(self.stack, left, odds, 2 * pulled)
        return Curvature(float(self._log_probability(odds.eta)), jacobian.T @ left, observed, expected)

    def log_likelihood(self, params: Array) -> Array:
        """Log-likelihoods (m,) of many parameter vectors (m, p)."""
        mean = params @ self.design.T
        if self.stack is None:
            return self._log_probability(mean)
        variance = self.stack.project(params[:, self.first :])
        return self._log_probability(effective(mean, variance, self.averaging))

    def with_gradient(self, params: Array) -> tuple[Array, Array]:
        """Log-likelihoods (m,) and their gradients (m, p) at parameter vectors (m, p)."""
        mean = params @ self.design.T
        if self.stack is None:
            left = self.target - special.expit(mean)
            return self._log_probability(mean), left @ self.design
        slopes = params[:, self.first :]
        eta, by_mean, by_variance = with_slopes(mean, self.stack.project(slopes), self.averaging)
        left = self.target - special.expit(eta)
        gradient = (left * by_mean) @ self.design
        errors = self.stack.weighted_sum(2 * left * by_variance)
        gradient[:, self.first :] += np.einsum("mij,mj->mi", errors, slopes)
        return self._log_probability(eta), gradient

    def _log_probability(self, eta: Array) -> Array:
        return eta @ self.target - np.sum(np.logaddexp(0, eta), axis=-1)

    def _bending(self, stack: CovarianceStack, left: Array, odds: LogOdds, dv: Array) -> Array:
        """sum_i (t_i - p_i) d2 eta_i, the part of the observed information that has mean zero."""
        A, first = self.design, self.first
        total = (A * (left * odds.by_mean_mean)[:, None]).T @ A
        cross = (A * (left * odds.by_mean_variance)[:, None]).T @ dv
        total[:, first:] += cross
        total[first:, :] += cross.T
        total[first:, first:] += (dv * (left * odds.by_variance_variance)[:, None]).T @ dv
        total[first:, first:] += stack.weighted_sum(2 * left * odds.by_variance)
        return total
