"""Simulation-based calibration (Talts et al. 2018) of the conjugate posterior.

A parameter is drawn from the prior, data from the parameter; the rank of the truth
in its posterior must be uniform. 2,000 simulations in 20 bins; the same test must
reject errors misstated by 20 %.
"""

import numpy as np
import pytest
from scipy import stats

from statml.regression import BayesianLinearRegression

SIMULATIONS, BINS = 2000, 20


def uniformity(u):
    counts = np.histogram(u, bins=BINS, range=(0, 1))[0]
    return stats.chisquare(counts).pvalue


def posterior_ranks(misstated, seed=0, n=30):
    """Ranks F(truth) of one random linear function of the parameters in each simulation."""
    rng = np.random.default_rng(seed)
    prior_cov = np.array([[4.0, 0.5, 0.0], [0.5, 1.0, 0.3], [0.0, 0.3, 0.5]])
    model = BayesianLinearRegression(prior_cov=prior_cov, prior_mean=[1.0, 0.0, -1.0], scatter=0.4)
    ranks = np.empty(SIMULATIONS)
    for i in range(SIMULATIONS):
        X, err = rng.normal(size=(n, 2)), rng.uniform(0.5, 2.0, n)
        truth = rng.multivariate_normal([1.0, 0.0, -1.0], prior_cov)
        y = truth[0] + X @ truth[1:] + np.hypot(err, 0.4) * rng.normal(size=n)
        model.fit(X, y, y_err=misstated * err)
        direction = rng.normal(size=3)
        gap = direction @ (truth - model.params_)
        ranks[i] = stats.norm.cdf(gap / np.sqrt(direction @ model.params_cov_ @ direction))
    return ranks


def test_conjugate_posterior_is_calibrated():
    assert uniformity(posterior_ranks(1.0)) > 1e-3


@pytest.mark.parametrize("misstated", [0.8, 1.25])
def test_misstated_errors_are_rejected(misstated):
    assert uniformity(posterior_ranks(misstated)) < 1e-3


def predictive_ranks(n, p, seed=0, simulations=SIMULATIONS):
    """Ranks of a new true y, where prior width and scatter were chosen by the evidence."""
    rng = np.random.default_rng(seed)
    ranks = np.empty(simulations)
    model = BayesianLinearRegression()
    for i in range(simulations):
        X, new = rng.normal(size=(n, p)), rng.normal(size=(1, p))
        err = rng.uniform(0.2, 0.6, n)
        beta = rng.normal(size=p)
        y = 2.0 + X @ beta + np.hypot(err, 0.5) * rng.normal(size=n)
        truth = 2.0 + new[0] @ beta + 0.5 * rng.normal()
        ranks[i] = model.fit(X, y, y_err=err).predict_dist(new).cdf(truth)[0]
    return ranks


@pytest.mark.slow
def test_evidence_fitted_prior_is_calibrated_from_twenty_rows_a_parameter():
    assert uniformity(predictive_ranks(n=120, p=5)) > 1e-3


@pytest.mark.slow
def test_evidence_fitted_prior_is_narrow_with_four_rows_a_parameter(record_property):
    """The documented weakness: with n = 20, p = 5 the ranks are not uniform, and 68 % cover a little less."""
    ranks = predictive_ranks(n=20, p=5)
    covered = np.mean(np.abs(ranks - 0.5) < 0.34)
    record_property("p_value", float(uniformity(ranks)))
    record_property("covered_68", float(covered))
    print(f"n=20 p=5: p={uniformity(ranks):.1e}, 68% intervals cover {covered:.1%}")
    assert 0.60 < covered < 0.68
    assert uniformity(ranks) < 1e-3  # the note in the class says so; when this passes, take the note away
