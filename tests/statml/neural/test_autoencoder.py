"""Autoencoders: principal components where they are linear, weights and gaps, and real spectra."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from statml import datasets
from statml.decomposition import PCA, ProbabilisticPCA
from statml.errors import InputError, InputTypeError
from statml.neural import Autoencoder, Training, VariationalAutoencoder

SETTINGS = Training(epochs=150, batch_size=100, learning_rate=0.03)


def factors(n=800, seed=0):
    """Two factors in six columns of equal variance, and noise."""
    rng = np.random.default_rng(seed)
    loadings = np.random.default_rng(3).normal(size=(2, 6))
    X = rng.normal(size=(n, 2)) @ loadings + 0.5 * rng.normal(size=(n, 6))
    return (X - X.mean(axis=0)) / X.std(axis=0)


@pytest.fixture(scope="module")
def linear():
    return VariationalAutoencoder(1, hidden=(), training=SETTINGS, random_state=0).fit(factors())


def test_a_linear_variational_autoencoder_is_probabilistic_pca(linear):
    """One code: its likelihood is within 0.001 nats a row of the closed maximum, its noise and axis those of PPCA."""
    X = factors()
    exact = ProbabilisticPCA(1).fit(X)
    best = exact.log_likelihood_ / len(X)
    assert best - 0.001 < linear.score(X) < best + 0.001
    assert_allclose(linear.scatter_**2, exact.noise_variance_, rtol=0.02)
    decoder = linear.network_.decoder[0].weight.detach().numpy()[:, 0]
    assert abs(decoder @ exact.components_[0]) / np.linalg.norm(decoder) > 0.999
    assert_allclose(decoder @ decoder, exact.score_variance_[0], rtol=0.05)
    new = factors(2000, seed=9)
    assert abs(linear.score(new) - exact.score(new)) < 0.01


@pytest.mark.slow
def test_two_linear_codes_come_near_it():
    """Codes of a factorised posterior have to turn to the principal axes, and turn slowly; 0.01 nats a row."""
    X = factors()
    best = ProbabilisticPCA(2).fit(X).log_likelihood_ / len(X)
    model = VariationalAutoencoder(2, hidden=(), training=SETTINGS, random_state=0).fit(X)
    # the likelihood is a sum over 64 draws, good to a few thousandths where the posterior is not a product
    assert best - 0.01 < model.score(X) < best + 0.005


def test_its_codes_are_the_posterior(linear):
    X = factors()
    exact = ProbabilisticPCA(1).fit(X)
    codes = linear.transform_dist(X)
    theirs = exact.transform(X)[:, 0] / np.sqrt(exact.score_variance_)
    assert_allclose(codes.mean * np.sign(codes.mean @ theirs), theirs, atol=0.1)
    posterior = exact.noise_variance_ / (exact.score_variance_ + exact.noise_variance_)
    assert_allclose((codes.std**2).mean(), posterior, rtol=0.05)


def test_draws_have_the_covariance_of_the_model(linear):
    exact = ProbabilisticPCA(1).fit(factors())
    expected = exact.components_.T * exact.score_variance_ @ exact.components_
    expected += exact.noise_variance_ * np.eye(6)
    assert_allclose(np.cov(linear.sample(20_000, rng=0).T), expected, atol=0.1)
    assert_allclose(linear.sample(3, rng=1), linear.sample(3, rng=1))


def test_a_linear_autoencoder_reconstructs_as_pca_does():
    X = factors()
    code = Autoencoder(2, hidden=(), training=SETTINGS, random_state=0).fit(X)
    scores = PCA(2).fit(X)
    best = np.mean((scores.inverse_transform(scores.transform(X)) - X) ** 2)
    ours = np.mean((code.reconstruct(X) - X) ** 2)
    assert best <= ours < 1.01 * best


def test_noisy_and_missing_pixels_weigh_less():
    """A tenth of the pixels spoiled: told of them, the reconstruction of the truth stays what it was."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(800, 2)) @ np.random.default_rng(3).normal(size=(2, 6))
    err = np.where(rng.random(truth.shape) < 0.1, 8.0, 0.3)
    X = truth + err * rng.normal(size=truth.shape)
    gaps = np.where(rng.random(truth.shape) < 0.05, np.nan, X)
    good = (err < 1) & np.isfinite(gaps)
    settings = Training(epochs=40, batch_size=64, learning_rate=0.02)

    def error(X, **arguments):
        code = VariationalAutoencoder(2, hidden=(32,), training=settings, random_state=0).fit(X, **arguments)
        return np.sqrt(np.mean((code.reconstruct(X, **arguments) - truth)[good] ** 2))

    clean = error(truth + 0.3 * rng.normal(size=truth.shape), X_err=0.3)
    spoiled = np.where(err > 1, np.nan, gaps)
    assert error(spoiled, X_err=np.where(err > 1, np.inf, err)) < 1.6 * clean
    assert error(gaps, X_err=0.3) > 2 * clean  # the same, told the wrong errors
    # inf is a gap, whatever the value
    code = Autoencoder(1, hidden=(4,), training=Training(epochs=2), random_state=0)
    as_nan = code.fit(spoiled).transform(spoiled)
    filled = np.where(np.isnan(spoiled), 1e6, spoiled)
    as_inf = code.fit(filled, X_err=np.where(np.isnan(spoiled), np.inf, 0.0))
    assert_allclose(as_inf.transform(filled, X_err=np.where(np.isnan(spoiled), np.inf, 0.0)), as_nan)


def test_the_likelihood_rises_with_the_draws(linear):
    X = factors(200, seed=4)
    few, many = linear.score_samples(X, draws=2), linear.score_samples(X, draws=512)
    assert few.mean() <= many.mean() + 0.01
    assert_allclose(linear.score_samples(X, draws=64), many, atol=0.05)


@pytest.mark.slow
def test_real_spectra_bend():
    """400 XP spectra held out: two numbers of a deep code reconstruct better than two principal components."""
    stars = datasets.load("gaia_xp")
    flux, err = np.asarray(stars["flux"])[:, 28:328], np.asarray(stars["flux_err"])[:, 28:328]
    train, test = slice(0, 3000), slice(3000, 3400)
    settings = Training(epochs=60, batch_size=64, learning_rate=3e-3)
    code = Autoencoder(2, hidden=(64, 32), training=settings, random_state=0).fit(
        flux[train], X_err=err[train]
    )
    pca = PCA(2).fit(flux[train])
    linear = pca.inverse_transform(pca.transform(flux[test]))
    ours = code.reconstruct(flux[test], X_err=err[test])
    assert np.mean((ours - flux[test]) ** 2) < 0.7 * np.mean((linear - flux[test]) ** 2)


@pytest.mark.parametrize(
    ("settings", "arguments", "words"),
    [
        ({"n_components": 0}, {}, "n_components"),
        ({"hidden": (0,)}, {}, "hidden"),
        ({"training": 3}, {}, "accepted is a Training"),
        ({}, {"X_err": -1.0}, "negative"),
        ({}, {"X_err": np.ones(3)}, "X_err has shape"),
        ({}, {"X_cov": np.ones(3)}, "X_err"),
        ({}, {"X_err": "large"}, "numbers"),
    ],
)
@pytest.mark.parametrize("kind", [Autoencoder, VariationalAutoencoder])
def test_what_is_refused(kind, settings, arguments, words):
    with pytest.raises((InputError, InputTypeError), match=words):
        kind(**{"training": Training(epochs=1)} | settings).fit(factors(20), **arguments)


def test_a_column_that_nobody_saw():
    X = factors(20)
    X[:, 2] = np.nan
    with pytest.raises(InputError, match="column 2"):
        Autoencoder(1).fit(X)
    with pytest.raises(InputError, match="codes has shape"):
        Autoencoder(1, training=Training(epochs=1)).fit(factors(20)).inverse_transform(np.ones((2, 2)))
