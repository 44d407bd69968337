"""Predictions of linear models whose errors are known, or known up to a factor.

Least squares, ridge and conjugate regression end in the same place: parameters, a
factor F with (A^T C^-1 A + ...)^-1 = F F^T, and the scale s of the errors. Where s
was given (absolute errors) a prediction is normal; where it was fitted, or has a
posterior of its own, it follows Student's t. `ScaledErrorsRegressor` predicts for
all of them, so that "which y?" has one answer.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from statml.errors import InputError
from statml.regression.predictive import (
    ParameterModes,
    design,
    inflate,
    input_variance,
    joint_covariance,
    total_std,
)
from statml.uncertainty.contract import DistributionRegressor, LinearParameters
from statml.uncertainty.covariance import Covariance
from statml.uncertainty.distributions import PredictiveDistribution
from statml.uncertainty.measurement import feature_covariance, refuse_arguments, target_covariance
from statml.uncertainty.mixtures import GaussianMixture, student_as_normals
from statml.uncertainty.parametric import Gaussian, StudentT, variance_inflation

Array = np.ndarray


class ScaledErrorsRegressor(LinearParameters, DistributionRegressor):
    """Base of the linear regressors whose errors have one scale, given or fitted.

    A subclass sets in ``fit``: ``params_``, ``params_cov_``, ``scale_``, ``dof_``,
    ``_unit_factor`` (F), ``_absolute`` (s is given), ``_errors_given``.
    """

    scale_: float
    dof_: float
    _unit_factor: Array
    _absolute: bool
    _errors_given: bool

    fit_refuses: ClassVar[dict[str, str]] = {
        "X_err": "ordinary least squares takes X as exact; pass the errors of X to predict_dist",
        "X_cov": "ordinary least squares takes X as exact; pass the errors of X to predict_dist",
        "xy_cov": "ordinary least squares takes X as exact, so nothing can be correlated with it",
    }

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _measured_data(
        self, X: Any, y: Any, *, y_err: Any, y_cov: Any, **errors: Any
    ) -> tuple[Array, Array, Covariance | None]:
        """Checked X and y with the covariance of y; rows whose error is infinite are left out."""
        refuse_arguments(self, "fit", self.fit_refuses, **errors)
        X, y = self._training_data(X, y, y_err=y_err)
        return informative(X, y, target_covariance(len(y), y_err, y_cov))

    def _takes_errors_as_they_are(self, covariance: Covariance | None) -> bool:
        """The parameter `absolute_errors` (None: where there are errors), checked."""
        given: Any = getattr(self, "absolute_errors", None)
        if given not in (True, False, None):
            raise InputError(f"absolute_errors is {given!r}; accepted are True, False and None")
        if given and covariance is None:
            raise InputError("absolute_errors is True and neither y_err nor y_cov is given; give one of them")
        return covariance is not None if given is None else bool(given)

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
            Errors of the y to compare with; relative ones where those of `fit` were.

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
        n = X.shape[0]
        A = design(X, self.fit_intercept)
        modes = ParameterModes(A, self.scale_ * self._unit_factor)
        stack = feature_covariance(n, X.shape[1], X_err, X_cov)
        measured = target_covariance(n, y_err, y_cov)
        relative = self._errors_given and not self._absolute
        if measured is not None and relative:
            # The errors of fit were relative weights, so those of y here are relative too.
            measured = measured.times(self.scale_**2)
        fitted_noise = 0.0 if self._errors_given else self.scale_**2
        measured_variance = np.zeros(n) if measured is None else measured.variance()
        parameter = modes.variance()
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
        """Weight of each observation in its own prediction: the diagonal of the (whitened) hat matrix.

        Parameters
        ----------
        X : array (n, d)
            The training rows.
        y_err, y_cov : float, array (n,) or Covariance, optional
            Their errors, as given to `fit`.

        Returns
        -------
        array (n,)
            Between 0 and 1; sums to the (effective) number of parameters.

        Raises
        ------
        InputError
            `fit` was given errors and this is not, or the other way round.
        """
        X = self._new_data(X, y_err=y_err)
        covariance = target_covariance(X.shape[0], y_err, y_cov)
        if (covariance is not None) != self._errors_given:
            given = "y_err or y_cov" if self._errors_given else "no errors"
            raise InputError(f"fit was given {given}; accepted is the same here")
        modes = np.asarray(design(X, self.fit_intercept) @ self._unit_factor)
        white = modes if covariance is None else covariance.whiten(modes)
        return np.sum(white**2, axis=1)


def informative(X: Array, y: Array, covariance: Covariance | None) -> tuple[Array, Array, Covariance | None]:
    """Leave out rows whose error is infinite; they say nothing.

    Raises
    ------
    InputError
        An error is zero, or all are infinite.
    """
    if covariance is None:
        return X, y, None
    variance = covariance.variance()
    if np.any(variance == 0):
        raise InputError(
            "y_err contains zero, and least squares cannot take a value of y as exact; "
            "accepted are positive errors, or BayesianLinearRegression with intrinsic scatter"
        )
    keep = np.isfinite(variance)
    if not keep.any():
        raise InputError("y_err is infinite everywhere; accepted are some finite errors")
    return (X, y, covariance) if keep.all() else (X[keep], y[keep], covariance[keep])
