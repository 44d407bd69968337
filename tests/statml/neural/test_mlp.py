"""Networks for mean and scatter: what they learn is known, because the data were made."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import stats

from statml.errors import InputError, InputTypeError
from statml.neural import JointMLPRegressor, LastLayerLaplace, MLPRegressor, Training, isolated_random
from statml.neural.label_network import BetaLoss, LabelNetwork, Tails
from statml.uncertainty import Covariance, covered_fraction, pit

SHORT = Training(epochs=40, batch_size=128, learning_rate=0.02, schedule="one_cycle")


def scatter_of(x):
    return 0.1 + 0.15 * (x + 1)


def simulated(n, seed, err=0.0, df=None):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, n)
    unit = rng.normal(size=n) if df is None else rng.standard_t(df, n)
    return x[:, None], np.sin(3 * x) + scatter_of(x) * unit + err * rng.normal(size=n)


@pytest.fixture(scope="module")
def fitted():
    X, y = simulated(3000, 0, err=0.3)
    return MLPRegressor((32, 32), training=SHORT, random_state=0).fit(X, y, y_err=0.3)


def test_mean_and_intrinsic_scatter_are_found_under_larger_errors(fitted):
    """Errors of 0.3 on a scatter of 0.1 to 0.4: the scatter is good to 0.05, the mean to 0.06."""
    x = np.linspace(-0.9, 0.9, 19)
    p = fitted.predict_dist(x[:, None])
    assert_allclose(p.mean, np.sin(3 * x), atol=0.08)
    assert_allclose(p.std, scatter_of(x), atol=0.06)
    assert np.all(p.variance_components["noise"] == 0) and np.all(p.variance_components["parameter"] == 0)


def test_intervals_cover_the_observed_and_the_true_y(fitted):
    """3,000 new rows: binomial errors of 0.009 at 68 %; 0.03 leaves as much for the fit."""
    X, y = simulated(3000, 1, err=0.3)
    assert abs(covered_fraction(fitted.predict_dist(X, y_err=0.3), y, 0.68) - 0.68) < 0.03
    X, truth = simulated(3000, 2)
    assert abs(covered_fraction(fitted.predict_dist(X), truth, 0.68) - 0.68) < 0.04


def test_rows_without_information_have_no_influence():
    X, y = simulated(300, 3)
    wild = np.r_[y, [50.0] * 20]
    err = np.r_[np.full(300, 0.1), np.full(20, np.inf)]
    network = MLPRegressor((16,), training=Training(epochs=3), random_state=0)
    plain = network.fit(X, y, y_err=0.1).predict(X)
    more = network.fit(np.vstack([X, X[:20]]), wild, y_err=err).predict(X)
    assert_allclose(more, plain)


def test_student_scatter_holds_under_outliers():
    X, y = simulated(3000, 4, df=3)
    network = MLPRegressor((32, 32), likelihood="student_t", training=SHORT, random_state=0).fit(X, y)
    ranks = pit(network.predict_dist(X[:1000]), y[:1000])
    for level in (0.68, 0.95):
        assert abs(np.mean(np.abs(ranks - 0.5) < level / 2) - level) < 0.05
    x = np.linspace(-0.9, 0.9, 19)
    assert_allclose(network.predict(x[:, None]), np.sin(3 * x), atol=0.1)


def test_the_t_is_a_t():
    tails = Tails.of(4.0)
    weights, variances = map(np.array, (tails.weights, tails.variances))
    x = np.linspace(-12, 12, 49)
    ours = np.sum(weights * stats.norm.pdf(x[:, None], 0, np.sqrt(variances)), axis=1)
    assert_allclose(ours, stats.t.pdf(x, 4), rtol=2e-3)
    assert tails.variance == pytest.approx(2, rel=2e-3)
    assert Tails.of(None).variance == 1


@pytest.mark.parametrize("df", [None, 4.0])
def test_densities_are_convolved_with_the_errors(df):
    """The density of a measured y, by quadrature over the true one."""
    with isolated_random(0):
        network = LabelNetwork(1, 1, (8,), 0.0, Tails.of(df), 1e-3).double()
    x, y, error = (torch.tensor([[value]], dtype=torch.float64) for value in (0.3, 1.2, 0.7))
    with torch.no_grad():
        (mean, scatter), (log_density, variance) = network(x), network.densities(y, x, error)
    truth = np.linspace(-80, 80, 320_001)
    unit = stats.norm if df is None else stats.t(df)
    own = unit.pdf((truth - mean.item()) / scatter.item()) / scatter.item()
    expected = np.trapezoid(own * stats.norm.pdf(1.2, truth, 0.7), truth)
    assert np.exp(log_density.item()) == pytest.approx(expected, rel=1e-8 if df is None else 1e-3)
    assert variance.item() == pytest.approx(scatter.item() ** 2 + 0.49)


def test_beta_weighs_the_gradients_of_the_mean():
    """d/dm is (m - y) / v^(1 - beta): for beta = 1 that of least squares."""
    with isolated_random(0):
        network = LabelNetwork(1, 1, (4,), 0.0, Tails.of(None), 1e-3).double()
        x, y = torch.randn(5, 1).double(), torch.randn(5, 1).double()
    for beta in (0.0, 0.5, 1.0):
        network.zero_grad()
        BetaLoss(beta)(network, (x, y, torch.zeros(5, 1).double()), None).backward()
        with torch.no_grad():
            mean, scatter = network(x)
            expected = ((mean - y) / scatter ** (2 - 2 * beta)).mean()
        assert network.mean.bias.grad.item() == pytest.approx(expected.item(), rel=1e-10)


def test_errors_of_x_widen_by_the_slope():
    """On a straight line the input variance is (slope * error)^2."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(2000, 2))
    y = X @ [2.0, 0.0] + 0.1 * rng.normal(size=2000)
    network = MLPRegressor((16,), training=SHORT, random_state=0).fit(X, y)
    p = network.predict_dist([[0.1, 0.2]], X_err=[[0.1, 0.1]])
    assert p.variance_components["input"][0] == pytest.approx(0.04, rel=0.15)
    assert p.variance_components["noise"][0] == pytest.approx(0.01, rel=0.3)


def test_noise_on_x_in_training_makes_insensitive():
    """Trained with errors of x as wide as x itself, a slope is halved: the attenuation that the docstring states."""
    rng = np.random.default_rng(6)
    X = rng.normal(size=(3000, 1))
    y = X[:, 0] + 0.1 * rng.normal(size=3000)
    network = MLPRegressor((16,), training=SHORT, random_state=0).fit(X, y, X_err=1.0)
    slope = np.diff(network.predict([[-0.5], [0.5]]))[0]
    assert slope == pytest.approx(0.5, abs=0.1)
    assert network.predict_dist([[0.0]]).std[0] == pytest.approx(0.5**0.5, rel=0.15)


def test_dropout_draws_networks():
    X, y = simulated(500, 7)
    network = MLPRegressor((32,), dropout=0.2, draws=20, training=Training(epochs=20), random_state=0).fit(
        X, y
    )
    p = network.predict_dist(X)
    assert np.all(p.variance_components["parameter"] > 0)
    # One mask is one network: a row is predicted the same alone as among others.
    assert_allclose(network.predict_dist(X[7:8]).mean, p.mean[7:8], rtol=1e-12)
    whole = MLPRegressor((32,), dropout=0.2, draws=0, training=Training(epochs=20), random_state=0).fit(X, y)
    assert np.all(whole.predict_dist(X).variance_components["parameter"] == 0)


def test_several_labels_at_once():
    rng = np.random.default_rng(8)
    X = rng.uniform(-1, 1, (2000, 2))
    Y = np.column_stack([X[:, 0], 100 * X[:, 1] ** 2]) + [0.1, 20.0] * rng.normal(size=(2000, 2))
    err = np.where(rng.random(Y.shape) < 0.3, np.inf, 1e-3)
    Y[np.isinf(err)] = 1e3  # a label that was not measured can be anything
    model = JointMLPRegressor((32, 32), training=SHORT, random_state=0).fit(X, Y, y_err=err)
    first, second = model.predict_dist([[0.5, 0.5]])
    assert first.mean[0] == pytest.approx(0.5, abs=0.05) and first.std[0] == pytest.approx(0.1, rel=0.3)
    assert second.mean[0] == pytest.approx(25, abs=8) and second.std[0] == pytest.approx(20, rel=0.3)
    assert model.predict(X).shape == (2000, 2)
    assert_allclose(
        model.predict_dist(X[:2], y_err=[[1, 2], [3, 4]])[1].variance_components["noise"], [4, 16]
    )


WRONG = {
    "hidden": (8, 0),
    "likelihood": "poisson",
    "beta": 2.0,
    "dropout": 1.0,
    "draws": -1,
    "least_scatter": 0.0,
    "input_limit": 0.0,
    "input_draws": 1,
    "training": "long",
}


@pytest.mark.parametrize("estimator", [MLPRegressor, JointMLPRegressor])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_parameters(estimator, name):
    X, y = simulated(20, 0)
    with pytest.raises((InputError, InputTypeError), match=f"{name} is .*accepted"):
        estimator(**{name: WRONG[name]}).fit(X, y)


def test_one_width_is_no_sequence_of_them():
    X, y = simulated(20, 0)
    with pytest.raises(InputError, match=r"hidden is 8; accepted are widths of layers"):
        MLPRegressor(8).fit(X, y)


def test_wrong_errors():
    X, y = simulated(20, 0)
    correlated = Covariance.dense(np.eye(20) + 0.1)
    with pytest.raises(InputError, match="y_cov is not diagonal"):
        MLPRegressor().fit(X, y, y_cov=correlated)
    with pytest.raises(InputError, match=r"y_err has shape \(19,\)"):
        JointMLPRegressor().fit(X, y, y_err=np.ones(19))
    with pytest.raises(InputError, match="finite in fewer than two rows of a label"):
        JointMLPRegressor().fit(X, y, y_err=np.inf)
    with pytest.raises(InputTypeError, match="estimator is a str"):
        LastLayerLaplace("network").fit(X, y)
    with pytest.raises(InputError, match=r"dropout=0\.1"):
        LastLayerLaplace(MLPRegressor(dropout=0.1)).fit(X, y)
