r"""Hogg, Bovy & Lang's line: the likelihood of perpendicular distances (arXiv:1008.4686, sections 7 and 8).

Three settings of one method, with D_i the distance of point i from the line along its unit
normal n and n'E_i n the variance that its errors have there (E_i may correlate x and y):

    neither             minimise   sum D_i^2 / (n'E_i n)                        eq. 32, exercise 13
    scatter=True        maximise   sum log N(D_i; 0, n'E_i n + V)               eq. 35, exercise 14
    outliers=True       maximise   sum log [(1 - P) N(.; .) + P N(.; . + U)]

The first is York's chi2, so its line is York's. The second carries the term of the
variances, which the first lacks; V, the scatter along the normal, is that of the truth. The
mathematics is in `perpendicular`, in any number of features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from statml.errors import InputError
from statml.regression.errors_in_variables.line import OrdinaryLine, PropagatedLine
from statml.regression.errors_in_variables.method import FittedLine, Measured, Method
from statml.regression.errors_in_variables.perpendicular import Perpendicular, upper_limit
from statml.regression.errors_in_variables.standard import Standardised, starting_slopes
from statml.regression.errors_in_variables.york import check_determined, minimise, refuse_upper_limits

Array = np.ndarray

LIMIT_LEVEL = 0.95
# Lines through random points, among which the ones with the smallest median residual start a search.
N_TRIALS, N_KEPT = 200, 4


@dataclass(frozen=True)
class Orthogonal(Method):
    """Line of the greatest likelihood of the perpendicular distances.

    Needs errors of y where there are errors of X; with no errors at all it is
    ordinary least squares. Errors of 0, with `scatter`, make it total least squares.

    Parameters
    ----------
    scatter : bool
        Fit a variance V of the truth along the normal of the line.
    outliers : bool
        A share P of the points has a larger scatter around the line.

    Notes
    -----
    Attributes of the estimator beside `params_` and `scatter_` (the scatter along y,
    sqrt(V (1 + |b|^2)), used in predictions):

    chi2_, dof_ : float, int
        sum D_i^2 / (n'E_i n + V), weighted by the probability of belonging to the line.
    log_likelihood_ : float
        Log density of the distances.
    perpendicular_scatter_ : float
        sqrt(V).
    scatter_err_ : float or None
        Standard error of `scatter_`; None where it is 0, the end of its range, where the
        curvature of the likelihood is no error.
    scatter_limit_ : float
        One-sided 95 % upper limit of `scatter_`: of its posterior for flat priors of the
        scatter and the line.
    outlier_proba_ : array (n,)
        Posterior probability of each row (rows of infinite y_err left out) to be an outlier.
    outlier_fraction_, outlier_scatter_ : float
        P, and the standard deviation sqrt(U) by which outliers scatter more, along the normal.

    With `scatter` or `outliers` the density of the true points is taken as uniform *along the
    line*. That is consistent where errors are the same in all directions. Otherwise the slope
    is biased, by about b (s_y^2 - s_x^2) / ((1 + b^2) var x) for one feature: towards steep
    lines where the errors of y are the larger ones. York has no such bias, and no scatter;
    Kelly has a scatter without it. Predictions are those of points that belong to the line.

    Examples
    --------
    >>> import numpy as np
    >>> from statml import datasets, units
    >>> from statml.regression import ErrorsInVariables
    >>> points = datasets.load("hogg2010")[4:]
    >>> X, y, err = units.from_table(points, x="x", y="y")
    >>> shared = points["rho_xy"].data[:, None] * err.X_err * err.y_err[:, None]
    >>> line = ErrorsInVariables(Orthogonal(scatter=True))
    >>> line = line.fit(X, y, X_err=err.X_err, y_err=err.y_err, xy_cov=shared)
    >>> np.round(line.params_, 3), line.scatter_, round(line.scatter_limit_)
    (array([26.176,  2.263]), 0.0, 28)
    """

    scatter: bool = False
    outliers: bool = False

    def fit(self, rows: Measured, rng: np.random.Generator) -> FittedLine:
        """Find the line."""
        self._check(rows)
        if rows.y_var is None:
            return OrdinaryLine.fit(rows)
        points = Standardised.of(rows)
        if not (self.scatter or self.outliers):
            check_determined(rows)
            return _without_scatter(points)
        p = rows.X.shape[1] + rows.intercept
        if len(rows.y) <= p:
            raise InputError(
                f"n_samples={len(rows.y)} is too few for {p} parameters and a scatter; accepted are {p + 1} or more"
            )
        if not self.scatter:
            check_determined(rows)
        slopes = starting_slopes(points)
        likelihood = Perpendicular.of(points, slopes[-1], scatter=self.scatter, outliers=self.outliers)
        lines = [points.with_constant(each) for each in slopes]
        if self.outliers:
            lines += _through_random_rows(points, rng)
        theta, best = likelihood.maximise([_start(likelihood, line) for line in lines])
        return _as_line(likelihood, theta, best)

    def _check(self, rows: Measured) -> None:
        for name in ("scatter", "outliers"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} is {getattr(self, name)!r}; accepted are True and False")
        refuse_upper_limits("Orthogonal", rows)
        if rows.y_var is None and rows.X_cov.any():
            raise InputError(
                "X_err or X_cov is given and no errors of y, and the distance from the line needs both; "
                "accepted is y_err (or y_cov) beside X_err, or Kelly(), which fits the noise of y"
            )


def _without_scatter(points: Standardised) -> PropagatedLine:
    """Equation 32: York's chi2 and its covariance."""
    found = minimise(points)
    params, cov = points.unscale(found.params, found.cov())
    q = 1 + float(np.sum(params[int(points.intercept) :] ** 2))
    projected = points.y_scale**2 * found.variance / q
    density = -found.value - 0.5 * np.sum(np.log(2 * np.pi * projected))
    extras = {
        "chi2_": 2 * found.value,
        "dof_": len(points.y) - len(params),
        "log_likelihood_": float(density),
    }
    return PropagatedLine(params, cov, 0.0, extras, points.intercept)


def _start(likelihood: Perpendicular, line: Array) -> Array:
    """A line with a scatter of one unit, a tenth of outliers, ten times as far off."""
    return np.r_[line, [1.0] * likelihood.scatter, [np.log(0.1), np.log(100.0)] * likelihood.outliers]


def _through_random_rows(points: Standardised, rng: np.random.Generator) -> list[Array]:
    """Lines through as many random rows as they have parameters; those with the smallest median residual."""
    p = points.X.shape[1] + int(points.intercept)
    A = np.column_stack([np.ones(len(points.y)), points.X]) if points.intercept else points.X
    tried = []
    for _ in range(N_TRIALS):
        rows = rng.choice(len(points.y), p, replace=False)
        try:
            line = linalg.solve(A[rows], points.y[rows], check_finite=False)
        except (linalg.LinAlgError, linalg.LinAlgWarning):
            continue
        variance = points.vertical_variance(line[int(points.intercept) :])
        standard = points.residual(line) ** 2 / np.maximum(variance, np.finfo(float).tiny)
        tried.append((float(np.median(standard)), line))
    tried.sort(key=lambda entry: entry[0])
    return [line for _, line in tried[:N_KEPT]]


def _as_line(likelihood: Perpendicular, theta: Array, best: float) -> PropagatedLine:
    """Parameters, covariance and extras in the units of the data."""
    points, p = likelihood.points, likelihood.p
    line, V, odds, U = likelihood.split(theta)
    cov, scatter_err = _errors(likelihood, theta)
    params, params_cov = points.unscale(line, cov)
    outlier = likelihood.rows(theta)[2]
    slopes = line[int(points.intercept) :]
    variance = points.vertical_variance(slopes) + V * _q(likelihood, line)
    extras: dict[str, Any] = {
        "chi2_": float(np.sum((1 - outlier) * points.residual(line) ** 2 / variance)),
        "dof_": len(points.y) - p - int(likelihood.scatter) - 2 * int(likelihood.outliers),
        "log_likelihood_": best - len(points.y) * float(np.log(points.y_scale)),
    }
    if likelihood.scatter:
        limit = upper_limit(likelihood, theta, LIMIT_LEVEL)
        extras |= {
            "perpendicular_scatter_": float(points.y_scale * np.sqrt(V)),
            "scatter_err_": scatter_err,
            "scatter_limit_": _vertical(likelihood, limit),
        }
    if likelihood.outliers:
        extras |= {
            "outlier_proba_": outlier,
            "outlier_fraction_": float(1 / (1 + np.exp(-odds))),
            "outlier_scatter_": float(points.y_scale * np.sqrt(U)),
        }
    scatter = _vertical(likelihood, theta) if likelihood.scatter else 0.0
    return PropagatedLine(params, params_cov, scatter, extras, points.intercept)


def _q(likelihood: Perpendicular, line: Array) -> float:
    return 1 + float(np.sum((likelihood.ratio * line[int(likelihood.points.intercept) :]) ** 2))


def _vertical(likelihood: Perpendicular, theta: Array) -> float:
    """Scatter along y in the units of the data."""
    line, V, _, _ = likelihood.split(theta)
    return float(likelihood.points.y_scale * np.sqrt(V * _q(likelihood, line)))


def _errors(likelihood: Perpendicular, theta: Array) -> tuple[Array, float | None]:
    """Covariance of the line (standardised), and the error of the vertical scatter where it is not at 0.

    Inverse curvature of the parameters that are not at an end of their range.
    """
    p = likelihood.p
    free = likelihood.inside(theta)
    try:
        cov = linalg.inv(likelihood.hessian(theta, free))
        linalg.cholesky(cov[:p, :p], lower=True)
    except linalg.LinAlgError as error:
        raise InputError(
            "X does not determine the line: the likelihood has no maximum at finite slopes; "
            "accepted are features that vary by more than their errors and scatter"
        ) from error
    if not likelihood.scatter or not free[p]:
        return cov[:p, :p], None
    # s = sqrt(V q): the delta method, with the slopes in q.
    line, V, _, _ = likelihood.split(theta)
    q, first = _q(likelihood, line), int(likelihood.points.intercept)
    slope = np.zeros(len(cov))
    slope[first:p] = V * likelihood.ratio**2 * line[first:]
    slope[p] = 0.5 * q * likelihood.unit
    slope /= np.sqrt(V * q)
    return cov[:p, :p], float(likelihood.points.y_scale * np.sqrt(slope @ cov @ slope))
