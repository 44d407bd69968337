r"""Logistic regression by maximum likelihood: two classes, coefficients with standard errors.

    P(t = 1 | x) = sigma(eta),   eta = b0 + b^T x,   l(b) = sum_i log sigma(s_i eta_i),  s = +1, -1

Newton's method (`statml.classification.newton`) finds the maximum to machine precision and
gives the covariance of the coefficients, the inverse of the observed information
A^T W A. Where there is no maximum, it says why: dependent columns are named, separated
classes are found by linear programming (`statml.classification.separation`).

Source: Ting, "Statistical Machine Learning for Astronomy" (arXiv:2506.12230), ch. 7.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from statml.classification.log_odds import ClassPrior, LogOddsClassifier, log_prior_shift
from statml.classification.logistic_normal import Averaging
from statml.classification.maximum_likelihood import fit_classes
from statml.classification.newton import BinaryLikelihood
from statml.uncertainty.measurement import refuse_arguments

Array = np.ndarray


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
        intercept = bool(self.fit_intercept)

        def build(penalty: Array | None) -> BinaryLikelihood:
            precision = None if penalty is None else np.concatenate([np.zeros(int(intercept)), penalty])
            return BinaryLikelihood(X, codes == 1, intercept=intercept, precision=precision)

        fit = fit_classes(build, X, codes, alpha=self.alpha, estimator=self)
        found, self.separation_ = fit.maximum, fit.separation
        self.params_ = found.params
        self.params_cov_ = found.factor @ found.factor.T
        self._factor = found.factor
        self.n_iter_ = found.steps
        self.log_likelihood_ = fit.likelihood.log_likelihood(found.params)
        return self

    def _params_root(self) -> Array:
        return self._factor
