"""Sparse designs: the answers of the dense path, without the dense matrix.

The radial-velocity network is the book's: 20 stars, 50 spectra each, taken by 5
telescopes with a zero point and three drifts of their own; 1000 x 40, 87.5 % zeros.
"""

import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from statml.compute import namespace
from statml.errors import InputError
from statml.regression import BayesianLinearRegression, LinearRegression
from statml.regression.sparse_designs import folded_triangle, gram_triangle
from statml.uncertainty import Covariance, CovarianceStack

STARS, TELESCOPES, VISITS = 20, 5, 50


def network(seed=0):
    """Design (1000, 40) as CSR, velocities, truth: telescopes (zero point, 3 drifts each), then stars."""
    rng = np.random.default_rng(seed)
    star = np.repeat(np.arange(STARS), VISITS)
    telescope = rng.integers(0, TELESCOPES, STARS * VISITS)
    drift = rng.uniform(-1, 1, (STARS * VISITS, 3))
    rows = np.repeat(np.arange(len(star)), 5)
    columns = np.column_stack([4 * telescope[:, None] + np.arange(4), 4 * TELESCOPES + star]).ravel()
    values = np.column_stack([np.ones(len(star)), drift, np.ones(len(star))]).ravel()
    X = sparse.csr_array((values, (rows, columns)), (len(star), 40))
    truth = np.concatenate([rng.normal(0, 0.5, 4 * TELESCOPES), rng.normal(0, 20, STARS)])
    truth[0] = 0.0  # the zero point of one telescope defines the others
    return X, X @ truth + 0.1 * rng.normal(size=len(star)), truth


def columns_but_first(X):
    return X.tocsc()[:, 1:].tocsr()


def test_network_is_the_books():
    X, *_ = network()
    assert X.shape == (1000, 40)
    assert X.nnz == 0.125 * 1000 * 40


def test_network_with_one_zero_point_fixed():
    """Velocities to 0.1 / sqrt(50), and the whole solution within its own covariance (chi2 alpha 1e-3)."""
    from scipy import stats

    X, y, truth = network()
    model = LinearRegression(fit_intercept=False).fit(columns_but_first(X), y, y_err=0.1)
    gap = model.params_ - truth[1:]
    assert 1e-3 < stats.chi2.sf(gap @ np.linalg.solve(model.params_cov_, gap), 39) < 1 - 1e-3
    # the zero point of the reference telescope is shared by all stars, so they cannot reach .0141
    assert np.all(model.coef_err_[-STARS:] > 0.1 / np.sqrt(VISITS))
    assert np.all(model.coef_err_[-STARS:] < 2 * 0.1 / np.sqrt(VISITS))


@pytest.mark.parametrize("intercept", [False, True])
def test_dependence_is_reported_by_name(intercept):
    X, y, _ = network()
    with pytest.raises(InputError, match="linearly dependent columns") as sparse_error:
        LinearRegression(fit_intercept=intercept).fit(X, y, y_err=0.1)
    with pytest.raises(InputError) as dense_error:
        LinearRegression(fit_intercept=intercept).fit(X.toarray(), y, y_err=0.1)
    if not intercept:  # with one, the null space has two directions and any of them may be shown
        assert str(sparse_error.value) == str(dense_error.value)
        assert "column 0" in str(sparse_error.value) and "column 1," not in str(sparse_error.value)


def errors_of(n, seed=1):
    rng = np.random.default_rng(seed)
    err = rng.uniform(0.05, 0.2, n)
    plates = np.kron(np.eye(10), np.ones((n // 10, 1))) * 0.1
    block = 0.01 * (np.eye(10) + 0.5)
    return {
        "none": {},
        "y_err": {"y_err": err},
        "one infinite": {"y_err": np.r_[np.inf, err[1:]]},
        "low rank": {"y_cov": Covariance.low_rank(err**2, plates)},
        "block": {"y_cov": Covariance.block([block] * (n // 10))},
        "dense": {"y_cov": Covariance.dense(np.diag(err**2) + plates @ plates.T)},
    }


@pytest.mark.parametrize("name", errors_of(1000))
@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
def test_same_answer_as_dense(form, name):
    X, y, _ = network()
    X, errors = columns_but_first(X), errors_of(1000)[name]
    dense = LinearRegression(fit_intercept=False).fit(X.toarray(), y, **errors)
    thin = LinearRegression(fit_intercept=False).fit(form(X), y, **errors)
    assert_allclose(thin.params_, dense.params_, rtol=1e-8, atol=1e-10)
    assert_allclose(thin.params_cov_, dense.params_cov_, rtol=1e-8, atol=1e-14)
    assert_allclose(thin.chi2_, dense.chi2_, rtol=1e-8)
    assert_allclose(thin.condition_number_, dense.condition_number_, rtol=1e-8)


ILL = {
    "well": lambda D: D,
    "1e5": lambda D: np.column_stack([D[:, 0] + 1e-5 * D[:, 1] * D[:, 2], D]),
    "1e7": lambda D: np.column_stack([D[:, 0] + 1e-7 * D[:, 1] * D[:, 2], D]),
    "1e9": lambda D: np.column_stack([D[:, 0] + 1e-9 * D[:, 1] * D[:, 2], D]),
}


@pytest.mark.parametrize("condition", ILL)
@pytest.mark.parametrize("weighted", [False, True])
def test_ill_conditioned_designs_keep_their_digits(condition, weighted):
    """Residuals as large as the signal: kappa^2 tan(theta) reaches 1e18, and refinement has to work."""
    rng = np.random.default_rng(4)
    D = np.where(rng.random((600, 5)) < 0.3, rng.normal(size=(600, 5)), 0)
    D = ILL[condition](D)
    y = D @ np.ones(D.shape[1]) + rng.normal(size=600)
    errors = {"y_err": rng.uniform(0.5, 2, 600)} if weighted else {}
    dense = LinearRegression().fit(D, y, **errors)
    thin = LinearRegression().fit(sparse.csr_array(D), y, **errors)
    assert_allclose(thin.params_, dense.params_, rtol=1e-8)
    assert_allclose(thin.chi2_, dense.chi2_, rtol=1e-10)
    kappa = dense.condition_number_
    assert_allclose(thin.params_cov_, dense.params_cov_, rtol=max(1e-8, 100 * kappa * 2e-16))


def test_gram_and_rows_give_one_triangle():
    X, y, _ = network()
    X = columns_but_first(X)
    gram, rows = gram_triangle(X, y, None), folded_triangle(X, y, namespace("cpu"))
    assert_allclose(gram.R.T @ gram.R, rows.R.T @ rows.R, atol=1e-10)
    assert_allclose(np.abs(gram.z), np.abs(rows.z), rtol=1e-8)
    assert_allclose(gram.rho, rows.rho, rtol=1e-10)


def test_wide_blocks_fold_like_narrow_ones():
    """More columns than a block has rows must not stack up to the whole matrix."""
    rng = np.random.default_rng(5)
    X = sparse.random_array((7000, 30), density=0.1, rng=rng, format="csr")
    y = rng.normal(size=7000)
    triangle = folded_triangle(X, y, namespace("cpu"))
    exact = np.linalg.lstsq(X.toarray(), y)[0]
    assert_allclose(np.linalg.solve(triangle.R, triangle.z), exact, rtol=1e-9)


PREDICT = {
    "none": {},
    "y_err": {"y_err": 0.1},
    "X_err": {"X_err": 0.05},
    "X_cov": {"X_cov": CovarianceStack.dense(np.tile(0.01 * np.eye(39), (1000, 1, 1)))},
    "low rank": {"y_cov": Covariance.low_rank(np.full(1000, 0.01), np.full((1000, 1), 0.1))},
    "block": {"y_cov": Covariance.block([0.01 * (np.eye(10) + 0.5)] * 100)},
}


@pytest.mark.parametrize("predict_with", PREDICT)
@pytest.mark.parametrize("absolute", [True, False])
def test_predictions_from_sparse_rows(predict_with, absolute):
    X, y, _ = network()
    X, errors = columns_but_first(X), PREDICT[predict_with]
    model = LinearRegression(fit_intercept=False).fit(X, y, **({"y_err": 0.1} if absolute else {}))
    thin, dense = model.predict_dist(X, **errors), model.predict_dist(X.toarray(), **errors)
    assert_allclose(thin.mean, dense.mean, rtol=1e-12, atol=1e-12)
    assert_allclose(thin.std, dense.std, rtol=1e-12)
    if dense.cov is not None:
        assert_allclose(thin.cov.to_dense(), dense.cov.to_dense(), atol=1e-15)
    if dense.cov is not None and (errors.keys() - {"X_cov"} or not absolute):  # the true y's is singular
        assert_allclose(thin[:5].joint_log_prob(y[:5]), dense[:5].joint_log_prob(y[:5]), rtol=1e-9)


def test_nothing_of_the_size_of_the_dense_matrix_is_made():
    """40,000 x 400 doubles would be 128 MB; fit and prediction stay below a quarter of that."""
    rng = np.random.default_rng(6)
    n, d = 40_000, 400
    columns = np.column_stack([rng.integers(0, 200, n), rng.integers(200, 399, n)]).ravel()
    X = sparse.csr_array((rng.normal(size=2 * n), (np.repeat(np.arange(n), 2), columns)), (n, d - 1))
    y = X @ rng.normal(size=d - 1) + rng.normal(size=n)
    tracemalloc.start()
    prediction = LinearRegression(fit_intercept=False).fit(X, y, y_err=1.0).predict_dist(X)
    assert np.all(prediction.std > 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n * d * 8 / 4


def test_bayesian_posterior_and_evidence_agree_with_dense():
    X, y, _ = network()
    for errors in ({}, {"y_err": errors_of(1000)["y_err"]["y_err"]}):
        dense = BayesianLinearRegression().fit(X.toarray(), y, **errors)
        thin = BayesianLinearRegression().fit(X, y, **errors)
        assert_allclose(thin.log_evidence_, dense.log_evidence_, rtol=1e-8)
        assert_allclose(thin.params_, dense.params_, rtol=1e-5, atol=1e-5)
    fixed = BayesianLinearRegression(prior_cov=4.0, scatter=0.1)
    dense, thin = fixed.fit(X.toarray(), y), BayesianLinearRegression(prior_cov=4.0, scatter=0.1).fit(X, y)
    assert_allclose(thin.params_, dense.params_, rtol=1e-8, atol=1e-10)
    assert_allclose(thin.predict_dist(X).std, dense.predict_dist(X).std, rtol=1e-8)


@pytest.mark.parametrize("settings", [{"tails": "student_t"}, {"scatter_model": "features"}])
def test_other_scatter_refuses_sparse(settings):
    X, y, _ = network()
    with pytest.raises(TypeError, match="dense"):
        BayesianLinearRegression(**settings).fit(X, y)
