"""Kelly's regression: the true covariates are drawn from a mixture of normals.

    xi_i  ~  sum_k weight_k N(mu_k, T_k)
    eta_i =  alpha + beta.xi_i + N(0, sigma^2)
    (x_i, y_i) = (xi_i, eta_i) + errors of covariance [[S_i, c_i], [c_i', s_i^2]]

A model of where the true x are is what removes the attenuation of the slope: it
says how much of the spread of the measured x is error. Source: Kelly (2007), ApJ
665, 1489 (arXiv:0705.2774); here in any dimension, with priors that are written
down (`kelly_prior`) and a sampler that integrates over the true x (`gibbs`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from statml.errors import InputError, InputTypeError
from statml.regression.errors_in_variables.gibbs import Draws, first_state, sample
from statml.regression.errors_in_variables.kelly_exact import exact_line, refuse_dependent
from statml.regression.errors_in_variables.kelly_fitted import KellyLine
from statml.regression.errors_in_variables.kelly_model import Moments, Points
from statml.regression.errors_in_variables.kelly_prior import FullPrior, KellyPrior, fill_prior
from statml.regression.errors_in_variables.kelly_scaling import Scaling
from statml.regression.errors_in_variables.method import Measured, Method
from statml.sampling.diagnostics import ess, rhat

Array = np.ndarray

# Vehtari et al. (2021): below both, means and quantiles of the draws are not to be trusted.
LARGEST_RHAT = 1.01
LEAST_ESS = 100  # for each chain; they recommend 400 with four chains
# Draws whose likelihood is looked at, a few at a time to stay in memory.
LIKELIHOOD_DRAWS, AT_ONCE = 50, 5


@dataclass(frozen=True)
class Kelly(Method):
    """Bayesian regression with errors in all coordinates, intrinsic scatter and upper limits of y.

    Without errors of y, sigma is the noise of y instead of intrinsic scatter, and
    predictions carry it as ``noise``. With exact X the covariates' distribution
    drops out of the line, whose posterior is then computed without sampling error.

    Parameters
    ----------
    n_components : int
        Normals in the distribution of the true covariates. More than are needed do
        little harm: their weights become small.
    prior : KellyPrior
    chains : int
        At least 4.
    warmup, draws, thin : int
        Iterations thrown away, draws kept for each chain, iterations for each of them.

    Notes
    -----
    Fitted attributes of `ErrorsInVariables` beside those of the contract
    (``params_`` is the posterior mean, ``scatter_`` the posterior median of sigma):

    ``posterior_`` : dict of arrays (chains, draws, ...)
        ``params`` (intercept first), ``scatter``, and the mixture: ``weights``,
        ``centers``, ``covs``; ``xi_mean`` and ``xi_cov`` are the mean and covariance
        of the true covariates, which do not depend on how components are numbered.
    ``rhat_``, ``ess_`` : dict
        Rank-normalised split R-hat and bulk effective sample size of ``params``,
        ``scatter``, ``xi_mean`` and the variances ``xi_var``.
    ``log_likelihood_`` : float
        The largest log-likelihood, true covariates integrated out, among 50 draws.

    See Also
    --------
    KellyPrior : the prior, and how it differs from Kelly's own.

    Examples
    --------
    >>> import numpy as np
    >>> from statml.regression import ErrorsInVariables
    >>> rng = np.random.default_rng(0)
    >>> xi = rng.normal(0, 2, 300)
    >>> x = xi + rng.normal(0, 1, 300)
    >>> y = 1 + 2 * xi + rng.normal(0, 1.5, 300) + rng.normal(0, 1, 300)
    >>> line = ErrorsInVariables(Kelly(n_components=1, draws=500), random_state=0)
    >>> line = line.fit(x[:, None], y, X_err=1.0, y_err=1.0)
    >>> bool(abs(line.coef_[0] - 2) < 3 * line.coef_err_[0]), bool(abs(line.scatter_ - 1.5) < 0.5)
    (True, True)
    """

    n_components: int = 3
    prior: KellyPrior = field(default_factory=KellyPrior)
    chains: int = 4
    warmup: int = 500
    draws: int = 1000
    thin: int = 1

    def fit(self, rows: Measured, rng: np.random.Generator) -> KellyLine:
        """Draw from the posterior.

        Parameters
        ----------
        rows : Measured
            Rows with an infinite error of y are left out.
        rng : Generator

        Raises
        ------
        InputError
            A setting that is not accepted, or too few rows.
        """
        self._check()
        rows = _informative(rows)
        n, d = rows.X.shape
        p = d + rows.intercept
        _enough_rows(rows, p)
        prior = fill_prior(self.prior, rows.X, rows.y, p)
        scaling = Scaling.of(rows)
        points, scaled = scaling.points(rows), scaling.prior(prior)
        if scaled.flat:
            refuse_dependent(points.z[:-1, 0].T, rows.intercept)
        start = first_state(
            points, scaled, _rough_lines(points, rows, self.chains, rng), self.n_components, rng
        )
        exact = not rows.X_cov.any() and not rows.upper.any()
        found = sample(
            _blurred(points) if exact else points,
            scaled,
            start,
            warmup=self.warmup,
            draws=self.draws,
            thin=self.thin,
            rng=rng,
        )
        if found.interrupted:
            warnings.warn(
                f"sampling was stopped; the {found.scatter.shape[1]} draws of each chain so far are kept",
                ConvergenceWarning,
                stacklevel=2,
            )
        if exact:
            found, mean, cov = _with_exact_line(found, points, scaled, rows.intercept, rng)
        else:
            joined = found.params.reshape(-1, p)
            mean, cov = joined.mean(axis=0), np.cov(joined, rowvar=False).reshape(p, p)
        log_likelihood = _best_log_likelihood(points, found, rows.intercept)
        log_likelihood -= n * (np.log(scaling.scale).sum() + np.log(scaling.y_scale))
        log_likelihood += int(rows.upper.sum()) * np.log(scaling.y_scale)
        return _fitted(found, mean, cov, log_likelihood, scaling, rows, prior)

    def _check(self) -> None:
        least = {"n_components": 1, "chains": 4, "warmup": 0, "draws": 4, "thin": 1}
        for name, low in least.items():
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
                raise InputError(f"{name} is {value!r}; accepted are integers >= {low}")
        if not isinstance(self.prior, KellyPrior):
            raise InputTypeError(f"prior is a {type(self.prior).__name__}; accepted is a KellyPrior")


def _informative(rows: Measured) -> Measured:
    if rows.y_var is None or np.all(np.isfinite(rows.y_var)):
        return rows
    keep = np.isfinite(rows.y_var)
    return Measured(
        rows.X[keep],
        rows.y[keep],
        rows.X_cov[keep],
        rows.y_var[keep],
        rows.xy_cov[keep],
        rows.upper[keep],
        rows.intercept,
    )


def _enough_rows(rows: Measured, p: int) -> None:
    detected = len(rows.y) - int(np.sum(rows.upper))
    if detected < p + 1:
        raise InputError(
            f"n_samples={detected} rows with a measured y are too few for {p} parameters and a scatter; "
            f"accepted are {p + 1} or more"
        )


def _rough_lines(
    points: Points, rows: Measured, chains: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Least squares, moved by a few of its standard errors: (params (C, p), sigma (C,))."""
    X, y = points.z[:-1, 0].T, points.z[-1, 0]
    A = np.column_stack([np.ones(len(y)), X]) if rows.intercept else X
    center, _, _, singular = np.linalg.lstsq(A, y, rcond=None)
    sigma = np.sqrt(np.mean((y - A @ center) ** 2)) + 1e-6
    size = sigma / max(float(np.min(singular)), 1e-3 * float(np.max(singular)))
    jumps = rng.standard_normal((chains, A.shape[1]))
    return center + 2 * size * jumps, sigma * np.exp(0.5 * rng.standard_normal(chains))


def _blurred(points: Points) -> Points:
    """The rows with larger errors of y: where X is exact the mixture knows nothing of y, and may be sampled so.

    Points on a perfect line would otherwise have the sampler follow a scatter of zero.
    """
    errors = points.errors.copy()
    errors[-1, -1] += 1.0
    return Points(points.z, errors, points.upper)


def _with_exact_line(
    found: Draws, points: Points, prior: FullPrior, intercept: bool, rng: np.random.Generator
) -> tuple[Draws, Array, Array]:
    """Line and scatter from their own posterior, which the mixture has no part in."""
    X, y = points.z[:-1, 0].T, points.z[-1, 0]
    A = np.column_stack([np.ones(len(y)), X]) if intercept else X
    line = exact_line(A, y, points.errors[-1, -1, 0], prior)
    params, scatter = line.sample(found.scatter.shape, rng)
    draws = Draws(params, scatter, found.weights, found.centers, found.covs, found.interrupted)
    return draws, line.mean, line.cov


def _best_log_likelihood(points: Points, draws: Draws, intercept: bool) -> float:
    few = draws.thinned(LIKELIHOOD_DRAWS)
    best = -np.inf
    for first in range(0, few.scatter.shape[1], AT_ONCE):
        part = (0, slice(first, first + AT_ONCE))
        moments = Moments.of(
            few.params[part], few.scatter[part] ** 2, few.centers[part], few.covs[part], intercept
        )
        best = max(best, float(points.log_likelihood(few.weights[part], moments).max()))
    return best


def _fitted(
    found: Draws,
    mean: Array,
    cov: Array,
    log_likelihood: float,
    scaling: Scaling,
    rows: Measured,
    prior: FullPrior,
) -> KellyLine:
    """Everything back in the units of the data."""
    slope = scaling.params_back(np.eye(len(mean))) - scaling.params_back(np.zeros(len(mean)))
    draws = Draws(
        scaling.params_back(found.params),
        found.scatter * scaling.y_scale,
        found.weights,
        found.centers * scaling.scale + scaling.shift,
        found.covs * (scaling.scale[:, None] * scaling.scale),
        found.interrupted,
    )
    xi_mean, xi_cov = draws.covariate_moments()
    posterior = {
        "params": draws.params,
        "scatter": draws.scatter,
        "weights": draws.weights,
        "centers": draws.centers,
        "covs": draws.covs,
        "xi_mean": xi_mean,
        "xi_cov": xi_cov,
    }
    followed = {
        "params": draws.params,
        "scatter": draws.scatter,
        "xi_mean": xi_mean,
        "xi_var": np.einsum("cmii->cmi", xi_cov),
    }
    rhats = {name: rhat(values) for name, values in followed.items()}
    sizes = {name: ess(values) for name, values in followed.items()}
    _warn_unless_converged(rhats, sizes, len(found.scatter))
    extras = {
        "posterior_": posterior,
        "rhat_": rhats,
        "ess_": sizes,
        "log_likelihood_": log_likelihood,
    }
    return KellyLine(
        scaling.params_back(mean),
        slope.T @ cov @ slope,
        float(np.median(draws.scatter)),
        extras,
        draws,
        rows,
        prior,
    )


def _warn_unless_converged(rhats: dict[str, Any], sizes: dict[str, Any], chains: int) -> None:
    worst = max(float(np.max(rhats[name])) for name in ("params", "scatter"))
    least = min(float(np.min(sizes[name])) for name in ("params", "scatter"))
    if not (worst <= LARGEST_RHAT and least >= LEAST_ESS * chains):
        warnings.warn(
            f"the chains are short: R-hat of line and scatter reaches {worst:.3f} (accepted up to {LARGEST_RHAT}) "
            f"and the effective sample size is {least:.0f} (at least {LEAST_ESS * chains}); raise draws or warmup",
            ConvergenceWarning,
            stacklevel=4,
        )
