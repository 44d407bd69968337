r"""A line among outliers: each row is good, or from a broad normal that knows no line.

    y_i ~ (1 - P) N(a_i^T x, err_i^2 + s^2)  +  P N(Y, V + err_i^2 + s^2)

P is the fraction of outliers, Y and V the mean and variance of where they lie; with
s = 0 this is the mixture of Hogg, Bovy & Lang. The probability that row i is an
outlier is its share of the density, q_i = P N_i^bad / f_i, so nothing is ever cut.

Source: Hogg, Bovy & Lang (2010), arXiv:1008.4686, section 3, equation 17.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from statml.regression.likelihood import Maximum, RowLikelihood, Rows, maximise
from statml.regression.starts import first_scatter
from statml.regression.student_t import NO_SCATTER, fit_student

Array = np.ndarray

# Outliers are a minority: beyond one half, line and outliers could change roles.
FRACTION_RANGE = (1e-6, 0.5)
# Spread of the outliers: from a hundredth of the noise to a hundred times the largest distance.
SPREAD_RANGE = (1e-2, 1e2)
# Without errors the noise may shrink to this share of that of a Student-t fit, and no further: a
# good component that narrows on a few rows would have an infinite likelihood.
LEAST_NOISE = 0.1
SUSPECT = 3.0


def fit_mixture(rows: Rows, lines: list[Array], scatter: float | None) -> tuple[MixtureLikelihood, Maximum]:
    """The most likely line, outliers and scatter; a scatter of None is fitted.

    Parameters
    ----------
    rows : Rows
    lines : list of arrays (p,)
        Where to start.
    """
    student, heavy = fit_student(rows.few(), lines, scatter, None)
    robust_line, shape = student.split(heavy.theta)
    s = float(student.unpack(shape)[0])
    error = float(np.sqrt(np.median(rows.variance)))
    span = (NO_SCATTER * error, 1e4) if error > 0 else (LEAST_NOISE * s, 1e3 * s)
    noise = float(np.hypot(error, s))
    farthest = float(np.max(np.abs(rows.y - np.median(rows.y)))) + noise
    likelihood = MixtureLikelihood(rows, scatter, span, (SPREAD_RANGE[0] * noise, SPREAD_RANGE[1] * farthest))
    starts = [start for line in [robust_line, *lines] for start in _outlier_starts(likelihood, line, span[0])]
    found = maximise(likelihood, starts)
    # Compared as it was sought, in its logarithm: exp of the log of the bound may be above the bound.
    if scatter is None and error > 0 and likelihood.split(found.theta)[1][3] <= likelihood.shape_low[3]:
        return fit_mixture(rows, lines, 0.0)
    return likelihood, found


def _outlier_starts(likelihood: MixtureLikelihood, line: Array, least: float) -> list[Array]:
    """Outliers where the line leaves large residuals, and outliers like all of y."""
    rows = likelihood.rows
    s = max(first_scatter(rows, line), least) if likelihood.scatter is None else likelihood.scatter
    suspect = np.abs(rows.y - rows.A @ line) > SUSPECT * np.sqrt(rows.variance + s**2)
    broad = float(np.var(rows.y)) + 1e-12
    starts = [likelihood.pack(line, 0.1, float(np.mean(rows.y)), broad, s)]
    if suspect.any():
        spread = float(np.var(rows.y[suspect])) + 0.1 * broad
        fraction = float(np.clip(np.mean(suspect), 0.02, 0.5))
        starts.append(likelihood.pack(line, fraction, float(np.mean(rows.y[suspect])), spread, s))
    return starts


class MixtureLikelihood(RowLikelihood):
    """Likelihood of (line, logit P, Y, log V, log s if it is fitted).

    Parameters
    ----------
    rows : Rows
    scatter : float or None
        s, or None to fit it.
    scatter_range, spread_range : (float, float)
        Where s and the standard deviation sqrt(V) are sought.
    """

    def __init__(
        self,
        rows: Rows,
        scatter: float | None,
        scatter_range: tuple[float, float],
        spread_range: tuple[float, float],
    ) -> None:
        self.rows, self.scatter = rows, scatter
        bounds = [special.logit(FRACTION_RANGE), (-np.inf, np.inf), 2 * np.log(spread_range)]
        if scatter is None:
            bounds.append(np.log(scatter_range))
        self.shape_low, self.shape_high = np.array(bounds).T

    def pack(self, line: Array, fraction: float, mean: float, variance: float, s: float) -> Array:
        """Theta of a line, its outliers, and s where it is fitted."""
        shape = [special.logit(fraction), mean, np.log(variance)]
        return np.concatenate([line, shape, [np.log(s)] if self.scatter is None else []])

    def unpack(self, shape: Array) -> tuple[Array, Array, Array, Array]:
        """P, Y, V and s, each complex where the shape is."""
        s = np.asarray(self.scatter) if self.scatter is not None else np.exp(shape[3])
        return 1 / (1 + np.exp(-shape[0])), shape[1], np.exp(shape[2]), s

    def _densities(self, eta: Array, shape: Array) -> tuple[Array, Array, Array, Array]:
        """Log density and share of outliers, variances of good and bad, each (n,)."""
        fraction, mean, spread, s = self.unpack(shape)
        good, bad = self.rows.variance + s**2, self.rows.variance + s**2 + spread
        log_good = np.log(1 - fraction) - 0.5 * (np.log(2 * np.pi * good) + (self.rows.y - eta) ** 2 / good)
        log_bad = np.log(fraction) - 0.5 * (np.log(2 * np.pi * bad) + (self.rows.y - mean) ** 2 / bad)
        # A log of a sum that stays analytic, for the complex step.
        top = np.maximum(log_good.real, log_bad.real)
        log_density = top + np.log(np.exp(log_good - top) + np.exp(log_bad - top))
        return log_density, np.exp(log_bad - log_density), good, bad

    def terms(self, eta: Array, shape: Array) -> tuple[Array, Array, Array]:
        fraction, mean, spread, s = self.unpack(shape)
        log_density, share, good, bad = self._densities(eta, shape)
        residual, distance = self.rows.y - eta, self.rows.y - mean
        by_good = 0.5 * (1 - share) * (residual**2 / good - 1) / good
        by_bad = 0.5 * share * (distance**2 / bad - 1) / bad
        columns = [share - fraction, share * distance / bad, spread * by_bad]
        if self.scatter is None:
            columns.append(2 * s**2 * (by_good + by_bad))
        return log_density, (1 - share) * residual / good, np.column_stack(columns)

    def outlier_probability(self, theta: Array) -> Array:
        """q_i, shape (n,)."""
        line, shape = self.split(theta)
        return self._densities(self.rows.A @ line, shape)[1]

    def em_step(self, theta: Array) -> Array:
        line, shape = self.split(theta)
        _, mean, spread, s = (float(value) for value in self.unpack(shape))
        _, share, good, bad = self._densities(self.rows.A @ line, shape)
        line = self.rows.weighted_line((1 - share) / good)
        total = max(float(share.sum()), 1e-300)
        weights = share / bad
        mean = float(weights @ self.rows.y / weights.sum()) if weights.sum() > 0 else mean
        residual, distance = self.rows.y - self.rows.A @ line, self.rows.y - mean
        new_spread = float(share @ hidden_square(spread, bad, distance)) / total
        if self.scatter is None:
            squares = (1 - share) * hidden_square(s**2, good, residual)
            squares += share * hidden_square(s**2, bad, distance)
            s = float(np.sqrt(np.mean(squares)))
        fraction = np.clip(share.mean(), *FRACTION_RANGE)
        return self.pack(line, fraction, mean, max(new_spread, 1e-300), max(s, 1e-300))


def hidden_square(part: float, total: Array, residual: Array) -> Array:
    """Expected square of a hidden normal of variance `part` inside a residual of variance `total`."""
    share = part / total
    return (share * residual) ** 2 + part * (1 - share)
