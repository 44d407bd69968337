r"""Logistic regression by maximum likelihood: two classes, coefficients with standard errors.

    P(t = 1 | x) = sigma(eta),   eta = b0 + b^T x,   l(b) = sum_i log sigma(s_i eta_i),  s = +1, -1

Newton's method (`statml.classification.newton`) finds the maximum to machine precision and
gives the covariance of the coefficients, the inverse of the observed information
A^T W A. Where there is no maximum, it says why: dependent columns are named, separated
classes are found by linear programming (`statml.classification.separation`).

Source: Ting, "Statistical Machine Learning for Astronomy" (arXiv:2506.12230), ch. 7.
"""

from __future__ import annotations

import warnings
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from statml.classification.log_odds import ClassPrior, LogOddsClassifier, log_prior_shift
from statml.classification.logistic_normal import Averaging
from statml.classification.newton import BinaryLikelihood, Maximum, SingularInformationError, climb, maximise
from statml.classification.separation import (
    Separation,
    SeparationWarning,
    find_separation,
    separation_sentence,
)
from statml.errors import InputError
from statml.uncertainty.measurement import refuse_arguments

Array = np.ndarray

# Penalty on standardised slopes where classes are separated and none was asked for: a prior of width 10.
SEPARATION_PENALTY = 0.01


class LogisticRegression(LogOddsClassifier):
    """Two classes by maximum likelihood, with standard errors and honest probabilities.

    Parameters
    ----------
    alpha : float
        Penalty alpha |slopes|^2 / 2 subtracted from the log likelihood (a normal prior of
        precision alpha; the intercept is free). 0 is maximum likelihood.
    fit_intercept : bool
        Fit a constant besides the slopes.
    class_prior : None, "balanced" or array (2,)
        Class fractions of the population that is predicted, in the order of
        ``classes_``. None: those of the training set. The coefficients do not change; the log odds
        are shifted by the difference of the log prior odds.
    threshold : float or None
        `predict` gives the second class where its probability is at least this; None: the
        more probable class.
    averaging : {"exact", "probit"}
        How the sigmoid is averaged over uncertain log odds: the integral itself, or the
        textbook's probit approximation, up to 0.018 off.

    Attributes
    ----------
    params_ : array (p,)
        Intercept (if fitted) and slopes; `params_cov_` (p, p) is the inverse of the
        observed information (penalty included). `coef_`, `coef_cov_`, `coef_err_`, `intercept_`,
        `intercept_err_` are views.
    classes_ : array (2,)
        The log odds are those of ``classes_[1]``.
    log_likelihood_ : float
        At ``params_``, without the penalty.
    n_iter_ : int
        Newton steps.
    prior_shift_ : float
        What `class_prior` adds to the log odds.
    separation_ : Separation or None
        How the classes are separated, where the likelihood has no maximum. A
        `SeparationWarning` tells, and what is fitted then is the penalty 0.01 on slopes
        per standard deviation of their column.

    See Also
    --------
    SoftmaxRegression : more than two classes.
    BayesianLogisticRegression : a prior with its evidence, errors of X in `fit`.

    Notes
    -----
    `predict_dist` averages over the uncertainty of the coefficients, so its
    probabilities lie a little closer to 1/2 than ``sigma(decision_function(X))``; `predict_proba`
    is the same. `predict_latent_dist` gives the log odds with their variance.

    References
    ----------
    Albert & Anderson (1984), Biometrika 71, 1, on when there is a maximum.

    Examples
    --------
    >>> import numpy as np
    >>> colour = np.array([[0.2], [0.5], [0.6], [0.8], [0.9], [1.1], [1.2], [1.4]])
    >>> giant = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    >>> model = LogisticRegression().fit(colour, giant)
    >>> model.coef_.round(1), model.coef_err_.round(1)
    (array([10.]), array([7.3]))
    >>> model.predict_dist([[0.9]], X_err=0.1).proba.round(2)
    array([[0.42, 0.58]])
    """

    fit_refuses: ClassVar[dict[str, str]] = dict.fromkeys(
        ("X_err", "X_cov"),
        "maximum likelihood takes X as exact; pass the errors of X to predict_dist, "
        "or use BayesianLogisticRegression, which takes them in fit",
    )

    def __init__(
        self,
        *,
        alpha: float = 0.0,
        fit_intercept: bool = True,
        class_prior: ClassPrior = None,
        threshold: float | None = None,
        averaging: Averaging = "exact",
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.class_prior = class_prior
        self.threshold = threshold
        self.averaging = averaging

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        X_err: Any = None,
        y_err: Any = None,
        X_cov: Any = None,
        y_cov: Any = None,
        xy_cov: Any = None,
    ) -> LogisticRegression:
        """Maximise the likelihood.

        Parameters
        ----------
        X : array (n, d)
        y : array (n,)
            Two classes, of any type that sorts.
        X_err, X_cov
            Refused: maximum likelihood takes X as exact.
        y_err, y_cov, xy_cov
            Refused: a class has no error.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Not two classes, dependent columns, or an argument that is refused.

        Warns
        -----
        SeparationWarning
            A hyperplane separates the classes, so the likelihood has no maximum.
        """
        refuse_arguments(self, "fit", self.fit_refuses, X_err=X_err, X_cov=X_cov)
        X, codes = self._training_data(X, y, y_err=y_err, y_cov=y_cov, xy_cov=xy_cov)
        counts = self._two_classes(codes)
        shift = log_prior_shift(self.class_prior, counts)
        self.prior_shift_ = float(shift[1] - shift[0])
        likelihood = BinaryLikelihood(
            X, codes == 1, intercept=self.fit_intercept, precision=self._precision(X.shape[1])
        )
        found = self._maximise(likelihood, X, codes)
        self.params_ = found.params
        self.params_cov_ = found.factor @ found.factor.T
        self._factor = found.factor
        self.n_iter_ = found.steps
        self.log_likelihood_ = likelihood.log_likelihood(found.params)
        return self

    def _params_root(self) -> Array:
        return self._factor

    def _precision(self, d: int) -> Array | None:
        if not isinstance(self.alpha, Real) or not 0 <= self.alpha < np.inf:
            raise InputError(f"alpha is {self.alpha!r}; accepted are finite numbers >= 0")
        return None if self.alpha == 0 else self._penalty(np.full(d, float(self.alpha)))

    def _penalty(self, slopes: Array) -> Array:
        return np.concatenate([[0.0], slopes]) if self.fit_intercept else slopes

    def _maximise(self, likelihood: BinaryLikelihood, X: Array, codes: Array) -> Maximum:
        self.separation_: Separation | None = None
        names = column_names(self, X.shape[1])
        try:
            found = maximise(likelihood)
        except SingularInformationError as error:
            raise InputError(
                dependence_sentence(error.direction, len(X), self.fit_intercept, names)
            ) from error
        if not found.stalled:
            return found
        self.separation_ = find_separation(X, codes, intercept=self.fit_intercept)
        if self.separation_ is None:
            found = climb(likelihood.log_posterior, likelihood.step, found.params, n=len(X), may_stall=False)
            if found.stalled:
                warnings.warn(
                    f"Newton's method has not converged in {found.steps} steps",
                    ConvergenceWarning,
                    stacklevel=3,
                )
            return found
        warnings.warn(
            separation_sentence(self.separation_, names, self.classes_), SeparationWarning, stacklevel=3
        )
        penalty = self._penalty(SEPARATION_PENALTY * X.var(axis=0))
        return maximise(BinaryLikelihood(X, codes == 1, intercept=self.fit_intercept, precision=penalty))


def column_names(estimator: Any, d: int) -> list[str]:
    """Names of the columns of X: those of a data frame, else their numbers."""
    return list(getattr(estimator, "feature_names_in_", [f"column {j}" for j in range(d)]))


def dependence_sentence(direction: Array, n: int, intercept: bool, names: list[str]) -> str:
    """One sentence that names the columns of which one follows from the others."""
    names = ["the constant"] * intercept + names
    if n < len(names):
        return (
            f"n_samples={n} is too few for {len(names)} coefficients; accepted are more rows, a penalty "
            "(alpha > 0), or BayesianLogisticRegression, whose prior decides"
        )
    shares = np.abs(direction)
    involved = [name for name, share in zip(names, shares) if share > 1e-3 * shares.max()]
    shown = ", ".join(involved[:6]) + (", ..." if len(involved) > 6 else "")
    return (
        f"X has linearly dependent columns ({shown}): their coefficients are not determined; drop one of them, "
        "or use a penalty (alpha > 0) or BayesianLogisticRegression, whose prior decides"
    )
