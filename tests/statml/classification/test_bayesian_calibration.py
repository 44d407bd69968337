"""Simulation-based calibration of logistic posteriors: draws are exact, Laplace is when n is large enough.

A parameter is drawn from the prior, classes from the parameter; the rank of the truth in
its posterior must be uniform (20 bins, error rate 1e-3 shared by the parameters). Data
sets of one class alone are drawn again, which leaves ranks uniform. Each test is run
against a wrong model as well, which it must reject.
"""

import numpy as np
import pytest
from scipy import special, stats

from statml.classification import BayesianLogisticRegression
from statml.uncertainty import rank_among, simulation_report

pytestmark = pytest.mark.filterwarnings("ignore:the chains have", "ignore:errors make up")
PRIOR = {"prior_precision": 1.0, "penalise_intercept": True}
# Many short chains, every second of 4 draws of each: nearly independent draws.
CHAINS = {"method": "mcmc", "chains": 50, "draws": 4, "warmup": 20}


def ranks(method, n, p, simulations, *, prior_width=1.0, flipped=0.0, curvature=0.0, seed=0):
    """Ranks (simulations, p); the data may come from another prior, flipped classes or a curved boundary."""
    rng = np.random.default_rng(seed)
    found = np.empty((simulations, p))
    done = 0
    while done < simulations:
        X, b = rng.normal(size=(n, p - 1)), prior_width * rng.normal(size=p)
        t = rng.random(n) < special.expit(b[0] + X @ b[1:] + curvature * (X[:, 0] ** 2 - 1))
        t = t | (rng.random(n) < flipped)
        if t.all() or not t.any():
            continue
        if method == "mcmc":
            model = BayesianLogisticRegression(**PRIOR, **CHAINS, random_state=done).fit(X, t)
            found[done] = rank_among(b, model.draws_[:, ::2].reshape(-1, p), rng=rng)
        else:
            model = BayesianLogisticRegression(**PRIOR).fit(X, t)
            found[done] = stats.norm.cdf((b - model.params_) / np.sqrt(np.diag(model.params_cov_)))
        done += 1
    return found


def covered(found, level):
    """Share of central intervals that hold the truth, minus the level, in binomial standard errors; per parameter."""
    share = np.mean(np.abs(found - 0.5) < level / 2, axis=0)
    return (share - level) / np.sqrt(level * (1 - level) / len(found))


def test_draws_quick():
    assert simulation_report(ranks("mcmc", 20, 3, 200)).calibrated


def test_laplace_quick():
    found = ranks("laplace", 150, 3, 1000)
    assert simulation_report(found).calibrated
    assert np.all(np.abs(covered(found, 0.68)) < 3) and np.all(np.abs(covered(found, 0.95)) < 3)


def test_flipped_classes_are_rejected_quick():
    assert not simulation_report(ranks("laplace", 150, 3, 400, flipped=0.1)).calibrated


@pytest.mark.slow
@pytest.mark.parametrize("n", [15, 60])
def test_draws(n):
    """Five rows a parameter and twenty: exact at both."""
    found = ranks("mcmc", n, 3, 2000)
    report = simulation_report(found)
    print(report)
    assert report.calibrated
    assert np.all(np.abs(covered(found, 0.68)) < 3) and np.all(np.abs(covered(found, 0.95)) < 3)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [{"prior_width": 1.2}, {"flipped": 0.1}, {"curvature": 0.5}])
def test_draws_from_a_wrong_model_are_rejected(wrong):
    """Prior misstated by 20 %, one class in ten turned over, a curved boundary taken for a straight one."""
    n = 15 if "prior_width" in wrong else 60
    assert not simulation_report(ranks("mcmc", n, 3, 2000, **wrong)).calibrated


@pytest.mark.slow
@pytest.mark.parametrize("n, p", [(60, 3), (100, 5), (150, 3), (250, 5), (500, 10)])
def test_laplace_is_calibrated_from_20_rows_a_parameter_for_5_and_50_for_10(n, p):
    report = simulation_report(ranks("laplace", n, p, 2000))
    print(f"n = {n}, p = {p}:", report)
    assert report.calibrated


@pytest.mark.slow
@pytest.mark.parametrize("n, p", [(300, 3), (500, 5), (1000, 10)])
def test_laplace_covers(n, p):
    """At 100 rows a parameter; mean over the parameters, and each of them within 4."""
    found = ranks("laplace", n, p, 2000, seed=1)
    for level in (0.68, 0.95):
        assert abs(covered(found.reshape(-1, 1), level)[0]) < 3 * np.sqrt(
            2
        )  # parameters of one fit correlate
        assert np.all(np.abs(covered(found, level)) < 4)


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 200])
def test_laplace_misses_with_10_parameters(n, record_property):
    """The documented weakness: ten rows a parameter are rejected, twenty are borderline (p = 4e-5 to 4e-3)."""
    found = ranks("laplace", n, 10, 2000)
    report = simulation_report(found)
    share = [np.mean(np.abs(found - 0.5) < level / 2) for level in (0.68, 0.95)]
    record_property("p_value", float(report.p_values.min()))
    record_property("covered", share)
    print(
        f"n={n} p=10: smallest p={report.p_values.min():.1e}, 68 % cover {share[0]:.3f}, 95 % {share[1]:.3f}"
    )
    if n == 100:
        assert not report.calibrated
    assert 0.63 < share[0] < 0.67 and 0.915 < share[1] < 0.942


# -- errors of the features ------------------------------------------------------------------


def ranks_with_errors(misstated, simulations=1000, n=1000, err=1.0):
    """Ranks of the slope's size, data from the model itself (true features normal around measured ones)."""
    rng = np.random.default_rng(2)
    found = np.empty(simulations)
    model = BayesianLogisticRegression(**PRIOR, averaging="probit")
    done = 0
    while done < simulations:
        x, b = 3 * rng.normal(size=(n, 1)), rng.normal(size=2)
        eta = (b[0] + b[1] * x[:, 0]) / np.sqrt(1 + np.pi / 8 * (b[1] * err) ** 2)
        t = rng.random(n) < special.expit(eta)
        if t.all() or not t.any():
            continue
        model.fit(x, t, X_err=misstated * err)
        rank = stats.norm.cdf((b[1] - model.coef_[0]) / model.coef_err_[0])
        # Slopes have either sign; turned by that of the estimate, too small is too small.
        found[done] = rank if model.coef_[0] > 0 else 1 - rank
        done += 1
    return found


@pytest.mark.slow
def test_posterior_with_errors_of_the_features():
    assert simulation_report(ranks_with_errors(1.0)).calibrated


@pytest.mark.slow
@pytest.mark.parametrize("misstated", [1 / 1.2, 1.2])
def test_errors_of_the_features_misstated_by_a_fifth_are_rejected(misstated):
    assert not simulation_report(ranks_with_errors(misstated)).calibrated


# -- predictions -----------------------------------------------------------------------------


def spiegelhalter(settings, n, p, simulations, seed=3):
    """Spiegelhalter's (1986) z of one held-out class in each simulation, N(0, 1) for honest
    probabilities: of the prediction, and of the sigmoid at the maximum of the likelihood (weak prior)."""
    rng = np.random.default_rng(seed)
    truth, proba, plain = np.empty(simulations), np.empty(simulations), np.empty(simulations)
    model = BayesianLogisticRegression(**settings)
    weak = BayesianLogisticRegression(prior_precision=1e-2, penalise_intercept=True)
    done = 0
    while done < simulations:
        X, b = rng.normal(size=(n + 1, p - 1)), rng.normal(size=p)
        t = rng.random(n + 1) < special.expit(b[0] + X @ b[1:])
        if t[:-1].all() or not t[:-1].any():
            continue
        truth[done] = t[-1]
        proba[done] = model.fit(X[:-1], t[:-1]).predict_proba(X[-1:])[0, 1]
        plain[done] = special.expit(weak.fit(X[:-1], t[:-1]).predict_latent_dist(X[-1:]).mean[0])
        done += 1

    def z(q):
        return np.sum((truth - q) * (1 - 2 * q)) / np.sqrt(np.sum((1 - 2 * q) ** 2 * q * (1 - q)))

    return z(proba), z(plain)


def test_predicted_probabilities_are_calibrated_where_those_of_maximum_likelihood_are_not():
    """60 rows, 3 parameters: |z| < 3.3 (1e-3) for the average over the posterior."""
    averaged, plain = spiegelhalter(PRIOR, 60, 3, 2000)
    assert abs(averaged) < 3.3
    assert plain > 3.3  # too sure of itself


@pytest.mark.slow
@pytest.mark.parametrize("n, p", [(100, 5), (200, 10)])
def test_predicted_probabilities_with_the_prior_of_the_evidence(n, p):
    averaged, _ = spiegelhalter({}, n, p, 2000)
    assert abs(averaged) < 3.3


@pytest.mark.slow
def test_predicted_probabilities_of_draws():
    """Five rows a parameter."""
    averaged, plain = spiegelhalter(PRIOR | CHAINS | {"random_state": 0}, 15, 3, 2000)
    assert abs(averaged) < 3.3
    assert plain > 10
