"""A whole new state at once: proposals from what warm-up has seen, the components of the rows integrated out.

With many rows the posterior of all parameters

    psi = (alpha, beta, log(sigma^2 + c); mu_k, log-Cholesky factor of T_k; log weight ratios)

is nearly normal, and a normal with mean and covariance of the draws of warm-up proposes
states that do not depend on the present one. The Metropolis-Hastings ratio, with the
density of the rows summed over their components, keeps the posterior exact whatever
warm-up has found; a proposal that is rarely accepted is only of no use, and not made.
This moves what the steps of `gibbs` move slowly: given their rows, the components and
with them scatter and slope can go no further than the rows allow.

Neither posterior nor prior change when components change places. The step therefore
looks at them in the order of their first coordinate, and puts them back afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from statml.regression.errors_in_variables.gibbs_collapsed import (
    Layout,
    component_prior,
    log_scatter_prior,
)
from statml.regression.errors_in_variables.kelly_model import Moments, Points
from statml.regression.errors_in_variables.kelly_prior import FullPrior

Array = np.ndarray
# Line (C, p), sigma^2 (C,), weights (C, K), centers (C, K, d) and covs (C, K, d, d).
Parts = tuple[Array, Array, Array, Array, Array]

# Draws for each parameter from which a covariance is worth proposing with.
ENOUGH = 20
# Proposals of each chain on trial, and the share to be accepted for more to be made: where
# fewer are, chains stay too long in places that the normal does not cover.
TRIALS, WORTH = 20, 0.5


@dataclass(frozen=True)
class Independent:
    """Metropolis steps for the posterior with proposals from N(mean, L L').

    Attributes
    ----------
    points : Points
        One data set for all chains.
    prior : FullPrior
    layout : Layout
        With one c for all chains.
    mean : array (N,)
    lower : array (N, N)
        L.
    """

    points: Points
    prior: FullPrior
    layout: Layout
    mean: Array
    lower: Array

    @classmethod
    def worthwhile(
        cls,
        points: Points,
        prior: FullPrior,
        layout: Layout,
        seen: list[Parts],
        log_inverse_a: Array,
        rng: np.random.Generator,
    ) -> Independent | None:
        """From the draws `seen`, if the chains share their rows and, on trial, accept enough from the last of them."""
        if points.z.shape[1] > 1:
            return None
        found = cls.of(points, prior, layout, seen)
        if found is None or found.steps(seen[-1], log_inverse_a, rng, TRIALS)[1] < WORTH:
            return None
        return found

    @classmethod
    def of(cls, points: Points, prior: FullPrior, layout: Layout, seen: list[Parts]) -> Independent | None:
        """From draws of all chains; None if they are too few or do not spread in every direction."""
        layout = replace(layout, offset=np.full_like(layout.offset, layout.offset.mean()))
        if not seen:
            return None
        draws = np.concatenate([_pack(layout, _sorted(parts)[0]) for parts in seen])
        if len(draws) < ENOUGH * draws.shape[1]:
            return None
        try:
            lower = np.linalg.cholesky(np.cov(draws, rowvar=False))
        except np.linalg.LinAlgError:
            return None
        return cls(points, prior, layout, draws.mean(axis=0), lower)

    def steps(
        self, parts: Parts, log_inverse_a: Array, rng: np.random.Generator, count: int
    ) -> tuple[Parts, float]:
        """`count` proposals for every chain: where they are then, and the share that was accepted."""
        inverse_a = np.exp(log_inverse_a)
        ordered, order = _sorted(parts)
        psi = _pack(self.layout, ordered)
        # The log density of the posterior minus that of the proposal decides.
        excess = self._log_posterior(psi, inverse_a) - self._log_proposal(psi)
        moved, accepted = np.zeros(len(psi), bool), 0.0
        for _ in range(count):
            normal = rng.standard_normal(psi.shape)
            there = self.mean + normal @ self.lower.T
            new = self._log_posterior(there, inverse_a) + 0.5 * np.sum(normal**2, axis=1)
            yes = np.log(rng.random(len(psi))) < new - excess  # not where the density is NaN
            psi, excess = np.where(yes[:, None], there, psi), np.where(yes, new, excess)
            moved |= yes
            accepted += float(yes.mean()) / count
        return _choose(moved, _unsorted(_unpack(self.layout, psi)[0], order), parts), accepted

    def _log_proposal(self, psi: Array) -> Array:
        normal = np.linalg.solve(self.lower, (psi - self.mean).T)
        return -0.5 * np.sum(normal**2, axis=0)

    def _log_posterior(self, psi: Array, inverse_a: Array) -> Array:
        """Log density of psi up to a constant, (C,); -inf where sigma or the order is not what it may be."""
        layout, prior = self.layout, self.prior
        (params, sigma2, weights, centers, covs), factor = _unpack(layout, psi)
        inside = layout.scatter_inside(sigma2, prior)
        inside &= np.all(centers[:, 1:, 0] > centers[:, :-1, 0], axis=1)
        sigma2 = np.where(inside, sigma2, layout.offset)
        moments = Moments.of(params, sigma2, centers, covs, layout.intercept)
        gap = params - prior.line_mean
        with np.errstate(all="ignore"):
            log_density = (
                self.points.log_likelihood(weights, moments)
                - 0.5 * np.sum(gap @ prior.line_precision * gap, axis=1)
                + component_prior(layout, prior, centers, factor, inverse_a)[0]
                + log_scatter_prior(layout, prior, psi[:, layout.p], sigma2)
                # The volume in weights is their product times that in the log ratios.
                + prior.concentration * np.log(weights).sum(axis=1)
            )
        return np.where(inside, log_density, -np.inf)


def _sorted(parts: Parts) -> tuple[Parts, Array]:
    """Components in the order of their first coordinate, and that order (C, K)."""
    order = np.argsort(parts[3][..., 0], axis=1)
    return _taken(parts, order), order


def _unsorted(parts: Parts, order: Array) -> Parts:
    return _taken(parts, np.argsort(order, axis=1))


def _taken(parts: Parts, order: Array) -> Parts:
    params, sigma2, weights, centers, covs = parts
    return (
        params,
        sigma2,
        np.take_along_axis(weights, order, axis=1),
        np.take_along_axis(centers, order[..., None], axis=1),
        np.take_along_axis(covs, order[..., None, None], axis=1),
    )


def _pack(layout: Layout, parts: Parts) -> Array:
    params, sigma2, weights, centers, covs = parts
    ratios = np.log(weights[:, :-1] / weights[:, -1:])
    return np.concatenate([layout.pack(params, sigma2, centers, covs), ratios], axis=1)


def _unpack(layout: Layout, psi: Array) -> tuple[Parts, Array]:
    """The parts, and the Cholesky factors of the covariances."""
    size = psi.shape[1] - layout.k + 1
    params, sigma2, centers, factor = layout.unpack(psi[:, :size])
    ratios = np.concatenate([psi[:, size:], np.zeros((len(psi), 1))], axis=1)
    weights = np.exp(ratios - ratios.max(axis=1, keepdims=True))
    covs = factor @ np.swapaxes(factor, 2, 3)
    parts = (params, sigma2, weights / weights.sum(axis=1, keepdims=True), centers, covs)
    return parts, factor


def _choose(accepted: Array, there: Parts, here: Parts) -> Parts:
    def pick(new: Array, old: Array) -> Array:
        return np.where(accepted.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    a, b, c, d, e = (pick(new, old) for new, old in zip(there, here))
    return a, b, c, d, e
