"""The prior of logistic coefficients, as a user says it: a number, an array, or left to the evidence."""

from __future__ import annotations

from numbers import Real
from typing import Any, Literal

import numpy as np
from scipy import linalg

from statml.classification.laplace import (
    CONSTANT_WIDTH,
    NormalApproximation,
    Standardisation,
    centred_prior,
    laplace,
    widest_evidence,
)
from statml.classification.likelihood import BernoulliRows
from statml.errors import InputError
from statml.regression.evidence import Prior

Array = np.ndarray
PriorPrecision = Literal["evidence"] | float | Any

_ACCEPTED = "accepted are 'evidence', a positive number, {p} positive numbers, or a positive-definite matrix"


def fit_under(
    precision: PriorPrecision,
    rows: BernoulliRows,
    X: Array,
    *,
    intercept: bool,
    penalise_intercept: bool,
) -> tuple[float | None, Prior, NormalApproximation]:
    """Width chosen by the evidence (None where it was given), the prior, and Laplace's approximation.

    Parameters
    ----------
    precision : "evidence", float, array (p,) or (p, p)
    rows : BernoulliRows
    X : array (n, d)
        The measured features, whose mean and spread are the scale of the prior.
    intercept, penalise_intercept : bool
    """
    if not isinstance(precision, str):
        prior = _given(precision, X, intercept, penalise_intercept)
        return None, prior, laplace(rows, prior)
    if precision != "evidence":
        raise InputError(_message(precision, rows.design.shape[1]))
    scale = Standardisation.of(X, intercept=intercept)

    def prior_at(width: float) -> Prior:
        return scale.prior(width, width if penalise_intercept else None)

    width, found = widest_evidence(lambda width, start: laplace(rows, prior_at(width), start))
    return width, prior_at(width), found


def _given(precision: Any, X: Array, intercept: bool, penalise_intercept: bool) -> Prior:
    d = X.shape[1]
    p = d + intercept
    if isinstance(precision, Real):
        if not 0 < float(precision) < np.inf:
            raise InputError(_message(precision, p))
        width = float(precision) ** -0.5
        if intercept and not penalise_intercept:
            return centred_prior(np.full(d, width), X.mean(axis=0), CONSTANT_WIDTH)
        return Prior(np.zeros(p), width * np.eye(p))
    try:
        values = np.asarray(precision, float)
    except (TypeError, ValueError) as error:
        raise InputError(_message(precision, p)) from error
    if values.shape == (p,) and np.all((values > 0) & np.isfinite(values)):
        return Prior(np.zeros(p), np.diag(values**-0.5))
    if values.shape != (p, p) or not np.all(np.isfinite(values)) or not np.allclose(values, values.T):
        raise InputError(_message(precision, p))
    try:
        lower = linalg.cholesky(values, lower=True)
    except linalg.LinAlgError as error:
        raise InputError(_message(precision, p)) from error
    # P = C C^T, so S0 = C^-T C^-1 and L0 = C^-T
    return Prior(np.zeros(p), linalg.solve_triangular(lower, np.eye(p), lower=True).T)


def _message(precision: Any, p: int) -> str:
    shown = f"of shape {np.shape(precision)}" if np.ndim(precision) else repr(precision)
    advice = "; LogisticRegression is without a prior" if shown in ("0", "0.0") else ""
    return f"prior_precision is {shown}; " + _ACCEPTED.format(p=f"{p}") + advice
