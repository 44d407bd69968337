"""Expectation-maximisation: each pair of steps raises the log posterior.

Any guess of which component each row came from, and of its true value, bounds the log
likelihood from below; the bound touches it where the guess is the posterior
(`statml.mixture.expectation`), and is maximised in closed form (Dempster, Laird & Rubin
1977, J. R. Stat. Soc. B 39, 1). Here that is, with N_j, f_j, F_j the moments about m_j,

    weights_j = N_j / N,     m_j' = m_j + f_j / N_j,
    V_j' = (F_j - f_j f_j^T / N_j + s V0) / (N_j + s).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from statml.mixture.components import Components
from statml.mixture.expectation import Moments, expectation
from statml.mixture.measurements import Measurements
from statml.mixture.prior import CovariancePrior, collapsed

Array = np.ndarray

# A variance this many times smaller than that of all data is taken for a collapse.
COLLAPSE = 1e-10
# A log posterior may fall by rounding; beyond this fraction of its terms something is wrong.
ROUNDING = 1e-9
# Below this weight, in rows, a component is empty: its mean stays, its covariance is the prior's.
EMPTY = 1e-10


@dataclass(frozen=True)
class Fit:
    """Where EM ended: the components, the log posterior after each step, and how it went."""

    components: Components
    log_likelihood: float
    log_posterior: float
    history: Array
    converged: bool
    collapsed: bool
    fell: float


def maximisation(components: Components, moments: Moments, prior: CovariancePrior) -> Components:
    """The parameters that maximise the expected log posterior."""
    weight = np.maximum(moments.weight, EMPTY)
    shift = moments.first / weight[:, None]
    second = moments.second - weight[:, None, None] * shift[:, :, None] * shift[:, None, :]
    strength = max(prior.strength, EMPTY)
    covariances = (second + strength * prior.scale) / (weight + strength)[:, None, None]
    covariances = 0.5 * (covariances + covariances.transpose(0, 2, 1))
    return Components(weight / np.sum(weight), components.means + shift, covariances)


def climb(
    start: Components,
    data: Measurements,
    prior: CovariancePrior,
    *,
    tol: float,
    max_iter: int,
    progress: Callable[[float], None] | None = None,
) -> Fit:
    """EM from one start until a step gains less than `tol` for each row, or a component collapses."""
    components, history, fell, gone, converged = start, [], 0.0, False, False
    for step in range(max_iter + 1):
        try:
            moments, log_likelihood = expectation(components, data)
        except np.linalg.LinAlgError:
            gone = True
            break
        value = log_likelihood + prior.log_density(components.covariances)
        if not np.isfinite(value):
            gone = True
            break
        if history:
            fell = max(fell, history[-1] - value)
            converged = abs(value - history[-1]) <= tol * data.total_weight
        history.append(value)
        reached = components, log_likelihood
        if progress is not None:
            progress(value)
        if converged or step == max_iter:
            break
        components = maximisation(components, moments, prior)
        if prior.strength == 0 and collapsed(components, prior.scale, COLLAPSE):
            gone = True
            break
    else:  # pragma: no cover
        raise AssertionError("the loop ends at max_iter")
    if not history:
        return Fit(start, -np.inf, -np.inf, np.zeros(0), False, True, 0.0)
    return Fit(reached[0], reached[1], history[-1], np.array(history), converged, gone, fell)


def fell_too_far(fit: Fit, total_weight: float) -> bool:
    """Whether the log posterior fell by more than rounding explains."""
    return fit.fell > ROUNDING * max(total_weight, float(np.max(np.abs(fit.history), initial=0)))
