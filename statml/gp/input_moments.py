r"""Predictions of a process where x is only known with an error.

For a true x ~ N(x_i, S_i) the prediction has the moments

    mean_i = E m(x),        variance_i = E v(x) + Var m(x),

with m and v the posterior mean and variance (the law of total variance). E m is smoother
than m: a wave of length l is damped by exp(-S / 2 l^2), which no first-order error
propagation shows. The averages are Gauss-Hermite sums along up to two uncertain
features, beyond that sums over quasi-random draws. Rows have independent errors, so two
of them covary by E cov(x, x') with x and x' drawn apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from statml.gp.posterior import Conditioned, Posterior
from statml.gp.uncertain_features import feature_draws
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray

# Nodes along one uncertain feature, and along each of two.
NODES = {1: 15, 2: 7}


@dataclass(frozen=True)
class Moments:
    """Mean, E v, Var m and the independent part of the variance, (n,) each."""

    mean: Array
    parameter: Array
    input: Array
    independent: Array


def moments(posterior: Posterior, X: Array, stack: CovarianceStack) -> Moments:
    """Moments of the process at n uncertain points."""
    points, weights = nodes(X, stack)
    flat = posterior.marginals(points.reshape(-1, X.shape[1]))
    mean, variance, independent = (part.reshape(len(weights), -1) for part in flat)
    center = weights @ mean
    return Moments(center, weights @ variance, weights @ (mean - center) ** 2, weights @ independent)


def mixed_covariance(posterior: Posterior, X: Array, stack: CovarianceStack) -> Array:
    """E cov(x, x') for every two of n uncertain points with independent errors, (n, n); not its diagonal."""
    points, weights = nodes(X, stack)
    training, share = posterior.tensor(posterior.X), posterior.tensor(weights)
    with torch.no_grad():
        cross = torch.zeros(len(X), len(training), dtype=training.dtype, device=training.device)
        design = torch.zeros(len(X), posterior.mean.size, dtype=training.dtype, device=training.device)
        for weight, place in zip(share, points):
            rows = posterior.tensor(place)
            cross += weight * posterior.kernel.covariance(rows, training, posterior.theta)
            design += weight * posterior.mean.design(rows)
        found: Conditioned = posterior.condition(cross, design)
        few = posterior.tensor(_few(X, stack))
        prior = posterior.kernel.covariance(few.flatten(0, 1), few.flatten(0, 1), posterior.theta)
        prior = prior.reshape(*few.shape[:2], *few.shape[:2]).mean(dim=(0, 2))
        return (prior + found.shift(found)).cpu().numpy()


def nodes(X: Array, stack: CovarianceStack) -> tuple[Array, Array]:
    """Where to evaluate and with which weight: points (k, n, d) and weights (k,).

    Examples
    --------
    >>> points, weights = nodes(np.array([[2.0]]), CovarianceStack.from_std([[0.5]]))
    >>> round(float(weights @ points[:, 0, 0] ** 2), 12)  # 2^2 + 0.5^2
    4.25
    """
    roots = _roots(stack)
    rank = roots.shape[2]
    if rank not in NODES:
        draws = feature_draws(X, stack)
        return draws, np.full(len(draws), 1 / len(draws))
    line, weight = np.polynomial.hermite_e.hermegauss(NODES[rank])
    grid = np.stack(np.meshgrid(*[line] * rank, indexing="ij"), axis=-1).reshape(-1, rank)
    weights = np.prod(np.stack(np.meshgrid(*[weight] * rank, indexing="ij"), axis=-1), axis=-1).ravel()
    return X + np.einsum("kr,ndr->knd", grid, roots), weights / weights.sum()


def _few(X: Array, stack: CovarianceStack) -> Array:
    """2 r points of equal weight that average polynomials of third degree without error, (2 r, n, d)."""
    roots = _roots(stack)
    steps = np.sqrt(roots.shape[2]) * roots.transpose(2, 0, 1)
    return np.concatenate([X + steps, X - steps])


def _roots(stack: CovarianceStack) -> Array:
    """F_i with S_i = F_i F_i^T, (n, d, r), without directions that no row is uncertain in."""
    d = stack.shape[1]
    if stack.variances is not None:
        used = np.flatnonzero(np.any(stack.variances > 0, axis=0))
        roots = np.sqrt(stack.variances)[:, :, None] * np.eye(d)[:, used]
    else:
        values, vectors = np.linalg.eigh(stack.to_dense())
        roots = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
        roots = roots[:, :, np.any(roots != 0, axis=(0, 1))]
    # Exact points have one node, themselves.
    return roots if roots.shape[2] else np.zeros((len(stack), d, 1))
