r"""Probabilistic principal components: a Gaussian with k long axes and one noise level.

    x_i = mu + W z_i + noise_i,     z_i ~ N(0, 1_k),     noise_i ~ N(0, sigma^2 1_d)

so x_i ~ N(mu, W W^T + sigma^2). With the eigenvalues l_j and eigenvectors u_j of the
covariance of the rows (divisor n), the likelihood is largest at

    sigma^2 = mean(l_{k+1} ... l_d),     W = U_k (L_k - sigma^2)^(1/2),     mu the mean

and the posterior of the score along u_j, a_j = (l_j - sigma^2)^(1/2) z_j, is normal with

    mean  (1 - sigma^2 / l_j) u_j^T (x - mu),     variance  sigma^2 (1 - sigma^2 / l_j).

PCA's score is drawn towards 0 by the fraction of its variance that is noise.

Source: Tipping & Bishop (1999, J. R. Stat. Soc. B 61, 611);
arXiv:2506.12230, chapter 10.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from statml.compute import generator
from statml.decomposition import dimension
from statml.decomposition.pca import ONE_NOISE, LinearScores, component_count
from statml.decomposition.principal_axes import BLOCK_ROWS, centred, principal_axes, upright
from statml.decomposition.scores import ScoreDistribution
from statml.errors import InputError
from statml.uncertainty.measurement import refuse_arguments

Array = np.ndarray


# The noise variance of EM stays above this fraction of the total variance, where its matrices have inverses.
EM_FLOOR = 1e-12


class ProbabilisticPCA(LinearScores):
    """Principal components as a probability density, the number of axes by their evidence.

    Parameters
    ----------
    n_components : {"evidence", "bic"} or int
        The k of the largest evidence or BIC (see `statml.decomposition.dimension`), at
        least 1; or a number of axes.
    method : {"eigenvalues", "em"}
        The closed form, or the EM algorithm that has the same maximum.
    tol : float
        EM stops when no entry of W W^T, nor sigma^2, moves by more than this fraction of the
        total variance.
    max_iter : int
        Steps of EM at most.
    random_state : int, Generator or None
        Where EM starts.

    Attributes
    ----------
    mean_ : array (d,)
    components_ : array (k, d)
        Orthonormal axes; the largest entry of each is positive.
    explained_variance_ : array (k,)
        l_j, variances along them, noise included (divisor n).
    score_variance_ : array (k,)
        l_j - sigma^2, variances of the true scores.
    noise_variance_ : float
        sigma^2.
    log_likelihood_ : float
        Of all rows.
    log_evidence_, bic_ : array (d,)
        For k = 0 ... d - 1 axes; NaN where the noise left over would be zero.
    n_components_, n_iter_ : int

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 6)) * 3 + rng.normal(size=(400, 6))
    >>> pca = ProbabilisticPCA().fit(X)
    >>> pca.n_components_, round(pca.noise_variance_, 1)
    (2, 1.0)
    """

    def __init__(
        self,
        n_components: int | Literal["evidence", "bic"] = "evidence",
        *,
        method: Literal["eigenvalues", "em"] = "eigenvalues",
        tol: float = 1e-12,
        max_iter: int = 10_000,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.method = method
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, X_err: Any = None, X_cov: Any = None) -> ProbabilisticPCA:
        """Maximise the likelihood of the rows of X, shape (n, d); `y` is not used.

        Raises
        ------
        InputError
            A parameter that is not accepted, rows that do not differ, or errors of X,
            which belong to `HeteroscedasticPCA`.
        """
        refuse_arguments(self, "fit", {"X_err": ONE_NOISE, "X_cov": ONE_NOISE}, X_err=X_err, X_cov=X_cov)
        if self.method not in ("eigenvalues", "em"):
            raise InputError(f"method is {self.method!r}; accepted are 'eigenvalues' and 'em'")
        X = self._rows(X, fit=True)
        n, d = X.shape
        found = principal_axes(X, min(n, d))
        if not found.total > 0:
            raise InputError("X does not vary; accepted are rows that differ")
        eigenvalues = np.zeros(d)
        eigenvalues[: len(found.squares)] = found.squares / n
        self.log_evidence_ = dimension.log_evidence(eigenvalues, n)
        self.bic_ = dimension.bic(eigenvalues, n)
        k = self._count(min(n, d))
        self.mean_ = found.mean
        if self.method == "em":
            self._climb(X, k)
        else:
            self.components_, self.explained_variance_ = found.axes[:k], eigenvalues[:k]
            self.noise_variance_ = float(np.mean(eigenvalues[k:])) if k < d else 0.0
            self.n_iter_ = 1
        self.score_variance_ = np.maximum(self.explained_variance_ - self.noise_variance_, 0.0)
        self.n_components_ = k
        self.log_likelihood_ = float(np.sum(self._log_density(X)))
        return self

    def _count(self, most: int) -> int:
        table = {"evidence": self.log_evidence_, "bic": self.bic_}
        if not isinstance(self.n_components, str):
            if isinstance(self.n_components, float):
                raise InputError(
                    f"n_components is {self.n_components!r}; accepted are 'evidence', 'bic' and 1 to {most} here"
                )
            return component_count(self.n_components, most)
        if self.n_components not in table:
            raise InputError(
                f"n_components is {self.n_components!r}; accepted are 'evidence', 'bic' and integers"
            )
        values = table[self.n_components][1:]
        return 1 if np.all(np.isnan(values)) else int(np.nanargmax(values)) + 1

    def _climb(self, X: Array, k: int) -> None:
        """EM of Tipping & Bishop (1999, section 3.3), without the d x d covariance.

        Parameters are expanded as in `statml.decomposition.factor_em`: without it the
        lengths of the axes creep where the noise is small.
        """
        n, d = X.shape
        total = sum(float(np.vdot(block, block)) for block in centred(X, self.mean_)) / n
        start = generator(self.random_state).normal(size=(d, k))
        loadings = np.linalg.qr(start)[0] * np.sqrt(total / d)
        noise = total / d
        self.n_iter_ = 0
        while self.n_iter_ < self.max_iter:
            self.n_iter_ += 1
            times = np.zeros((d, k))
            for block in centred(X, self.mean_):
                times += block.T @ (block @ loadings)
            times /= n
            inner = np.diag(1 / (np.sum(loadings**2, axis=0) + noise))
            # mean of E[z z^T]; in this order no product leaves the range of floats
            second = noise * inner + (inner @ loadings.T) @ (times @ inner)
            new = times @ inner @ np.linalg.inv(second)
            new_noise = max((total - np.sum(times * (new @ inner))) / d, EM_FLOOR * total)
            # orthogonal columns, so that the next inverse is that of a diagonal
            axes, lengths, _ = np.linalg.svd(new @ np.linalg.cholesky(second), full_matrices=False)
            new = axes * lengths
            moved = max(np.abs(new @ new.T - loadings @ loadings.T).max(), abs(new_noise - noise))
            loadings, noise = new, new_noise
            if moved < self.tol * total:
                break
        else:
            warnings.warn(
                f"ProbabilisticPCA stopped after max_iter={self.max_iter} steps of EM, the last of which moved "
                f"the covariance by {moved / total:.1e} of its trace; raise max_iter or tol",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.components_, self.noise_variance_ = upright(axes.T), float(noise)
        self.explained_variance_ = lengths**2 + noise

    def _slopes(self) -> Array:
        kept = self.score_variance_ / np.where(self.explained_variance_ > 0, self.explained_variance_, 1.0)
        return kept[:, None] * self.components_

    def transform_dist(self, X: Any) -> ScoreDistribution:
        """The posterior of the scores of each row of X, shape (n, d); its mean is `transform`."""
        mean = self.transform(X)
        kept = self.score_variance_ / np.where(self.explained_variance_ > 0, self.explained_variance_, 1.0)
        return ScoreDistribution(mean, np.tile(np.diag(self.noise_variance_ * kept), (len(mean), 1, 1)))

    def get_covariance(self) -> Array:
        """W W^T + sigma^2, shape (d, d)."""
        d = len(self.mean_)
        return (self.components_.T * self.score_variance_) @ self.components_ + self.noise_variance_ * np.eye(
            d
        )

    def score_samples(self, X: Any) -> Array:
        """Log density of each row, shape (n,).

        Raises
        ------
        InputError
            As many axes as pixels, and a variance of zero: there is no density.
        """
        return self._log_density(self._rows(X))

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log density of a row."""
        return float(np.mean(self.score_samples(X)))

    def sample(self, size: int = 1, *, rng: Any = None) -> Array:
        """New rows from the density, shape (size, d)."""
        rng = generator(rng)
        scores = rng.normal(size=(size, self.n_components_)) * np.sqrt(self.score_variance_)
        noise = np.sqrt(self.noise_variance_) * rng.normal(size=(size, len(self.mean_)))
        return self.inverse_transform(scores) + noise

    def _log_density(self, X: Array) -> Array:
        d, k = len(self.mean_), len(self.components_)
        # a variance of zero has no density; its rows would all have infinite likelihood
        tiny = np.finfo(float).eps * self.explained_variance_[0]
        along, across = (np.maximum(v, tiny) for v in (self.explained_variance_, self.noise_variance_))
        constant = d * np.log(2 * np.pi) + np.sum(np.log(along)) + (d - k) * np.log(across)
        parts = []
        for block in centred(X, self.mean_, rows=BLOCK_ROWS):
            scores = block @ self.components_.T
            distance = np.sum(scores**2 / along, axis=1)
            if k < d:
                distance += np.sum((block - scores @ self.components_) ** 2, axis=1) / across
            parts.append(-0.5 * (constant + distance))
        return np.concatenate(parts)
