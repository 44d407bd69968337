r"""Expectation propagation for a latent Gaussian process and two classes.

Each factor g(s_i f_i) of the posterior is replaced by a site, a scaled normal in f_i of precision
tau_i and tau_i times mean nu_i. A site is right where the normal posterior *without* it (the cavity,
N(m, v)), times the true factor, has the mean and variance of the posterior with it. With
Z(m, v) = E g the matched moments are

    mean m + v Z1,   variance v + v^2 Z2,   Z1, Z2 = d log Z / dm, d^2 log Z / dm^2,

so that a new site has tau = -Z2 / (1 + v Z2) and nu = (Z1 - m Z2) / (1 + v Z2), which divides by
nothing small. All sites are renewed at once (one Cholesky factor for a sweep), a part of the way where
they overshoot; the fixed points are those of one site after the other.

Source: Rasmussen & Williams (2006), algorithms 3.5, 3.6 and 5.2, equation 3.65; parallel sweeps:
van Gerven et al. (2009), arXiv:0904.0785 and Cseke & Heskes (2011), JMLR 12, 417.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from statml.gp.latent import LatentPosterior, Placed, balanced_factor, site_inverse
from statml.gp.links import Link

MAX_SWEEPS = 300
SITE_TOLERANCE = 1e-9
LEAST_DAMPING = 0.05


@dataclass(frozen=True)
class Sites(Placed):
    """Precisions tau and tau times means nu of n sites, each (n,)."""

    tau: Tensor
    nu: Tensor


@dataclass(frozen=True)
class SitePosterior(LatentPosterior):
    """The posterior of expectation propagation, with its sites."""

    sites: Sites


def expectation_propagation(
    covariance: Tensor, sign: Tensor, link: Link, *, start: Sites | None = None
) -> SitePosterior:
    """The normal whose moments agree with those of every single factor.

    Parameters
    ----------
    covariance : Tensor (n, n)
        K, the prior covariance of f.
    sign : Tensor (n,)
        +1 for the second class, -1 for the first.
    link : Link
    start : Sites, optional
        To begin with, for example those of a similar K.

    Returns
    -------
    SitePosterior

    Examples
    --------
    One point is exact, whatever the link.

    >>> from statml.gp.links import Probit
    >>> one = expectation_propagation(torch.ones(1, 1, dtype=torch.float64), torch.ones(1).double(), Probit())
    >>> print(f"mean {one.weights[0]:.4f}, log evidence {one.log_evidence:.4f} (exact {-0.693147:.4f})")
    mean 0.5642, log evidence -0.6931 (exact -0.6931)
    """
    K = covariance
    sites = Sites(torch.zeros_like(sign), torch.zeros_like(sign)) if start is None else start
    damping, previous = 1.0, torch.zeros(2 * len(sign), dtype=K.dtype, device=K.device)
    converged, sweeps = False, 0
    while not converged and sweeps < MAX_SWEEPS:
        sweeps += 1
        mean, variance = _marginals(K, sites)[:2]
        new = _renewed(sign, link, sites, mean, variance)
        change = _change(new, sites, variance)
        # Shorter steps where the sites swing back and forth, longer ones again where they do not.
        damping = max(0.7 * damping, LEAST_DAMPING) if change @ previous < 0 else min(1.1 * damping, 1.0)
        previous, converged = change, float(change.abs().max()) <= SITE_TOLERANCE
        sites = Sites(sites.tau + damping * (new.tau - sites.tau), sites.nu + damping * (new.nu - sites.nu))
    return _posterior(K, sign, link, sites, sweeps, converged)


def _marginals(K: Tensor, sites: Sites) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, variance and weights of the posterior with these sites, each (n,), and the factor L."""
    root = torch.sqrt(sites.tau)
    L = balanced_factor(K, root)
    explained = torch.linalg.solve_triangular(L, root[:, None] * K, upper=False)
    variance = K.diagonal() - (explained**2).sum(dim=0)
    weights = sites.nu - root * torch.cholesky_solve((root * (K @ sites.nu))[:, None], L)[:, 0]
    return K @ weights, variance, weights, L


def _cavity(sites: Sites, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each f_i without its own site."""
    # 1 - tau v is 1 / (1 + tau v_cavity), between 0 and 1; rounding must not take it out.
    left = torch.clamp(1 - sites.tau * variance, min=1e-14)
    return (mean - variance * sites.nu) / left, variance / left


def _renewed(sign: Tensor, link: Link, sites: Sites, mean: Tensor, variance: Tensor) -> Sites:
    m, v = _cavity(sites, mean, variance)
    z = link.log_partition(sign, m, v)
    share = torch.clamp(1 + v * z.second, min=1e-14)
    return Sites(torch.clamp(-z.second / share, min=0.0), (z.first - m * z.second) / share)


def _change(new: Sites, old: Sites, variance: Tensor) -> Tensor:
    """How the sites change, in standard deviations of their f, (2 n,)."""
    return torch.cat([(new.tau - old.tau) * variance, (new.nu - old.nu) * torch.sqrt(variance)])


def _posterior(
    K: Tensor, sign: Tensor, link: Link, sites: Sites, sweeps: int, converged: bool
) -> SitePosterior:
    mean, variance, weights, L = _marginals(K, sites)
    m, v = _cavity(sites, mean, variance)
    log_z = link.log_partition(sign, m, v).value
    tau, nu = sites.tau, sites.nu
    # Equation 3.65, its terms in 1/tau joined so that none is left: with precision 1/v of the cavity.
    quadratic = nu @ mean - torch.sum((nu**2 * v + 2 * nu * m - tau * m**2) / (1 + tau * v))
    evidence = (
        log_z.sum() + 0.5 * torch.log1p(tau * v).sum() - torch.log(L.diagonal()).sum() + 0.5 * quadratic
    )
    root = torch.sqrt(tau)
    G = 0.5 * (torch.outer(weights, weights) - site_inverse(L, root))
    return SitePosterior(weights, root, L, float(evidence), G, sweeps, converged, sites)
