"""Jackknife and bootstrap: exact where theory is, errors cut with their rows, refusals in one sentence."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression as SklearnLinearRegression

from statml.errors import InputError, InputTypeError
from statml.regression import LinearRegression, RobustRegression
from statml.uncertainty import Covariance, bootstrap, jackknife


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(8)
    X, err = rng.uniform(0, 10, (60, 1)), rng.uniform(0.5, 2.0, 60)
    return X, 1 + 2 * X[:, 0] + err * rng.normal(size=60), err


def test_jackknife_of_a_mean_is_the_usual_standard_error():
    """A constant alone: std(y) / sqrt(n), exactly, and no bias."""
    y = np.random.default_rng(0).normal(size=25)
    found = jackknife(LinearRegression(fit_intercept=False), np.ones((25, 1)), y)
    assert_allclose(found.std[0], y.std(ddof=1) / 5, rtol=1e-12)
    assert_allclose(found.bias, 0, atol=1e-12)


def test_jackknife_of_least_squares_in_closed_form(data):
    """t_-i = t - (A^T W A)^-1 a_i w_i r_i / (1 - h_i), so no refit is needed to know the answer."""
    X, y, err = data
    model = LinearRegression().fit(X, y, y_err=err)
    A = np.column_stack([np.ones(60), X])
    residual, leverage = y - A @ model.params_, model.leverage(X, y_err=err)
    expected = model.params_ - (A @ model.params_cov_) * (residual / err**2 / (1 - leverage))[:, None]
    found = jackknife(LinearRegression(), X, y, y_err=err)
    assert_allclose(found.refits, expected, rtol=1e-9)
    spread = expected - expected.mean(axis=0)
    assert_allclose(found.cov, 59 / 60 * spread.T @ spread, rtol=1e-9)
    assert_allclose(found.params, model.params_, rtol=1e-12)


def test_errors_are_cut_along(data):
    X, y, err = data
    by_err = jackknife(LinearRegression(), X, y, y_err=err)
    by_cov = jackknife(LinearRegression(), X, y, y_cov=Covariance.dense(np.diag(err**2)))
    assert_allclose(by_cov.refits, by_err.refits, rtol=1e-9)
    same = bootstrap(LinearRegression(), X, y, y_err=err, size=5, rng=1)
    diagonal = bootstrap(LinearRegression(), X, y, y_cov=Covariance.from_std(err), size=5, rng=1)
    assert_allclose(same.refits, diagonal.refits, rtol=1e-12)


@pytest.mark.parametrize("method", ["pairs", "residuals"])
@pytest.mark.parametrize("with_errors", [True, False])
def test_bootstrap_agrees_with_the_formula(data, method, with_errors):
    """A right model: within 25 % of the standard errors (60 rows know them to 9 %, 400 refits to 3.5 %)."""
    X, y, err = data
    errors = {"y_err": err} if with_errors else {}
    model = LinearRegression(absolute_errors=False if with_errors else None).fit(X, y, **errors)
    found = bootstrap(LinearRegression(), X, y, method=method, size=400, rng=0, **errors)
    assert found.refits.shape == (400, 2)
    assert_allclose(found.std, np.sqrt(np.diag(model.params_cov_)), rtol=0.25)
    low, high = found.interval(0.68)
    assert_allclose((high - low) / 2, found.std, rtol=0.2)
    assert np.all(np.abs(found.bias) < 4 * found.std / np.sqrt(400))


def test_a_wrong_error_bar_is_found_by_resampling_only(data):
    X, y, err = data
    believed = LinearRegression().fit(X, y, y_err=err / 3).coef_err_[0]
    for found in (
        jackknife(LinearRegression(), X, y, y_err=err / 3),
        bootstrap(LinearRegression(), X, y, y_err=err / 3, rng=0),
    ):
        assert found.std[1] > 2 * believed


def test_a_robust_line_resampled(data):
    X, y, err = data
    y = np.where(np.arange(60) % 10 == 0, y + 40, y)
    robust = RobustRegression(random_state=0)
    found = bootstrap(robust, X, y, y_err=err, size=40, rng=0)
    assert_allclose(found.std, np.sqrt(np.diag(robust.fit(X, y, y_err=err).params_cov_)), rtol=0.5)


def test_the_estimator_is_left_alone_and_seeds_repeat(data):
    X, y, err = data
    estimator = LinearRegression()
    first = bootstrap(estimator, X, y, y_err=err, size=4, rng=3)
    assert not hasattr(estimator, "params_")
    assert_allclose(first.refits, bootstrap(estimator, X, y, y_err=err, size=4, rng=3).refits, rtol=0)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda X, y, e: bootstrap(LinearRegression(), X, y, method="wild"), "'pairs' and 'residuals'"),
        (lambda X, y, e: bootstrap(LinearRegression(), X, y, size=1), "size is 1"),
        (lambda X, y, e: jackknife(LinearRegression(), X, y, sigma=e), "sigma is not an error argument"),
        (lambda X, y, e: jackknife(LinearRegression(), X[:1], y[:1]), "y has 1 values"),
        (lambda X, y, e: jackknife(LinearRegression(), X, y[:5]), "accepted is one y for each row"),
        (lambda X, y, e: jackknife(LinearRegression(), X, y, y_err=e[:5]), r"y_err has shape \(5,\)"),
        (lambda X, y, e: jackknife(SklearnLinearRegression(), X, y), "has no params_"),
        (lambda X, y, e: jackknife(LinearRegression(), X, y * u.K), "QuantityEstimator"),
        (
            lambda X, y, e: bootstrap(LinearRegression(), X, y, y_cov=Covariance.dense(np.diag(e))),
            "y_cov is not diagonal",
        ),
        (
            lambda X, y, e: bootstrap(
                LinearRegression(), X, y, method="residuals", y_err=np.r_[np.inf, e[1:]]
            ),
            "y_err is infinite",
        ),
        (lambda X, y, e: bootstrap(LinearRegression(), X, y, size=3).interval(1.2), "level is 1.2"),
    ],
)
def test_refusals_are_one_sentence(data, call, sentence):
    with pytest.raises((InputError, InputTypeError), match=sentence) as caught:
        call(*data)
    assert "\n" not in str(caught.value)
