"""n densities, each a mixture of K normals in d dimensions: what is known of each object's true values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special

from statml.compute import generator
from statml.errors import InputError
from statml.uncertainty.distributions import rows
from statml.uncertainty.mixtures import GaussianMixture

Array = np.ndarray


class MixtureStack:
    """One mixture for each of n objects; slices along objects.

    Parameters
    ----------
    weights : array (n, K)
    means : array (n, K, d)
    covariances : array (n, K, d, d)
        Positive semi-definite; zero where a value is known exactly.

    Examples
    --------
    >>> import numpy as np
    >>> one = MixtureStack([[0.5, 0.5]], [[[0.0, 1.0], [2.0, 1.0]]], np.tile(np.eye(2), (1, 2, 1, 1)))
    >>> one.mean.tolist(), one.cov[0].tolist()
    ([[1.0, 1.0]], [[2.0, 0.0], [0.0, 1.0]])
    """

    def __init__(self, weights: Any, means: Any, covariances: Any) -> None:
        self.weights = np.asarray(weights, float)
        self.means = np.asarray(means, float)
        self.covariances = np.asarray(covariances, float)

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, key: Any) -> MixtureStack:
        key = rows(key, len(self))
        return MixtureStack(self.weights[key], self.means[key], self.covariances[key])

    def __repr__(self) -> str:
        n, k, d = self.means.shape
        return f"<MixtureStack of {n} objects: {k} components in {d} dimensions>"

    @property
    def mean(self) -> Array:
        """Means, (n, d)."""
        return np.einsum("nk,nkd->nd", self.weights, self.means)

    @property
    def cov(self) -> Array:
        """Covariances, spread between components included, (n, d, d)."""
        gap = self.means - self.mean[:, None]
        return np.einsum("nk,nkde->nde", self.weights, self.covariances) + np.einsum(
            "nk,nkd,nke->nde", self.weights, gap, gap
        )

    @property
    def std(self) -> Array:
        """Standard deviations, (n, d)."""
        return np.sqrt(np.maximum(np.diagonal(self.cov, axis1=1, axis2=2), 0))

    def columns(self, which: Any) -> MixtureStack:
        """The joint density of some of the d dimensions."""
        which = np.asarray(which)
        return MixtureStack(
            self.weights, self.means[:, :, which], self.covariances[:, :, which[:, None], which]
        )

    def column(
        self, which: int, *, variance_components: Mapping[str, Any] | None = None, added: Any = 0.0
    ) -> GaussianMixture:
        """The density of one dimension as a predictive distribution; `added` is a variance on top, a number or (n,).

        Raises
        ------
        InputError
            The value is known exactly, which is no density.
        """
        variance = self.covariances[:, :, which, which] + np.asarray(added, float)[..., None]
        if not np.all(variance > 0):
            raise InputError(
                f"column {which} is known exactly for {np.sum(np.any(variance <= 0, axis=1))} objects; accepted are "
                "columns with an error or without a value"
            )
        return GaussianMixture(
            self.weights, self.means[:, :, which], np.sqrt(variance), variance_components=variance_components
        )

    def log_prob(self, values: Any) -> Array:
        """Log density of one value (n, d) for each object, (n,)."""
        gap = np.asarray(values, float)[:, None] - self.means
        factor = np.linalg.cholesky(self.covariances)
        y = np.linalg.solve(factor, gap[..., None])[..., 0]
        log_det = np.sum(np.log(np.diagonal(factor, axis1=2, axis2=3)), axis=2)
        d = self.means.shape[2]
        each = -0.5 * np.sum(y**2, axis=2) - log_det - 0.5 * d * np.log(2 * np.pi)
        with np.errstate(divide="ignore"):
            return special.logsumexp(each + np.log(self.weights), axis=1)

    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        """Draws, (size, n, d)."""
        rng = generator(rng)
        n, _, d = self.means.shape
        edges = np.cumsum(self.weights, axis=1)
        component = np.sum(rng.random((size, n, 1)) * edges[:, -1:] > edges, axis=-1)
        values, vectors = np.linalg.eigh(self.covariances)  # of singular matrices too
        roots = vectors * np.sqrt(np.maximum(values, 0))[:, :, None, :]
        draws, row = np.empty((size, n, d)), np.arange(n)
        for each, own in zip(draws, component):
            normal = rng.standard_normal((n, d, 1))
            each[:] = self.means[row, own] + (roots[row, own] @ normal)[..., 0]
        return draws
