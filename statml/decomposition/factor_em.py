r"""Expectation-maximisation of a linear Gaussian model whose every pixel has its own error.

    x_ij = mu_j + W_j^T z_i + noise_ij,     z_i ~ N(0, 1_k),     noise_ij ~ N(0, v_ij + s^2)

v_ij is the square of the given error, infinite where the pixel is missing; s^2 is a
variance common to all pixels, for what k components and the errors leave over. With
weights w_ij = 1 / (v_ij + s^2), zero for a missing pixel,

    z_i | x_i  ~  N(m_i, C_i),     C_i^-1 = 1 + sum_j w_ij W_j W_j^T,
                                   m_i = C_i sum_j w_ij W_j (x_ij - mu_j)

and the next (W_j, mu_j) solve, for each pixel, a weighted least squares problem in the
moments of (z_i, 1). Then s^2 takes one step of Fisher scoring towards the maximum
given the residuals, halved until the expected log likelihood does not fall. Last,
mean and covariance of the m_i are put into mu and W, so that z is N(0, 1) again:
parameter expansion (Liu, Rubin & Wu 1998, Biometrika 85, 755), which needs far fewer
steps. Each of the three never lowers the likelihood.

Everything is a product of matrices or a batch of small solves, written once for NumPy
and torch. Sources: Dempster, Laird & Rubin (1977); Rubin & Thayer (1982, Psychometrika
47, 69); Tipping & Bishop (1999, J. R. Stat. Soc. B 61, 611).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from statml.compute import Namespace
from statml.decomposition.principal_axes import principal_axes

Array = np.ndarray

# Rows times pixels of one batch: a few arrays of this size are held at a time.
BATCH_ENTRIES = 2_000_000
# The common variance is kept above this fraction of the variance of the pixels.
FLOOR = 1e-10
HALVINGS = 30


@dataclass(frozen=True)
class Pixels:
    """Values (n, d), zero where missing, and variances (n, d), infinite there, on a device."""

    values: Any
    variances: Any
    device: Namespace

    def batches(self) -> Iterator[slice]:
        """Rows that are worked on together."""
        n, d = self.values.shape
        rows = max(BATCH_ENTRIES // d, 1)
        return (slice(start, start + rows) for start in range(0, n, rows))


@dataclass(frozen=True)
class Factors:
    """mu (d,), W (d, k) and s^2 of the model, on the device of the pixels."""

    mean: Any
    loadings: Any
    variance: float


@dataclass(frozen=True)
class Posterior:
    """m (n, k) and C, the upper triangles row by row, (n, k (k + 1) / 2), with log p(x_i), (n,)."""

    mean: Any
    packed: Any
    log_likelihood: Any


def pack_indices(k: int) -> tuple[Array, Array, Array]:
    """Rows and columns of the upper triangle of a k x k matrix, and where each entry lies in it, (k * k,)."""
    rows, columns = np.triu_indices(k)
    place = np.empty((k, k), int)
    place[rows, columns] = place[columns, rows] = np.arange(len(rows))
    return rows, columns, place.ravel()


def products(matrix: Any) -> Any:
    """The products of the columns of (m, k), pair by pair, shape (m, k (k + 1) / 2)."""
    rows, columns, _ = pack_indices(matrix.shape[1])
    return matrix[:, rows] * matrix[:, columns]


def unpacked(packed: Any, k: int) -> Any:
    """Symmetric matrices (n, k, k) from their upper triangles."""
    return packed[:, pack_indices(k)[2]].reshape(-1, k, k)


def posterior(pixels: Pixels, factors: Factors) -> Posterior:
    """Scores of every row given its pixels, and the likelihood of the row."""
    xp, k = pixels.device.xp, factors.loadings.shape[1]
    rows, columns, _ = pack_indices(k)
    pairs, identity = products(factors.loadings), pixels.device.asarray(np.eye(k))
    parts = []
    for batch in pixels.batches():
        weights = 1 / (pixels.variances[batch] + factors.variance)
        away = pixels.values[batch] - factors.mean
        precision = unpacked(weights @ pairs, k) + identity
        root = xp.linalg.cholesky(precision)
        covariance = xp.linalg.inv(precision)
        pull = (weights * away) @ factors.loadings
        mean = (covariance @ pull[:, :, None])[:, :, 0]
        left = away - mean @ factors.loadings.T
        log_weights = xp.log(xp.where(weights > 0, weights / (2 * np.pi), xp.ones_like(weights)))
        log_determinant = 2 * xp.sum(xp.log(xp.linalg.diagonal(root)), axis=1)
        distance = xp.sum(weights * left**2, axis=1) + xp.sum(mean**2, axis=1)
        log_likelihood = 0.5 * (xp.sum(log_weights, axis=1) - log_determinant - distance)
        parts.append((mean, covariance[:, rows, columns], log_likelihood))
    return Posterior(*(xp.concat(list(part)) for part in zip(*parts)))


def normal_equations(pixels: Pixels, factors: Factors, scores: Posterior) -> tuple[Any, Any]:
    """Weighted moments of (z, 1) and of its products with x, for each pixel: (d, k + 1, k + 1), (d, k + 1).

    The inverse of the first is the covariance of (W_j, mu_j), to first order: what is
    known of the pixel's line once the scores are.
    """
    xp, k = pixels.device.xp, scores.mean.shape[1]
    _, columns, place = pack_indices(k + 1)
    extended = xp.concat([scores.mean, xp.ones_like(scores.mean[:, :1])], axis=1)
    inner = np.flatnonzero(columns < k)
    left: Any = 0.0
    right: Any = 0.0
    for batch in pixels.batches():
        weights = 1 / (pixels.variances[batch] + factors.variance)
        moments = products(extended[batch])
        moments[:, inner] += scores.packed[batch]
        left = left + weights.T @ moments
        right = right + (weights * pixels.values[batch]).T @ extended[batch]
    return left[:, place].reshape(-1, k + 1, k + 1), right


def maximise(pixels: Pixels, factors: Factors, scores: Posterior, *, fit_variance: bool) -> Factors:
    """The next mu, W and s^2."""
    xp, k = pixels.device.xp, scores.mean.shape[1]
    left, right = normal_equations(pixels, factors, scores)
    solved = xp.linalg.solve(left, right[:, :, None])[:, :, 0]
    loadings, mean = solved[:, :k], solved[:, k]
    variance = factors.variance
    if fit_variance:
        variance = _next_variance(pixels, mean, loadings, scores, variance)
    shift = xp.mean(scores.mean, axis=0)
    second = unpacked(xp.mean(scores.packed + products(scores.mean), axis=0)[None, :], k)[0]
    spread = xp.linalg.cholesky(second - shift[:, None] * shift[None, :])
    return Factors(mean + loadings @ shift, loadings @ spread, variance)


def _next_variance(pixels: Pixels, mean: Any, loadings: Any, scores: Posterior, variance: float) -> float:
    """s^2 after one safeguarded step of Fisher scoring."""
    xp = pixels.device.xp
    squares = residual_squares(pixels, mean, loadings, scores)

    def expected(candidate: float) -> float:
        """Expected log likelihood, up to a constant."""
        total = 0.0
        for batch in pixels.batches():
            weights = 1 / (pixels.variances[batch] + candidate)
            logs = xp.log(xp.where(weights > 0, weights, xp.ones_like(weights)))
            total += 0.5 * float(xp.sum(logs - weights * squares[batch]))
        return total

    # In units of s^2, so that no square of a weight leaves the range of floats.
    slope = information = 0.0
    for batch in pixels.batches():
        weights = 1 / (pixels.variances[batch] / variance + 1)
        slope += float(xp.sum(weights**2 * (squares[batch] / variance) - weights))
        information += float(xp.sum(weights**2))
    step, floor = variance * slope / information, FLOOR * float(xp.mean(xp.sum(loadings**2, axis=1)))
    now = expected(variance)
    for _ in range(HALVINGS):
        candidate = max(variance + step, floor)
        if expected(candidate) >= now:
            return candidate
        step /= 2
    return variance


def residual_squares(pixels: Pixels, mean: Any, loadings: Any, scores: Posterior) -> Any:
    """E[(x - mu - W z)^2] of every pixel given its row, shape (n, d); of missing ones too, unused."""
    xp, k = pixels.device.xp, loadings.shape[1]
    rows, columns, _ = pack_indices(k)
    # W C W^T from the upper triangle of C, which holds each pair of columns once
    pairs = products(loadings) * pixels.device.asarray(np.where(rows == columns, 1.0, 2.0))
    parts = []
    for batch in pixels.batches():
        away = pixels.values[batch] - mean - scores.mean[batch] @ loadings.T
        parts.append(away**2 + scores.packed[batch] @ pairs.T)
    return xp.concat(parts)


def start(values: Array, variances: Array, k: int, rng: np.random.Generator) -> tuple[Array, Array, float]:
    """mu, W and s^2 to begin with.

    A pixel counts by the part of its variance that is not noise, a missing one not at
    all; the subspace is that of randomized principal axes.

    Parameters
    ----------
    values, variances : array (n, d)
        As in `Pixels`, on the host.
    """
    seen = np.isfinite(variances)
    counts = seen.sum(axis=0)
    mean = values.sum(axis=0) / counts
    noise = np.where(seen, variances, 0.0).sum(axis=0) / counts
    away = np.where(seen, values - mean, 0.0)
    spread = np.sum(away**2, axis=0) / counts
    signal = np.maximum(spread - noise, 0.1 * spread)
    with np.errstate(invalid="ignore"):  # a column that does not vary and has no errors: 0 / 0
        share = np.nan_to_num(signal / (signal + variances))
    found = principal_axes(away * share, k, solver="randomized", rng=rng)
    loadings = found.axes.T * np.sqrt(found.squares / len(values))
    left = np.mean(spread) - np.sum(loadings**2) / len(mean) - np.mean(noise)
    return mean, loadings, float(max(left, 0.01 * np.mean(spread)))


def climb(
    pixels: Pixels, factors: Factors, *, fit_variance: bool, tol: float, max_iter: int
) -> tuple[Factors, list[float], bool]:
    """Steps until the log likelihood gains less than `tol` for each row.

    Returns
    -------
    factors : Factors
    path : list of float
        Log likelihood before each step and after the last.
    converged : bool
    """
    scores = posterior(pixels, factors)
    path = [float(pixels.device.xp.sum(scores.log_likelihood))]
    for _ in range(max_iter):
        factors = maximise(pixels, factors, scores, fit_variance=fit_variance)
        scores = posterior(pixels, factors)
        path.append(float(pixels.device.xp.sum(scores.log_likelihood)))
        if path[-1] - path[-2] < tol * len(scores.mean):
            return factors, path, True
    return factors, path, False
