r"""Regression with a Gaussian process, and errors wherever data have them.

    y = f(x) + h(x)^T beta + s e + errors,     f ~ GP(0, k),   e ~ N(0, 1)

f is a function known only by how it hangs together, `k`; beta a mean that is integrated
out; s intrinsic scatter. Given hyperparameters everything is normal and in closed form;
the hyperparameters are those that maximise the evidence.

Sources: Rasmussen & Williams (2006), chapters 2 and 5; arXiv:2506.12230, chapter 14.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from statml.compute import Device, generator, resolve_device, spread
from statml.errors import InputError
from statml.gp.decomposition import Decomposition, decompose
from statml.gp.derivatives import slope_covariance, slope_marginals
from statml.gp.hyperparameters import Search
from statml.gp.input_moments import Moments, mixed_covariance, moments
from statml.gp.input_noise import settle
from statml.gp.kernels import RBF, Kernel
from statml.gp.leave_one_out import leave_one_out
from statml.gp.marginal_likelihood import Observations, Solved, evidence
from statml.gp.mean_function import MeanFunction
from statml.gp.posterior import Posterior
from statml.gp.scatter import check_kernel_and_scatter, split_scatter
from statml.gp.semidefinite import SemidefiniteCovariance
from statml.uncertainty.contract import DistributionRegressor
from statml.uncertainty.covariance import Covariance, DiagonalCovariance
from statml.uncertainty.measurement import feature_covariance, refuse_arguments, target_covariance
from statml.uncertainty.parametric import Gaussian
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray

# How far below zero rounding may take a variance that is a difference, as a share of its terms.
ROUNDING = 1e-8


class GaussianProcessRegressor(DistributionRegressor):
    """Gaussian process regression: errors of y and X, a mean integrated out, fitted scatter.

    Parameters
    ----------
    kernel : Kernel or None
        What is assumed of the function, with the hyperparameters to start from. None is
        an `RBF` with a length scale for each feature, started from the spread of X and y.
    mean : {"constant", "linear", "zero"}
        Mean function, whose coefficients are integrated out.
    mean_prior : None or (mean, covariance)
        Normal prior of the coefficients, intercept first: numbers or arrays (m,), (m, m).
        None is the vague limit.
    scatter : "evidence" or float
        Standard deviation of intrinsic scatter, fitted or fixed, besides any `White` in the kernel.
        Without errors of y it is the noise of y.
    optimise : bool
        Maximise the evidence over the free hyperparameters (and the scatter); False keeps the
        kernel as it is, and needs a number for `scatter`.
    restarts : int
        Further starts of that search, each hyperparameter up to a factor of ten away.
    device : {"cpu", "cuda", "auto"}
        Where matrices are factorised.
    random_state : None, int or Generator
        Of the restarts.

    Attributes
    ----------
    kernel_ : Kernel
        With the hyperparameters that were found.
    scatter_ : float
        Intrinsic scatter, in units of y.
    log_evidence_ : float
        log p(y) with the mean integrated out (R&W equation 2.45 for a vague one), of the rows
        with finite errors.
    log_evidences_ : array (1 + restarts,)
        What the search found from each start.
    mean_params_, mean_params_cov_ : arrays (m,), (m, m)
        Posterior of the mean's coefficients, intercept first.
    jitter_ : float
        Variance that was added because the covariance was singular by rounding; mostly 0.
    input_variance_ : array (n,)
        What the errors of X add to the variances of y; zero without them.

    Notes
    -----
    The part ``parameter`` of a prediction's variance is the posterior variance of the function,
    that of the mean included: what more training data would shrink. Scatter, fitted or from a
    `White` kernel, is ``model`` where `fit` had errors of y, else ``noise``.

    Hyperparameters are point estimates (type-II maximum likelihood). With few rows for a
    hyperparameter the intervals are too narrow, mostly by a scatter found too small: in simulations with
    four of them 68 % intervals held 59 % from 30 rows, 64 % from 100 and 66 % from 200. With the kernel and scatter
    given (``optimise=False``) they are exact; `AveragedGP` averages over hyperparameters instead of choosing one.

    Rows of infinite `y_err` are left out. A fit costs O(n^3) time and O(n^2) memory.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> x = np.sort(rng.uniform(0, 10, 60))[:, None]
    >>> y = np.sin(x[:, 0]) + 0.1 * rng.normal(size=60)
    >>> gp = GaussianProcessRegressor(RBF(1.0), scatter=0.0).fit(x, y, y_err=0.1)
    >>> gp.predict_dist([[5.0], [12.0]]).std.round(2)  # within the data, and beyond
    array([0.03, 0.88])
    >>> slope = gp.derivative([[3.0]])  # of sin x: cos 3 = -0.99
    >>> f"{slope.mean[0]:.2f} +- {slope.std[0]:.2f}"
    '-1.00 +- 0.04'
    >>> gp.decompose(x).names[-1]
    'mean'
    """

    fit_refuses: ClassVar[dict[str, str]] = {
        "xy_cov": "errors of X are treated to first order and independent of those of y; accepted are X_err and y_err",
    }

    def __init__(
        self,
        kernel: Kernel | None = None,
        *,
        mean: Literal["constant", "linear", "zero"] = "constant",
        mean_prior: Any = None,
        scatter: float | Literal["evidence"] = "evidence",
        optimise: bool = True,
        restarts: int = 1,
        device: Device = "cpu",
        random_state: Any = None,
    ) -> None:
        self.kernel = kernel
        self.mean = mean
        self.mean_prior = mean_prior
        self.scatter = scatter
        self.optimise = optimise
        self.restarts = restarts
        self.device = device
        self.random_state = random_state

    # -- fitting ----------------------------------------------------------------------

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
    ) -> GaussianProcessRegressor:
        """Condition the process on data, at the hyperparameters of largest evidence.

        Parameters
        ----------
        X : array (n, d)
        y : array (n,)
        y_err : float or array (n,), optional
            Standard deviations of y; 0 is exact, inf leaves a row out.
        y_cov : Covariance, optional
            Instead of `y_err`.
        X_err, X_cov : array (n, d) or CovarianceStack, optional
            Errors of X, as variance of y along the slope of the function
            (`statml.gp.input_noise`); small against the length scale.
        xy_cov
            Refused.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Too few rows, a covariance that stays singular, or an argument that is refused.
        """
        refuse_arguments(self, "fit", self.fit_refuses, xy_cov=xy_cov)
        X, y = self._training_data(X, y, X_err=X_err, y_err=y_err)
        self._check_settings()
        measured = target_covariance(len(y), y_err, y_cov)
        stack = feature_covariance(len(y), X.shape[1], X_err, X_cov)
        self._errors_given = measured is not None
        self._told = np.ones(len(y), bool) if measured is None else np.isfinite(measured.variance())
        if self._told.sum() < 2:
            raise InputError(
                f"n_samples={self._told.sum()} with finite errors is too few; accepted are 2 rows or more"
            )
        rows = np.flatnonzero(self._told)
        kernel = _starting_kernel(X[rows], y[rows]) if self.kernel is None else self.kernel
        if stack is not None and not kernel.differentiable:
            raise InputError(
                f"{type(self).__name__}.fit cannot use X_err with {kernel!r}, whose functions have no slope; "
                "accepted are differentiable kernels"
            )
        self._fit_rows(
            kernel,
            X,
            y,
            None if measured is None else measured[rows],
            None if stack is None else stack[rows],
            rows,
        )
        self._training = X, y, measured
        return self

    def _fit_rows(
        self,
        kernel: Kernel,
        X: Array,
        y: Array,
        measured: Covariance | None,
        stack: CovarianceStack | None,
        rows: Array,
    ) -> None:
        """Fit to the rows that carry information."""
        X, told, self.input_variance_ = X[rows], y[rows], np.zeros(len(y))
        place = resolve_device(self.device)
        points, values, errors = (
            torch.from_numpy(np.array(part)).to(place) for part in (X, told, _errors(measured, len(rows)))
        )
        data = Observations(points, values, errors, MeanFunction.chosen(self.mean, self.mean_prior, X, told))
        search = Search(
            kernel,
            None if isinstance(self.scatter, str) else float(self.scatter),
            float(np.std(told)) or float(np.max(np.abs(told))) or 1.0,
            self.optimise,
            int(self.restarts),
            generator(self.random_state),
        )

        def fit_with(variance: Array) -> tuple[Posterior, Solved]:
            noisy = data.with_errors(torch.from_numpy(variance).to(place)) if stack is not None else data
            self.kernel_, self.scatter_ = search(noisy)
            theta = torch.from_numpy(self.kernel_.theta).to(place)
            solved = evidence(self.kernel_, noisy, theta, self.scatter_)
            return Posterior.of(self.kernel_, data.mean, data.X, solved), solved

        if stack is None:
            (self._posterior, solved), self.n_input_rounds_ = fit_with(np.zeros(len(rows))), 0
        else:
            (self._posterior, solved), variance, self.n_input_rounds_ = settle(fit_with, X, stack)
            self.input_variance_[rows] = variance
        self.log_evidence_, self.jitter_ = solved.log_evidence, solved.jitter
        self.log_evidences_ = np.array([solved.log_evidence]) if search.values is None else search.values
        self.mean_params_, self.mean_params_cov_ = self._posterior.mean_params()

    def _check_settings(self) -> None:
        check_kernel_and_scatter(self.kernel, self.scatter, self.optimise)
        if not isinstance(self.restarts, Integral) or self.restarts < 0:
            raise InputError(f"restarts is {self.restarts!r}; accepted are whole numbers >= 0")

    # -- predicting -------------------------------------------------------------------

    def predict_dist(
        self, X: Any, *, X_err: Any = None, X_cov: Any = None, y_err: Any = None, y_cov: Any = None
    ) -> Gaussian:
        """Predictive distribution: of the observed y with `y_err` or `y_cov`, else of the true y.

        Parameters
        ----------
        X : array (n, d)
        X_err, X_cov : array (n, d) or CovarianceStack, optional
            Errors of X: mean and variance are averaged over them (`statml.gp.input_moments`).
        y_err, y_cov : array (n,) or Covariance, optional
            Errors of the y to compare with.

        Returns
        -------
        Gaussian
            With a joint covariance, formed when it is asked for. With errors of X the true
            distribution is not normal; mean and variance are its.
        """
        X = self._new_data(X, X_err=X_err, y_err=y_err)
        n = len(X)
        stack = feature_covariance(n, X.shape[1], X_err, X_cov)
        measured = target_covariance(n, y_err, y_cov)
        posterior = self._posterior
        if stack is None:
            mean, parameter, independent = posterior.marginals(X)
            found = Moments(mean, parameter, np.zeros(n), independent)
        else:
            found = moments(posterior, X, stack)
        variances = {"parameter": found.parameter, "input": found.input}
        variances |= self._split_scatter(
            found.independent, np.zeros(n) if measured is None else measured.variance()
        )
        total = np.sum(list(variances.values()), axis=0)

        def joint() -> Array:
            shared = posterior.covariance(X) if stack is None else mixed_covariance(posterior, X, stack)
            # Only the diagonal is replaced by the variances: what errors of y share stays.
            return shared if measured is None else shared + measured.to_dense()

        return Gaussian(
            found.mean,
            np.sqrt(total),
            variance_components=variances,
            cov=SemidefiniteCovariance(total, joint),
        )

    def _split_scatter(self, independent: Array, measured: Array) -> dict[str, Array]:
        """Parts of the variance from the kernel's independent variance and that of the measured y."""
        return split_scatter(independent + self.scatter_**2, measured, self._errors_given)

    def leave_one_out(self) -> Gaussian:
        """Each *observed* training value predicted from all others, at the same hyperparameters.

        In closed form (R&W equations 5.10-5.12), equal to n fits without one row each.
        Correlated errors of y are used: what the others' errors tell of this one's.

        Returns
        -------
        Gaussian
            n predictions in the order of the rows; infinitely wide for rows of infinite error.
        """
        check_is_fitted(self)
        X, y, measured = self._training
        told, error = self._told, np.zeros(len(y)) if measured is None else measured.variance()
        mean, variance, independent = self._posterior.marginals(X)
        parts = {"input": self.input_variance_} | self._split_scatter(independent, error)
        rest = np.sum(list(parts.values()), axis=0)
        mean[told], observed = leave_one_out(self._posterior, y[told])
        variance[told] = observed - rest[told]
        if np.all(variance >= -ROUNDING * rest):
            parts["parameter"] = np.maximum(variance, 0)
            return Gaussian(mean, np.sqrt(rest + parts["parameter"]), variance_components=parts)
        # Correlated errors of y: a neighbour tells of this one's error, and the parts overlap.
        return Gaussian(mean, np.sqrt(np.where(told, variance + rest, np.inf)))

    def decompose(self, X: Any) -> Decomposition:
        """Posterior of every term of ``kernel_``, a sum, and of the mean function.

        Parameters
        ----------
        X : array (n, d)

        Returns
        -------
        Decomposition
            ``terms`` (in the order of ``kernel_.terms``, the mean function last), their ``names``
            and their joint ``cov``. Intrinsic scatter (`scatter_`) is in none of them.
        """
        X = self._new_data(X)
        return decompose(self._posterior, X, "model" if self._errors_given else "noise")

    def derivative(self, X: Any, *, feature: int = 0) -> Gaussian:
        """Predictive distribution of the slope of the function by one feature.

        Parameters
        ----------
        X : array (n, d)
        feature : int

        Returns
        -------
        Gaussian
            dy/dx at each row, in units of y by x, with a joint covariance; scatter has no slope.

        Raises
        ------
        InputError
            Functions of this kernel have no derivative, or there is no such feature.
        """
        X = self._new_data(X)
        if not self.kernel_.differentiable:
            raise InputError(
                f"functions of {self.kernel_!r} have no derivative; accepted are kernels like RBF or Matern32"
            )
        if not isinstance(feature, Integral) or not 0 <= feature < X.shape[1]:
            raise InputError(f"feature is {feature!r}; accepted are 0 to {X.shape[1] - 1}")
        mean, variance = slope_marginals(self._posterior, X, int(feature))
        cov = SemidefiniteCovariance(variance, lambda: slope_covariance(self._posterior, X, int(feature)))
        return Gaussian(mean, np.sqrt(variance), variance_components={"parameter": variance}, cov=cov)


def _starting_kernel(X: Array, y: Array) -> Kernel:
    """An RBF whose lengths and width are the spreads of the features and of y."""
    spreads, sigma = spread(X), float(spread(y))
    lengths = np.where(spreads > 0, spreads, 1.0)
    return RBF(lengths if len(lengths) > 1 else float(lengths[0]), sigma if sigma > 0 else 1.0)


def _errors(measured: Covariance | None, n: int) -> Array:
    """Variances (n,) of independent errors, or the whole covariance."""
    if measured is None:
        return np.zeros(n)
    return measured.variance() if isinstance(measured, DiagonalCovariance) else measured.to_dense()
