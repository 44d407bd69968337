r"""Conjugate Bayesian regression with an unknown noise level.

    y = A x + e,   e ~ N(0, sigma^2 V),   x ~ N(m0, sigma^2 S0),   sigma^2 ~ IG(a0, b0)

With the prior in units of the noise everything stays in closed form: given the data,

    S_N^-1 = S0^-1 + A^T V^-1 A,        m_N = S_N (S0^-1 m0 + A^T V^-1 y),
    a_N = a0 + n / 2,                   b_N = b0 + Q / 2,
    Q = (y - A m0)^T (V + A S0 A^T)^-1 (y - A m0),

the parameters and every prediction follow Student's t with 2 a_N degrees of freedom,
and the evidence is the density of a multivariate t at y.

Source: Ting, "Statistical Machine Learning for Astronomy" (arXiv:2506.12230), ch. 5;
Gelman et al., "Bayesian Data Analysis", ch. 14.
"""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from scipy import special, stats

from statml.compute import Device, namespace, spread
from statml.errors import InputError
from statml.regression.evidence import Prior, ScaledPrior, Update, maximise, update
from statml.regression.least_squares import Triangle, solve
from statml.regression.pymc_models import TrainingData, conjugate_line
from statml.regression.reduction import reduce_measured
from statml.regression.scaled_errors import ScaledErrorsRegressor
from statml.uncertainty.covariance import Covariance
from statml.uncertainty.parametric import StudentT

Array = np.ndarray

# Search box of the evidence, and the constant's prior width: in units of the noise.
TAU_RANGE = (1e-4, 1e6)
CONSTANT_WIDTH = 1e3
# Without errors of y the noise is a priori about this share of the spread of y.
NOISE_SHARE = 1e-3


class NormalInverseGammaRegression(TrainingData, ScaledErrorsRegressor):
    """Conjugate regression: normal parameters, inverse-gamma noise variance, Student-t answers.

    Parameters
    ----------
    fit_intercept : bool
        Fit a constant besides the slopes.
    prior_cov : "evidence", float, array (p, p), or inf
        S0: prior covariance of the parameters (intercept first) *in units of the noise
        variance sigma^2*. A number is the value of each on the diagonal. "evidence"
        puts one width on the standardised slopes, chosen by the evidence, and a constant
        at the mean of the features that is free within a thousand noise widths.
        ``inf`` is a flat prior, which has no evidence.
    prior_mean : None, float or array (p,)
        m0; None for 0 (with "evidence": the mean of y for the constant).
    noise_df : float >= 0
        2 a0: how many earlier measurements the prior of the noise is worth. 0 is the
        improper prior 1 / sigma^2.
    noise_scale : None or float
        sqrt(b0 / a0): their noise. None is 1 where `fit` has errors of y (they are about
        right), else a thousandth of the standard deviation of y. Worth a tenth of a
        measurement it is weak, and proper.
    device : {"cpu", "cuda", "auto"}
        Where the design is factorised.

    Attributes
    ----------
    params_, params_cov_ : arrays (p,), (p, p)
        Posterior mean and covariance with sigma integrated out, intercept first, with
        the views `coef_`, `coef_err_`, `intercept_`, ...
    unit_cov_ : array (p, p)
        S_N, the covariance given sigma = 1.
    noise_shape_, noise_rate_ : float
        a_N and b_N.
    scale_ : float
        sqrt(b_N / a_N): noise of y, or what its given errors are multiplied with.
    dof_ : float
        2 a_N, degrees of freedom of parameters and predictions.
    log_evidence_ : float
        log p(y); -inf for a flat prior, and up to a constant for ``noise_df=0``.
    prior_mean_, prior_cov_, prior_width_
        The prior that was used (None for a flat one), and the width "evidence" chose.

    Notes
    -----
    Errors of y are relative: V is their square, and how much they are off by is sigma.
    A prediction of the observed y multiplies its `y_err` in the same way. For errors
    that are right, and scatter on top of them, see `BayesianLinearRegression`.

    The width that "evidence" chooses is a point estimate (type-II maximum likelihood),
    and the constant's prior is centred on the data: with few rows for a parameter
    intervals are too narrow (tested for n >= 20 p). A `prior_cov` of your own has no such
    limit; with ``prior_cov=inf, noise_df=0`` the t intervals are exact for any n > p + 2.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 1))
    >>> y = 1 + 2 * X[:, 0] + 0.5 * rng.normal(size=200)
    >>> line = NormalInverseGammaRegression().fit(X, y)
    >>> np.round(line.coef_, 1), round(line.scale_, 1)
    (array([2.]), 0.5)
    >>> low, high = line.noise_posterior().interval(0.95)  # of sigma^2
    >>> bool(low < 0.25 < high)
    True
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
        noise_df: float = 0.1,
        noise_scale: float | None = None,
        device: Device = "cpu",
    ) -> None:
        self.fit_intercept = fit_intercept
        self.prior_cov = prior_cov
        self.prior_mean = prior_mean
        self.noise_df = noise_df
        self.noise_scale = noise_scale
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
    ) -> NormalInverseGammaRegression:
        """Find the posterior of line and noise.

        Parameters
        ----------
        X : array or sparse matrix (n, d)
        y : array (n,)
        y_err : float or array (n,), optional
            Standard deviations of y, known up to one factor; inf is no information.
        y_cov : Covariance, optional
            Instead of `y_err`.
        X_err, X_cov, xy_cov
            Refused.

        Returns
        -------
        self

        Raises
        ------
        InputError
            A parameter or an error argument that is not accepted, an error of zero, or
            too few rows for predictions to have a variance.
        """
        self._check_parameters()
        X, y, covariance = self._measured_data(
            X, y, y_err=y_err, y_cov=y_cov, X_err=X_err, X_cov=X_cov, xy_cov=xy_cov
        )
        flat = isinstance(self.prior_cov, Real) and float(self.prior_cov) == np.inf
        p = X.shape[1] + int(self.fit_intercept)
        self.dof_ = float(self.noise_df + len(y) - (p if flat else 0))
        if self.dof_ <= 2:
            raise InputError(
                f"n_samples={len(y)} is too few: {self.dof_:g} degrees of freedom are left, and a variance "
                "needs more than 2; accepted are more rows or a larger noise_df"
            )
        triangle = reduce_measured(
            X, y, covariance, intercept=self.fit_intercept, device=namespace(self.device)
        )
        self._noise_logdet = 0.0 if covariance is None else covariance.logdet()
        self._noise_scale = self._prior_noise(y, covariance)
        self._prior = None if flat else self._choose_prior(X, y, triangle)
        found = self._flat(triangle) if self._prior is None else update(triangle, self._prior)
        self.prior_mean_ = None if self._prior is None else self._prior.mean
        self.prior_cov_ = None if self._prior is None else self._prior.cov
        self.noise_shape_ = self.dof_ / 2
        self.noise_rate_ = 0.5 * (self.noise_df * self._noise_scale**2 + found.distance)
        self.scale_ = float(np.sqrt(self.noise_rate_ / self.noise_shape_))
        self.params_, self._unit_factor = found.mean, found.factor
        self.unit_cov_ = found.factor @ found.factor.T
        self.params_cov_ = self.scale_**2 * self.dof_ / (self.dof_ - 2) * self.unit_cov_
        self.log_evidence_ = -np.inf if flat else self._log_evidence(triangle, found)
        self._absolute, self._errors_given = False, covariance is not None
        self._keep_training_data(X, y, covariance)
        return self

    # -- fitting ---------------------------------------------------------------------

    def _prior_noise(self, y: Array, covariance: Covariance | None) -> float:
        if self.noise_scale is not None:
            return float(self.noise_scale)
        if covariance is not None:
            return 1.0
        return NOISE_SHARE * (float(spread(y)) or 1.0)

    def _choose_prior(self, X: Any, y: Array, triangle: Triangle) -> Prior:
        """The given prior, or the one whose width maximises the evidence."""
        self.prior_width_ = None
        if not isinstance(self.prior_cov, str):
            return Prior.given(self.prior_cov, self.prior_mean, triangle.R.shape[1])
        # One unit of noise: the geometric mean of the given errors.
        unit = float(np.exp(0.5 * self._noise_logdet / triangle.n))
        scaled = replace(
            ScaledPrior.of(X, y, intercept=self.fit_intercept), y_std=unit, constant_width=CONSTANT_WIDTH
        )

        def evidence(theta: Array) -> float:
            return self._log_evidence(triangle, update(triangle, scaled.at(float(np.exp(theta[0])))))

        best = maximise(evidence, [np.log(TAU_RANGE), np.zeros(2)])
        self.prior_width_ = float(np.exp(best[0]))
        return scaled.at(self.prior_width_)

    def _flat(self, triangle: Triangle) -> Update:
        p = triangle.R.shape[1]
        names = ["intercept"] * self.fit_intercept + [f"column {j}" for j in range(p - self.fit_intercept)]
        solution = solve(triangle, names)
        return Update(solution.params, solution.factor, solution.chi2, np.nan)

    def _log_evidence(self, triangle: Triangle, found: Update) -> float:
        """Log density of y: a multivariate t with 2 a0 degrees of freedom."""
        a0, b0 = 0.5 * self.noise_df, 0.5 * self.noise_df * self._noise_scale**2
        shape, rate = a0 + 0.5 * triangle.n, b0 + 0.5 * found.distance
        with np.errstate(divide="ignore"):
            value = special.gammaln(shape) - shape * np.log(rate)
        if a0 > 0:  # otherwise the prior 1 / sigma^2, which has no normalisation
            value += a0 * np.log(b0) - special.gammaln(a0)
        return float(value - 0.5 * (triangle.n * np.log(2 * np.pi) + self._noise_logdet + found.logdet))

    def _check_parameters(self) -> None:
        if isinstance(self.prior_cov, str):
            if self.prior_cov != "evidence":
                raise InputError(
                    f"prior_cov is {self.prior_cov!r}; accepted are 'evidence', a number, an array and inf"
                )
            if self.prior_mean is not None:
                raise InputError(
                    "prior_mean is given and prior_cov is 'evidence'; accepted is a prior_cov of your own"
                )
        if not (isinstance(self.noise_df, Real) and 0 <= self.noise_df < np.inf):
            raise InputError(f"noise_df is {self.noise_df!r}; accepted is a number >= 0")
        scale = self.noise_scale
        if scale is not None and not (isinstance(scale, Real) and 0 < scale < np.inf):
            raise InputError(f"noise_scale is {scale!r}; accepted are None and a number > 0")

    # -- the posterior -----------------------------------------------------------------

    def params_posterior(self) -> StudentT:
        """Joint posterior of the parameters, intercept first: Student's t with `dof_` degrees of freedom."""
        scale = self.scale_ * np.sqrt(np.diag(self.unit_cov_))
        joint = Covariance.dense(self.scale_**2 * self.unit_cov_)
        return StudentT(self.params_, scale, self.dof_, scale_cov=joint)

    def noise_posterior(self) -> Any:
        """Posterior of sigma^2, a frozen `scipy.stats.invgamma` of shape a_N and scale b_N."""
        return stats.invgamma(self.noise_shape_, scale=self.noise_rate_)

    def to_pymc(self) -> Any:
        """The same model with the same prior, data and errors, to sample or to build on.

        Returns
        -------
        pymc.Model
            With ``params`` (p,), intercept first, and ``noise_variance``.

        Raises
        ------
        InputError
            The prior is flat or improper, or the training data were left behind in a pickle.
        MissingExtraError
            pymc is not installed.
        """
        data = self._kept_training_data()
        if self._prior is None or self.noise_df == 0:
            raise InputError("prior_cov is inf or noise_df is 0; accepted for to_pymc are proper priors")
        rate = 0.5 * self.noise_df * self._noise_scale**2
        return conjugate_line(data, self._prior, shape=0.5 * self.noise_df, rate=rate)
