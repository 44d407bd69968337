"""Mixture density networks and conditional flows: they recover densities that are known, with and without errors."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from statml.errors import InputError, InputTypeError
from statml.neural import ConditionalFlow, MixtureDensityNetwork, Training
from statml.uncertainty import Covariance, GaussianMixture, TransformedNormal, calibration_report

SETTINGS = Training(epochs=30, batch_size=128, learning_rate=0.01, validation=0.15)
NETWORKS = {
    "mixture": MixtureDensityNetwork(4, hidden=(32, 32), training=SETTINGS, random_state=0),
    "flow": ConditionalFlow(bins=10, hidden=(32, 32), training=SETTINGS, random_state=0),
}
every_network = pytest.mark.parametrize("name", NETWORKS)
# Draws of the errors make a step of a flow sixteen times as long.
one_now = pytest.mark.parametrize("name", ["mixture", pytest.param("flow", marks=pytest.mark.slow)])


def bimodal(x):
    columns = (0.5 + 0.3 * x, 0.5 - 0.3 * x), (1 + x, -1 + 0.5 * x), (0.3 + 0.1 * x, 0.3 + 0 * x)
    return GaussianMixture(*(np.column_stack(pair) for pair in columns))


def skewed(x):
    """y = x + exp(0.5 z): lognormal above a moving edge."""
    z = np.tile(np.linspace(-5, 5, 81), (len(x), 1))
    excess = np.exp(0.5 * z)
    return TransformedNormal(x[:, None] + excess, z, 2 / excess)


def heteroscedastic(x):
    spread = np.exp(x) / 2
    return GaussianMixture(np.ones((len(x), 1)), np.sin(2 * x)[:, None], spread[:, None])


TRUTHS = {"bimodal": bimodal, "skewed": skewed, "heteroscedastic": heteroscedastic}


def drawn(truth, n, seed):
    x = np.random.default_rng(seed).uniform(-1, 1, n)
    return x, truth(x).sample(1, rng=seed + 1)[0]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        pytest.param(
            name, problem, marks=[pytest.mark.slow] * ((name, problem) == ("flow", "heteroscedastic"))
        )
        for name in NETWORKS
        for problem in TRUTHS
    ],
)
def test_known_conditional_densities_are_recovered(name, problem):
    """CRPS on held-out rows within 2 % of that of the density that made them; fixed seeds."""
    truth = TRUTHS[problem]
    x, y = drawn(truth, 2500, 0)
    new, y_new = drawn(truth, 4000, 10)
    prediction = NETWORKS[name].fit(x[:, None], y).predict_dist(new[:, None])
    ratio = prediction.crps(y_new).mean() / truth(new).crps(y_new).mean()
    assert 0.98 < ratio < 1.02
    # nowhere far off either: the mean log density, in nats
    assert truth(new).log_prob(y_new).mean() - prediction.log_prob(y_new).mean() < 0.08


@one_now
def test_errors_of_y_are_taken_out_and_put_back(name):
    """What is learned is the true density; measured values are covered once their errors are given."""
    x, y = drawn(bimodal, 3000, 0)
    err = np.random.default_rng(5).uniform(0.2, 0.9, len(x))
    measured = y + err * np.random.default_rng(6).normal(size=len(x))
    network = NETWORKS[name].fit(x[:, None], measured, y_err=err)
    new, y_new = drawn(bimodal, 3000, 10)
    truth, prediction = bimodal(new), network.predict_dist(new[:, None])
    assert prediction.crps(y_new).mean() / truth.crps(y_new).mean() < 1.03
    assert_allclose(prediction.std.mean(), truth.std.mean(), rtol=0.04)
    observed = network.predict_dist(new[:, None], y_err=0.5)
    noisy = y_new + 0.5 * np.random.default_rng(7).normal(size=len(new))
    best = GaussianMixture(truth.weights, truth.means, np.hypot(truth.stds, 0.5)).crps(noisy).mean()
    assert observed.crps(noisy).mean() / best < 1.02
    assert_allclose(observed.variance_components["noise"], 0.25, rtol=1e-9)
    assert_allclose(observed.std**2, prediction.std**2 + 0.25, rtol=0.01)
    # and a fit that does not know of the errors learns them as part of y
    ignorant = NETWORKS[name].fit(x[:, None], measured).predict_dist(new[:, None])
    assert ignorant.std.mean() > 1.1 * prediction.std.mean()


@one_now
def test_errors_of_x_are_averaged_over(name):
    """y = 2 x + noise with x measured: the scatter left to the network is that of y at the true x."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, 2000)
    y = 2 * x + 0.5 * rng.normal(size=len(x))
    seen = x + 0.4 * rng.normal(size=len(x))
    network = clone(NETWORKS[name])
    if name == "flow":  # deconvolution is slow where the likelihood is flat
        network.set_params(training=replace(SETTINGS, epochs=90))
    network.fit(seen[:, None], y, X_err=0.4)
    middle = np.linspace(-2, 2, 9)[:, None]
    plain, blurred = network.predict_dist(middle), network.predict_dist(middle, X_err=0.4)
    # sd 0.5 at the true x; at a measured one sqrt(0.5^2 + (2 x 0.4)^2) = 0.943
    assert_allclose(plain.std.mean(), 0.5, atol=0.12)
    assert_allclose(blurred.std.mean(), 0.943, rtol=0.06)
    assert_allclose(blurred.variance_components["input"].mean(), 0.64, rtol=0.15)
    new = rng.uniform(-2, 2, 2000)
    y_new = 2 * new + 0.5 * rng.normal(size=2000)
    prediction = network.predict_dist((new + 0.4 * rng.normal(size=2000))[:, None], X_err=0.4)
    report = calibration_report(prediction, y_new)
    assert np.all(np.abs(report.covered - report.levels) < 0.04)


@every_network
def test_rows_without_information_do_not_count(name):
    x, y = drawn(bimodal, 200, 0)
    err = np.full(200, 0.1)
    spoiled, infinite = y.copy(), err.copy()
    spoiled[::4], infinite[::4] = 1e3, np.inf
    keep = np.isfinite(infinite)
    quick = Training(epochs=2)
    network = NETWORKS[name]
    with_inf = type(network)(training=quick, random_state=0).fit(x[:, None], spoiled, y_err=infinite)
    without = type(network)(training=quick, random_state=0).fit(x[keep, None], y[keep], y_err=err[keep])
    assert_allclose(with_inf.predict(x[:, None]), without.predict(x[:, None]), rtol=1e-6)


@every_network
@pytest.mark.parametrize(
    ("settings", "arguments", "words"),
    [
        ({"training": "long"}, {}, "accepted is a Training"),
        ({"input_draws": 1}, {}, "input_draws"),
        ({"hidden": (0,)}, {}, "hidden"),
        ({}, {"y_err": np.inf}, "finite in fewer than two rows"),
        ({}, {"y_cov": Covariance.dense(0.5 * np.eye(20) + 0.5)}, "diagonal"),
        ({}, {"xy_cov": np.zeros((20, 1)), "X_err": 0.1}, "xy_cov"),
    ],
)
def test_what_is_refused(name, settings, arguments, words):
    network = type(NETWORKS[name])(**{"training": Training(epochs=1)} | settings)
    with pytest.raises((InputError, InputTypeError), match=words):
        network.fit(np.arange(20.0)[:, None], np.arange(20.0), **arguments)


def test_widths_stay_above_their_floor():
    """Many equal values of y: without a floor a component would shrink onto them."""
    x = np.random.default_rng(0).normal(size=(400, 1))
    y = np.where(np.arange(400) % 2, 0.0, x[:, 0])
    network = MixtureDensityNetwork(2, least_width=0.05, training=SETTINGS, random_state=0).fit(x, y)
    assert np.all(network.predict_dist(x).stds >= 0.05 * y.std())
