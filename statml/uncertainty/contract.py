"""The contract every regressor and classifier of the library keeps.

>>> fit(X, y, *, X_err=None, y_err=None, X_cov=None, y_cov=None, xy_cov=None)      # doctest: +SKIP
>>> predict_dist(X, *, X_err=None, X_cov=None, y_err=None, y_cov=None)             # doctest: +SKIP

With ``y_err`` or ``y_cov`` (the errors of the values it will be compared with),
``predict_dist`` gives the distribution of the *observed* y; without them, that
of the true y, intrinsic scatter included. A classifier takes the same calls and
answers with a `Categorical`; its y is a class, which has no error.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from statml.errors import InputError
from statml.uncertainty.distributions import PredictiveDistribution
from statml.uncertainty.empirical import Categorical
from statml.uncertainty.measurement import refuse_arguments, refuse_quantities

Array = np.ndarray


class DistributionRegressor(RegressorMixin, BaseEstimator):
    """A scikit-learn regressor whose predictions are distributions.

    A subclass offers ``fit`` and ``predict_dist`` with the arguments of the
    contract; `predict` follows from them.
    """

    # Error arguments the method cannot use in fit, each with the sentence that says what can.
    fit_refuses: ClassVar[dict[str, str]] = {}

    @abstractmethod
    def predict_dist(
        self, X: Any, *, X_err: Any = None, X_cov: Any = None, y_err: Any = None, y_cov: Any = None
    ) -> PredictiveDistribution:
        """Predictive distribution of y at each row of X."""

    def predict(self, X: Any, return_std: bool = False) -> Array | tuple[Array, Array]:
        """Predictive means, and standard deviations if asked for.

        Parameters
        ----------
        X : array (n, d)
        return_std : bool
            Return ``(mean, std)`` instead of ``mean``.

        Returns
        -------
        mean : array (n,)
        std : array (n,)
            Only with `return_std`.
        """
        prediction = self.predict_dist(X)
        return (prediction.mean, prediction.std) if return_std else prediction.mean

    def _training_data(self, X: Any, y: Any, **errors: Any) -> tuple[Array, Array]:
        refuse_quantities(X=X, y=y, **errors)
        with one_sentence():
            X, y = validate_data(
                self, X, y, accept_sparse=_sparse_formats(self), dtype=np.float64, y_numeric=True
            )
        # scikit-learn leaves y as it comes: float32, or as FITS tables have it, in the other byte order.
        return X, np.asarray(y, np.float64)

    def _new_data(self, X: Any, **errors: Any) -> Array:
        check_is_fitted(self)
        refuse_quantities(X=X, **errors)
        with one_sentence():
            return validate_data(self, X, accept_sparse=_sparse_formats(self), reset=False, dtype=np.float64)


class DistributionClassifier(ClassifierMixin, BaseEstimator):
    """A scikit-learn classifier whose predictions are `Categorical` distributions.

    A subclass offers ``fit`` and ``predict_dist`` with the arguments of the
    contract; `predict` and `predict_proba` follow from them.
    """

    classes_: Array
    # Error arguments the method cannot use, each with the sentence that says what can.
    refuses: ClassVar[dict[str, str]] = {
        "y_err": "a class has no standard deviation; accepted are errors of X",
        "y_cov": "a class has no covariance; accepted are errors of X",
        "xy_cov": "a class has no covariance with X; accepted are errors of X",
    }

    @abstractmethod
    def predict_dist(
        self, X: Any, *, X_err: Any = None, X_cov: Any = None, y_err: Any = None, y_cov: Any = None
    ) -> Categorical:
        """Class probabilities at each row of X, as a distribution."""

    def predict_proba(self, X: Any) -> Array:
        """Class probabilities, shape (n, k), in the order of ``classes_``."""
        return self.predict_dist(X).proba

    def predict(self, X: Any) -> Array:
        """The most probable class of each row, shape (n,)."""
        return self.predict_dist(X).mode

    def _training_data(self, X: Any, y: Any, **errors: Any) -> tuple[Array, Array]:
        """X as floats, y as integer codes into ``classes_``, which is set here."""
        refuse_arguments(self, "fit", self.refuses, **errors)
        refuse_quantities(X=X, y=y, **errors)
        with one_sentence():
            X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(
                f"y holds one class, {self.classes_.tolist()[0]!r}; accepted are 2 classes or more"
            )
        return X, codes

    def _new_data(self, X: Any, **errors: Any) -> Array:
        check_is_fitted(self)
        refuse_arguments(self, "predict_dist", self.refuses, **errors)
        refuse_quantities(X=X, **errors)
        with one_sentence():
            return validate_data(self, X, reset=False, dtype=np.float64)


def _sparse_formats(estimator: BaseEstimator) -> str | bool:
    """The sparse format an estimator works on, if its tags say that it takes sparse X."""
    return "csr" if get_tags(estimator).input_tags.sparse else False


@contextmanager
def one_sentence() -> Iterator[None]:
    """scikit-learn answers NaN and inf with a paragraph of advice; keep its first sentence."""
    try:
        yield
    except ValueError as error:
        first = str(error).split("\n")[0].rstrip(".")
        if "NaN" in first or "infinity" in first:
            raise InputError(f"{first}; accepted are finite values") from error
        raise


class LinearParameters:
    """Views of ``params_`` (intercept first) and ``params_cov_`` under scikit-learn's names."""

    params_: Array
    params_cov_: Array
    fit_intercept: bool

    @property
    def coef_(self) -> Array:
        """Slopes, shape (d,)."""
        return self.params_[int(self.fit_intercept) :]

    @property
    def coef_cov_(self) -> Array:
        """Covariance of the slopes, shape (d, d)."""
        first = int(self.fit_intercept)
        return self.params_cov_[first:, first:]

    @property
    def coef_err_(self) -> Array:
        """Standard errors of the slopes, shape (d,)."""
        return np.sqrt(np.diag(self.coef_cov_))

    @property
    def intercept_(self) -> float:
        """The intercept; 0 where none was fitted."""
        return float(self.params_[0]) if self.fit_intercept else 0.0

    @property
    def intercept_err_(self) -> float:
        """Standard error of the intercept; 0 where none was fitted."""
        return float(np.sqrt(self.params_cov_[0, 0])) if self.fit_intercept else 0.0
