"""The evidence of classes as a function of a kernel's hyperparameters, and its maximum.

Both approximations know the derivative of their evidence by the covariance matrix, G; one backward
pass through the kernel turns it into the derivative by the hyperparameters, sum_ij G_ij dK_ij.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from statml.errors import InputError
from statml.gp.expectation_propagation import SitePosterior, expectation_propagation
from statml.gp.kernels import Kernel
from statml.gp.laplace import laplace
from statml.gp.latent import LatentPosterior
from statml.gp.links import Link
from statml.gp.optimise import maximise
from statml.gp.softmax_laplace import SoftmaxPosterior, softmax_laplace

Array = np.ndarray


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
        Searches that start elsewhere, each hyperparameter up to a factor of ten away.
    """
    last: Any = None

    def per_row(theta: Array) -> tuple[float, Array]:
        # The first step of a search inside bounds is the gradient itself: that of all rows is too long.
        nonlocal last
        try:
            value, gradient, last = evidence_and_gradient(kernel, X, evidence, theta, last)
        except torch.linalg.LinAlgError as error:
            raise InputError(f"the covariance at hyperparameters {np.exp(theta)} is singular") from error
        if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
            last = None
            raise InputError(f"the evidence at hyperparameters {np.exp(theta)} is not finite")
        return value / len(X), gradient / len(X)

    return kernel.with_theta(maximise(per_row, kernel.theta, kernel.bounds, restarts=restarts, rng=rng).point)
