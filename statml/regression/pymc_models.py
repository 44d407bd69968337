r"""The linear Bayesian models written in PyMC, to sample them or to build on.

The closed forms of `statml.regression.bayesian` and `normal_inverse_gamma` end where
the model changes. These are the same models with the same priors, data and errors, as
a `pymc.Model`, with the parameters drawn through their whitened prior, x = m0 + L0 u.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from statml.errors import InputError, MissingExtraError
from statml.regression.evidence import Prior
from statml.regression.predictive import design
from statml.uncertainty.covariance import Covariance, DiagonalCovariance

Array = np.ndarray


@dataclass(frozen=True)
class Rows:
    """What `fit` was given: design (n, p), y (n,), covariance of y or None."""

    A: Array
    y: Array
    covariance: Covariance | None

    @property
    def variance(self) -> Array:
        """Variances of y (n,), zero where none were given."""
        return np.zeros(len(self.y)) if self.covariance is None else self.covariance.variance()

    @property
    def independent(self) -> bool:
        """Whether the errors of y are."""
        return self.covariance is None or isinstance(self.covariance, DiagonalCovariance)


class TrainingData:
    """An estimator that refers to its training data, for `to_pymc`; they stay out of its pickles."""

    fit_intercept: bool
    _training: tuple[Any, Array, Covariance | None]

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_training"}

    def _keep_training_data(self, X: Any, y: Array, covariance: Covariance | None) -> None:
        self._training = X, y, covariance

    def _kept_training_data(self) -> Rows:
        if not hasattr(self, "_training"):
            raise InputError(
                "to_pymc needs the training data, which an estimator holds after fit and not after a pickle; "
                "accepted is a model fitted here"
            )
        X, y, covariance = self._training
        A = design(X, self.fit_intercept)
        return Rows(A.toarray() if sparse.issparse(A) else A, y, covariance)


def normal_line(rows: Rows, prior: Prior, scatter: float | tuple[float, float]) -> Any:
    """y ~ N(A x, C + s^2), x ~ prior; `scatter` is s, or a range for a uniform prior of it."""
    pm = _pymc()
    with pm.Model() as model:
        mean = _line(pm, rows, prior)
        s = _scatter(pm, scatter)
        if rows.independent:
            pm.Normal("y", mean, pm.math.sqrt(rows.variance + s**2), observed=rows.y)
        else:
            assert rows.covariance is not None
            total = rows.covariance.to_dense() + s**2 * np.eye(len(rows.y))
            pm.MvNormal("y", mean, cov=total, observed=rows.y)
    return model


def student_line(rows: Rows, prior: Prior, scatter: tuple[float, float], df: tuple[float, float]) -> Any:
    """Student-t scatter: y ~ N(A x, C + s^2 / lambda), lambda ~ Gamma(nu / 2, nu / 2), nu uniform."""
    pm = _pymc()
    with pm.Model() as model:
        mean = _line(pm, rows, prior)
        s = _scatter(pm, scatter)
        nu = pm.Uniform("tail_df", *df)
        if rows.covariance is None:
            pm.StudentT("y", nu=nu, mu=mean, sigma=s, observed=rows.y)
        else:
            precision = pm.Gamma("precision", nu / 2, nu / 2, shape=len(rows.y))
            pm.Normal("y", mean, pm.math.sqrt(rows.variance + s**2 / precision), observed=rows.y)
    return model


def conjugate_line(rows: Rows, prior: Prior, *, shape: float, rate: float) -> Any:
    """y ~ N(A x, v V), x ~ N(m0, v S0), v ~ IG(shape, rate)."""
    pm = _pymc()
    with pm.Model() as model:
        v = pm.InverseGamma("noise_variance", shape, rate)
        width = pm.math.sqrt(v)
        mean = _line(pm, rows, prior, width)
        if rows.independent:
            relative = np.ones(len(rows.y)) if rows.covariance is None else np.sqrt(rows.variance)
            pm.Normal("y", mean, width * relative, observed=rows.y)
        else:
            assert rows.covariance is not None
            pm.MvNormal("y", mean, cov=v * rows.covariance.to_dense(), observed=rows.y)
    return model


def _line(pm: Any, rows: Rows, prior: Prior, width: Any = 1.0) -> Any:
    """A x with x = m0 + width L0 u; kept as ``params``."""
    u = pm.Normal("params_whitened", 0, 1, shape=len(prior.mean))
    params = pm.Deterministic("params", prior.mean + width * pm.math.dot(prior.factor, u))
    return pm.math.dot(rows.A, params)


def _scatter(pm: Any, scatter: float | tuple[float, float]) -> Any:
    if not isinstance(scatter, tuple):
        return scatter
    return pm.Uniform("scatter", *scatter)


def _pymc() -> Any:
    try:
        import pymc
    except ImportError as error:
        raise MissingExtraError("to_pymc needs pymc: pip install 'statml[bayes]'") from error
    return pymc
