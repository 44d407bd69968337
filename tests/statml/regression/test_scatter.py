"""Heavy-tailed and feature-dependent scatter against quadrature, information matrices and differences."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, optimize, stats

from statml.compute import namespace
from statml.regression import BayesianLinearRegression
from statml.regression.evidence import Prior, conjugate
from statml.regression.least_squares import reduce_rows
from statml.regression.scatter import Scatter, _Problem


def own_prior(p, seed=8):
    A = np.random.default_rng(seed).normal(size=(p, p))
    return A @ A.T + 0.5 * np.eye(p)


@pytest.mark.parametrize("df", [2.15, 3.0, 5.0, 20.0, 45.0])
@pytest.mark.parametrize("ratio", [0.0, 0.1, 1.0, 5.0])
def test_heavy_tailed_prediction_is_the_convolution(df, ratio):
    """Density of the mixture against quadrature of Student-t scatter convolved with a normal, to 1e-6."""

    rng = np.random.default_rng(12)
    X = rng.normal(size=(80, 3))
    y = X @ [1.0, 0.2, 3.0] + 0.5 * rng.standard_t(4, 80)
    model = BayesianLinearRegression(tails="student_t").fit(X, y, y_err=0.1)
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
