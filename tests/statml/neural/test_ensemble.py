"""Ensembles and Bayesian last layers: right where there is a closed form, unsure where there were no data."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from statml import datasets
from statml.classification import roc_auc
from statml.errors import InputError
from statml.neural import DeepEnsemble, LastLayerLaplace, MLPRegressor, Training
from statml.neural.ensemble import mixture_of
from statml.regression import LinearRegression
from statml.uncertainty import Categorical, Gaussian, GaussianMixture, Samples, StudentT

SHORT = Training(epochs=30, batch_size=128, learning_rate=0.02, schedule="one_cycle")


def test_a_mixture_has_the_variance_between_its_members():
    parts = {"noise": [1.0, 4.0]}
    first = Gaussian([0.0, 1.0], [1.0, 2.0], variance_components=parts)
    second = GaussianMixture(
        [0.5, 0.5],
        [[2.0, 4.0], [1, 1]],
        [[1.0, 1.0], [2, 2]],
        variance_components={"noise": [1, 4], "model": [1, 0]},
    )
    both = mixture_of([first, second])
    assert_allclose(both.mean, [1.5, 1.0])
    assert_allclose(both.variance_components["parameter"], [2.25, 0])
    assert_allclose(sum(both.variance_components.values()), both.std**2, rtol=1e-12)
    y = [0.3, 0.7]
    assert_allclose(both.cdf(y), (first.cdf(y) + second.cdf(y)) / 2)
    assert_allclose(np.exp(both.log_prob(y)), (np.exp(first.log_prob(y)) + np.exp(second.log_prob(y))) / 2)


def test_a_t_joins_a_mixture():
    t = StudentT([1.0], [2.0], 5.0)
    assert_allclose(mixture_of([t, t]).cdf([2.5]), t.cdf([2.5]), rtol=1e-8)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"parts have \[1, 2\] rows; accepted"):
        mixture_of([Gaussian([0.0], [1.0]), Gaussian([0.0, 0], [1.0, 1])])
    with pytest.raises(InputError, match="a member predicts a Samples; accepted"):
        mixture_of([Samples(np.ones((3, 1)))])
    with pytest.raises(InputError, match="members is 1; accepted"):
        DeepEnsemble(LinearRegression(), members=1).fit([[0.0], [1.0]], [0.0, 1.0])


def test_members_have_seeds_of_their_own():
    X = np.linspace(-1, 1, 100)[:, None]
    network = MLPRegressor((8,), training=Training(epochs=2), random_state=3)
    ensemble = DeepEnsemble(network, members=3, random_state=0).fit(X, X[:, 0])
    assert len({member.random_state for member in ensemble.members_}) == 3
    assert network.random_state == 3 and not hasattr(network, "network_")
    means = [member.predict(X) for member in ensemble.members_]
    assert_allclose(ensemble.predict(X), np.mean(means, axis=0), rtol=1e-12)
    assert np.std(means, axis=0).max() > 0


@pytest.fixture(scope="module")
def laplace():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (400, 1))
    y = X[:, 0] ** 3 + 0.1 * rng.normal(size=400)
    network = MLPRegressor((16,), training=replace(SHORT, epochs=200), random_state=0)
    return LastLayerLaplace(network).fit(X, y, y_err=0.05), X, y


def test_the_last_layer_has_the_closed_form(laplace):
    """Its covariance by dense algebra, from the prior that the evidence chose."""
    model, X, _ = laplace
    features, _, scatter = model._outputs(model.estimator_._scaled(X))
    A = np.column_stack([np.ones(len(X)), features])
    precision = np.linalg.inv(model.line_.prior_cov_) + (A / (scatter**2 + 0.05**2)[:, None]).T @ A
    expected = np.einsum("ij,jk,ik->i", A, np.linalg.inv(precision), A)
    assert_allclose(model.predict_dist(X).variance_components["parameter"], expected, rtol=1e-6)


def test_a_last_layer_is_less_sure_further_out(laplace):
    model, X, _ = laplace
    p = model.predict_dist([[0.0], [1.5], [2.5], [4.0]])
    assert np.all(np.diff(p.variance_components["parameter"]) > 0)
    assert p.variance_components["parameter"][0] < 0.1 * p.variance_components["model"][0]
    assert_allclose(model.predict(X), model.estimator_.predict(X), atol=0.05)


def temperatures():
    """Features of real stars; who is inside 4000 to 7000 K; the temperatures and their errors."""
    stars = datasets.load("gaia_xp")
    flux, teff = np.array(stars["flux"])[:, 28:328], np.array(stars["teff"])
    X = np.arcsinh(flux / 0.1).reshape(len(flux), 60, 5).mean(axis=2)
    return X, (teff >= 4000) & (teff <= 7000), teff, np.array(stars["teff_err"])


def separation(familiar, strange):
    """Area under the ROC curve of a score that should be larger for strangers, with its 95 % interval."""
    score = np.r_[familiar, strange]
    rank = np.argsort(np.argsort(score)) / len(score)
    is_strange = np.r_[np.zeros(len(familiar), int), np.ones(len(strange), int)]
    return roc_auc(Categorical(np.column_stack([1 - rank, rank]), [0, 1]), is_strange, level=0.95)


@pytest.mark.parametrize("kind", ["ensemble", "last layer", "dropout"])
def test_hotter_and_cooler_stars_are_flagged(kind):
    """Trained on 4000 to 7000 K; the parameter variance of stars beyond is larger than of held-out ones inside."""
    X, inside, teff, err = temperatures()
    order = np.random.default_rng(0).permutation(np.flatnonzero(inside))
    train, test, strange = order[:1500], order[1500:], np.flatnonzero(~inside)
    training = Training(epochs=30, batch_size=128, learning_rate=3e-3, schedule="one_cycle")
    network = MLPRegressor((32, 32), training=training, dropout=0.1 * (kind == "dropout"), random_state=0)
    model = {
        "ensemble": DeepEnsemble(network, members=4, random_state=0),
        "last layer": LastLayerLaplace(network),
        "dropout": network,
    }[kind].fit(X[train], teff[train], y_err=err[train])
    variance = [model.predict_dist(X[rows]).variance_components["parameter"] for rows in (test, strange)]
    area = separation(*variance)
    assert area.low > 0.8, area
