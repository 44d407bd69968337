r"""Gaussian processes of time in O(n): the estimator.

    y_i = mean + f(t_i) + s e_i + errors,     f ~ GP(0, k),     e_i ~ N(0, 1)

The same model and the same numbers as `statml.gp.GaussianProcessRegressor` gives for one
feature, by a state-space form of k instead of matrices of n x n.

Sources: Hartikainen & Sarkka (2010); Foreman-Mackey et al. (2017, arXiv:1703.09710);
Kelly, Bechtold & Siemiginowska (2009, arXiv:0903.5315) for the damped random walk.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from statml.compute import Device, resolve_device
from statml.errors import InputError, InputTypeError
from statml.gp.kernels import Kernel, Matern32
from statml.gp.state_space.batch import batch_log_likelihood
from statml.gp.state_space.block_filter import BlockFilter
from statml.gp.state_space.evidence import Constants, fit_constants, log_evidence
from statml.gp.state_space.forms import kernel_is_open, time_feature
from statml.gp.state_space.likelihood import Terms
from statml.gp.state_space.prediction import Together, draw_posterior, draw_prior, predict, together
from statml.gp.state_space.search import Model, Search
from statml.gp.state_space.series import (
    Series,
    as_bands,
    as_column,
    as_exposure,
    as_loadings,
    as_sampling,
    as_times,
)
from statml.uncertainty.contract import DistributionRegressor
from statml.uncertainty.measurement import feature_covariance, refuse_arguments, target_covariance
from statml.uncertainty.parametric import Gaussian

Array = np.ndarray

_TIMES = "it takes times as exact; GaussianProcessRegressor takes errors of X"


class StateSpaceGP(DistributionRegressor):
    """Gaussian process of one feature, time, at a cost proportional to the number of points.

    Parameters
    ----------
    kernel : Kernel or None
        `DRW`, `Matern12`, `Matern32`, `Matern52`, `SHO`, `Rotation`, `Constant`, `White`, and
        what is added and multiplied of them. None is a `Matern32` started from the spread of
        t and y.
    mean : float or "constant"
        Known mean, or a constant (one for each band) that is integrated out under a flat prior.
    scatter : "evidence" or float
        Standard deviation of intrinsic scatter, fitted or fixed, besides any `White` in the kernel.
        Without errors of y it is the noise of y.
    exposure : float or None
        Each value is the mean of the process over so much time around t. `fit` and
        `log_likelihood` also take one for each value.
    loadings : array (b, r) or None
        L of several bands: their covariance is L L^T times the kernel. ``numpy.ones((b, 1))``
        starts from one curve seen in all bands, ``numpy.eye(b)`` from independent ones. What
        is above the diagonal stays 0; the first entry stays as it is, since the kernel has the scale.
    optimise : bool
        Maximise the evidence over free hyperparameters, scatter and loadings.
    restarts : int
        Further starts of that search, each hyperparameter up to a factor of ten away.
    device : {"cpu", "cuda", "auto"}
        On a GPU the likelihood is a parallel scan.
    random_state : None, int or Generator
        Of the restarts.

    Attributes
    ----------
    kernel_ : Kernel
        With the hyperparameters that were found.
    scatter_ : float
        In units of y.
    log_evidence_ : float
    log_evidences_ : array (1 + restarts,)
        What the search found from each start.
    mean_, mean_cov_ : arrays (b,), (b, b)
        Constants and their covariance; zero for a known mean.
    loadings_, band_covariance_ : arrays (b, r), (b, b), or None
        L and L L^T.

    Notes
    -----
    A prediction is of the value at an instant, whatever the exposures of the data, unless
    `predict_dist` is given an exposure. The part ``parameter`` of its variance is what more
    data would shrink: the posterior variance of the process and of a fitted constant. Scatter,
    fitted or from `White`, is ``model`` where `fit` had errors of y, else ``noise``. Predictions
    are marginal, without a joint covariance (it has no O(n) form); `sample` draws jointly.

    Hyperparameters are point estimates. A series shorter than about ten damping times does not
    determine the damping time.

    Examples
    --------
    >>> import numpy as np
    >>> from statml.gp import DRW
    >>> t = np.sort(np.random.default_rng(3).uniform(0, 2000, 500))
    >>> quasar = StateSpaceGP(DRW(sigma=0.2, tau=50.0), scatter=0.0)
    >>> y = quasar.sample_prior(t, rng=1)[0] + 0.02 * np.random.default_rng(2).normal(size=500)
    >>> quasar = quasar.fit(t, y, y_err=0.02)
    >>> quasar.predict_dist([1000.0, 3000.0]).std.round(1)  # within the data, and beyond
    array([0. , 0.2])
    """

    fit_refuses: ClassVar[dict[str, str]] = {
        "X_err": _TIMES,
        "X_cov": _TIMES,
        "xy_cov": "it takes times as exact, so nothing can be correlated with them",
    }
    predict_refuses: ClassVar[dict[str, str]] = {"X_err": _TIMES, "X_cov": _TIMES}

    def __init__(
        self,
        kernel: Kernel | None = None,
        *,
        mean: float | Literal["constant"] = 0.0,
        scatter: float | Literal["evidence"] = "evidence",
        exposure: float | None = None,
        loadings: Any = None,
        optimise: bool = True,
        restarts: int = 2,
        device: Device = "cpu",
        random_state: Any = None,
    ) -> None:
        self.kernel = kernel
        self.mean = mean
        self.scatter = scatter
        self.exposure = exposure
        self.loadings = loadings
        self.optimise = optimise
        self.restarts = restarts
        self.device = device
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Of several features it looks at the time alone, whatever y depends on.
        tags.regressor_tags.poor_score = True
        return tags

    # -- fitting -------------------------------------------------------------------------

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
        bands: Any = None,
        exposure: Any = None,
    ) -> StateSpaceGP:
        """Find the hyperparameters of greatest evidence, and keep the data to predict from.

        Parameters
        ----------
        X : array (n,), (n, 1) or (n, d)
            Times, in any order; several values at one time are fine. Of several features, with
            ``kernel.on(j)``, feature j is the time.
        y : array (n,)
        y_err : float or array (n,), optional
            Standard deviations of y; inf is no information.
        y_cov : Covariance, optional
            Instead of `y_err`; diagonal.
        bands : array (n,) of int, optional
            Band of each value, 0 to b - 1; needed with `loadings`.
        exposure : float or array (n,), optional
            Instead of that of the constructor.
        X_err, X_cov, xy_cov
            Refused.

        Returns
        -------
        self

        Raises
        ------
        InputError
            A parameter or an argument that is not accepted.
        """
        self._check_parameters()
        if not self.optimise and isinstance(self.scatter, str):
            raise InputError("scatter is 'evidence' and optimise is False; accepted then is a number")
        errors = {"X_err": X_err, "X_cov": X_cov, "xy_cov": xy_cov}
        if self.kernel is None or kernel_is_open(self.kernel):
            X = as_column(X)
        X, y = self._training_data(X, y, y_err=y_err)
        feature_covariance(X.shape[0], X.shape[1], X_err, X_cov)  # a wrong one is named before it is refused
        refuse_arguments(self, "fit", self.fit_refuses, **errors)
        self._feature = time_feature(Matern32() if self.kernel is None else self.kernel, X.shape[1])
        t = X[:, self._feature].copy()
        series = Series.of(
            t,
            y.copy(),
            y_err,
            y_cov,
            bands=as_bands(bands, len(t), self.loadings),
            exposure=self._exposure(exposure, len(t)),
        )
        self._errors_given = y_err is not None or y_cov is not None
        self._data = series.data(self.mean, self._band_count())
        model = self._search(series)
        self._constants = self._fit_constants(model)
        self.kernel_, self.scatter_, self.loadings_ = model.kernel, model.scatter, model.loadings
        self.band_covariance_ = None if model.loadings is None else model.loadings @ model.loadings.T
        if self._constants is None:
            self.mean_ = np.full(self._band_count(), self._known_mean())
            self.mean_cov_ = np.zeros((self._band_count(),) * 2)
        else:
            self.mean_ = self._constants.mu.numpy()
            self.mean_cov_ = np.linalg.inv(self._constants.G.numpy())
        return self

    def _search(self, series: Series) -> Model:
        scatter = None if isinstance(self.scatter, str) else float(self.scatter)
        search = Search(self._starting_kernel(series), scatter, as_loadings(self.loadings), series.spread)
        scan = resolve_device(self.device) == "cuda"
        model, self.log_evidences_ = search.run(
            self._data.to("cuda") if scan else self._data,
            optimise=self.optimise,
            restarts=self.restarts,
            rng=self.random_state,
            scan=scan,
        )
        self.log_evidence_ = float(np.max(self.log_evidences_))
        return model

    def _starting_kernel(self, series: Series) -> Kernel:
        if self.kernel is not None:
            return self.kernel
        return Matern32((float(np.ptp(series.t)) or 1.0) / 10, sigma=series.spread)

    def _fit_constants(self, model: Model) -> Constants | None:
        if not self._data.columns.shape[1]:
            return None
        with torch.no_grad():
            terms = Terms(model.kernel, model.theta, self._data.sampling, model.factor)
        return fit_constants(terms, self._data, self._data.noise + model.scatter**2)

    def _model(self, series: Series | None = None) -> Model:
        """What was fitted, else what was given; a default kernel takes its scales from a series."""
        if hasattr(self, "kernel_"):
            return Model(self.kernel_, self.scatter_, self.loadings_)
        if self.kernel is None and series is None:
            raise InputError("kernel is None; accepted before fit is a kernel")
        scatter = 0.0 if isinstance(self.scatter, str) else float(self.scatter)
        kernel = self.kernel if series is None else self._starting_kernel(series)
        return Model(kernel, scatter, as_loadings(self.loadings))  # type: ignore[arg-type]

    # -- likelihoods -----------------------------------------------------------------------

    def log_likelihood(
        self, t: Any, y: Any, y_err: Any = None, *, bands: Any = None, exposure: Any = None
    ) -> float:
        """Log density of a series, under the fitted hyperparameters where there are some, else the given ones.

        Parameters
        ----------
        t : array (n,)
            Times, in any order.
        y : array (n,)
        y_err : float or array (n,), optional
            Standard deviations; None is no error.
        bands, exposure
            As in `fit`.

        Returns
        -------
        float
            With ``mean="constant"`` the evidence, the constants integrated out.

        Raises
        ------
        InputError
            The covariance of the data is singular, or an argument is not accepted.

        Examples
        --------
        >>> from statml.gp import SHO
        >>> star = StateSpaceGP(SHO(sigma=1.0, period=3.0, quality=2.0))
        >>> round(star.log_likelihood([0.0, 1.0, 2.5], [0.3, -0.2, 0.1], 0.1), 4)
        -2.7156
        """
        self._check_parameters()
        t = as_times("t", t)
        series = Series.of(
            t,
            y,
            y_err,
            None,
            bands=as_bands(bands, len(t), self.loadings),
            exposure=self._exposure(exposure, len(t)),
        )
        model = self._model(series)
        scan = resolve_device(self.device) == "cuda"
        if not scan and series.is_plain and not isinstance(self.mean, str):
            found = BlockFilter.of(model.kernel)
            if found is not None:  # nothing but numbers
                return found.log_likelihood(
                    series.t, series.y - self._known_mean(), series.noise + model.scatter**2
                )
        data = series.data(self.mean, self._band_count())
        if scan:
            data = data.to("cuda")
        place = data.y.device
        factor = None if model.factor is None else model.factor.to(place)
        with torch.no_grad():
            extra = data.y.new_tensor(model.scatter**2)
            return float(log_evidence(model.kernel, model.theta.to(place), data, extra, factor, scan=scan))

    def log_likelihood_batch(self, curves: Sequence[tuple[Any, Any, Any]], *, n_jobs: int = 1) -> Array:
        """Log densities of many series of one kernel, of unequal lengths, in one call.

        Parameters
        ----------
        curves : sequence of (t, y, y_err)
            As in `log_likelihood`; of one band, without exposures.
        n_jobs : int
            Threads.

        Returns
        -------
        array (len(curves),)

        Examples
        --------
        >>> from statml.gp import DRW
        >>> quasar = StateSpaceGP(DRW(sigma=0.2, tau=100.0))
        >>> curves = [([0.0, 10.0], [0.1, 0.2], 0.1), ([0.0], [0.0], [0.1])]
        >>> quasar.log_likelihood_batch(curves).round(3)
        array([1.087, 0.579])
        """
        self._check_parameters()
        if self.exposure is not None or self.loadings is not None or isinstance(self.mean, str):
            raise InputError(
                "a batch has a known mean, one band and no exposures; accepted otherwise is log_likelihood, one by one"
            )
        model = self._model()
        return batch_log_likelihood(
            model.kernel, curves, mean=self._known_mean(), extra=model.scatter**2, n_jobs=n_jobs
        )

    # -- predicting --------------------------------------------------------------------------

    def predict_dist(
        self,
        X: Any,
        *,
        X_err: Any = None,
        X_cov: Any = None,
        y_err: Any = None,
        y_cov: Any = None,
        bands: Any = None,
        exposure: Any = None,
    ) -> Gaussian:
        """Predictive distribution: of the observed y with `y_err` or `y_cov`, else of the true y.

        Parameters
        ----------
        X : array (m,), (m, 1) or (m, d)
            Times, in any order.
        y_err, y_cov : array (m,) or Covariance, optional
            Errors of the y to compare with.
        bands : array (m,) of int, optional
            Needed with `loadings`.
        exposure : float or array (m,), optional
            Predict means over exposures; they must overlap neither each other nor those of the
            data. None predicts values at an instant.
        X_err, X_cov
            Refused.

        Returns
        -------
        Gaussian
            Without a joint covariance; `sample` draws jointly.
        """
        X = self._new_times(X, X_err=X_err, y_err=y_err)
        t = X[:, self._feature]
        feature_covariance(X.shape[0], X.shape[1], X_err, X_cov)  # a wrong one is named before it is refused
        refuse_arguments(self, "predict_dist", self.predict_refuses, X_err=X_err, X_cov=X_cov)
        measured = target_covariance(len(t), y_err, y_cov)
        where, columns = self._merged(t, bands, exposure)
        mean, variance = predict(
            where, self._data, self._data.noise + self.scatter_**2, self._constants, columns
        )
        scatter = np.full(len(t), self.scatter_**2 + where.white)
        noise = np.zeros(len(t)) if measured is None else measured.variance()
        parts = {
            "parameter": variance,
            "noise": noise if self._errors_given else noise + scatter,
            "model": scatter if self._errors_given else np.zeros(len(t)),
        }
        total = np.sum(list(parts.values()), axis=0)
        return Gaussian(mean + self._known_mean(), np.sqrt(total), variance_components=parts)

    def sample(self, X: Any, size: int = 1, *, rng: Any = None, bands: Any = None) -> Array:
        """Joint draws of the process (mean included, scatter not) given the data, at a cost O(n + m).

        Parameters
        ----------
        X : array (m,), (m, 1) or (m, d)
        size : int
        rng : None, int or Generator
        bands : array (m,) of int, optional

        Returns
        -------
        array (size, m)
        """
        t = self._new_times(X)[:, self._feature]
        where, columns = self._merged(t, bands, None)
        noise = self._data.noise + self.scatter_**2
        drawn = draw_posterior(where, self._data, noise, self._constants, columns, size, rng)
        return drawn.T + self._known_mean()

    def sample_prior(self, t: Any, size: int = 1, *, rng: Any = None, bands: Any = None) -> Array:
        """Joint draws of the process without data, with the known mean.

        Parameters
        ----------
        t : array (m,)
        size : int
        rng : None, int or Generator
        bands : array (m,) of int, optional

        Returns
        -------
        array (size, m)
        """
        self._check_parameters()
        t = as_times("t", t)
        model = self._model()
        new = as_sampling(t, as_bands(bands, len(t), self.loadings), None)
        where = together(model.kernel, model.theta, None, new, model.factor)
        return draw_prior(where, size, rng)[where.new].T + self._known_mean()

    def _new_times(self, X: Any, **errors: Any) -> Array:
        return self._new_data(as_column(X) if getattr(self, "n_features_in_", 0) == 1 else X, **errors)

    def _merged(self, t: Array, bands: Any, exposure: Any) -> tuple[Together, torch.Tensor]:
        marks = as_bands(bands, len(t), self.loadings)
        new = as_sampling(t, marks, as_exposure(exposure, len(t)))
        model = self._model()
        columns = torch.zeros(len(t), 0, dtype=torch.float64)
        if self._data.columns.shape[1]:
            columns = torch.eye(self._band_count(), dtype=torch.float64)[
                np.zeros(len(t), int) if marks is None else marks
            ]
        with torch.no_grad():
            return together(model.kernel, model.theta, self._data.sampling, new, model.factor), columns

    # -- parameters ----------------------------------------------------------------------------

    def _known_mean(self) -> float:
        return 0.0 if isinstance(self.mean, str) else float(self.mean)

    def _band_count(self) -> int:
        return 1 if self.loadings is None else len(as_loadings(self.loadings))  # type: ignore[arg-type]

    def _exposure(self, given: Any, n: int) -> Array | None:
        return as_exposure(self.exposure if given is None else given, n)

    def _check_parameters(self) -> None:
        if self.kernel is not None and not isinstance(self.kernel, Kernel):
            raise InputTypeError(
                f"kernel is a {type(self.kernel).__name__}; accepted are None and a kernel of statml.gp"
            )
        for name, word, lowest in (("mean", "constant", -np.inf), ("scatter", "evidence", 0.0)):
            value = getattr(self, name)
            number = isinstance(value, Real) and lowest <= float(value) < np.inf and float(value) > -np.inf
            if not number and value != word:
                limit = " >= 0" if lowest == 0 else ""
                raise InputError(f"{name} is {value!r}; accepted are {word!r} and a number{limit}")
        if not (isinstance(self.restarts, Integral) and self.restarts >= 0):
            raise InputError(f"restarts is {self.restarts!r}; accepted are integers >= 0")
        as_loadings(self.loadings)
