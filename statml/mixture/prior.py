"""The conjugate prior that keeps a component from collapsing onto a few points.

The likelihood of a mixture has no maximum: a component that sits on one point and
shrinks raises it for ever (Day 1969, Biometrika 56, 463). Under an inverse-Wishart
prior on each covariance the posterior has one. Up to a constant,

    log p(V) = -s/2 [ log det(V V0^-1) + tr(V0 V^-1) - d ],

which is largest, and 0, at V = V0. In the maximisation step it adds s pseudo-objects of
covariance V0 to each component, V = (sum_i q_i (..) + s V0) / (sum_i q_i + s).
Source: Fraley & Raftery (2007, J. Classif. 24, 155), who take V0 as the covariance of
all data over K^(2/d): K components of that size fill the same volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from statml.mixture.components import Components

Array = np.ndarray


@dataclass(frozen=True)
class CovariancePrior:
    """`strength` in pseudo-objects for each component (0: maximum likelihood), `scale` V0 (d, d)."""

    strength: float
    scale: Array

    def log_density(self, covariances: Array) -> float:
        """Sum over components, relative to each at its mode."""
        if self.strength == 0:
            return 0.0
        d = len(self.scale)
        ratio = np.linalg.solve(covariances, self.scale[None])
        traces = np.trace(ratio, axis1=1, axis2=2)
        return float(-0.5 * self.strength * np.sum(traces - d - np.linalg.slogdet(ratio)[1]))

    def score(self, covariances: Array) -> Array:
        """Derivative of `log_density` by each covariance, (K, d, d)."""
        precision = np.linalg.inv(covariances)
        return 0.5 * self.strength * (precision @ self.scale @ precision - precision)

    def restored(self, units: Array) -> CovariancePrior:
        """The prior on covariances in other units, from that on standardised ones."""
        return CovariancePrior(self.strength, self.scale * np.outer(units, units))


def collapsed(components: Components, scale: Array, smallest: float) -> bool:
    """Whether a component is thinner in some direction than `smallest` times `scale` (variances)."""
    whiten = linalg.inv(linalg.cholesky(scale, lower=True))
    try:
        values = np.linalg.eigvalsh(whiten @ components.covariances @ whiten.T)
    except np.linalg.LinAlgError:
        return True
    return not bool(np.min(values) > smallest)
