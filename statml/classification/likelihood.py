r"""The likelihood of a binary class given features with errors, and its derivatives.

    p_i = sigma(eta_i),   eta_i = kappa(b^T S_i b) (b_0 + b^T x_i),   kappa(v) = (1 + pi v / 8)^-1/2

S_i is the covariance of the errors of row i. The factor kappa is what is left of the
integral of sigma over the true features: sigma is nearly a probit, and a probit of a
normal variable has a closed form (Spiegelhalter & Lauritzen 1990; MacKay 1992). The
integral runs over N(x_i, S_i), that is, all true features are equally likely before
the measurement; `statml.classification.population` says when that is wrong.

With exact features kappa is 1 and the log-likelihood is concave; with errors it need not be.

Source: Ting (arXiv:2506.12230), chapter 9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray
# The probit of slope sqrt(pi / 8) has the slope of the logistic function at 0.
PROBIT = np.pi / 8


def kappa(variance: Array) -> Array:
    """How much uncertain log odds still count: (1 + pi v / 8)^-1/2."""
    return 1 / np.sqrt(1 + PROBIT * variance)


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
    """

    def __init__(self, design: Array, target: Array, stack: CovarianceStack | None = None) -> None:
        self.design = design
        self.target = np.asarray(target, float)
        self.stack = stack
        self.first = 0 if stack is None else design.shape[1] - stack.shape[1]

    def curvature(self, params: Array) -> Curvature:
        """Value and derivatives at parameters (p,)."""
        linear = self.design @ params
        if self.stack is None:
            p = special.expit(linear)
            information = (self.design * (p * (1 - p))[:, None]).T @ self.design
            gradient = self.design.T @ (self.target - p)
            return Curvature(float(self._log_probability(linear)), gradient, information, information)
        slopes = params[self.first :]
        pulled = self.stack.times(slopes)
        k = kappa(pulled @ slopes)
        p = special.expit(k * linear)
        left = self.target - p
        # d eta = kappa a - c kappa^3 m S b with c = pi / 8, m = a^T params
        jacobian = k[:, None] * self.design
        jacobian[:, self.first :] -= (PROBIT * k**3 * linear)[:, None] * pulled
        expected = (jacobian * (p * (1 - p))[:, None]).T @ jacobian
        observed = expected - self._bending(self.stack, left, linear, k, pulled)
        return Curvature(float(self._log_probability(k * linear)), jacobian.T @ left, observed, expected)

    def log_likelihood(self, params: Array) -> Array:
        """Log-likelihoods (m,) of many parameter vectors (m, p)."""
        linear = params @ self.design.T
        eta = linear if self.stack is None else linear * kappa(self.stack.project(params[:, self.first :]))
        return self._log_probability(eta)

    def with_gradient(self, params: Array) -> tuple[Array, Array]:
        """Log-likelihoods (m,) and their gradients (m, p) at parameter vectors (m, p)."""
        linear = params @ self.design.T
        if self.stack is None:
            left = self.target - special.expit(linear)
            return self._log_probability(linear), left @ self.design
        slopes = params[:, self.first :]
        k = kappa(self.stack.project(slopes))
        left = self.target - special.expit(k * linear)
        gradient = (left * k) @ self.design
        errors = self.stack.weighted_sum(left * linear * PROBIT * k**3)
        gradient[:, self.first :] -= np.einsum("mij,mj->mi", errors, slopes)
        return self._log_probability(k * linear), gradient

    def _log_probability(self, eta: Array) -> Array:
        return eta @ self.target - np.sum(np.logaddexp(0, eta), axis=-1)

    def _bending(self, stack: CovarianceStack, left: Array, linear: Array, k: Array, pulled: Array) -> Array:
        """sum_i (t_i - p_i) d2 eta_i, the part of the observed information that has mean zero."""
        first, bend = self.first, PROBIT * k**3
        total = np.zeros((self.design.shape[1],) * 2)
        cross = (self.design * (left * bend)[:, None]).T @ pulled
        total[:, first:] -= cross
        total[first:, :] -= cross.T
        curved = 3 * PROBIT**2 * left * linear * k**5
        total[first:, first:] += (pulled * curved[:, None]).T @ pulled
        total[first:, first:] -= stack.weighted_sum(left * linear * bend)
        return total
