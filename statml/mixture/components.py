"""The parameters of a mixture of K normals in d dimensions, as one value.

p(v) = sum_j weights_j N(v; means_j, covariances_j)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

Array = np.ndarray


@dataclass(frozen=True)
class Components:
    """`weights` (K,) sum to 1, `means` (K, d), `covariances` (K, d, d)."""

    weights: Array
    means: Array
    covariances: Array

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def n_features(self) -> int:
        """Dimensions of the space the normals live in."""
        return self.means.shape[1]

    @property
    def n_parameters(self) -> int:
        """Free parameters: K - 1 weights, K means, K symmetric matrices."""
        k, d = self.means.shape
        return k - 1 + k * d + k * d * (d + 1) // 2

    def standardised(self, center: Array, scale: Array) -> Components:
        """The same mixture of (v - center) / scale."""
        return Components(
            self.weights, (self.means - center) / scale, self.covariances / np.outer(scale, scale)
        )

    def restored(self, center: Array, scale: Array) -> Components:
        """The mixture of v, from that of (v - center) / scale."""
        return Components(
            self.weights, self.means * scale + center, self.covariances * np.outer(scale, scale)
        )

    def by_weight(self) -> Components:
        """Heaviest component first, so that equal fits have equal labels."""
        order = np.argsort(-self.weights, kind="stable")
        return Components(self.weights[order], self.means[order], self.covariances[order])

    def sample(self, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """n draws (n, d), and the component each came from (n,)."""
        labels = rng.choice(len(self), n, p=self.weights)
        draws = rng.standard_normal((n, self.n_features))
        for j in range(len(self)):
            own = labels == j
            draws[own] = self.means[j] + draws[own] @ linalg.cholesky(self.covariances[j])
        return draws, labels
