r"""A Gaussian process after the data.

With v = L^-1 k(X, x) and u = L_A^-1 (h(x) - H^T K^-1 k(X, x)), where K = L L^T and A = L_A L_A^T,

    mean(x)    = k(x, X) a + h(x)^T beta,
    cov(x, z)  = k(x, z) - v(x)^T v(z) + u(x)^T u(z),

the last term for the mean function not being certain (Rasmussen & Williams 2006,
equations 2.41-2.42). Any linear function of the process, its slope or one term of its
kernel, follows the same two lines with its own k and h: `Posterior.condition`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from statml.compute import resolve_device
from statml.gp.kernels.base import Kernel
from statml.gp.marginal_likelihood import Solved
from statml.gp.mean_function import MeanFunction

Array = np.ndarray
Tensor = torch.Tensor

# New points that are predicted together.
BLOCK_ROWS = 2048


@dataclass(frozen=True)
class Conditioned:
    """A linear function of the process at m points: mean (m,), and what lowers and raises its covariance.

    The covariance of two of them is their prior one, less v^T v, plus u^T u.
    """

    mean: Tensor
    v: Tensor
    u: Tensor

    def shift(self, other: Conditioned) -> Tensor:
        """What the data and the uncertain mean add to the prior covariance with `other`, (m, m')."""
        return self.u.T @ other.u - self.v.T @ other.v

    def variance_shift(self) -> Tensor:
        """The diagonal of ``shift(self)``, (m,)."""
        return self.u.square().sum(0) - self.v.square().sum(0)


@dataclass(frozen=True)
class Posterior:
    """The process given the data; NumPy arrays, so that it pickles and outlives its device.

    Attributes
    ----------
    kernel : Kernel
    mean : MeanFunction
    X : array (n, d)
        Training points.
    weights, factor, white_design, mean_factor, mean_weights : arrays
        See `statml.gp.marginal_likelihood.Solved`.
    place : str
        Where predictions are computed.
    """

    kernel: Kernel
    mean: MeanFunction
    X: Array
    weights: Array
    factor: Array
    white_design: Array
    mean_factor: Array
    mean_weights: Array
    place: str = field(default="cpu")

    @classmethod
    def of(cls, kernel: Kernel, mean: MeanFunction, X: Tensor, solved: Solved) -> Posterior:
        """From tensors on the device of X."""
        parts = {
            name: getattr(solved, name).cpu().numpy()
            for name in ("weights", "factor", "white_design", "mean_factor", "mean_weights")
        }
        return cls(kernel, mean, X.cpu().numpy(), place=str(X.device), **parts)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A pickle may come from a machine with a GPU to one without.
        self.__dict__.update(state, place=resolve_device("auto") if state["place"] != "cpu" else "cpu")

    def tensor(self, value: Any) -> Tensor:
        """A float64 tensor where predictions are computed."""
        # torch has no read-only tensors: memory that must not be written is copied first.
        return torch.from_numpy(np.require(value, np.float64, ["C", "W"])).to(self.place)

    @property
    def theta(self) -> Tensor:
        """Log hyperparameters."""
        return self.tensor(self.kernel.theta)

    def mean_params(self) -> tuple[Array, Array]:
        """Mean and covariance of the coefficients of the mean function, intercept first, (m,) and (m, m)."""
        to_plain = self.mean.to_plain
        root = np.linalg.solve(self.mean_factor, to_plain.T)
        return to_plain @ self.mean_weights, root.T @ root

    def condition(self, cross: Tensor, design: Tensor) -> Conditioned:
        """A linear function of the process with covariances `cross` (m, n) to the data and mean design (m, p)."""
        v = torch.linalg.solve_triangular(self.tensor(self.factor), cross.T, upper=False)
        rest = design.T - self.tensor(self.white_design).T @ v
        u = torch.linalg.solve_triangular(self.tensor(self.mean_factor), rest, upper=False)
        mean = cross @ self.tensor(self.weights) + design @ self.tensor(self.mean_weights)
        return Conditioned(mean, v, u)

    def at(self, X: Tensor) -> Conditioned:
        """The process at new points (m, d)."""
        cross = self.kernel.covariance(X, self.tensor(self.X), self.theta)
        return self.condition(cross, self.mean.design(X))

    def marginals(self, X: Array) -> tuple[Array, Array, Array]:
        """Mean, variance, and variance of what no two points share, (m,) each."""
        mean, variance, independent = np.zeros((3, len(X)))
        with torch.no_grad():
            for rows, block in self.blocks(X):
                found = self.at(block)
                own = self.kernel.independent_variance(block, self.theta)
                prior = self.kernel.variance(block, self.theta) - own
                mean[rows] = found.mean.cpu().numpy()
                # Rounding may leave a variance a hair below zero where the data say everything.
                variance[rows] = (prior + found.variance_shift()).clamp(min=0).cpu().numpy()
                independent[rows] = own.cpu().numpy()
        return mean, variance, independent

    def covariance(self, X: Array) -> Array:
        """Joint covariance of the process at new points without what they do not share, (m, m)."""
        with torch.no_grad():
            points = self.tensor(X)
            found = self.at(points)
            return (self.kernel.covariance(points, points, self.theta) + found.shift(found)).cpu().numpy()

    def slopes(self, X: Array) -> Array:
        """Gradient of the posterior mean at new points, (m, d)."""
        points = self.tensor(X).requires_grad_()
        with torch.enable_grad():
            cross = self.kernel.covariance(points, self.tensor(self.X), self.theta)
            total = (cross @ self.tensor(self.weights)).sum() + 0 * points.sum()
            mean = self.mean.design(points) @ self.tensor(self.mean_weights)
            (gradient,) = torch.autograd.grad(total + mean.sum(), points)
        return gradient.cpu().numpy()

    def blocks(self, X: Array) -> Iterator[tuple[slice, Tensor]]:
        """Rows of new points, a block at a time."""
        for start in range(0, len(X), BLOCK_ROWS):
            rows = slice(start, min(start + BLOCK_ROWS, len(X)))
            yield rows, self.tensor(X[rows])
