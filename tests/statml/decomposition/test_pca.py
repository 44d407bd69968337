"""PCA: orthonormal axes, the theorem of Eckart and Young, errors of variances and of scores."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.pipeline import make_pipeline

from statml import datasets
from statml.decomposition import PCA
from statml.decomposition.principal_axes import principal_axes
from statml.errors import InputError, InputTypeError
from statml.regression import LinearRegression
from statml.uncertainty import CovarianceStack, predict_dist


def simulate(n=400, d=12, seed=0):
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return 3.0 + rng.normal(size=(n, d)) * np.linspace(4, 0.5, d) @ rotation


@pytest.mark.parametrize("solver", ["full", "gram", "randomized"])
@pytest.mark.parametrize("shape", [(400, 12), (12, 40), (30, 30), (9000, 5)])
def test_axes_are_those_of_the_singular_value_decomposition(solver, shape):
    X = simulate(*shape)
    k = min(4, min(shape) - 1)
    found = principal_axes(X, k, solver=solver, rng=0)
    _, s, axes = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    assert_allclose(found.squares, s[:k] ** 2, rtol=1e-6 if solver == "randomized" else 1e-12)
    assert_allclose(np.abs(np.sum(found.axes * axes[:k], axis=1)), 1, rtol=1e-4)
    assert_allclose(found.axes @ found.axes.T, np.eye(k), atol=1e-12)
    assert_allclose(found.total, np.sum(s**2), rtol=1e-12)
    assert np.all(found.axes[np.arange(k), np.argmax(np.abs(found.axes), axis=1)] > 0)


def test_the_gram_matrix_gives_way_where_it_loses_digits():
    """Singular values over eight decades: their squares, over sixteen, end in rounding."""
    rng = np.random.default_rng(2)
    rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    scales = 10.0 ** -np.arange(0, 9.1, 1.3)[:7]
    left = np.linalg.qr(np.column_stack([np.ones(200), rng.normal(size=(200, 7))]))[0][:, 1:]
    X = left * scales @ rotation[:7]
    auto, gram = principal_axes(X, 7), principal_axes(X, 7, solver="gram")
    assert_allclose(np.sqrt(auto.squares), scales, rtol=1e-6)
    assert abs(np.sqrt(gram.squares[-1]) / scales[-1] - 1) > 1e-3


def test_a_large_mean_costs_no_digits():
    X = simulate(4000, 6)
    near, far = PCA().fit(X), PCA().fit(X + 1e6)
    assert_allclose(far.explained_variance_, near.explained_variance_, rtol=1e-8)


def test_no_other_axes_leave_a_smaller_residual():
    """Eckart and Young, against random subspaces and against small turns of the best one."""
    X = simulate()
    rng = np.random.default_rng(1)
    pca = PCA(3).fit(X)

    def residual(axes):
        return np.sum((X - pca.mean_) ** 2) - np.sum(((X - pca.mean_) @ axes.T) ** 2)

    best = residual(pca.components_)
    left_out = np.sum(PCA().fit(X).explained_variance_[3:]) * (len(X) - 1)
    assert_allclose(best, left_out, rtol=1e-10)
    assert_allclose(np.sum((X - pca.inverse_transform(pca.transform(X))) ** 2), best, rtol=1e-10)
    for size in (1e-3, 0.1, 10.0):
        for _ in range(20):
            turned = np.linalg.qr((pca.components_ + size * rng.normal(size=(3, 12))).T)[0].T
            assert residual(turned) > best


def test_a_fraction_of_the_variance():
    X = simulate()
    everything = np.cumsum(PCA().fit(X).explained_variance_ratio_)
    for fraction in (0.3, 0.9, 0.999):
        kept = PCA(fraction).fit(X)
        assert kept.explained_variance_ratio_.sum() >= fraction
        assert kept.n_components_ == 1 or everything[kept.n_components_ - 2] < fraction
    assert_allclose(everything[-1], 1)


@pytest.mark.parametrize("tails", ["normal", "heavy"])
def test_errors_of_the_variances_are_their_scatter(tails):
    """Over 400 data sets; the standard deviation of a standard deviation is 1/sqrt(800) = 3.5 %."""
    rng = np.random.default_rng(4)
    seen, moments, normal = [], [], []
    for _ in range(400):
        z = rng.normal(size=(600, 4)) if tails == "normal" else rng.standard_t(9, (600, 4)) * np.sqrt(7 / 9)
        X = z * [4.0, 2.0, 1.0, 0.4]
        pca = PCA(3).fit(X)
        seen.append(pca.explained_variance_)
        moments.append(pca.explained_variance_err_)
        normal.append(PCA(3, variance_errors="normal").fit(X).explained_variance_err_)
    scatter = np.std(seen, axis=0)
    # 5 sigma of the scatter, 3 components, and 2 % for the bias of a mean of errors at n = 600
    assert_allclose(np.mean(moments, axis=0) / scatter, 1, atol=0.2)
    if tails == "normal":
        assert_allclose(np.mean(normal, axis=0) / scatter, 1, atol=0.2)
    else:  # kurtosis 3 + 6 / 5: the error is sqrt(3.2 / 2) = 1.26 times that of the normal
        assert np.all(np.mean(normal, axis=0) / scatter < 0.9)


def test_errors_of_many_rows_need_only_some_of_them(monkeypatch):
    X = np.random.default_rng(8).normal(size=(9000, 4)) * [4.0, 3.0, 2.0, 1.0]
    every = PCA(3).fit(X).explained_variance_err_
    monkeypatch.setattr("statml.decomposition.pca.ERROR_ROWS", 3000)
    # fourth moments of a third of the rows: 1.7 % sqrt(20000 / 3000) = 4.5 %, 4 sigma
    assert_allclose(PCA(3).fit(X).explained_variance_err_, every, rtol=0.18)
    assert not np.array_equal(PCA(3).fit(X).explained_variance_err_, every)


def test_scores_carry_the_errors_of_their_rows():
    X = simulate()
    pca = PCA(3).fit(X)
    rng = np.random.default_rng(3)
    err = rng.uniform(0.1, 2.0, X.shape)
    scores, errors = pca.propagate(X, X_err=err)
    assert_allclose(scores, pca.transform(X))
    noisy = X[0] + err[0] * rng.normal(size=(20_000, 12))
    expected = errors[0].to_dense()[0]
    # 5 sigma of an entry of a sample covariance
    tolerance = 5 * np.sqrt((expected**2 + np.outer(np.diag(expected), np.diag(expected))) / 20_000)
    assert np.all(np.abs(np.cov(pca.transform(noisy).T) - expected) < tolerance)
    matrices = np.einsum("ni,ij->nij", err**2, np.eye(12))
    assert_allclose(
        pca.propagate(X, X_cov=CovarianceStack.dense(matrices))[1].to_dense(), errors.to_dense(), atol=1e-12
    )


def test_errors_pass_through_a_pipeline():
    X = simulate()
    y = X[:, 0]
    line = make_pipeline(PCA(), LinearRegression()).fit(X, y)
    p = predict_dist(line, X, X_err=0.3)
    assert_allclose(p.variance_components["input"], 0.3**2, rtol=1e-6)


def test_real_spectra_are_a_few_numbers():
    flux = datasets.load("gaia_xp")["flux"].data[:1000, 28:328]
    pca = PCA(5).fit(flux)
    assert pca.explained_variance_ratio_[0] > 0.8 and pca.explained_variance_ratio_.sum() > 0.99
    normal = PCA(5, variance_errors="normal").fit(flux).explained_variance_err_
    assert np.max(pca.explained_variance_err_ / normal) > 1.5  # real stars are not normal


def test_wrong_input_is_one_sentence():
    X = simulate()
    for bad, words in (
        (lambda: PCA(13).fit(X), "n_components is 13; accepted are 1 to 12"),
        (lambda: PCA(0).fit(X), "n_components is 0"),
        (lambda: PCA(True).fit(X), "n_components is True"),
        (lambda: PCA(solver="arpack").fit(X), "solver is 'arpack'"),
        (lambda: PCA(variance_errors="bootstrap").fit(X), "variance_errors is 'bootstrap'"),
        (lambda: PCA().fit(X, X_err=0.1), "PCA.fit cannot use X_err; .*HeteroscedasticPCA"),
        (lambda: PCA().fit(np.where(X > 9, np.nan, X)), "NaN; accepted are finite"),
        (lambda: PCA(2).fit(X).propagate(X), "both missing"),
        (lambda: PCA(2).fit(X).inverse_transform(np.ones((3, 5))), r"scores has shape \(3, 5\)"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            bad()
        assert "\n" not in str(caught.value)
    with pytest.raises(InputTypeError, match="X carries the unit"):
        import astropy.units as u

        PCA().fit(X * u.K)


def test_data_without_variance_have_none():
    pca = PCA().fit(np.ones((10, 3)))
    assert np.all(pca.explained_variance_ == 0) and np.all(pca.explained_variance_ratio_ == 0)
    assert np.all(pca.explained_variance_err_ == 0)
