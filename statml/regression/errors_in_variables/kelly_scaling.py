"""Rows with mean 0 and spread 1, in which one prior and one sampler serve data of every unit.

    x' = (x - shift) / scale,     y' = (y - y_shift) / y_scale

A line alpha + beta.x becomes alpha' + beta'.x' with (alpha', beta') = B (alpha, beta) + b,
a linear map, under which normal priors stay normal and flat ones flat. Without an
intercept nothing is shifted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from statml.regression.errors_in_variables.kelly_model import Points
from statml.regression.errors_in_variables.kelly_prior import FullPrior, spread_of
from statml.regression.errors_in_variables.method import Measured

Array = np.ndarray


@dataclass(frozen=True)
class Scaling:
    """The units of the data: ``shift``, ``scale`` (d,) of X, and those of y."""

    shift: Array
    scale: Array
    y_shift: float
    y_scale: float
    intercept: bool

    @classmethod
    def of(cls, rows: Measured) -> Scaling:
        """From the spread of the rows."""
        X, y = rows.X, rows.y
        if rows.intercept:
            return cls(X.mean(axis=0), spread_of(X), float(y.mean()), float(spread_of(y)), True)
        sizes = np.sqrt(np.mean(np.column_stack([X, y]) ** 2, axis=0))
        sizes = np.where(sizes > 0, sizes, 1.0)
        return cls(np.zeros(X.shape[1]), sizes[:-1], 0.0, float(sizes[-1]), False)

    def points(self, rows: Measured) -> Points:
        """The rows in these units; without errors of y their variance is zero."""
        n = len(rows.y)
        y_var = np.zeros(n) if rows.y_var is None else rows.y_var
        return Points.of(
            (rows.X - self.shift) / self.scale,
            (rows.y - self.y_shift) / self.y_scale,
            rows.X_cov / (self.scale[:, None] * self.scale),
            rows.xy_cov / (self.scale * self.y_scale),
            y_var / self.y_scale**2,
            np.asarray(rows.upper, bool),
        )

    def _map(self) -> tuple[Array, Array]:
        slopes = self.scale / self.y_scale
        if not self.intercept:
            return np.diag(slopes), np.zeros(len(slopes))
        matrix = np.diag(np.concatenate([[1 / self.y_scale], slopes]))
        matrix[0, 1:] = self.shift / self.y_scale
        offset = np.zeros(len(matrix))
        offset[0] = -self.y_shift / self.y_scale
        return matrix, offset

    def prior(self, prior: FullPrior) -> FullPrior:
        """The prior in these units."""
        matrix, offset = self._map()
        inverse = np.linalg.inv(matrix)
        return replace(
            prior,
            line_mean=matrix @ prior.line_mean + offset,
            line_precision=inverse.T @ prior.line_precision @ inverse,
            scatter_scale=prior.scatter_scale / self.y_scale,
            center=(prior.center - self.shift) / self.scale,
            center_cov=prior.center_cov / (self.scale[:, None] * self.scale),
            width=prior.width / self.scale,
        )

    def params_back(self, params: Array) -> Array:
        """Parameters (..., p) in the units of the data."""
        matrix, offset = self._map()
        return (params - offset) @ np.linalg.inv(matrix).T
