"""Least squares beside statsmodels and scikit-learn: equal answers to ten digits."""

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression as SklearnLinearRegression

from statml.regression import LinearRegression
from statml.uncertainty import Covariance


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(42)
    X = rng.normal(size=(60, 3)) * [1.0, 10.0, 0.1] + [0.0, 5.0, 1.0]
    err = rng.uniform(0.2, 2.0, 60)
    y = 3.0 + X @ [1.0, -0.5, 4.0] + 1.7 * err * rng.normal(size=60)
    return X, y, err


def correlated(rng, n):
    A = rng.normal(size=(n, n))
    return A @ A.T / n + np.diag(rng.uniform(0.5, 1.5, n))


def compare(model, peer, *, absolute):
    assert_allclose(model.params_, peer.params, rtol=1e-10)
    expected = peer.normalized_cov_params if absolute else peer.cov_params()
    assert_allclose(model.params_cov_, expected, rtol=1e-10)
    assert_allclose(model.chi2_, peer.ssr, rtol=1e-10)
    assert model.dof_ == peer.df_resid
    if not absolute:
        assert_allclose(model.scale_**2, peer.scale, rtol=1e-10)


def test_ols(data):
    X, y, _ = data
    compare(LinearRegression().fit(X, y), sm.OLS(y, sm.add_constant(X)).fit(), absolute=False)
    assert_allclose(LinearRegression().fit(X, y).coef_, SklearnLinearRegression().fit(X, y).coef_, rtol=1e-10)


def test_ols_without_intercept(data):
    X, y, _ = data
    compare(LinearRegression(fit_intercept=False).fit(X, y), sm.OLS(y, X).fit(), absolute=False)


@pytest.mark.parametrize("absolute", [True, False])
def test_wls(data, absolute):
    X, y, err = data
    model = LinearRegression(absolute_errors=absolute).fit(X, y, y_err=err)
    compare(model, sm.WLS(y, sm.add_constant(X), weights=err**-2).fit(), absolute=absolute)


@pytest.mark.parametrize("absolute", [True, False])
def test_gls(data, absolute):
    X, y, _ = data
    C = correlated(np.random.default_rng(1), len(y))
    model = LinearRegression(absolute_errors=absolute).fit(X, y, y_cov=Covariance.dense(C))
    compare(model, sm.GLS(y, sm.add_constant(X), sigma=C).fit(), absolute=absolute)


def test_given_errors_are_absolute_unless_said_otherwise(data):
    X, y, err = data
    default = LinearRegression().fit(X, y, y_err=err)
    absolute = LinearRegression(absolute_errors=True).fit(X, y, y_err=err)
    relative = LinearRegression(absolute_errors=False).fit(X, y, y_err=err)
    assert_allclose(default.params_cov_, absolute.params_cov_, rtol=1e-14)
    assert_allclose(relative.params_cov_, absolute.params_cov_ * absolute.chi2_ / absolute.dof_, rtol=1e-12)
    # Relative errors mean the same in any unit.
    assert_allclose(
        LinearRegression(absolute_errors=False).fit(X, y, y_err=7 * err).params_cov_,
        relative.params_cov_,
        rtol=1e-11,
    )


def test_leverage(data):
    X, y, err = data
    ordinary = sm.OLS(y, sm.add_constant(X)).fit().get_influence().hat_matrix_diag
    assert_allclose(LinearRegression().fit(X, y).leverage(X), ordinary, rtol=1e-10)
    white = sm.OLS(y / err, sm.add_constant(X) / err[:, None]).fit().get_influence().hat_matrix_diag
    leverage = LinearRegression().fit(X, y, y_err=err).leverage(X, y_err=err)
    assert_allclose(leverage, white, rtol=1e-10)
    assert_allclose(leverage.sum(), 4)


@pytest.mark.parametrize("level", [0.68, 0.95])
def test_student_t_predictive_interval(data, level):
    X, y, _ = data
    new = np.random.default_rng(5).normal(size=(7, 3))
    frame = sm.OLS(y, sm.add_constant(X)).fit().get_prediction(sm.add_constant(new, has_constant="add"))
    low, high = LinearRegression().fit(X, y).predict_dist(new).interval(level)
    assert_allclose(
        np.column_stack([low, high]), frame.conf_int(obs=True, alpha=1 - level), rtol=1e-10, atol=1e-12
    )


def test_weighted_predictive_interval(data):
    """Relative weights: the prediction for a new value with its own relative error."""
    X, y, err = data
    new, new_err = X[:5] + 0.3, np.array([0.3, 0.5, 1.0, 2.0, 3.0])
    peer = sm.WLS(y, sm.add_constant(X), weights=err**-2).fit()
    frame = peer.get_prediction(sm.add_constant(new, has_constant="add"), weights=new_err**-2)
    model = LinearRegression(absolute_errors=False).fit(X, y, y_err=err)
    low, high = model.predict_dist(new, y_err=new_err).interval(0.9)
    assert_allclose(np.column_stack([low, high]), frame.conf_int(obs=True, alpha=0.1), rtol=1e-10)


def test_mean_interval_with_absolute_errors_is_the_parameters_alone(data):
    X, y, err = data
    A = sm.add_constant(X)
    peer = sm.WLS(y, A, weights=err**-2).fit()
    std = np.sqrt(np.einsum("ij,jk,ik->i", A, peer.normalized_cov_params, A))
    assert_allclose(LinearRegression().fit(X, y, y_err=err).predict(X, return_std=True)[1], std, rtol=1e-10)
