"""The posterior of line, scatter and components given the labels, the true covariates integrated out.

Given the component of every row, z = (x, y) is normal, N(m_k, B_k + E_i) (`kelly_model`),
so the posterior of phi = (alpha, beta, log(sigma^2 + c); mu_k, log-Cholesky factor of T_k)
can be evaluated without the latent xi, whose correlation with slope and T_k makes the
plain Gibbs sampler slow. Means and covariances of a component are shared by its rows,
hence its score and expected information need only sums over rows, with
K_i = (B_k + E_i)^-1 and q_i = K_i (z_i - m_k):

    g = dm' sum q + tr(dB sum(q q' - K)) / 2
    G = dm' sum K dm + sum tr(K dB K dB) / 2

The information on sigma^2 is the same however small sigma is, as long as other errors
are there. So sigma moves in log(sigma^2 + c), c being about the variance of y given x:
where scatter is large this is log sigma, where it is small it is linear in sigma^2 with
an end at zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from statml.regression.errors_in_variables.kelly_model import Moments, Points, blocks, forward, ldl, product
from statml.regression.errors_in_variables.kelly_prior import FullPrior

Array = np.ndarray
# Log density (C,), gradient (C, N) and information (C, N, N).
Local = tuple[Array, Array, Array]

# sigma below 1e-8 of its prior scale is zero for every purpose; a bound keeps a perfect line finite.
SMALLEST, LARGEST = float(np.log(1e-8)), float(np.log(1e8))


@dataclass(frozen=True)
class Rows:
    """Rows with their component, and y known or imputed.

    Attributes
    ----------
    z : list of D arrays (C, n)
    errors : array (D, D, B, n)
    labels : array (C, n) of int
    belongs : array (C, K, n)
        1 where the row is of the component, else 0.
    """

    z: list[Array]
    errors: Array
    labels: Array
    belongs: Array

    @classmethod
    def of(cls, points: Points, labels: Array, y: Array, k: int) -> Rows:
        """From the labels (C, n) and y (C, n)."""
        belongs = (labels[:, None] == np.arange(k)[:, None]).astype(float)
        return cls([*points.z[:-1], y], points.errors, labels, belongs)

    def own(self, values: Array) -> Array:
        """What each row has of a quantity of its component: (C, K) to (C, n)."""
        chains, k = values.shape
        return np.take(values, self.labels + (k * np.arange(chains))[:, None])

    def sums(self, moments: Moments) -> tuple[tuple[Array, Array, Array], Array]:
        """Sums of q, q q' - K and K over the rows of each component; the log density of all rows but for 2 pi."""
        parts = []
        for rows in blocks(self.labels.shape[1]):
            some = self._block(rows)
            q, K, log_density = some.inverse(moments)
            parts.append((*_sums(q, K, some.belongs), log_density))
        of_q, of_rest, of_K, log_density = (sum(values[1:], values[0]) for values in zip(*parts))
        return (of_q, of_rest, of_K), log_density

    def _block(self, rows: slice) -> Rows:
        return Rows(
            [values[:, rows] for values in self.z],
            self.errors[..., rows],
            self.labels[:, rows],
            self.belongs[..., rows],
        )

    def log_density(self, moments: Moments) -> Array:
        """Log density of all rows but for 2 pi, (C,)."""
        parts = [
            _log_density(*self._block(rows)._factored(moments)[1:]) for rows in blocks(self.labels.shape[1])
        ]
        return sum(parts[1:], parts[0])

    def inverse(self, moments: Moments) -> tuple[list[Array], list[list[Array]], Array]:
        """q (D arrays), K (lower triangle) and the log density but for 2 pi (C,) of the rows."""
        lower, pivots, white, scaled = self._factored(moments)
        return *_inverse(lower, pivots, scaled), _log_density(pivots, white, scaled)

    def _factored(self, moments: Moments) -> tuple[list[list[Array]], list[Array], list[Array], list[Array]]:
        """L, D, u = L^-1 (z - m) and D^-1 u of B_k + E = L D L'."""
        size = len(self.z)
        lower, pivots = ldl(
            [
                [self.own(moments.cov[:, :, i, j]) + self.errors[i, j] for j in range(i + 1)]
                for i in range(size)
            ]
        )
        white = forward(lower, [z - self.own(moments.mean[:, :, i]) for i, z in enumerate(self.z)])
        return lower, pivots, white, [u / pivot for u, pivot in zip(white, pivots)]


def _log_density(pivots: list[Array], white: list[Array], scaled: list[Array]) -> Array:
    total = -0.5 * np.log(product(pivots)).sum(axis=1)
    for u, v in zip(white, scaled):
        total -= 0.5 * np.einsum("cn,cn->c", u, v)
    return total


def _inverse(
    lower: list[list[Array]], pivots: list[Array], scaled: list[Array]
) -> tuple[list[Array], list[list[Array]]]:
    """L^-T (D^-1 u) and L^-T D^-1 L^-1."""
    size = len(pivots)
    below: list[list[Array]] = []  # L^-1 below its unit diagonal
    for i in range(size):
        row = []
        for j in range(i):
            value = -lower[i][j]
            for k in range(j + 1, i):
                value = value - lower[i][k] * below[k][j]
            row.append(value)
        below.append(row)
    weights = [1 / pivot for pivot in pivots]
    q, K = [], []
    for i in range(size):
        total = scaled[i]
        for r in range(i + 1, size):
            total = total + below[r][i] * scaled[r]
        q.append(total)
        row = []
        for j in range(i + 1):
            entry = weights[i] if i == j else below[i][j] * weights[i]
            for r in range(i + 1, size):
                entry = entry + below[r][i] * below[r][j] * weights[r]
            row.append(entry)
        K.append(row)
    return q, K


@dataclass(frozen=True)
class Layout:
    """Where things are in phi (C, N): line, log(sigma^2 + c), for each component mu and log-Cholesky T.

    Attributes
    ----------
    p, d, k : int
        Numbers of parameters, features, components.
    offset : array (C,)
        c.
    """

    p: int
    d: int
    k: int
    offset: Array

    @property
    def shared(self) -> int:
        """Number of entries that belong to no component."""
        return self.p + 1

    @property
    def each(self) -> int:
        """Number of entries of one component."""
        return self.d + self.d * (self.d + 1) // 2

    @property
    def intercept(self) -> bool:
        """Is there a constant?"""
        return self.p > self.d

    def pack(self, params: Array, sigma2: Array, centers: Array, covs: Array) -> Array:
        """phi from its parts."""
        factor = np.linalg.cholesky(covs)
        diagonal = np.arange(self.d)
        factor[..., diagonal, diagonal] = np.log(factor[..., diagonal, diagonal])
        rows, columns = _lower(self.d)
        each = np.concatenate([centers, factor[..., rows, columns]], axis=2)
        scatter = np.log(sigma2 + self.offset)[:, None]
        return np.concatenate([params, scatter, each.reshape(len(params), -1)], axis=1)

    def unpack(self, phi: Array) -> tuple[Array, Array, Array, Array]:
        """(params, sigma^2, centers, Cholesky factors of the covariances)."""
        each = phi[:, self.shared :].reshape(len(phi), self.k, self.each)
        factor = np.zeros((len(phi), self.k, self.d, self.d))
        rows, columns = _lower(self.d)
        factor[..., rows, columns] = each[..., self.d :]
        diagonal = np.arange(self.d)
        factor[..., diagonal, diagonal] = np.exp(np.clip(factor[..., diagonal, diagonal], -40, 40))
        sigma2 = np.exp(np.clip(phi[:, self.p], -100, 100)) - self.offset
        return phi[:, : self.p], sigma2, each[..., : self.d], factor

    def scatter_inside(self, sigma2: Array, prior: FullPrior) -> Array:
        """Is sigma where it may be, (C,) of bool."""
        low, high = prior.scatter_scale**2 * np.exp(2 * np.array([SMALLEST, LARGEST]))
        return (sigma2 > low) & (sigma2 < high)


@cache
def _lower(d: int) -> tuple[Array, Array]:
    """Rows and columns of a lower triangle."""
    return np.tril_indices(d)


@dataclass(frozen=True)
class Collapsed:
    """Posterior of phi given the labels and the scale 1/a of the components' prior."""

    rows: Rows
    prior: FullPrior
    layout: Layout
    inverse_a: Array

    def at(self, phi: Array) -> Local:
        """Log density up to a constant (C,), gradient (C, N) and information (C, N, N)."""
        layout, prior = self.layout, self.prior
        params, sigma2, centers, factor = layout.unpack(phi)
        covs = factor @ np.swapaxes(factor, 2, 3)
        moments = Moments.of(params, sigma2, centers, covs, layout.intercept)
        sums, log_density = self.rows.sums(moments)
        mean_slopes, cov_slopes = _slopes(layout, params, phi[:, layout.p], centers, covs, factor)
        counts = self.rows.belongs.sum(axis=2)
        local, information = _score(mean_slopes, cov_slopes, *sums, counts)
        of_mixture = component_prior(layout, prior, centers, factor, self.inverse_a)
        s, each = layout.shared, layout.each
        local[..., s:] += of_mixture[1]
        information[..., s:, s:] += of_mixture[2]
        gradient = np.concatenate([local[..., :s].sum(axis=1), local[..., s:].reshape(len(phi), -1)], axis=1)
        full = np.zeros((*phi.shape, phi.shape[1]))
        full[:, :s, :s] = information[..., :s, :s].sum(axis=1)
        for k in range(layout.k):
            own = slice(s + k * each, s + (k + 1) * each)
            full[:, own, own] = information[:, k, s:, s:]
            full[:, :s, own] = information[:, k, :s, s:]
            full[:, own, :s] = information[:, k, s:, :s]
        gap = params - prior.line_mean
        pull = gap @ prior.line_precision
        gradient[:, : layout.p] -= pull
        full[:, : layout.p, : layout.p] += prior.line_precision
        # The prior of sigma is left out of the proposal: in sigma^2 it is steep at zero, and weak elsewhere.
        log_density = log_density - 0.5 * np.sum(gap * pull, axis=1) + of_mixture[0]
        return log_density + log_scatter_prior(layout, prior, phi[:, layout.p], sigma2), gradient, full


def log_scatter_prior(layout: Layout, prior: FullPrior, moved: Array, sigma2: Array) -> Array:
    """Log prior density of log(sigma^2 + c), shape (C,): that of log sigma times d log sigma / d(...)."""
    return prior.log_scatter(0.5 * np.log(sigma2)) + moved - np.log(sigma2)


@cache
def _places(size: int) -> tuple[list[tuple[int, int]], Array]:
    """Pairs (i, j <= i), and the place of each pair."""
    pairs = [(i, j) for i in range(size) for j in range(i + 1)]
    index = np.zeros((size, size), int)
    for place, (i, j) in enumerate(pairs):
        index[i, j] = index[j, i] = place
    return pairs, index


def _sums(q: list[Array], K: list[list[Array]], belongs: Array) -> tuple[Array, Array, Array]:
    """Sums over the rows of each component: q, q q' - K, and K."""
    size = len(q)
    pairs, index = _places(size)
    count = len(pairs)
    chains, _, n = belongs.shape
    stacked = np.empty((chains, size + 2 * count, n))
    for i, value in enumerate(q):
        stacked[:, i] = value
    for place, (i, j) in enumerate(pairs):
        np.multiply(q[i], q[j], out=stacked[:, size + place])
        stacked[:, size + count + place] = K[i][j]
    sums = np.swapaxes(np.matmul(stacked, np.swapaxes(belongs, 1, 2)), 1, 2)
    of_K = sums[..., size + count :]
    return sums[..., :size], (sums[..., size : size + count] - of_K)[..., index], of_K[..., index]


def _slopes(
    layout: Layout, params: Array, moved: Array, centers: Array, covs: Array, factor: Array
) -> tuple[Array, Array]:
    """Derivatives of m_k (C, K, L, D) and B_k (C, K, L, D, D) by line, log(sigma^2 + c), own component."""
    chains, k, d = centers.shape
    p, size = layout.p, layout.shared + layout.each
    slopes = params[:, p - d :]
    G = np.zeros((chains, d + 1, d))
    G[:, :d] = np.eye(d)
    G[:, d] = slopes
    mean = np.zeros((chains, k, size, d + 1))
    cov = np.zeros((chains, k, size, d + 1, d + 1))
    if layout.intercept:
        mean[:, :, 0, d] = 1
    mean[:, :, p - d : p, d] = centers
    mean[:, :, p + 1 : p + 1 + d] = np.swapaxes(G, 1, 2)[:, None]
    spread = np.einsum("cDi,ckij->ckjD", G, covs)  # column j of G T
    cov[:, :, p - d : p, d, :] += spread
    cov[:, :, p - d : p, :, d] += spread
    cov[:, :, p, d, d] = np.exp(np.clip(moved, -100, 100))[:, None]  # sigma^2 + c
    H = np.einsum("cDi,ckij->ckjD", G, factor)  # column j of G L
    for place, (i, j) in enumerate(zip(*_lower(d))):
        outer = G[:, None, :, i, None] * H[:, :, j, None, :]
        outer = outer + np.swapaxes(outer, 2, 3)
        cov[:, :, p + 1 + d + place] = outer * factor[..., i, i, None, None] if i == j else outer
    return mean, cov


def _score(
    mean: Array, cov: Array, of_q: Array, of_rest: Array, of_K: Array, counts: Array
) -> tuple[Array, Array]:
    """Gradient (C, K, L) and information (C, K, L, L) of each component's rows.

    The information on variances takes the mean K for every row, which spares D^4 / 8 sums;
    it is exact where all rows have the same errors, and only shapes the proposals.
    """
    flat = cov.reshape(*cov.shape[:3], -1)
    gradient = np.einsum("cklD,ckD->ckl", mean, of_q)
    gradient += 0.5 * np.einsum("clkx,clx->clk", flat, of_rest.reshape(*of_rest.shape[:2], -1))
    # tr(K A K B) = tr((K A)(K B))
    KB = np.matmul(of_K[:, :, None], cov)
    turned = np.swapaxes(KB, 3, 4).reshape(flat.shape)
    trace = KB.reshape(flat.shape) @ np.swapaxes(turned, 2, 3)
    trace /= np.maximum(counts, 1)[..., None, None]
    information = mean @ of_K @ np.swapaxes(mean, 2, 3) + 0.5 * trace
    return gradient, information


def component_prior(
    layout: Layout, prior: FullPrior, centers: Array, factor: Array, inverse_a: Array
) -> tuple[Array, Array, Array]:
    """Log prior of the components (C,), its gradient (C, K, each) and a positive curvature."""
    d, df = layout.d, prior.width_df + layout.d - 1
    precision = np.linalg.inv(prior.center_cov)
    gap = centers - prior.center
    pull = gap @ precision
    inverse = np.linalg.inv(factor)  # L^-1
    scale = 2 * prior.width_df * inverse_a[:, None, :]  # diagonal of the scale matrix
    whitened = inverse**2 @ scale[..., None]
    log_diagonal = np.log(np.einsum("ckii->cki", factor))
    # Density of T times the volume of T in terms of log L_jj and L_ij.
    powers = -(df + d + 1) + (d - np.arange(d) + 1)
    log_density = -0.5 * np.einsum("cki,cki->c", gap, pull) - 0.5 * whitened.sum(axis=(1, 2, 3))
    log_density += (log_diagonal * powers).sum(axis=(1, 2))
    # d tr(Psi T^-1) / dL = -2 T^-1 Psi L^-T
    precision_T = np.swapaxes(inverse, 2, 3) @ inverse
    by_factor = (precision_T * scale[..., None, :]) @ np.swapaxes(inverse, 2, 3)
    rows, columns = _lower(d)
    gradient = np.concatenate([-pull, by_factor[..., rows, columns]], axis=2)
    curvature = np.zeros((*gradient.shape, layout.each))
    curvature[..., :d, :d] = precision
    for place, (i, j) in enumerate(zip(rows, columns)):
        at = d + place
        if i == j:
            gradient[..., at] = gradient[..., at] * factor[..., i, i] + powers[i]
            curvature[..., at, at] = 2 * df
        else:
            curvature[..., at, at] = df * precision_T[..., i, i]
    return log_density, gradient, curvature
