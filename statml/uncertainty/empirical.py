"""Predictions made of draws (`Samples`) or of class probabilities (`Categorical`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from statml.compute import generator
from statml.errors import InputError
from statml.uncertainty.covariance import Covariance
from statml.uncertainty.distributions import (
    PredictiveDistribution,
    as_components,
    join_components,
    pick_components,
    rows,
)

Array = np.ndarray


class Samples(PredictiveDistribution):
    """Predictions known through draws: posterior predictive samples, ensembles.

    Parameters
    ----------
    draws : array (size, n)
        One joint draw of all n predictions in each row.

    Notes
    -----
    `log_prob` smooths the draws with a Gaussian kernel of Silverman's width; the
    other methods use the draws as they are.
    """

    def __init__(self, draws: Any, *, variance_components: Mapping[str, Any] | None = None) -> None:
        draws = np.asarray(draws, float)
        if draws.ndim != 2 or len(draws) < 2:
            raise InputError(f"draws has shape {draws.shape}; accepted is (size, n) with size >= 2")
        if not np.all(np.isfinite(draws)):
            raise InputError("draws contains NaN or inf; accepted are finite values")
        self.draws = draws
        self.variance_components = as_components(variance_components, len(self))

    def __len__(self) -> int:
        return self.draws.shape[1]

    def __getitem__(self, key: Any) -> Samples:
        key = rows(key, len(self))
        return Samples(self.draws[:, key], variance_components=pick_components(self.variance_components, key))

    @property
    def mean(self) -> Array:
        return self.draws.mean(axis=0)

    @property
    def std(self) -> Array:
        return self.draws.std(axis=0)

    @property
    def cov(self) -> Covariance | None:  # type: ignore[override]
        """Sample covariance where there are more draws than predictions, else None."""
        size, n = self.draws.shape
        return (
            Covariance.dense(np.atleast_2d(np.cov(self.draws, rowvar=False, ddof=0)))
            if size > n + 1
            else None
        )

    def cdf(self, y: Any) -> Array:
        return np.mean(self.draws <= np.asarray(y, float), axis=0)

    def ppf(self, probability: Any) -> Array:
        ordered = np.sort(self.draws, axis=0)
        size, n = ordered.shape
        place = np.broadcast_to(np.asarray(probability, float), (n,)) * (size - 1)
        below = np.floor(place).astype(int)
        above = np.minimum(below + 1, size - 1)
        column = np.arange(n)
        return ordered[below, column] + (place - below) * (ordered[above, column] - ordered[below, column])

    def log_prob(self, y: Any) -> Array:
        size = len(self.draws)
        width = np.maximum(1.06 * self.std * size**-0.2, np.finfo(float).tiny)
        z = (np.asarray(y, float) - self.draws) / width
        return special.logsumexp(-0.5 * z**2, axis=0) - np.log(size * width * np.sqrt(2 * np.pi))

    def crps(self, y: Any) -> Array:
        ordered = np.sort(self.draws, axis=0)
        size = len(ordered)
        # E|X - X'| from order statistics, without forming the pairs.
        pair = 2 / size**2 * (2 * np.arange(1, size + 1) - size - 1) @ ordered
        return np.mean(np.abs(self.draws - np.asarray(y, float)), axis=0) - 0.5 * pair

    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        return self.draws[generator(rng).integers(len(self.draws), size=size)]

    @classmethod
    def _join(cls, parts: Sequence[Samples]) -> Samples:
        size = min(len(part.draws) for part in parts)
        draws = np.concatenate([part.draws[:size] for part in parts], axis=1)
        return cls(draws, variance_components=join_components(parts))


class Categorical:
    """n predictions of a class: probabilities, shape (n, k).

    Parameters
    ----------
    proba : array (n, k)
        Class probabilities, rows summing to 1.
    classes : array (k,)
        The labels of the columns.
    """

    def __init__(self, proba: Any, classes: Any) -> None:
        self.proba = np.asarray(proba, float)
        self.classes = np.asarray(classes)
        if self.proba.ndim != 2 or self.proba.shape[1] != len(self.classes):
            raise InputError(
                f"proba has shape {self.proba.shape}; accepted is one column for each of {len(self.classes)} classes"
            )
        if not np.all(self.proba >= 0) or not np.all(np.abs(self.proba.sum(axis=1) - 1) <= 1e-8):
            raise InputError("proba must be non-negative and sum to 1 in every row")

    def __len__(self) -> int:
        return len(self.proba)

    def __getitem__(self, key: Any) -> Categorical:
        return Categorical(self.proba[rows(key, len(self))], self.classes)

    @property
    def mode(self) -> Array:
        """The most probable class of each prediction, shape (n,)."""
        return self.classes[np.argmax(self.proba, axis=1)]

    @property
    def confidence(self) -> Array:
        """Probability of the most probable class, shape (n,)."""
        return self.proba.max(axis=1)

    @property
    def entropy(self) -> Array:
        """Entropy -sum p log p in nats, shape (n,): 0 where sure, log k where nothing is known."""
        return special.entr(self.proba).sum(axis=1)

    @property
    def variance(self) -> Array:
        """Variance p (1 - p) of being each class, shape (n, k)."""
        return self.proba * (1 - self.proba)

    def prediction_set(self, level: float = 0.68) -> Array:
        """The fewest classes that together have probability `level`: True where a class belongs, (n, k).

        Raises
        ------
        InputError
            `level` is not between 0 and 1.

        Examples
        --------
        >>> Categorical([[0.9, 0.07, 0.03], [0.5, 0.1, 0.4]], ["dwarf", "giant", "other"]).prediction_set(0.8)
        array([[ True, False, False],
               [ True, False,  True]])
        """
        if not 0 < level < 1:
            raise InputError(f"level is {level!r}; accepted is a probability between 0 and 1")
        order = np.argsort(-self.proba, axis=1, kind="stable")
        ordered = np.take_along_axis(self.proba, order, axis=1)
        # A class belongs while those before it do not reach the level yet.
        before = np.cumsum(ordered, axis=1) - ordered
        chosen = np.empty(self.proba.shape, bool)
        np.put_along_axis(chosen, order, before < level, axis=1)
        return chosen

    def log_prob(self, y: Any) -> Array:
        """Log probability of the true classes, shape (n,)."""
        with np.errstate(divide="ignore"):
            return np.log(self.proba[np.arange(len(self)), self._columns(y)])

    def brier(self, y: Any) -> Array:
        """Brier score of each prediction, between 0 (sure and right) and 2."""
        target = np.zeros_like(self.proba)
        target[np.arange(len(self)), self._columns(y)] = 1
        return np.sum((self.proba - target) ** 2, axis=1)

    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        """Draws of classes, shape (size, n)."""
        uniform = generator(rng).random((size, len(self), 1))
        return self.classes[np.sum(uniform > np.cumsum(self.proba, axis=1)[:, :-1], axis=-1)]

    def interval(self, level: float = 0.68) -> tuple[Array, Array]:
        """Classes have no order, so no interval: always raises `InputError`."""
        raise InputError("interval is not defined for classes; use proba, or prediction_set(level)")

    @staticmethod
    def concatenate(parts: Sequence[Categorical]) -> Categorical:
        """Put predictions one after the other.

        Raises
        ------
        InputError
            Their classes differ.
        """
        if any(not np.array_equal(part.classes, parts[0].classes) for part in parts):
            raise InputError("parts have different classes; accepted are predictions of the same classes")
        return Categorical(np.concatenate([part.proba for part in parts]), parts[0].classes)

    # As `PredictiveDistribution.concatenate` calls it, so that both put classes together.
    _join = concatenate

    def _columns(self, y: Any) -> Array:
        order = np.argsort(self.classes)
        place = np.clip(np.searchsorted(self.classes, y, sorter=order), 0, len(self.classes) - 1)
        columns = order[place]
        if np.any(self.classes[columns] != np.asarray(y)):
            raise InputError(f"y contains classes other than {list(self.classes)}")
        return columns

    def __repr__(self) -> str:
        return f"<Categorical of {len(self)} predictions, {len(self.classes)} classes>"
