"""Proposals of whole states: their density from scipy's distributions, their draws beside plain Gibbs sampling."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from statml.regression import KellyPrior
from statml.regression.errors_in_variables import gibbs
from statml.regression.errors_in_variables.gibbs_collapsed import Layout
from statml.regression.errors_in_variables.gibbs_independent import Independent, _pack, _unpack
from statml.regression.errors_in_variables.kelly_model import Moments, Points
from statml.regression.errors_in_variables.kelly_prior import fill_prior
from statml.sampling.diagnostics import mcse


def simulated(n, d=1, seed=0, limits=False):
    """Two populations of true x on one line."""
    rng = np.random.default_rng(seed)
    xi = np.where(rng.random(n) < 0.4, -1.5, 1.0)[:, None] + 0.5 * rng.normal(size=(n, d))
    X = xi + 0.3 * rng.normal(size=(n, d))
    y = 0.5 + xi.sum(axis=1) + 0.4 * rng.normal(size=n) + 0.3 * rng.normal(size=n)
    errors = np.broadcast_to(0.09 * np.eye(d), (n, d, d)), np.zeros((n, d)), np.full(n, 0.09)
    upper = y < np.quantile(y, 0.2) if limits else np.zeros(n, bool)
    return Points.of(X, np.where(upper, np.quantile(y, 0.2), y), *errors, upper), X, y


def coordinates(layout, psi):
    """What the priors are densities of: line, log sigma, weights but the last, means and covariances."""
    (params, sigma2, weights, centers, covs), _ = _unpack(layout, psi[None])
    lower = np.tril_indices(layout.d)
    parts = [params[0], 0.5 * np.log(sigma2), weights[0, :-1], centers[0].ravel()]
    return np.concatenate([*parts, *(cov[lower] for cov in covs[0])])


@pytest.mark.parametrize("d", [1, 2])
def test_log_density_is_that_of_likelihood_priors_and_jacobian(d):
    points, X, y = simulated(30, d, limits=True)
    p, k = d + 1, 2
    given = KellyPrior(line_mean=np.ones(p), line_cov=2 * np.eye(p), concentration=1.7, width_df=3.0)
    prior = fill_prior(given, X, y, p)
    layout = Layout(p, d, k, np.array([0.3]))
    size = layout.shared + k * layout.each + k - 1
    jumps = Independent(points, prior, layout, np.zeros(size), np.eye(size))
    inverse_a = np.linspace(0.7, 1.1, d)
    rng = np.random.default_rng(1)

    def expected(psi):
        (params, sigma2, weights, centers, covs), _ = _unpack(layout, psi[None])
        total = points.log_likelihood(weights, Moments.of(params, sigma2, centers, covs, True))[0]
        total += stats.multivariate_normal.logpdf(params[0], prior.line_mean, 2 * np.eye(p))
        sigma = np.sqrt(sigma2[0])
        total += stats.t.logpdf(sigma / prior.scatter_scale, prior.scatter_df) + np.log(sigma)
        total += stats.dirichlet.logpdf(weights[0], [1.7, 1.7])
        scale = 2 * prior.width_df * np.diag(inverse_a)
        for mu, T in zip(centers[0], covs[0]):
            total += stats.multivariate_normal.logpdf(mu, prior.center, prior.center_cov)
            total += stats.invwishart.logpdf(T, prior.width_df + d - 1, scale)
        steps = 1e-5 * np.eye(size)
        slopes = [(coordinates(layout, psi + h) - coordinates(layout, psi - h)) / 2e-5 for h in steps]
        return total + np.linalg.slogdet(slopes)[1]

    found, reference = [], []
    while len(found) < 4:
        psi = 0.3 * rng.normal(size=size)
        (_, sigma2, _, centers, _), _ = _unpack(layout, psi[None])
        log_density = jumps._log_posterior(psi[None], inverse_a[None])[0]
        if sigma2[0] <= 0 or centers[0, 1, 0] <= centers[0, 0, 0]:
            assert log_density == -np.inf
            continue
        found.append(log_density)
        reference.append(expected(psi))
    # Constants are left out: differences are compared.
    assert_allclose(np.diff(found), np.diff(reference), rtol=1e-6, atol=1e-6)


def test_packing_and_unpacking_are_inverse():
    rng = np.random.default_rng(3)
    layout = Layout(3, 2, 3, np.full(5, 0.4))
    factor = np.tril(rng.normal(size=(5, 3, 2, 2))) + 2 * np.eye(2)
    factor[..., 0, 0] = np.abs(factor[..., 0, 0]) + 0.1
    factor[..., 1, 1] = np.abs(factor[..., 1, 1]) + 0.1
    parts = (
        rng.normal(size=(5, 3)),
        rng.uniform(0.1, 2, 5),
        rng.dirichlet(np.ones(3), 5),
        rng.normal(size=(5, 3, 2)),
        factor @ np.swapaxes(factor, 2, 3),
    )
    for value, back in zip(parts, _unpack(layout, _pack(layout, parts))[0]):
        assert_allclose(back, value, rtol=1e-10)


@pytest.mark.parametrize("limits", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_draws_are_those_of_plain_gibbs_sampling(limits, monkeypatch):
    """Posterior means within 4 joint Monte Carlo errors: a chance of 6e-5 each to fail while true."""
    points, X, y = simulated(80, limits=limits)
    prior = fill_prior(KellyPrior(), X, y, 2)

    def draws(many_rows):
        rng = np.random.default_rng(5)
        monkeypatch.setattr(gibbs, "MANY_ROWS", many_rows)
        line = np.tile([0.5, 1.0], (10, 1)) + 0.1 * rng.normal(size=(10, 2))
        start = gibbs.first_state(points, prior, (line, np.full(10, 0.5)), 2, rng)
        found = gibbs.sample(points, prior, start, warmup=200, draws=250, thin=1, rng=rng)
        mean, cov = found.covariate_moments()
        widest = found.covs[..., 0, 0].max(axis=2)
        values = [found.params[..., 0], found.params[..., 1], np.log(found.scatter), mean[..., 0]]
        return [*values, np.log(cov[..., 0, 0]), np.log(widest), found.weights.max(axis=2)]

    used = []
    original = Independent.steps

    def counted(self, *args):
        parts, share = original(self, *args)
        used.append(share)
        return parts, share

    monkeypatch.setattr(Independent, "steps", counted)
    with_jumps = draws(0)
    assert len(used) > 200 and np.mean(used) > 0.2
    used.clear()
    plain = draws(10**9)
    assert not used
    for ours, theirs in zip(with_jumps, plain):
        gap = abs(ours.mean() - theirs.mean())
        assert gap < 4 * np.hypot(float(mcse(ours)), float(mcse(theirs)))


def test_few_or_flat_draws_give_no_proposal():
    points, X, y = simulated(20)
    prior = fill_prior(KellyPrior(), X, y, 2)
    rng = np.random.default_rng(0)
    start = gibbs.first_state(points, prior, (np.ones((4, 2)), np.ones(4)), 1, rng)
    layout = Layout(2, 1, 1, start.sigma2)
    assert Independent.of(points, prior, layout, []) is None
    assert Independent.of(points, prior, layout, [start.parts]) is None
    assert Independent.of(points, prior, layout, 100 * [start.parts]) is None
