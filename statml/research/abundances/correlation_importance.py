r"""The posterior by draws of a proposal that learns where it is, weighted exactly.

Parameters are taken as their prior probabilities u, and these as z = ln u / (1 - u), in which the prior is logistic whatever
it was. Draws of the prior are weighted by the likelihood to a power so small that many of them count; their mean and
covariance make a t distribution, whose draws are weighted by a higher power, until the power is 1. The last draws are
from that t distribution and, one in ten, from the prior, so that no weight can be more than ten times the likelihood's.

Source: population Monte Carlo, Cappe et al. (2004), J. Comput. Graph. Stat. 13, 907.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import optimize, special, stats

from statml.errors import InputError
from statml.sampling import WeightedDraws

Array = np.ndarray

LEARNING_DRAWS, FINAL_DRAWS, ROUNDS = 1024, 4000, 12
# Draws that must count in every round, and in the end.
ENOUGH, LEAST = 200, 200
OF_PRIOR, FREEDOM = 0.1, 5


def adaptive_importance(
    log_likelihood: Callable[[Array], Array], parameters: int, rng: np.random.Generator
) -> WeightedDraws:
    """Draws (n, parameters) of prior probabilities between 0 and 1, weighted to the posterior.

    Parameters
    ----------
    log_likelihood : callable
        Of prior probabilities (n, parameters).
    parameters : int
    rng : Generator

    Raises
    ------
    InputError
        Hardly any draw counts in the end.
    """
    z = _logit(stats.qmc.Sobol(parameters, rng=rng).random(LEARNING_DRAWS))
    weight = _log_prior(z)  # log density of the draws, so far the prior's
    power = 0.0
    for _ in range(ROUNDS):
        log_ratio = _log_prior(z) - weight
        log_l = log_likelihood(special.expit(z))
        power = _power(log_ratio, log_l, power)
        proposal = _fitted(z, special.softmax(log_ratio + power * log_l))
        last = power >= 1
        z, weight = _drawn(proposal, FINAL_DRAWS if last else LEARNING_DRAWS, parameters, rng)
        if last:
            break
    final = _log_prior(z) - weight + log_likelihood(special.expit(z))
    found = WeightedDraws(special.expit(z), final, len(z))
    if power < 1 or found.ess < LEAST:
        raise InputError(
            f"method is 'importance', of whose {len(z)} draws only {found.ess:.0f} count, in a posterior that is far from a "
            "single hill; accepted here is method='nuts'"
        )
    return found


def _logit(u: Array) -> Array:
    return special.logit(np.clip(u, 1e-12, 1 - 1e-12))


def _log_prior(z: Array) -> Array:
    """Log density of a logistic distribution for each parameter."""
    return np.sum(special.log_expit(z) + special.log_expit(-z), axis=1)


def _power(log_ratio: Array, log_likelihood: Array, before: float) -> float:
    """The largest power up to 1 of the likelihood that leaves enough draws, not below the one before."""

    def spare(power: float) -> float:
        share = special.softmax(log_ratio + power * log_likelihood)
        return 1 / float(np.sum(share**2)) - ENOUGH

    if spare(1.0) >= 0:
        return 1.0
    return optimize.brentq(spare, before, 1.0, xtol=1e-6) if spare(before) > 0 else before


def _fitted(z: Array, share: Array) -> stats._multivariate.multivariate_t_frozen:
    mean = share @ z
    off = z - mean
    cov = (off * share[:, None]).T @ off + 1e-10 * np.eye(z.shape[1])
    return stats.multivariate_t(mean, cov, df=FREEDOM)


def _drawn(
    proposal: stats._multivariate.multivariate_t_frozen, size: int, parameters: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draws of the mixture of the proposal and the prior, and their log density."""
    wide = rng.logistic(size=(round(OF_PRIOR * size), parameters))
    near = proposal.rvs(size - len(wide), random_state=rng).reshape(-1, parameters)
    z = np.concatenate([near, wide])
    return z, np.logaddexp(
        np.log1p(-OF_PRIOR) + proposal.logpdf(z).reshape(-1), np.log(OF_PRIOR) + _log_prior(z)
    )
