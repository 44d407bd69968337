r"""What every classifier of two classes with linear log odds predicts, and how.

The log odds of the second class at features x are eta = a^T b + s with a = [1, x], the
coefficients b, and s the shift from the class fractions of the training set to those
of the population that is predicted. Uncertain coefficients (covariance C) and
uncertain features (covariance S) make eta uncertain,

    Var eta = a^T C a  (parameter)  +  b^T S b + tr(S C)  (input),

and the probability of the class is the sigmoid averaged over that
(`statml.classification.logistic_normal`).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from statml.classification.logistic_normal import Averaging, averaged_sigmoid
from statml.errors import InputError
from statml.regression.predictive import design, input_variance, joint_covariance, total_std
from statml.uncertainty.contract import DistributionClassifier, LinearParameters
from statml.uncertainty.empirical import Categorical
from statml.uncertainty.measurement import feature_covariance
from statml.uncertainty.parametric import Gaussian

Array = np.ndarray


class LogOddsClassifier(LinearParameters, DistributionClassifier):
    """Two classes, log odds linear in the features.

    A subclass sets ``params_`` and ``params_cov_`` (intercept first) and
    ``prior_shift_``, and has the parameters `fit_intercept`, `threshold` and `averaging`.
    """

    prior_shift_: float
    threshold: float | None
    averaging: Averaging

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def decision_function(self, X: Any) -> Array:
        """Log odds of the predicted probabilities, shape (n,); positive where `predict` says the second class.

        Those at the fitted coefficients, which the uncertainty of the coefficients has not
        drawn towards 0, are ``predict_latent_dist(X).mean``.

        Parameters
        ----------
        X : array (n, d)
        """
        proba = self.predict_dist(X).proba
        return np.log(proba[:, 1]) - np.log(proba[:, 0])

    def predict_latent_dist(self, X: Any, *, X_err: Any = None, X_cov: Any = None) -> Gaussian:
        """Distribution of the log odds of the second class.

        Parameters
        ----------
        X : array (n, d)
        X_err, X_cov : array (n, d) or CovarianceStack, optional
            Errors of X.

        Returns
        -------
        Gaussian
            With `variance_components` ``parameter`` and ``input``, and the joint `cov`.
        """
        return self._latent_dist(self._new_data(X, X_err=X_err), X_err, X_cov)

    def _latent_dist(self, X: Array, X_err: Any, X_cov: Any) -> Gaussian:
        """The same for X that is checked already."""
        stack = feature_covariance(len(X), X.shape[1], X_err, X_cov)
        A = design(X, self.fit_intercept)
        modes = A @ self._params_root()
        variances = {
            "parameter": np.einsum("ij,ij->i", modes, modes),
            "input": input_variance(stack, self.coef_, self.coef_cov_, len(X)),
        }
        return Gaussian(
            A @ self.params_ + self.prior_shift_,
            total_std(variances),
            variance_components=variances,
            cov=joint_covariance(variances["input"], modes, None),
        )

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
        self._new_data(X, X_err=X_err, y_err=y_err, y_cov=y_cov)
        latent = self.predict_latent_dist(X, X_err=X_err, X_cov=X_cov)
        variance = latent.std**2
        # Each class by itself, so that neither small probability is lost in 1 - p.
        proba = np.column_stack(
            [averaged_sigmoid(sign * latent.mean, variance, self.averaging) for sign in (-1, 1)]
        )
        return Categorical(proba / proba.sum(axis=1, keepdims=True), self.classes_)

    def predict(self, X: Any) -> Array:
        """The more probable class, or the second one wherever its probability reaches `threshold`.

        Parameters
        ----------
        X : array (n, d)

        Returns
        -------
        array (n,)
        """
        prediction = self.predict_dist(X)
        if self.threshold is None:
            return prediction.mode
        return self.classes_[(prediction.proba[:, 1] >= self.threshold).astype(int)]

    def _params_root(self) -> Array:
        """F with params_cov_ = F F^T."""
        values, vectors = np.linalg.eigh(self.params_cov_)
        return vectors * np.sqrt(np.clip(values, 0, None))

    def _two_classes(self, codes: Array) -> Array:
        """Counts of both classes, after refusing what the constructor cannot have."""
        if len(self.classes_) > 2:
            raise InputError(
                "Only binary classification is supported by "
                f"{type(self).__name__}, and y has {len(self.classes_)} classes; SoftmaxRegression takes more"
            )
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise InputError(
                f"threshold is {self.threshold!r}; accepted are None and a probability between 0 and 1"
            )
        if self.averaging not in ("exact", "probit"):
            raise InputError(f"averaging is {self.averaging!r}; accepted are 'exact' and 'probit'")
        return np.bincount(codes, minlength=2)


ClassPrior = Literal["balanced"] | None | Any


def log_prior_shift(class_prior: ClassPrior, counts: Array) -> Array:
    """log(class fraction to predict for) - log(class fraction of the training set), shape (k,).

    Parameters
    ----------
    class_prior : None, "balanced" or array (k,)
        None: the fractions of the training set; "balanced": equal ones.
    counts : array (k,)
        Rows of each class in the training set.

    Raises
    ------
    InputError
        The fractions are not k positive numbers that sum to 1.

    Examples
    --------
    >>> log_prior_shift("balanced", np.array([900, 100])).round(3)
    array([-0.588,  1.609])
    """
    k = len(counts)
    if class_prior is None:
        return np.zeros(k)
    if isinstance(class_prior, str):
        if class_prior != "balanced":
            raise InputError(
                f"class_prior is {class_prior!r}; accepted are None, 'balanced' and {k} fractions"
            )
        fractions = np.full(k, 1 / k)
    else:
        try:
            fractions = np.asarray(class_prior, float)
        except (TypeError, ValueError):
            fractions = np.array([np.nan])
        if fractions.shape != (k,) or not np.all(fractions > 0) or abs(fractions.sum() - 1) > 1e-8:
            raise InputError(
                f"class_prior is {class_prior!r}; accepted are None, 'balanced' and {k} positive fractions that "
                "sum to 1, in the order of classes_"
            )
    return np.log(fractions) - np.log(counts / counts.sum())
