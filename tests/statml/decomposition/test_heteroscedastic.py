"""Principal components with an error for each pixel: limits, gaps, calibration, devices.

The truth is simulated: three axes, errors that differ by an order of magnitude between
pixels and rows, a fifth of the pixels missing.
"""

from importlib import import_module

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.pipeline import make_pipeline

from statml import datasets
from statml.compute import Namespace
from statml.decomposition import PCA, HeteroscedasticPCA, ProbabilisticPCA
from statml.decomposition.factor_em import Factors, Pixels, posterior, unpacked
from statml.errors import InputError, InputTypeError
from statml.regression import LinearRegression
from statml.uncertainty import CovarianceStack, predict_dist, simulation_report

SCALES, D = np.array([4.0, 2.0, 1.0]), 15


def simulate(n=800, seed=0, *, missing=0.2, scatter=0.0, d=D):
    """Noisy rows, their errors, the true rows, the true scores and the axes."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(np.random.default_rng(99).normal(size=(d, d)))[0][:3]
    scores = rng.normal(size=(n, 3)) * SCALES
    truth = 5.0 + scores @ axes + scatter * rng.normal(size=(n, d))
    err = np.exp(rng.normal(-0.7, 0.6, (n, d)) + rng.normal(0, 0.4, (n, 1)))
    X = truth + err * rng.normal(size=(n, d))
    X[rng.random((n, d)) < missing] = np.nan
    return X, err, truth, scores, axes


def torch_device():
    pytest.importorskip("torch")
    return Namespace("cuda", import_module("array_api_compat.torch"), place="cpu")


# --- limits that are known ---


def test_one_error_for_all_pixels_is_probabilistic_pca():
    X = simulate(missing=0.0)[2] + np.random.default_rng(5).normal(size=(800, D)) * 0.5
    ours, closed = HeteroscedasticPCA(3, tol=1e-13, random_state=0).fit(X), ProbabilisticPCA(3).fit(X)
    assert_allclose(ours.scatter_**2, closed.noise_variance_, rtol=1e-5)
    assert_allclose(ours.score_variance_, closed.score_variance_, rtol=1e-5)
    assert_allclose(ours.components_, closed.components_, atol=1e-4)
    assert_allclose(ours.log_likelihood_path_[-1], closed.log_likelihood_, rtol=1e-9)
    assert_allclose(ours.transform(X), closed.transform(X), atol=1e-3)
    # the posterior also where the noise is given as an error instead of fitted as a scatter
    given = HeteroscedasticPCA(3, scatter=0.0, tol=1e-13, random_state=0)
    given.fit(X, X_err=np.sqrt(closed.noise_variance_))
    assert_allclose(given.score_variance_, closed.score_variance_, rtol=1e-5)
    assert_allclose(
        given.transform_dist(X[:3], X_err=np.sqrt(closed.noise_variance_)).cov,
        closed.transform_dist(X[:3]).cov,
        atol=1e-5,
    )


@pytest.mark.parametrize("scatter", [0.0, 0.4])
def test_likelihood_and_posterior_are_those_of_the_joint_normal(scatter):
    X, err, *_ = simulate(300)
    model = HeteroscedasticPCA(3, scatter=0.4 if scatter else 0.0, random_state=0).fit(X, X_err=err)
    signal = (model.components_.T * model.score_variance_) @ model.components_
    scores, log_density = model.transform_dist(X, X_err=err), model.score_samples(X, X_err=err)
    mean, parts, _ = model._true_pixels(X, err)
    for i in range(12):
        seen = ~np.isnan(X[i])
        own = scatter**2 * np.eye(D)
        total = (signal + own + np.diag(err[i] ** 2))[np.ix_(seen, seen)]
        away = X[i, seen] - model.mean_[seen]
        assert_allclose(
            log_density[i], stats.multivariate_normal(cov=total).logpdf(away), rtol=1e-9, atol=1e-9
        )
        cross = (model.score_variance_[:, None] * model.components_)[:, seen]
        gain = cross @ np.linalg.inv(total)
        assert_allclose(scores.mean[i], gain @ away, atol=1e-8)
        assert_allclose(scores.cov[i], np.diag(model.score_variance_) - gain @ cross.T, atol=1e-8)
        # true pixels, scatter included, given the observed ones
        cross = (signal + own)[:, seen]
        gain = cross @ np.linalg.inv(total)
        assert_allclose(mean[i], model.mean_ + gain @ away, atol=1e-8)
        known_axes = parts["input"][i] + parts["model"][i]
        assert_allclose(known_axes, np.diag(signal + own - gain @ cross.T), atol=1e-8)


@pytest.mark.parametrize("settings", [{"scatter": 0.0}, {}, {"scatter": 0.3}])
def test_the_likelihood_never_falls_and_ends_at_a_maximum(settings):
    X, err, *_ = simulate(400, scatter=0.3)
    model = HeteroscedasticPCA(3, tol=1e-12, random_state=1, **settings).fit(X, X_err=err)
    path = model.log_likelihood_path_
    assert len(path) == model.n_iter_ + 1
    assert np.all(np.diff(path) > -1e-9 * np.abs(path[-1]))
    # a maximum: no small change of mean, loadings or scatter gains anything
    W = model.components_.T * np.sqrt(model.score_variance_)
    missing = np.isnan(X)
    device = HeteroscedasticPCA()._namespace()
    pixels = Pixels(np.where(missing, 0, X), np.where(missing, np.inf, err**2), device)

    def at(mean, loadings, variance):
        return posterior(pixels, Factors(mean, loadings, variance)).log_likelihood.sum()

    best = at(model.mean_, W, model.scatter_**2)
    assert_allclose(best, path[-1], rtol=1e-12)
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2):
        for _ in range(10):
            assert at(model.mean_ + size * rng.normal(size=D), W, model.scatter_**2) < best
            assert at(model.mean_, W + size * rng.normal(size=W.shape), model.scatter_**2) < best
        if not settings:
            for factor in (1 - 10 * size, 1 + 10 * size):
                assert at(model.mean_, W, model.scatter_**2 * factor) < best


def test_different_starts_reach_the_same_maximum():
    X, err, *_ = simulate(400)
    models = [HeteroscedasticPCA(3, tol=1e-9, random_state=seed).fit(X, X_err=err) for seed in range(3)]
    for other in models[1:]:
        assert_allclose(other.log_likelihood_path_[-1], models[0].log_likelihood_path_[-1], rtol=1e-8)
        assert_allclose(other.components_, models[0].components_, atol=1e-3)


def test_truth_is_recovered():
    X, err, _, _, axes = simulate(4000, scatter=0.3)
    model = HeteroscedasticPCA(3, random_state=0).fit(X, X_err=err)
    overlap = np.linalg.svd(model.components_ @ axes.T, compute_uv=False)
    assert overlap.min() > 0.995
    # standard error of a variance lambda is at least lambda sqrt(2/n) = 2.2 %
    assert_allclose(model.score_variance_, SCALES**2, rtol=0.12)
    assert_allclose(model.scatter_, 0.3, atol=0.02)
    noisiest_first = PCA(3).fit(np.where(np.isnan(X), 5.0, X))
    assert np.linalg.svd(noisiest_first.components_ @ axes.T, compute_uv=False).min() < overlap.min()


# --- a missing pixel ---


def test_missing_is_an_infinite_error_and_its_value_does_not_matter():
    X, err, *_ = simulate(200)
    gone = np.isnan(X)
    junk = np.where(gone, 1e6, X)
    model = HeteroscedasticPCA(2, random_state=0).fit(X, X_err=err)
    other = HeteroscedasticPCA(2, random_state=0).fit(junk, X_err=np.where(gone, np.inf, err))
    assert_allclose(other.components_, model.components_, atol=1e-12)
    nan_errors = np.where(gone, np.nan, err)
    assert_allclose(model.transform(X, X_err=nan_errors), model.transform(X, X_err=err), rtol=0)


def test_a_row_without_pixels_has_its_prior():
    X, err, *_ = simulate(200)
    X[3] = np.nan
    model = HeteroscedasticPCA(2, random_state=0).fit(X, X_err=err)
    scores = model.transform_dist(X, X_err=err)
    assert_allclose(scores.mean[3], 0, atol=1e-12)
    assert_allclose(scores.cov[3], np.diag(model.score_variance_), rtol=1e-12, atol=1e-12)
    assert model.score_samples(X, X_err=err)[3] == 0
    assert_allclose(model.impute(X, X_err=err)[0][3], model.mean_)


def test_imputation_keeps_what_was_observed():
    X, err, *_ = simulate(200)
    gone = np.isnan(X)
    model = HeteroscedasticPCA(3, random_state=0).fit(X, X_err=err)
    filled, errors = model.impute(X, X_err=err)
    mean, std = model.reconstruct(X, X_err=err)
    assert_allclose(filled[~gone], X[~gone])
    assert_allclose(errors[~gone], err[~gone])
    assert_allclose(filled[gone], mean[gone])
    p = model.predict_missing(X, X_err=err, y_err=err[gone])
    assert_allclose(p.mean, mean[gone])
    assert_allclose(p.std**2, std[gone] ** 2 + err[gone] ** 2)
    assert_allclose(sum(p.variance_components.values()), p.std**2, rtol=1e-12)


# --- calibration ---


@pytest.fixture(scope="module")
def fitted():
    X, err, *_ = simulate(4000, seed=1, scatter=0.2)
    return HeteroscedasticPCA(3, random_state=0).fit(X, X_err=err)


@pytest.mark.parametrize("level", [0.68, 0.95])
def test_imputed_pixels_are_covered(fitted, level):
    """One hidden pixel of each of 4000 new rows, so that the rows are independent: 3 binomial sigma."""
    X, err, truth, *_ = simulate(4000, seed=2, scatter=0.2)
    rng = np.random.default_rng(0)
    pixel = rng.integers(D, size=len(X))
    rows = np.arange(len(X))
    X[rows, pixel] = np.nan
    mean, std = fitted.reconstruct(X, X_err=err)
    width = stats.norm.ppf((1 + level) / 2)
    observed = truth + err * rng.normal(size=truth.shape)
    for target, spread in ((truth, std), (observed, np.hypot(std, err))):
        inside = np.abs(target - mean)[rows, pixel] < width * spread[rows, pixel]
        assert abs(inside.mean() - level) < 3 * np.sqrt(level * (1 - level) / len(X))


@pytest.mark.parametrize(("n", "least"), [(50, 0.62), (200, 0.655)])
def test_few_rows_leave_the_axes_uncertain(n, least):
    """Coverage of 68 % over six fits to few rows: first-order errors of the axes bring most of it back."""
    inside, known = [], []
    for seed in range(6):
        X, err, *_ = simulate(n, seed=10 + seed, missing=0.0)
        model = HeteroscedasticPCA(3, scatter=0.0, random_state=0).fit(X, X_err=err)
        Y, f, truth, *_ = simulate(2000, seed=200 + seed, missing=0.0)
        rows, pixel = np.arange(2000), np.random.default_rng(seed).integers(D, size=2000)
        Y[rows, pixel] = np.nan
        mean, parts, _ = model._true_pixels(Y, f)
        off = np.abs(mean - truth)[rows, pixel]
        inside.append(np.mean(off < 0.99446 * np.sqrt(sum(parts.values()))[rows, pixel]))
        known.append(np.mean(off < 0.99446 * np.sqrt(parts["input"] + parts["model"])[rows, pixel]))
    assert least < np.mean(inside) < 0.70
    assert np.mean(known) < np.mean(inside) - 0.02


def test_scores_are_calibrated_by_simulation():
    """Truth from the prior, data from the truth, the posterior at the true axes: its ranks are uniform."""
    X, err, _, scores, axes = simulate(4000, seed=3, scatter=0.2)
    model = HeteroscedasticPCA(3)
    model._keep(np.full(D, 5.0), axes.T * SCALES, 0.2**2)
    # the axes keep their order; their signs are the estimator's
    sign = np.sign(np.sum(model.components_ * axes, axis=1))
    model.n_features_in_ = D
    posteriors = model.transform_dist(X, X_err=err)
    ranks = np.column_stack([posteriors.component(j).cdf(scores[:, j] * sign[j]) for j in range(3)])
    assert simulation_report(ranks).calibrated
    # and jointly: the squared distance of three scores is chi-square with 3 degrees of freedom
    away = scores * sign - posteriors.mean
    distance = np.einsum("ni,nij,nj->n", away, np.linalg.inv(posteriors.cov), away)
    assert simulation_report(stats.chi2(3).cdf(distance)).calibrated
    narrow = np.column_stack(
        [
            stats.norm.cdf(scores[:, j] * sign[j], posteriors.mean[:, j], 0.8 * posteriors.std[:, j])
            for j in range(3)
        ]
    )
    assert not simulation_report(narrow).calibrated


def test_fitted_scores_are_calibrated_too(fitted):
    """At fitted axes of 4000 rows; what is tested does not depend on how the axes are turned."""
    X, err, truth, *_ = simulate(3000, seed=4)
    mean, std = fitted.reconstruct(X, X_err=err)
    ranks = stats.norm.cdf(
        truth[:, :4] + 0.2 * np.random.default_rng(1).normal(size=(3000, 4)), mean[:, :4], std[:, :4]
    )
    gone = np.isnan(X[:, :4])
    for j in range(4):
        assert simulation_report(ranks[gone[:, j], j]).calibrated


def test_draws_of_scores_have_their_covariances(fitted):
    X, err, *_ = simulate(3, seed=5)
    scores = fitted.transform_dist(X, X_err=err)
    draws = scores.sample(20_000, rng=0)
    assert draws.shape == (20_000, 3, 3)
    for i in range(3):
        size = np.outer(scores.std[i], scores.std[i])
        assert np.all(np.abs(np.cov(draws[:, i].T) - scores.cov[i]) < 5 * size * np.sqrt(2 / 20_000))


# --- real spectra ---


def test_gaps_in_real_spectra():
    """30 % of the pixels of Gaia XP spectra hidden: predicted far better than after mean filling."""
    stars = datasets.load("gaia_xp")[:800]
    flux, err = stars["flux"].data[:, 28:328], stars["flux_err"].data[:, 28:328]
    hidden = np.random.default_rng(0).random(flux.shape) < 0.3
    X = np.where(hidden, np.nan, flux)
    model = HeteroscedasticPCA(4, tol=1e-3, random_state=0).fit(X, X_err=err)
    p = model.predict_missing(X, X_err=err, y_err=err[hidden])
    filled = np.where(hidden, np.nanmean(X, axis=0), flux)
    usual = PCA(4).fit(filled)
    ours = np.abs(p.mean - flux[hidden])
    theirs = np.abs(usual.inverse_transform(usual.transform(filled)) - flux)[hidden]
    assert np.sqrt(np.mean(ours**2)) < 0.5 * np.sqrt(np.mean(theirs**2))
    assert np.median(ours) < 0.2 * np.median(theirs)


# --- machinery ---


def test_batches_change_nothing(monkeypatch):
    X, err, *_ = simulate(150)
    whole = HeteroscedasticPCA(2, random_state=0).fit(X, X_err=err)
    monkeypatch.setattr("statml.decomposition.factor_em.BATCH_ENTRIES", 40 * D)
    pieces = HeteroscedasticPCA(2, random_state=0).fit(X, X_err=err)
    assert_allclose(pieces.components_, whole.components_, atol=1e-9)
    assert_allclose(pieces.transform(X, X_err=err), whole.transform(X, X_err=err), atol=1e-8)


def test_the_code_of_a_gpu_gives_the_same_numbers(monkeypatch):
    X, err, *_ = simulate(150)
    cpu = HeteroscedasticPCA(2, random_state=0).fit(X, X_err=err)
    expected = cpu.transform_dist(X, X_err=err)
    device = torch_device()
    monkeypatch.setattr(HeteroscedasticPCA, "_namespace", lambda self: device)
    gpu = HeteroscedasticPCA(2, random_state=0).fit(X, X_err=err)
    assert type(gpu.components_) is np.ndarray
    assert_allclose(gpu.components_, cpu.components_, atol=1e-9)
    assert_allclose(gpu.scatter_, cpu.scatter_, rtol=1e-9)
    scores = gpu.transform_dist(X, X_err=err)
    assert_allclose(scores.mean, expected.mean, atol=1e-8)
    assert_allclose(scores.cov, expected.cov, atol=1e-9)


def test_triangles_hold_symmetric_matrices():
    rng = np.random.default_rng(0)
    matrices = rng.normal(size=(5, 4, 4))
    matrices = matrices + matrices.transpose(0, 2, 1)
    rows, columns = np.triu_indices(4)
    assert_allclose(unpacked(matrices[:, rows, columns], 4), matrices)


def test_errors_of_scores_pass_into_a_regression():
    X, err, _, scores, _ = simulate(600)
    y = scores[:, 0]
    model = HeteroscedasticPCA(3, scatter=0.0, random_state=0).fit(X, X_err=err)
    mean, stack = model.propagate(X, X_err=err)
    assert isinstance(stack, CovarianceStack)
    assert_allclose(stack.to_dense(), model.transform_dist(X, X_err=err).cov, atol=1e-12)
    line = make_pipeline(model, LinearRegression())
    line[-1].fit(mean, y)
    p = predict_dist(line, np.nan_to_num(X, nan=5.0), X_err=err)
    assert np.all(p.variance_components["input"] > 0)


def test_wrong_input_is_one_sentence():
    X, err, *_ = simulate(50)
    model = HeteroscedasticPCA(2, random_state=0).fit(X, X_err=err)
    exact = HeteroscedasticPCA(2, scatter=0.0, random_state=0)
    empty = np.where(np.arange(D) == 4, np.nan, X)
    for bad, words in (
        (lambda: HeteroscedasticPCA(16).fit(X, X_err=err), "n_components is 16; accepted are 1 to 15"),
        (lambda: HeteroscedasticPCA(scatter=-1).fit(X), "scatter is -1"),
        (lambda: HeteroscedasticPCA(scatter="free").fit(X), "scatter is 'free'"),
        (lambda: HeteroscedasticPCA(tol=-1.0).fit(X), "tol is -1.0"),
        (lambda: HeteroscedasticPCA(max_iter=0).fit(X), "max_iter is 0"),
        (lambda: HeteroscedasticPCA(device="tpu").fit(X), "device is 'tpu'"),
        (lambda: model.fit(empty, X_err=err), "column 4 of X is missing in every row"),
        (lambda: model.fit(np.ones((9, 3))), "does not vary"),
        (lambda: model.fit(X, X_err=-err), "negative value"),
        (lambda: model.fit(X, X_err=np.full(X.shape, np.nan)), "X_err contains NaN where X does not"),
        (lambda: model.fit(X, X_err=err[:, 1:]), r"X_err has shape \(50, 14\)"),
        (lambda: model.fit(X, X_cov=CovarianceStack.from_std(err)), "cannot use X_cov; .*X_err"),
        (lambda: exact.fit(X), "X_err is missing and the scatter is 0"),
        (lambda: exact.fit(X, X_err=np.where(err < 0.3, 0, err)), "X_err contains 0 and the scatter is 0"),
        (lambda: model.fit(np.where(X > 8, np.inf, X)), "infinity .*accepted are finite"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            bad()
        assert "\n" not in str(caught.value)
    with pytest.raises(InputTypeError, match="X_err is a str"):
        model.transform(X, X_err="large")
    with pytest.warns(UserWarning, match="stopped after max_iter=1 steps"):
        HeteroscedasticPCA(2, max_iter=1, random_state=0).fit(X, X_err=err)
