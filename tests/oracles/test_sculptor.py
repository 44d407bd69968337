"""Clusters of 143 stars of Sculptor, columns standardised: the book's chapter 11, with its local optima replaced.

The inertias for k up to 8 are global optima found by many restarts elsewhere; for k = 9 the
value handed down, 16.3804, is itself beaten here. A normal and a mixture of two have one
maximum worth the name; from K = 3 on the likelihood has many, and none of them is the highest.
"""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning

from statml import datasets
from statml.mixture import ExtremeDeconvolution, GaussianMixture, KMeans

pytestmark = pytest.mark.data

INERTIA = {2: 93.4045, 3: 47.2581, 4: 38.2276, 5: 30.3615, 6: 25.7244, 7: 21.9225, 8: 18.8164}


@pytest.fixture(scope="module")
def X():
    table = datasets.load("sculptor")
    values = np.stack([table["fe_h"], table["mg_fe"]], axis=1)
    return (values - values.mean(axis=0)) / values.std(axis=0)


def test_moments_of_the_table():
    table = datasets.load("sculptor")
    values = np.stack([table["fe_h"], table["mg_fe"]], axis=1)
    assert_allclose(values.mean(axis=0), [-1.5778, -0.0333], atol=1e-4)
    assert_allclose(np.cov(values.T), [[0.13316, -0.07271], [-0.07271, 0.05348]], atol=1e-5)


@pytest.mark.parametrize("k", INERTIA)
def test_smallest_inertia(X, k):
    assert_allclose(KMeans(k, n_init=400, random_state=1).fit(X).inertia_, INERTIA[k], atol=6e-5)


def test_nine_clusters_are_better_than_the_value_handed_down(X):
    best = KMeans(9, n_init=1500, random_state=1).fit(X).inertia_
    assert best < 16.3804 - 0.005
    assert_allclose(best, 16.37235, atol=1e-4)  # ours, kept so that a worse search is seen


def test_one_and_two_normals(X):
    one = GaussianMixture(1, prior_strength=0).fit(X)
    two = GaussianMixture(2, prior_strength=0, tol=1e-10, random_state=0).fit(X)
    assert_allclose(one.log_likelihood_, -308.8652, atol=1e-4)
    assert_allclose(two.log_likelihood_, -292.9810, atol=1e-4)
    assert_allclose([two.aic(X), two.bic(X)], [607.962, 640.553], atol=1e-3)
    assert_allclose(two.log_likelihood_, 143 * two.score(X))


def test_three_normals_have_a_better_maximum_than_the_printed_one(X):
    best = -np.inf
    for seed in range(10):  # 200 starts
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = GaussianMixture(3, prior_strength=0, n_init=20, tol=1e-7, random_state=seed).fit(X)
        stars, volume = 143 * model.weights_, np.linalg.det(model.covariances_)
        if np.min(stars) >= 10 and np.min(volume) >= 1e-3:
            best = max(best, model.log_likelihood_)
    assert best >= -283.46


def test_the_printed_maximum_is_local(X):
    """-286.77 is where k-means starts lead; EM stays there, and higher points exist."""
    model = GaussianMixture(3, prior_strength=0, n_init=1, tol=1e-9, max_iter=5000, random_state=0).fit(X)
    assert_allclose(model.log_likelihood_, -286.770, atol=2e-3)


@pytest.mark.parametrize("k", [4, 5, 6])
def test_without_a_prior_a_component_collapses_and_with_one_it_does_not(X, k):
    """A start at one lonely star, narrow: maximum likelihood climbs without end, MAP comes back."""
    rng = np.random.default_rng(k)
    means = X[rng.choice(len(X), k, replace=False)]
    means[0] = X[np.argmax(np.sum(X**2, axis=1))]
    start = {
        "weights_init": np.full(k, 1 / k),
        "means_init": means,
        "covariances_init": np.concatenate([1e-3 * np.eye(2)[None], np.stack([np.cov(X.T)] * (k - 1))]),
    }
    with pytest.raises(ValueError, match=r"collapsed.*accepted is a prior_strength > 0"):
        GaussianMixture(k, prior_strength=0, **start).fit(X)
    model = GaussianMixture(k, tol=1e-8, max_iter=5000, **start).fit(X)
    assert np.min(np.linalg.det(model.covariances_)) > 1e-4
    assert np.all(np.diff(model.history_) > -1e-9 * 300)


def test_random_starts_collapse_too(X):
    """No start was made to fail: of 24 random ones some have no maximum, with a prior all have."""
    free = GaussianMixture(7, prior_strength=0, n_init=24, max_iter=500, tol=1e-4, random_state=1)
    with pytest.warns(ConvergenceWarning, match="collapsed from"):
        free.fit(X)
    held = GaussianMixture(7, n_init=24, max_iter=500, tol=1e-4, random_state=1).fit(X)
    assert np.any(np.isnan(free.starts_)) and not np.any(np.isnan(held.starts_))


@pytest.mark.parametrize("error", [0.02, 0.05, 0.1])
def test_deconvolution_takes_the_errors_out(error):
    """Errors are assumed (the table has none), in dex."""
    table = datasets.load("sculptor")
    values = np.stack([table["fe_h"], table["mg_fe"]], axis=1)
    raw = GaussianMixture(1, prior_strength=0).fit(values)
    true = ExtremeDeconvolution(1, prior_strength=0, tol=1e-10).fit(values, X_err=error)
    # One normal has a closed form: the covariance of the values less that of their errors.
    assert_allclose(true.covariances_[0], raw.covariances_[0] - error**2 * np.eye(2), atol=2e-6)
    assert np.all(np.linalg.eigvalsh(raw.covariances_[0] - true.covariances_[0]) > 0)
    assert_allclose(true.log_likelihood_, raw.log_likelihood_, atol=1e-4)
