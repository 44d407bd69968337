"""Draws from the posterior of Kelly's model: line, scatter, and the mixture of the true covariates.

One iteration, for C chains together:

1. component of every row, with its true x and y integrated out (for an upper limit
   on y the integral runs up to the limit), then the y behind every limit;
2. line, scatter, means and covariances of the components given the labels, the true
   x integrated out (`gibbs_collapsed`, `gibbs_newton`);
3. true x given everything; then weights, means and covariances of the components,
   from their conjugate conditionals.

Where rows are many and their posterior nearly normal, most iterations are proposals of
a whole new state instead (`gibbs_independent`), which cost less and forget at once.

Kelly (2007, section 6) draws the true x and y before the line. Leaving them out of
steps 1 and 2 samples the same posterior and moves much further in one iteration:
what is integrated out of a step is drawn anew before anything depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from statml import console
from statml.regression.errors_in_variables.gibbs_independent import Independent, Parts
from statml.regression.errors_in_variables.gibbs_newton import (
    Collapsed,
    Layout,
    Rows,
    metropolis,
    walk_of_scatter,
)
from statml.regression.errors_in_variables.kelly_model import Moments, Points, blocks, ldl
from statml.regression.errors_in_variables.kelly_prior import FullPrior

Array = np.ndarray

# Iterations times rows and chains from which a progress bar is worth looking at.
LONG_RUN = 3e8
# Draws a chain must have for an interrupted run to be worth keeping.
ENOUGH_DRAWS = 50
# Rows for each of its parameters from which a component moves together with the line.
FILLED = 5
# Share of the moves of the line that are a random walk instead of a Newton step.
WALKS = 0.2
# From here on a row costs more than a step, Newton steps are mostly accepted, and the true
# covariates (with what depends on them) are drawn in every third iteration only.
MANY_ROWS = 2000
# After warm-up: proposals of whole states in an iteration, and every how many iterations all is drawn as above.
PROPOSALS, BETWEEN = 2, 10


@dataclass(frozen=True)
class Draws:
    """Posterior draws of C chains.

    Attributes
    ----------
    params : array (C, D, p)
        Intercept first, where there is one.
    scatter : array (C, D)
    weights, centers, covs : arrays (C, D, K), (C, D, K, d), (C, D, K, d, d)
        The mixture of the true covariates.
    interrupted : bool
        The run was stopped before its end.
    """

    params: Array
    scatter: Array
    weights: Array
    centers: Array
    covs: Array
    interrupted: bool = False

    def covariate_moments(self) -> tuple[Array, Array]:
        """Mean (C, D, d) and covariance (C, D, d, d) of the true covariates, whatever the labels."""
        mean = np.einsum("cmk,cmki->cmi", self.weights, self.centers)
        gap = self.centers - mean[:, :, None]
        spread = self.covs + gap[..., :, None] * gap[..., None, :]
        return mean, np.einsum("cmk,cmkij->cmij", self.weights, spread)

    def thinned(self, count: int) -> Draws:
        """About `count` draws, evenly from all chains, as one chain."""
        total = self.scatter.size
        pick = np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))

        def take(values: Array) -> Array:
            # Neighbours in this order are of different chains.
            joined = np.swapaxes(values, 0, 1).reshape(total, *values.shape[2:])
            return joined[pick][None]

        return Draws(
            take(self.params), take(self.scatter), take(self.weights), take(self.centers), take(self.covs)
        )


@dataclass
class State:
    """Where C chains are.

    Attributes
    ----------
    params, sigma2 : arrays (C, p), (C,)
    weights, centers, covs : arrays (C, K), (C, K, d), (C, K, d, d)
    log_inverse_a : array (C, d)
        log(1/a) of the prior of the covs.
    """

    params: Array
    sigma2: Array
    weights: Array
    centers: Array
    covs: Array
    log_inverse_a: Array

    @property
    def parts(self) -> Parts:
        """All but the scale 1/a."""
        return self.params, self.sigma2, self.weights, self.centers, self.covs


def sample(
    points: Points,
    prior: FullPrior,
    start: State,
    *,
    warmup: int,
    draws: int,
    thin: int,
    rng: np.random.Generator,
) -> Draws:
    """Run all chains; Ctrl-C keeps what was drawn if it is enough.

    Parameters
    ----------
    points : Points
        One data set for all chains, or one for each.
    start : State
    warmup, draws, thin : int
        Iterations thrown away, draws kept, iterations for each of them.
    """
    state = start
    # The scatter of the start is that of y around a rough line.
    layout = Layout(start.params.shape[1], start.centers.shape[2], start.centers.shape[1], start.sigma2)
    every = 1 if points.z.shape[2] < MANY_ROWS else 3
    kept: list[Parts] = []
    seen: list[Parts] = []
    jumps: Independent | None = None
    total = warmup + draws * thin
    steps = range(total)
    rows = len(state.params) * points.z.shape[2]
    interrupted = False
    try:
        for step in console.progress(steps, "Kelly") if total * rows > LONG_RUN else steps:
            if step == warmup and every > 1:
                jumps = Independent.worthwhile(points, prior, layout, seen, state.log_inverse_a, rng)
            if jumps and step % BETWEEN:
                parts, _ = jumps.steps(state.parts, state.log_inverse_a, rng, PROPOSALS)
                state = State(*parts, state.log_inverse_a)
            else:
                thorough = jumps is not None or step % every == 0
                state = iterate(
                    points, prior, layout, state, rng, settling=2 * step < warmup, thorough=thorough
                )
            if every > 1 and warmup <= 2 * step < 2 * warmup:
                seen.append(state.parts)
            if step >= warmup and (step - warmup) % thin == thin - 1:
                kept.append(state.parts)
    except KeyboardInterrupt:
        if len(kept) < ENOUGH_DRAWS:
            raise
        interrupted = True
    params, sigma2, weights, centers, covs = (np.stack(values, axis=1) for values in zip(*kept))
    return Draws(params, np.sqrt(sigma2), weights, centers, covs, interrupted)


def iterate(
    points: Points,
    prior: FullPrior,
    layout: Layout,
    state: State,
    rng: np.random.Generator,
    *,
    settling: bool = False,
    thorough: bool = True,
) -> State:
    """One iteration of every chain; steps 1 and 2 alone where it is not `thorough`."""
    labels, y = components(points, layout, state, rng)
    rows = Rows.of(points, labels, y, layout.k)
    posterior = Collapsed(rows, prior, layout, np.exp(state.log_inverse_a))
    phi = layout.pack(state.params, state.sigma2, state.centers, state.covs)
    here = posterior.at(phi)
    first, *more = proposals(layout, rows, rng)
    for moving, drift, scale in [first, *more] if thorough else [first]:
        phi, here = metropolis(posterior, phi, here, moving, drift, scale, rng, settling=settling)
    params, sigma2, centers, factor = layout.unpack(phi)
    covs = factor @ np.swapaxes(factor, 2, 3)
    weights = mixture_weights(rows, prior, rng)
    if not thorough:
        return State(params, sigma2, weights, centers, covs, state.log_inverse_a)
    sigma2 = walk_of_scatter(rows, prior, layout, (params, sigma2, centers, covs), rng)
    moments = Moments.of(params, sigma2, centers, covs, layout.intercept)
    xi = true_covariates(rows, moments, rng)
    return State(params, sigma2, weights, *mixture(xi, rows, centers, state.log_inverse_a, prior, rng))


def mixture_weights(rows: Rows, prior: FullPrior, rng: np.random.Generator) -> Array:
    """Weights of the components given the labels, (C, K)."""
    weights = rng.standard_gamma(prior.concentration + rows.belongs.sum(axis=2))
    return np.maximum(weights / weights.sum(axis=1, keepdims=True), 1e-300)


def proposals(layout: Layout, rows: Rows, rng: np.random.Generator) -> list[tuple[Array, Array, Array]]:
    """(moving, delta, eps) of the Metropolis steps of one iteration."""
    chains = len(rows.labels)
    counts = rows.belongs.sum(axis=2)
    line = np.ones((chains, layout.shared), bool)
    # A component of few rows is far from normal, and would have all the others refused with it.
    filled = np.repeat(counts >= FILLED * layout.each, layout.each, axis=1)
    everything = np.concatenate([line, filled], axis=1)
    line_alone = np.concatenate([line, np.zeros_like(filled)], axis=1)
    one = np.ones(chains)
    walking = rng.random(chains) < WALKS
    length = np.exp(rng.uniform(np.log(0.1), np.log(3.0), chains))
    return [
        (everything, one, one),
        (line_alone, np.where(walking, 0, one), np.where(walking, length, one)),
    ]


def components(points: Points, layout: Layout, state: State, rng: np.random.Generator) -> tuple[Array, Array]:
    """The component of every row (C, n), and y (C, n) with the values behind upper limits drawn."""
    moments = Moments.of(state.params, state.sigma2, state.centers, state.covs, layout.intercept)
    chains, n = len(state.params), points.z.shape[2]
    labels = np.zeros((chains, n), dtype=np.intp)
    y = np.broadcast_to(points.z[-1], (chains, n)).copy()
    for rows in blocks(n):
        some = points.block(rows)
        _, pivots, white = some.factored(moments)
        labels[:, rows] = _labels(some.log_joint(state.weights, pivots, white), rng)
        chain, row = np.nonzero(np.broadcast_to(some.upper, labels[:, rows].shape))
        if not len(row):
            continue
        own = (chain, labels[chain, rows.start + row], row)
        below, sd = white[-1][own], np.sqrt(pivots[-1][own])  # the limit minus the mean of y given x
        log_uniform = np.log(rng.random(len(row)))
        y[chain, rows.start + row] += (
            sd * special.ndtri_exp(log_uniform + special.log_ndtr(below / sd)) - below
        )
    return labels, y


def _labels(log_joint: Array, rng: np.random.Generator) -> Array:
    """A component for every row, from log weight times density (C, K, n), which is overwritten."""
    chains, k, n = log_joint.shape
    labels = np.zeros((chains, n), dtype=np.intp)
    if k == 1:
        return labels
    log_joint -= log_joint.max(axis=1, keepdims=True)
    joint = np.exp(log_joint, out=log_joint)
    for component in range(1, k):  # np.cumsum along this axis takes ten times longer
        joint[:, component] += joint[:, component - 1]
    threshold = rng.random((chains, n)) * joint[:, -1]
    for component in range(k - 1):
        labels += threshold > joint[:, component]
    return labels


def true_covariates(rows: Rows, moments: Moments, rng: np.random.Generator) -> Array:
    """xi given x, y, the component and the line: (C, n, d).

    With A = T_k G', xi ~ N(mu_k + A q, T_k - A K A'); see `gibbs_collapsed` for q and K.
    """
    q, K, _ = rows.inverse(moments)
    d = len(q) - 1
    # A is cov(xi, z): the rows of B_k that belong to x.
    A = [[rows.own(moments.cov[:, :, i, j]) for j in range(d + 1)] for i in range(d)]
    AK = [
        [sum(A[i][m] * (K[m][j] if j <= m else K[j][m]) for m in range(d + 1)) for j in range(d + 1)]
        for i in range(d)
    ]
    cov = [[A[i][j] - sum(AK[i][m] * A[j][m] for m in range(d + 1)) for j in range(i + 1)] for i in range(d)]
    lower, pivots = _semidefinite_ldl(cov, [A[i][i] for i in range(d)])
    noise = [np.sqrt(pivot) * rng.standard_normal(pivot.shape) for pivot in pivots]
    xi = np.empty((*rows.labels.shape, d))
    for i in range(d):
        value = rows.own(moments.mean[:, :, i]) + sum(A[i][m] * q[m] for m in range(d + 1)) + noise[i]
        for j in range(i):
            value = value + lower[i][j] * noise[j]
        xi[..., i] = value
    return xi


def _semidefinite_ldl(matrix: list[list[Array]], scale: list[Array]) -> tuple[list[list[Array]], list[Array]]:
    """L D L' where a feature may be known exactly: its pivot is zero, and so is its column of L."""
    if len(matrix) == 1:
        return [[]], [np.maximum(matrix[0][0], 0)]
    tiny = [1e-14 * size for size in scale]
    lifted = [
        [np.maximum(value, 0) + tiny[i] if j == i else value for j, value in enumerate(row)]
        for i, row in enumerate(matrix)
    ]
    lower, pivots = ldl(lifted)
    exact = [pivot <= 10 * least for pivot, least in zip(pivots, tiny)]
    lower = [[np.where(exact[j], 0, value) for j, value in enumerate(row)] for row in lower]
    return lower, [np.where(none, 0, pivot) for none, pivot in zip(exact, pivots)]


def mixture(
    xi: Array, rows: Rows, mu: Array, log_inverse_a: Array, prior: FullPrior, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Means and covariances of the components, and log(1/a), given the true covariates and the labels."""
    chains, k, d = mu.shape
    belongs = rows.belongs
    counts = belongs.sum(axis=2)
    # About the old means, so that narrow components lose no digits.
    gap = xi - np.take_along_axis(mu, rows.labels[..., None], axis=1)
    sums = np.matmul(belongs, gap)
    products = (gap[..., :, None] * gap[..., None, :]).reshape(chains, -1, d * d)
    scatter = np.matmul(belongs, products).reshape(chains, k, d, d)
    sums += counts[..., None] * mu
    # T given mu: inverse-Wishart, by Bartlett's triangle B: T = (C B^-T)(C B^-T)', C C' its scale matrix.
    nu = prior.width_df
    inverse_a = np.exp(log_inverse_a)
    scale = scatter + 2 * nu * inverse_a[:, None, :, None] * np.eye(d)
    covs, precisions = inverse_wishart(scale, counts + nu + d - 1, rng)
    # mu given T
    prior_precision = np.linalg.inv(prior.center_cov)
    total = prior_precision + counts[..., None, None] * precisions
    pull = prior_precision @ prior.center + np.einsum("ckij,ckj->cki", precisions, sums)
    factor = np.linalg.cholesky(total)
    mean = np.linalg.solve(total, pull[..., None])
    jump = np.linalg.solve(np.swapaxes(factor, 2, 3), rng.standard_normal((chains, k, d, 1)))
    rate = prior.width**-2.0 + nu * np.einsum("ckii->ci", precisions)
    inverse_a = rng.standard_gamma(0.5 * (1 + k * (nu + d - 1)), (chains, d)) / rate
    return (mean + jump)[..., 0], covs, np.log(np.maximum(inverse_a, 1e-300))


def inverse_wishart(scale: Array, df: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draws with these scale matrices (..., d, d) and degrees of freedom (...), and their inverses."""
    d = scale.shape[-1]
    factor = np.linalg.cholesky(scale)
    triangle = np.zeros(scale.shape)
    for i in range(d):
        triangle[..., i, i] = np.sqrt(2 * rng.standard_gamma(0.5 * (df - i)))
        for j in range(i):
            triangle[..., i, j] = rng.standard_normal(df.shape)
    root = np.linalg.solve(triangle, np.swapaxes(factor, -1, -2))  # (C B^-T)'
    inverse_root = np.linalg.solve(factor, np.broadcast_to(np.eye(d), factor.shape))
    inverse_root = np.matmul(np.swapaxes(triangle, -1, -2), inverse_root)
    return (
        np.matmul(np.swapaxes(root, -1, -2), root),
        np.matmul(np.swapaxes(inverse_root, -1, -2), inverse_root),
    )


def first_state(
    points: Points, prior: FullPrior, line: tuple[Array, Array], components: int, rng: np.random.Generator
) -> State:
    """Starting points spread wider than the posterior, one for each chain.

    Parameters
    ----------
    line : (array (C, p), array (C,))
        Rough parameters and sigma.
    """
    params, sigma = line
    x = points.z[:-1]
    chains, (d, batch, n) = len(params), x.shape
    which = np.broadcast_to(np.arange(batch), (chains,)) if batch > 1 else np.zeros(chains, int)
    rows = rng.integers(n, size=(chains, components))
    spread = x.var(axis=2) + 1e-6 * prior.width[:, None] ** 2
    widths = spread[:, which].T[:, None] * rng.uniform(0.3, 1, (chains, components, d))
    centers = np.moveaxis(x[:, which[:, None], rows], 0, -1)
    return State(
        params,
        np.maximum(sigma, 1e-6 * prior.scatter_scale) ** 2,
        np.full((chains, components), 1 / components),
        centers,
        widths[..., None] * np.eye(d),
        np.broadcast_to(-2 * np.log(prior.width), (chains, d)),
    )
