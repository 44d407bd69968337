"""A fit of classes that says why, where there is none: dependent columns by name, separated classes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, Generic, TypeVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from statml.classification.newton import ConcaveLikelihood, Maximum, SingularInformationError, climb, maximise
from statml.classification.separation import (
    Separation,
    SeparationWarning,
    find_separation,
    separation_sentence,
)
from statml.errors import InputError

Array = np.ndarray
L = TypeVar("L", bound=ConcaveLikelihood)

# Penalty on standardised slopes where classes are separated and none was asked for: a prior of width 10.
SEPARATION_PENALTY = 0.01


@dataclass(frozen=True)
class Fit(Generic[L]):
    """The likelihood that was maximised, its maximum, and how the classes are separated, if they are."""

    likelihood: L
    maximum: Maximum
    separation: Separation | None


def fit_classes(
    build: Callable[[Array | None], L], X: Array, codes: Array, *, alpha: Any, estimator: Any
) -> Fit[L]:
    """Maximise, or explain.

    Parameters
    ----------
    build : callable
        The likelihood for a penalty of the slopes, shape (d,), or None.
    X : array (n, d)
    codes : array (n,)
        Classes 0 to k - 1.
    alpha : float
        The penalty asked for.
    estimator : estimator
        For the names of columns and classes, and `fit_intercept`.

    Raises
    ------
    InputError
        `alpha` is not a finite number >= 0, or columns are dependent without a penalty.

    Warns
    -----
    SeparationWarning
        The classes are separated; what is returned has a weak penalty.
    """
    if not isinstance(alpha, Real) or not 0 <= alpha < np.inf:  # type: ignore[operator]
        raise InputError(f"alpha is {alpha!r}; accepted are finite numbers >= 0")
    names = column_names(estimator, X.shape[1])
    try:
        likelihood = build(None if alpha == 0 else np.full(X.shape[1], float(alpha)))  # type: ignore[arg-type]
        found = maximise(likelihood)
    except SingularInformationError as error:
        sentence = dependence_sentence(error.direction, len(X), estimator.fit_intercept, names)
        raise InputError(sentence) from error
    if not found.stalled:
        return Fit(likelihood, found, None)
    separation = find_separation(X, codes, intercept=estimator.fit_intercept)
    if separation is not None:
        sentence = separation_sentence(separation, names, estimator.classes_)
        warnings.warn(sentence, SeparationWarning, stacklevel=4)
        likelihood = build(SEPARATION_PENALTY * X.var(axis=0))
        return Fit(likelihood, maximise(likelihood), separation)
    found = climb(likelihood.log_posterior, likelihood.step, found.params, n=len(X), may_stall=False)
    if found.stalled:
        warnings.warn(
            f"Newton's method has not converged in {found.steps} steps", ConvergenceWarning, stacklevel=4
        )
    return Fit(likelihood, found, None)


def column_names(estimator: Any, d: int) -> list[str]:
    """Names of the columns of X: those of a data frame, else their numbers."""
    return list(getattr(estimator, "feature_names_in_", [f"column {j}" for j in range(d)]))


def dependence_sentence(direction: Array, n: int, intercept: bool, names: list[str]) -> str:
    """One sentence that names the columns of which one follows from the others."""
    names = ["the constant"] * intercept + names
    if n < len(names):
        return (
            f"n_samples={n} is too few for {len(names)} coefficients; accepted are more rows, a penalty "
            "(alpha > 0), or BayesianLogisticRegression, whose prior decides"
        )
    shares = np.abs(direction)
    involved = [name for name, share in zip(names, shares) if share > 1e-3 * shares.max()]
    shown = ", ".join(involved[:6]) + (", ..." if len(involved) > 6 else "")
    return (
        f"X has linearly dependent columns ({shown}): their coefficients are not determined; drop one of them, "
        "or use a penalty (alpha > 0) or BayesianLogisticRegression, whose prior decides"
    )
