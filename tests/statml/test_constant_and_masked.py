"""Features and targets that do not vary, whatever number they hold; masked values are no data."""

import importlib

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from statml.classification import BayesianLogisticRegression, LogisticRegression, SoftmaxRegression
from statml.compute import spread
from statml.decomposition import PCA, HeteroscedasticPCA
from statml.errors import InputError
from statml.mixture import ExtremeDeconvolution, GaussianMixture
from statml.regression import (
    BayesianLinearRegression,
    ErrorsInVariables,
    Kelly,
    KellyPrior,
    LinearRegression,
    NormalInverseGammaRegression,
    RidgeRegression,
    RobustRegression,
)
from statml.regression.predictive import column_moments
from statml.uncertainty import calibration_report

# None is a sum of few powers of two: their mean is rounded.
CONSTANTS = [0.1, 12345.678, 1e-30, 1e8 + 0.1]
PENALISED = [
    RidgeRegression(),
    RidgeRegression(alpha="loo"),
    RidgeRegression(alpha="evidence"),
    RidgeRegression(alpha=1.0),
    BayesianLinearRegression(),
    NormalInverseGammaRegression(),
]


@pytest.mark.parametrize("constant", CONSTANTS)
@pytest.mark.parametrize("estimator", PENALISED, ids=repr)
def test_a_feature_that_does_not_vary_changes_nothing(estimator, constant):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 1))
    y = 3 + 2 * X[:, 0] + 0.3 * rng.normal(size=60)
    plain = estimator.fit(X, y).predict_dist([[0.5]])
    more = estimator.fit(np.column_stack([X, np.full(60, constant)]), y)
    found = more.predict_dist([[0.5, constant]])
    assert abs(more.coef_[1]) < 1e-6
    assert_allclose(found.mean, plain.mean, rtol=1e-6)
    assert_allclose(found.std, plain.std, rtol=1e-3)


@pytest.mark.parametrize("estimator", PENALISED, ids=repr)
def test_nothing_but_such_features_gives_the_mean(estimator):
    rng = np.random.default_rng(1)
    y = 3 + 0.3 * rng.normal(size=60)
    found = estimator.fit(np.full((60, 2), 0.1), y).predict_dist(np.full((1, 2), 0.1))
    assert_allclose(found.mean, y.mean(), rtol=1e-3)
    assert np.isfinite(estimator.params_cov_).all()


def test_a_target_that_does_not_vary_has_no_scale():
    X = np.random.default_rng(2).normal(size=(40, 2))
    odd, even = (
        BayesianLinearRegression().fit(X, np.full(40, value), y_err=0.3).predict_dist(X[:2])
        for value in (0.1, 0.0)
    )
    assert_allclose(odd.std, even.std, rtol=1e-6)


@pytest.mark.parametrize("n", [7, 1000])
def test_spread_of_what_does_not_vary_is_zero(n):
    X = np.column_stack([np.full(n, value) for value in CONSTANTS] + [np.arange(n)])
    assert (spread(X) > 0).tolist() == [False] * len(CONSTANTS) + [True]
    assert (column_moments(sparse.csr_array(X))[1] > 0).tolist() == (spread(X) > 0).tolist()
    assert_allclose(spread(X)[-1], np.std(np.arange(n)))


def test_kelly_refuses_features_that_decide_no_slope():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(40, 1))
    y = X[:, 0] + 0.3 * rng.normal(size=40)
    for extra in (np.full((40, 1), 0.1), X):
        with pytest.raises(InputError, match="depend on each other or do not vary"):
            ErrorsInVariables(Kelly(n_components=1)).fit(np.hstack([X, extra]), y, X_err=0.1, y_err=0.3)
    method = Kelly(n_components=1, warmup=300, draws=100, prior=KellyPrior(line_cov=np.eye(3)))
    with pytest.warns(UserWarning):  # short chains
        line = ErrorsInVariables(method, random_state=0).fit(np.hstack([X, X]), y, X_err=0.1, y_err=0.3)
    assert abs(line.coef_.sum() - 1) < 0.3


@pytest.mark.parametrize("given", [{}, {"y_err": 0.1}])
def test_an_infinite_error_of_y_widens_a_robust_prediction_without_end(given):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(30, 1))
    y = X[:, 0] + 0.1 * rng.standard_t(3, 30)
    for method in ("student_t", "mixture"):
        found = RobustRegression(method=method, random_state=0).fit(X, y, **given)
        wide = found.predict_dist(X[:2], y_err=[np.inf, 0.1])
        assert np.isinf(wide.std[0]) and np.isfinite(wide.std[1])
        low, high = wide.interval(0.9)
        assert low[0] == -np.inf and high[0] == np.inf
        assert wide.crps(y[:2])[0] == np.inf and np.isfinite(wide.crps(y[:2])[1])


ESTIMATORS = [
    LinearRegression(),
    RobustRegression(),
    ErrorsInVariables(),
    LogisticRegression(),
    SoftmaxRegression(),
    BayesianLogisticRegression(),
    PCA(1),
    HeteroscedasticPCA(1),
    GaussianMixture(1),
    ExtremeDeconvolution(1),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
def test_masked_values_are_refused(estimator):
    """NumPy drops a mask, and would fit what stands under it."""
    rng = np.random.default_rng(5)
    X = np.ma.array(rng.normal(size=(30, 2)), mask=False)
    y = (X.data[:, 0] + rng.normal(size=30) > 0).astype(float)
    estimator.fit(X, y)  # nothing is masked
    X[3, 1] = np.ma.masked
    X.data[3, 1] = -9999
    with pytest.raises(InputError, match="X has 1 masked values"):
        estimator.fit(X, y)


def test_masked_targets_and_errors_are_refused():
    from astropy.utils.masked import Masked

    rng = np.random.default_rng(6)
    X, y = rng.normal(size=(20, 1)), rng.normal(size=20)
    hidden = np.arange(20) == 4
    for masked in (np.ma.array(y, mask=hidden), Masked(y, mask=hidden)):
        with pytest.raises(InputError, match="y has 1 masked values"):
            LinearRegression().fit(X, masked)
    with pytest.raises(InputError, match="y_err has 1 masked values"):
        LinearRegression().fit(X, y, y_err=np.ma.array(np.ones(20), mask=hidden))
    prediction = LinearRegression().fit(X, y).predict_dist(X)
    with pytest.raises(InputError, match="y has 1 masked values"):
        calibration_report(prediction, np.ma.array(y, mask=hidden))


@pytest.mark.parametrize("name", ["statml.gp.GaussianProcessRegressor", "statml.neural.MLPRegressor"])
def test_a_feature_that_did_not_vary_may_do_so_later(name):
    """A scale of 1e-17 would take a change of 1e-7 for ten thousand million widths."""
    pytest.importorskip("torch")
    module, _, kind = name.rpartition(".")
    estimator = getattr(importlib.import_module(module), kind)
    rng = np.random.default_rng(7)
    X = np.column_stack([rng.normal(size=40), np.full(40, 0.1)])
    model = estimator(random_state=0).fit(X, X[:, 0] + 0.1 * rng.normal(size=40))
    first, second = model.predict([[0.5, 0.1], [0.5, 0.1 + 1e-7]])
    assert abs(first - second) < 1e-3
