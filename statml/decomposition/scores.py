"""What a noisy row says about its scores: a normal distribution for each row."""

from __future__ import annotations

from typing import Any

import numpy as np

from statml.compute import generator
from statml.uncertainty.parametric import Gaussian
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray


class ScoreDistribution:
    """Scores of n rows, each N(mean_i, cov_i) over k components.

    Attributes
    ----------
    mean : array (n, k)
    cov : array (n, k, k)

    Examples
    --------
    >>> scores = ScoreDistribution(np.zeros((3, 2)), np.tile(np.diag([4.0, 1.0]), (3, 1, 1)))
    >>> len(scores), scores.std[0]
    (3, array([2., 1.]))
    >>> low, high = scores.component(0).interval(0.68)
    >>> high.round(2)
    array([1.99, 1.99, 1.99])
    """

    def __init__(self, mean: Array, cov: Array) -> None:
        self.mean = mean
        self.cov = cov

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, rows: Any) -> ScoreDistribution:
        rows = [rows] if isinstance(rows, int | np.integer) else rows
        return ScoreDistribution(self.mean[rows], self.cov[rows])

    @property
    def std(self) -> Array:
        """Standard deviations, shape (n, k)."""
        return np.sqrt(np.diagonal(self.cov, axis1=1, axis2=2))

    @property
    def stack(self) -> CovarianceStack:
        """The covariances as errors of features, for an estimator that takes X_cov."""
        return CovarianceStack.dense(0.5 * (self.cov + self.cov.transpose(0, 2, 1)))

    def component(self, j: int) -> Gaussian:
        """The distribution of score j of every row."""
        return Gaussian(self.mean[:, j], self.std[:, j])

    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        """Draws of all scores, shape (size, n, k); those of one row are correlated as they should be."""
        values, vectors = np.linalg.eigh(self.cov)
        roots = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
        z = generator(rng).standard_normal((size, *self.mean.shape))
        return self.mean + np.einsum("nij,snj->sni", roots, z)

    def __repr__(self) -> str:
        return f"<ScoreDistribution of {len(self)} rows x {self.mean.shape[1]} components>"
