"""The hyperparameters of a regression: those of the kernel, and the scatter, by the evidence."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from statml.gp.kernels.base import Kernel
from statml.gp.marginal_likelihood import Observations, evidence_and_gradient
from statml.gp.optimise import maximise

Array = np.ndarray

# Search range of the scatter, in standard deviations of y.
SCATTER_RANGE = (1e-5, 1e1)
# Where the search for it begins.
FIRST_SCATTER = 0.3


@dataclass
class Search:
    """Finds hyperparameters for data, and begins the next search where the last one ended.

    Attributes
    ----------
    kernel : Kernel
        Where to start; after a search, what was found.
    scatter : float or None
        A fixed value; None is fitted.
    spread : float
        Standard deviation of y.
    optimise : bool
        False keeps the kernel as it is.
    restarts : int
        Further starts of the first search; later ones have none.
    rng : Generator
    values : array or None
        The evidence that the first search found from each start; None without a search.
    """

    kernel: Kernel
    scatter: float | None
    spread: float
    optimise: bool
    restarts: int
    rng: np.random.Generator
    values: Array | None = None
    _found: float = field(init=False)

    def __post_init__(self) -> None:
        self._found = FIRST_SCATTER * self.spread if self.scatter is None else self.scatter

    def __call__(self, data: Observations) -> tuple[Kernel, float]:
        """Kernel and scatter of largest evidence."""
        k, fitted = len(self.kernel.theta), self.scatter is None
        if not self.optimise or k + fitted == 0:
            return self.kernel, self._found
        start, bounds = self.kernel.theta, self.kernel.bounds
        if fitted:
            start = np.append(start, np.log(self._found))
            bounds = np.vstack([bounds, np.log(self.spread * np.array(SCATTER_RANGE))])
        with np.errstate(divide="ignore"):
            fixed = float(np.log(self._found))

        def value_and_gradient(point: Array) -> tuple[float, Array]:
            log_scatter = point[-1] if fitted else fixed
            value, gradient = evidence_and_gradient(self.kernel, data, point[:k], log_scatter)
            return value, gradient[: len(point)]

        restarts = self.restarts if self.values is None else 0
        best = maximise(value_and_gradient, start, bounds, restarts=restarts, rng=self.rng)
        self.kernel = self.kernel.with_theta(best.point[:k])
        self._found = float(np.exp(best.point[-1])) if fitted else self._found
        self.values = best.values if self.values is None else self.values
        return self.kernel, self._found
