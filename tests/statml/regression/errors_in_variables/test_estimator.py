"""The facade: what it hands to a method, what it refuses, what it passes on."""

import pickle

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from statml.errors import InputError, InputTypeError
from statml.regression import ErrorsInVariables, Orthogonal, York
from statml.uncertainty import Covariance, CovarianceStack, covered_fraction, cross_predict_dist
from statml.units import QuantityEstimator

N = 60


def data(d=2):
    rng = np.random.default_rng(1)
    xi, sx, sy = rng.normal(0, 2, (N, d)), rng.uniform(0.2, 0.5, (N, d)), rng.uniform(0.2, 0.5, N)
    shared = 0.4 * sx * sy[:, None] / d
    E = np.concatenate([np.eye(d) * sx[:, :, None] ** 2, shared[:, :, None]], axis=2)
    E = np.concatenate([E, np.concatenate([shared, sy[:, None] ** 2], axis=1)[:, None]], axis=1)
    errors = np.einsum("nij,nj->ni", np.linalg.cholesky(E), rng.normal(size=(N, d + 1)))
    return xi + errors[:, :d], 1 + xi.sum(axis=1) + errors[:, d], sx, sy, shared


X, Y, SX, SY, SHARED = data()


def test_a_name_is_the_method_with_its_defaults():
    for name, method in {"york": York(), "orthogonal": Orthogonal()}.items():
        named = ErrorsInVariables(name).fit(X, Y, X_err=SX, y_err=SY, xy_cov=SHARED)
        given = ErrorsInVariables(method).fit(X, Y, X_err=SX, y_err=SY, xy_cov=SHARED)
        assert_allclose(named.params_, given.params_, rtol=0)


def test_all_forms_of_the_same_errors_agree():
    full = ErrorsInVariables().fit(X, Y, X_err=SX, y_err=SY)
    for errors in (
        {"X_cov": CovarianceStack.from_std(SX), "y_err": SY},
        {"X_cov": CovarianceStack.dense(SX[:, :, None] ** 2 * np.eye(2)), "y_cov": Covariance.from_std(SY)},
        {"X_err": SX, "y_err": SY, "xy_cov": np.zeros((N, 2))},
    ):
        assert_allclose(ErrorsInVariables().fit(X, Y, **errors).params_, full.params_, rtol=1e-12)


def test_correlation_of_the_errors_moves_the_line():
    with_it = ErrorsInVariables().fit(X, Y, X_err=SX, y_err=SY, xy_cov=SHARED)
    without = ErrorsInVariables().fit(X, Y, X_err=SX, y_err=SY)
    assert np.max(np.abs(with_it.coef_ - without.coef_)) > 1e-3
    assert with_it.chi2_ > without.chi2_  # positively correlated errors scatter less around a rising line


REFUSED = {
    "method": ({"method": "total"}, {}, ("method is 'total'", "'york'", "'orthogonal'")),
    "method type": ({"method": 3}, {}, ("method is 3",)),
    "xy_cov shape": ({}, {"xy_cov": SHARED[:, 0]}, ("xy_cov has shape (60,)", "(60, 2)")),
    "xy_cov NaN": ({}, {"xy_cov": np.full((N, 2), np.nan)}, ("xy_cov contains NaN",)),
    "xy_cov words": ({}, {"xy_cov": [["a", "b"]] * N}, ("xy_cov is a list",)),
    "xy_cov unit": ({}, {"xy_cov": SHARED * u.km}, ("xy_cov", "QuantityEstimator")),
    "xy_cov too large": ({}, {"xy_cov": 30 * SHARED}, ("xy_cov of row 0", "between -1 and 1")),
    "xy_cov without y_err": ({}, {"xy_cov": SHARED, "y_err": None}, ("xy_cov", "y_err beside it")),
    "xy_cov without X_err": ({}, {"xy_cov": SHARED, "X_err": None}, ("xy_cov", "X_err and y_err")),
    "dense y_cov": (
        {},
        {"y_err": None, "y_cov": Covariance.dense(np.eye(N) + 0.1)},
        ("y_cov is not diagonal",),
    ),
    "all infinite": ({}, {"y_err": np.inf}, ("y_err is infinite everywhere",)),
    "limits": ({}, {"y_upper_limit": np.zeros(N)}, ("y_upper_limit", "(60,) of bool")),
    "limits shape": ({}, {"y_upper_limit": np.zeros(3, bool)}, ("y_upper_limit", "(60,) of bool")),
    "York with limits": ({}, {"y_upper_limit": np.arange(N) == 0}, ("York cannot use y_upper_limit",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_one_sentence(case):
    settings, errors, words = REFUSED[case]
    with pytest.raises((InputError, InputTypeError)) as caught:
        ErrorsInVariables(**settings).fit(X, Y, **({"X_err": SX, "y_err": SY} | errors))
    text = str(caught.value)
    assert "\n" not in text and "accepted" in text.replace("QuantityEstimator", "accepted"), text
    for word in words:
        assert word in text, text


def test_correlations_of_one_feature_are_checked_too():
    with pytest.raises(InputError, match="xy_cov of row 7"):
        c = np.zeros((N, 1))
        c[7] = 1.01 * SX[7, 0] * SY[7]
        ErrorsInVariables().fit(X[:, :1], Y, X_err=SX[:, :1], y_err=SY, xy_cov=c)


def test_no_limit_at_all_is_accepted_by_all():
    ErrorsInVariables().fit(X, Y, X_err=SX, y_err=SY, y_upper_limit=np.zeros(N, bool))


def test_joint_covariance_with_correlated_errors_of_the_new_y():
    line = ErrorsInVariables().fit(X, Y, X_err=SX, y_err=SY)
    new = Covariance.dense(0.04 * np.eye(5) + 0.02)
    p = line.predict_dist(X[:5], X_err=SX[:5], y_cov=new)
    A = np.column_stack([np.ones(5), X[:5]])
    inputs = SX[:5] ** 2 @ line.coef_**2 + SX[:5] ** 2 @ np.diag(line.coef_cov_)
    expected = A @ line.params_cov_ @ A.T + np.diag(inputs) + new.to_dense()
    assert_allclose(p.cov.to_dense(), expected, rtol=1e-10)
    assert_allclose(p.std**2, np.diag(expected), rtol=1e-10)
    assert np.isfinite(p.joint_log_prob(Y[:5]))


def test_attributes_of_an_earlier_fit_do_not_stay():
    line = ErrorsInVariables(Orthogonal(scatter=True)).fit(X, Y, X_err=SX, y_err=SY)
    assert line.scatter_limit_ > 0
    line.set_params(method="york").fit(X, Y, X_err=SX, y_err=SY)
    assert not hasattr(line, "scatter_limit_") and line.scatter_ == 0


def test_clone_and_pickle_keep_the_method():
    line = ErrorsInVariables(Orthogonal(scatter=True, outliers=True), random_state=3)
    assert clone(line).method == line.method
    fitted = pickle.loads(pickle.dumps(line.fit(X, Y, X_err=SX, y_err=SY)))
    assert_allclose(fitted.predict(X), line.predict(X), rtol=0)


@pytest.mark.parametrize("offer", ["to_pymc", "to_inference_data"])
def test_offers_of_other_methods_are_named(offer):
    line = ErrorsInVariables().fit(X, Y, X_err=SX, y_err=SY)
    with pytest.raises(InputError, match="accepted is method='kelly'"):
        getattr(line, offer)()


def test_cross_validation_passes_all_errors():
    """Errors in x and y that are independent: held-out points are covered, 3 binomial sigma of 60."""
    rng = np.random.default_rng(2)
    xi = rng.normal(0, 2, (N, 2))
    X, y = xi + SX * rng.normal(size=(N, 2)), 1 + xi.sum(axis=1) + SY * rng.normal(size=N)
    p = cross_predict_dist(ErrorsInVariables(), X, y, X_err=SX, y_err=SY, xy_cov=np.zeros((N, 2)), cv=5)
    assert abs(covered_fraction(p, y, 0.68) - 0.68) < 3 * np.sqrt(0.68 * 0.32 / N)


def test_units():
    """The line of quantities is the line of their numbers."""
    plain = ErrorsInVariables().fit(X, Y, X_err=SX, y_err=SY, xy_cov=SHARED)
    line = QuantityEstimator(ErrorsInVariables()).fit(
        X * u.km, Y * u.K, X_err=SX * 1000 * u.m, y_err=SY * u.K, xy_cov=SHARED * u.km * u.K
    )
    p = line.predict_dist(X * u.km, X_err=SX * u.km, y_err=SY * u.K)
    expected = plain.predict_dist(X, X_err=SX, y_err=SY)
    assert_allclose(p.mean.to_value(u.K), expected.mean, rtol=1e-10)
    assert_allclose(p.std.to_value(u.K), expected.std, rtol=1e-10)
