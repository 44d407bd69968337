r"""A covariance plus a few common modes: C = N + U U^T.

The zero points, flux calibrations and telluric residuals of a survey move many
measurements together, on top of errors N that are independent, or shared within a
plate. With k such modes nothing of size n x n is ever formed.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from scipy import linalg

from statml.compute import generator
from statml.uncertainty.covariance import Covariance
from statml.uncertainty.matrices import scale_rows

Array = np.ndarray

# Rows of one step, few enough to stay in the cache.
STEP_ROWS = 8192


class LowRankCovariance(Covariance):
    r"""N + U U^T, through W = (I + A A^T)^{-1/2} W_N with A = W_N U and W_N^T W_N = N^-1.

    With the thin decomposition A = P S V^T, the inverse square root is
    I - P (1 - (1 + S^2)^{-1/2}) P^T: nothing of size n x n is formed. Where N is
    diagonal with zeros the matrix may be singular; it can then be sampled but not inverted.
    """

    def __init__(self, base: Covariance, modes: Array) -> None:
        self._base = base
        self._modes = modes

    @cached_property
    def _spectrum(self) -> tuple[Array, Array]:
        # Orthogonal columns first: what is left to decompose is k x k, without squaring it.
        Q, R = linalg.qr(self._base.whiten(self._modes), mode="economic", overwrite_a=True)
        left, singular, _ = linalg.svd(R, full_matrices=False)
        return Q @ left, np.sqrt(1 + singular**2)

    @property
    def base(self) -> Covariance:
        """N, what is not shared through the modes."""
        return self._base

    @property
    def modes(self) -> Array:
        """U, shape (n, k)."""
        return self._modes

    def __len__(self) -> int:
        return len(self._base)

    def select(self, rows: Array) -> Covariance:
        return LowRankCovariance(self._base.select(rows), self._modes[rows])

    def to_dense(self) -> Array:
        return self._base.to_dense() + self._modes @ self._modes.T

    def variance(self) -> Array:
        return self._base.variance() + np.einsum("ij,ij->i", self._modes, self._modes)

    def whiten(self, values: Array) -> Array:
        return self._shrink(self._base.whiten(values))

    def _whiten_transposed(self, values: Array) -> Array:
        return self._base._whiten_transposed(self._shrink(np.array(values, dtype=float)))

    def logdet(self) -> float:
        _, growth = self._spectrum
        return self._base.logdet() + float(2 * np.sum(np.log(growth)))

    def plus_diagonal(self, variance: Any) -> LowRankCovariance:
        return LowRankCovariance(self._base.plus_diagonal(variance), self._modes)

    def plus_modes(self, modes: Array) -> LowRankCovariance:
        """C + V V^T for further common modes V of shape (n, k)."""
        return LowRankCovariance(self._base, np.column_stack([self._modes, modes]))

    def times(self, factor: float) -> LowRankCovariance:
        return LowRankCovariance(self._base.times(factor), np.sqrt(factor) * self._modes)

    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        rng = generator(rng)
        own = self._base.sample(size, rng=rng)
        return own + rng.standard_normal((size, self._modes.shape[1])) @ self._modes.T

    def _shrink(self, values: Array) -> Array:
        """(I + A A^T)^{-1/2} values, in place."""
        left, growth = self._spectrum
        shrunk = scale_rows(left.T @ values, 1 / growth - 1)
        for start in range(0, len(values), STEP_ROWS):  # no second copy of all rows
            rows = slice(start, start + STEP_ROWS)
            values[rows] += left[rows] @ shrunk
        return values
