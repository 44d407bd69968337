"""Logistic and softmax regression beside statsmodels and scikit-learn, on identical arrays."""

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy import special
from sklearn import linear_model

from statml.classification import LogisticRegression, SoftmaxRegression

# Asked for rounding level, statsmodels doubts that it got there; the comparison says whether it did.
pytestmark = pytest.mark.filterwarnings("ignore:Maximum Likelihood optimization failed")


def simulate(n, d, k, seed):
    """Correlated features of different units, k classes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + rng.normal(size=(n, 1))
    eta = X @ rng.normal(0, 0.7, size=(d, k))
    y = np.argmax(eta - eta.mean(axis=0) + rng.gumbel(size=(n, k)), axis=1)
    return X * 10.0 ** rng.integers(-3, 4, size=d) + rng.normal(size=d), y


@pytest.mark.parametrize(("n", "d"), [(60, 2), (500, 5), (20_000, 12)])
def test_two_classes_are_those_of_statsmodels(n, d):
    X, y = simulate(n, d, 2, n)
    ours = LogisticRegression().fit(X, y)
    theirs = sm.Logit(y, sm.add_constant(X)).fit(disp=0, method="newton", tol=1e-14, maxiter=100)
    assert_allclose(ours.params_, theirs.params, rtol=1e-8)
    assert_allclose(
        ours.params_cov_, theirs.cov_params(), rtol=1e-6, atol=1e-12 * np.abs(ours.params_cov_).max()
    )
    assert_allclose(np.sqrt(np.diag(ours.params_cov_)), theirs.bse, rtol=1e-7)
    assert_allclose(ours.log_likelihood_, theirs.llf, rtol=1e-12)


@pytest.mark.parametrize(("n", "d", "k"), [(200, 2, 3), (3000, 6, 5)])
def test_several_classes_are_those_of_statsmodels(n, d, k):
    X, y = simulate(n, d, k, n)
    ours = SoftmaxRegression().fit(X, y)
    theirs = sm.MNLogit(y, sm.add_constant(X)).fit(disp=0, method="newton", tol=1e-14, maxiter=100)
    assert_allclose(ours.params_, theirs.params.T, rtol=1e-7)
    assert_allclose(np.sqrt(np.diag(ours.params_cov_)), theirs.bse.T.ravel(), rtol=1e-6)
    assert_allclose(ours.log_likelihood_, theirs.llf, rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.3, 10.0])
@pytest.mark.parametrize("k", [2, 4])
def test_penalised_fits_are_those_of_scikit_learn(alpha, k):
    """scikit-learn minimises C * loss + |w|^2 / 2; for several classes, ours is alpha |w|^2 of centred w."""
    rng = np.random.default_rng(k)
    X = rng.normal(size=(400, 4))
    eta = X @ rng.normal(size=(4, k))
    y = np.argmax(eta + rng.gumbel(size=eta.shape), axis=1)
    C = 1 / alpha if k == 2 else 1 / (2 * alpha)
    theirs = linear_model.LogisticRegression(C=C, tol=1e-12, max_iter=10_000).fit(X, y)
    ours = SoftmaxRegression(alpha=alpha).fit(X, y)
    expected = theirs.coef_ if k == 2 else theirs.coef_[1:] - theirs.coef_[0]
    assert_allclose(ours.coef_, expected, atol=2e-6)
    if k == 2:
        assert_allclose(LogisticRegression(alpha=alpha).fit(X, y).coef_, expected[0], atol=2e-6)


@pytest.mark.parametrize(
    "settings", [{}, {"alpha": 2.0}, {"fit_intercept": False}, {"class_prior": [0.2, 0.8]}], ids=str
)
def test_softmax_of_two_classes_is_logistic(settings):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3)) * [1, 100, 0.01]
    y = (rng.random(300) < special.expit(X @ [1, 0.01, -50])).astype(int)
    one, two = LogisticRegression(**settings).fit(X, y), SoftmaxRegression(**settings).fit(X, y)
    assert_allclose(two.params_[0], one.params_, rtol=1e-10)
    assert_allclose(two.params_cov_, one.params_cov_, rtol=1e-9, atol=1e-10 * np.abs(one.params_cov_).min())
    assert_allclose(two.log_likelihood_, one.log_likelihood_, rtol=1e-12)
    X_err = [0.3, 30, 0.003] * np.ones((300, 3))
    assert_allclose(
        two.predict_dist(X, X_err=X_err).proba, one.predict_dist(X, X_err=X_err).proba, rtol=1e-10
    )
    assert_allclose(two.decision_function(X), one.decision_function(X), rtol=1e-9, atol=1e-12)
