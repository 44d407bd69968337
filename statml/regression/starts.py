"""Where a robust fit begins: rows in standard units, and lines that outliers did not choose.

A likelihood with outliers has several maxima, and least squares may start near the
wrong one. A line through a few random rows is untouched by outliers if none of them
is drawn; of many such lines, those with the smallest median residual are kept
(least median of squares; Rousseeuw 1984, JASA 79, 871).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statml.compute import namespace
from statml.regression.least_squares import reduce_rows, solve
from statml.regression.likelihood import Rows
from statml.regression.predictive import design

Array = np.ndarray

RANDOM_LINES = 200
KEPT_LINES = 3
# A normal's standard deviation over its median absolute value.
MAD_TO_STD = 1.4826


@dataclass(frozen=True)
class Standard:
    """Rows whose design has orthogonal columns and whose y is of order one: the same in all units.

    `basis` (p, p) turns parameters of the standard line into those of X and y, up to
    the shift of y, which only a line with an intercept can take up.
    """

    basis: Array
    y_center: float
    y_scale: float

    @classmethod
    def of(cls, X: Array, y: Array, variance: Array, *, intercept: bool) -> tuple[Standard, Rows]:
        """From rows that may hold outliers in y; `variance` is zero where there are no errors.

        Raises
        ------
        InputError
            The columns of X are linearly dependent.
        """
        weights = variance**-0.5 if np.all(variance > 0) else None
        names = ["intercept"] * intercept + [f"column {j}" for j in range(X.shape[1])]
        factor = solve(
            reduce_rows(X, y, intercept=intercept, weights=weights, device=namespace("cpu")), names
        ).factor
        A = design(X, intercept) @ factor
        size = np.sqrt(np.mean(A**2)) or 1.0
        y_center = float(np.median(y)) if intercept else 0.0
        y_scale = MAD_TO_STD * float(np.median(np.abs(y - y_center))) or float(np.std(y)) or 1.0
        rows = Rows(A / size, (y - y_center) / y_scale, variance / y_scale**2)
        return cls(factor * (y_scale / size), y_center, y_scale), rows

    def to_units(self, line: Array, cov: Array) -> tuple[Array, Array]:
        """Parameters (p,) and covariance (p, p) of a standard line, in the units of X and y."""
        params = self.basis @ line
        # Without an intercept the shift is zero.
        params[0] += self.y_center
        return params, self.basis @ cov @ self.basis.T


def lines(rows: Rows, rng: np.random.Generator) -> list[Array]:
    """Weighted least squares and the best of many lines through few rows, each (p,)."""
    n, p = rows.A.shape
    # Beside an exact row all others would count for nothing; a start need not be that sure.
    exact = np.any(rows.variance == 0)
    floor = (float(rows.variance.mean()) or 1.0) if exact else 0.0
    std = np.sqrt(rows.variance + floor)
    usual = rows.weighted_line(std**-2)
    if n <= p + 1:
        return [usual]
    few = np.array([rng.choice(n, p + 1, replace=False) for _ in range(RANDOM_LINES)])
    white = 1 / std[few]
    drawn = np.linalg.pinv(rows.A[few] * white[:, :, None]) @ (rows.y[few] * white)[:, :, None]
    judges = rows.few()
    residual = judges.y[:, None] - judges.A @ drawn[:, :, 0].T
    size = np.median(np.abs(residual) / np.sqrt(judges.variance + floor)[:, None], axis=0)
    return [usual, *drawn[np.argsort(size)[:KEPT_LINES], :, 0]]


def first_scatter(rows: Rows, line: Array) -> float:
    """What the median residual leaves beside the median error, as a standard deviation."""
    square = (MAD_TO_STD * np.median(np.abs(rows.y - rows.A @ line))) ** 2
    return float(np.sqrt(max(square - np.median(rows.variance), 1e-2 * square)))
