"""Errors that are not independent: the same estimate whatever form their covariance has."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from statml.compute import namespace
from statml.errors import InputError
from statml.regression import BayesianLinearRegression, LinearRegression
from statml.regression.reduction import reduce_measured
from statml.uncertainty import Covariance

quick = settings(max_examples=40, deadline=None)


def textbook(A, y, C):
    """x and its covariance by the formula, with the matrix inverted."""
    precision = np.linalg.inv(C)
    cov = np.linalg.inv(A.T @ precision @ A)
    x = cov @ A.T @ precision @ y
    return x, cov, (y - A @ x) @ precision @ (y - A @ x)


def errors(form, n, rng):
    """A covariance and, independently, its matrix."""
    if form == "low rank":
        variance, modes = rng.uniform(0.5, 2, n), rng.normal(size=(n, 2))
        return Covariance.low_rank(variance, modes), np.diag(variance) + modes @ modes.T
    if form == "dense":
        A = rng.normal(size=(n, n + 3))
        matrix = A @ A.T / n + 0.1 * np.eye(n)
        return Covariance.dense(matrix), matrix
    if form == "low rank on blocks":
        blocks, matrix = errors("block", n, rng)
        modes = rng.normal(size=(n, 2))
        return Covariance.low_rank(blocks, modes), matrix + modes @ modes.T
    sizes = [1, 4, n - 8, 3]
    matrix = np.zeros((n, n))
    blocks = []
    for start, size in zip(np.cumsum([0, *sizes]), sizes):
        A = rng.normal(size=(size, size + 2))
        blocks.append(A @ A.T / size + 0.1 * np.eye(size))
        matrix[start : start + size, start : start + size] = blocks[-1]
    order = rng.permutation(n)
    return Covariance.block(blocks)[order], matrix[np.ix_(order, order)]


forms = pytest.mark.parametrize("form", ["block", "low rank", "low rank on blocks", "dense"])


@forms
@quick
@given(seed=st.integers(0, 10**6), n=st.integers(12, 30), intercept=st.booleans())
def test_against_the_formula(form, seed, n, intercept):
    rng = np.random.default_rng(seed)
    C, matrix = errors(form, n, rng)
    X, y = rng.normal(size=(n, 3)), rng.normal(size=n)
    A = np.column_stack([np.ones(n), X]) if intercept else X
    x, cov, chi2 = textbook(A, y, matrix)
    model = LinearRegression(fit_intercept=intercept).fit(X, y, y_cov=C)
    assert_allclose(model.params_, x, rtol=1e-8, atol=1e-9)
    assert_allclose(model.params_cov_, cov, rtol=1e-8, atol=1e-9)
    assert_allclose(model.chi2_, chi2, rtol=1e-8)


@forms
def test_the_triangle_is_that_of_the_whitened_rows(form):
    """Blocks of rows, or modes as parameters, against whitening everything first."""
    rng = np.random.default_rng(2)
    n = 40
    C, _ = errors(form, n, rng)
    X, y = rng.normal(size=(n, 3)) + 1, rng.normal(size=n)
    triangle = reduce_measured(X, y, C, intercept=True, device=namespace("cpu"))
    white = C.whiten(np.column_stack([np.ones(n), X, y]))
    assert_allclose(triangle.R.T @ triangle.R, white[:, :4].T @ white[:, :4], rtol=1e-10, atol=1e-10)
    assert_allclose(triangle.R.T @ triangle.z, white[:, :4].T @ white[:, 4], rtol=1e-10, atol=1e-10)
    assert_allclose(triangle.z @ triangle.z + triangle.rho**2, white[:, 4] @ white[:, 4], rtol=1e-10)


@pytest.mark.parametrize("size", [1e2, 1e5, 1e8])
def test_a_mode_without_bound_is_a_free_parameter(size):
    """Zero points of three plates, unknown by `size` sigma: the slopes of a fit with three constants."""
    rng = np.random.default_rng(3)
    plate = np.repeat(np.arange(3), 50)
    X, sigma = rng.normal(size=(150, 2)), rng.uniform(0.5, 1.5, 150)
    y = X @ [1.0, -2.0] + 30.0 * plate + sigma * rng.normal(size=150)
    zero_points = np.eye(3)[plate]
    together = LinearRegression(fit_intercept=False).fit(
        X, y, y_cov=Covariance.low_rank(sigma**2, size * zero_points)
    )
    free = LinearRegression(fit_intercept=False).fit(np.column_stack([X, zero_points]), y, y_err=sigma)
    # The prior that the modes are pulls the constants (up to 60) by (sigma / size)^2 / 50 of themselves.
    tolerance = 1e-10 + 2 / size**2
    assert_allclose(together.coef_, free.coef_[:2], rtol=tolerance)
    assert_allclose(together.coef_cov_, free.coef_cov_[:2, :2], rtol=tolerance, atol=tolerance)


def test_a_zero_variance_beside_modes_is_refused():
    with pytest.raises(InputError, match="zero"):
        LinearRegression().fit(
            np.arange(3.0)[:, None], np.ones(3), y_cov=Covariance.low_rank([0.0, 1, 1], np.ones((3, 1)))
        )


@forms
def test_evidence_with_correlated_errors(form):
    """log N(y; A m0, A S0 A^T + C + s^2) of the dense matrix."""
    rng = np.random.default_rng(5)
    n = 30
    C, matrix = errors(form, n, rng)
    X, y = rng.normal(size=(n, 2)), rng.normal(size=n)
    model = BayesianLinearRegression(prior_cov=2.0, scatter=0.7).fit(X, y, y_cov=C)
    A = np.column_stack([np.ones(n), X])
    total = matrix + 0.49 * np.eye(n) + 2 * A @ A.T
    expected = -0.5 * (y @ np.linalg.solve(total, y) + np.linalg.slogdet(total)[1] + n * np.log(2 * np.pi))
    assert_allclose(model.log_evidence_, expected, rtol=1e-10)


@forms
def test_predictions_hang_together(form):
    """A S A^T + C of new rows, never as an n x n matrix but in the form of C."""
    rng = np.random.default_rng(7)
    C, matrix = errors(form, 20, rng)
    X, new = rng.normal(size=(20, 2)), rng.normal(size=(20, 2))
    model = LinearRegression().fit(X, rng.normal(size=20), y_cov=C)
    p = model.predict_dist(new, X_err=0.3, y_cov=C)
    A = np.column_stack([np.ones(20), new])
    own = 0.09 * (np.sum(model.coef_**2) + np.trace(model.coef_cov_))
    assert_allclose(
        p.cov.to_dense(), A @ model.params_cov_ @ A.T + matrix + own * np.eye(20), rtol=1e-9, atol=1e-12
    )


def test_blocks_of_many_rows_are_predicted_jointly():
    """20,000 rows: their matrix would take 3 GB."""
    n = 20_000
    rng = np.random.default_rng(8)
    C = Covariance.block(np.tile(0.5 + np.eye(4), (n // 4, 1, 1)))
    X = rng.normal(size=(n, 2))
    y = X[:, 0] + C.sample(1, rng=rng)[0]
    p = LinearRegression().fit(X, y, y_cov=C).predict_dist(X, y_cov=C)
    # The density of what was drawn from it: chi2 of n degrees, 5 sigma.
    assert abs(p.joint_log_prob(y) - p.joint_log_prob(p.mean) + n / 2) < 5 * np.sqrt(n / 2)
    assert p.sample(2, rng=0).shape == (2, n)


def test_generalised_least_squares_of_statsmodels():
    """GLS holds the whole matrix, so n is small; block errors of four sizes and a low-rank sum."""
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(6)
    n = 60
    X = rng.normal(size=(n, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.normal(size=n)
    for form in ("block", "low rank", "low rank on blocks", "dense"):
        C, matrix = errors(form, n, rng)
        theirs = sm.GLS(y, sm.add_constant(X), sigma=matrix).fit()
        ours = LinearRegression(absolute_errors=False).fit(X, y, y_cov=C)
        assert_allclose(ours.params_, theirs.params, rtol=1e-10)
        assert_allclose(np.sqrt(np.diag(ours.params_cov_)), theirs.bse, rtol=1e-10)
