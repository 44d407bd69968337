r"""York's line: least squares with normal errors of both coordinates, correlated or not.

Each point (x_i, y_i) was measured with covariance [[S_i, c_i], [c_i', s_i^2]] around a
true point on y = a + b.x. Its true x is unknown and free (the *functional* model); the
true point nearest to the measured one, in units of the errors, leaves

    chi2(a, b) = sum_i r_i^2 / v_i,     r_i = y_i - a - b.x_i,     v_i = s_i^2 + b'S_i b - 2 b'c_i

and lies at  xhat_i = x_i + g_i r_i / v_i,  g_i = S_i b - c_i. Half the gradient of chi2 is
-sum r_i xhat_i / v_i, whose variance is J = sum xhat_i xhat_i' / v_i; half its Hessian is

    H = J + sum [ r_i / v_i^2 (xhat_i g_i' + g_i xhat_i') + r_i^2 / v_i^3 g_i g_i' - r_i^2 / v_i^2 S_i ]

with expectation sum xi_i xi_i' / v_i, xi the true x (all with a leading 1 for the constant).
The covariance of the estimate is therefore H^-1 J H^-1. York et al. give J^-1, which takes
the adjusted xhat for the true x: the same for small errors, too small for large ones.

Sources: York (1966), Can. J. Phys. 44, 1079; York et al. (2004), Am. J. Phys. 72, 367;
Fuller (1987), "Measurement Error Models", section 2.4, for the covariance.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import linalg
from sklearn.exceptions import ConvergenceWarning

from statml.errors import InputError
from statml.regression.errors_in_variables.line import OrdinaryLine, PropagatedLine
from statml.regression.errors_in_variables.method import FittedLine, Measured, Method
from statml.regression.errors_in_variables.standard import Standardised, starting_slopes

Array = np.ndarray

MAX_STEPS = 200
# A step this small, squared and in standard errors of the parameters, is the last.
LAST_STEP = 1e-16
# Of more rows than this, starts are compared on an even selection.
ROWS_TO_COMPARE_STARTS = 1000


@dataclass(frozen=True)
class York(Method):
    """Least squares with errors in both coordinates; no intrinsic scatter.

    Needs errors of y where there are errors of X; with no errors at all it is
    ordinary least squares with a fitted noise of y.

    Notes
    -----
    Every point is taken to lie on the line but for its stated errors. Scatter of the
    truth around the line makes the slope too steep and its error too small: use
    `Kelly` then. Nothing is assumed about the distribution of the true x.

    Attributes of the estimator:

    chi2_, dof_ : float, int
        At the minimum; chi2 far above dof says that the errors are too small or that
        there is scatter.
    log_likelihood_ : float
        Log density of the residuals, sum of log N(r_i; 0, v_i).
    closed_form_cov_ : array (p, p)
        J^-1, the standard errors that York et al. (2004) give in closed form.
    n_iterations_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from statml.regression import ErrorsInVariables
    >>> x = np.array([[0.1], [0.9], [2.1], [2.9]])
    >>> line = ErrorsInVariables("york").fit(x, [1.0, 3.1, 4.9, 7.0], X_err=0.1, y_err=0.1)
    >>> np.round(line.params_, 2)
    array([0.9 , 2.06])
    """

    def fit(self, rows: Measured, rng: np.random.Generator) -> FittedLine:
        """Minimise chi2."""
        refuse_upper_limits("York", rows)
        if rows.y_var is None:
            if rows.X_cov.any():
                raise InputError(
                    "X_err or X_cov is given and no errors of y, and York weighs one against the other; "
                    "accepted is y_err (or y_cov) beside X_err, or Kelly(), which fits the noise of y"
                )
            return OrdinaryLine.fit(rows)
        check_determined(rows)
        points = Standardised.of(rows)
        found = minimise(points)
        params, cov = points.unscale(found.params, found.cov())
        dof = len(rows.y) - len(params)
        spread = points.y_scale**2 * found.variance
        extras = {
            "chi2_": 2 * found.value,
            "dof_": dof,
            "log_likelihood_": float(-found.value - 0.5 * np.sum(np.log(2 * np.pi * spread))),
            "closed_form_cov_": points.unscale(found.params, linalg.inv(found.score_variance))[1],
            "n_iterations_": found.steps,
        }
        return PropagatedLine(params, cov, 0.0, extras, rows.intercept)


@dataclass(frozen=True)
class Minimum:
    """A point of half chi2 with its derivatives: parameters (p,), value, gradient, H, J, and v (n,)."""

    params: Array
    value: float
    gradient: Array
    hessian: Array
    score_variance: Array
    variance: Array
    steps: int = 0

    def cov(self) -> Array:
        """H^-1 J H^-1."""
        try:
            factor = linalg.cho_factor(self.hessian)
        except linalg.LinAlgError as error:
            raise InputError(
                "X has linearly dependent columns, or errors larger than its spread: the slopes are not "
                "determined; accepted are features that vary by more than their errors"
            ) from error
        half = linalg.cho_solve(factor, linalg.cholesky(self.score_variance, lower=True))
        return half @ half.T


def refuse_upper_limits(name: str, rows: Measured) -> None:
    """Raise where y holds upper limits."""
    if rows.upper.any():
        raise InputError(f"{name} cannot use y_upper_limit; accepted with upper limits is method='kelly'")


def check_determined(rows: Measured) -> None:
    """Raise where there are fewer rows than parameters, or a row is exact in every coordinate."""
    p = rows.X.shape[1] + rows.intercept
    if len(rows.y) < p:
        raise InputError(
            f"n_samples={len(rows.y)} is too few for {p} parameters; accepted are {p} rows or more"
        )
    assert rows.y_var is not None
    if np.any((rows.y_var == 0) & ~rows.X_cov.any(axis=(1, 2))):
        raise InputError(
            "y_err contains zero where X is exact too; accepted is a positive error of y or of X in every row"
        )


def half_chi2(points: Standardised, params: Array) -> Minimum:
    """Half chi2 at the (standardised) parameters, with gradient, Hessian and the variance of the gradient."""
    first = int(points.intercept)
    slopes = params[first:]
    drift = points.X_cov @ slopes - points.xy_cov
    variance = points.vertical_variance(slopes)
    residual = points.residual(params)
    if not np.all(variance > 0):
        none = np.full((len(params), len(params)), np.nan)
        return Minimum(params, np.inf, none[0], none, none, variance)
    weighted = residual / variance
    pull = drift * weighted[:, None]
    adjusted = np.empty((len(residual), len(params)))
    adjusted[:, :first] = 1
    adjusted[:, first:] = points.X + pull
    scaled = adjusted / variance[:, None]
    score_variance = adjusted.T @ scaled
    hessian = score_variance.copy()
    cross = scaled.T @ pull
    hessian[:, first:] += cross
    hessian[first:, :] += cross.T
    hessian[first:, first:] += pull.T @ (pull / variance[:, None]) - np.tensordot(
        weighted**2, points.X_cov, axes=1
    )
    return Minimum(
        params, 0.5 * float(residual @ weighted), -(residual @ scaled), hessian, score_variance, variance
    )


def minimise(points: Standardised) -> Minimum:
    """The lowest minimum reached from several starts."""
    few = points.every(-(-len(points.y) // ROWS_TO_COMPARE_STARTS))
    starts = [few.with_constant(slopes) for slopes in starting_slopes(few)]
    reached = [descend(few, start) for start in starts]
    best = min(reached, key=lambda minimum: minimum.value)
    if len(few.y) < len(points.y):
        best = descend(points, best.params)
    if best.steps == MAX_STEPS:
        warnings.warn(
            f"York's line did not settle in {MAX_STEPS} steps; look at the points for a line that is vertical",
            ConvergenceWarning,
            stacklevel=4,
        )
    return best


def descend(points: Standardised, params: Array) -> Minimum:
    """Damped Newton steps that never go up (Levenberg-Marquardt on H, or on J where H has no minimum)."""
    here, damping = half_chi2(points, params), 0.0
    for steps in range(1, MAX_STEPS + 1):
        step, curvature = _step(here, damping)
        there = half_chi2(points, here.params + step)
        size = float(step @ curvature @ step)
        # Rounding of the sum: at the minimum a step may seem to rise by that much.
        if there.value <= here.value * (1 + 1e-14) or (size < LAST_STEP and damping == 0):
            settled = size < LAST_STEP and damping < 1e-3
            here, damping = there, damping / 10 if damping > 1e-6 else 0.0
            if settled:
                return Minimum(**{**here.__dict__, "steps": steps})
        else:
            damping = max(10 * damping, 1e-4)
            if damping > 1e12:
                return Minimum(**{**here.__dict__, "steps": steps})
    return Minimum(**{**here.__dict__, "steps": MAX_STEPS})


def _step(here: Minimum, damping: float) -> tuple[Array, Array]:
    """A descent step and the curvature it was made with."""
    scale = np.diag(np.diag(here.score_variance))
    for curvature in (here.hessian, here.score_variance):
        try:
            factor = linalg.cho_factor(curvature + damping * scale)
        except linalg.LinAlgError:
            continue
        return -linalg.cho_solve(factor, here.gradient), curvature
    shifted = here.score_variance + max(damping, 1e-8) * np.trace(scale) * np.eye(len(scale))
    return -linalg.solve(shifted, here.gradient), here.score_variance
