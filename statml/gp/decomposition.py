r"""The terms of a sum of kernels, each with its posterior.

For f = f_1 + f_2 + ... with kernels k_1 + k_2 + ..., the data know the sum; of the terms they know

    E f_j(x) = k_j(x, X) a,    cov(f_j(x), f_l(z)) = [j = l] k_j(x, z) - k_j(x, X) P k_l(X, z),

so two terms are negatively correlated where the data cannot tell them apart (Duvenaud
2014, PhD thesis, section 2.4.5). The mean function is one more term.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from statml.gp.kernels.base import Kernel, Tensor
from statml.gp.kernels.composed import Sum
from statml.gp.posterior import Conditioned, Posterior
from statml.gp.semidefinite import SemidefiniteCovariance
from statml.uncertainty.parametric import Gaussian

Array = np.ndarray


@dataclass(frozen=True)
class Decomposition:
    """Posteriors of the terms of a process at m points.

    Attributes
    ----------
    names : tuple of str
        The kernels of the terms as they print; "mean" for the mean function, the last.
    terms : tuple of Gaussian
        One distribution of the true values of each term, with its joint covariance.
    cov : SemidefiniteCovariance
        Of all terms together, of size (number of terms) m, the terms one after the other.
    """

    names: tuple[str, ...]
    terms: tuple[Gaussian, ...]
    cov: SemidefiniteCovariance

    def __len__(self) -> int:
        return len(self.terms)

    def __getitem__(self, place: int) -> Gaussian:
        return self.terms[place]

    def __iter__(self) -> Iterator[Gaussian]:
        return iter(self.terms)


def decompose(posterior: Posterior, X: Array, independent_part: str) -> Decomposition:
    """Posterior of every term of the kernel, and of the mean function if there is one.

    Parameters
    ----------
    X : array (m, d)
    independent_part : {"model", "noise"}
        The component of the variance that `White` scatter belongs to.
    """
    with torch.no_grad():
        points = posterior.tensor(X)
        kernels = _terms(posterior)
        conditioned = [_condition(posterior, points, kernel, theta) for kernel, theta in kernels]
        own = [_independent(kernel, points, theta) for kernel, theta in kernels]
        prior = [_prior_variance(kernel, points, theta) for kernel, theta in kernels]
    terms = tuple(
        _gaussian(posterior, points, kernel, theta, found, variance, independent, independent_part)
        for (kernel, theta), found, variance, independent in zip(kernels, conditioned, prior, own)
    )
    names = tuple("mean" if kernel is None else repr(kernel) for kernel, _ in kernels)

    def joint() -> Array:
        with torch.no_grad():
            v = torch.cat([found.v for found in conditioned], dim=1)
            u = torch.cat([found.u for found in conditioned], dim=1)
            blocks = [_prior(kernel, points, theta) for kernel, theta in kernels]
            return (torch.block_diag(*blocks) + u.T @ u - v.T @ v).cpu().numpy()

    return Decomposition(
        names, terms, SemidefiniteCovariance(np.concatenate([t.std**2 for t in terms]), joint)
    )


def _terms(posterior: Posterior) -> list[tuple[Kernel | None, Tensor]]:
    """Each term of the kernel with its hyperparameters; None stands for the mean function."""
    kernel, theta = posterior.kernel, posterior.theta
    found: list[tuple[Kernel | None, Tensor]] = []
    found += kernel.split(theta) if isinstance(kernel, Sum) else [(kernel, theta)]
    return [*found, (None, theta)] if posterior.mean.size else found


def _condition(posterior: Posterior, points: Tensor, kernel: Kernel | None, theta: Tensor) -> Conditioned:
    design = posterior.mean.design(points)
    training = posterior.tensor(posterior.X)
    if kernel is None:
        return posterior.condition(
            torch.zeros(len(points), len(training), dtype=points.dtype, device=points.device), design
        )
    return posterior.condition(kernel.covariance(points, training, theta), torch.zeros_like(design))


def _prior(kernel: Kernel | None, points: Tensor, theta: Tensor) -> Tensor:
    """Prior covariance of a term without what no two points share; the mean's is in u."""
    if kernel is None:
        return torch.zeros(len(points), len(points), dtype=points.dtype, device=points.device)
    return kernel.covariance(points, points, theta)


def _prior_variance(kernel: Kernel | None, points: Tensor, theta: Tensor) -> Tensor:
    if kernel is None:
        return torch.zeros(len(points), dtype=points.dtype, device=points.device)
    return kernel.variance(points, theta) - kernel.independent_variance(points, theta)


def _independent(kernel: Kernel | None, points: Tensor, theta: Tensor) -> Array:
    return (
        np.zeros(len(points)) if kernel is None else kernel.independent_variance(points, theta).cpu().numpy()
    )


def _gaussian(
    posterior: Posterior,
    points: Tensor,
    kernel: Kernel | None,
    theta: Tensor,
    found: Conditioned,
    prior: Tensor,
    independent: Array,
    independent_part: str,
) -> Gaussian:
    parameter = (prior + found.variance_shift()).clamp(min=0).cpu().numpy()
    variance = parameter + independent

    def joint() -> Array:
        with torch.no_grad():
            return (_prior(kernel, points, theta) + found.shift(found)).cpu().numpy()

    return Gaussian(
        found.mean.cpu().numpy(),
        np.sqrt(variance),
        variance_components={"parameter": parameter, independent_part: independent},
        cov=SemidefiniteCovariance(variance, joint),
    )
