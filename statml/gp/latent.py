r"""The normal that stands for the posterior of a latent function at the training points.

Laplace's method and expectation propagation both end with

    q(f) = N(K a, (K^-1 + W)^-1),   W = diag(w) >= 0,

and from there on are one: with B = 1 + W^(1/2) K W^(1/2) = L L^T, whose eigenvalues lie between 1 and
1 + n max(K w), nothing is ever divided by a small number, and a new point has

    E f* = k*^T a,   Var f* = k** - |L^-1 W^(1/2) k*|^2.

Source: Rasmussen & Williams (2006), equations 3.24, 3.29 and 3.60-3.61.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Placed:
    """A value made of tensors that moves between devices."""

    def to(self, device: str) -> Self:
        """The same on a device."""
        return replace(
            self, **{field.name: _moved(getattr(self, field.name), device) for field in fields(self)}
        )


def _moved(value: Any, device: str) -> Any:
    return value.to(device) if isinstance(value, Tensor | Placed) else value


@dataclass(frozen=True)
class LatentPosterior(Placed):
    """What is known of f at n training points.

    Attributes
    ----------
    weights : Tensor (n,)
        a; the mean of f is K a.
    root : Tensor (n,)
        Square roots of w.
    factor : Tensor (n, n)
        Lower triangle L.
    log_evidence : float
        Approximate log p(t | X).
    by_covariance : Tensor (n, n)
        G with d log_evidence = sum_ij G_ij dK_ij for any symmetric change of K.
    steps : int
        Newton steps, or sweeps over the sites.
    converged : bool
    """

    weights: Tensor
    root: Tensor
    factor: Tensor
    log_evidence: float
    by_covariance: Tensor
    steps: int
    converged: bool

    def moments(self, cross: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of f at m new points.

        Parameters
        ----------
        cross : Tensor (n, m)
            Covariance of the training points with the new ones.
        variance : Tensor (m,)
            Prior variance of the new ones.

        Returns
        -------
        mean, variance : Tensor (m,)
        """
        explained = self._explained(cross)
        return cross.T @ self.weights, torch.clamp(variance - (explained**2).sum(dim=0), min=0.0)

    def covariance(self, cross: Tensor, prior: Tensor) -> Tensor:
        """Joint covariance (m, m) of f at new points of prior covariance `prior`."""
        explained = self._explained(cross)
        return prior - explained.T @ explained

    def _explained(self, cross: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self.factor, self.root[:, None] * cross, upper=False)


def balanced_factor(covariance: Tensor, root: Tensor) -> Tensor:
    """Lower triangle L of 1 + W^(1/2) K W^(1/2), shape (n, n)."""
    B = root[:, None] * covariance * root
    B.diagonal().add_(1.0)
    return torch.linalg.cholesky(B)


def site_inverse(factor: Tensor, root: Tensor) -> Tensor:
    """(K + W^-1)^-1 = W^(1/2) B^-1 W^(1/2), shape (n, n); finite where w is 0."""
    half = torch.linalg.solve_triangular(factor, torch.diag(root), upper=False)
    return half.T @ half
