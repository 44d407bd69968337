"""Draws that count differently: what rejection and importance sampling return."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import special

from statml.compute import generator
from statml.errors import InputError
from statml.sampling.evidence import LogEvidence
from statml.sampling.pareto import RELIABLE_K, smoothed_log_weights

Array = np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class WeightedDraws:
    """Independent draws with weights.

    Attributes
    ----------
    draws : array (n,) or (n, parameters)
    log_weights : array (n,)
        Not normalised; -inf for a draw that does not count.
    proposals : int
        Draws of the proposal that were spent; n, unless some were rejected.
    log_evidence : LogEvidence or None
        Log of the integral of the target, where the method knows it.

    Examples
    --------
    >>> import numpy as np
    >>> weighted = WeightedDraws(np.array([1.0, 2.0, 4.0]), np.log([1.0, 1.0, 2.0]), 3)
    >>> float(weighted.mean), round(weighted.ess, 3)
    (2.75, 2.667)
    """

    draws: Array
    log_weights: Array
    proposals: int
    log_evidence: LogEvidence | None = None

    def __post_init__(self) -> None:
        if self.draws.ndim not in (1, 2) or self.log_weights.shape != self.draws.shape[:1]:
            raise InputError(
                f"draws has shape {self.draws.shape} and log_weights {self.log_weights.shape}; accepted are (n,) "
                "or (n, parameters), and (n,)"
            )
        bad = np.isnan(self.log_weights) | (self.log_weights == np.inf)
        if bad.any() or not np.any(self.log_weights > -np.inf):
            raise InputError(
                "log_weights contains NaN or inf, or nothing but -inf; accepted are weights of which some are "
                "positive"
            )

    def __repr__(self) -> str:
        return f"WeightedDraws({len(self)} draws, worth {self.ess:.0f})"

    def __len__(self) -> int:
        return len(self.draws)

    @cached_property
    def weights(self) -> Array:
        """Weights that sum to 1, shape (n,)."""
        return special.softmax(self.log_weights)

    @property
    def acceptance(self) -> float:
        """Draws kept for each draw of the proposal."""
        return len(self) / self.proposals

    @property
    def ess(self) -> float:
        """Effective number of draws, 1 / sum of squared weights (Kish 1965)."""
        return float(1 / np.sum(self.weights**2))

    @cached_property
    def _smoothed(self) -> tuple[Array, float]:
        return smoothed_log_weights(self.log_weights)

    @property
    def pareto_k(self) -> float:
        """Shape of the tail of the weights; above 0.7 no estimate here is to be trusted."""
        return self._smoothed[1]

    @property
    def reliable(self) -> bool:
        """Pareto k is at most 0.7."""
        return self.pareto_k <= RELIABLE_K

    def smoothed(self) -> WeightedDraws:
        """The same draws with the tail of the weights smoothed."""
        return WeightedDraws(self.draws, self._smoothed[0], self.proposals, self.log_evidence)

    @property
    def mean(self) -> Any:
        """Weighted mean, a number or (parameters,)."""
        return self.weights @ self.draws

    @property
    def std(self) -> Any:
        """Weighted standard deviation, a number or (parameters,)."""
        return np.sqrt(self.weights @ (self.draws - self.mean) ** 2)

    @property
    def cov(self) -> Array:
        """Weighted covariance, (parameters, parameters)."""
        centred = np.atleast_2d((self.draws - self.mean).T).T
        return (centred * self.weights[:, None]).T @ centred

    def expectation(self, function: Callable[[Array], Any]) -> tuple[Any, Any]:
        """Mean of a function of the draws, (n, ...) to (n, ...), and its Monte Carlo standard error.

        Examples
        --------
        >>> import numpy as np
        >>> draws = np.random.default_rng(1).normal(size=4000)
        >>> value, error = WeightedDraws(draws, np.zeros(4000), 4000).expectation(np.square)
        >>> bool(abs(value - 1) < 3 * error)
        True
        """
        values = np.asarray(function(self.draws), float)
        weights = self.weights.reshape(-1, *[1] * (values.ndim - 1))
        mean = np.sum(weights * values, axis=0)
        return mean, np.sqrt(np.sum((weights * (values - mean)) ** 2, axis=0))

    def quantile(self, probability: Any) -> Array:
        """Weighted quantiles, of the shape of `probability` with a last axis of parameters if there is one."""
        probability = np.asarray(probability, float)
        if not np.all((probability >= 0) & (probability <= 1)):
            raise InputError(f"probability is {probability}; accepted are numbers between 0 and 1")
        columns = self.draws.reshape(len(self), -1).T
        found = [self._quantile(column, probability) for column in columns]
        return found[0] if self.draws.ndim == 1 else np.stack(found, axis=-1)

    def _quantile(self, column: Array, probability: Array) -> Array:
        order = np.argsort(column)
        order = order[self.weights[order] > 0]
        weights = self.weights[order]
        return np.interp(probability, np.cumsum(weights) - 0.5 * weights, column[order])

    def resample(self, size: int, *, rng: Any = None) -> Array:
        """Draws of equal weight, (size,) or (size, parameters), with repeats.

        Systematic: one random number places a comb over the cumulated weights, which adds
        less noise than drawing each on its own. The order is shuffled.
        """
        if not isinstance(size, int | np.integer) or size < 1:
            raise InputError(f"size is {size!r}; accepted is a whole number of at least 1")
        random = generator(rng)
        places = (np.arange(size) + random.random()) / size
        chosen = np.searchsorted(np.cumsum(self.weights), places)
        return self.draws[random.permutation(np.minimum(chosen, len(self) - 1))]
