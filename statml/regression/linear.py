r"""Linear regression with measurement errors: ordinary, weighted and generalised least squares.

With design A = [1, X] and errors of covariance C, the estimate and its covariance are

    x = (A^T C^-1 A)^-1 A^T C^-1 y,     cov(x) = (A^T C^-1 A)^-1

found by orthogonal transformations (`statml.regression.least_squares`). Where the
errors are known only up to a factor, or not at all, that factor is chi2 / dof and
the predictions follow Student's t with dof degrees of freedom.

Source: Ting, "Statistical Machine Learning for Astronomy" (arXiv:2506.12230), ch. 4.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from statml.compute import Device, namespace
from statml.errors import InputError
from statml.regression.least_squares import Solution, refine, solve
from statml.regression.predictive import design, inflate, input_variance, joint_covariance, total_std
from statml.regression.reduction import reduce_measured
from statml.uncertainty.contract import DistributionRegressor, LinearParameters
from statml.uncertainty.covariance import Covariance
from statml.uncertainty.distributions import PredictiveDistribution
from statml.uncertainty.measurement import feature_covariance, refuse_arguments, target_covariance
from statml.uncertainty.mixtures import GaussianMixture, student_as_normals
from statml.uncertainty.parametric import Gaussian, StudentT, variance_inflation

Array = np.ndarray


class LinearRegression(LinearParameters, DistributionRegressor):
    """Least squares with the errors of y: OLS without, WLS with `y_err`, GLS with `y_cov`.

    Parameters
    ----------
    fit_intercept : bool
        Fit a constant besides the slopes.
    absolute_errors : bool or None
        True: the errors of y are taken as they are. False: they are relative
        weights, rescaled by chi2 / dof. None: absolute where errors are given.
    device : {"cpu", "cuda", "auto"}
        Where the design is factorised.

    Attributes
    ----------
    params_ : array (p,)
        Intercept (if fitted) and slopes; `params_cov_` (p, p) is their covariance.
        `coef_`, `coef_cov_`, `coef_err_`, `intercept_`, `intercept_err_` are views.
    chi2_ : float
        Weighted sum of squared residuals.
    dof_ : int
        Rows with information minus parameters.
    scale_ : float
        What the given (or unit) errors were multiplied with: sqrt(chi2 / dof), or 1
        for absolute errors. Without errors it is the fitted noise of y.
    condition_number_ : float
        Of the weighted design with columns of unit length.
    n_refinements_ : int
        Steps of iterative refinement; 0 where the design is well conditioned.

    See Also
    --------
    BayesianLinearRegression : with a prior, fitted intrinsic scatter, heavy tails.

    References
    ----------
    Hogg, Bovy & Lang (2010), arXiv:1008.4686, sections 1 and 2.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> line = LinearRegression().fit(x, [1.0, 3.1, 4.9, 7.0], y_err=0.1)
    >>> np.round(line.params_, 2), np.round(line.coef_err_, 3)
    (array([1.03, 1.98]), array([0.045]))
    >>> line.predict_dist([[4.0]], y_err=0.1).std.round(3)
    array([0.158])
    """

    fit_refuses: ClassVar[dict[str, str]] = {
        "X_err": "ordinary least squares takes X as exact; pass the errors of X to predict_dist",
        "X_cov": "ordinary least squares takes X as exact; pass the errors of X to predict_dist",
        "xy_cov": "ordinary least squares takes X as exact, so nothing can be correlated with it",
    }

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        absolute_errors: bool | None = None,
        device: Device = "cpu",
    ) -> None:
        self.fit_intercept = fit_intercept
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
    ) -> LinearRegression:
        """Fit the line.

        Parameters
        ----------
        X : array (n, d)
        y : array (n,)
        y_err : float or array (n,), optional
            Standard deviations of y; inf leaves a row without influence.
        y_cov : Covariance, optional
            Instead of `y_err`.
        X_err, X_cov, xy_cov
            Refused: least squares takes X as exact.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Fewer rows than parameters, dependent columns, an error of zero, or an
            argument that is refused.
        """
        if self.absolute_errors not in (True, False, None):
            raise InputError(
                f"absolute_errors is {self.absolute_errors!r}; accepted are True, False and None"
            )
        refuse_arguments(self, "fit", self.fit_refuses, X_err=X_err, X_cov=X_cov, xy_cov=xy_cov)
        X, y = self._training_data(X, y, y_err=y_err)
        covariance = target_covariance(len(y), y_err, y_cov)
        if self.absolute_errors and covariance is None:
            raise InputError("absolute_errors is True and neither y_err nor y_cov is given; give one of them")
        X, y, covariance = _informative(X, y, covariance)
        self.dof_ = len(y) - X.shape[1] - int(self.fit_intercept)
        absolute = covariance is not None if self.absolute_errors is None else self.absolute_errors
        if self.dof_ < (0 if absolute else 1):
            raise InputError(
                f"n_samples={len(y)} is too few for {len(y) - self.dof_} parameters"
                + ("" if absolute else " and a fitted noise level; give y_err or more rows")
            )
        solution = self._solve(X, y, covariance)
        self.chi2_ = solution.chi2
        self.scale_ = 1.0 if absolute else float(np.sqrt(self.chi2_ / self.dof_))
        self.params_ = solution.params
        self.params_cov_ = self.scale_**2 * (solution.factor @ solution.factor.T)
        self.condition_number_ = solution.condition
        self.n_refinements_ = solution.refinements
        self._unit_factor = solution.factor
        self._absolute = absolute
        self._errors_given = covariance is not None
        return self

    def _solve(self, X: Array, y: Array, covariance: Covariance | None) -> Solution:
        names = ["intercept"] * self.fit_intercept + [f"column {j}" for j in range(X.shape[1])]
        triangle = reduce_measured(
            X, y, covariance, intercept=self.fit_intercept, device=namespace(self.device)
        )
        solution = solve(triangle, names)
        if not solution.worth_refining:
            return solution
        A = design(X, self.fit_intercept)
        if covariance is None:
            return refine(solution, A, y)
        return refine(solution, covariance.whiten(A), covariance.whiten(y))

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
            Errors of X, propagated through the line (exactly, to second order).
        y_err, y_cov : array (n,) or Covariance, optional
            Errors of the y to compare with.

        Returns
        -------
        Gaussian
            For absolute errors.
        StudentT
            With `dof_` degrees of freedom, where the scale of the errors was fitted.
        GaussianMixture
            The same, with errors on top that are known apart from that scale.
        """
        X = self._new_data(X, X_err=X_err, y_err=y_err)
        n = len(X)
        A = design(X, self.fit_intercept)
        modes = self.scale_ * (A @ self._unit_factor)
        stack = feature_covariance(n, X.shape[1], X_err, X_cov)
        measured = target_covariance(n, y_err, y_cov)
        relative = self._errors_given and not self._absolute
        if measured is not None and relative:
            # The errors of fit were relative weights, so those of y here are relative too.
            measured = measured.times(self.scale_**2)
        fitted_noise = 0.0 if self._errors_given else self.scale_**2
        measured_variance = np.zeros(n) if measured is None else measured.variance()
        parameter = np.einsum("ij,ij->i", modes, modes)
        inputs = input_variance(stack, self.coef_, self.coef_cov_, n)
        mean = A @ self.params_
        if self._absolute:
            variances = {"parameter": parameter, "input": inputs, "noise": measured_variance}
            joint = joint_covariance(inputs, modes, measured)
            return Gaussian(mean, total_std(variances), variance_components=variances, cov=joint)
        # What carries the fitted scale follows a t; errors known apart from it are added to it.
        known = inputs if relative else inputs + measured_variance
        scaled_noise = measured_variance if relative else np.full(n, fitted_noise)
        scale = np.sqrt(parameter + scaled_noise)
        if not known.any():
            inflation = float(variance_inflation(self.dof_))
            variances = {
                "parameter": inflate(parameter, inflation),
                "noise": inflate(scaled_noise, inflation),
            }
            joint = joint_covariance(np.full(n, fitted_noise), modes, measured)
            return StudentT(mean, scale, self.dof_, variance_components=variances, scale_cov=joint)
        weights, precisions = student_as_normals(self.dof_)
        inflation = float(np.sum(weights / precisions))
        variances = {
            "parameter": inflation * parameter,
            "input": inputs,
            "noise": inflation * scaled_noise + (0 if relative else measured_variance),
        }
        stds = np.sqrt(known[:, None] + scale[:, None] ** 2 / precisions)
        return GaussianMixture(weights, mean[:, None], stds, variance_components=variances)

    def leverage(self, X: Any, *, y_err: Any = None, y_cov: Any = None) -> Array:
        """Weight of each observation in its own prediction: the diagonal of A (A^T C^-1 A)^-1 A^T C^-1, whitened.

        Parameters
        ----------
        X : array (n, d)
            The training rows.
        y_err, y_cov : float, array (n,) or Covariance, optional
            Their errors, as given to `fit`.

        Returns
        -------
        array (n,)
            Between 0 and 1; sums to the number of parameters.

        Raises
        ------
        InputError
            `fit` was given errors and this is not, or the other way round.
        """
        X = self._new_data(X, y_err=y_err)
        covariance = target_covariance(len(X), y_err, y_cov)
        if (covariance is not None) != self._errors_given:
            given = "y_err or y_cov" if self._errors_given else "no errors"
            raise InputError(f"fit was given {given}; accepted is the same here")
        A = design(X, self.fit_intercept)
        white = A if covariance is None else covariance.whiten(A)
        return np.sum((white @ self._unit_factor) ** 2, axis=1)


def _informative(X: Array, y: Array, covariance: Covariance | None) -> tuple[Array, Array, Covariance | None]:
    """Leave out rows whose error is infinite; they say nothing."""
    if covariance is None:
        return X, y, None
    variance = covariance.variance()
    if np.any(variance == 0):
        raise InputError(
            "y_err contains zero, and least squares cannot take a value of y as exact; "
            "accepted are positive errors, or BayesianLinearRegression with intrinsic scatter"
        )
    keep = np.isfinite(variance)
    return (X, y, covariance) if keep.all() else (X[keep], y[keep], covariance[keep])
