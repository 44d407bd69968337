"""Do Kelly's intervals hold: coverage of the true slope, and simulation-based calibration.

Thousands of data sets are sampled together, one chain each, by the same `sample` that
`Kelly.fit` calls; `test_kelly_posterior` holds that this is as each alone.

Chances of a false alarm: coverage, 2e-3 for each (binomial, exact); calibration, 1e-3
for all parameters together (Bonferroni).
"""

import functools

import numpy as np
import pytest
from scipy import stats

from statml.regression.errors_in_variables import gibbs
from statml.regression.errors_in_variables.gibbs import first_state, inverse_wishart, sample
from statml.regression.errors_in_variables.kelly_model import Points
from statml.regression.errors_in_variables.kelly_prior import FullPrior
from statml.uncertainty.simulation import rank_uniformity


def draws_of(X, y, E, upper, prior, k, *, warmup, draws, thin, seed):
    """One chain for each data set: X (S, n, d), y (S, n), E (S, n, d + 1, d + 1), upper (S, n)."""
    rng = np.random.default_rng(seed)
    d = X.shape[2]
    points = Points.of(X, y, E[..., :d, :d], E[..., :d, d], E[..., d, d], upper)
    line = prior.line_mean + 0.3 * rng.normal(size=(len(X), d + 1))
    state = first_state(points, prior, (line, np.full(len(X), 0.5)), k, rng)
    return sample(points, prior, state, warmup=warmup, draws=draws, thin=thin, rng=rng)


# -- coverage of the true slope ------------------------------------------------------------


def accepted(simulations, level=0.95, chance=1e-3):
    """Bounds of the covered fraction that a correct interval leaves with probability 2 * chance."""
    return stats.binom.ppf([chance, 1 - chance], simulations, level) / simulations


def default_prior(d):
    """That of `Kelly` for rows of mean 0 and spread 1."""
    p = d + 1
    return FullPrior(np.zeros(p), np.zeros((p, p)), 1.0, 1.0, 1.0, np.zeros(d), np.eye(d), np.ones(d), 2.0)


def simulate(simulations, n, d, rho, seed, scatter=0.6):
    """Rows of reliability 0.7 with scatter; the errors of x and y have correlation rho."""
    rng = np.random.default_rng(seed)
    slopes = np.array([2.0, -1.0])[:d]
    xi = rng.normal(0, 1, (simulations, n, d))
    sx = np.sqrt(0.3 / 0.7) * rng.uniform(0.7, 1.3, (simulations, n, d)) / np.sqrt(1.03)
    sy = 0.5 * rng.uniform(0.7, 1.3, (simulations, n))
    z = rng.normal(size=(simulations, n, d + 1))
    y = 1 + xi @ slopes + scatter * rng.normal(size=(simulations, n))
    y += sy * (rho * z[..., 0] + np.sqrt(1 - rho**2) * z[..., -1])
    E = np.zeros((simulations, n, d + 1, d + 1))
    for j in range(d):
        E[..., j, j] = sx[..., j] ** 2
    E[..., d, d] = sy**2
    E[..., 0, d] = E[..., d, 0] = rho * sx[..., 0] * sy
    return xi + sx * z[..., :d], y, E, slopes


def scaled(X, y, E):
    """Every data set in units of its own spread, as `Kelly.fit` does it."""
    shift, scale = X.mean(axis=1, keepdims=True), X.std(axis=1, keepdims=True)
    y_shift, y_scale = y.mean(axis=1, keepdims=True), y.std(axis=1, keepdims=True)
    size = np.concatenate([scale[:, 0], y_scale], axis=1)[:, None]
    return (X - shift) / scale, (y - y_shift) / y_scale, E / (size[..., :, None] * size[..., None, :])


def covered(simulations, n, d, rho, seed):
    """Fractions of the 95 % intervals of all slopes that hold the truth: Kelly's, least squares', and mean slopes."""
    X, y, E, truth = simulate(simulations, n, d, rho, seed)
    none = np.zeros(y.shape, bool)
    found = draws_of(
        *scaled(X, y, E), none, default_prior(d), 2, warmup=150, draws=150, thin=3, seed=seed + 1
    )
    back = y.std(axis=1)[:, None, None] / X.std(axis=1)[:, None]
    slopes = found.params[..., 1:] * back
    low, high = np.quantile(slopes, [0.025, 0.975], axis=1)
    A = np.concatenate([np.ones((*y.shape, 1)), X], axis=2)
    inverse = np.linalg.inv(np.swapaxes(A, 1, 2) @ A)
    theta = np.einsum("sij,skj,sk->si", inverse, A, y)
    variance = np.sum((y - np.einsum("skj,sj->sk", A, theta)) ** 2, axis=1) / (n - d - 1)
    error = np.sqrt(variance[:, None] * np.einsum("sii->si", inverse)[:, 1:])
    by_kelly = np.mean((low < truth) & (truth < high), axis=0)
    ordinary = np.mean(np.abs(theta[:, 1:] - truth) < 1.96 * error, axis=0)
    return by_kelly, ordinary, np.median(slopes, axis=(0, 1)), theta[:, 1:].mean(axis=0)


@pytest.mark.parametrize("rho", [pytest.param(0.0, marks=pytest.mark.slow), 0.7])
def test_the_true_slope_is_covered(rho, record_property):
    simulations = 100
    kelly, ordinary, median, attenuated = covered(simulations, 60, 1, rho, seed=11)
    record_property("coverage", float(kelly[0]))
    low, high = accepted(simulations)
    assert low <= kelly[0] <= high
    assert ordinary[0] < 0.5 and attenuated[0] < 1.8
    assert abs(median[0] - 2) < 0.1


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("n", "d", "rho"), [(50, 1, 0.0), (100, 1, 0.0), (60, 1, 0.7), (80, 2, 0.0), (80, 2, 0.5)]
)
def test_the_true_slope_is_covered_in_500_simulations(n, d, rho, record_property):
    kelly, ordinary, median, attenuated = covered(500, n, d, rho, seed=5)
    record_property("coverage", kelly.tolist())
    print(f"n={n} d={d} rho={rho}: Kelly {kelly}, least squares {ordinary}, slopes {median} and {attenuated}")
    assert np.all((kelly >= 0.92) & (kelly <= 0.98))
    assert np.all(ordinary < 0.8)


# -- upper limits ----------------------------------------------------------------------------


def test_upper_limits_leave_the_slope_unbiased_where_dropping_them_does_not():
    """30 % of y are limits; the mean of 24 posterior medians, within 3.3 standard errors of the truth.

    Many rows, because the posterior of a slope is skewed: with 100 rows the average of
    many fits is 2.08 where all y are measured, and 2.11 with limits.
    """
    simulations, n = 24, 800
    X, y, E, truth = simulate(simulations, n, 1, 0.0, seed=21, scatter=1.5)
    threshold = np.quantile(y, 0.3, axis=1, keepdims=True)
    upper = y < threshold
    limited = np.where(upper, threshold, y)
    prior = default_prior(1)

    def slopes(X, y, E, upper):
        found = draws_of(*scaled(X, y, E), upper, prior, 2, warmup=100, draws=100, thin=2, seed=22)
        return np.median(found.params[..., 1], axis=1) * y.std(axis=1) / X.std(axis=1)[:, 0]

    with_limits = slopes(X, limited, E, upper)
    assert abs(with_limits.mean() - truth[0]) < 3.3 * with_limits.std() / np.sqrt(simulations)
    rows = np.argsort(upper, axis=1, kind="stable")[:, : int(np.sum(~upper[0]))]
    kept = (np.arange(simulations)[:, None], rows)
    dropped = slopes(X[kept], y[kept], E[kept], upper[kept])
    assert dropped.mean() < truth[0] - 5 * dropped.std() / np.sqrt(simulations)


# -- simulation-based calibration ------------------------------------------------------------

K = 2


def explicit_prior(d):
    return FullPrior(
        np.arange(d + 1.0),
        np.diag(np.array([1.0] + [0.5] * d) ** -2),
        0.5,
        3.0,
        2.0,
        np.zeros(d),
        np.eye(d),
        np.ones(d),
        2.0,
    )


def from_the_prior(simulations, n, d, *, limits, tails, rng):
    """Data sets with their true parameters; Student t scatter with `tails` degrees of freedom is misspecified."""
    prior = explicit_prior(d)
    S = simulations
    theta = prior.line_mean + rng.normal(size=(S, d + 1)) / np.sqrt(np.diag(prior.line_precision))
    sigma = prior.scatter_scale * np.abs(rng.standard_t(prior.scatter_df, S))
    weights = rng.dirichlet(np.full(K, prior.concentration), S)
    mu = rng.normal(size=(S, K, d))
    inverse_a = rng.standard_gamma(0.5, (S, d))
    scale = 2 * prior.width_df * inverse_a[:, None, :, None] * np.eye(d)
    T = inverse_wishart(np.broadcast_to(scale, (S, K, d, d)), np.full((S, K), prior.width_df + d - 1), rng)[0]
    labels = np.sum(rng.random((S, n, 1)) > np.cumsum(weights, axis=1)[:, None, :-1], axis=2)
    factor = np.take_along_axis(np.linalg.cholesky(T), labels[..., None, None], axis=1)
    xi = np.take_along_axis(mu, labels[..., None], axis=1)
    xi = xi + np.einsum("snij,snj->sni", factor, rng.normal(size=(S, n, d)))
    scatter = rng.normal(size=(S, n)) if tails is None else rng.standard_t(tails, (S, n))
    eta = theta[:, :1] + np.einsum("sni,si->sn", xi, theta[:, 1:]) + sigma[:, None] * scatter
    A = 0.6 * rng.uniform(0.5, 1.5, (S, n, 1, 1)) * np.eye(d + 1)
    A[..., d, :d] = 0.3
    z = np.concatenate([xi, eta[..., None]], axis=2)
    z = z + np.einsum("snij,snj->sni", A, rng.normal(size=z.shape))
    y, upper = z[..., d], np.zeros((S, n), bool)
    if limits:
        limit = rng.normal(0, 1.5, (S, n))
        upper = y < limit
        y = np.where(upper, limit, y)
    mean = np.einsum("sk,ski->si", weights, mu)
    gap = mu - mean[:, None]
    variance = np.einsum("sk,skii->si", weights, T) + np.einsum("sk,ski->si", weights, gap**2)
    truth = np.concatenate([theta, sigma[:, None], mean, variance], axis=1)
    return z[..., :d], y, A @ np.swapaxes(A, -1, -2), upper, truth


@functools.cache
def ranks(simulations, n=25, d=1, limits=False, misstated=1.0, tails=None, seed=0, draws=63, thin=8):
    """Ranks (S, k) of line, sigma, and of mean and variance of the true covariates."""
    rng = np.random.default_rng(seed)
    X, y, E, upper, truth = from_the_prior(simulations, n, d, limits=limits, tails=tails, rng=rng)
    found = draws_of(
        X, y, misstated**2 * E, upper, explicit_prior(d), K, warmup=200, draws=draws, thin=thin, seed=seed + 1
    )
    mean, cov = found.covariate_moments()
    values = np.concatenate(
        [found.params, found.scatter[..., None], mean, np.einsum("smii->smi", cov)], axis=2
    )
    below = np.sum(values < truth[:, None], axis=1)
    return (below + rng.random(below.shape)) / (draws + 1)


def calibrated(u):
    """No parameter rejected at 1e-3 for all together, 20 bins."""
    return bool(np.all(rank_uniformity(u) > 1e-3 / u.shape[1]))


def test_the_posterior_is_calibrated():
    assert calibrated(ranks(200, draws=49, thin=6))


def test_the_posterior_is_calibrated_where_rows_are_many(monkeypatch):
    """With the sparser iteration that data sets of thousands of rows get, here for 30."""
    monkeypatch.setattr(gibbs, "MANY_ROWS", 0)
    assert calibrated(ranks(120, n=30, draws=49, thin=9, seed=7))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("d", "limits"), [(1, False), (1, True), (2, False)])
def test_the_posterior_is_calibrated_in_2000_simulations(d, limits):
    u = ranks(2000, d=d, limits=limits)
    print(f"d={d} limits={limits}: p = {rank_uniformity(u)}")
    assert calibrated(u)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("misstated", [0.8, 1.2])
def test_errors_misstated_by_20_percent_are_rejected(misstated):
    u = ranks(2000, misstated=misstated)
    print(f"errors times {misstated}: p = {rank_uniformity(u)}")
    assert not calibrated(u)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_misspecified_model_is_rejected():
    """Scatter with Cauchy tails."""
    u = ranks(2000, tails=1.0)
    print(f"Cauchy scatter: p = {rank_uniformity(u)}")
    assert not calibrated(u)
