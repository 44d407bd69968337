r"""Bayesian linear regression with measurement errors and intrinsic scatter.

    y = A x + e,   x ~ N(m0, S0),   e ~ N(0, C + s^2 I)

The posterior is normal; the width of the prior and the scatter s are those that
maximise the evidence log N(y; A m0, A S0 A^T + C + s^2 I). The variance of a
prediction is a^T S_N a (parameter) + b^T S_x b (input) + err^2 (noise) + s^2 (model).

Source: Ting, "Statistical Machine Learning for Astronomy" (arXiv:2506.12230), ch. 5.
"""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np

from statml.compute import Device, namespace, spread
from statml.errors import InputError
from statml.regression.evidence import Posterior, Prior, ScaledPrior, conjugate, maximise, reducer
from statml.regression.predictive import (
    ParameterModes,
    design,
    input_variance,
    joint_covariance,
    total_std,
)
from statml.regression.pymc_models import TrainingData, normal_line, student_line
from statml.regression.scatter import DF_RANGE, Scatter, fit_scatter
from statml.uncertainty.contract import DistributionRegressor, LinearParameters
from statml.uncertainty.covariance import Covariance, DiagonalCovariance
from statml.uncertainty.distributions import PredictiveDistribution
from statml.uncertainty.measurement import feature_covariance, refuse_arguments, target_covariance
from statml.uncertainty.mixtures import GaussianMixture
from statml.uncertainty.parametric import Gaussian

Array = np.ndarray

# Search box of the evidence: prior width in standard deviations, scatter in those of y.
TAU_RANGE = (1e-4, 1e4)
SCATTER_RANGE = (1e-5, 1e1)


class BayesianLinearRegression(TrainingData, LinearParameters, DistributionRegressor):
    """Linear regression with a normal prior, errors of y, and fitted intrinsic scatter.

    Parameters
    ----------
    fit_intercept : bool
        Fit a constant besides the slopes.
    prior_cov : "evidence", float, array (p, p)
        Prior covariance of the parameters, intercept first. A number is the
        variance of each. "evidence" puts a prior of one width on the standardised
        slopes and lets the evidence choose it.
    prior_mean : None, float or array (p,)
        Prior mean of the parameters; None for 0 (with "evidence": the mean of y
        for the constant, 0 for the slopes).
    scatter : "evidence" or float
        Standard deviation of the intrinsic scatter, fitted or fixed. Without
        errors of y it is the noise of y.
    scatter_model : {"constant", "features"}
        One scatter for all rows, or log s linear in the features.
    tails : {"gaussian", "student_t"}
        Shape of the scatter. Student-t scatter keeps outliers from moving the line.
    device : {"cpu", "cuda", "auto"}
        Where the design is factorised.

    Attributes
    ----------
    params_, params_cov_ : arrays (p,), (p, p)
        Posterior mean and covariance, intercept first, with the views `coef_`,
        `coef_cov_`, `coef_err_`, `intercept_`, `intercept_err_`.
    prior_mean_, prior_cov_ : arrays (p,), (p, p)
        The prior that was used, in the units of X and y.
    prior_width_ : float or None
        Width of the standardised slopes that the evidence chose.
    scatter_ : float
        Scatter (at the mean of the features, for ``scatter_model="features"``).
    tail_df_ : float
        Degrees of freedom of the scatter; inf for normal scatter.
    log_evidence_ : float
        log N(y; A m0, A S0 A^T + C + s^2 I); a Laplace approximation for other
        than constant normal scatter.

    Notes
    -----
    The widths are point estimates (type-II maximum likelihood), so with few rows
    per parameter the intervals are somewhat too narrow; their calibration is
    tested for n >= 20 p.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(3)
    >>> X = rng.normal(size=(400, 1))
    >>> y = 2 * X[:, 0] + rng.normal(0, 0.3, 400) + rng.normal(0, 0.1, 400)
    >>> line = BayesianLinearRegression().fit(X, y, y_err=0.1)
    >>> round(line.scatter_, 1), np.round(line.coef_, 1)
    (0.3, array([2.]))
    """

    fit_refuses: ClassVar[dict[str, str]] = {
        "X_err": "its posterior is for exact X; pass the errors of X to predict_dist",
        "X_cov": "its posterior is for exact X; pass the errors of X to predict_dist",
        "xy_cov": "its posterior is for exact X, so nothing can be correlated with it",
    }

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        prior_cov: Any = "evidence",
        prior_mean: Any = None,
        scatter: float | Literal["evidence"] = "evidence",
        scatter_model: Literal["constant", "features"] = "constant",
        tails: Literal["gaussian", "student_t"] = "gaussian",
        device: Device = "cpu",
    ) -> None:
        self.fit_intercept = fit_intercept
        self.prior_cov = prior_cov
        self.prior_mean = prior_mean
        self.scatter = scatter
        self.scatter_model = scatter_model
        self.tails = tails
        self.device = device

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
    ) -> BayesianLinearRegression:
        """Find the posterior of the line.

        Parameters
        ----------
        X : array (n, d)
            Or a sparse matrix, for constant normal scatter.
        y : array (n,)
        y_err : float or array (n,), optional
            Standard deviations of y; inf is no information, 0 is exact where there is scatter.
        y_cov : Covariance, optional
            Instead of `y_err`; other than diagonal ones need constant normal scatter.
        X_err, X_cov, xy_cov
            Refused.

        Returns
        -------
        self

        Raises
        ------
        InputError
            A parameter or an error argument that is not accepted.
        """
        self._check_parameters()
        refuse_arguments(self, "fit", self.fit_refuses, X_err=X_err, X_cov=X_cov, xy_cov=xy_cov)
        X, y = self._training_data(X, y, y_err=y_err)
        covariance = target_covariance(len(y), y_err, y_cov)
        if covariance is not None:
            keep = np.isfinite(covariance.variance())
            if not keep.any():
                raise InputError("y_err is infinite everywhere; accepted are some finite errors")
            X, y, covariance = (X, y, covariance) if keep.all() else (X[keep], y[keep], covariance[keep])
        self._errors_given = covariance is not None
        posterior, scatter = self._constant_scatter(X, y, covariance)
        self.log_scatter_ = Scatter(
            _log_constant(scatter, X.shape[1]), np.zeros(X.shape[1]), np.ones(X.shape[1]), None
        )
        if self.tails == "student_t" or self.scatter_model == "features":
            posterior = self._flexible_scatter(X, y, covariance, posterior, scatter)
        self.scatter_ = float(np.exp(self.log_scatter_.gamma[0]))
        self.tail_df_ = np.inf if self.log_scatter_.df is None else self.log_scatter_.df
        self.params_ = posterior.mean
        self.params_factor_ = posterior.factor
        self.params_cov_ = posterior.factor @ posterior.factor.T
        self.log_evidence_ = posterior.log_evidence
        width = float(spread(y)) or 1.0
        self._scatter_range = width * SCATTER_RANGE[0], width * SCATTER_RANGE[1]
        self._keep_training_data(X, y, covariance)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # The search for the shape of the scatter goes through dense rows.
        tags.input_tags.sparse = self.tails == "gaussian" and self.scatter_model == "constant"
        return tags

    # -- fitting ---------------------------------------------------------------------

    def _constant_scatter(self, X: Array, y: Array, covariance: Covariance | None) -> tuple[Posterior, float]:
        """Evidence over the prior width and one normal scatter, whichever is not fixed."""
        reduce = reducer(X, y, covariance, self.fit_intercept, self.device)
        scaled = ScaledPrior.of(X, y, intercept=self.fit_intercept)
        fit_prior = isinstance(self.prior_cov, str)
        fit_noise = isinstance(self.scatter, str)
        fixed_prior = (
            None
            if fit_prior
            else Prior.given(self.prior_cov, self.prior_mean, X.shape[1] + self.fit_intercept)
        )
        if not fit_noise and self.scatter == 0 and (covariance is None or np.any(covariance.variance() == 0)):
            raise InputError("scatter is 0 and so is an error of y; accepted is scatter > 0 or errors > 0")

        def prior_at(log_tau: float) -> Prior:
            return scaled.at(float(np.exp(log_tau))) if fixed_prior is None else fixed_prior

        def evaluate(log_tau: float, scatter: float) -> Posterior:
            triangle, logdet = reduce(scatter)
            return conjugate(triangle, prior_at(log_tau), logdet)

        def scatter_at(log_scatter: float) -> float:
            return float(np.exp(log_scatter)) * scaled.y_std if fit_noise else float(self.scatter)

        nothing_to_fit = np.zeros(2)
        boxes = [
            np.log(TAU_RANGE) if fit_prior else nothing_to_fit,
            np.log(SCATTER_RANGE) if fit_noise else nothing_to_fit,
        ]
        with namespace(self.device).one_thread():
            best = maximise(lambda theta: evaluate(theta[0], scatter_at(theta[1])).log_evidence, boxes)
        scatter = scatter_at(best[1])
        if fit_noise and best[1] <= boxes[1][0] + 1e-6 and self._errors_given:
            # At its boundary the scatter is zero, unless an exact y forbids that.
            assert covariance is not None
            scatter = 0.0 if np.all(covariance.variance() > 0) else scatter
        self._prior = prior_at(best[0])
        self.prior_mean_, self.prior_cov_ = self._prior.mean, self._prior.cov
        self.prior_width_ = float(np.exp(best[0])) if fit_prior else None
        return evaluate(best[0], scatter), scatter

    def _flexible_scatter(
        self, X: Array, y: Array, covariance: Covariance | None, posterior: Posterior, scatter: float
    ) -> Posterior:
        if covariance is not None and not isinstance(covariance, DiagonalCovariance):
            raise InputError(
                "y_cov is not diagonal; accepted then are tails='gaussian' and scatter_model='constant'"
            )
        if not isinstance(self.scatter, str):
            raise InputError(
                f"scatter is {self.scatter}; with tails='student_t' or scatter_model='features' accepted is 'evidence'"
            )
        if len(y) < 2:
            raise InputError(
                f"n_samples={len(y)} is too few to fit the shape of the scatter; accepted are 2 or more"
            )
        start = posterior.mean, max(scatter, 1e-3 * float(np.std(y))) or 1e-12
        self.log_scatter_, posterior = fit_scatter(
            design(X, self.fit_intercept),
            X,
            y,
            np.zeros(len(y)) if covariance is None else covariance.variance(),
            self._prior,
            start,
            student=self.tails == "student_t",
            follow_features=self.scatter_model == "features",
        )
        return posterior

    def _check_parameters(self) -> None:
        accepted = {"tails": ("gaussian", "student_t"), "scatter_model": ("constant", "features")}
        for name, values in accepted.items():
            if getattr(self, name) not in values:
                raise InputError(
                    f"{name} is {getattr(self, name)!r}; accepted are {' and '.join(map(repr, values))}"
                )
        if isinstance(self.prior_cov, str) and self.prior_cov != "evidence":
            raise InputError(
                f"prior_cov is {self.prior_cov!r}; accepted are 'evidence', a number and an array"
            )
        if isinstance(self.prior_cov, str) and self.prior_mean is not None:
            raise InputError(
                "prior_mean is given and prior_cov is 'evidence'; accepted is a prior_cov of your own"
            )
        if isinstance(self.scatter, str):
            if self.scatter != "evidence":
                raise InputError(f"scatter is {self.scatter!r}; accepted are 'evidence' and a number >= 0")
        elif not (isinstance(self.scatter, Real) and 0 <= self.scatter < np.inf):
            raise InputError(f"scatter is {self.scatter!r}; accepted are 'evidence' and a number >= 0")

    # -- predicting -------------------------------------------------------------------

    def predict_dist(
        self, X: Any, *, X_err: Any = None, X_cov: Any = None, y_err: Any = None, y_cov: Any = None
    ) -> PredictiveDistribution:
        """Predictive distribution: of the observed y with `y_err` or `y_cov`, else of the true y.

        Where `fit` was given no errors, the noise it found is part of every
        prediction, and a given `y_err` comes on top of it.

        Parameters
        ----------
        X : array (n, d)
        X_err, X_cov : array (n, d) or CovarianceStack, optional
            Errors of X, propagated through the line.
        y_err, y_cov : array (n,) or Covariance, optional
            Errors of the y to compare with.

        Returns
        -------
        Gaussian
            For normal scatter, with a joint covariance.
        GaussianMixture
            For Student-t scatter.
        """
        X = self._new_data(X, X_err=X_err, y_err=y_err)
        n = X.shape[0]
        A = design(X, self.fit_intercept)
        modes = ParameterModes(A, self.params_factor_)
        stack = feature_covariance(n, X.shape[1], X_err, X_cov)
        measured = target_covariance(n, y_err, y_cov)
        weights, precisions = self.log_scatter_.mixture()
        scatter = self.log_scatter_.at(X) ** 2
        scatter_variance = scatter * float(np.sum(weights / precisions))
        measured_variance = np.zeros(n) if measured is None else measured.variance()
        variances = {
            "parameter": modes.variance(),
            "input": input_variance(stack, self.coef_, self.coef_cov_, n),
            "noise": measured_variance + (0 if self._errors_given else scatter_variance),
            "model": scatter_variance if self._errors_given else np.zeros(n),
        }
        mean = A @ self.params_
        if len(weights) == 1:
            joint = joint_covariance(variances["input"] + scatter_variance, modes, measured)
            return Gaussian(
                mean,
                total_std(variances),
                variance_components=variances,
                cov=joint,
            )
        shared = variances["parameter"] + variances["input"] + measured_variance
        stds = np.sqrt(shared[:, None] + scatter[:, None] / precisions)
        return GaussianMixture(weights, mean[:, None], stds, variance_components=variances)

    def to_pymc(self) -> Any:
        """The same model with the same prior, data and errors, to sample or to build on.

        The prior of the parameters is the one that was used, its width as the evidence
        chose it. A fixed scatter stays fixed; a fitted one gets a uniform prior over the
        range that was searched, and Student-t tails a uniform one of their degrees of
        freedom, so that sampling shows what their point estimates leave out.

        Returns
        -------
        pymc.Model
            With ``params`` (p,), intercept first, and where they are free ``scatter``
            and ``tail_df``.

        Raises
        ------
        InputError
            The scatter follows the features, or the training data were left behind in a pickle.
        MissingExtraError
            pymc is not installed.
        """
        rows = self._kept_training_data()
        if self.scatter_model == "features":
            raise InputError("scatter_model is 'features'; accepted for to_pymc is 'constant'")
        if self.tails == "student_t":
            return student_line(rows, self._prior, self._scatter_range, DF_RANGE)
        fitted = isinstance(self.scatter, str)
        return normal_line(rows, self._prior, self._scatter_range if fitted else float(self.scatter))


def _log_constant(scatter: float, d: int) -> Array:
    with np.errstate(divide="ignore"):
        return np.concatenate([[np.log(scatter)], np.zeros(d)])
