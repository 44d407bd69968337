"""What an errors-in-variables method is given, and what it answers with.

The estimator `ErrorsInVariables` checks its arguments once, packs them into
`Measured`, and hands them to a method (York, orthogonal, Kelly); the method
answers with a `FittedLine`, which also predicts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from statml.uncertainty.distributions import PredictiveDistribution
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray


@dataclass(frozen=True)
class Measured:
    """Checked rows: values with their errors.

    Attributes
    ----------
    X : array (n, d)
    y : array (n,)
    X_cov : array (n, d, d)
        Zeros where X is exact.
    y_var : array (n,) or None
        None where `fit` was given no errors of y: the noise of y is then fitted.
    xy_cov : array (n, d)
        Covariance of the errors of each row's X with that of its y; zeros where independent.
    upper : array (n,) of bool
        True where y is an upper limit.
    intercept : bool
        Fit a constant besides the slopes.
    """

    X: Array
    y: Array
    X_cov: Array
    y_var: Array | None
    xy_cov: Array
    upper: Array
    intercept: bool


class FittedLine(ABC):
    """A fitted line: its parameters, intercept first if there is one, and how it predicts."""

    params: Array
    params_cov: Array
    # Standard deviation of the intrinsic scatter along y; 0 where the method has none.
    scatter: float
    # Public attributes of the estimator that only this method has, by their names with the underscore.
    extras: dict[str, Any]

    @abstractmethod
    def predict_dist(
        self, X: Array, X_cov: CovarianceStack | None, y_var: Array | None
    ) -> PredictiveDistribution:
        """Distribution of the true y at each row; of the observed y where `y_var` (n,) is given."""


class Method(ABC):
    """A way to fit a line to points with errors in both directions; a frozen dataclass of its settings."""

    @abstractmethod
    def fit(self, rows: Measured, rng: np.random.Generator) -> FittedLine:
        """Fit the line.

        Raises
        ------
        InputError
            Something in `rows` the method cannot use.
        """
