"""What the search of a sparse Gaussian process varies, as one vector whose entries are of order one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from statml.gp.collapsed_bound import Hyperparameters
from statml.gp.kernels import Kernel
from statml.gp.marginal_likelihood import Observations

Array = np.ndarray

# Search range of the scatter and where the search begins, in standard deviations of y.
SCATTER_RANGE = (1e-5, 1e1)
FIRST_SCATTER = 0.3


class SearchSpace:
    """Log hyperparameters, the log scatter where it is fitted, and the inducing points where they move.

    Parameters
    ----------
    kernel : Kernel
        Where its hyperparameters start.
    data : Observations
    points : array (m, d)
        Where the inducing points start.
    scatter : float or "evidence"
        Fixed, or fitted.
    move : bool
        Whether the inducing points move.

    Attributes
    ----------
    start : Tensor (k,)
    limits : tuple of Tensor (k,)
        Lower and upper bounds.
    """

    def __init__(
        self, kernel: Kernel, data: Observations, points: Array, scatter: float | str, *, move: bool
    ) -> None:
        self.device = data.X.device
        self.k, self.fitted, self.move = len(kernel.theta), isinstance(scatter, str), move
        self.shape = points.shape
        y = data.y.cpu().numpy()
        spread = float(np.std(y)) or float(np.max(np.abs(y))) or 1.0
        width = data.X.cpu().numpy().std(axis=0)
        self.width = self.tensor(np.where(width > 0, width, 1.0))
        self.points = self.tensor(points)
        self.scatter_variance = self.tensor(0.0 if self.fitted else float(scatter) ** 2)
        start, low, high = [kernel.theta], [kernel.bounds[:, 0]], [kernel.bounds[:, 1]]
        if self.fitted:
            start.append(np.log([FIRST_SCATTER * spread]))
            low.append(np.log([SCATTER_RANGE[0] * spread]))
            high.append(np.log([SCATTER_RANGE[1] * spread]))
        if move:
            start.append((self.points / self.width).cpu().numpy().ravel())
            low.append(np.full(points.size, -np.inf))
            high.append(np.full(points.size, np.inf))
        self.limits = self.tensor(np.concatenate(low)), self.tensor(np.concatenate(high))
        self.start = torch.clamp(self.tensor(np.concatenate(start)), *self.limits)

    def tensor(self, values: Any) -> Tensor:
        """Float64 on the device of the data."""
        return torch.tensor(np.array(values, float), device=self.device)

    def unpack(self, variables: Tensor) -> Hyperparameters:
        """What a vector (k,) stands for."""
        end = self.k + int(self.fitted)
        scatter = torch.exp(2 * variables[self.k]) if self.fitted else self.scatter_variance
        points = variables[end:].reshape(self.shape) * self.width if self.move else self.points
        return Hyperparameters(variables[: self.k], scatter, points)
