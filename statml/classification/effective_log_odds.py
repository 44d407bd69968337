r"""The log odds that uncertain log odds amount to, with derivatives for a likelihood.

If the log odds of a row are normal with mean m and variance v, its class has probability
p(m, v) = E sigma, and eta = log p / (1 - p) are the log odds of an equal row without
uncertainty. Two forms of p, as in `statml.classification.logistic_normal`:

* "probit": eta = kappa m, kappa(v) = (1 + pi v / 8)^-1/2 (MacKay 1992);
* "exact": p = sum_k w_k Phi(z_k), z_k = m / s_k, s_k^2 = V_k + v, the logistic
  distribution as a mixture of normals. Every term obeys the heat equation
  dp/dv = (1/2) d2p/dm2, so all derivatives are derivatives by m.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from statml.classification.logistic_normal import Averaging, sigmoid_as_probits

Array = np.ndarray
# The probit of slope sqrt(pi / 8) has the slope of the logistic function at 0.
PROBIT = np.pi / 8
# 32 probits are the sigmoid to 1e-14, so that errors of zero give the ordinary likelihood;
# draws, which need a million gradients, are content with 16 and 2e-7.
FINE, COARSE = sigmoid_as_probits(2), sigmoid_as_probits(4)
_LOG_ROOT = 0.5 * np.log(2 * np.pi)


@dataclass(frozen=True)
class LogOdds:
    """Effective log odds and their derivatives by mean and variance; the shapes are those of the mean."""

    eta: Array
    by_mean: Array
    by_variance: Array
    by_mean_mean: Array
    by_mean_variance: Array
    by_variance_variance: Array


def probit(mean: Array, variance: Array) -> LogOdds:
    """eta = kappa(v) m."""
    k = 1 / np.sqrt(1 + PROBIT * variance)
    slope = -0.5 * PROBIT * k**3
    return LogOdds(k * mean, k, slope * mean, np.zeros_like(k), slope, 0.75 * PROBIT**2 * k**5 * mean)


def exact(mean: Array, variance: Array) -> LogOdds:
    """eta = log p - log(1 - p) for the mixture of probits."""
    variances, weights = FINE
    s = np.sqrt(variances + variance[..., None])
    z = mean[..., None] / s
    log_p, log_q = _log_probabilities(z, weights)
    # Terms w phi(z) / (p q): derivatives of p by m are these over s, times a polynomial of z.
    term = np.exp(np.log(weights) - _LOG_ROOT - 0.5 * z**2 - (log_p + log_q)[..., None]) / s
    curved = term / s
    first = np.sum(term, axis=-1)
    second = -np.sum(curved * z, axis=-1)
    third = np.sum(curved / s * (z**2 - 1), axis=-1)
    fourth = np.sum(curved / s**2 * (3 - z**2) * z, axis=-1)
    tilt = np.exp(log_p) - np.exp(log_q)
    by_variance = 0.5 * second
    return LogOdds(
        eta=log_p - log_q,
        by_mean=first,
        by_variance=by_variance,
        by_mean_mean=second + tilt * first**2,
        by_mean_variance=0.5 * third + tilt * first * by_variance,
        by_variance_variance=0.25 * fourth + tilt * by_variance**2,
    )


def effective(mean: Array, variance: Array, averaging: Averaging) -> Array:
    """eta alone."""
    if averaging == "probit":
        return mean / np.sqrt(1 + PROBIT * variance)
    variances, weights = FINE
    log_p, log_q = _log_probabilities(mean[..., None] / np.sqrt(variances + variance[..., None]), weights)
    return log_p - log_q


def with_slopes(mean: Array, variance: Array, averaging: Averaging) -> tuple[Array, Array, Array]:
    """eta, its derivatives by mean and by variance; "exact" to 2e-7, for many evaluations."""
    if averaging == "probit":
        odds = probit(mean, variance)
        return odds.eta, odds.by_mean, odds.by_variance
    variances, weights = COARSE
    s = np.sqrt(variances + variance[..., None])
    z = mean[..., None] / s
    log_p, log_q = _log_probabilities(z, weights)
    term = np.exp(-0.5 * z**2 - (_LOG_ROOT + log_p + log_q)[..., None]) / s
    by_mean = term @ weights
    return log_p - log_q, by_mean, -0.5 * (term * z / s) @ weights


def _log_probabilities(z: Array, weights: Array) -> tuple[Array, Array]:
    """log sum_k w_k Phi(z_k) and the same of -z, of which neither tail is lost."""
    p, q = special.ndtr(z) @ weights, special.ndtr(-z) @ weights
    with np.errstate(divide="ignore"):
        log_p, log_q = np.log(p), np.log(q)
    far = np.minimum(p, q) < 1e-280
    if np.any(far):
        for sign, log in ((1, log_p), (-1, log_q)):
            log[far] = special.logsumexp(np.log(weights) + special.log_ndtr(sign * z[far]), axis=-1)
    return log_p, log_q


EFFECTIVE: dict[Averaging, Callable[[Array, Array], LogOdds]] = {"probit": probit, "exact": exact}
