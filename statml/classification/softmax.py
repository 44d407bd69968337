r"""Softmax regression by maximum likelihood: several classes, coefficients with standard errors.

    P(c | x) = exp(eta_c) / sum_d exp(eta_d),   eta_c = a^T b_c,   a = [1, x]

Adding one vector to all b_c changes nothing, so one class is the reference, b = 0, and
coefficients are those of the log odds against it. The likelihood, its Newton
steps and the full information matrix are in `statml.classification.multinomial`.

Source: Ting, "Statistical Machine Learning for Astronomy" (arXiv:2506.12230), ch. 8.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from statml.classification.log_odds import ClassPrior, log_prior_shift
from statml.classification.maximum_likelihood import fit_classes
from statml.classification.multinomial import MultinomialLikelihood
from statml.classification.softmax_normal import Averaging, pairwise_softmax, sampled_softmax
from statml.errors import InputError
from statml.regression.predictive import design, input_variance
from statml.uncertainty.contract import DistributionClassifier
from statml.uncertainty.empirical import Categorical
from statml.uncertainty.measurement import feature_covariance, refuse_arguments
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray


class SoftmaxRegression(DistributionClassifier):
    """Several classes by maximum likelihood, with standard errors and honest probabilities.

    Parameters
    ----------
    alpha : float
        Penalty alpha sum_c |slopes_c - their mean over classes|^2 subtracted from the log
        likelihood: the same whichever class is the reference, and for two classes that of
        `LogisticRegression`. Intercepts are free. 0 is maximum likelihood.
    fit_intercept : bool
        Fit a constant for each class.
    class_prior : None, "balanced" or array (k,)
        Class fractions of the population that is predicted, in the order of
        ``classes_``; None: those of the training set.
    averaging : {"quasi-random", "pairwise"}
        How the softmax of more than two classes is averaged over uncertain scores: over 1024
        quasi-random draws, or in closed form from pairs of classes, faster and less exact
        (`statml.classification.softmax_normal`). For two classes both are the exact integral.

    Attributes
    ----------
    params_ : array (k - 1, p)
        Log odds of each other class against ``classes_[0]``: intercept (if fitted) and slopes.
    params_cov_ : array ((k - 1) p, (k - 1) p)
        Covariance of ``params_.ravel()``, the inverse of the observed information.
        `coef_`, `coef_err_` (k - 1, d), `intercept_`, `intercept_err_` (k - 1,) are views.
    classes_ : array (k,)
    log_likelihood_ : float
        At ``params_``, without the penalty.
    n_iter_ : int
        Newton steps.
    prior_shift_ : array (k,)
        What `class_prior` adds to the scores.
    separation_ : Separation or None
        As in `LogisticRegression`, with the same weak penalty.

    See Also
    --------
    LogisticRegression : two classes.

    References
    ----------
    Daunizeau (2017), arXiv:1703.00091, for the averaged softmax.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [7.0], [8.0]])
    >>> model = SoftmaxRegression().fit(x, list("aababcbcc"))
    >>> model.coef_.round(2).tolist(), model.coef_err_.round(2).tolist()
    ([[1.17], [2.34]], [[0.9], [1.3]])
    >>> model.predict_dist([[4.0]], X_err=1.0).proba.round(2)
    array([[0.24, 0.52, 0.24]])
    """

    fit_refuses: ClassVar[dict[str, str]] = dict.fromkeys(
        ("X_err", "X_cov"),
        "maximum likelihood takes X as exact; pass the errors of X to predict_dist, or for two classes "
        "use BayesianLogisticRegression, which takes them in fit",
    )

    def __init__(
        self,
        *,
        alpha: float = 0.0,
        fit_intercept: bool = True,
        class_prior: ClassPrior = None,
        averaging: Averaging = "quasi-random",
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.class_prior = class_prior
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
    ) -> SoftmaxRegression:
        """Maximise the likelihood.

        Parameters
        ----------
        X : array (n, d)
        y : array (n,)
            Two classes or more, of any type that sorts.
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
            One class only, dependent columns, or an argument that is refused.

        Warns
        -----
        SeparationWarning
            Classes are separated, so the likelihood has no maximum.
        """
        refuse_arguments(self, "fit", self.fit_refuses, X_err=X_err, X_cov=X_cov)
        X, codes = self._training_data(X, y, y_err=y_err, y_cov=y_cov, xy_cov=xy_cov)
        if self.averaging not in ("quasi-random", "pairwise"):
            raise InputError(f"averaging is {self.averaging!r}; accepted are 'quasi-random' and 'pairwise'")
        k, intercept = len(self.classes_), bool(self.fit_intercept)
        self.prior_shift_ = log_prior_shift(self.class_prior, np.bincount(codes))

        def build(penalty: Array | None) -> MultinomialLikelihood:
            padded = None if penalty is None else np.concatenate([np.zeros(int(intercept)), penalty])
            return MultinomialLikelihood(X, codes, k, intercept=intercept, penalty=padded)

        fit = fit_classes(build, X, codes, alpha=self.alpha, estimator=self)
        found, likelihood, self.separation_ = fit.maximum, fit.likelihood, fit.separation
        self.params_ = likelihood.coefficients(found.params)
        # F with params_cov_ = F F^T, one block of p rows for each class.
        p = likelihood.columns
        self._factor = (likelihood.inverse @ found.factor.reshape(k - 1, p, -1)).reshape((k - 1) * p, -1)
        self.params_cov_ = self._factor @ self._factor.T
        self.n_iter_ = found.steps
        self.log_likelihood_ = likelihood.log_likelihood(found.params)
        return self

    # -- views -------------------------------------------------------------------------

    @property
    def coef_(self) -> Array:
        """Slopes of the log odds against ``classes_[0]``, shape (k - 1, d)."""
        return self.params_[:, int(self.fit_intercept) :]

    @property
    def coef_err_(self) -> Array:
        """Standard errors of the slopes, shape (k - 1, d)."""
        return self._errors()[:, int(self.fit_intercept) :]

    @property
    def coef_cov_(self) -> Array:
        """Covariance of ``coef_.ravel()``, ((k - 1) d, (k - 1) d)."""
        slopes = np.ones(self.params_.shape, bool)
        slopes[:, : int(self.fit_intercept)] = False
        return self.params_cov_[np.ix_(slopes.ravel(), slopes.ravel())]

    @property
    def intercept_(self) -> Array:
        """Intercepts, shape (k - 1,); 0 where none were fitted."""
        return self.params_[:, 0] if self.fit_intercept else np.zeros(len(self.params_))

    @property
    def intercept_err_(self) -> Array:
        """Their standard errors, shape (k - 1,)."""
        return self._errors()[:, 0] if self.fit_intercept else np.zeros(len(self.params_))

    def _errors(self) -> Array:
        return np.sqrt(np.diag(self.params_cov_)).reshape(self.params_.shape)

    def contrast(self, label: Any, against: Any) -> tuple[Array, Array]:
        """Coefficients of the log odds of one class against another.

        Parameters
        ----------
        label, against : entries of ``classes_``

        Returns
        -------
        params : array (p,)
            Intercept (if fitted) and slopes.
        params_cov : array (p, p)

        Raises
        ------
        InputError
            There is no such class.
        """
        check_is_fitted(self)
        params, factor = self._contrast(self._code("label", label), self._code("against", against))
        return params, factor @ factor.T

    def _code(self, name: str, label: Any) -> int:
        found = np.flatnonzero(self.classes_ == label)
        if len(found) != 1:
            raise InputError(f"{name} is {label!r}; accepted are {', '.join(map(str, self.classes_))}")
        return int(found[0])

    def _contrast(self, c: int, d: int) -> tuple[Array, Array]:
        """x_c - x_d (p,) and F (p, q) with its covariance F F^T."""
        p = self.params_.shape[1]
        params = np.vstack([np.zeros(p), self.params_])
        factor = np.concatenate(
            [np.zeros((1, p, self._factor.shape[1])), self._factor.reshape(-1, p, self._factor.shape[1])]
        )
        return params[c] - params[d], factor[c] - factor[d]

    # -- predictions -------------------------------------------------------------------

    def predict_dist(
        self, X: Any, *, X_err: Any = None, X_cov: Any = None, y_err: Any = None, y_cov: Any = None
    ) -> Categorical:
        """Class probabilities, averaged over the uncertain coefficients and features.

        Parameters
        ----------
        X : array (n, d)
        X_err, X_cov : array (n, d) or CovarianceStack, optional
            Errors of X.
        y_err, y_cov
            Refused: a class has no error.

        Returns
        -------
        Categorical
        """
        X = self._new_data(X, X_err=X_err, y_err=y_err, y_cov=y_cov)
        stack = feature_covariance(len(X), X.shape[1], X_err, X_cov)
        A = design(X, self.fit_intercept)
        scores = np.column_stack([np.zeros(len(X)), A @ self.params_.T]) + self.prior_shift_
        variances = self._pair_variances(A, stack)
        if len(self.classes_) == 2 or self.averaging == "pairwise":
            return Categorical(pairwise_softmax(scores, variances), self.classes_)
        # With the first score fixed at 0, Cov(eta_c, eta_d) follows from the variances of the pairs.
        own = variances[:, :, 0]
        covariance = (own[:, :, None] + own[:, None, :] - variances) / 2
        return Categorical(sampled_softmax(scores, covariance), self.classes_)

    def decision_function(self, X: Any) -> Array:
        """Log probabilities of the classes, shape (n, k); for two classes the log odds of the second, (n,).

        Parameters
        ----------
        X : array (n, d)
        """
        with np.errstate(divide="ignore"):
            log_proba = np.log(self.predict_dist(X).proba)
        return log_proba[:, 1] - log_proba[:, 0] if log_proba.shape[1] == 2 else log_proba

    def _pair_variances(self, A: Array, stack: CovarianceStack | None) -> Array:
        """Var(eta_c - eta_d), shape (n, k, k)."""
        n, k, first = len(A), len(self.classes_), int(self.fit_intercept)
        variances = np.zeros((n, k, k))
        for c in range(k):
            for d in range(c):
                params, factor = self._contrast(c, d)
                slopes = factor[first:]
                variances[:, c, d] = np.sum((A @ factor) ** 2, axis=1)
                variances[:, c, d] += input_variance(stack, params[first:], slopes @ slopes.T, n)
                variances[:, d, c] = variances[:, c, d]
        return variances
