"""Gaussian mixtures: weights, missing values, the prior, criteria, units, standard errors."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from statml.errors import InputError
from statml.mixture import ExtremeDeconvolution, GaussianMixture
from statml.mixture.components import Components

TRUTH = Components(
    np.array([0.6, 0.4]),
    np.array([[0.0, 0.0], [3.0, 2.0]]),
    np.array([[[1.0, 0.5], [0.5, 1.0]], [[0.5, -0.2], [-0.2, 0.8]]]),
)


def draws(n, seed=0):
    return TRUTH.sample(n, np.random.default_rng(seed))[0]


def test_one_normal_is_mean_and_covariance():
    X = draws(50)
    model = GaussianMixture(1, prior_strength=0).fit(X)
    assert_allclose(model.means_[0], X.mean(axis=0))
    assert_allclose(model.covariances_[0], np.cov(X.T, ddof=0))
    density = stats.multivariate_normal(X.mean(axis=0), np.cov(X.T, ddof=0))
    assert_allclose(model.score_samples(X), density.logpdf(X))
    assert_allclose(model.bic(X) - model.aic(X), 5 * (np.log(50) - 2))


@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("prior_strength", [0.0, 1.0, 10.0])
def test_the_log_posterior_never_falls(accelerate, prior_strength):
    X = draws(300)
    X[::3, 0] = np.nan
    model = GaussianMixture(
        4, prior_strength=prior_strength, accelerate=accelerate, n_init=2, tol=1e-5, random_state=0
    ).fit(X)
    assert len(model.history_) > 5
    assert np.all(np.diff(model.history_) > -1e-9 * np.abs(model.history_[-1]))
    assert_allclose(model.history_[-1], model.log_posterior_)


def test_plain_and_extrapolated_em_end_at_the_same_maximum():
    X = draws(400)
    plain, quick = (
        GaussianMixture(2, accelerate=each, tol=1e-11, max_iter=20_000, random_state=0).fit(X)
        for each in (False, True)
    )
    assert_allclose(quick.means_, plain.means_, atol=1e-4)
    assert_allclose(quick.log_posterior_, plain.log_posterior_, atol=1e-6)
    assert quick.n_iter_ < plain.n_iter_


def test_weights_are_rows_given_more_than_once():
    rng = np.random.default_rng(4)
    X, counts = draws(150), rng.integers(0, 4, 150)
    weighted = GaussianMixture(2, random_state=1).fit(X, sample_weight=counts)
    repeated = GaussianMixture(2, random_state=1).fit(rng.permutation(np.repeat(X, counts, axis=0)))
    assert_allclose(weighted.means_, repeated.means_, atol=1e-7)
    assert_allclose(weighted.log_likelihood_, repeated.log_likelihood_)


def test_missing_values_of_one_normal_have_a_closed_form():
    """Where only y is missing, the maximum is that of x, and of the line of y on x (Anderson 1957)."""
    X = draws(200)
    X[:80, 1] = np.nan
    model = GaussianMixture(1, prior_strength=0, tol=1e-13, max_iter=5000).fit(X)
    x, full = X[:, 0], X[80:]
    slope = np.cov(full.T)[0, 1] / np.var(full[:, 0], ddof=1)
    rest = np.mean((full[:, 1] - full[:, 1].mean() - slope * (full[:, 0] - full[:, 0].mean())) ** 2)
    assert_allclose(
        model.means_[0], [x.mean(), full[:, 1].mean() + slope * (x.mean() - full[:, 0].mean())], atol=1e-5
    )
    expected = [[x.var(), slope * x.var()], [slope * x.var(), rest + slope**2 * x.var()]]
    assert_allclose(model.covariances_[0], expected, atol=1e-5)


def test_values_missing_at_random_do_not_shift_a_mixture():
    """y is missing where x is large: means of what is left would be wrong by 0.5. Four standard errors."""
    X = draws(3000, 5)
    X[X[:, 0] > 2.5, 1] = np.nan
    model = GaussianMixture(2, random_state=0, tol=1e-8, prior_strength=0).fit(X)
    errors = model.standard_errors(X)
    assert np.all(np.abs(model.means_ - TRUTH.means) < 4 * errors.means)
    assert abs(np.nanmean(X[:, 1]) - TRUTH.weights @ TRUTH.means[:, 1]) > 0.2


def test_a_row_without_values_changes_nothing():
    X = draws(100)
    one = GaussianMixture(2, random_state=0, tol=1e-9).fit(X)
    other = GaussianMixture(2, random_state=0, tol=1e-9).fit(np.vstack([X, [[np.nan, np.nan]]]))
    assert_allclose(other.means_, one.means_, atol=1e-4)
    assert_allclose(other.predict_proba([[np.nan, np.nan]]), [other.weights_])


def test_units_do_not_matter():
    X, units = draws(200), np.array([1e-8, 1e5])
    one = GaussianMixture(3, random_state=0).fit(X)
    other = GaussianMixture(3, random_state=0).fit(X * units + [1e-6, -3e6])
    assert_allclose(other.means_, one.means_ * units + [1e-6, -3e6], rtol=1e-6)
    assert_allclose(other.log_likelihood_ + 200 * np.log(units).sum(), one.log_likelihood_, rtol=1e-7)
    assert_allclose(
        other.log_posterior_ - other.log_likelihood_, one.log_posterior_ - one.log_likelihood_, rtol=1e-5
    )


def test_the_prior_is_worth_its_strength_in_objects():
    X, scale = draws(40), np.diag([4.0, 9.0])
    for strength in (0.5, 20.0):
        model = GaussianMixture(1, prior_strength=strength, prior_scale=scale, tol=1e-12).fit(X)
        expected = (40 * np.cov(X.T, ddof=0) + strength * scale) / (40 + strength)
        assert_allclose(model.covariances_[0], expected, rtol=1e-9)
    free = GaussianMixture(1, prior_scale=[4.0, 9.0]).fit(X)
    assert_allclose(free.prior_.scale, scale)


def test_icl_counts_overlap():
    X = draws(500)
    model = GaussianMixture(2, random_state=0).fit(X)
    share = model.predict_proba(X)
    entropy = -np.sum(share * np.log(share))
    assert entropy > 1
    assert_allclose(model.icl(X) - model.bic(X), 2 * entropy)


def test_draws_have_the_moments_of_the_mixture():
    """20,000 draws, five standard errors."""
    model = GaussianMixture(2, random_state=0).fit(draws(500))
    V, labels = model.sample(20_000, rng=1)
    assert np.all(np.abs(V.mean(axis=0) - X_mean(model)) < 5 * V.std(axis=0) / np.sqrt(20_000))
    assert abs(np.mean(labels == 0) - model.weights_[0]) < 5 * 0.5 / np.sqrt(20_000)
    assert_allclose(np.cov(V[labels == 1].T), model.covariances_[1], atol=0.06)


def X_mean(model):
    return model.weights_ @ model.means_


def test_standard_errors_of_one_normal():
    """Information of mean and variance of n values: n / s^2 and n / (2 s^4)."""
    X = draws(200)[:, :1]
    model = GaussianMixture(1, prior_strength=0).fit(X)
    errors, variance = model.standard_errors(X), X.var()
    assert_allclose(errors.means[0, 0], np.sqrt(variance / 200), rtol=1e-6)
    assert_allclose(errors.covariances[0, 0, 0], np.sqrt(2 / 200) * variance, rtol=1e-6)
    assert errors.weights[0] == 0


def test_standard_errors_need_a_maximum():
    X = draws(60)
    model = GaussianMixture(2, max_iter=1, random_state=0)
    with pytest.warns(UserWarning, match="stopped after max_iter = 1"):
        model.fit(X)
    model.covariances_ = 30 * model.covariances_
    with pytest.raises(InputError, match="no maximum here"):
        model.standard_errors(X)


def test_a_fit_survives_pickling():
    X = draws(80)
    model = GaussianMixture(2, random_state=0).fit(X)
    assert_allclose(pickle.loads(pickle.dumps(model)).score_samples(X), model.score_samples(X))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_components": 0}, "n_components is 0; accepted is an integer >= 1"),
        ({"prior_strength": -1}, "prior_strength is -1; accepted is a number >= 0"),
        ({"tol": np.nan}, "tol is nan; accepted is a number >= 0"),
        ({"prior_scale": [1.0]}, r"prior_scale has shape \(1,\); accepted are variances"),
        ({"means_init": np.zeros((1, 2))}, "not all given; accepted are all three or none"),
        ({"n_components": 90}, "n_samples = 80 rows .* at least 90"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(InputError, match=message):
        GaussianMixture(**arguments).fit(draws(80))


def test_errors_of_x_are_for_deconvolution():
    with pytest.raises(InputError, match=r"GaussianMixture.fit cannot use X_err; .*ExtremeDeconvolution"):
        GaussianMixture().fit(draws(20), X_err=0.1)
    with pytest.raises(
        InputError, match="X contains infinity; accepted are finite values, and NaN where not measured"
    ):
        ExtremeDeconvolution().fit([[np.inf, 1.0], [1.0, 2.0]])


def test_one_normal_from_the_moments_of_sculptor():
    """The book's log likelihood, -308.8652, follows from the covariance of its table alone, typed in to 5 digits."""
    covariance = np.array([[0.13316, -0.07271], [-0.07271, 0.05348]])
    Z = np.random.default_rng(0).normal(size=(143, 2))
    Z = (Z - Z.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(Z.T, ddof=0))).T
    X = Z @ np.linalg.cholesky(covariance).T / np.sqrt(np.diag(covariance))
    assert_allclose(GaussianMixture(1, prior_strength=0).fit(X).log_likelihood_, -308.8652, atol=0.03)


@pytest.mark.parametrize("estimator", [GaussianMixture(1), ExtremeDeconvolution(1)])
def test_a_column_without_data_is_refused(estimator):
    X = np.random.default_rng(0).normal(size=(30, 3))
    X[:, 1] = np.nan
    with pytest.raises(InputError, match="column 1 of X is missing in every row"):
        estimator.fit(X)
    X[0, 1] = 0.5
    with pytest.raises(InputError, match="column 1 of X is missing in every row"):
        estimator.fit(X, sample_weight=(np.arange(30) > 0).astype(float))
