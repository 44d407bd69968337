r"""A line with Student-t residuals: y_i = a_i^T x + sigma_i t_nu, sigma_i^2 = err_i^2 + s^2.

Written with a precision lambda_i ~ Gamma(nu/2, rate nu/2) for each row, the t is
N(0, sigma_i^2 / lambda_i). Given the line, the expected precision is

    w_i = (nu + 1) / (nu + r_i^2 / sigma_i^2),

the weight of the row in iteratively reweighted least squares, the EM algorithm of
this model: a row far off weighs as 1 / r^2, so its pull on the line goes to zero.

Source: Lange, Little & Taylor (1989), JASA 84, 881; ECME: Liu & Rubin (1994).
"""

from __future__ import annotations

import numpy as np
from scipy import optimize, special

from statml.regression.likelihood import Maximum, RowLikelihood, Rows, maximise
from statml.regression.starts import first_scatter

Array = np.ndarray

# Below two a prediction has no variance; at a thousand the t is a normal.
DF_RANGE = (2.1, 1000.0)
START_DF = 4.0
# Fitted scatter below this share of the median error is zero.
NO_SCATTER = 1e-2
# Without errors: smallest and largest noise, in units of the spread of y.
NOISE_RANGE = (1e-8, 1e4)


def fit_student(
    rows: Rows, lines: list[Array], scatter: float | None, df: float | None
) -> tuple[StudentLikelihood, Maximum]:
    """The most likely line, scatter and degrees of freedom; None is fitted.

    Parameters
    ----------
    rows : Rows
    lines : list of arrays (p,)
        Where to start.
    """
    error = float(np.sqrt(np.median(rows.variance)))
    span = (NO_SCATTER * error, NOISE_RANGE[1]) if error > 0 else NOISE_RANGE
    likelihood = StudentLikelihood(rows, scatter, df, span)
    starts = [
        likelihood.pack(line, max(first_scatter(rows, line), span[0]), START_DF if df is None else df)
        for line in lines
    ]
    found = maximise(likelihood, starts)
    # Compared as it was sought, in its logarithm: exp of the log of the bound may be above the bound.
    if scatter is None and error > 0 and likelihood.split(found.theta)[1][0] <= likelihood.shape_low[0]:
        return fit_student(rows, lines, 0.0, df)
    return likelihood, found


class StudentLikelihood(RowLikelihood):
    """Likelihood of (line, log s if it is fitted, log nu if it is fitted).

    Parameters
    ----------
    rows : Rows
    scatter : float or None
        s, or None to fit it.
    df : float or None
        nu, or None to fit it.
    scatter_range : (float, float)
        Where s is sought.
    """

    def __init__(
        self, rows: Rows, scatter: float | None, df: float | None, scatter_range: tuple[float, float]
    ) -> None:
        self.rows, self.scatter, self.df = rows, scatter, df
        fitted = ([scatter_range] if scatter is None else []) + ([DF_RANGE] if df is None else [])
        self.shape_low, self.shape_high = np.log(np.reshape(fitted, (-1, 2))).T

    def unpack(self, shape: Array) -> tuple[Array, Array]:
        """s and nu, each complex where the shape is."""
        s = np.asarray(self.scatter) if self.scatter is not None else np.exp(shape[0])
        nu = np.asarray(self.df) if self.df is not None else np.exp(shape[-1])
        return s, nu

    def pack(self, line: Array, s: float, nu: float) -> Array:
        """Theta of a line and of what is fitted of s and nu."""
        shape = ([s] if self.scatter is None else []) + ([nu] if self.df is None else [])
        return np.concatenate([line, np.log(shape)])

    def terms(self, eta: Array, shape: Array) -> tuple[Array, Array, Array]:
        s, nu = self.unpack(shape)
        variance = self.rows.variance + s**2
        square = (self.rows.y - eta) ** 2
        # nu sigma^2 + r^2, the scale of the tail
        tail = nu * variance + square
        log_ratio = np.log1p(square / (nu * variance))
        log_norm = special.loggamma((nu + 1) / 2) - special.loggamma(nu / 2) - 0.5 * np.log(np.pi * nu)
        log_density = log_norm - 0.5 * np.log(variance) - 0.5 * (nu + 1) * log_ratio
        by_eta = (nu + 1) * (self.rows.y - eta) / tail
        columns = []
        if self.scatter is None:
            columns.append(s**2 / variance * ((nu + 1) * square / tail - 1))
        if self.df is None:
            slope = special.digamma((nu + 1) / 2) - special.digamma(nu / 2) - 1 / nu - log_ratio
            columns.append(0.5 * nu * slope + 0.5 * (nu + 1) * square / tail)
        empty = np.empty((len(self.rows.y), 0))
        return log_density, by_eta, np.column_stack(columns) if columns else empty

    def weights(self, theta: Array) -> Array:
        """Expected precision of each row, at most (nu + 1) / nu, shape (n,)."""
        line, shape = self.split(theta)
        s, nu = self.unpack(shape)
        square = (self.rows.y - self.rows.A @ line) ** 2
        return (nu + 1) / (nu + square / (self.rows.variance + s**2))

    def em_step(self, theta: Array) -> Array:
        _, shape = self.split(theta)
        s, nu = (float(value) for value in self.unpack(shape))
        weights, variance = self.weights(theta), self.rows.variance + s**2
        line = self.rows.weighted_line(weights / variance)
        residual = self.rows.y - self.rows.A @ line
        if self.scatter is None:
            # The part of each residual that is scatter is hidden: its expected square, times the weight.
            share = s**2 / variance
            s = float(np.sqrt(np.mean(share**2 * weights * residual**2 + s**2 * (1 - share))))
        if self.df is None:
            nu = self._best_df(residual**2 / (self.rows.variance + s**2))
        return self.pack(line, s, nu)

    def _best_df(self, square: Array) -> float:
        """Degrees of freedom that maximise the likelihood itself at these squared standard residuals."""

        def loss(log_df: float) -> float:
            nu = np.exp(log_df)
            norm = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * np.log(nu)
            return -float(len(square) * norm - 0.5 * (nu + 1) * np.sum(np.log1p(square / nu)))

        low, high = np.log(DF_RANGE)
        return float(np.exp(optimize.minimize_scalar(loss, bounds=(low, high), method="bounded").x))
