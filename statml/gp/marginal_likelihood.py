r"""The evidence of a Gaussian process, and its gradient, from one Cholesky factor.

With K the covariance of y (kernel, errors, scatter), H the design of the mean and
Lambda the precision of its prior (0 in the vague limit),

    P = K^-1 - K^-1 H A^-1 H^T K^-1,      A = Lambda + H^T K^-1 H,
    log Z = -1/2 [ r^T P r + log|K| + log|A| - log|Lambda| + (n - m_vague) log 2 pi ],
    d log Z / d K = 1/2 (a a^T - P),      a = P r,    r = y - H b,

so P stands where K^-1 would without a mean. The last line is handed to the kernel as
the incoming gradient of automatic differentiation, which never sees the factorisation.

Source: Rasmussen & Williams (2006), equations 2.30, 2.43-2.45 and 5.9.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from statml.errors import InputError
from statml.gp.kernels.base import Kernel
from statml.gp.mean_function import MeanFunction

Array = np.ndarray
Tensor = torch.Tensor

# Added variance, in units of the mean one, that is tried in turn where a matrix is singular by rounding.
JITTERS = (0.0, 1e-12, 1e-11, 1e-10, 1e-9, 1e-8)


@dataclass(frozen=True)
class Observations:
    """What a process is conditioned on, as float64 tensors on one device.

    Attributes
    ----------
    X : tensor (n, d)
    y : tensor (n,)
    errors : tensor (n,) or (n, n)
        Given errors of y: variances, or a whole covariance.
    mean : MeanFunction
    """

    X: Tensor
    y: Tensor
    errors: Tensor
    mean: MeanFunction

    def __len__(self) -> int:
        return len(self.y)

    def covariance(self, kernel_matrix: Tensor, extra: Tensor | float) -> Tensor:
        """K: the kernel's matrix with the errors and further independent variance, a new tensor."""
        K = kernel_matrix.detach().clone()
        if self.errors.ndim == 2:
            K += self.errors
        else:
            K.diagonal().add_(self.errors)
        K.diagonal().add_(extra)
        return K

    def with_errors(self, variance: Tensor) -> Observations:
        """The same with further independent variances (n,) of y."""
        errors = self.errors + (torch.diag(variance) if self.errors.ndim == 2 else variance)
        return Observations(self.X, self.y, errors, self.mean)


@dataclass(frozen=True)
class Solved:
    """K factorised, and what follows for the data.

    Attributes
    ----------
    factor : tensor (n, n)
        Lower Cholesky factor L of K.
    weights : tensor (n,)
        a = P r: the posterior mean is k(x, X) a and the mean function.
    white_design : tensor (n, m)
        L^-1 H.
    mean_factor : tensor (m, m)
        Lower Cholesky factor of A.
    mean_weights : tensor (m,)
        Posterior mean of beta.
    log_evidence : float
    jitter : float
        Variance that had to be added to K.
    """

    factor: Tensor
    weights: Tensor
    white_design: Tensor
    mean_factor: Tensor
    mean_weights: Tensor
    log_evidence: float
    jitter: float

    def inverse(self) -> Tensor:
        """P, a tensor (n, n)."""
        P = torch.cholesky_inverse(self.factor)
        if self.white_design.shape[1]:
            W = torch.linalg.solve_triangular(self.factor.T, self.white_design, upper=True)
            V = torch.linalg.solve_triangular(self.mean_factor, W.T, upper=False)
            P -= V.T @ V
        return P


def solve(K: Tensor, data: Observations) -> Solved:
    """Factorise K, (n, n), and condition on the data.

    Raises
    ------
    InputError
        K is not positive definite, or the columns of the mean's design depend on each other.
    """
    factor, jitter = cholesky(K)
    H, prior = data.mean.design(data.X), data.mean.prior
    n, m = H.shape
    start = torch.as_tensor(data.mean.start, device=K.device)
    both = torch.linalg.solve_triangular(factor, torch.column_stack([data.y - H @ start, H]), upper=False)
    residual, white_H = both[:, 0], both[:, 1:]
    A, logdet_prior = white_H.T @ white_H, 0.0
    if prior is not None:
        A = A + torch.as_tensor(np.linalg.inv(prior.cov), device=K.device)
        logdet_prior = 2 * float(np.sum(np.log(np.diag(prior.factor))))
    mean_factor, failed = torch.linalg.cholesky_ex(A)
    if m and bool(failed):
        raise InputError(
            "the columns of X depend on each other; accepted for a vague linear mean are independent ones"
        )
    shift = torch.cholesky_solve((white_H.T @ residual)[:, None], mean_factor)[:, 0] if m else start
    left = residual - white_H @ shift
    weights = torch.linalg.solve_triangular(factor.T, left[:, None], upper=True)[:, 0]
    free = m if prior is None else 0
    log_evidence = -0.5 * (
        float(residual @ left)
        + 2 * float(factor.diagonal().log().sum() + mean_factor.diagonal().log().sum())
        + logdet_prior
        + (n - free) * math.log(2 * math.pi)
    )
    if free:
        log_evidence += data.mean.log_scale
    return Solved(factor, weights, white_H, mean_factor, start + shift, log_evidence, jitter)


def cholesky(K: Tensor) -> tuple[Tensor, float]:
    """Lower factor of K with the least added variance that makes it one; (factor, variance).

    Raises
    ------
    InputError
        Even the largest of `JITTERS` is not enough.
    """
    scale = float(K.diagonal().mean())
    for jitter in JITTERS:
        if jitter:
            K = K.clone()
            K.diagonal().add_(jitter * scale)
        factor, failed = torch.linalg.cholesky_ex(K)
        if not bool(failed) and math.isfinite(float(factor.diagonal().sum())):
            return factor, jitter * scale
    raise InputError(
        "the covariance of y is singular: rows of X are equal, or nearly, without error or scatter; "
        "accepted is a y_err or scatter > 0"
    )


def evidence(kernel: Kernel, data: Observations, theta: Tensor, scatter: float) -> Solved:
    """The solved system at log hyperparameters theta and a scatter."""
    with torch.no_grad():
        return solve(data.covariance(kernel.covariance(data.X, None, theta), scatter**2), data)


def evidence_and_gradient(
    kernel: Kernel, data: Observations, theta: Array, log_scatter: float
) -> tuple[float, Array]:
    """log Z and its gradient by the log hyperparameters and the log scatter, (k + 1,).

    Raises
    ------
    InputError
        K is not positive definite.
    """
    variance = math.exp(2 * log_scatter)
    point = torch.tensor(theta, dtype=torch.float64, device=data.X.device, requires_grad=True)
    with torch.enable_grad():
        kernel_matrix = kernel.covariance(data.X, None, point)
    with torch.no_grad():
        solved = solve(data.covariance(kernel_matrix, variance), data)
        # d log Z / dK in the place of P: no third matrix of this size.
        G = solved.inverse().mul_(-0.5)
        G.addr_(solved.weights, solved.weights, alpha=0.5)
        by_scatter = 2 * variance * float(G.trace())
    if len(theta) == 0:
        return solved.log_evidence, np.array([by_scatter])
    kernel_matrix.backward(G)
    assert point.grad is not None
    return solved.log_evidence, np.append(point.grad.cpu().numpy(), by_scatter)
