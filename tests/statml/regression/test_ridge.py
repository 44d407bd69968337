"""Ridge regression against brute force, dense algebra, scikit-learn and least squares."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize, sparse, special
from sklearn.linear_model import Ridge

from statml.errors import InputError
from statml.regression import LinearRegression, RidgeRegression
from statml.uncertainty import Covariance, rank_uniformity

N, D = 40, 6


def data(seed=0, n=N, d=D):
    rng = np.random.default_rng(seed)
    Z, widths = rng.normal(size=(n, d)), np.logspace(-1, 1, d)
    err = rng.uniform(0.5, 2.0, n)
    return Z * widths + 3.0, 5 + Z @ rng.normal(0, 0.4, d) + err * rng.normal(size=n), err


X, Y, ERR = data()
PLATES = np.kron(np.eye(4), np.ones((N // 4, 1))) * 0.7
CORRELATED = Covariance.low_rank(ERR**2, PLATES)
ERRORS = {"none": {}, "y_err": {"y_err": ERR}, "y_cov": {"y_cov": CORRELATED}}


def dense_covariance(errors):
    if "y_cov" in errors:
        return errors["y_cov"].to_dense()
    return np.diag(errors["y_err"] ** 2) if errors else np.eye(N)


def dense_solution(alpha, errors, *, intercept=True, standardise=True):
    """Design, C^-1, penalty matrix and M^-1, by plain matrix inversion."""
    A = np.column_stack([np.ones(N), X]) if intercept else X
    penalty = X.var(axis=0) if standardise else np.ones(D)
    P = np.diag(np.r_[np.zeros(int(intercept)), penalty])
    precision = np.linalg.inv(dense_covariance(errors))
    return A, precision, P, np.linalg.inv(A.T @ precision @ A + alpha * P)


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("alpha", [1e-3, 1.0, 50.0])
def test_against_dense_algebra(name, intercept, standardise, alpha):
    errors = ERRORS[name]
    A, W, _, M_inverse = dense_solution(alpha, errors, intercept=intercept, standardise=standardise)
    model = RidgeRegression(alpha, fit_intercept=intercept, standardise=standardise).fit(X, Y, **errors)
    x = M_inverse @ A.T @ W @ Y
    hat_trace = np.trace(A @ M_inverse @ A.T @ W)
    chi2 = (Y - A @ x) @ W @ (Y - A @ x)
    scale2 = 1.0 if errors else chi2 / (N - hat_trace)
    assert_allclose(model.params_, x, rtol=1e-9)
    assert_allclose(model.dof_effective_, hat_trace, rtol=1e-10)
    assert_allclose(model.chi2_, chi2, rtol=1e-10)
    assert_allclose(model.scale_**2, scale2, rtol=1e-10)
    assert_allclose(model.gcv_, N * chi2 / (N - hat_trace) ** 2, rtol=1e-9)
    assert_allclose(model.params_cov_, scale2 * M_inverse, rtol=1e-8, atol=1e-14)
    sampling = scale2 * M_inverse @ A.T @ W @ A @ M_inverse
    assert_allclose(model.sampling_cov_, sampling, rtol=1e-8, atol=1e-14)


def test_posterior_covariance_is_variance_plus_expected_square_of_the_bias():
    """scale^2 M^-1 = sampling variance + E[bias bias^T], bias = -alpha M^-1 P b, b ~ N(0, scale^2/alpha P^-1)."""
    alpha = 7.0
    model = RidgeRegression(alpha).fit(X, Y, y_err=ERR)
    *_, P, M_inverse = dense_solution(alpha, ERRORS["y_err"])
    spread = np.diag(np.r_[0, 1 / np.diag(P)[1:]]) / alpha
    bias = alpha * M_inverse @ P
    assert_allclose(model.params_cov_, model.sampling_cov_ + bias @ spread @ bias.T, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 30.0])
def test_leave_one_out_against_brute_force(weighted, intercept, alpha):
    """r_i / (1 - h_i) beside N separate fits, the penalty's scales held fixed."""
    Z = X / X.std(axis=0)
    errors = {"y_err": ERR} if weighted else {}
    settings = {"fit_intercept": intercept, "standardise": False}
    model = RidgeRegression(alpha, **settings).fit(Z, Y, **errors)
    brute = np.empty(N)
    for i in range(N):
        rest = np.arange(N) != i
        own = {"y_err": ERR[rest]} if weighted else {}
        brute[i] = Y[i] - RidgeRegression(alpha, **settings).fit(Z[rest], Y[rest], **own).predict(Z[[i]])[0]
    assert_allclose(model.leave_one_out(Z, Y, **errors), brute, rtol=1e-10, atol=1e-10)
    assert_allclose(model.loo_, np.mean((brute / (ERR if weighted else 1)) ** 2), rtol=1e-10)


@pytest.mark.parametrize("name", ["none", "y_err"])
def test_chosen_penalties_are_at_the_minimum_of_a_fine_scan(name):
    errors = ERRORS[name]
    scan = np.geomspace(1e-4, 1e4, 400)
    fits = [RidgeRegression(a).fit(X, Y, **errors) for a in scan]
    for rule, score in (
        ("gcv", lambda m: m.gcv_),
        ("loo", lambda m: m.loo_),
        ("evidence", lambda m: -m.log_evidence_),
    ):
        chosen = RidgeRegression(rule).fit(X, Y, **errors)
        scores = np.array([score(m) for m in fits])
        assert 0 < np.argmin(scores) < 399, rule
        assert score(chosen) <= scores.min() + 1e-9 * abs(scores.min()), rule
        assert_allclose(chosen.alpha_, scan[np.argmin(scores)], rtol=0.05)


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("intercept", [True, False])
def test_evidence_against_dense_algebra(name, intercept):
    """N(y; c 1, V), V = C + X S0 X^T, the constant integrated out by completing the square in n dimensions."""
    errors, alpha = ERRORS[name], 3.0
    V = dense_covariance(errors) + X @ np.diag(1 / (alpha * X.var(axis=0))) @ X.T
    precision, logdet = np.linalg.inv(V), np.linalg.slogdet(V)[1]
    quadratic = Y @ precision @ Y
    if intercept:
        weight = precision.sum()
        quadratic -= (precision.sum(axis=0) @ Y) ** 2 / weight
        logdet += np.log(weight)
    free = N - intercept
    expected = -0.5 * (free * np.log(2 * np.pi) + logdet + quadratic)
    if not errors:
        # The scale s, that of the prior included, integrated out under d log s^2 by quadrature.
        t = np.linspace(-8, 8, 4001)
        integrand = -0.5 * (free * (np.log(2 * np.pi) + t) + logdet + quadratic * np.exp(-t))
        expected = special.logsumexp(integrand) + np.log(t[1] - t[0])
    model = RidgeRegression(alpha, fit_intercept=intercept).fit(X, Y, **errors)
    assert_allclose(model.log_evidence_, expected, rtol=1e-10)


def test_evidence_penalty_solves_mackays_equation():
    """At the maximum alpha |S b|^2 = scale^2 (tr H - 1): as many slopes well determined as their size says."""
    model = RidgeRegression("evidence").fit(X, Y)
    size = np.sum((model.feature_scale_ * model.coef_) ** 2)
    assert_allclose(model.alpha_ * size, model.scale_**2 * (model.dof_effective_ - 1), rtol=2e-3)
    free = optimize.minimize_scalar(
        lambda log_a: -RidgeRegression(float(np.exp(log_a))).fit(X, Y).log_evidence_,
        bounds=(-8, 8),
        method="bounded",
    )
    assert_allclose(np.log(model.alpha_), free.x, atol=2e-3)


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("name", ERRORS)
def test_small_penalty_is_least_squares(name, absolute):
    errors = ERRORS[name]
    if not errors and absolute:
        absolute = None
    least = LinearRegression(absolute_errors=absolute).fit(X, Y, **errors)
    for alpha in (0.0, 1e-12):
        ridge = RidgeRegression(alpha, absolute_errors=absolute).fit(X, Y, **errors)
        assert_allclose(ridge.params_, least.params_, rtol=1e-8)
        assert_allclose(ridge.params_cov_, least.params_cov_, rtol=1e-8, atol=1e-14)
        assert_allclose(ridge.dof_, least.dof_, rtol=1e-10)
        for extra in ({}, {"y_err": 0.3}, {"X_err": 0.1}):
            p, q = ridge.predict_dist(X[:5], **extra), least.predict_dist(X[:5], **extra)
            assert type(p) is type(q)
            assert_allclose(p.std, q.std, rtol=1e-8)
            assert_allclose(p.ppf(0.9), q.ppf(0.9), rtol=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [True, False])
def test_equals_scikit_learn(weighted, intercept):
    for alpha in (0.1, 10.0):
        peer = Ridge(alpha=alpha, fit_intercept=intercept, solver="cholesky")
        peer.fit(X, Y, sample_weight=1 / ERR**2 if weighted else None)
        ours = RidgeRegression(alpha, standardise=False, fit_intercept=intercept)
        ours.fit(X, Y, **({"y_err": ERR} if weighted else {}))
        assert_allclose(ours.coef_, peer.coef_, rtol=1e-9)
        assert_allclose(ours.intercept_, peer.intercept_, rtol=1e-9, atol=1e-12)


def test_units_of_the_features_do_not_matter():
    factors = 10.0 ** np.arange(-3, 3)
    plain, scaled = RidgeRegression("loo").fit(X, Y), RidgeRegression("loo").fit(X * factors, Y)
    assert_allclose(scaled.coef_ * factors, plain.coef_, rtol=1e-6)
    assert_allclose(scaled.alpha_, plain.alpha_, rtol=1e-3)


def test_more_features_than_rows():
    wide, y, err = data(1, n=20, d=50)
    for rule in ("gcv", "loo", "evidence", 5.0):
        for errors in ({}, {"y_err": err}):
            model = RidgeRegression(rule).fit(wide, y, **errors)
            assert 1 < model.dof_effective_ < 20
            assert np.all(np.isfinite(model.predict_dist(wide).std))
            assert_allclose(model.leverage(wide, **errors).sum(), model.dof_effective_, rtol=1e-9)


def test_sparse_equals_dense():
    rng = np.random.default_rng(3)
    thin = sparse.random_array((300, 20), density=0.15, rng=rng, format="csr")
    y, err = thin @ rng.normal(size=20) + rng.normal(size=300), rng.uniform(0.5, 2, 300)
    for rule in ("gcv", "loo", "evidence", 2.0):
        ours, dense = (RidgeRegression(rule).fit(Z, y, y_err=err) for Z in (thin, thin.toarray()))
        assert_allclose(ours.params_, dense.params_, rtol=1e-8, atol=1e-12)
        assert_allclose(
            [ours.loo_, ours.gcv_, ours.log_evidence_], [dense.loo_, dense.gcv_, dense.log_evidence_]
        )
        assert_allclose(
            ours.leave_one_out(thin, y, y_err=err), dense.leave_one_out(thin.toarray(), y, y_err=err)
        )


def prior_ranks(misstated, simulations=2000):
    """Ranks of true y where the slopes come from the prior of the penalty that is used."""
    rng = np.random.default_rng(11)
    alpha, ranks = 4.0, np.empty(simulations)
    for i in range(simulations):
        Z, new = rng.normal(size=(30, 4)), rng.normal(size=(1, 4))
        b = rng.normal(0, 1 / np.sqrt(alpha), 4)
        y = 2 + Z @ b + rng.normal(size=30)
        ridge = RidgeRegression(alpha, standardise=False).fit(Z, y, y_err=misstated)
        ranks[i] = ridge.predict_dist(new).cdf(2 + new @ b)[0]
    return ranks


def test_intervals_hold_under_the_prior_and_the_test_sees_wrong_errors():
    """2,000 simulations, alpha 1e-3; errors misstated by 20 % change prior and likelihood and are rejected."""
    right = prior_ranks(1.0)
    assert rank_uniformity(right) > 1e-3
    for level in (0.68, 0.95):
        covered = np.mean(np.abs(right - 0.5) < level / 2)
        assert abs(covered - level) < 3 * np.sqrt(level * (1 - level) / 2000)
    assert rank_uniformity(prior_ranks(0.8)) < 1e-3


def test_intervals_miss_a_slope_far_larger_than_the_others():
    """The bias that the docstring names: one slope of ten prior widths, not drawn from the prior."""
    rng = np.random.default_rng(12)
    inside = 0
    for _ in range(300):
        Z = rng.normal(size=(30, 4))
        y = Z @ [5.0, 0, 0, 0] + rng.normal(size=30)
        ridge = RidgeRegression(4.0, standardise=False).fit(Z, y, y_err=1.0)
        inside += abs(ridge.coef_[0] - 5.0) < 2 * ridge.coef_err_[0]
    assert inside / 300 < 0.5


@pytest.mark.parametrize("alpha", [1.0, "gcv", "evidence"])
def test_rows_that_all_say_nothing_are_refused(alpha):
    with pytest.raises(InputError, match="y_err is infinite everywhere"):
        RidgeRegression(alpha).fit(np.eye(3), np.ones(3), y_err=np.inf)


@pytest.mark.parametrize("alpha", [-1.0, np.nan, np.inf, "best", None, True])
def test_wrong_penalties(alpha):
    with pytest.raises(InputError, match=r"alpha is .*accepted are 'gcv', 'loo', 'evidence'"):
        RidgeRegression(alpha).fit(X, Y)


def test_refusals_say_what_to_do():
    with pytest.raises(InputError, match=r"y_cov is not diagonal.*'gcv'"):
        RidgeRegression("loo").fit(X, Y, y_cov=CORRELATED)
    assert RidgeRegression("gcv").fit(X, Y, y_cov=CORRELATED).loo_ is None
    with pytest.raises(InputError, match="linearly dependent"):
        RidgeRegression(0.0).fit(X[:, [0, 0, 1]], Y)
    with pytest.raises(InputError, match="larger alpha"):
        RidgeRegression(1e-9).fit(X[:5], Y[:5])
    with pytest.raises(InputError, match="n_samples=1"):
        RidgeRegression().fit(X[:1], Y[:1])
    with pytest.raises(InputError, match="ridge regression takes X as exact"):
        RidgeRegression().fit(X, Y, X_err=0.1)
    alone = np.zeros((N, 1))
    alone[0] = 1.0
    with pytest.raises(InputError, match="row 0 of X alone decides"):
        RidgeRegression(0.0).fit(alone, Y).leave_one_out(alone, Y)
