r"""Laplace's method for a latent Gaussian process and two classes.

The log posterior of the latent f is concave,

    Psi(f) = sum_i log g(s_i f_i) - f^T K^-1 f / 2 + const,

Newton's method finds its mode, and the normal of the same mode and curvature stands for it:
W = -d2 log g / df2 at the mode. Its integral is the evidence

    log q(t | X) = sum_i log g(s_i f_i) - f^T a / 2 - log |B| / 2,   f = K a,

whose derivative by K has an explicit part and one that comes from the mode moving along.

Source: Rasmussen & Williams (2006), algorithms 3.1, 3.2 and 5.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from statml.gp.latent import LatentPosterior, balanced_factor, site_inverse
from statml.gp.links import Link

MAX_STEPS = 100
# Newton squares its error: a step this short leaves one of its square.
STEP_TOLERANCE = 1e-8


def laplace(covariance: Tensor, sign: Tensor, link: Link, *, start: Tensor | None = None) -> LatentPosterior:
    """The normal approximation at the mode.

    Parameters
    ----------
    covariance : Tensor (n, n)
        K, the prior covariance of f.
    sign : Tensor (n,)
        +1 for the second class, -1 for the first.
    link : Link
    start : Tensor (n,), optional
        Weights a to begin with, for example those of a similar K; 0 by default.

    Returns
    -------
    LatentPosterior

    Examples
    --------
    >>> from statml.gp.links import Logit
    >>> one = laplace(torch.ones(1, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64), Logit())
    >>> print(f"mode {one.weights[0]:.4f}, log evidence {one.log_evidence:.4f} (exact {-0.693147:.4f})")
    mode 0.4011, log evidence -0.7007 (exact -0.6931)
    """
    K = covariance
    a = f = torch.zeros_like(sign)
    value = float(link.derivatives(sign, f).value.sum())
    if start is not None:
        near = K @ start
        there = float(link.derivatives(sign, near).value.sum() - 0.5 * (start @ near))
        # Weights of a very different K may be a worse start than none.
        a, f, value = (start, near, there) if there > value else (a, f, value)
    converged, steps = False, 0
    while not converged and steps < MAX_STEPS:
        steps += 1
        target = _newton_weights(K, sign, link, f)
        a, new_f, value = _ascend(K, sign, link, (a, f, value), target)
        moved = float(torch.max(torch.abs(new_f - f)))
        f = new_f
        converged = moved <= STEP_TOLERANCE * (1 + float(torch.max(torch.abs(f))))
    return _at_mode(K, sign, link, a, f, steps, converged)


def _newton_weights(K: Tensor, sign: Tensor, link: Link, f: Tensor) -> Tensor:
    """Weights of the full Newton step from f."""
    at = link.derivatives(sign, f)
    w = -at.second
    root = torch.sqrt(w)
    L = balanced_factor(K, root)
    b = w * f + at.first
    return b - root * torch.cholesky_solve((root * (K @ b))[:, None], L)[:, 0]


def _ascend(
    K: Tensor, sign: Tensor, link: Link, now: tuple[Tensor, Tensor, float], target: Tensor
) -> tuple[Tensor, Tensor, float]:
    """Go towards `target`, half as far until Psi does not fall (beyond rounding): a, f, Psi."""
    a, f, value = now
    move, change = target - a, K @ (target - a)
    share = 1.0
    while share > 1e-10:
        new_a, new_f = a + share * move, f + share * change
        new = float(link.derivatives(sign, new_f).value.sum() - 0.5 * (new_a @ new_f))
        if new >= value - 1e-13 * (1 + abs(value)):
            return new_a, new_f, new
        share /= 2
    return now


def _at_mode(
    K: Tensor, sign: Tensor, link: Link, a: Tensor, f: Tensor, steps: int, converged: bool
) -> LatentPosterior:
    at = link.derivatives(sign, f)
    root = torch.sqrt(-at.second)
    L = balanced_factor(K, root)
    evidence = at.value.sum() - 0.5 * (a @ f) - torch.log(L.diagonal()).sum()
    R = site_inverse(L, root)
    # d log|B| / df_i by the third derivative and the posterior variance of f_i; then df by dK.
    explained = torch.linalg.solve_triangular(L, root[:, None] * K, upper=False)
    s = 0.5 * (K.diagonal() - (explained**2).sum(dim=0)) * at.third
    u = s - R @ (K @ s)
    implicit = 0.5 * (torch.outer(u, at.first) + torch.outer(at.first, u))
    G = 0.5 * (torch.outer(a, a) - R) + implicit
    return LatentPosterior(a, root, L, float(evidence), G, steps, converged)
