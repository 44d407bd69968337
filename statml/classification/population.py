r"""What the true features are worth, given measured ones: a normal population behind the errors.

Features measured with error are spread wider than the true ones. If the true ones
follow N(mu, T) and row i was measured with error covariance S_i, then

    x_true | x_i ~ N(mu + G_i (x_i - mu), G_i S_i),    G_i = T (T + S_i)^-1

so measured values are drawn towards mu. Taking N(x_i, S_i) instead, as if all true
features were equally likely, is the limit T >> S_i; where the errors are a sizeable
part of the spread it leaves slopes too small by the factor G (regression dilution).
mu and T are those of largest likelihood, found by expectation maximisation.

Source: Carroll, Ruppert, Stefanski & Crainiceanu (2006), "Measurement Error in
Nonlinear Models", chapters 4 and 8; Ting (arXiv:2506.12230), chapter 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray

MAX_STEPS = 500
TOLERANCE = 1e-8
# Floor of an eigenvalue of T, as a share of the observed variance.
FLOOR = 1e-9


@dataclass(frozen=True)
class NormalPopulation:
    """True features ~ N(mean, cov): mean (d,), cov (d, d)."""

    mean: Array
    cov: Array

    @classmethod
    def of(cls, X: Array, stack: CovarianceStack) -> NormalPopulation:
        """The population of largest likelihood behind rows X (n, d) with errors `stack`."""
        mean = X.mean(axis=0)
        observed = np.atleast_2d(np.cov(X, rowvar=False, ddof=0))
        floor = FLOOR * np.trace(observed) / len(mean) + np.finfo(float).tiny
        average = stack.weighted_sum(np.full(len(X), 1 / len(X)))
        population = cls(mean, _positive(observed - average, floor))
        for _ in range(MAX_STEPS):
            centre, spread = population.infer(X, stack)
            mean = centre.mean(axis=0)
            gap = centre - mean
            cov = gap.T @ gap / len(X) + spread.weighted_sum(np.full(len(X), 1 / len(X)))
            change = np.max(np.abs(cov - population.cov)) / np.max(np.abs(cov))
            population = cls(mean, _positive(cov, floor))
            if change < TOLERANCE:
                break
        return population

    def infer(self, X: Array, stack: CovarianceStack) -> tuple[Array, CovarianceStack]:
        """Means (n, d) and covariances of the true features of measured rows."""
        errors = stack.to_dense()
        gain = np.linalg.solve(self.cov + errors, np.broadcast_to(self.cov, errors.shape)).transpose(0, 2, 1)
        left = gain @ errors
        centre = self.mean + np.einsum("nij,nj->ni", gain, X - self.mean)
        return centre, CovarianceStack(matrices=0.5 * (left + left.transpose(0, 2, 1)))


def _positive(matrix: Array, floor: float) -> Array:
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    return (vectors * np.maximum(values, floor)) @ vectors.T
