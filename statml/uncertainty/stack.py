"""Covariances of n feature vectors: one small (d, d) matrix for each row of X."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from statml.errors import InputError
from statml.plain_numbers import refuse_quantity

Array = np.ndarray


class CovarianceStack:
    """The errors of X: row i has covariance S_i of shape (d, d); slices along rows.

    Independent errors are kept as an (n, d) array of variances, so the stack of a
    million rows costs no more than its errors. Errors of features computed from a few
    inputs are kept as factors F_i of shape (d, r), S_i = F_i F_i^T.

    Examples
    --------
    >>> import numpy as np
    >>> errors = CovarianceStack.from_std([[0.1, 0.2], [0.1, 0.1]])
    >>> errors.project(np.array([1.0, 1.0])).round(3)
    array([0.05, 0.02])
    """

    def __init__(
        self,
        *,
        variances: Array | None = None,
        matrices: Array | None = None,
        factors: Array | None = None,
    ) -> None:
        self._variances = variances
        self._factors = factors
        self._given = matrices

    @classmethod
    def from_std(cls, std: Any) -> CovarianceStack:
        """Independent errors, shape (n, d), or (n,) for one feature."""
        refuse_quantity("std", std)
        std = np.asarray(std, dtype=float)
        std = std[:, None] if std.ndim == 1 else std
        if std.ndim != 2:
            raise InputError(f"X_err has shape {std.shape}; accepted is (n, d)")
        if not np.all(np.isfinite(std)) or np.any(std < 0):
            raise InputError("X_err contains NaN, inf or negative values; accepted are finite values >= 0")
        return cls(variances=std**2)

    @classmethod
    def dense(cls, matrices: Any) -> CovarianceStack:
        """One positive semi-definite matrix for each row, shape (n, d, d)."""
        refuse_quantity("matrices", matrices)
        matrices = np.asarray(matrices, dtype=float)
        if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2]:
            raise InputError(f"X_cov has shape {matrices.shape}; accepted is (n, d, d)")
        if not np.all(np.isfinite(matrices)):
            raise InputError("X_cov contains NaN or inf; accepted are finite values")
        scale = np.max(np.abs(matrices), axis=(1, 2))
        if np.any(np.abs(matrices - matrices.transpose(0, 2, 1)) > 1e-10 * scale[:, None, None]):
            raise InputError(
                "X_cov is not symmetric; accepted are symmetric, positive semi-definite matrices"
            )
        if np.any(np.linalg.eigvalsh(matrices)[:, 0] < -1e-10 * scale):
            raise InputError("X_cov has a negative eigenvalue; accepted are positive semi-definite matrices")
        return cls(matrices=matrices)

    @classmethod
    def from_factors(cls, factors: Any) -> CovarianceStack:
        """S_i = F_i F_i^T for factors of shape (n, d, r): d features that share r sources of error."""
        refuse_quantity("factors", factors)
        factors = np.asarray(factors, dtype=float)
        if factors.ndim != 3:
            raise InputError(f"factors has shape {factors.shape}; accepted is (n, d, r)")
        if not np.all(np.isfinite(factors)):
            raise InputError("factors contains NaN or inf; accepted are finite values")
        return cls(factors=factors)

    @cached_property
    def _matrices(self) -> Array | None:
        """All matrices where they are not independent; computed from factors only when asked for."""
        if self._factors is None:
            return self._given
        return self._factors @ self._factors.transpose(0, 2, 1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n, d, d)."""
        stored = next(x for x in (self._variances, self._factors, self._given) if x is not None)
        return stored.shape[0], stored.shape[1], stored.shape[1]

    @property
    def variances(self) -> Array | None:
        """Variances of independent errors, shape (n, d); None where the errors of a row are correlated."""
        return self._variances

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> CovarianceStack:
        if isinstance(key, tuple):
            if len(key) != 2 or key[1] is not Ellipsis:
                raise InputError("a CovarianceStack is indexed by rows alone")
            key = key[0]
        if isinstance(key, int | np.integer):
            key = [key]
        if self._variances is not None:
            return CovarianceStack(variances=self._variances[key])
        if self._factors is not None:
            return CovarianceStack(factors=self._factors[key])
        assert self._matrices is not None
        return CovarianceStack(matrices=self._matrices[key])

    def to_dense(self) -> Array:
        """All matrices, shape (n, d, d)."""
        if self._matrices is not None:
            return self._matrices.copy()
        assert self._variances is not None
        return self._variances[:, :, None] * np.eye(self.shape[1])

    def transformed(self, jacobian: Array) -> CovarianceStack:
        """J_i S_i J_i^T, the errors of functions of the features to first order.

        Parameters
        ----------
        jacobian : array (d,), (m, d) or (n, m, d)
            Derivatives of the m functions: a diagonal, one matrix for all rows, or one for each.
        """
        if self._variances is not None and jacobian.ndim == 1:
            return CovarianceStack(variances=self._variances * jacobian**2)
        jacobian = np.diag(jacobian) if jacobian.ndim == 1 else jacobian
        if self._variances is not None:
            return CovarianceStack(factors=jacobian * np.sqrt(self._variances)[:, None, :])
        return CovarianceStack(factors=jacobian @ self._roots())

    def _roots(self) -> Array:
        """F_i with S_i = F_i F_i^T, of singular matrices too."""
        if self._factors is not None:
            return self._factors
        assert self._matrices is not None
        values, vectors = np.linalg.eigh(self._matrices)
        return vectors * np.sqrt(np.maximum(values, 0))[:, None, :]

    def project(self, direction: Array) -> Array:
        """a^T S_i a, the error each row gives a linear function: (n,) for a of shape (d,), (m, n) for (m, d)."""
        direction = np.asarray(direction)
        if self._variances is not None:
            return direction**2 @ self._variances.T
        if self._factors is not None and direction.ndim == 1:
            return np.sum((direction @ self._factors) ** 2, axis=1)
        assert self._matrices is not None
        pairs = direction[..., :, None] * direction[..., None, :]
        return pairs.reshape(*direction.shape[:-1], -1) @ self._matrices.reshape(len(self), -1).T

    def times(self, direction: Array) -> Array:
        """S_i a for one direction a of shape (d,): the covariance of each row with a linear function, (n, d)."""
        if self._variances is not None:
            return self._variances * np.asarray(direction)
        assert self._matrices is not None
        return self._matrices @ np.asarray(direction)

    def weighted_sum(self, weights: Array) -> Array:
        """sum_i w_i S_i: (d, d) for weights of shape (n,), (m, d, d) for (m, n)."""
        d = self.shape[1]
        if self._variances is not None:
            return (np.asarray(weights) @ self._variances)[..., None] * np.eye(d)
        assert self._matrices is not None
        total = np.asarray(weights) @ self._matrices.reshape(len(self), -1)
        return total.reshape(*total.shape[:-1], d, d)

    def trace_with(self, matrix: Array) -> Array:
        """tr(S_i M) for one matrix M of shape (d, d)."""
        if self._variances is not None:
            return self._variances @ np.diag(matrix)
        if self._factors is not None:
            return np.sum(self._factors * (np.asarray(matrix).T @ self._factors), axis=(1, 2))
        return np.einsum("nij,ji->n", self.to_dense(), matrix)

    def __repr__(self) -> str:
        return f"<CovarianceStack of {self.shape[0]} rows x {self.shape[1]} features>"
