"""Samplers beside emcee and PyMC: the same distribution, equally fast in steps.

Errors of autocorrelation times and means are Monte Carlo errors over repeated runs, and
tolerances four or more of them; seeds are fixed.
"""

import logging
import warnings

import emcee
import numpy as np
import pytest
from numpy.testing import assert_allclose

from statml.sampling import NUTS, Ensemble, ValueAndGradient, sample
from statml.sampling.diagnostics import autocorrelation_time, ess

WALKERS, STEPS = 32, 12_000


def log_prob(x):
    """A correlated normal in three dimensions with one heavy tail."""
    a, b, c = x[..., 0], x[..., 1], x[..., 2]
    return -0.5 * (a**2 + ((b - 2 * a) / 0.3) ** 2) - 2.5 * np.log1p(c**2 / 4)


@pytest.fixture(scope="module", params=["stretch", "differential"])
def runs(request):
    move = request.param
    start = np.random.default_rng(0).normal(size=(WALKERS, 3))
    ours = sample(log_prob, start, sampler=Ensemble(move=move), draws=STEPS, warmup=1000, rng=1)
    moves = {"stretch": emcee.moves.StretchMove(), "differential": emcee.moves.DEMove()}
    peer = emcee.EnsembleSampler(WALKERS, 3, log_prob, vectorize=True, moves=moves[move])
    peer.random_state = np.random.RandomState(3).get_state()
    peer.run_mcmc(start, STEPS + 1000)
    return ours, peer, move


def test_ensembles_draw_the_same(runs):
    ours, peer, _ = runs
    theirs = peer.get_chain(discard=1000)
    tau = emcee.autocorr.integrated_time(theirs)
    effective = theirs.shape[0] * WALKERS / tau
    flat = theirs.reshape(-1, 3)
    error = np.sqrt(ours.flat.var(axis=0) / ours.ess() + flat.var(axis=0) / effective)
    assert np.max(np.abs(ours.flat.mean(axis=0) - flat.mean(axis=0)) / error) < 4
    assert_allclose(ours.flat[:, :2].std(axis=0), flat[:, :2].std(axis=0), rtol=0.08)


def test_autocorrelation_times_agree(runs):
    """One estimator on one chain to rounding; two runs of one move within their scatter, a tenth or so."""
    ours, peer, move = runs
    swapped = np.swapaxes(ours.draws, 0, 1)
    assert_allclose(autocorrelation_time(ours.draws), emcee.autocorr.integrated_time(swapped), rtol=1e-6)
    theirs = emcee.autocorr.integrated_time(peer.get_chain(discard=1000))
    if move == "stretch":  # emcee's differential step has another length, and another share of jumps
        assert_allclose(ours.autocorrelation_time(), theirs, rtol=0.3)
        assert abs(ours.acceptance - np.mean(peer.acceptance_fraction)) < 0.01


@pytest.mark.slow
def test_nuts_takes_the_steps_of_pymc():
    """Tree sizes and effective draws per draw on a curved target agree within the scatter of step lengths."""
    pm = pytest.importorskip("pymc")
    logging.getLogger("pymc").setLevel(logging.ERROR)

    def both(x):
        residual = (x[..., 1] - 0.5 * x[..., 0] ** 2) / 0.36
        value = -0.5 * x[..., 0] ** 2 - 0.18 * residual**2
        return value, np.stack([-x[..., 0] + residual * x[..., 0], -residual], axis=-1)

    start = np.random.default_rng(2).normal(size=(16, 2))
    chain = sample(ValueAndGradient(both), start, sampler=NUTS(), draws=1000, warmup=1000, rng=1)
    with warnings.catch_warnings(), pm.Model():
        warnings.simplefilter("ignore")
        x = pm.Normal("x", 0, 1)
        pm.Normal("y", 0.5 * x**2, 0.6)
        trace = pm.sample(
            1000,
            tune=1000,
            chains=16,
            cores=1,
            progressbar=False,
            random_seed=1,
            compute_convergence_checks=False,
        )
    theirs = np.stack([trace.posterior["x"].values, trace.posterior["y"].values], axis=-1)
    assert_allclose(chain.ess() / ess(theirs), 1.0, atol=0.5)
    assert 0.7 < chain.statistics["n_steps"].mean() / trace.sample_stats["n_steps"].values.mean() < 1.4
