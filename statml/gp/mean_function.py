r"""The mean of a Gaussian process, integrated out with the rest.

    y = f(x) + h(x)^T beta + e,     beta ~ N(b, B),

with h(x) = (), (1) or (1, x). The covariance of y is then K + H B H^T, and K its kernel
part with all noise. A vague prior is the limit B -> infinity, in which the evidence stays
finite but for a constant (Rasmussen & Williams 2006, section 2.7).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from statml.errors import InputError
from statml.regression.evidence import Prior

Array = np.ndarray
Tensor = torch.Tensor

KINDS = ("zero", "constant", "linear")


@dataclass(frozen=True)
class MeanFunction:
    """h(x) in well-scaled coordinates, (1, (x - center) / width), and the prior of its coefficients.

    Attributes
    ----------
    kind : {"zero", "constant", "linear"}
    center, width : arrays (d,)
        0 and 1 where a prior is given, because that prior is of the plain coefficients.
    prior : Prior or None
        None is the vague limit.
    start : array (m,)
        Coefficients around which everything is computed, in these coordinates: the prior's mean, or those of
        least squares. A vague mean takes up any offset of y, but 10^9 + sin x would lose its digits on the way.
    """

    kind: str
    center: Array
    width: Array
    prior: Prior | None
    start: Array

    @classmethod
    def chosen(cls, kind: Any, prior: Any, X: Array, y: Array) -> MeanFunction:
        """The mean function a caller asked for, with what it needs to know of the training points.

        Raises
        ------
        InputError
            The kind is unknown, the prior does not fit it, or the points cannot tell its parts apart.
        """
        if kind not in KINDS:
            raise InputError(f"mean is {kind!r}; accepted are 'zero', 'constant' and 'linear'")
        n, d = X.shape
        size = {"zero": 0, "constant": 1, "linear": 1 + d}[kind]
        if prior is not None:
            if size == 0:
                raise InputError(
                    "mean is 'zero' and mean_prior is given; accepted with a prior are 'constant' and 'linear'"
                )
            if not (isinstance(prior, tuple) and len(prior) == 2):
                raise InputError(
                    f"mean_prior is {prior!r}; accepted are None (vague) and a pair (mean, covariance)"
                )
            given = Prior.given(prior[1], prior[0], size)
            return cls(kind, np.zeros(d), np.ones(d), given, given.mean)
        if size >= n and size > 0:
            raise InputError(
                f"n_samples={n} is too few for a {kind} mean of {size} free coefficients; give more rows"
            )
        width = X.std(axis=0)
        if kind == "linear" and not np.all(width > 1e-12 * np.abs(X).max(axis=0)):
            raise InputError(
                f"column {int(np.argmin(width))} of X is constant; accepted for a vague linear mean are columns that vary"
            )
        center, width = X.mean(axis=0), np.where(width > 0, width, 1.0)
        slopes = np.zeros(max(size - 1, 0))
        if kind == "linear":
            slopes = np.linalg.lstsq((X - center) / width, y - y.mean(), rcond=None)[0]
        start = np.append(y.mean(), slopes) if size else np.zeros(0)
        return cls(kind, center, width, None, start)

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return {"zero": 0, "constant": 1, "linear": 1 + len(self.center)}[self.kind]

    def design(self, X: Tensor) -> Tensor:
        """H, a tensor (n, m)."""
        ones = torch.ones(len(X), min(self.size, 1), dtype=X.dtype, device=X.device)
        if self.kind != "linear":
            return ones
        center, width = (torch.as_tensor(value, device=X.device) for value in (self.center, self.width))
        return torch.cat([ones, (X - center) / width], dim=1)

    def slopes(self, feature: int) -> Array:
        """Derivatives of h by one feature, (m,)."""
        gradient = np.zeros(self.size)
        if self.kind == "linear":
            gradient[1 + feature] = 1 / self.width[feature]
        return gradient

    @property
    def to_plain(self) -> Array:
        """M with (plain coefficients) = M (scaled ones), shape (m, m)."""
        M = np.eye(self.size)
        if self.kind == "linear":
            M[1:, 1:] = np.diag(1 / self.width)
            M[0, 1:] = -self.center / self.width
        return M

    @property
    def log_scale(self) -> float:
        """log |det| of the step from scaled to plain coefficients, what the vague evidence must be corrected for."""
        return -float(np.sum(np.log(self.width))) if self.kind == "linear" else 0.0
