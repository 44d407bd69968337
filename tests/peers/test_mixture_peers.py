"""Mixtures beside astroML and scikit-learn: equal parameters after equal steps, equal maxima."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import cluster, mixture

from statml.mixture import ExtremeDeconvolution, GaussianMixture, KMeans
from statml.uncertainty import CovarianceStack

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def noisy(n, d, seed):
    rng = np.random.default_rng(seed)
    F = 0.5 * rng.normal(size=(n, d, d))
    V = rng.normal(0, 1, (n, d)) + 3 * rng.integers(0, 2, (n, 1))
    return V + np.einsum("nab,nb->na", F, rng.normal(size=(n, d))), F @ F.transpose(0, 2, 1)


def by_first_mean(weights, means, covariances):
    order = np.argsort(means[:, 0])
    return weights[order], means[order], covariances[order]


def same(ours, theirs, **tolerance):
    for one, other in zip(by_first_mean(*ours), by_first_mean(*theirs)):
        assert_allclose(one, other, **tolerance)


@pytest.mark.parametrize(("d", "k"), [(1, 2), (3, 3)])
def test_extreme_deconvolution_after_the_same_steps(d, k):
    """astroML begins with a mixture that ignores the errors; ours is started there."""
    density = pytest.importorskip("astroML.density_estimation")
    X, S = noisy(150, d, d)
    theirs = density.XDGMM(k, max_iter=6, tol=-np.inf, random_state=0).fit(X, S)
    start = mixture.GaussianMixture(k, max_iter=10, random_state=0).fit(X)
    ours = ExtremeDeconvolution(
        k,
        prior_strength=0,
        accelerate=False,
        tol=0,
        max_iter=6,
        weights_init=start.weights_,
        means_init=start.means_,
        covariances_init=start.covariances_,
    ).fit(X, X_cov=CovarianceStack.dense(S))
    same((ours.weights_, ours.means_, ours.covariances_), (theirs.alpha, theirs.mu, theirs.V), atol=1e-10)
    assert_allclose(ours.log_likelihood_, theirs.logL(X, S), rtol=1e-11)
    assert ours.n_iter_ == 6


def test_gaussian_mixture_has_the_maximum_of_scikit_learn():
    X, _ = noisy(400, 2, 5)
    ours = GaussianMixture(2, prior_strength=0, tol=1e-12, random_state=0).fit(X)
    theirs = mixture.GaussianMixture(2, reg_covar=0, tol=1e-12, max_iter=5000, n_init=5, random_state=0).fit(
        X
    )
    same(
        (ours.weights_, ours.means_, ours.covariances_),
        (theirs.weights_, theirs.means_, theirs.covariances_),
        atol=1e-4,
    )
    assert_allclose(ours.score(X), theirs.score(X), rtol=1e-9)
    assert_allclose([ours.aic(X), ours.bic(X)], [theirs.aic(X), theirs.bic(X)], rtol=1e-8)


def test_kmeans_has_the_inertia_of_scikit_learn():
    X, _ = noisy(500, 3, 6)
    weights = np.random.default_rng(0).uniform(0, 2, 500)
    ours = KMeans(4, n_init=30, random_state=0).fit(X, sample_weight=weights)
    theirs = cluster.KMeans(4, n_init=30, random_state=0).fit(X, sample_weight=weights)
    assert ours.inertia_ <= theirs.inertia_ * (1 + 1e-9)
    stays = cluster.KMeans(4, init=ours.cluster_centers_, n_init=1).fit(X, sample_weight=weights)
    assert_allclose(stays.inertia_, ours.inertia_, rtol=1e-9)
