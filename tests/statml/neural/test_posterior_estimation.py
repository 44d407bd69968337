"""Neural posteriors: against exact ones, calibrated over simulations, flagged where the simulator is wrong."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from statml.errors import InputError, InputTypeError
from statml.neural import NeuralPosterior, Training

SETTINGS = Training(epochs=25, batch_size=200, learning_rate=0.01, validation=0.1, clip=5.0)
DESIGN = np.array([[1.0, 1.0], [0.3, 0.6], [1.0, 0.5]])
NOISE = 0.5


def line(theta, rng, noise=NOISE, offset=0.0):
    return theta @ DESIGN.T + offset + noise * rng.normal(size=(len(theta), 3))


def exact(x):
    """Mean (n, 2) and covariance of the posterior of a linear model with prior N(0, 1)."""
    covariance = np.linalg.inv(np.eye(2) + DESIGN.T @ DESIGN / NOISE**2)
    return x @ DESIGN / NOISE**2 @ covariance, covariance


@pytest.fixture(scope="module")
def linear():
    model = NeuralPosterior(
        [stats.norm(0, 1)] * 2,
        names=("a", "b"),
        family="affine",
        layers=2,
        hidden=(32, 32),
        training=SETTINGS,
        random_state=0,
    )
    return model.fit(*model.simulate(line, 5000, rng=1))


def test_a_linear_simulator_has_its_exact_posterior(linear):
    """Means within 0.1 posterior sd (rms), standard deviations within 6 %, correlations within 0.06."""
    theta, x = linear.simulate(line, 60, rng=2)
    mean, covariance = exact(x)
    draws = linear.sample(x, 1500, rng=3)
    sd = np.sqrt(np.diag(covariance))
    assert np.sqrt(np.mean(((draws.mean(axis=0) - mean) / sd) ** 2)) < 0.1
    assert_allclose(np.median(draws.std(axis=0), axis=0), sd, rtol=0.06)
    correlation = np.median([np.corrcoef(draws[:, i].T)[0, 1] for i in range(60)])
    assert abs(correlation - covariance[0, 1] / np.prod(sd)) < 0.06
    density = stats.multivariate_normal(cov=covariance).logpdf(theta - mean)
    assert abs(np.mean(linear.log_prob(theta, x) - density)) < 0.1


def test_calibration_over_simulations(linear):
    """Ranks of 1,000 true values: uniform for the right simulator (error rate 0.1 %), not for wrong ones."""
    assert linear.check(line, simulations=1000, rng=4).calibrated
    louder = linear.check(lambda theta, rng: line(theta, rng, noise=0.8), simulations=1000, rng=5)
    shifted = linear.check(lambda theta, rng: line(theta, rng, offset=0.3), simulations=1000, rng=6)
    assert not louder.calibrated and not shifted.calibrated
    assert "a" in louder.misses[0] and louder.names == ("a", "b", "log q")


def test_central_intervals_cover(linear):
    theta, x = linear.simulate(line, 1500, rng=7)
    distance = 2 * np.abs(linear.ranks(theta, x, rng=8)[:, :2] - 0.5)
    for level in (0.68, 0.95):
        assert np.all(
            np.abs(np.mean(distance < level, axis=0) - level) < 4 * np.sqrt(level * (1 - level) / 1500)
        )


def test_the_last_rank_sees_a_wrong_correlation(linear):
    """Draws with the right marginals and no correlation: the ranks of the parameters pass, that of log q does not."""
    theta, x = linear.simulate(line, 1000, rng=9)
    mean, covariance = exact(x)
    shuffled = mean + np.sqrt(np.diag(covariance)) * np.random.default_rng(1).normal(size=theta.shape)
    ranks = linear.ranks(shuffled, x, rng=2)
    p = [stats.kstest(column, "uniform").pvalue for column in ranks.T]
    assert min(p[:2]) > 1e-3 > p[2]


def test_observations_unlike_the_simulations_are_flagged(linear):
    _, x = linear.simulate(line, 2000, rng=10)
    p = linear.typicality(x)
    assert np.mean(p < 0.01) < 0.03 and stats.kstest(p, "uniform").statistic < 0.08
    strange = [-1.5, 2.0, 1.5]  # each value is possible, together they are on no plane a + noise
    assert linear.typicality([strange])[0] < 1e-3
    with pytest.warns(UserWarning, match="unlike the simulations"):
        linear.posterior(strange, draws=10, rng=0)


def test_a_posterior_is_a_chain(linear):
    x = [0.5, 0.2, 0.1]
    chain = linear.posterior(x, draws=500, rng=1)
    assert chain.names == ("a", "b") and chain.draws.shape == (1, 500, 2)
    assert_allclose(chain.flat, linear.posterior(x, draws=500, rng=1).flat)
    assert_allclose(chain.log_prob[0], linear.log_prob(chain.flat, np.tile(x, (500, 1))))
    assert np.all(chain.ess() > 350)


def banana(theta, rng):
    return theta[:, :1] ** 2 + theta[:, 1:] + 0.2 * rng.normal(size=(len(theta), 1))


@pytest.mark.slow
def test_a_banana_in_a_box():
    """Uniform prior, curved posterior: total variation to the exact one below 0.12, nothing outside the box."""
    model = NeuralPosterior(
        [stats.uniform(-1, 2), stats.uniform(-1, 2)],
        layers=3,
        hidden=(32, 32),
        training=SETTINGS,
        random_state=0,
    )
    model.fit(*model.simulate(banana, 6000, rng=1))
    edges = np.linspace(-1, 1, 202)
    centers = 0.5 * (edges[1:] + edges[:-1])
    grid = np.stack(np.meshgrid(centers, centers, indexing="ij"), axis=-1).reshape(-1, 2)
    for value in (0.0, 0.6):
        likelihood = stats.norm.pdf(value, grid[:, 0] ** 2 + grid[:, 1], 0.2)
        ours = np.exp(model.log_prob(grid, np.full((len(grid), 1), value)))
        cell = (edges[1] - edges[0]) ** 2
        assert_allclose(ours.sum() * cell, 1.0, atol=0.02)
        assert 0.5 * np.sum(np.abs(likelihood / likelihood.sum() - ours / ours.sum())) < 0.12
        draws = model.posterior([value], draws=2000, rng=2).flat
        assert np.all(np.abs(draws) < 1)
    assert model.log_prob([[1.2, 0.0]], [[0.5]]).tolist() == [-np.inf]


def test_a_bounded_posterior_stays_inside():
    """The mean of five exponentials at the edge of its prior: no draw and no density beyond."""
    model = NeuralPosterior([stats.uniform(1, 1)], layers=1, hidden=(16,), training=SETTINGS, random_state=0)
    theta, x = model.simulate(
        lambda t, rng: rng.exponential(t, (len(t), 5)).mean(1, keepdims=True), 2000, rng=1
    )
    draws = model.fit(theta, x).posterior([2.5], draws=2000, rng=2).flat
    assert draws.min() > 1 and draws.max() < 2
    assert model.log_prob([[0.9], [2.1]], [[2.5], [2.5]]).tolist() == [-np.inf, -np.inf]
    grid = np.linspace(1, 2, 2001)[1:-1]
    density = grid**-5 * np.exp(-12.5 / grid)
    exact_mean = np.sum(grid * density) / density.sum()
    assert abs(draws.mean() - exact_mean) < 0.03


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prior": 3}, "prior"),
        ({"kind": "other"}, "kind"),
        ({"family": "cubic"}, "family"),
        ({"layers": 0}, "layers"),
        ({"names": ("a",)}, "names"),
        ({"training": 3}, "accepted is a Training"),
        ({"prior": [stats.uniform(0, 1)] * 2}, "outside the support"),
        ({"prior": [stats.norm()]}, "theta has shape"),
    ],
)
def test_what_is_refused(settings, words):
    model = NeuralPosterior(**{"prior": [stats.norm()] * 2, "training": Training(epochs=1)} | settings)
    with pytest.raises((InputError, InputTypeError), match=words):
        model.fit(np.random.default_rng(0).normal(size=(30, 2)), np.zeros((30, 1)))


def test_data_that_do_not_fit(linear):
    with pytest.raises(InputError, match="3, as in the simulations"):
        linear.sample([[1.0, 2.0]])
    with pytest.raises(InputError, match="NaN"):
        linear.typicality([[np.nan, 0.0, 0.0]])
    with pytest.raises(InputError, match="x has shape"):
        linear.simulate(lambda theta, rng: theta[:3], 20, rng=0)
