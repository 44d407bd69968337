"""What every mixture of normals can be asked once it is fitted."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from statml.compute import Device, generator, namespace
from statml.errors import InputError
from statml.mixture.components import Components
from statml.mixture.em import Climb, fell_too_far
from statml.mixture.expectation import log_density, log_joint, responsibilities, true_values
from statml.mixture.information import ComponentErrors, component_errors
from statml.mixture.input import Rows, as_rows, initial_components, prior_scale
from statml.mixture.measurements import Measurements
from statml.mixture.mixture_stack import MixtureStack
from statml.mixture.prior import CovariancePrior
from statml.mixture.split_merge import improve
from statml.mixture.starts import Overview, default_prior, start
from statml.uncertainty.measurement import refuse_quantities
from statml.uncertainty.mixtures import GaussianMixture as GaussianMixturePrediction

Array = np.ndarray


class NormalMixture(DensityMixin, BaseEstimator):
    """A fitted mixture: densities, memberships, true values, conditionals, draws, information criteria.

    Wherever X goes in, NaN marks what was not measured, and `X_err` or `X_cov` are the
    errors of X; the densities are then those of the measured values, errors included.
    """

    n_components: int
    n_init: int
    prior_strength: float
    prior_scale: Any
    split_merge: int
    max_iter: int
    tol: float
    accelerate: bool
    weights_init: Any
    means_init: Any
    covariances_init: Any
    random_state: Any
    device: Device = "cpu"

    weights_: Array
    means_: Array
    covariances_: Array

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    # -- fitting ---------------------------------------------------------------------

    def _fit(self, X: Any, X_err: Any, X_cov: Any, projection: Any, sample_weight: Any) -> None:
        self._check_parameters()
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite=False)
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        rows = as_rows(X, X_err, X_cov, projection)
        used = int(np.sum((weights > 0) & np.any(np.isfinite(rows.values), axis=1)))
        least = max(self.n_components, 2)
        if used < least:
            raise InputError(
                f"X has n_samples = {used} rows with values and positive weight; accepted are at least {least}"
            )
        rows.refuse_empty_columns(weights)
        center, scale, variance = rows.units(weights)
        standard = rows.standardised(center, scale)
        data = standard.measurements(namespace(self.device), weights)
        overview = Overview.of(data, np.zeros(len(center)), variance)
        prior = self._prior(overview, scale)
        fits = [
            self._search(data, prior, first, weights)
            for first in self._starts(overview, weights, center, scale)
        ]
        self.starts_ = np.array([fit.log_posterior if not fit.collapsed else np.nan for fit in fits])
        kept = [fit for fit in fits if not fit.collapsed]
        if not kept:
            raise InputError(
                f"prior_strength is {self.prior_strength} and a component collapsed from all {len(fits)} starts "
                f"(log likelihood {max(fit.log_likelihood for fit in fits):.6g} and rising): the likelihood has no "
                "maximum; accepted is a prior_strength > 0, or fewer components"
            )
        best = max(kept, key=lambda fit: fit.log_posterior)
        if np.any(np.isnan(self.starts_)):
            warnings.warn(
                f"a component collapsed from {np.sum(np.isnan(self.starts_))} of {len(fits)} starts, which are left "
                "out: without a prior (prior_strength = 0) the likelihood has no maximum",
                ConvergenceWarning,
                stacklevel=3,
            )
        self._warn(best, data.total_weight)
        shift = -float(weights @ rows.log_jacobian(scale))
        found = best.components.by_weight().restored(center, scale)
        self.weights_, self.means_, self.covariances_ = found.weights, found.means, found.covariances
        self.prior_ = prior.restored(scale)
        self.log_likelihood_ = best.log_likelihood + shift
        self.log_posterior_ = best.log_posterior + shift
        self.history_, self.starts_ = best.history + shift, self.starts_ + shift
        self.n_iter_, self.converged_ = max(len(best.history) - 1, 1), best.converged

    def _search(self, data: Measurements, prior: CovariancePrior, first: Components, weights: Array) -> Any:
        run = Climb(data, prior, self.tol, self.max_iter, self.accelerate)
        fit = run(first)
        if self.split_merge == 0 or fit.collapsed:
            return fit
        return improve(fit, data, run, weights, self.split_merge)

    def _prior(self, overview: Overview, scale: Array) -> CovariancePrior:
        if self.prior_scale is None:
            return default_prior(overview, self.n_components, float(self.prior_strength))
        given = prior_scale(self.prior_scale, len(scale))
        return CovariancePrior(float(self.prior_strength), given / np.outer(scale, scale))

    def _starts(self, overview: Overview, weights: Array, center: Array, scale: Array) -> list[Components]:
        given = initial_components(
            self.n_components, len(center), self.weights_init, self.means_init, self.covariances_init
        )
        if given is not None:
            return [given.standardised(center, scale)]
        rng = generator(self.random_state)
        n_init = 1 if self.n_components == 1 else self.n_init
        return [
            start(overview, weights, self.n_components, rng, wide=turn % 2 == 1) for turn in range(n_init)
        ]

    def _check_parameters(self) -> None:
        for name, least in (("n_components", 1), ("n_init", 1), ("max_iter", 0), ("split_merge", 0)):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < least:
                raise InputError(f"{name} is {value!r}; accepted is an integer >= {least}")
        for name in ("prior_strength", "tol"):
            number = np.asarray(getattr(self, name), dtype=float)
            if number.ndim != 0 or not np.isfinite(number) or number < 0:
                raise InputError(f"{name} is {getattr(self, name)!r}; accepted is a number >= 0")

    def _warn(self, fit: Any, total_weight: float) -> None:
        if fell_too_far(fit, total_weight):
            warnings.warn(
                f"the log posterior fell by {fit.fell:.3g} in a step, which only rounding can do: a covariance is "
                "nearly singular; raise prior_strength",
                ConvergenceWarning,
                stacklevel=4,
            )
        if not fit.converged:
            warnings.warn(
                f"{type(self).__name__} stopped after max_iter = {self.max_iter} steps; the last gained "
                f"{fit.history[-1] - fit.history[max(len(fit.history) - 2, 0)]:.3g} in log posterior",
                ConvergenceWarning,
                stacklevel=4,
            )

    # -- answers ---------------------------------------------------------------------

    @property
    def components_(self) -> Components:
        """Weights, means and covariances as one value."""
        check_is_fitted(self)
        return Components(self.weights_, self.means_, self.covariances_)

    def score_samples(self, X: Any, *, X_err: Any = None, X_cov: Any = None, projection: Any = None) -> Array:
        """Log density of each row, of what was measured of it, (n,).

        Parameters
        ----------
        X : array (n, d), NaN where not measured
        X_err, X_cov, projection
            As in ``ExtremeDeconvolution.fit``.
        """
        return log_density(self._log_joint(X, X_err, X_cov, projection))

    def score(
        self, X: Any, y: Any = None, *, X_err: Any = None, X_cov: Any = None, projection: Any = None
    ) -> float:
        """Mean log density of the rows."""
        return float(np.mean(self.score_samples(X, X_err=X_err, X_cov=X_cov, projection=projection)))

    def predict_proba(self, X: Any, *, X_err: Any = None, X_cov: Any = None, projection: Any = None) -> Array:
        """Probability that each row came from each component, (n, K)."""
        return responsibilities(self._log_joint(X, X_err, X_cov, projection))

    def predict(self, X: Any, *, X_err: Any = None, X_cov: Any = None, projection: Any = None) -> Array:
        """The most probable component of each row, (n,)."""
        return np.argmax(self._log_joint(X, X_err, X_cov, projection), axis=1)

    def posterior(
        self, X: Any, *, X_err: Any = None, X_cov: Any = None, projection: Any = None
    ) -> MixtureStack:
        """The true values of each object, given what was measured of it and the population.

        Returns
        -------
        MixtureStack
            n mixtures in d dimensions. Noisy values are drawn towards the population, missing ones
            filled in with the right spread.
        """
        data = self._rows(X, X_err, X_cov, projection).measurements(namespace(self.device))
        joint, means, covariances = true_values(self.components_, data)
        return MixtureStack(responsibilities(joint), means, covariances)

    def conditional(
        self, target: Any, X: Any, *, X_err: Any = None, X_cov: Any = None, target_err: Any = None
    ) -> GaussianMixturePrediction | MixtureStack:
        """p(x_target | the other columns of X), their errors included.

        Parameters
        ----------
        target : int or sequence of int
            Column(s) to predict. What X holds there is not looked at.
        X : array (n, d), NaN where not measured
        X_err, X_cov
            Errors of X; those of the target columns are not used.
        target_err : float or array (n,), optional
            For one column: predict the value as it will be measured, with this error on top.

        Returns
        -------
        GaussianMixture or MixtureStack
            For one column a predictive distribution (`statml.uncertainty.GaussianMixture`), for
            several a joint one. ``variance_components`` calls `input` what errors of X add within
            components, and `model` the rest.

        Examples
        --------
        >>> import numpy as np
        >>> from statml.mixture import GaussianMixture
        >>> x = np.random.default_rng(0).normal(size=1000)
        >>> line = GaussianMixture(prior_strength=0).fit(np.stack([x, 2 * x + 1], axis=1) + [[0, 0.1], [0, -0.1]] * 500)
        >>> line.conditional(1, [[1.0, np.nan]]).mean.round(2).tolist()
        [3.0]
        """
        columns = np.atleast_1d(np.asarray(target, dtype=int))
        rows = self._rows(X, X_err, X_cov, None)
        if not np.all((columns >= 0) & (columns < self.n_features_in_)) or len(columns) == 0:
            raise InputError(
                f"target is {target!r}; accepted are columns from 0 to {self.n_features_in_ - 1}"
            )
        rows = rows.without(columns)
        data = rows.measurements(namespace("cpu"))
        joint, means, covariances = true_values(self.components_, data)
        found = MixtureStack(responsibilities(joint), means, covariances)
        if np.ndim(target):
            if target_err is not None:
                raise InputError("target_err is given for several columns; accepted is one target column")
            return found.columns(columns)
        noise = _target_variance(target_err, len(found))
        exact = true_values(self.components_, rows.exact().measurements(namespace("cpu")))[2]
        column = int(columns[0])
        widened = covariances[:, :, column, column] - exact[:, :, column, column]
        input_part = np.maximum(np.sum(found.weights * widened, axis=1), 0)
        parts = {"input": input_part, "noise": noise, "model": found.std[:, column] ** 2 - input_part}
        return found.column(column, variance_components=parts, added=noise)

    def sample(self, n_samples: int = 1, *, rng: Any = None) -> tuple[Array, Array]:
        """New true values (n, d), and the component each came from (n,)."""
        if not n_samples >= 1:
            raise InputError(f"n_samples is {n_samples!r}; accepted is an integer >= 1")
        return self.components_.sample(n_samples, generator(rng))

    def aic(self, X: Any, *, X_err: Any = None, X_cov: Any = None, projection: Any = None) -> float:
        """Akaike's criterion on X, 2 p - 2 log L: smaller is better, for prediction."""
        total = np.sum(self.score_samples(X, X_err=X_err, X_cov=X_cov, projection=projection))
        return float(2 * self.components_.n_parameters - 2 * total)

    def bic(self, X: Any, *, X_err: Any = None, X_cov: Any = None, projection: Any = None) -> float:
        """Schwarz's criterion on X, p log n - 2 log L: smaller is better, for the number of normals."""
        logs = self.score_samples(X, X_err=X_err, X_cov=X_cov, projection=projection)
        return float(np.log(len(logs)) * self.components_.n_parameters - 2 * np.sum(logs))

    def icl(self, X: Any, *, X_err: Any = None, X_cov: Any = None, projection: Any = None) -> float:
        """Integrated completed likelihood on X, BIC + 2 entropy: smaller is better, for *separate* clusters.

        The entropy is that of the memberships, so overlap costs (Biernacki, Celeux & Govaert
        2000, IEEE TPAMI 22, 719).
        """
        joint = self._log_joint(X, X_err, X_cov, projection)
        logs, share = log_density(joint), responsibilities(joint)
        entropy = -float(np.sum(share * (joint - logs[:, None])))
        return float(np.log(len(logs)) * self.components_.n_parameters - 2 * np.sum(logs) + 2 * entropy)

    def standard_errors(
        self,
        X: Any,
        *,
        X_err: Any = None,
        X_cov: Any = None,
        projection: Any = None,
        sample_weight: Any = None,
    ) -> ComponentErrors:
        """Standard errors of weights, means and covariances, from the data of the fit.

        The inverse observed information at the maximum, prior included: a statement about *this*
        maximum, for components that are well populated and apart.
        """
        rows = self._rows(X, X_err, X_cov, projection)
        weights = np.ones(len(rows.values)) if sample_weight is None else np.asarray(sample_weight, float)
        return component_errors(
            self.components_, rows.measurements(namespace(self.device), weights), self.prior_
        )

    def _log_joint(self, X: Any, X_err: Any, X_cov: Any, projection: Any) -> Array:
        rows = self._rows(X, X_err, X_cov, projection)
        return log_joint(self.components_, rows.measurements(namespace(self.device)))

    def _rows(self, X: Any, X_err: Any, X_cov: Any, projection: Any) -> Rows:
        check_is_fitted(self)
        refuse_quantities(X=X)
        if projection is None:
            X = validate_data(self, X, reset=False, dtype=np.float64, ensure_all_finite=False)
        rows = as_rows(X, X_err, X_cov, projection)
        if rows.n_features != self.means_.shape[1]:
            raise InputError(
                f"projection leads from {rows.n_features} features; accepted are the "
                f"{self.means_.shape[1]} of the fit"
            )
        return rows


def _target_variance(target_err: Any, n: int) -> Array:
    if target_err is None:
        return np.zeros(n)
    err = np.asarray(target_err, float)
    if err.shape not in ((), (n,)) or not np.all(np.isfinite(err)) or np.any(err < 0):
        raise InputError(
            f"target_err has shape {err.shape}; accepted are finite values >= 0, a number or ({n},)"
        )
    return np.broadcast_to(err**2, (n,))
