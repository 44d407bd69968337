r"""Sparse Gaussian processes: thousands to millions of rows through a few hundred inducing points.

    y = f(x) + h(x)^T beta + s e + errors,     f ~ GP(0, k),   e ~ N(0, 1)

is the model of `GaussianProcessRegressor`. Here f is known through its values at m places, chosen with the
hyperparameters such that a lower bound of the evidence is largest: over all rows (Titsias 2009, "vfe") or
over minibatches of them (Hensman et al. 2013, "svgp").

Source: `statml.gp.collapsed_bound` and `statml.gp.variational`, where the equations are.
"""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from scipy import optimize
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from statml.compute import Device, generator, resolve_device, spread
from statml.errors import InputError
from statml.gp.collapsed_bound import Hyperparameters, collapsed_bound, sparse_posterior
from statml.gp.inducing import starting_points
from statml.gp.input_moments import Moments, mixed_covariance, moments
from statml.gp.kernels import RBF, Kernel
from statml.gp.marginal_likelihood import Observations
from statml.gp.mean_function import MeanFunction
from statml.gp.scatter import check_kernel_and_scatter, split_scatter
from statml.gp.search_space import SearchSpace
from statml.gp.semidefinite import SemidefiniteCovariance
from statml.gp.variational import train
from statml.uncertainty.contract import DistributionRegressor
from statml.uncertainty.covariance import DiagonalCovariance
from statml.uncertainty.measurement import feature_covariance, refuse_arguments, target_covariance
from statml.uncertainty.parametric import Gaussian

Array = np.ndarray

# The search ends where a step raises the bound by less than this for each row.
GAIN = 1e-7


class SparseGaussianProcess(DistributionRegressor):
    """Gaussian process regression on many rows.

    Parameters
    ----------
    kernel : Kernel or None
        What is assumed of the function, with the hyperparameters to start from. None is an `RBF` with a
        length scale for each feature, started from sqrt(d) times the spread of X, and the spread of y.
    inducing : int or array (m, d)
        How many inducing points, started at centres of k-means; or where they start.
    method : {"vfe", "svgp"}
        All rows in every step, by L-BFGS; or minibatches, by Adam, where memory or time is short.
    mean : {"constant", "linear", "zero"}
        Mean function, whose coefficients are integrated out.
    mean_prior : None or (mean, covariance)
        Normal prior of the coefficients, intercept first; None is the vague limit.
    scatter : "evidence" or float
        Standard deviation of intrinsic scatter, fitted or fixed. Without errors of y it is the noise of y.
    optimise : bool
        Choose hyperparameters and inducing points by the bound; False keeps both as they are, and needs a
        number for `scatter`.
    move_inducing : bool
        Whether the inducing points are among what is chosen.
    max_iter : int
        Steps of "vfe".
    batch_size, epochs, learning_rate : int, int, float
        Of "svgp".
    device : {"cpu", "cuda", "auto"}
        Where matrices are factorised.
    random_state : None, int or Generator
        Of k-means and of the minibatches.

    Attributes
    ----------
    kernel_ : Kernel
        With the hyperparameters that were found.
    inducing_ : array (m, d)
    scatter_ : float
        Intrinsic scatter, in units of y.
    lower_bound_ : float
        Of log p(y), all rows, at the best posterior for these hyperparameters and inducing points.
    n_iter_ : int
        Steps of the search.

    See Also
    --------
    GaussianProcessRegressor : up to some thousand rows, without the approximation; errors of X in `fit`.

    Notes
    -----
    Whatever the search did, the posterior at its end is the optimal one, from one pass over all rows.
    "svgp" ends a little below the maximum that "vfe" climbs to, where its steps have become short; more epochs
    come nearer.

    The bound is the reason to trust this approximation: it is below the evidence, by the divergence of
    the approximate posterior from the true one, so more points can only raise it. Where it still rises,
    they are too few, and what they cannot explain is fitted as noise.

    Rows of infinite `y_err` are left out. Time O(n m^2) and memory O(n m) for a step over n rows.

    References
    ----------
    Titsias (2009), AISTATS 5, 567; Hensman, Fusi & Lawrence (2013), arXiv:1309.6835.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> x = rng.uniform(0, 10, 500)[:, None]
    >>> y = np.sin(x[:, 0]) + 0.1 * rng.normal(size=500)
    >>> gp = SparseGaussianProcess(RBF(1.0), inducing=10, random_state=0).fit(x, y)
    >>> p = gp.predict_dist([[5.0], [30.0]])
    >>> p.mean.round(1)[0], round(gp.scatter_, 2)
    (np.float64(-1.0), 0.11)
    """

    fit_refuses: ClassVar[dict[str, str]] = {
        name: f"{what} exact; pass {instead}"
        for name, what, instead in (
            (
                "X_err",
                "the inducing points see X as",
                "errors of X to predict_dist, or to GaussianProcessRegressor",
            ),
            (
                "X_cov",
                "the inducing points see X as",
                "errors of X to predict_dist, or to GaussianProcessRegressor",
            ),
            ("xy_cov", "X is taken as", "errors of X to predict_dist, and those of y as y_err"),
        )
    }

    def __init__(
        self,
        kernel: Kernel | None = None,
        *,
        inducing: Any = 100,
        method: Literal["vfe", "svgp"] = "vfe",
        mean: Literal["constant", "linear", "zero"] = "constant",
        mean_prior: Any = None,
        scatter: float | Literal["evidence"] = "evidence",
        optimise: bool = True,
        move_inducing: bool = True,
        max_iter: int = 500,
        batch_size: int = 1000,
        epochs: int = 30,
        learning_rate: float = 0.1,
        device: Device = "cpu",
        random_state: Any = None,
    ) -> None:
        self.kernel = kernel
        self.inducing = inducing
        self.method = method
        self.mean = mean
        self.mean_prior = mean_prior
        self.scatter = scatter
        self.optimise = optimise
        self.move_inducing = move_inducing
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.epochs = epochs
        self.learning_rate = learning_rate
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
    ) -> SparseGaussianProcess:
        """Maximise the bound, and find the posterior that reaches it.

        Parameters
        ----------
        X : array (n, d)
        y : array (n,)
        y_err : float or array (n,), optional
            Standard deviations of y; inf leaves a row out.
        y_cov : Covariance, optional
            Instead of `y_err`; independent errors only.
        X_err, X_cov, xy_cov
            Refused.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Too few rows, errors that are refused, or a parameter that is not accepted.

        Warns
        -----
        ConvergenceWarning
            The bound was still rising after `max_iter` steps.
        """
        self._check_settings()
        refuse_arguments(self, "fit", self.fit_refuses, X_err=X_err, X_cov=X_cov, xy_cov=xy_cov)
        X, y = self._training_data(X, y, y_err=y_err)
        measured = target_covariance(len(y), y_err, y_cov)
        if measured is not None and not isinstance(measured, DiagonalCovariance):
            raise InputError(
                f"{type(self).__name__}.fit cannot use a y_cov of correlated errors; accepted are independent "
                "ones, and GaussianProcessRegressor takes any"
            )
        self._errors_given = measured is not None
        variance = np.zeros(len(y)) if measured is None else measured.variance()
        told = np.isfinite(variance)
        if told.sum() < 2:
            raise InputError(
                f"n_samples={told.sum()} with finite errors is too few; accepted are 2 rows or more"
            )
        X, y, variance = X[told], y[told], variance[told]
        if self.scatter == 0 and np.any(variance == 0):
            raise InputError("scatter is 0 and so is an error of y; accepted is scatter > 0 or errors > 0")
        place = resolve_device(self.device)
        rows, values, errors = (
            torch.from_numpy(np.array(part, float)).to(place) for part in (X, y, variance)
        )
        data = Observations(rows, values, errors, MeanFunction.chosen(self.mean, self.mean_prior, X, y))
        rng = generator(self.random_state)
        kernel = _starting_kernel(X, y) if self.kernel is None else self.kernel
        at = self._search(kernel, data, starting_points(X, self.inducing, rng), rng)
        self.kernel_ = kernel.with_theta(at.theta.cpu().numpy())
        self.scatter_ = float(at.scatter_variance) ** 0.5
        self.inducing_ = at.inducing.cpu().numpy()
        self._posterior, self.lower_bound_ = sparse_posterior(self.kernel_, data, at)
        return self

    def _search(
        self, kernel: Kernel, data: Observations, points: Array, rng: np.random.Generator
    ) -> Hyperparameters:
        """Where the bound is largest."""
        space = SearchSpace(kernel, data, points, self.scatter, move=self.move_inducing)
        self.n_iter_ = 0
        if not self.optimise or len(space.start) == 0:
            return space.unpack(space.start)
        if self.method == "svgp":
            batches = -(-len(data) // int(self.batch_size))
            self.n_iter_ = int(self.epochs) * batches
            found = train(
                kernel,
                data,
                space.start,
                space.unpack,
                space.limits,
                batch_size=int(self.batch_size),
                epochs=int(self.epochs),
                learning_rate=float(self.learning_rate),
                rng=rng,
            )
            return space.unpack(found)
        return space.unpack(self._climb(kernel, data, space))

    def _climb(self, kernel: Kernel, data: Observations, space: SearchSpace) -> Tensor:
        def loss(values: Array) -> tuple[float, Array]:
            variables = space.tensor(values).requires_grad_()
            try:
                value = -collapsed_bound(kernel, data, space.unpack(variables)) / len(data)
            except (InputError, torch.linalg.LinAlgError):
                # A singular matrix on the way: the line search steps back.
                return 1e300, np.zeros(len(values))
            (gradient,) = torch.autograd.grad(value, variables)
            return float(value.detach()), gradient.cpu().numpy()

        low, high = (limit.cpu().numpy() for limit in space.limits)
        result = optimize.minimize(
            loss,
            space.start.cpu().numpy(),
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(low, high)),
            options={"maxiter": int(self.max_iter), "ftol": GAIN, "gtol": 1e-7},
        )
        self.n_iter_ = int(result.nit)
        if result.status == 1:
            warnings.warn(
                f"the bound was still rising after max_iter={self.max_iter} steps; raise max_iter, or start "
                "from other hyperparameters",
                ConvergenceWarning,
                stacklevel=4,
            )
        return space.tensor(result.x)

    def _check_settings(self) -> None:
        check_kernel_and_scatter(self.kernel, self.scatter, self.optimise)
        if self.method not in ("vfe", "svgp"):
            raise InputError(f"method is {self.method!r}; accepted are 'vfe' and 'svgp'")
        for name in ("max_iter", "batch_size", "epochs"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < 1:
                raise InputError(f"{name} is {value!r}; accepted are whole numbers >= 1")
        if not (isinstance(self.learning_rate, Real) and 0 < self.learning_rate < np.inf):
            raise InputError(f"learning_rate is {self.learning_rate!r}; accepted are numbers > 0")

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
            With a joint covariance, formed when it is asked for, and the `variance_components` of
            `GaussianProcessRegressor`.
        """
        X = self._new_data(X, X_err=X_err, y_err=y_err)
        n, posterior = len(X), self._posterior
        stack = feature_covariance(n, X.shape[1], X_err, X_cov)
        measured = target_covariance(n, y_err, y_cov)
        if stack is None:
            mean, parameter, independent = posterior.marginals(X)
            found = Moments(mean, parameter, np.zeros(n), independent)
        else:
            found = moments(posterior, X, stack)
        variances = {"parameter": found.parameter, "input": found.input}
        given = np.zeros(n) if measured is None else measured.variance()
        variances |= split_scatter(found.independent + self.scatter_**2, given, self._errors_given)
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


def _starting_kernel(X: Array, y: Array) -> Kernel:
    """An RBF as long in every feature as rows are apart, so that few points see all others, and as wide as y."""
    spreads, sigma = spread(X), float(spread(y))
    lengths = np.where(spreads > 0, spreads, 1.0) * np.sqrt(X.shape[1])
    return RBF(lengths if len(lengths) > 1 else float(lengths[0]), sigma if sigma > 0 else 1.0)
