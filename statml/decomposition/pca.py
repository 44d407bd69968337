r"""Principal component analysis, with errors: of the variances, and of the scores of noisy rows.

With axes u_j and variances lambda_j of the rows x_i (`principal_axes`),

    score          a_ij = u_j^T (x_i - m),      x_i ~ m + sum_j a_ij u_j
    its error      cov(a_i) = U S_i U^T,        exactly, since the map is linear

and, to first order in 1/n, the error of a variance lambda_j = mean(a_ij^2) is that of
a mean, sqrt((mean(a_ij^4) - lambda_j^2) / n): the row's influence on lambda_j is
a_ij^2 - lambda_j. For normal data it is lambda_j sqrt(2/n) (Anderson 1963, Ann. Math.
Stat. 34, 122); real spectra and images have heavier tails. It holds for variances
that are apart by more than their errors.

Source: arXiv:2506.12230, chapter 10.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from statml.compute import generator
from statml.decomposition.principal_axes import PrincipalAxes, Solver, centred, principal_axes
from statml.errors import InputError
from statml.uncertainty.contract import one_sentence
from statml.uncertainty.measurement import feature_covariance, refuse_arguments, refuse_quantities
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray
# Rows whose fourth moments are summed, at least (or all).
ERROR_ROWS = 20_000
ONE_NOISE = "it knows one noise level for all pixels; pass X_err to HeteroscedasticPCA.fit"


class LinearScores(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A transformer to scores along orthonormal axes, a = M (x - mean); a subclass fits and gives M.

    Fitted are ``mean_`` (d,) and ``components_`` (k, d), orthonormal rows.
    """

    mean_: Array
    components_: Array

    @abstractmethod
    def _slopes(self) -> Array:
        """M, shape (k, d)."""

    def transform(self, X: Any) -> Array:
        """Scores of the rows of X, shape (n, k), in the units of X."""
        return (self._rows(X) - self.mean_) @ self._slopes().T

    def propagate(self, X: Any, *, X_err: Any = None, X_cov: Any = None) -> tuple[Array, CovarianceStack]:
        """Scores of noisy rows and the covariances that the errors of X give them: M S M^T, exact.

        Parameters
        ----------
        X : array (n, d)
        X_err : float or array (n, d)
            Standard deviations of X.
        X_cov : CovarianceStack
            Instead of `X_err`.

        Returns
        -------
        scores : array (n, k)
        covariances : CovarianceStack
            Of shape (n, k, k).

        Raises
        ------
        InputError
            None or both of `X_err` and `X_cov` are given, or they do not fit X.
        """
        X = self._rows(X)
        stack = feature_covariance(len(X), X.shape[1], X_err, X_cov)
        if stack is None:
            raise InputError("X_err and X_cov are both missing; accepted is one of them, or transform(X)")
        slopes = self._slopes()
        return (X - self.mean_) @ slopes.T, stack.transformed(slopes)

    def inverse_transform(self, scores: Any) -> Array:
        """The rows that scores of shape (n, k) stand for, mean + scores @ components, shape (n, d)."""
        check_is_fitted(self)
        scores = np.asarray(scores, float)
        if scores.ndim != 2 or scores.shape[1] != len(self.components_):
            raise InputError(f"scores has shape {scores.shape}; accepted is (n, {len(self.components_)})")
        return self.mean_ + scores @ self.components_

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _rows(self, X: Any, *, fit: bool = False) -> Array:
        if not fit:
            check_is_fitted(self)
        refuse_quantities(X=X)
        with one_sentence():
            return validate_data(self, X, reset=fit, dtype=np.float64, ensure_min_samples=2 if fit else 1)


class PCA(LinearScores):
    """Principal components, the errors of their variances, and of the scores of noisy rows.

    Parameters
    ----------
    n_components : int, float or None
        How many; a float is the least fraction of the variance to keep; None all, min(n, d).
    solver : {"auto", "full", "gram", "randomized"}
        See `statml.decomposition.principal_axes`. "auto" is never approximate.
    variance_errors : {"moments", "normal"}
        Errors of the variances from the fourth moments of the scores, right for any
        distribution (of at least 20,000 rows, evenly spaced, where there are more), or as
        if X were normal.
    random_state : int, Generator or None
        For ``solver="randomized"``.

    Attributes
    ----------
    mean_ : array (d,)
    components_ : array (k, d)
        Orthonormal axes; the largest entry of each is positive.
    explained_variance_ : array (k,)
        Variances along them (divisor n - 1).
    explained_variance_err_ : array (k,)
        Their standard errors.
    explained_variance_ratio_ : array (k,)
        Fractions of the total variance.
    n_components_ : int

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 3)) * [5.0, 2.0, 1.0]
    >>> pca = PCA(2).fit(X)
    >>> pca.explained_variance_.round(1), pca.explained_variance_err_.round(1)
    (array([24. ,  3.7]), array([1.7, 0.3]))
    >>> scores, errors = pca.propagate(X[:1], X_err=0.5)
    >>> errors.project(np.array([1.0, 1.0])).round(3)  # the variance of their sum
    array([0.5])
    """

    def __init__(
        self,
        n_components: int | float | None = None,
        *,
        solver: Solver = "auto",
        variance_errors: Literal["moments", "normal"] = "moments",
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.solver = solver
        self.variance_errors = variance_errors
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, X_err: Any = None, X_cov: Any = None) -> PCA:
        """Find the axes of the rows of X, shape (n, d); `y` is not used.

        Raises
        ------
        InputError
            A parameter that is not accepted, or errors of X, which this method cannot
            use in a fit.
        """
        refuse_arguments(self, "fit", {"X_err": ONE_NOISE, "X_cov": ONE_NOISE}, X_err=X_err, X_cov=X_cov)
        if self.variance_errors not in ("moments", "normal"):
            raise InputError(
                f"variance_errors is {self.variance_errors!r}; accepted are 'moments' and 'normal'"
            )
        X = self._rows(X, fit=True)
        wanted = component_count(self.n_components, min(X.shape))
        found = principal_axes(X, wanted, solver=self.solver, rng=generator(self.random_state))
        if isinstance(self.n_components, float):
            found = found.leading(_enough(found, self.n_components))
        n = len(X)
        self.mean_, self.components_ = found.mean, found.axes
        self.n_components_ = len(found.axes)
        self.explained_variance_ = found.squares / (n - 1)
        self.explained_variance_ratio_ = found.squares / (found.total if found.total > 0 else 1.0)
        if self.variance_errors == "normal":
            self.explained_variance_err_ = self.explained_variance_ * np.sqrt(2 / n)
        else:
            self.explained_variance_err_ = variance_errors(X, found)
        return self

    def _slopes(self) -> Array:
        return self.components_


def component_count(n_components: int | float | None, most: int) -> int:
    """How many components to compute, at most `most`.

    Raises
    ------
    InputError
        Neither None, an integer from 1 to `most`, nor a fraction between 0 and 1.
    """
    if n_components is None or (isinstance(n_components, float) and 0 < n_components < 1):
        return most
    whole = isinstance(n_components, int | np.integer) and not isinstance(n_components, bool)
    if whole and 1 <= n_components <= most:
        return int(n_components)
    raise InputError(
        f"n_components is {n_components!r}; accepted are 1 to {most} here, a fraction between 0 and 1, or None"
    )


def variance_errors(X: Array, found: PrincipalAxes) -> Array:
    """Standard errors of the variances, from the fourth moments of the scores, shape (k,).

    Of more than `ERROR_ROWS` rows evenly spaced ones are used: that makes the errors of
    normal data uncertain by 2 %.
    """
    if not found.squares[0] > 0:
        return np.zeros(len(found.squares))
    lengths = np.sqrt(found.squares / found.n)
    # An error needs three digits: single precision, in units in which nothing overflows.
    unit = (found.axes * (lengths[0] / np.where(lengths > 0, lengths, np.inf))[:, None]).astype(np.float32)
    rows = X[:: max(found.n // ERROR_ROWS, 1)]
    fourth = np.zeros(len(unit))
    for block in centred(rows, found.mean):
        squares = np.square((block / lengths[0]).astype(np.float32) @ unit.T)
        fourth += np.einsum("ij,ij->j", squares, squares)
    excess = np.maximum(fourth / len(rows) - 1, 0)
    return found.squares / (found.n - 1) * np.sqrt(excess / found.n)


def _enough(found: PrincipalAxes, fraction: float) -> int:
    """The least number of components whose variance is at least this fraction of all."""
    reached = np.cumsum(found.squares) / (found.total if found.total > 0 else 1.0)
    return min(int(np.searchsorted(reached, fraction)) + 1, len(reached))
