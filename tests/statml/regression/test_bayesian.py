"""Bayesian linear regression against dense formulas, quadrature and simulation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, optimize, stats

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


# -- heavy tails -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("df", [2.15, 3.0, 5.0, 20.0, 45.0])
@pytest.mark.parametrize("ratio", [0.0, 0.1, 1.0, 5.0])
def test_heavy_tailed_prediction_is_the_convolution(df, ratio):
    """Density of the mixture against quadrature of Student-t scatter convolved with a normal, to 1e-6."""
    from statml.regression.scatter import Scatter

    model = fitted("student_t", True)
    kept = model.log_scatter_
    try:
        model.log_scatter_ = Scatter(np.r_[np.log(0.7), np.zeros(3)], kept.center, kept.scale, df)
        x = np.array([[0.3, -0.2, 0.5]])
        p = model.predict_dist(x, y_err=0.7 * ratio)
    finally:
        model.log_scatter_ = kept
    width = np.sqrt(p.variance_components["parameter"][0] + (0.7 * ratio) ** 2)
    for offset in (0.0, 0.5, -1.5, 4.0, 12.0):
        y = p.mean[0] + offset

        def integrand(t, offset=offset):
            return stats.t.pdf((offset - t) / 0.7, df) / 0.7 * stats.norm.pdf(t, scale=width)

        exact = integrate.quad(integrand, -12 * width, 12 * width, limit=500, epsabs=1e-13, points=[0.0])[0]
        assert_allclose(np.exp(p.log_prob(y))[0], exact, rtol=1e-5, atol=1e-6)


def outliers(seed=0, n=300):
    rng = np.random.default_rng(seed)
    X, err = rng.normal(size=(n, 1)), np.full(n, 0.1)
    return X, 1.0 + 2.0 * X[:, 0] + 0.5 * rng.standard_t(3.0, n) + err * rng.normal(size=n), err


def test_outliers_do_not_move_the_line():
    X, y, err = outliers()
    moved = y.copy()
    far = np.argsort(X[:, 0])[-6:]
    moved[far] += 60.0
    robust = BayesianLinearRegression(tails="student_t")
    clean = robust.fit(X, y, y_err=err).coef_.copy()
    error = robust.coef_err_[0]
    assert abs(clean[0] - 2.0) < 4 * error
    assert abs(robust.fit(X, moved, y_err=err).coef_[0] - clean[0]) < 2 * error
    normal = BayesianLinearRegression().fit(X, moved, y_err=err)
    assert abs(normal.coef_[0] - 2.0) > 10 * error


def test_degrees_of_freedom_and_scale_are_recovered():
    """df = 3, s = 0.5 from 6,000 rows, each within 4 standard errors from the expected information."""
    X, y, err = outliers(3, 6000)
    model = BayesianLinearRegression(tails="student_t").fit(X, y, y_err=err)
    # Numerical information of (log s, log df) at the truth, by the scores of the exact density.
    scores = []
    residual = y - 1.0 - 2.0 * X[:, 0]
    for step in (np.array([1e-3, 0]), np.array([0, 1e-3])):
        log_density = [
            log_convolved(
                residual, np.exp(np.log(0.5) + sign * step[0]), np.exp(np.log(3.0) + sign * step[1])
            )
            for sign in (1, -1)
        ]
        scores.append((log_density[0] - log_density[1]) / 2e-3)
    error = np.sqrt(np.diag(np.linalg.inv(np.array(scores) @ np.array(scores).T)))
    assert abs(np.log(model.scatter_ / 0.5)) < 4 * error[0]
    assert abs(np.log(model.tail_df_ / 3.0)) < 4 * error[1]
    assert error[1] < 0.1  # the test would notice a wrong df


def log_convolved(residual, scale, df, err=0.1):
    nodes, weights = np.polynomial.hermite_e.hermegauss(30)
    shifted = stats.t.pdf((residual[:, None] - err * nodes) / scale, df) / scale
    return np.log(shifted @ weights / weights.sum())


def test_normal_scatter_has_no_heavy_tails():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(2000, 1))
    y = X[:, 0] + rng.normal(size=2000)
    assert BayesianLinearRegression(tails="student_t").fit(X, y).tail_df_ > 15
    assert BayesianLinearRegression().fit(X, y).tail_df_ == np.inf


def test_scatter_that_follows_the_features():
    """log s = log 0.3 + 0.8 x0 - 0.4 x1: within 4 of the errors 1 / sqrt(2 n) of a log scale."""
    rng = np.random.default_rng(6)
    n = 5000
    X = rng.normal(size=(n, 2))
    s = 0.3 * np.exp(0.8 * X[:, 0] - 0.4 * X[:, 1])
    y = X @ [1.0, 1.0] + s * rng.normal(size=n)
    model = BayesianLinearRegression(scatter_model="features").fit(X, y)
    gamma = model.log_scatter_.gamma
    error = 1 / np.sqrt(2 * n)
    assert_allclose(
        gamma[1:] / X.std(axis=0), [0.8, -0.4], atol=4 * error + 0.003
    )  # the prior shrinks by 0.3 %
    assert_allclose(model.log_scatter_.at(X[:50]), s[:50], rtol=0.1)
    p = model.predict_dist(X[:50])
    assert_allclose(p.std, s[:50], rtol=0.1)


@pytest.mark.parametrize("student", [True, False])
@pytest.mark.parametrize("follow", [True, False])
def test_gradient_of_the_scatter_fit(student, follow):
    from statml.regression.evidence import Prior
    from statml.regression.scatter import _Problem

    rng = np.random.default_rng(2)
    X = rng.normal(size=(25, 2))
    A = np.column_stack([np.ones(25), X])
    G = A if follow else np.ones((25, 1))
    y = A @ [1.0, 2.0, 3.0] + rng.standard_t(3, 25)
    problem = _Problem(
        A, G, y, rng.uniform(0, 0.5, 25), Prior(np.zeros(3), np.linalg.cholesky(own_prior(3))), student
    )
    for seed in range(3):
        theta = np.random.default_rng(seed).normal(size=3 + G.shape[1] + 1)
        gradient = problem.loss(theta)[1]
        numeric = optimize.approx_fprime(theta, lambda t: problem.loss(t)[0], 1e-6)
        assert_allclose(gradient, numeric, rtol=2e-5, atol=2e-4)


def test_laplace_of_normal_scatter_is_exact():
    """With normal scatter and a fixed line problem the approximation is the conjugate posterior itself."""
    from statml.compute import namespace
    from statml.regression.evidence import Prior, conjugate
    from statml.regression.least_squares import reduce_rows
    from statml.regression.scatter import _Problem

    rng = np.random.default_rng(2)
    X, variance = rng.normal(size=(25, 2)), rng.uniform(0.1, 0.5, 25)
    y = X @ [2.0, 3.0] + rng.normal(size=25)
    prior = Prior(np.ones(2), np.linalg.cholesky(own_prior(2)))
    total = variance + 0.6**2
    triangle = reduce_rows(X, y, intercept=False, weights=total**-0.5, device=namespace("cpu"))
    exact = conjugate(triangle, prior, float(np.sum(np.log(total))))
    problem = _Problem(X, np.ones((25, 1)), y, variance, prior, False)
    ours = problem.laplace(exact.mean, np.array([np.log(0.6)]), np.inf)
    assert_allclose(ours.factor @ ours.factor.T, exact.factor @ exact.factor.T, rtol=1e-9)
    assert_allclose(ours.log_evidence, exact.log_evidence, rtol=1e-10)


def test_laplace_of_heavy_tails_is_the_curvature_there():
    """Posterior precision of the line: the Hessian of the negative log posterior, outliers' share included."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(60, 2))
    y = X @ [1.0, -1.0] + 0.4 * rng.standard_t(2.5, 60)
    y[:3] += 8.0
    err = np.full(60, 0.2)
    model = BayesianLinearRegression(tails="student_t", prior_cov=4.0).fit(X, y, y_err=err)
    A = np.column_stack([np.ones(60), X])
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)

    def negative_log_posterior(line):
        shifted = ((y - A @ line)[:, None] - 0.2 * nodes) / model.scatter_
        density = stats.t.pdf(shifted, model.tail_df_) @ weights / weights.sum() / model.scatter_
        return -np.sum(np.log(density)) + line @ line / 8

    step = 1e-3
    offsets = step * np.eye(3)
    hessian = np.array(
        [
            [
                (
                    negative_log_posterior(model.params_ + a + b)
                    - negative_log_posterior(model.params_ + a - b)
                    - negative_log_posterior(model.params_ - a + b)
                    + negative_log_posterior(model.params_ - a - b)
                )
                / (4 * step**2)
                for b in offsets
            ]
            for a in offsets
        ]
    )
    scale = np.sqrt(np.diag(hessian))
    ours = np.linalg.inv(model.params_cov_)
    assert_allclose(ours / np.outer(scale, scale), hessian / np.outer(scale, scale), atol=2e-3)


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
