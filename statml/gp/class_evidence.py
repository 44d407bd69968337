"""The evidence of classes as a function of a kernel's hyperparameters, and its maximum.

Both approximations know the derivative of their evidence by the covariance matrix, G; one backward
pass through the kernel turns it into the derivative by the hyperparameters, sum_ij G_ij dK_ij.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from scipy import optimize
from torch import Tensor

from statml.gp.expectation_propagation import SitePosterior, expectation_propagation
from statml.gp.kernels import Kernel
from statml.gp.laplace import laplace
from statml.gp.latent import LatentPosterior
from statml.gp.links import Link
from statml.gp.softmax_laplace import SoftmaxPosterior, softmax_laplace

Array = np.ndarray
# What the optimiser sees where a covariance cannot be factorised.
UNREACHABLE = 1e20


class Evidence(Protocol):
    """Classes of the training points, ready to be put under a covariance."""

    def posterior(self, covariance: Tensor, last: Any) -> Any:
        """The approximate posterior under `covariance`, found from that under another one (or None)."""


class BinaryEvidence:
    """Two classes, by Laplace's method or by expectation propagation."""

    def __init__(self, sign: Tensor, link: Link, *, propagate: bool) -> None:
        self.sign, self.link, self.propagate = sign, link, propagate

    def posterior(self, covariance: Tensor, last: LatentPosterior | None) -> LatentPosterior:
        if self.propagate:
            sites = last.sites if isinstance(last, SitePosterior) else None
            return expectation_propagation(covariance, self.sign, self.link, start=sites)
        return laplace(covariance, self.sign, self.link, start=None if last is None else last.weights)


class SoftmaxEvidence:
    """Several classes, by Laplace's method."""

    def __init__(self, indicator: Tensor) -> None:
        self.indicator = indicator

    def posterior(self, covariance: Tensor, last: SoftmaxPosterior | None) -> SoftmaxPosterior:
        return softmax_laplace(covariance, self.indicator, start=None if last is None else last.weights)


def evidence_and_gradient(
    kernel: Kernel, X: Tensor, evidence: Evidence, theta: Array, last: Any = None
) -> tuple[float, Array, Any]:
    """The log evidence at the log hyperparameters `theta`, its derivative (k,), and the posterior.

    Parameters
    ----------
    kernel : Kernel
    X : Tensor (n, d)
    evidence : Evidence
    theta : array (k,)
    last : optional
        A posterior at hyperparameters nearby, from which the new one is found sooner.
    """
    logs = torch.tensor(theta, dtype=X.dtype, device=X.device, requires_grad=True)
    K = kernel.covariance(X, None, logs)
    with torch.no_grad():
        posterior = evidence.posterior(K.detach(), last)
    (gradient,) = torch.autograd.grad(K, logs, posterior.by_covariance)
    return posterior.log_evidence, gradient.cpu().numpy(), posterior


def maximise_evidence(
    kernel: Kernel, X: Tensor, evidence: Evidence, *, restarts: int, rng: np.random.Generator
) -> Kernel:
    """The kernel with the hyperparameters, within its bounds, that have the largest evidence.

    Parameters
    ----------
    restarts : int
        Searches that start elsewhere, each log hyperparameter moved by a standard normal.
    """
    starts = [kernel.theta, *(kernel.theta + rng.standard_normal((restarts, len(kernel.theta))))]
    low, high = kernel.bounds.T
    ends = [_climb(kernel, X, evidence, np.clip(start, low, high)) for start in starts]
    return kernel.with_theta(min(ends, key=lambda end: end[0])[1])


def _climb(kernel: Kernel, X: Tensor, evidence: Evidence, start: Array) -> tuple[float, Array]:
    """Minus the largest log evidence that is found from `start`, and where."""
    last: Any = None

    def objective(theta: Array) -> tuple[float, Array]:
        nonlocal last
        try:
            value, gradient, last = evidence_and_gradient(kernel, X, evidence, theta, last)
        except torch.linalg.LinAlgError:
            return UNREACHABLE, np.zeros_like(theta)
        if not np.isfinite(value) or not np.all(np.isfinite(gradient)):
            last = None
            return UNREACHABLE, np.zeros_like(theta)
        # Per row: the first step of L-BFGS-B inside bounds is the gradient itself.
        return -value / len(X), -gradient / len(X)

    found = optimize.minimize(objective, start, jac=True, method="L-BFGS-B", bounds=kernel.bounds)
    return float(found.fun), found.x
