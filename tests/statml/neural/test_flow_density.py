"""Fitted flow densities: known shapes, bounds, errors of X, and what is refused."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import stats

from statml.errors import InputError, InputTypeError
from statml.neural import FlowDensity, Training

SETTINGS = Training(epochs=25, batch_size=128, learning_rate=5e-3, validation=0.15, clip=5.0)


def banana(n, seed):
    """x2 given x1 is N(x1^2, 0.3^2): rows and their exact log density."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    X = np.column_stack([x, x**2 + 0.3 * rng.normal(size=n)])
    return X, exact(X)


def exact(X):
    return stats.norm.logpdf(X[:, 0]) + stats.norm.logpdf(X[:, 1], X[:, 0] ** 2, 0.3)


@pytest.fixture(scope="module")
def fitted():
    X, _ = banana(3000, 0)
    return FlowDensity(layers=2, hidden=(32, 32), training=SETTINGS, random_state=0).fit(X)


def test_a_banana(fitted):
    """Held-out log likelihood within 0.1 nats of the exact one (0.086 from 3,000 rows), and draws with its moments."""
    X, log_p = banana(3000, 1)
    assert log_p.mean() - 0.1 < fitted.score(X) < log_p.mean() + 0.03
    draws = fitted.sample(4000, rng=2)
    assert_allclose(draws.mean(axis=0), [0, 1], atol=0.12)
    assert abs(exact(draws).mean() - log_p.mean()) < 0.4  # few draws away from the banana
    assert_allclose(fitted.sample(4, rng=2), draws[:4])


def test_a_trained_flow_integrates_to_one_and_inverts(fitted):
    edge0, edge1 = np.linspace(-6, 6, 241), np.linspace(-6, 26, 641)
    grid = np.stack(np.meshgrid(edge0, edge1, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.exp(fitted.score_samples(grid)).reshape(241, 641)
    assert_allclose(np.trapezoid(np.trapezoid(density, edge1), edge0), 1.0, atol=1e-3)
    X, _ = banana(500, 3)
    z = torch.from_numpy(fitted.to_normal(X))
    with torch.no_grad():
        assert_allclose(fitted.flow_.inverse(z).numpy(), X, atol=1e-10)
        single = fitted.flow_.float()
        back = single.inverse(single(torch.from_numpy(X).float())[0])
        fitted.flow_.double()
    assert float((back - torch.from_numpy(X)).abs().max()) < 1e-5


def test_a_normal_by_affine_maps():
    covariance = np.array([[1.0, 0.6, 0.0], [0.6, 2.0, -0.5], [0.0, -0.5, 0.5]])
    truth = stats.multivariate_normal([1, -2, 3], covariance)
    X = truth.rvs(2000, random_state=0)
    flow = FlowDensity(
        kind="autoregressive", family="affine", layers=2, hidden=(16,), training=SETTINGS, random_state=0
    ).fit(X)
    new = truth.rvs(3000, random_state=1)
    assert abs(flow.score(new) - truth.logpdf(new).mean()) < 0.04


def test_bounds_hold():
    """An exponential on (0, inf): no draw and no density below zero, half of it in the right place."""
    X = np.random.default_rng(0).exponential(size=(1500, 1))
    flow = FlowDensity(layers=1, hidden=(16,), low=0.0, training=SETTINGS, random_state=0).fit(X)
    draws = flow.sample(3000, rng=1)
    assert draws.min() > 0 and stats.kstest(draws[:, 0], "expon").statistic < 0.05
    assert flow.score_samples([[-0.1], [0.0]]).tolist() == [-np.inf, -np.inf]
    y = np.linspace(0, 20, 4001)[1:]
    assert_allclose(np.trapezoid(np.exp(flow.score_samples(y[:, None])), y), 1.0, atol=5e-3)


@pytest.mark.slow
def test_errors_of_x_are_deconvolved():
    """Two clumps of sd 0.3, measured with errors of 0.3: the flow's clumps are the true ones."""
    rng = np.random.default_rng(0)
    true = np.where(rng.random((2500, 1)) < 0.4, -1, 1) + 0.3 * rng.normal(size=(2500, 1))
    X = true + 0.3 * rng.normal(size=true.shape)
    flow = FlowDensity(layers=1, hidden=(16,), input_draws=8, training=SETTINGS, random_state=0)
    deconvolved, raw = flow.fit(X, X_err=0.3).sample(4000, rng=1), flow.fit(X).sample(4000, rng=1)
    right = [draws[draws > 0.3].std() for draws in (deconvolved, raw, true)]
    assert abs(right[0] - right[2]) < 0.05 < right[1] - right[2]
    again = flow.fit(X, X_err=0.3)
    measured = again.score_samples(X[:300], X_err=0.3)
    mixture = 0.4 * stats.norm.pdf(X[:300, 0], -1, 0.3 * 2**0.5) + 0.6 * stats.norm.pdf(
        X[:300, 0], 1, 0.3 * 2**0.5
    )
    assert abs(measured.mean() - np.log(mixture).mean()) < 0.05


def test_the_density_of_measured_rows_is_wider(fitted):
    X, _ = banana(200, 5)
    plain, blurred = fitted.score_samples(X), fitted.score_samples(X, X_err=1.0)
    assert blurred.max() < plain.max() - 0.5
    assert_allclose(fitted.score_samples(X, X_err=0.0), plain, atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "arguments", "words"),
    [
        ({"kind": "radial"}, {}, "kind"),
        ({"family": "cubic"}, {}, "family"),
        ({"layers": 0}, {}, "layers"),
        ({"training": 3}, {}, "accepted is a Training"),
        ({"low": 0.0}, {}, "column 0 of X"),
        ({"low": -9.0}, {"X_err": 0.1}, "bounds"),
        ({}, {"X_err": -0.1}, "X_err"),
    ],
)
def test_what_is_refused(settings, arguments, words):
    flow = FlowDensity(**{"training": Training(epochs=1)} | settings)
    with pytest.raises((InputError, InputTypeError), match=words):
        flow.fit(np.linspace(-1, 1, 20)[:, None], **arguments)
