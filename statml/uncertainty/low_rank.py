r"""Independent errors plus a few common modes: C = diag(v) + U U^T.

The zero points, flux calibrations and telluric residuals of a survey move many
measurements together. With k such modes nothing of size n x n is ever formed.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from scipy import linalg

from statml.compute import generator
from statml.errors import InputError
from statml.uncertainty.covariance import Covariance, DiagonalCovariance
from statml.uncertainty.matrices import added_variance, as_positive, scale_rows

Array = np.ndarray

# Rows of one step, few enough to stay in the cache.
STEP_ROWS = 8192


class LowRankCovariance(Covariance):
    r"""diag(v) + U U^T, through W = (I + A A^T)^{-1/2} D^{-1/2} with A = D^{-1/2} U.

    With the thin decomposition A = P S V^T, the inverse square root is
    I - P (1 - (1 + S^2)^{-1/2}) P^T: nothing of size n x n is formed. Where v holds
    zeros the matrix may be singular; it can then be sampled but not inverted.
    """

    def __init__(self, variance: Array, modes: Array) -> None:
        self._variance = variance
        self._modes = modes

    @cached_property
    def _spectrum(self) -> tuple[Array, Array]:
        if np.any(self._variance <= 0):
            raise InputError("a variance of zero makes this covariance singular; give positive variances")
        scaled = self._modes / np.sqrt(self._variance)[:, None]
        # Orthogonal columns first: what is left to decompose is k x k, without squaring it.
        Q, R = linalg.qr(scaled, mode="economic", overwrite_a=True)
        left, singular, _ = linalg.svd(R, full_matrices=False)
        return Q @ left, np.sqrt(1 + singular**2)

    def __len__(self) -> int:
        return len(self._variance)

    def select(self, rows: Array) -> Covariance:
        return LowRankCovariance(self._variance[rows], self._modes[rows])

    def to_dense(self) -> Array:
        return np.diag(self._variance) + self._modes @ self._modes.T

    def variance(self) -> Array:
        return self._variance + np.einsum("ij,ij->i", self._modes, self._modes)

    def whiten(self, values: Array) -> Array:
        return self._shrink(scale_rows(values, self._inverse_std()))

    def _whiten_transposed(self, values: Array) -> Array:
        return scale_rows(self._shrink(values), self._inverse_std())

    def logdet(self) -> float:
        _, growth = self._spectrum
        return float(np.sum(np.log(self._variance)) + 2 * np.sum(np.log(growth)))

    @property
    def independent(self) -> DiagonalCovariance:
        """diag(v), the part that is not shared."""
        return DiagonalCovariance(self._variance)

    @property
    def modes(self) -> Array:
        """U, shape (n, k)."""
        return self._modes

    def plus_diagonal(self, variance: Any) -> LowRankCovariance:
        return LowRankCovariance(
            self._variance + added_variance("variance", variance, len(self)), self._modes
        )

    def plus_modes(self, modes: Array) -> LowRankCovariance:
        """C + V V^T for further common modes V of shape (n, k)."""
        return LowRankCovariance(self._variance, np.column_stack([self._modes, modes]))

    def times(self, factor: float) -> LowRankCovariance:
        factor = as_positive("factor", factor)
        return LowRankCovariance(factor * self._variance, np.sqrt(factor) * self._modes)

    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        rng = generator(rng)
        own = rng.standard_normal((size, len(self))) * np.sqrt(self._variance)
        return own + rng.standard_normal((size, self._modes.shape[1])) @ self._modes.T

    def _inverse_std(self) -> Array:
        _ = self._spectrum  # refuses a variance of zero
        return self._variance**-0.5

    def _shrink(self, values: Array) -> Array:
        left, growth = self._spectrum
        shrunk = scale_rows(left.T @ values, 1 / growth - 1)
        result = np.array(values, dtype=float)
        for start in range(0, len(result), STEP_ROWS):  # no second copy of all rows
            rows = slice(start, start + STEP_ROWS)
            result[rows] += left[rows] @ shrunk
        return result
