"""The answer of every method: one distribution for each predicted value.

`PredictiveDistribution` is the interface; `statml.uncertainty.parametric` has the
Gaussian and Student-t families, `mixtures` the Gaussian mixtures, `empirical`
the ones made of draws or of classes. All are plain NumPy and pickle.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from statml.errors import InputError
from statml.uncertainty.covariance import Covariance

Array = np.ndarray
COMPONENTS = ("parameter", "input", "noise", "model")


class PredictiveDistribution(ABC):
    """n predictions, each a distribution.

    Attributes
    ----------
    variance_components : dict of arrays (n,)
        How `std` squared comes about: ``parameter`` (the fit is not certain),
        ``input`` (errors of X), ``noise`` (errors of y, or the noise fitted
        where none were given), ``model`` (intrinsic scatter). They sum to
        ``std**2``; empty where the method does not split its variance.
    cov : Covariance or None
        Joint covariance of the n predictions, where the method has one.
    """

    variance_components: dict[str, Array]
    cov: Covariance | None = None

    # -- what a family provides ------------------------------------------------------

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, key: Any) -> PredictiveDistribution: ...

    @property
    @abstractmethod
    def mean(self) -> Array:
        """Means, shape (n,)."""

    @property
    @abstractmethod
    def std(self) -> Array:
        """Standard deviations, shape (n,)."""

    @abstractmethod
    def cdf(self, y: Any) -> Array:
        """P(Y <= y) for each prediction, shape (n,); `y` is a number or (n,)."""

    @abstractmethod
    def ppf(self, probability: Any) -> Array:
        """Quantiles, shape (n,), the inverse of `cdf`; `probability` is a number or (n,)."""

    @abstractmethod
    def log_prob(self, y: Any) -> Array:
        """Log density of each y under its own prediction, shape (n,)."""

    @abstractmethod
    def crps(self, y: Any) -> Array:
        """Continuous ranked probability score of each y, in the units of y; smaller is better."""

    @abstractmethod
    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        """Draws, shape (size, n); joint over the n predictions when `cov` is not None."""

    @classmethod
    @abstractmethod
    def _join(cls, parts: Sequence[Any]) -> PredictiveDistribution: ...

    # -- what follows from it ----------------------------------------------------------

    def interval(self, level: float = 0.68) -> tuple[Array, Array]:
        """Central interval that holds probability `level`: (lower, upper), each (n,).

        Raises
        ------
        InputError
            `level` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise InputError(f"level is {level!r}; accepted is a probability between 0 and 1")
        return self.ppf((1 - level) / 2), self.ppf((1 + level) / 2)

    def joint_log_prob(self, y: Any) -> float:
        """Log density of all y together.

        Raises
        ------
        InputError
            Only the densities of the single predictions are known.
        """
        raise InputError(
            f"joint_log_prob needs the density of all values together, and this {type(self).__name__} has "
            "those of the single predictions only; accepted are Gaussian and StudentT with a covariance"
        )

    @staticmethod
    def concatenate(parts: Sequence[PredictiveDistribution]) -> PredictiveDistribution:
        """Put predictions of one family one after the other; a joint covariance is not kept.

        Raises
        ------
        InputError
            There are none, or they are of different families.
        """
        families = {type(part) for part in parts}
        if len(families) != 1:
            names = sorted(family.__name__ for family in families)
            raise InputError(f"parts are of {names or 'no family'}; accepted are predictions of one family")
        return families.pop()._join(parts)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} predictions>"


def as_components(components: Mapping[str, Any] | None, n: int) -> dict[str, Array]:
    """All four components as arrays (n,), missing ones zero; an empty dict stays empty.

    Raises
    ------
    InputError
        A component has another name.
    """
    if not components:
        return {}
    unknown = sorted(set(components) - set(COMPONENTS))
    if unknown:
        raise InputError(
            f"variance_components has the entry {unknown[0]!r}; accepted are {', '.join(COMPONENTS)}"
        )
    return {name: np.broadcast_to(np.asarray(components.get(name, 0.0), float), (n,)) for name in COMPONENTS}


def join_components(parts: Sequence[PredictiveDistribution]) -> dict[str, Array]:
    """Concatenate variance components; empty when any part has none."""
    if not all(part.variance_components for part in parts):
        return {}
    return {name: np.concatenate([part.variance_components[name] for part in parts]) for name in COMPONENTS}


def pick_components(components: Mapping[str, Array], key: Any) -> dict[str, Array]:
    """The components of the selected rows."""
    return {name: values[key] for name, values in components.items()}


def rows(key: Any, n: int) -> Any:
    """A selection out of n that keeps one prediction an array of one.

    Raises
    ------
    IndexError
        There is no such row; without it a loop over the predictions would never end.
    """
    if not isinstance(key, int | np.integer):
        return key
    if not -n <= key < n:
        raise IndexError(f"row {key} of {n} predictions does not exist")
    return slice(key, key + 1 or None)


def spread(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    """A standard deviation or scale as an array of the given shape.

    Raises
    ------
    InputError
        It is NaN or negative.
    """
    array = np.broadcast_to(np.asarray(value, float), shape)
    if np.any(np.isnan(array)) or np.any(array < 0):
        raise InputError(f"{name} contains NaN or negative values; accepted are values >= 0")
    return array


def standardised(y: Any, center: Array, scale: Array) -> Array:
    """(y - center) / scale, where a scale of zero is a point: 0 at the point, else infinite."""
    gap = np.asarray(y, float) - center
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((gap == 0) & (scale == 0), 0.0, gap / scale)


def times_quantile(scale: Array, quantile: Any) -> Array:
    """scale * quantile, where the median of an infinitely wide distribution is its centre."""
    quantile = np.asarray(quantile, float)
    with np.errstate(invalid="ignore"):
        return np.where(quantile == 0, 0.0, scale * quantile)


def log_density(standard: Array, scale: Array) -> Array:
    """Log density from that of the standardised value; infinite at a point, -inf beside it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(standard == -np.inf, -np.inf, standard - np.log(scale))
