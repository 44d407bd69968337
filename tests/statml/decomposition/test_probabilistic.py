"""Probabilistic PCA: the closed form, its density and posterior, and the evidence for its dimension."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, stats

from statml.decomposition import PCA, ProbabilisticPCA, dimension
from statml.errors import InputError


def simulate(n=500, seed=0, scales=(5.0, 3.0, 2.0), d=8, noise=0.7):
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(d, d)))[0][: len(scales)]
    return 2.0 + rng.normal(size=(n, len(scales))) * scales @ axes + noise * rng.normal(size=(n, d))


def test_the_maximum_is_that_of_the_eigenvalues():
    X = simulate()
    model = ProbabilisticPCA(3).fit(X)
    values, vectors = np.linalg.eigh(np.cov(X.T, bias=True))
    assert_allclose(model.noise_variance_, values[:5].mean(), rtol=1e-12)
    assert_allclose(model.explained_variance_, values[:4:-1], rtol=1e-12)
    W = vectors[:, :4:-1] * np.sqrt(values[:4:-1] - values[:5].mean())
    assert_allclose(model.get_covariance(), W @ W.T + values[:5].mean() * np.eye(8), rtol=1e-10, atol=1e-12)


def test_em_climbs_to_the_closed_form():
    X = simulate()
    closed = ProbabilisticPCA(3).fit(X)
    em = ProbabilisticPCA(3, method="em", random_state=1).fit(X)
    assert_allclose(em.noise_variance_, closed.noise_variance_, rtol=1e-8)
    assert_allclose(em.explained_variance_, closed.explained_variance_, rtol=1e-8)
    assert_allclose(em.components_, closed.components_, atol=1e-8)
    assert_allclose(em.get_covariance(), closed.get_covariance(), atol=1e-8)
    assert 5 < em.n_iter_ < 2000


def test_density_posterior_and_likelihood_are_those_of_the_joint_normal():
    X = simulate(60)
    model = ProbabilisticPCA(3).fit(X)
    density = stats.multivariate_normal(model.mean_, model.get_covariance())
    assert_allclose(model.score_samples(X), density.logpdf(X), rtol=1e-10)
    assert_allclose(model.log_likelihood_, density.logpdf(X).sum(), rtol=1e-12)
    eigenvalues = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
    assert_allclose(dimension.log_likelihoods(eigenvalues, 60)[3], model.log_likelihood_, rtol=1e-12)
    # conditioning the joint normal of (a, x) on x
    cross = model.score_variance_[:, None] * model.components_
    gain = cross @ np.linalg.inv(model.get_covariance())
    scores = model.transform_dist(X)
    assert_allclose(scores.mean, (X - model.mean_) @ gain.T, atol=1e-10)
    assert_allclose(scores.cov[7], np.diag(model.score_variance_) - gain @ cross.T, atol=1e-10)
    assert_allclose(model.transform(X), scores.mean)


def test_no_other_gaussian_of_this_shape_is_more_likely():
    X = simulate(200)
    model = ProbabilisticPCA(2).fit(X)
    rng = np.random.default_rng(0)
    loadings = model.components_.T * np.sqrt(model.score_variance_)
    for size in (1e-3, 1e-2, 0.3):
        for _ in range(20):
            W = loadings + size * rng.normal(size=loadings.shape)
            noise = model.noise_variance_ * np.exp(size * rng.normal())
            other = stats.multivariate_normal(model.mean_, W @ W.T + noise * np.eye(8))
            assert other.logpdf(X).sum() < model.log_likelihood_


def test_draws_have_the_fitted_covariance():
    model = ProbabilisticPCA(2).fit(simulate())
    draws, cov = model.sample(40_000, rng=3), model.get_covariance()
    tolerance = 5 * np.sqrt((cov**2 + np.outer(np.diag(cov), np.diag(cov))) / 40_000)
    assert np.all(np.abs(np.cov(draws.T) - cov) < tolerance)


def test_the_evidence_integrates_over_all_directions():
    """In the plane the integral over axes is one angle: Laplace against quadrature, better as n grows.

    One axis and its negative are the same model; Laplace's integral is around one of the two.
    """
    l1, l2 = 2.0, 1.0
    errors = []
    for n in (50, 500, 5000):
        # log likelihood of the axis at an angle, above the best one
        def relative(angle, n=n):
            return np.exp(-0.5 * n * (1 / l2 - 1 / l1) * (l1 - l2) * np.sin(angle) ** 2)

        exact = integrate.quad(relative, -np.pi / 2, np.pi / 2, points=[0], epsabs=0, limit=200)[0]
        laplace = np.sqrt(
            2 * np.pi / (n * np.exp(dimension.log_curvatures(np.array([l1, l2]), np.array([1.5, l2]))[1]))
        )
        errors.append(abs(laplace / exact - 1))
    assert errors[0] < 0.03 and errors[1] < 3e-3 and errors[2] < 3e-4


@pytest.mark.parametrize("n", [100, 1000])
def test_the_evidence_finds_the_dimension(n):
    """Signal variances 4, 9, 25 above noise of 1: found in at least 19 of 20 simulated sets."""
    found = [
        ProbabilisticPCA().fit(simulate(n, seed, scales=(5.0, 3.0, 2.0), d=10, noise=1.0)).n_components_
        for seed in range(20)
    ]
    assert np.sum(np.array(found) == 3) >= 19


def test_evidence_and_bic_agree_where_rows_are_many_and_pure_noise_has_no_axis():
    X = simulate(3000)
    model = ProbabilisticPCA().fit(X)
    assert model.n_components_ == ProbabilisticPCA("bic").fit(X).n_components_ == 3
    none = []
    for seed in range(20):
        noise = ProbabilisticPCA().fit(np.random.default_rng(seed).normal(size=(1000, 6)))
        none.append(np.argmax(noise.log_evidence_) == 0)
        assert noise.n_components_ >= 1  # a transformer has one axis at least
    assert np.sum(none) >= 19


def test_more_pixels_than_rows():
    X = simulate(30, d=100)
    model = ProbabilisticPCA().fit(X)
    assert model.n_components_ == 3 and np.isnan(model.log_evidence_[40:]).all()
    assert_allclose(model.components_, PCA(3).fit(X).components_, atol=1e-10)


def test_wrong_input_is_one_sentence():
    X = simulate(50)
    for bad, words in (
        (lambda: ProbabilisticPCA("mle").fit(X), "n_components is 'mle'; accepted are 'evidence', 'bic'"),
        (lambda: ProbabilisticPCA(0.9).fit(X), "n_components is 0.9"),
        (lambda: ProbabilisticPCA(9).fit(X), "n_components is 9"),
        (lambda: ProbabilisticPCA(method="svd").fit(X), "method is 'svd'"),
        (lambda: ProbabilisticPCA().fit(np.ones((9, 3))), "does not vary"),
        (lambda: ProbabilisticPCA().fit(X, X_err=1.0), "ProbabilisticPCA.fit cannot use X_err"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            bad()
        assert "\n" not in str(caught.value)
    with pytest.warns(UserWarning, match="stopped after max_iter=2 steps"):
        ProbabilisticPCA(2, method="em", max_iter=2, random_state=0).fit(X)
