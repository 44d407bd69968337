r"""Basis functions: a curve as a model that is linear in its parameters, errors of x included.

    y = b0 + sum_m b_m phi_m(x)

Each basis is a scikit-learn transformer from x to the features phi(x), to be put
before any linear regressor. Beside `transform` it has `propagate`, which carries
errors of x through the basis by its analytic Jacobian J (n, m, d),

    cov(phi) = J S J^T      to first order in S,

so that ``statml.uncertainty.predict_dist(pipeline, X, X_err=...)`` works. What the
second order would add, with H_m the matrix of second derivatives of phi_m: a shift
of the mean by tr(H_m S) / 2 and a variance of tr(H_m S H_m S) / 2. It matters where
the errors of x are as wide as the structure of the curve; at an extremum, where
J = 0, it is all there is.

No basis holds the constant: that is the regressor's intercept.

Source: arXiv:2506.12230, chapter 4.
"""

from __future__ import annotations

from abc import abstractmethod
from itertools import combinations_with_replacement
from typing import Any, Literal

import numpy as np
from numpy import polynomial
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from statml.errors import InputError
from statml.uncertainty.measurement import feature_covariance
from statml.uncertainty.stack import CovarianceStack
from statml.units import refuse_quantity

Array = np.ndarray

# Values and derivatives of the polynomials of one variable, by the name of the family.
FAMILIES = {
    "legendre": (polynomial.legendre.legvander, polynomial.legendre.legder),
    "chebyshev": (polynomial.chebyshev.chebvander, polynomial.chebyshev.chebder),
    "powers": (polynomial.polynomial.polyvander, polynomial.polynomial.polyder),
}


class Basis(TransformerMixin, BaseEstimator):
    """Features of X with their derivatives; a subclass fills the four steps below."""

    def fit(self, X: Any, y: Any = None) -> Basis:
        """Learn what the basis needs of the rows `X`, shape (n, d); `y` is not used.

        Raises
        ------
        InputError
            A parameter that is not accepted.
        """
        refuse_quantity("X", X)
        X = validate_data(self, X, dtype=np.float64)
        self._learn(X)
        return self

    def transform(self, X: Any) -> Array:
        """Features phi(X), shape (n, m)."""
        return self._values(self._new_rows(X))

    def jacobian(self, X: Any) -> Array:
        """Derivatives d phi_m / d x_j at each row, shape (n, m, d)."""
        return self._derivatives(self._new_rows(X))

    def propagate(self, X: Any, *, X_err: Any = None, X_cov: Any = None) -> tuple[Array, CovarianceStack]:
        """Features and their covariances, to first order in the errors of X.

        Parameters
        ----------
        X : array (n, d)
        X_err : float or array (n, d)
            Standard deviations of X.
        X_cov : CovarianceStack
            Instead of `X_err`.

        Returns
        -------
        features : array (n, m)
        covariances : CovarianceStack
            Of shape (n, m, m), rank at most d.

        Raises
        ------
        InputError
            None or both of `X_err` and `X_cov` are given, or they do not fit X.
        """
        rows = self._new_rows(X)
        stack = feature_covariance(len(rows), rows.shape[1], X_err, X_cov)
        if stack is None:
            raise InputError("X_err and X_cov are both missing; accepted is one of them, or transform(X)")
        return self._values(rows), stack.transformed(self._derivatives(rows))

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the features, shape (m,)."""
        check_is_fitted(self)
        return np.array(self._names(_check_feature_names_in(self, input_features)), dtype=object)

    def _new_rows(self, X: Any) -> Array:
        check_is_fitted(self)
        refuse_quantity("X", X)
        return validate_data(self, X, reset=False, dtype=np.float64)

    @abstractmethod
    def _learn(self, X: Array) -> None:
        """Check the parameters and set the fitted attributes."""

    @abstractmethod
    def _values(self, X: Array) -> Array:
        """phi(X), shape (n, m)."""

    @abstractmethod
    def _derivatives(self, X: Array) -> Array:
        """d phi / d x, shape (n, m, d)."""

    @abstractmethod
    def _names(self, inputs: Array) -> list[str]:
        """Names of the m features, given those of the d inputs."""


class PolynomialBasis(Basis):
    """Polynomials of each feature and their products, up to a total degree.

    Features are mapped to [-1, 1] over the training rows. Powers of such a variable
    are still nearly parallel; Legendre and Chebyshev polynomials are nearly
    orthogonal, and span the same curves with a design that loses no digits.

    Parameters
    ----------
    degree : int
        Highest total degree.
    interactions : bool
        Products of different features too.
    family : {"legendre", "chebyshev", "powers"}
        Which polynomials of the mapped features.

    Attributes
    ----------
    center_, half_range_ : arrays (d,)
        The map to [-1, 1].
    degrees_ : array (m, d)
        Degree of each output in each feature.

    Examples
    --------
    >>> import numpy as np
    >>> basis = PolynomialBasis(2).fit([[0.0, 0.0], [10.0, 1.0]])
    >>> basis.get_feature_names_out(["x", "z"]).tolist()
    ['P1(x)', 'P1(z)', 'P2(x)', 'P1(x) P1(z)', 'P2(z)']
    >>> basis.transform([[10.0, 0.5]])
    array([[ 1. ,  0. ,  1. ,  0. , -0.5]])
    """

    def __init__(
        self,
        degree: int = 2,
        *,
        interactions: bool = True,
        family: Literal["legendre", "chebyshev", "powers"] = "legendre",
    ) -> None:
        self.degree = degree
        self.interactions = interactions
        self.family = family

    def _learn(self, X: Array) -> None:
        at_least("degree", self.degree, 1)
        if self.family not in FAMILIES:
            raise InputError(f"family is {self.family!r}; accepted are {', '.join(map(repr, FAMILIES))}")
        low, high = X.min(axis=0), X.max(axis=0)
        self.center_ = (low + high) / 2
        self.half_range_ = np.where(high > low, (high - low) / 2, 1.0)
        d = X.shape[1]
        if self.interactions:
            chosen = [
                np.bincount(which, minlength=d)
                for total in range(1, self.degree + 1)
                for which in combinations_with_replacement(range(d), total)
            ]
        else:
            chosen = [total * row for row in np.eye(d, dtype=int) for total in range(1, self.degree + 1)]
        self.degrees_ = np.array(chosen)

    def _values(self, X: Array) -> Array:
        single, _ = self._single(X)
        return np.prod(self._chosen(single), axis=2)

    def _derivatives(self, X: Array) -> Array:
        single, slopes = (self._chosen(each) for each in self._single(X))
        result = np.empty_like(single)
        for j in range(X.shape[1]):
            others = np.delete(single, j, axis=2)
            result[:, :, j] = slopes[:, :, j] * np.prod(others, axis=2)
        return result

    def _single(self, X: Array) -> tuple[Array, Array]:
        """Polynomials of each feature alone and their derivatives, each (n, d, degree + 1)."""
        vander, derive = FAMILIES[self.family]
        values = vander((X - self.center_) / self.half_range_, self.degree)
        # Column k: the derivative of polynomial k, written in the same polynomials.
        step = np.zeros((self.degree + 1, self.degree + 1))
        step[:-1] = derive(np.eye(self.degree + 1))
        return values, values @ step / self.half_range_[:, None]

    def _chosen(self, single: Array) -> Array:
        """The factor that each feature gives each output, shape (n, m, d)."""
        return single[:, np.arange(single.shape[1]), self.degrees_]

    def _names(self, inputs: Array) -> list[str]:
        letter = {"legendre": "P", "chebyshev": "T", "powers": "t"}[self.family]
        return [
            " ".join(f"{letter}{k}({name})" for k, name in zip(row, inputs) if k > 0) for row in self.degrees_
        ]


class FourierBasis(Basis):
    """Sines and cosines of each feature: a periodic curve, as a pulsating star's.

    Parameters
    ----------
    period : float or array (d,)
        In the units of X.
    harmonics : int
        Frequencies 1 / period, 2 / period, ... up to this multiple.

    Examples
    --------
    >>> import numpy as np
    >>> basis = FourierBasis(period=24.0).fit([[0.0], [6.0]])
    >>> basis.get_feature_names_out(["hour"]).tolist()
    ['cos1(hour)', 'sin1(hour)']
    >>> basis.transform([[6.0]]).round(12) + 0.0
    array([[0., 1.]])
    >>> basis.propagate([[6.0]], X_err=0.1)[1].to_dense().round(6) + 0.0
    array([[[0.000685, 0.      ],
            [0.      , 0.      ]]])
    """

    def __init__(self, period: Any = 1.0, *, harmonics: int = 1) -> None:
        self.period = period
        self.harmonics = harmonics

    def _learn(self, X: Array) -> None:
        at_least("harmonics", self.harmonics, 1)
        period = as_widths("period", self.period, X.shape[1])
        self.frequencies_ = np.arange(1, self.harmonics + 1) / period[:, None]

    def _phases(self, X: Array) -> Array:
        return 2 * np.pi * X[:, :, None] * self.frequencies_

    def _values(self, X: Array) -> Array:
        phases = self._phases(X)
        return np.stack([np.cos(phases), np.sin(phases)], axis=3).reshape(len(X), -1)

    def _derivatives(self, X: Array) -> Array:
        phases = self._phases(X)
        slopes = (
            2 * np.pi * self.frequencies_[:, :, None] * np.stack([-np.sin(phases), np.cos(phases)], axis=3)
        )
        return column_by_column(slopes.reshape(*X.shape, -1))

    def _names(self, inputs: Array) -> list[str]:
        return [
            f"{name}{k}({column})"
            for column in inputs
            for k in range(1, self.harmonics + 1)
            for name in ("cos", "sin")
        ]


def column_by_column(slopes: Array) -> Array:
    """The Jacobian (n, d q, d) of q functions of each of d features alone, from slopes (n, d, q)."""
    n, d, q = slopes.shape
    result = np.zeros((n, d, q, d))
    for j in range(d):
        result[:, j, :, j] = slopes[:, j]
    return result.reshape(n, d * q, d)


def at_least(name: str, value: Any, least: int) -> None:
    """Raise `InputError` unless `value` is an integer of at least `least`."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} is {value!r}; accepted is an integer >= {least}")


def as_widths(name: str, value: Any, d: int) -> Array:
    """A positive width for each of d features, or an `InputError`."""
    try:
        widths = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        widths = np.array(np.nan)
    if widths.shape not in ((), (d,)) or not np.all(np.isfinite(widths)) or not np.all(widths > 0):
        raise InputError(
            f"{name} is {value!r}; accepted is a positive number, or one for each of {d} features"
        )
    return np.broadcast_to(widths, (d,))
