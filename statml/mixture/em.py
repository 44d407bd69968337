"""Expectation-maximisation: each pair of steps raises the log posterior.

Any guess of which component each row came from, and of its true value, bounds the log
likelihood from below; the bound touches it where the guess is the posterior
(`statml.mixture.expectation`), and is maximised in closed form (Dempster, Laird & Rubin
1977, J. R. Stat. Soc. B 39, 1). Here that is, with N_j, f_j, F_j the moments about m_j,

    weights_j = N_j / N,     m_j' = m_j + f_j / N_j,
    V_j' = (F_j - f_j f_j^T / N_j + s V0) / (N_j + s).
"""

from __future__ import annotations

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
# Steps are extrapolated once they gain less than this for each row: near a maximum, not on the way.
NEAR = 1e-3
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


@dataclass(frozen=True)
class _Point:
    """Components with what one expectation step says of them."""

    components: Components
    moments: Moments
    log_likelihood: float
    log_posterior: float


class _CollapseError(Exception):
    """A component has no width left."""


@dataclass(frozen=True)
class Climb:
    """EM from one start until a step gains less than `tol` for each row, or a component collapses.

    EM slows down where much is hidden: near the maximum its steps shrink by a constant
    factor close to one. With `accelerate`, two of them are extrapolated to where such a
    series would end (squared extrapolation; Varadhan & Roland 2008, Scand. J. Stat. 35, 335), which is
    kept only if it is higher than where the steps themselves lead from.
    """

    data: Measurements
    prior: CovariancePrior
    tol: float
    max_iter: int
    accelerate: bool = True

    def __call__(self, start: Components) -> Fit:
        history: list[float] = []
        fell, converged, gone = 0.0, False, False
        point = None
        try:
            point = self._evaluate(start, history)
            while len(history) <= self.max_iter:
                first = self._evaluate(self._step(point), history)
                gain = first.log_posterior - point.log_posterior
                before, point, fell = point, first, max(fell, -gain)
                converged = abs(gain) <= self.tol * self.data.total_weight
                if converged or len(history) > self.max_iter:
                    break
                if self.accelerate and gain <= NEAR * self.data.total_weight:
                    point = self._jump(before, point, history)
        except (_CollapseError, np.linalg.LinAlgError):
            gone = True
        if point is None:
            return Fit(start, -np.inf, -np.inf, np.zeros(0), False, True, 0.0)
        reached = np.array(history)
        return Fit(
            point.components, point.log_likelihood, point.log_posterior, reached, converged, gone, fell
        )

    def _step(self, point: _Point) -> Components:
        components = maximisation(point.components, point.moments, self.prior)
        if (
            self.prior.strength == 0
            and collapsed(components, self.prior.scale, COLLAPSE)
            and self._unbounded()
        ):
            raise _CollapseError
        return components

    def _unbounded(self) -> bool:
        """Whether nothing else gives a component width: a population narrower than its errors may have none."""
        return not self.data.least_noise() > COLLAPSE

    def _evaluate(self, components: Components, history: list[float] | None) -> _Point:
        moments, log_likelihood = expectation(components, self.data)
        value = log_likelihood + self.prior.log_density(components.covariances)
        if not np.isfinite(value):
            raise _CollapseError
        if history is not None:
            history.append(value)
        return _Point(components, moments, log_likelihood, value)

    def _jump(self, before: _Point, point: _Point, history: list[float]) -> _Point:
        """The end of the series that two steps begin, where it is allowed and higher; else `point`."""
        target = _extrapolated(before.components, point.components, self._step(point))
        if target is None:
            return point
        try:
            found = self._evaluate(target, None)
        except (_CollapseError, np.linalg.LinAlgError):
            return point
        if found.log_posterior < point.log_posterior:
            return point
        history.append(found.log_posterior)
        return found


def _extrapolated(first: Components, second: Components, third: Components) -> Components | None:
    """Components beyond `third` on the curve through three points of EM; None where they would be none."""
    covariance = np.mean(third.covariances, axis=0)
    std = np.sqrt(np.diag(covariance))
    flat = [
        np.concatenate(
            [each.weights, (each.means / std).ravel(), (each.covariances / np.outer(std, std)).ravel()]
        )
        for each in (first, second, third)
    ]
    step = flat[1] - flat[0]
    bend = flat[2] - flat[1] - step
    length = np.linalg.norm(bend)
    if length == 0:
        return None
    stretch = max(float(np.linalg.norm(step) / length), 1.0)
    end = flat[0] + 2 * stretch * step + stretch**2 * bend
    k, d = first.means.shape
    weights = end[:k]
    covariances = end[k + k * d :].reshape(k, d, d) * np.outer(std, std)
    if np.any(weights <= 0) or np.any(np.linalg.eigvalsh(covariances)[:, 0] <= 0):
        return None
    return Components(weights / np.sum(weights), end[k : k + k * d].reshape(k, d) * std, covariances)


def fell_too_far(fit: Fit, total_weight: float) -> bool:
    """Whether the log posterior fell by more than rounding explains."""
    return fit.fell > ROUNDING * max(total_weight, float(np.max(np.abs(fit.history), initial=0)))
