"""Bayesian linear regression against dense formulas, quadrature and simulation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize, stats

from statml.errors import InputError
from statml.regression import BayesianLinearRegression, LinearRegression
from statml.uncertainty import Covariance, Gaussian, GaussianMixture


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(12)
    X = rng.normal(size=(40, 3)) * [1.0, 20.0, 0.01] + [0.0, 100.0, 1.0]
    err = rng.uniform(0.5, 1.5, 40)
    y = 5.0 + X @ [1.0, 0.2, 300.0] + np.hypot(err, 0.8) * rng.normal(size=40)
    return X, y, err


def noise_forms(err):
    rng = np.random.default_rng(4)
    n = len(err)
    modes = rng.normal(size=(n, 2))
    dense = np.diag(err**2) + modes @ modes.T + 0.2
    block = np.zeros((n, n))
    block[:15, :15], block[15:, 15:] = dense[:15, :15], dense[15:, 15:]
    return {
        "none": ({}, np.zeros((n, n))),
        "equal": ({"y_err": 0.7}, 0.49 * np.eye(n)),
        "diagonal": ({"y_err": err}, np.diag(err**2)),
        "block": ({"y_cov": Covariance.block([block[:15, :15], block[15:, 15:]])}, block),
        "low rank": ({"y_cov": Covariance.low_rank(err**2, modes)}, np.diag(err**2) + modes @ modes.T),
        "dense": ({"y_cov": Covariance.dense(dense)}, dense),
    }


def own_prior(p, seed=8):
    A = np.random.default_rng(seed).normal(size=(p, p))
    return A @ A.T + 0.5 * np.eye(p)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("prior", ["given", "evidence"])
@pytest.mark.parametrize("scatter", [0.9, "evidence"])
@pytest.mark.parametrize("form", ["none", "equal", "diagonal", "block", "low rank", "dense"])
def test_evidence_and_posterior_are_the_dense_formulas(data, form, scatter, prior, intercept):
    """log N(y; A m0, A S0 A^T + C + s^2 I) by scipy, and the textbook posterior."""
    X, y, err = data
    keywords, C = noise_forms(err)[form]
    A = np.column_stack([np.ones(40), X]) if intercept else X
    p = A.shape[1]
    given = {} if prior == "evidence" else {"prior_cov": own_prior(p), "prior_mean": np.arange(p) - 1.0}
    model = BayesianLinearRegression(scatter=scatter, fit_intercept=intercept, **given).fit(X, y, **keywords)
    noise = C + model.scatter_**2 * np.eye(40)
    m0, S0 = model.prior_mean_, model.prior_cov_
    if prior == "given":
        assert_allclose(S0, given["prior_cov"], rtol=1e-13)
        assert_allclose(m0, given["prior_mean"])
    # The marginal covariance is written out in full: nothing of the package's algebra is in it.
    total = A @ S0 @ A.T + noise
    expected = stats.multivariate_normal(A @ m0, total, allow_singular=False).logpdf(y)
    assert_allclose(model.log_evidence_, expected, rtol=1e-10 if prior == "given" else 1e-9)
    gain = np.linalg.solve(total, A @ S0).T
    assert_allclose(model.params_, m0 + gain @ (y - A @ m0), rtol=1e-6, atol=1e-6)
    precision = np.linalg.inv(S0) + A.T @ np.linalg.solve(noise, A)
    scale = np.sqrt(np.diag(model.params_cov_))
    assert_allclose(
        model.params_cov_ / np.outer(scale, scale),
        np.linalg.inv(precision) / np.outer(scale, scale),
        atol=1e-6,
    )


def test_evidence_of_whitened_features_to_ten_digits():
    """On features of order one the evidence-fitted prior is as good as a given one."""
    rng = np.random.default_rng(3)
    X, err = rng.normal(size=(50, 4)), rng.uniform(0.3, 1.0, 50)
    y = X @ [1.0, 0.5, 0.0, -2.0] + np.hypot(err, 0.4) * rng.normal(size=50)
    for keywords, C in noise_forms(err).values():
        model = BayesianLinearRegression().fit(X, y, **keywords)
        A = np.column_stack([np.ones(50), X])
        total = A @ model.prior_cov_ @ A.T + C + model.scatter_**2 * np.eye(50)
        expected = stats.multivariate_normal(A @ model.prior_mean_, total).logpdf(y)
        assert_allclose(model.log_evidence_, expected, rtol=1e-10)


@pytest.mark.parametrize("form", ["none", "equal", "diagonal", "block", "low rank", "dense"])
def test_the_evidence_is_at_its_maximum(data, form):
    """A step in either width lowers it: evaluated densely, with the attributes alone."""
    X, y, err = data
    keywords, C = noise_forms(err)[form]
    model = BayesianLinearRegression().fit(X, y, **keywords)
    A = np.column_stack([np.ones(40), X])
    spread, center = X.std(axis=0), X.mean(axis=0)

    def evidence(width, scatter):
        slopes = width * y.std() / spread
        factor = np.diag(np.concatenate([[10 * y.std()], slopes]))
        factor[0, 1:] = -slopes * center
        mean = np.array([y.mean(), 0, 0, 0])
        total = A @ factor @ factor.T @ A.T + C + scatter**2 * np.eye(40)
        return stats.multivariate_normal(A @ mean, total).logpdf(y)

    width, scatter = model.prior_width_, model.scatter_
    best = evidence(width, scatter)
    assert_allclose(best, model.log_evidence_, rtol=1e-8)
    for step in (0.9, 1.1):
        assert evidence(width * step, scatter) < best
        assert evidence(width, max(scatter, 1e-3) * step) < best + 1e-6
    outside = optimize.minimize(
        lambda t: -evidence(*np.exp(t)), np.log([width * 3, max(scatter, 0.05) * 3]), method="Nelder-Mead"
    )
    assert -outside.fun <= best + 1e-3


def test_flat_prior_is_weighted_least_squares(data):
    X, y, err = data
    wide = BayesianLinearRegression(prior_cov=1e16, scatter=0.0).fit(X, y, y_err=err)
    line = LinearRegression().fit(X, y, y_err=err)
    assert_allclose(wide.params_, line.params_, rtol=1e-6)
    assert_allclose(wide.params_cov_, line.params_cov_, rtol=1e-5)


def test_known_scatter_is_recovered():
    """Within 4 of its standard errors, about s / sqrt(2 n) for errors below the scatter."""
    rng = np.random.default_rng(0)
    n, s = 4000, 0.5
    X, err = rng.normal(size=(n, 2)), rng.uniform(0.1, 0.4, n)
    y = X @ [1.0, -1.0] + np.hypot(err, s) * rng.normal(size=n)
    model = BayesianLinearRegression().fit(X, y, y_err=err)
    total = s**2 + err**2
    error = 1 / (s * np.sqrt(2 * np.sum(total**-2.0)))
    assert abs(model.scatter_ - s) < 4 * error
    assert_allclose(model.predict_dist(X[:3]).variance_components["model"], model.scatter_**2)


def test_no_scatter_where_errors_explain_everything():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 1))
    y = X[:, 0] + 0.8 * rng.normal(size=300)  # errors overstated: 1 instead of 0.8
    model = BayesianLinearRegression().fit(X, y, y_err=1.0)
    assert model.scatter_ < 0.05
    line = LinearRegression().fit(X, y, y_err=1.0)
    assert_allclose(model.coef_err_, line.coef_err_, rtol=0.02)


def test_exact_values_are_allowed_beside_scatter():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 1))
    y = 2 * X[:, 0] + 0.3 * rng.normal(size=200)
    exact = BayesianLinearRegression().fit(X, y, y_err=np.zeros(200))
    none = BayesianLinearRegression().fit(X, y)
    assert_allclose(exact.params_, none.params_, rtol=1e-6)
    assert_allclose(exact.scatter_, none.scatter_, rtol=1e-3)
    # The same variance, under its own name: given errors make the rest intrinsic.
    assert_allclose(exact.predict_dist(X).variance_components["model"], exact.scatter_**2)
    assert_allclose(none.predict_dist(X).variance_components["noise"], none.scatter_**2)
    with pytest.raises(InputError, match="scatter is 0"):
        BayesianLinearRegression(scatter=0.0).fit(X, y, y_err=np.r_[0.0, np.ones(199)])


def test_infinite_error_is_a_removed_row(data):
    X, y, err = data
    infinite, spoiled = err.copy(), y.copy()
    infinite[5], spoiled[5] = np.inf, -1e9
    kept = np.arange(40) != 5
    for keywords in ({}, {"tails": "student_t"}, {"scatter_model": "features"}):
        model = BayesianLinearRegression(**keywords).fit(X, spoiled, y_err=infinite)
        expected = BayesianLinearRegression(**keywords).fit(X[kept], y[kept], y_err=err[kept])
        assert_allclose(model.params_, expected.params_, rtol=1e-12)
        assert_allclose(model.log_evidence_, expected.log_evidence_, rtol=1e-12)


def test_units_do_not_matter(data):
    X, y, err = data
    c = np.array([1e6, 1e-6, 1e3])
    for tails in ("gaussian", "student_t"):
        first = BayesianLinearRegression(tails=tails).fit(X, y, y_err=err)
        second = BayesianLinearRegression(tails=tails).fit(X * c, 1e3 * y, y_err=1e3 * err)
        tolerance = 1e-3 * first.coef_err_
        assert np.all(np.abs(second.coef_ * c / 1e3 - first.coef_) < 20 * tolerance)
        assert_allclose(second.scatter_ / 1e3, first.scatter_, rtol=0.02)
        assert_allclose(second.predict(X * c) / 1e3, first.predict(X), rtol=1e-4)


@pytest.mark.parametrize("unit", [1e-17, 1e-30, 1e40])
@pytest.mark.parametrize("shape", [{"tails": "student_t"}, {"scatter_model": "features"}])
def test_shapes_of_scatter_in_any_unit(data, shape, unit):
    """Fluxes are 1e-17 in their usual unit, far below limits that hold for numbers near one."""
    X, y, err = data
    first = BayesianLinearRegression(**shape).fit(X, y, y_err=err)
    second = BayesianLinearRegression(**shape).fit(X, y * unit, y_err=err * unit)
    one, other = first.predict_dist(X[:5]), second.predict_dist(X[:5])
    assert_allclose(other.mean / unit, one.mean, atol=1e-3 * one.std.min())
    assert_allclose(other.std / unit, one.std, rtol=1e-3)
    assert_allclose(second.log_evidence_ + len(y) * np.log(unit), first.log_evidence_, atol=1e-3)


@pytest.mark.parametrize("constant", [10.0, 123.4, 1e4])
def test_a_constant_added_to_y_changes_no_width(constant):
    """Errors explain nearly all, so that the evidence is almost flat in the scatter."""
    rng = np.random.default_rng(0)
    X, err = rng.normal(size=(48, 2)), rng.uniform(0.5, 1.5, 48)
    y = X @ [1.0, 0.4] + err * rng.normal(size=48)
    first = BayesianLinearRegression().fit(X, y, y_err=err)
    second = BayesianLinearRegression().fit(X, y + constant, y_err=err)
    assert_allclose(second.predict_dist(X).std, first.predict_dist(X).std, rtol=1e-4)
    assert_allclose(second.log_evidence_, first.log_evidence_, atol=1e-6)


def test_order_of_rows_does_not_matter(data):
    X, y, err = data
    order = np.random.default_rng(0).permutation(40)
    first = BayesianLinearRegression().fit(X, y, y_err=err)
    second = BayesianLinearRegression().fit(X[order], y[order], y_err=err[order])
    assert_allclose(second.log_evidence_, first.log_evidence_, rtol=1e-8)
    assert_allclose(second.predict(X), first.predict(X), rtol=1e-6)


MODELS = {
    "default": {},
    "fixed": {"prior_cov": 4.0, "scatter": 0.3},
    "student_t": {"tails": "student_t"},
    "features": {"scatter_model": "features"},
    "both": {"tails": "student_t", "scatter_model": "features"},
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("fit_errors", [False, True])
@pytest.mark.parametrize("x_errors", [None, "err", "cov"])
@pytest.mark.parametrize("y_errors", [None, "err", "cov"])
def test_components_sum_to_the_variance(data, kind, fit_errors, x_errors, y_errors):
    from statml.uncertainty import CovarianceStack

    X, _, err = data
    model = fitted(kind, fit_errors)
    given = {
        None: {},
        "err": {"X_err": np.full((40, 3), 0.01)},
        "cov": {"X_cov": CovarianceStack.dense(np.tile(1e-4 * (np.eye(3) + 0.5), (40, 1, 1)))},
    }[x_errors] | {
        None: {},
        "err": {"y_err": err},
        "cov": {"y_cov": Covariance.dense(np.diag(err**2) + 0.1)},
    }[y_errors]
    p = model.predict_dist(X, **given)
    parts = p.variance_components
    assert_allclose(np.sum(list(parts.values()), axis=0), p.std**2, rtol=1e-12)
    assert np.all(np.isfinite(p.std)) and np.all(parts["parameter"] > 0)
    assert np.all(parts["input"] > 0) == (x_errors is not None)
    assert np.all(parts["model"] > 0) == fit_errors
    assert np.all(parts["noise"] > 0) == (y_errors is not None or not fit_errors)
    assert isinstance(p, GaussianMixture if kind in ("student_t", "both") else Gaussian)
    if p.cov is not None:
        assert_allclose(p.cov.variance(), p.std**2, rtol=1e-12)


_FITTED = {}


def fitted(kind, fit_errors):
    if (kind, fit_errors) not in _FITTED:
        rng = np.random.default_rng(12)
        X = rng.normal(size=(80, 3))
        y = X @ [1.0, 0.2, 3.0] + 0.5 * rng.standard_t(4, 80)
        errors = {"y_err": np.full(80, 0.1)} if fit_errors else {}
        _FITTED[kind, fit_errors] = BayesianLinearRegression(**MODELS[kind]).fit(X, y, **errors)
    return _FITTED[kind, fit_errors]


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"prior_cov": "ridge"}, "prior_cov is 'ridge'"),
        ({"prior_cov": np.eye(3)}, r"accepted are \(4,\) and \(4, 4\)"),
        ({"prior_cov": -np.eye(4)}, "not positive definite"),
        ({"prior_mean": 1.0}, "prior_mean is given"),
        ({"scatter": "fit"}, "scatter is 'fit'"),
        ({"scatter": -1.0}, "scatter is -1.0"),
        ({"scatter": None}, "scatter is None"),
        ({"scatter": np.inf}, "scatter is inf"),
        ({"tails": "cauchy"}, "tails is 'cauchy'"),
        ({"scatter_model": "linear"}, "scatter_model is 'linear'"),
        ({"scatter": 0.0}, "scatter is 0"),
        ({"tails": "student_t", "scatter": 1.0}, "accepted is 'evidence'"),
    ],
)
def test_wrong_parameters_are_one_clear_sentence(data, parameters, sentence):
    X, y, _ = data
    with pytest.raises(InputError, match=sentence) as caught:
        BayesianLinearRegression(**parameters).fit(X, y)
    assert "\n" not in str(caught.value)


def test_correlated_errors_need_constant_normal_scatter(data):
    X, y, err = data
    for keywords in ({"tails": "student_t"}, {"scatter_model": "features"}):
        with pytest.raises(InputError, match="y_cov is not diagonal; accepted"):
            BayesianLinearRegression(**keywords).fit(X, y, y_cov=Covariance.dense(np.diag(err**2) + 0.1))
