"""Regression with errors in both coordinates: one estimator, several methods.

    xi -> eta = a + b.xi (+ scatter),      x = xi + error of X,      y = eta + error of y

Errors of x do not only widen the answer: least squares of y on a noisy x is *biased*
towards zero, by var(xi) / (var(xi) + var(error)) for one feature (regression dilution).
The methods differ in what they assume about the true xi:

================ =========================================== ==========================
`York`           nothing; every point is on the line         chi2 with errors of both
`Orthogonal`     the same, with scatter or outliers          Hogg, Bovy & Lang (2010)
`Kelly`          drawn from a mixture of normals             posterior by sampling
================ =========================================== ==========================

Source: Ting, "Statistical Machine Learning for Astronomy" (arXiv:2506.12230), ch. 6.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from statml.compute import generator
from statml.errors import InputError, InputTypeError
from statml.regression.errors_in_variables.kelly import Kelly
from statml.regression.errors_in_variables.method import FittedLine, Measured, Method
from statml.regression.errors_in_variables.orthogonal import Orthogonal
from statml.regression.errors_in_variables.york import York
from statml.uncertainty.contract import DistributionRegressor, LinearParameters
from statml.uncertainty.covariance import Covariance, DiagonalCovariance
from statml.uncertainty.distributions import PredictiveDistribution
from statml.uncertainty.measurement import feature_covariance, refuse_quantities, target_covariance
from statml.uncertainty.parametric import Gaussian

Array = np.ndarray

METHODS: dict[str, type[Method]] = {"york": York, "orthogonal": Orthogonal, "kelly": Kelly}


class ErrorsInVariables(LinearParameters, DistributionRegressor):
    """A line through points with errors of X and of y.

    Parameters
    ----------
    method : {"york", "orthogonal", "kelly"} or Method
        A name stands for the method with its default settings; give an instance,
        such as ``Orthogonal(scatter=True)``, for others.
    fit_intercept : bool
        Fit a constant besides the slopes.
    random_state : int, Generator, RandomState or None
        Of the methods that sample.

    Attributes
    ----------
    params_, params_cov_ : arrays (p,), (p, p)
        Intercept (if fitted) and slopes, and their covariance, with the views `coef_`,
        `coef_cov_`, `coef_err_`, `intercept_`, `intercept_err_`.
    scatter_ : float
        Intrinsic scatter along y; 0 where the method has none.
    log_likelihood_, chi2_, dof_ : float, float, int
        Where the method has them; what else it offers is in its own documentation.

    See Also
    --------
    York, Orthogonal, Kelly : the methods.
    LinearRegression : for exact X.

    References
    ----------
    York et al. (2004), Am. J. Phys. 72, 367; Hogg, Bovy & Lang (2010), arXiv:1008.4686;
    Kelly (2007), arXiv:0705.2774.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> xi = rng.normal(0, 2, 300)
    >>> x, y = xi + rng.normal(0, 1, 300), 1 + 2 * xi + rng.normal(0, 1, 300)
    >>> line = ErrorsInVariables("york").fit(x[:, None], y, X_err=1.0, y_err=1.0)
    >>> np.round(line.coef_, 1), np.round(np.polyfit(x, y, 1)[0], 1)
    (array([2.]), np.float64(1.6))
    """

    def __init__(
        self, method: str | Method = "york", *, fit_intercept: bool = True, random_state: Any = None
    ) -> None:
        self.method = method
        self.fit_intercept = fit_intercept
        self.random_state = random_state

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
        y_upper_limit: Any = None,
    ) -> ErrorsInVariables:
        """Fit the line.

        Parameters
        ----------
        X : array (n, d)
        y : array (n,)
        X_err : float or array (n, d), optional
            Standard deviations of X.
        y_err : float or array (n,), optional
            Standard deviations of y; a row of infinite error says nothing about the line
            and is left out.
        X_cov : CovarianceStack, optional
            Instead of `X_err`.
        y_cov : Covariance, optional
            Instead of `y_err`; diagonal, the rows are measured independently.
        xy_cov : array (n, d), optional
            Covariance of the errors of each row's X with that of its y.
        y_upper_limit : array (n,) of bool, optional
            True where y is an upper limit; `Kelly` alone can use it.

        Returns
        -------
        self

        Raises
        ------
        InputError
            An argument that is not accepted, or that the method cannot use.
        """
        method = self._method()
        X, y = self._training_data(X, y, X_err=X_err, y_err=y_err, xy_cov=xy_cov)
        rows = _measured(X, y, self.fit_intercept, X_err, y_err, X_cov, y_cov, xy_cov, y_upper_limit)
        line = method.fit(rows, generator(self.random_state))
        for name in getattr(self, "_extras", ()):
            delattr(self, name)
        self._line: FittedLine = line
        self._extras = tuple(line.extras)
        self.params_, self.params_cov_, self.scatter_ = line.params, line.params_cov, line.scatter
        for name, value in line.extras.items():
            setattr(self, name, value)
        return self

    def _method(self) -> Method:
        if isinstance(self.method, Method):
            return self.method
        if isinstance(self.method, str) and self.method in METHODS:
            return METHODS[self.method]()
        names = ", ".join(map(repr, METHODS))
        raise InputError(f"method is {self.method!r}; accepted are {names} and an instance such as York()")

    def predict_dist(
        self, X: Any, *, X_err: Any = None, X_cov: Any = None, y_err: Any = None, y_cov: Any = None
    ) -> PredictiveDistribution:
        """Predictive distribution: of the observed y with `y_err` or `y_cov`, else of the true y.

        Parameters
        ----------
        X : array (n, d)
        X_err, X_cov : array (n, d) or CovarianceStack, optional
            Errors of X. York and orthogonal propagate them through the line, which
            is the flat prior of the true x; Kelly weighs them against the population.
        y_err, y_cov : array (n,) or Covariance, optional
            Errors of the y to compare with.

        Returns
        -------
        PredictiveDistribution
            Gaussian for York and orthogonal, StudentT (or a mixture) for a York fit
            without errors, GaussianMixture for Kelly.
        """
        X = self._new_data(X, X_err=X_err, y_err=y_err)
        stack = feature_covariance(len(X), X.shape[1], X_err, X_cov)
        measured = target_covariance(len(X), y_err, y_cov)
        prediction = self._line.predict_dist(X, stack, None if measured is None else measured.variance())
        if measured is None or isinstance(measured, DiagonalCovariance) or prediction.cov is None:
            return prediction
        # The method saw the variances alone; the joint covariance gets all of y_cov.
        true = self._line.predict_dist(X, stack, None).cov
        assert true is not None
        return Gaussian(
            prediction.mean,
            prediction.std,
            variance_components=prediction.variance_components,
            cov=Covariance.dense(true.to_dense() + measured.to_dense()),
        )

    def to_pymc(self, **settings: Any) -> Any:
        """The fitted model in PyMC, where the method has one (Kelly); its settings are those of the method.

        Raises
        ------
        InputError
            The method has no such counterpart.
        """
        return self._from_line("to_pymc")(**settings)

    def to_inference_data(self) -> Any:
        """The posterior draws as an ``arviz.InferenceData``, where the method samples (Kelly).

        Raises
        ------
        InputError
            The method does not sample.
        """
        return self._from_line("to_inference_data")()

    def _from_line(self, name: str) -> Any:
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        offered = getattr(self._line, name, None)
        if offered is None:
            raise InputError(f"{name} is not offered by method={self.method!r}; accepted is method='kelly'")
        return offered


def _measured(
    X: Array,
    y: Array,
    intercept: bool,
    X_err: Any,
    y_err: Any,
    X_cov: Any,
    y_cov: Any,
    xy_cov: Any,
    y_upper_limit: Any,
) -> Measured:
    """All arguments of fit as checked arrays, without the rows that have no information on y."""
    n, d = X.shape
    stack = feature_covariance(n, d, X_err, X_cov)
    covariance = target_covariance(n, y_err, y_cov)
    if covariance is not None and not isinstance(covariance, DiagonalCovariance):
        raise InputError(
            "y_cov is not diagonal, and lines with errors in both coordinates take rows as measured "
            "independently; accepted are y_err and Covariance.diagonal"
        )
    S = np.zeros((n, d, d)) if stack is None else stack.to_dense()
    y_var = None if covariance is None else covariance.variance()
    c = _shared_covariance(xy_cov, S, y_var)
    upper = _flags(y_upper_limit, n)
    if y_var is None or np.all(np.isfinite(y_var)):
        return Measured(X, y, S, y_var, c, upper, intercept)
    keep = np.isfinite(y_var)
    if not keep.any():
        raise InputError("y_err is infinite everywhere; accepted are some finite errors")
    return Measured(X[keep], y[keep], S[keep], y_var[keep], c[keep], upper[keep], intercept)


def _shared_covariance(xy_cov: Any, S: Array, y_var: Array | None) -> Array:
    """Checked `xy_cov` (n, d); zeros where it is not given."""
    n, d = S.shape[:2]
    if xy_cov is None:
        return np.zeros((n, d))
    refuse_quantities(xy_cov=xy_cov)
    try:
        c = np.asarray(xy_cov, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"xy_cov is a {type(xy_cov).__name__}; accepted is an array (n, d)") from error
    if c.shape != (n, d):
        raise InputError(f"xy_cov has shape {c.shape}; accepted is ({n}, {d}), as X")
    if not np.all(np.isfinite(c)):
        raise InputError("xy_cov contains NaN or inf; accepted are finite values")
    if y_var is None or not S.any():
        raise InputError(
            "xy_cov is given without errors of X and of y; accepted is X_err and y_err beside it"
        )
    # [[S, c], [c', v]] is a covariance where v - c'S^+ c >= 0 and c lies in the range of S.
    known = np.isfinite(y_var)
    if d == 1:
        impossible = c[:, 0] ** 2 > S[:, 0, 0] * np.where(known, y_var, 0) * (1 + 1e-10)
    else:
        joint = np.concatenate([np.concatenate([S, c[:, :, None]], axis=2), np.zeros((n, 1, d + 1))], axis=1)
        joint[:, d, :d], joint[:, d, d] = c, np.where(known, y_var, 0)
        size = np.sqrt(np.einsum("nii->ni", joint))
        size[size == 0] = 1
        impossible = np.linalg.eigvalsh(joint / (size[:, :, None] * size[:, None, :]))[:, 0] < -1e-8
    impossible &= known
    if impossible.any():
        raise InputError(
            f"xy_cov of row {int(np.argmax(impossible))} is larger than the errors of its X and y allow; "
            "accepted is a correlation between -1 and 1"
        )
    return c


def _flags(y_upper_limit: Any, n: int) -> Array:
    """Checked `y_upper_limit` (n,); False where it is not given."""
    if y_upper_limit is None:
        return np.zeros(n, dtype=bool)
    flags = np.asarray(y_upper_limit)
    if flags.shape != (n,) or flags.dtype != bool:
        raise InputError(
            f"y_upper_limit has shape {flags.shape} and type {flags.dtype}; accepted is ({n},) of bool"
        )
    return flags
