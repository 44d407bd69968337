"""Kelly's model in PyMC, with the prior and the data of a fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from statml.errors import InputError, MissingExtraError
from statml.regression.errors_in_variables.kelly_model import LOG_2PI, forward, ldl, product
from statml.regression.errors_in_variables.kelly_prior import FullPrior
from statml.regression.errors_in_variables.method import Measured

Array = np.ndarray


def model(rows: Measured, prior: FullPrior, n_components: int, *, marginal: bool) -> Any:
    """A ``pymc.Model`` of the rows; see `KellyLine.to_pymc`.

    Raises
    ------
    MissingExtraError
        pymc is not installed.
    InputError
        ``marginal=False`` and errors of X that are zero in some direction.
    """
    try:
        import pymc as pm
        import pytensor.tensor as pt
    except ImportError as error:
        raise MissingExtraError("to_pymc needs pymc: pip install 'statml[bayes]'") from error
    if not marginal and np.any(np.linalg.eigvalsh(rows.X_cov)[:, 0] <= 0):
        raise InputError(
            "marginal=False needs errors of X in every direction of every row; accepted here is marginal=True"
        )
    d = rows.X.shape[1]
    with pm.Model() as found:
        params = _line_prior(pm, prior, d + rows.intercept)
        # With one degree of freedom this is the half-Cauchy.
        scatter = pm.HalfStudentT("scatter", nu=prior.scatter_df, sigma=prior.scatter_scale)
        weights = pm.Dirichlet("weights", np.full(n_components, prior.concentration))
        centers = pm.MvNormal("centers", prior.center, prior.center_cov, shape=(n_components, d))
        covs = _covs_prior(pm, pt, prior, n_components, d)
        alpha = params[0] if rows.intercept else 0.0
        beta = params[int(rows.intercept) :]
        y_var = np.zeros(len(rows.y)) if rows.y_var is None else rows.y_var
        if marginal:
            log_rows = _marginal(pt, rows, y_var, alpha, beta, scatter, weights, centers, covs)
        else:
            log_rows = _latent(pm, pt, rows, y_var, alpha, beta, scatter, weights, centers, covs)
        pm.Potential("rows", log_rows.sum())
    return found


def _line_prior(pm: Any, prior: FullPrior, p: int) -> Any:
    if prior.flat:
        return pm.Flat("params", shape=p)
    return pm.MvNormal("params", prior.line_mean, tau=prior.line_precision)


def _covs_prior(pm: Any, pt: Any, prior: FullPrior, k: int, d: int) -> Any:
    """inverse-Wishart(nu + d - 1, 2 nu diag(1/a)), through the Cholesky factor."""
    nu = prior.width_df
    df = nu + d - 1
    inverse_a = pm.Gamma("inverse_a", 0.5, prior.width**-2.0, shape=d)
    log_diagonal = pm.Flat("log_diagonal", shape=(k, d), initval=np.tile(np.log(prior.width / 2), (k, 1)))
    below = pm.Flat("below", shape=(k, d * (d - 1) // 2)) if d > 1 else None
    rows = []
    place = 0
    for i in range(d):
        entries = [below[:, place + j] for j in range(i)] if below is not None else []
        place += i
        filler = [pt.zeros(k)] * (d - i - 1)
        rows.append(pt.stack([*entries, pt.exp(log_diagonal[:, i]), *filler], axis=1))
    factor = pt.stack(rows, axis=1)
    # tr(Psi T^-1) = sum of the squares of L^-1 times the diagonal of Psi; powers of L_jj: see `gibbs_collapsed`.
    lower = [[factor[:, i, j] / factor[:, j, j] for j in range(i)] for i in range(d)]
    trace = 0.0
    for j in range(d):
        column = forward(lower, [pt.ones(k) if i == j else pt.zeros(k) for i in range(d)])
        trace = trace + 2 * nu * inverse_a[j] * sum((column[i] / factor[:, i, i]) ** 2 for i in range(d))
    powers = -(df + d + 1) + (d - np.arange(d) + 1)
    normaliser = 0.5 * df * k * pt.sum(pt.log(inverse_a))
    pm.Potential("covs_prior", normaliser + pt.sum(log_diagonal * powers) - 0.5 * pt.sum(trace))
    return pm.Deterministic("covs", factor @ factor.transpose(0, 2, 1))


def _marginal(
    pt: Any, rows: Measured, y_var: Array, alpha: Any, beta: Any, scatter: Any, weights: Any, mu: Any, T: Any
) -> Any:
    """Log of p(x, y) of every row, the true covariates integrated out; arrays are (K, n)."""
    d = rows.X.shape[1]
    of_y = alpha + sum(beta[i] * mu[:, i] for i in range(d))
    across = [sum(T[:, i, j] * beta[j] for j in range(d)) for i in range(d)]
    variance = scatter**2 + sum(across[i] * beta[i] for i in range(d))
    mean = [*(mu[:, i] for i in range(d)), of_y]
    z = [*rows.X.T, rows.y]
    cov = [[T[:, i, j] for j in range(i + 1)] for i in range(d)] + [[*across, variance]]
    errors = [[rows.X_cov[:, i, j] for j in range(i + 1)] for i in range(d)] + [[*rows.xy_cov.T, y_var]]
    lower, pivots = ldl([[c[:, None] + e for c, e in zip(*pair)] for pair in zip(cov, errors)])
    white = forward(lower, [value - m[:, None] for value, m in zip(z, mean)])
    of_x = -0.5 * (sum(u**2 / v for u, v in zip(white[:-1], pivots[:-1])) + pt.log(product(pivots[:-1])))
    last = _seen_or_below(pt, white[-1], pivots[-1], rows.upper)
    total = pt.log(weights)[:, None] + of_x - 0.5 * d * LOG_2PI + last
    return pt.logsumexp(total, axis=0)


def _seen_or_below(pt: Any, residual: Any, variance: Any, upper: Array) -> Any:
    """Log density of a residual of y, or log probability to lie below a limit."""
    density = -0.5 * (residual**2 / variance + pt.log(variance) + LOG_2PI)
    if not upper.any():
        return density
    return pt.switch(upper, pt.log(0.5) + pt.log(pt.erfc(-residual / pt.sqrt(2 * variance))), density)


def _latent(
    pm: Any,
    pt: Any,
    rows: Measured,
    y_var: Array,
    alpha: Any,
    beta: Any,
    scatter: Any,
    weights: Any,
    mu: Any,
    T: Any,
) -> Any:
    """The true covariates as a variable ``xi`` (n, d); log of p(xi) p(x | xi) p(y | x, xi) of every row."""
    n, d = rows.X.shape
    xi = pm.Flat("xi", shape=(n, d), initval=rows.X)
    lower, pivots = ldl([[T[:, i, j][:, None] for j in range(i + 1)] for i in range(d)])
    white = forward(lower, [xi[:, i] - mu[:, i][:, None] for i in range(d)])
    of_component = -0.5 * (sum(u**2 / v for u, v in zip(white, pivots)) + pt.log(product(pivots)))
    of_xi = pt.logsumexp(pt.log(weights)[:, None] + of_component, axis=0) - 0.5 * d * LOG_2PI
    precision = np.linalg.inv(rows.X_cov)
    gap = rows.X - xi
    pull = sum(precision[:, :, j] * gap[:, j][:, None] for j in range(d))
    of_x = -0.5 * ((gap * pull).sum(axis=1) + np.linalg.slogdet(rows.X_cov)[1] + d * LOG_2PI)
    # x - xi is the error of x, and says something about that of y.
    shift = np.einsum("ni,nij->nj", rows.xy_cov, precision)
    extra = y_var - np.einsum("ni,ni->n", shift, rows.xy_cov)
    residual = rows.y - alpha - sum(beta[i] * xi[:, i] for i in range(d)) - (shift * gap).sum(axis=1)
    return of_xi + of_x + _seen_or_below(pt, residual, scatter**2 + extra, rows.upper)
