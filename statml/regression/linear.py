r"""Linear regression with measurement errors: ordinary, weighted and generalised least squares.

With design A = [1, X] and errors of covariance C, the estimate and its covariance are

    x = (A^T C^-1 A)^-1 A^T C^-1 y,     cov(x) = (A^T C^-1 A)^-1

found by orthogonal transformations (`statml.regression.least_squares`). Where the
errors are known only up to a factor, or not at all, that factor is chi2 / dof and
the predictions follow Student's t with dof degrees of freedom.

Source: Ting, "Statistical Machine Learning for Astronomy" (arXiv:2506.12230), ch. 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from statml.compute import Device, namespace
from statml.errors import InputError
from statml.regression.least_squares import Solution, solve
from statml.regression.reduction import reduce_measured, refine_measured
from statml.regression.scaled_errors import ScaledErrorsRegressor
from statml.uncertainty.covariance import Covariance

Array = np.ndarray


class LinearRegression(ScaledErrorsRegressor):
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
        X : array or sparse matrix (n, d)
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
        X, y, covariance = self._measured_data(
            X, y, y_err=y_err, y_cov=y_cov, X_err=X_err, X_cov=X_cov, xy_cov=xy_cov
        )
        absolute = self._takes_errors_as_they_are(covariance)
        self.dof_ = len(y) - X.shape[1] - int(self.fit_intercept)
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
        return refine_measured(solution, X, y, covariance, intercept=self.fit_intercept)
