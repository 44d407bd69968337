"""Simulation-based calibration (Talts et al. 2018) of the conjugate posteriors.

Parameters are drawn from the prior, data from the parameters; the rank of every truth
in its posterior must be uniform: 2,000 simulations, 20 bins, chi-square, error rate
1e-3 for all parameters of a model together (Bonferroni). 68 and 95 % intervals of
predictions cover within 3 binomial sigma. The same test must reject errors misstated
by 20 %, a curved truth and heavy tails.

The full runs are marked slow; the normal suite runs a quarter of the simulations.
"""

import numpy as np
import pytest
from scipy import stats

from statml.regression import BayesianLinearRegression, NormalInverseGammaRegression
from statml.uncertainty import rank_uniformity, simulation_report

SIMULATIONS = [pytest.param(500, id="quick"), pytest.param(2000, id="full", marks=pytest.mark.slow)]
simulated = pytest.mark.parametrize("simulations", SIMULATIONS)
N = 30
MEAN = np.array([1.0, 0.0, -1.0])
COV = np.array([[4.0, 0.5, 0.0], [0.5, 1.0, 0.3], [0.0, 0.3, 0.5]])
NAMES = ["intercept", "slope 0", "slope 1"]


def plain(rng, y_true, X, err):
    """Normal errors around the true y."""
    return y_true + err * rng.normal(size=len(X))


def curved(rng, y_true, X, err):
    """A truth with a quadratic term that the model does not have."""
    return y_true + 0.7 * X[:, 0] ** 2 + err * rng.normal(size=len(X))


def heavy(rng, y_true, X, err):
    """Errors with the stated variance, but Student-t with 2.2 degrees of freedom."""
    return y_true + err * rng.standard_t(2.2, len(X)) * np.sqrt(0.2 / 2.2)


def covers(ranks):
    """Central 68 and 95 % intervals within 3 binomial sigma."""
    return all(
        abs(np.mean(np.abs(ranks - 0.5) < level / 2) - level) < 3 * np.sqrt(level * (1 - level) / len(ranks))
        for level in (0.68, 0.95)
    )


def normal_ranks(simulations, truth=plain, misstated=1.0, seed=0):
    """Ranks of all parameters (S, 3), of a new observed y and of a new true y (S,)."""
    rng = np.random.default_rng(seed)
    model = BayesianLinearRegression(prior_cov=COV, prior_mean=MEAN, scatter=0.4)
    ranks, observed, true = np.empty((simulations, 3)), np.empty(simulations), np.empty(simulations)
    for i in range(simulations):
        X, err = rng.normal(size=(N + 1, 2)), rng.uniform(0.5, 2.0, N + 1)
        params = rng.multivariate_normal(MEAN, COV)
        y_true = params[0] + X @ params[1:] + 0.4 * rng.normal(size=N + 1)
        y = truth(rng, y_true, X, err)
        model.fit(X[:N], y[:N], y_err=misstated * err[:N])
        ranks[i] = stats.norm.cdf(params, model.params_, np.sqrt(np.diag(model.params_cov_)))
        observed[i] = model.predict_dist(X[N:], y_err=misstated * err[N:]).cdf(y[N:])[0]
        true[i] = model.predict_dist(X[N:]).cdf(y_true[N:])[0]
    return ranks, observed, true


def conjugate_ranks(simulations, truth=plain, misstated=1.0, seed=0):
    """The same for parameters and sigma^2 (S, 4) of the normal-inverse-gamma model."""
    rng = np.random.default_rng(seed)
    model = NormalInverseGammaRegression(prior_cov=COV, prior_mean=MEAN, noise_df=6.0, noise_scale=0.8)
    noise_prior = stats.invgamma(3.0, scale=3.0 * 0.64)
    ranks, observed, true = np.empty((simulations, 4)), np.empty(simulations), np.empty(simulations)
    for i in range(simulations):
        X, err = rng.normal(size=(N + 1, 2)), rng.uniform(0.5, 2.0, N + 1)
        noise = noise_prior.rvs(random_state=rng)
        params = rng.multivariate_normal(MEAN, noise * COV)
        y_true = params[0] + X @ params[1:]
        y = truth(rng, y_true, X, np.sqrt(noise) * err)
        given = err * misstated
        model.fit(X[:N], y[:N], y_err=given[:N])
        posterior = model.params_posterior()
        ranks[i] = *posterior.cdf(params), model.noise_posterior().cdf(noise)
        observed[i] = model.predict_dist(X[N:], y_err=given[N:]).cdf(y[N:])[0]
        true[i] = model.predict_dist(X[N:]).cdf(y_true[N:])[0]
    return ranks, observed, true


MODELS = [
    pytest.param(normal_ranks, NAMES, id="normal"),
    pytest.param(conjugate_ranks, [*NAMES, "noise variance"], id="normal-inverse-gamma"),
]


@simulated
@pytest.mark.parametrize("ranks_of, names", MODELS)
def test_all_parameters_and_predictions_are_calibrated(ranks_of, names, simulations, record_property):
    ranks, observed, true = ranks_of(simulations)
    report = simulation_report(ranks, names)
    for name, p_value in zip(names, report.p_values):
        record_property(name, float(p_value))
    print(report)
    assert report.calibrated, str(report)
    for predicted in (observed, true):
        assert rank_uniformity(predicted) > 1e-3
        assert covers(predicted)


@pytest.mark.parametrize(
    ("misstated", "simulations"),
    [
        (0.8, 500),
        pytest.param(0.8, 2000, marks=pytest.mark.slow),
        pytest.param(1.25, 2000, marks=pytest.mark.slow),
    ],
)
def test_misstated_errors_are_rejected(misstated, simulations):
    """By the predictions at 500 simulations; by the parameters too at 2,000."""
    ranks, observed, _ = normal_ranks(simulations, misstated=misstated)
    assert rank_uniformity(observed) < 1e-3 or not covers(observed)
    if simulations >= 2000:
        assert not simulation_report(ranks, NAMES).calibrated


@pytest.mark.slow
@pytest.mark.parametrize("misstated", [0.8, 1.25])
def test_a_factor_of_relative_errors_is_what_the_noise_learns(misstated):
    """The factor is sigma's to find, and where its prior knows better the ranks of sigma^2 say so."""
    ranks, *_ = conjugate_ranks(2000, misstated=misstated)
    report = simulation_report(ranks, [*NAMES, "noise variance"])
    assert any("noise variance" in miss for miss in report.misses), str(report)


MISSPECIFIED = [
    pytest.param(normal_ranks, NAMES, curved, 500, id="normal-curved-quick"),
    *(
        pytest.param(*model.values, truth, 2000, id=f"{model.id}-{truth.__name__}", marks=pytest.mark.slow)
        for model in MODELS
        for truth in (curved, heavy)
    ),
]


@pytest.mark.parametrize(("ranks_of", "names", "truth", "simulations"), MISSPECIFIED)
def test_misspecified_models_are_rejected(ranks_of, names, truth, simulations):
    """A curved truth moves the parameters; heavy tails show in the noise, or in the predictions."""
    ranks, observed, _ = ranks_of(simulations, truth=truth)
    rejected = not simulation_report(ranks, names).calibrated
    assert rejected or rank_uniformity(observed) < 1e-3 or not covers(observed)
    if truth is curved:
        assert rejected


def predictive_ranks(model, n, p, simulations, seed=0):
    """Ranks of a new true y, where prior width (and scatter) were chosen by the evidence."""
    rng = np.random.default_rng(seed)
    ranks = np.empty(simulations)
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
    assert rank_uniformity(predictive_ranks(BayesianLinearRegression(), 120, 5, 2000)) > 1e-3


@pytest.mark.slow
def test_evidence_fitted_prior_is_narrow_with_four_rows_a_parameter(record_property):
    """The documented weakness: with n = 20, p = 5 the ranks are not uniform, and 68 % cover a little less."""
    ranks = predictive_ranks(BayesianLinearRegression(), 20, 5, 2000)
    covered = np.mean(np.abs(ranks - 0.5) < 0.34)
    record_property("p_value", rank_uniformity(ranks))
    record_property("covered_68", float(covered))
    print(f"n=20 p=5: p={rank_uniformity(ranks):.1e}, 68% intervals cover {covered:.1%}")
    assert 0.60 < covered < 0.68
    assert (
        rank_uniformity(ranks) < 1e-3
    )  # the note in the class says so; when this passes, take the note away


def fixed_noise_ranks(n, p, simulations=2000, **settings):
    """Ranks of a new true y under the normal-inverse-gamma model, slopes and noise fixed in scale."""
    rng = np.random.default_rng(1)
    ranks, model = np.empty(simulations), NormalInverseGammaRegression(**settings)
    for i in range(simulations):
        X, new, beta = rng.normal(size=(n, p)), rng.normal(size=(1, p)), rng.normal(size=p)
        y = 2.0 + X @ beta + 0.5 * rng.normal(size=n)
        truth = 2.0 + new[0] @ beta + 0.5 * rng.normal()
        ranks[i] = model.fit(X, y).predict_dist(new).cdf(truth)[0]
    return ranks


@pytest.mark.slow
def test_conjugate_width_by_evidence_from_twenty_rows_a_parameter(record_property):
    ranks = fixed_noise_ranks(120, 5)
    assert rank_uniformity(ranks) > 1e-3
    assert covers(ranks)
    few = fixed_noise_ranks(12, 5)
    record_property("covered_68_n12", float(np.mean(np.abs(few - 0.5) < 0.34)))
    print(f"n=12 p=5: 68% intervals cover {np.mean(np.abs(few - 0.5) < 0.34):.1%}")
    assert not covers(few)  # as the class says


@pytest.mark.slow
def test_flat_prior_is_exact_with_any_number_of_rows():
    ranks = fixed_noise_ranks(9, 5, prior_cov=np.inf, noise_df=0)
    assert rank_uniformity(ranks) > 1e-3
    assert covers(ranks)
