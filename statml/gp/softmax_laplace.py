r"""Laplace's method for a latent Gaussian process of each of k classes, jointly.

    P(c | f) = exp(f_c) / sum_d exp(f_d),   f_c ~ N(0, K), independent a priori,

at n training points. The curvature W = diag(p) - P P^T couples the classes of a point (P stacks the
diagonal matrices of the k columns of p), but only through n numbers: with
E_c = D_c^(1/2) (1 + D_c^(1/2) K D_c^(1/2))^-1 D_c^(1/2), D_c = diag(p_c), and M = sum_c E_c,

    (K + W^-1)^-1 = E - E R M^-1 R^T E,   R = k unit matrices stacked,

so the joint posterior of k n values costs k + 1 Cholesky factors of size n. The classes share one
kernel. Two of them are the binary model of twice the variance, f = f_2 - f_1.

Source: Rasmussen & Williams (2006), algorithms 3.3 and 3.4; the derivative of the evidence by K (not
in the book) follows from their equations 3.44 and 5.22-5.23.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from statml.gp.laplace import MAX_STEPS, STEP_TOLERANCE
from statml.gp.latent import Placed, balanced_factor, site_inverse


@dataclass(frozen=True)
class SoftmaxPosterior(Placed):
    """What is known of the k latent functions at n training points.

    Attributes
    ----------
    weights : Tensor (k, n)
        a_c; the mean of f_c is K a_c.
    sites : Tensor (k, n, n)
        E_c.
    coupling : Tensor (n, n)
        Lower Cholesky factor of M.
    log_evidence : float
    by_covariance : Tensor (n, n)
        G with d log_evidence = sum_ij G_ij dK_ij.
    steps : int
    converged : bool
    """

    weights: Tensor
    sites: Tensor
    coupling: Tensor
    log_evidence: float
    by_covariance: Tensor
    steps: int
    converged: bool

    def moments(self, cross: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (m, k) and covariance (m, k, k) of the k functions at m new points.

        Parameters
        ----------
        cross : Tensor (n, m)
            Covariance of the training points with the new ones.
        variance : Tensor (m,)
            Prior variance of the new ones.
        """
        explained = self.sites @ cross
        joint = torch.linalg.solve_triangular(self.coupling, explained, upper=False)
        covariance = torch.einsum("cnm,dnm->mcd", joint, joint)
        own = variance - (explained * cross).sum(dim=1)
        covariance.diagonal(dim1=1, dim2=2).add_(own.T)
        return cross.T @ self.weights.T, covariance


def softmax_laplace(
    covariance: Tensor, indicator: Tensor, *, start: Tensor | None = None
) -> SoftmaxPosterior:
    """The normal approximation at the joint mode.

    Parameters
    ----------
    covariance : Tensor (n, n)
        K, the prior covariance of every f_c.
    indicator : Tensor (k, n)
        1 where the point is of the class, else 0.
    start : Tensor (k, n), optional
        Weights to begin with.

    Examples
    --------
    A star of unknown features is of each of three classes with equal probability.

    >>> K = torch.ones(1, 1, dtype=torch.float64)
    >>> one = softmax_laplace(K, torch.tensor([[1.0], [0.0], [0.0]]).double())
    >>> print(f"log evidence {one.log_evidence:.3f} (exact {-1.0986:.3f})")
    log evidence -1.121 (exact -1.099)
    """
    K, t = covariance, indicator
    a = f = torch.zeros_like(t)
    value = _objective(t, a, f)
    if start is not None and _objective(t, start, start @ K) > value:
        a, f = start, start @ K
        value = _objective(t, a, f)
    converged, steps = False, 0
    while not converged and steps < MAX_STEPS:
        steps += 1
        target = _newton_weights(K, t, f)
        a, new_f, value = _ascend(K, t, (a, f, value), target)
        moved = float(torch.max(torch.abs(new_f - f)))
        f = new_f
        converged = moved <= STEP_TOLERANCE * (1 + float(torch.max(torch.abs(f))))
    return _at_mode(K, t, a, f, steps, converged)


def _objective(t: Tensor, a: Tensor, f: Tensor) -> float:
    return float((t * f).sum() - torch.logsumexp(f, dim=0).sum() - 0.5 * (a * f).sum())


def _curvature(K: Tensor, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """E (k, n, n), the Cholesky factor of M (n, n), and the sum of log determinants of the k factors."""
    sites, logdet = [], torch.zeros((), dtype=K.dtype, device=K.device)
    for share in p:
        root = torch.sqrt(share)
        L = balanced_factor(K, root)
        sites.append(site_inverse(L, root))
        logdet = logdet + torch.log(L.diagonal()).sum()
    E = torch.stack(sites)
    return E, torch.linalg.cholesky(E.sum(dim=0)), logdet


def _coupled(E: Tensor, M: Tensor, values: Tensor) -> Tensor:
    """(K + W^-1)^-1 times `values` (k, n)."""
    own = torch.einsum("cij,cj->ci", E, values)
    shared = torch.cholesky_solve(own.sum(dim=0)[:, None], M)[:, 0]
    return own - torch.einsum("cij,j->ci", E, shared)


def _newton_weights(K: Tensor, t: Tensor, f: Tensor) -> Tensor:
    """Weights of the full Newton step from f, (k, n)."""
    p = torch.softmax(f, dim=0)
    E, M, _ = _curvature(K, p)
    b = p * f - p * (p * f).sum(dim=0) + t - p
    return b - _coupled(E, M, b @ K)


def _ascend(
    K: Tensor, t: Tensor, now: tuple[Tensor, Tensor, float], target: Tensor
) -> tuple[Tensor, Tensor, float]:
    """Go towards `target`, half as far until the log posterior does not fall (beyond rounding)."""
    a, f, value = now
    move = target - a
    change = move @ K
    share = 1.0
    while share > 1e-10:
        new_a, new_f = a + share * move, f + share * change
        new = _objective(t, new_a, new_f)
        if new >= value - 1e-13 * (1 + abs(value)):
            return new_a, new_f, new
        share /= 2
    return now


def _at_mode(K: Tensor, t: Tensor, a: Tensor, f: Tensor, steps: int, converged: bool) -> SoftmaxPosterior:
    p = torch.softmax(f, dim=0)
    E, M, logdet = _curvature(K, p)
    # |1 + K W| = prod_c |B_c| |M|, as R^T diag(p) R is the unit matrix.
    evidence = _objective(t, a, f) - float(logdet + torch.log(M.diagonal()).sum())
    joint = torch.linalg.solve_triangular(M, E, upper=False)
    # The diagonal blocks of (K + W^-1)^-1, and a_c a_c^T: the explicit part, for a K shared by all classes.
    G = 0.5 * (a.T @ a - (E.sum(dim=0) - torch.einsum("cji,cjl->il", joint, joint)))
    s = _evidence_by_latent(K, p, E, joint)
    u = s - _coupled(E, M, s @ K)
    implicit = 0.5 * u.T @ a
    return SoftmaxPosterior(a, E, M, evidence, G + implicit + implicit.T, steps, converged)


def _evidence_by_latent(K: Tensor, p: Tensor, E: Tensor, joint: Tensor) -> Tensor:
    """-1/2 d log |1 + K W| / df, shape (k, n), from the posterior covariance of the classes at each point."""
    half = joint @ K
    cov = torch.einsum("cji,dji->icd", half, half)
    own = K.diagonal() - torch.stack([(K * (site @ K)).sum(dim=0) for site in E])
    cov.diagonal(dim1=1, dim2=2).add_(own.T)
    # W = diag(p) - p p^T of each point, dp_a / df_c = p_a (1[a = c] - p_c).
    variance = cov.diagonal(dim1=1, dim2=2).T
    shared = torch.einsum("icd,di->ci", cov, p)
    by_p = variance - 2 * shared
    return -0.5 * p * (by_p - (p * by_p).sum(dim=0))
