"""Prior of a line through points whose true covariates follow a Gaussian mixture.

    (alpha, beta) ~ N(m, V), or flat
    sigma         ~ half-t(scatter_df, scatter_scale)
    weights       ~ Dirichlet(concentration, ...)
    mu_k          ~ N(center, center_cov)
    T_k | a       ~ inverse-Wishart(nu + d - 1, 2 nu diag(1/a)),   1/a_j ~ Gamma(1/2, rate 1/width_j^2)

The last line is the prior of Huang & Wand (2013, Bayesian Analysis 8, 439) with one
vector a for all components. Standard deviations of every component are half-t(nu,
width) beforehand, so narrow components are not forbidden, as they are by an
inverse-Wishart of fixed scale; yet no single component can shrink onto one point,
because the others hold a up.

Kelly (2007, ApJ 665, 1489) takes sigma^2 uniform, the covariates' variances scaled
inverse chi^2 with a common scale that is uniform, and the means normal with a
hierarchical width. Uniform densities without bounds cannot be drawn from, so the
calibration of the posterior could not be simulated; the choices here are proper, as
soon as `line_cov` is given, and their defaults are as weak.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from statml.errors import InputError

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class KellyPrior:
    """Prior of `Kelly`; what is None follows the scale of the data, and is weak.

    Parameters
    ----------
    line_mean : array (p,), optional
        Prior mean of the parameters, intercept first; default 0.
    line_cov : array (p, p), optional
        Their covariance; default: flat.
    scatter_scale : float, optional
        Scale of the half-t prior of sigma, in units of y; default: standard deviation of y.
    scatter_df : float
        Its degrees of freedom; 1 is a half-Cauchy.
    concentration : float
        Of the Dirichlet prior of the weights.
    center : array (d,), optional
        Prior mean of the components' means; default: mean of X.
    center_cov : array (d, d), optional
        Their covariance; default: the variances of X, on the diagonal.
    width : array (d,), optional
        Scale of the half-t prior of the components' standard deviations; default: that of X.
    width_df : float
        Its degrees of freedom, nu; with 2 the correlations are uniform beforehand.

    Examples
    --------
    >>> KellyPrior(line_cov=[[4.0, 0.0], [0.0, 1.0]], scatter_scale=0.5).scatter_df
    1.0
    """

    line_mean: Any = None
    line_cov: Any = None
    scatter_scale: float | None = None
    scatter_df: float = 1.0
    concentration: float = 1.0
    center: Any = None
    center_cov: Any = None
    width: Any = None
    width_df: float = 2.0


@dataclass(frozen=True)
class FullPrior:
    """A `KellyPrior` with every number in place.

    ``line_precision`` is zero in every direction where the prior is flat; the
    other names are those of `KellyPrior`, as arrays.
    """

    line_mean: Array
    line_precision: Array
    scatter_scale: float
    scatter_df: float
    concentration: float
    center: Array
    center_cov: Array
    width: Array
    width_df: float

    @property
    def flat(self) -> bool:
        """Is the prior of the line flat?"""
        return not np.any(self.line_precision)

    def log_scatter(self, log_sigma: Array) -> Array:
        """Log density of log sigma, up to a constant."""
        u = np.exp(2 * log_sigma) / (self.scatter_df * self.scatter_scale**2)
        return log_sigma - 0.5 * (self.scatter_df + 1) * np.log1p(u)


def fill_prior(prior: KellyPrior, X: Array, y: Array, p: int) -> FullPrior:
    """Put in what `prior` leaves to the data, for a line of p parameters.

    Raises
    ------
    InputError
        A setting has the wrong shape, or a scale is not positive.
    """
    d = X.shape[1]
    mean = _array("line_mean", np.zeros(p) if prior.line_mean is None else prior.line_mean, (p,))
    precision = np.zeros((p, p))
    if prior.line_cov is not None:
        precision = np.linalg.inv(_covariance("line_cov", prior.line_cov, p))
        precision = 0.5 * (precision + precision.T)
    elif prior.line_mean is not None:
        raise InputError("line_mean is given without line_cov; accepted is a mean with its covariance")
    spread = spread_of(X)
    cov = np.diag(spread**2) if prior.center_cov is None else prior.center_cov
    return FullPrior(
        mean,
        precision,
        _positive("scatter_scale", spread_of(y) if prior.scatter_scale is None else prior.scatter_scale),
        _positive("scatter_df", prior.scatter_df),
        _positive("concentration", prior.concentration),
        _array("center", X.mean(axis=0) if prior.center is None else prior.center, (d,)),
        _covariance("center_cov", cov, d),
        _widths(spread if prior.width is None else prior.width, d),
        _positive("width_df", prior.width_df),
    )


def spread_of(values: Array) -> Array:
    """Standard deviations along the rows; 1 where there is none."""
    spread = np.std(values, axis=0)
    # What is constant but for rounding has no spread.
    tiny = 1e-12 * np.max(np.abs(values), axis=0, initial=0.0)
    return np.where(spread > tiny, spread, 1.0)


def _array(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} of the prior holds no numbers; accepted is an array {shape}") from error
    if array.shape != shape or not np.all(np.isfinite(array)):
        raise InputError(f"{name} of the prior is {value!r}; accepted is a finite array of shape {shape}")
    return array


def _covariance(name: str, value: Any, size: int) -> Array:
    matrix = _array(name, value, (size, size))
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError as error:
        raise InputError(f"{name} of the prior is not positive definite; accepted is a covariance") from error
    return matrix


def _widths(value: Any, d: int) -> Array:
    widths = _array("width", value, (d,))
    if np.any(widths <= 0):
        raise InputError(f"width of the prior is {value!r}; accepted are positive numbers")
    return widths


def _positive(name: str, value: Any) -> float:
    number = np.asarray(value)
    if number.ndim or not isinstance(number.item(), Real) or not 0 < float(number) < np.inf:
        raise InputError(f"{name} of the prior is {value!r}; accepted is a positive number")
    return float(number)
