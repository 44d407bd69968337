"""The hyperparameters, scatter and loadings of greatest evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from statml.compute import generator
from statml.gp.kernels import Kernel
from statml.gp.optimise import maximise
from statml.gp.state_space.block_filter import log_likelihood_gradient
from statml.gp.state_space.evidence import Data, log_evidence

Array = np.ndarray
Tensor = torch.Tensor

# Search range of the scatter and of loadings, in standard deviations of y and in units of the first.
SCATTER_RANGE = (1e-5, 1e1)
LOADING_RANGE = (-1e3, 1e3)
# Where the search for the scatter begins.
FIRST_SCATTER = 0.1


@dataclass(frozen=True)
class Model:
    """A kernel, a scatter and the loadings of bands, where there are any; as tensors for the filter."""

    kernel: Kernel
    scatter: float
    loadings: Array | None

    @property
    def theta(self) -> Tensor:
        """Log hyperparameters, (k,)."""
        return torch.tensor(self.kernel.theta)

    @property
    def factor(self) -> Tensor | None:
        """L, (b, r)."""
        return None if self.loadings is None else torch.tensor(self.loadings)


@dataclass(frozen=True)
class Search:
    """What there is to find.

    Attributes
    ----------
    kernel : Kernel
        With the hyperparameters to start from.
    scatter : float or None
        None is free.
    loadings : array (b, r) or None
        Of several bands: free on and below the diagonal, but for the first.
    spread : float
        Standard deviation of y.
    """

    kernel: Kernel
    scatter: float | None
    loadings: Array | None
    spread: float

    def start(self) -> Array:
        """Logs of hyperparameters and of the scatter, and the free loadings."""
        scatter = [] if self.scatter is not None else [np.log(FIRST_SCATTER * self.spread)]
        loadings = [] if self.loadings is None else self.loadings[self._free()]
        return np.concatenate([self.kernel.theta, scatter, loadings])

    def bounds(self) -> Array:
        """Lower and upper bounds of `start`."""
        scatter = [] if self.scatter is not None else [np.log(self.spread * np.array(SCATTER_RANGE))]
        loadings = [] if self.loadings is None else [LOADING_RANGE] * int(self._free().sum())
        return np.concatenate([self.kernel.bounds, np.reshape([*scatter, *loadings], (-1, 2))])

    def parts(self, point: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Log hyperparameters, variance of the scatter, and loadings."""
        k = len(self.kernel.theta)
        if self.scatter is None:
            variance, rest = torch.exp(2 * point[k]), point[k + 1 :]
        else:
            variance, rest = point.new_tensor(self.scatter**2), point[k:]
        if self.loadings is None:
            return point[:k], variance, None
        free = torch.from_numpy(self._free()).to(point.device)
        return point[:k], variance, point.new_tensor(self.loadings).masked_scatter(free, rest)

    def value_and_gradient(self, values: Array, data: Data, scan: bool) -> tuple[float, Array]:
        """Log evidence of a point and its gradient."""
        if not scan and self.loadings is None and data.is_plain:
            found = self._by_numbers(values, data)
            if found is not None:
                return found
        point = torch.tensor(values, device=data.y.device, requires_grad=True)
        theta, scatter, factor = self.parts(point)
        value = log_evidence(self.kernel, theta, data, scatter, factor, scan=scan)
        if not value.requires_grad:  # nothing is free
            return value.item(), np.zeros(len(values))
        return value.item(), torch.autograd.grad(value, point)[0].cpu().numpy()

    def _by_numbers(self, values: Array, data: Data) -> tuple[float, Array] | None:
        """The same without tensors, for the kernels that allow it."""
        k = len(self.kernel.theta)
        extra = np.exp(2 * values[k]) if self.scatter is None else self.scatter**2
        t, y, noise = data.sampling.t.numpy(), data.y.numpy(), data.noise.numpy() + extra
        found = log_likelihood_gradient(self.kernel, values[:k], t, y, noise)
        if found is None:
            return None
        value, by_theta, by_extra = found
        return value, by_theta if self.scatter is not None else np.append(by_theta, 2 * extra * by_extra)

    def run(self, data: Data, *, optimise: bool, restarts: int, rng: Any, scan: bool) -> tuple[Model, Array]:
        """Maximise the evidence, or only compute it; the model, and the log evidences reached from every start.

        Raises
        ------
        InputError
            It is not finite from any start.
        """

        def evaluate(values: Array) -> tuple[float, Array]:
            return self.value_and_gradient(values, data, scan)

        point = self.start()
        if optimise:
            best = maximise(evaluate, point, self.bounds(), restarts=restarts, rng=generator(rng))
            point, values = best.point, best.values
        else:
            values = np.array([evaluate(point)[0]])
        with torch.no_grad():
            theta, variance, factor = self.parts(torch.tensor(point))
        model = Model(
            self.kernel.with_theta(theta.numpy()),
            float(torch.sqrt(variance)),
            None if factor is None else factor.numpy(),
        )
        return model, values

    def _free(self) -> Array:
        assert self.loadings is not None
        free = np.tri(*self.loadings.shape) > 0
        free[0, 0] = False
        return free
