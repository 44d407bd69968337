r"""Ridge regression: least squares with a penalty, which is a prior, and how to choose it.

    minimise  (y - A x)^T C^-1 (y - A x) + alpha sum_j (s_j b_j)^2

over the constant, which is not penalised, and the slopes b, in units of the spread s_j
of their features. The estimate is the posterior mean for b_j ~ N(0, scale^2 / (alpha s_j^2)).

Source: Ting, "Statistical Machine Learning for Astronomy" (arXiv:2506.12230), ch. 4 and 5.
"""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np

from statml.compute import Device, namespace
from statml.errors import InputError
from statml.regression.least_squares import solve
from statml.regression.predictive import column_moments, design
from statml.regression.reduction import reduce_measured
from statml.regression.ridge_path import RidgePath, best_penalty
from statml.regression.scaled_errors import ScaledErrorsRegressor
from statml.uncertainty.covariance import Covariance, DiagonalCovariance

Array = np.ndarray


class RidgeRegression(ScaledErrorsRegressor):
    """Least squares with a penalty on the slopes, chosen by the training data alone.

    Parameters
    ----------
    alpha : "gcv", "loo", "evidence" or float >= 0
        The penalty. "gcv" minimises generalised cross-validation, "loo" the closed-form
        leave-one-out error (independent errors only), "evidence" maximises the marginal
        likelihood. 0 is `LinearRegression`. "gcv" spreads the leverage evenly over the
        rows: where a few odd rows have nearly all of it, take "loo".
    fit_intercept : bool
        Fit a constant, which is not penalised.
    standardise : bool
        Penalise slopes per standard deviation of their feature, so that the answer does
        not depend on units; False penalises them as they are, as scikit-learn's ``Ridge``.
    absolute_errors : bool or None
        As in `LinearRegression`: errors of y as they are, or up to a fitted factor.
    device : {"cpu", "cuda", "auto"}
        Where the design is factorised.

    Attributes
    ----------
    params_ : array (p,)
        Intercept (if fitted) and slopes, with the views `coef_`, `intercept_`, ...
    params_cov_ : array (p, p)
        *Posterior* covariance under the prior that the penalty is,
        ``scale_**2 (A^T C^-1 A + alpha S^2)^-1``. It holds the variance of the estimate
        and, on average over that prior, the square of its bias.
    sampling_cov_ : array (p, p)
        Variance of the estimate alone, over repeated measurements: smaller, because a
        penalised estimate varies little around a *biased* mean (see Notes).
    alpha_ : float
        The penalty that was used.
    dof_effective_ : float
        tr H, the constant included: how many parameters the data decide.
    dof_ : float
        n - tr H.
    chi2_, scale_ : float
        Weighted sum of squared residuals; sqrt(chi2 / dof), or 1 for absolute errors.
    gcv_ : float
        n chi2 / (n - tr H)^2.
    loo_ : float or None
        Mean squared leave-one-out residual over squared error; None for correlated errors.
    log_evidence_ : float
        Log marginal likelihood, with a flat prior of the constant (and of the log scale,
        where it is fitted): comparable between penalties and features, not between data.
    feature_scale_ : array (d,)
        The spreads s_j of the penalty; ones without `standardise`.

    Notes
    -----
    Given true slopes b, the estimate is off by ``-alpha M^-1 S^2 b`` on average, with
    ``M = A^T C^-1 A + alpha S^2``. Nobody knows b, and the plug-in of the estimate is
    itself shrunk; intervals from `params_cov_` are right on average over slopes drawn
    from the prior, and too narrow for a slope much larger than the others. The penalty
    is a point estimate; what it is uncertain by is not in the intervals.

    The scale is chi2 / (n - tr H), unbiased under the prior, and predictions follow
    Student's t with n - tr H degrees of freedom.

    See Also
    --------
    BayesianLinearRegression : the same prior with intrinsic scatter beside known errors.

    References
    ----------
    Hoerl & Kennard (1970), Technometrics 12, 55; Golub, Heath & Wahba (1979), ibid. 21, 215.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(2)
    >>> X = rng.normal(size=(60, 30))
    >>> y = X @ rng.normal(0, 0.2, 30) + rng.normal(size=60)
    >>> ridge = RidgeRegression(alpha="loo").fit(X, y)
    >>> bool(ridge.dof_effective_ < 25), bool(0 < ridge.scale_ < 2)
    (True, True)
    """

    fit_refuses: ClassVar[dict[str, str]] = {
        "X_err": "ridge regression takes X as exact; pass the errors of X to predict_dist",
        "X_cov": "ridge regression takes X as exact; pass the errors of X to predict_dist",
        "xy_cov": "ridge regression takes X as exact, so nothing can be correlated with it",
    }

    def __init__(
        self,
        alpha: float | Literal["gcv", "loo", "evidence"] = "gcv",
        *,
        fit_intercept: bool = True,
        standardise: bool = True,
        absolute_errors: bool | None = None,
        device: Device = "cpu",
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.standardise = standardise
        self.absolute_errors = absolute_errors
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
    ) -> RidgeRegression:
        """Choose the penalty and fit the line.

        Parameters
        ----------
        X : array or sparse matrix (n, d)
        y : array (n,)
        y_err : float or array (n,), optional
            Standard deviations of y; inf leaves a row without influence.
        y_cov : Covariance, optional
            Instead of `y_err`.
        X_err, X_cov, xy_cov
            Refused: ridge regression takes X as exact.

        Returns
        -------
        self

        Raises
        ------
        InputError
            A parameter that is not accepted, an error of zero, dependent columns with
            ``alpha=0``, or less than one degree of freedom left for a fitted scale.
        """
        self._check_parameters()
        X, y, covariance = self._measured_data(
            X, y, y_err=y_err, y_cov=y_cov, X_err=X_err, X_cov=X_cov, xy_cov=xy_cov
        )
        absolute = self._takes_errors_as_they_are(covariance)
        triangle = reduce_measured(
            X, y, covariance, intercept=self.fit_intercept, device=namespace(self.device)
        )
        spread = column_moments(X)[1] if self.standardise else np.ones(X.shape[1])
        self.feature_scale_ = np.where(spread > 0, spread, 1.0)
        path = RidgePath.of(triangle, self.feature_scale_, intercept=self.fit_intercept)
        noise_logdet = 0.0 if covariance is None else covariance.logdet()
        self.alpha_ = self._choose(path, X, y, covariance, absolute)
        if self.alpha_ == 0:
            names = ["intercept"] * self.fit_intercept + [f"column {j}" for j in range(X.shape[1])]
            solve(triangle, names)  # refuses what a penalty would have decided
        self.dof_ = float(path.residual_dof(self.alpha_))
        if not absolute and self.dof_ < 1 - 1e-9:
            raise InputError(
                f"n_samples={len(y)} is too few for alpha={self.alpha_:.3g}: {self.dof_:.2g} degrees of freedom "
                "are left for the noise level; accepted are y_err, more rows or a larger alpha"
            )
        self.dof_effective_ = len(y) - self.dof_
        self.chi2_ = float(path.chi2(self.alpha_))
        self.gcv_ = float(path.gcv(self.alpha_))
        self.log_evidence_ = float(
            path.log_evidence(self.alpha_, absolute=absolute, noise_logdet=noise_logdet)
        )
        self.scale_ = 1.0 if absolute else float(np.sqrt(self.chi2_ / self.dof_))
        self.params_, self._unit_factor = path.solution(self.alpha_)
        self.params_cov_ = self.scale_**2 * (self._unit_factor @ self._unit_factor.T)
        gain = self._unit_factor @ (triangle.R @ self._unit_factor).T
        self.sampling_cov_ = self.scale_**2 * (gain @ gain.T)
        self._absolute, self._errors_given = absolute, covariance is not None
        self.loo_ = None
        if covariance is None or isinstance(covariance, DiagonalCovariance):
            self.loo_ = float(path.loo_scores(X, y, _weights(covariance, len(y)), np.array([self.alpha_]))[0])
        return self

    def _choose(
        self, path: RidgePath, X: Any, y: Array, covariance: Covariance | None, absolute: bool
    ) -> float:
        if not isinstance(self.alpha, str):
            return float(self.alpha)
        if path.n - int(self.fit_intercept) < 1:
            raise InputError(
                f"n_samples={path.n} is too few to choose a penalty; accepted are more rows, or alpha as a number"
            )
        if self.alpha == "gcv":
            return best_penalty(path.gcv, path)
        if self.alpha == "evidence":
            return best_penalty(lambda a: -path.log_evidence(a, absolute=absolute, noise_logdet=0.0), path)
        if covariance is not None and not isinstance(covariance, DiagonalCovariance):
            raise InputError(
                "y_cov is not diagonal, and alpha='loo' leaves out one independent row after the other; "
                "accepted then are alpha='gcv', alpha='evidence' and a number"
            )
        weights = _weights(covariance, len(y))
        return best_penalty(lambda a: path.loo_scores(X, y, weights, a), path)

    def _check_parameters(self) -> None:
        named = isinstance(self.alpha, str) and self.alpha in ("gcv", "loo", "evidence")
        number = (
            isinstance(self.alpha, Real) and not isinstance(self.alpha, bool) and 0 <= self.alpha < np.inf
        )
        if not (named or number):
            raise InputError(
                f"alpha is {self.alpha!r}; accepted are 'gcv', 'loo', 'evidence' and a number >= 0"
            )

    def leave_one_out(self, X: Any, y: Any, *, y_err: Any = None) -> Array:
        """Residual of each training row under the fit without it: r_i / (1 - h_i), at the same penalty.

        Parameters
        ----------
        X, y : array (n, d), (n,)
            The training rows.
        y_err : float or array (n,), optional
            Their errors, as given to `fit`.

        Returns
        -------
        array (n,)
            In the units of y; plain residuals for rows whose error is infinite.

        Raises
        ------
        InputError
            A row that alone decides a parameter (leverage 1) has no such residual.
        """
        h = self.leverage(X, y_err=y_err)
        left = 1 - h
        if np.any(left < 1e-12):
            raise InputError(
                f"row {int(np.argmin(left))} of X alone decides a parameter, so no fit without it exists; "
                "accepted are rows of leverage < 1"
            )
        residual = np.asarray(y, float) - np.asarray(
            design(self._new_data(X), self.fit_intercept) @ self.params_
        )
        return residual / left


def _weights(covariance: Covariance | None, n: int) -> Array | None:
    return None if covariance is None else covariance.whiten(np.ones(n))
