"""Logistic regression: what it refuses, separation, priors, uncertain features, coverage of its errors."""

import warnings

import mpmath
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import special

from statml.classification import LogisticRegression, SeparationWarning, reliability
from statml.classification.logistic_normal import averaged_sigmoid
from statml.classification.newton import BinaryLikelihood, maximise
from statml.classification.separation import find_separation
from statml.errors import InputError
from statml.uncertainty import CovarianceStack

BETA = np.array([-0.5, 1.0, -0.7, 0.3])


def simulate(n, seed, beta=BETA):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, len(beta) - 1))
    return X, (rng.random(n) < special.expit(beta[0] + X @ beta[1:])).astype(int)


# -- the maximum ----------------------------------------------------------------------


def test_gradient_is_zero_and_information_is_the_second_derivative():
    X, y = simulate(300, 0)
    model = LogisticRegression().fit(X, y)
    A = np.column_stack([np.ones(300), X])
    p = special.expit(A @ model.params_)
    assert np.max(np.abs(A.T @ (y - p))) < 1e-11
    assert_allclose(model.params_cov_, np.linalg.inv(A.T @ (A * (p * (1 - p))[:, None])), rtol=1e-9)
    assert_allclose(model.log_likelihood_, np.sum(np.log(np.where(y == 1, p, 1 - p))), rtol=1e-13)
    assert_allclose(model.coef_err_, np.sqrt(np.diag(model.params_cov_))[1:])
    assert model.intercept_ == model.params_[0] and model.n_iter_ < 10 and model.separation_ is None


def test_penalty_leaves_the_intercept_free():
    X, y = simulate(300, 1)
    model = LogisticRegression(alpha=3.0).fit(X, y)
    A = np.column_stack([np.ones(300), X])
    p = special.expit(A @ model.params_)
    assert_allclose(A.T @ (y - p), 3.0 * np.r_[0, model.coef_], atol=1e-10)
    strong = LogisticRegression(alpha=1e9).fit(X, y)
    assert_allclose(strong.coef_, 0, atol=1e-6)
    assert_allclose(special.expit(strong.intercept_), y.mean(), rtol=1e-6)


def test_units_of_the_features_do_not_matter():
    X, y = simulate(500, 2)
    scale, offset = np.array([1e-6, 1.0, 1e5]), np.array([0.0, 300.0, 1e6])
    first, second = LogisticRegression().fit(X, y), LogisticRegression().fit(X * scale + offset, y)
    assert_allclose(second.coef_ * scale, first.coef_, rtol=1e-9)
    assert_allclose(second.coef_err_ * scale, first.coef_err_, rtol=1e-9)


def test_mislabelled_objects_far_out_do_not_break_newton():
    """A handful of wrong labels where the log odds are 40: gradients of order 1, weights of e^-40."""
    X, y = simulate(2000, 3, np.array([0.0, 3.0, 0.0]))
    X[:4, 0], y[:4] = [14.0, 15.0, -14.0, -16.0], [0, 0, 1, 1]
    model = LogisticRegression().fit(X, y)
    p = special.expit(np.column_stack([np.ones(2000), X]) @ model.params_)
    assert np.max(np.abs(np.column_stack([np.ones(2000), X]).T @ (y - p))) < 1e-9


def test_many_rows_start_from_some_of_them():
    X, y = simulate(80_000, 4)
    whole = maximise(BinaryLikelihood(X, y, intercept=True))
    again = maximise(BinaryLikelihood(X, y, intercept=True), start=np.zeros(4))
    assert_allclose(whole.params, again.params, rtol=1e-11)
    assert whole.steps < again.steps


# -- where there is no maximum -------------------------------------------------------------


def test_dependent_columns_are_named():
    X, y = simulate(200, 5)
    stars = pd.DataFrame(X, columns=["teff", "logg", "h"]).assign(k=lambda table: table["h"])
    with pytest.raises(
        InputError, match=r"dependent columns \(h, k\).*alpha > 0.*BayesianLogisticRegression"
    ):
        LogisticRegression().fit(stars, y)
    with pytest.raises(InputError, match=r"the constant, column 3"):
        LogisticRegression().fit(np.column_stack([X, np.full(200, 7.0)]), y)
    with pytest.raises(InputError, match=r"column 0, column 1, column 3"):
        LogisticRegression().fit(np.column_stack([X, X[:, 0] - 2 * X[:, 1]]), y)
    with pytest.raises(InputError, match="n_samples=3 is too few for 4 coefficients"):
        LogisticRegression().fit(X[:3], [0, 1, 0])
    both = LogisticRegression(alpha=1.0).fit(np.column_stack([X, X[:, 2]]), y)
    assert_allclose(both.coef_[2], both.coef_[3])


def test_complete_separation_is_explained():
    X, y = simulate(100, 6)
    y = (X[:, 1] > 0.2).astype(int)
    with pytest.warns(SeparationWarning) as caught:
        model = LogisticRegression().fit(pd.DataFrame(X, columns=["a", "logg", "c"]), y)
    text = str(caught[0].message)
    assert "\n" not in text and "completely separated by logg" in text and "quasi" not in text
    assert "alpha > 0" in text and "BayesianLogisticRegression" in text
    assert model.separation_.columns == (1,)
    assert np.all(np.isfinite(model.params_)) and np.all(
        model.predict(pd.DataFrame(X, columns=["a", "logg", "c"])) == y
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # also that names of columns are not asked for twice
        model.predict_dist(pd.DataFrame(X, columns=["a", "logg", "c"]), X_err=0.1)
        assert LogisticRegression(alpha=0.1).fit(X, y).separation_ is None


def test_quasi_complete_separation_is_explained():
    """All members of one group are of one class; the other group is mixed."""
    rng = np.random.default_rng(7)
    group = np.repeat([0.0, 1.0], 50)
    y = np.where(group == 1, 1, rng.integers(0, 2, size=100))
    with pytest.warns(SeparationWarning, match="quasi-completely separated by column 0"):
        model = LogisticRegression().fit(np.column_stack([group, rng.normal(size=100)]), y)
    assert model.separation_.kind == "quasi-completely"


@pytest.mark.parametrize("seed", range(40))
def test_separation_is_found_exactly_where_it_is(seed):
    """Few rows in three dimensions are separable about half of the time; a linear programme decides here too."""
    from scipy.optimize import linprog

    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(8, 2)).round(1), rng.integers(0, 2, size=8)
    if len(set(y)) == 1:
        y[0] = 1 - y[0]
    M = np.where(y, 1, -1)[:, None] * np.column_stack([np.ones(8), X])
    best = linprog(-M.sum(axis=0), A_ub=-M, b_ub=np.zeros(8), bounds=(-1, 1))
    separable = best.fun < -1e-9
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = LogisticRegression().fit(X, y)
    assert (
        (model.separation_ is not None) == separable == any(w.category is SeparationWarning for w in caught)
    )


def test_separation_of_many_rows():
    rng = np.random.default_rng(8)
    X = rng.normal(size=(20_000, 6))
    y = (X[:, 3] + 0.5 * X[:, 5] > 0).astype(int)
    assert find_separation(X, y, intercept=True).columns == (3, 5)
    y[np.argmin(np.abs(X[:, 3] + 0.5 * X[:, 5]))] ^= 1  # the closest call, turned over
    X[:2, 3], y[:2] = [3.0, -3.0], [0, 1]
    assert find_separation(X, y, intercept=True) is None


# -- predictions --------------------------------------------------------------------------


def test_mean_of_a_sigmoid_against_quadrature():
    """To 1e-13 for any variance; the probit approximation is within 0.018."""
    mpmath.mp.dps = 25
    for mean, variance in ((1.0, 9.0), (-3.0, 0.01), (-8.0, 4.0), (0.3, 400.0)):
        turn = -mean / np.sqrt(variance)
        exact = mpmath.quad(
            lambda t, m=mean, v=variance: mpmath.npdf(t) / (1 + mpmath.exp(-(m + mpmath.sqrt(v) * t))),
            sorted({-12, -6, -3, -1, 0, 1, 3, 6, 12} | ({turn} if abs(turn) < 12 else set())),
        )
        assert_allclose(float(averaged_sigmoid(mean, variance)), float(exact), rtol=1e-13)
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    means = np.linspace(-6, 6, 25)
    for variance in (0.0, 0.5, 2.0):
        hermite = special.expit(means[:, None] + np.sqrt(variance) * nodes) @ weights / np.sqrt(2 * np.pi)
        assert_allclose(averaged_sigmoid(means, np.full(25, variance)), hermite, rtol=1e-10)
    m, v = np.meshgrid(np.linspace(0, 60, 301), np.geomspace(1e-3, 1e3, 151))
    worst = np.max(np.abs(averaged_sigmoid(m, v, "probit") - averaged_sigmoid(m, v)))
    assert 0.0170 < worst < 0.0178


def test_uncertain_features_and_coefficients_by_simulation():
    """Draws of features and coefficients give the averaged probability to 4 Monte Carlo errors."""
    X, y = simulate(150, 9)
    model = LogisticRegression().fit(X, y)
    errors = CovarianceStack.dense(
        np.tile(np.array([[0.5, 0.2, 0.0], [0.2, 0.4, 0.1], [0.0, 0.1, 0.3]]), (5, 1, 1))
    )
    p = model.predict_dist(X[:5], X_cov=errors).proba[:, 1]
    latent = model.predict_latent_dist(X[:5], X_cov=errors)
    rng = np.random.default_rng(1)
    beta = rng.multivariate_normal(model.params_, model.params_cov_, size=400_000)
    for row in range(5):
        x = rng.multivariate_normal(X[row], errors.to_dense()[row], size=400_000)
        eta = beta[:, 0] + np.sum(beta[:, 1:] * x, axis=1)
        assert abs(eta.var() / latent.std[row] ** 2 - 1) < 0.02
        # The product of two normals is not quite normal: an allowance of 0.002.
        drawn = special.expit(eta)
        assert abs(drawn.mean() - p[row]) < 4 * drawn.std() / np.sqrt(400_000) + 2e-3
    parts = latent.variance_components
    assert_allclose(parts["parameter"] + parts["input"], latent.std**2, rtol=1e-12)
    assert_allclose(latent.cov.variance(), latent.std**2, rtol=1e-12)
    A = np.column_stack([np.ones(5), X[:5]])
    assert_allclose(parts["parameter"], np.einsum("ij,jk,ik->i", A, model.params_cov_, A))


def test_class_prior_shifts_the_log_odds():
    X, y = simulate(4000, 10)
    plain = LogisticRegression().fit(X, y)
    fractions = np.array([0.9, 0.1])
    shifted = LogisticRegression(class_prior=fractions).fit(X, y)
    assert_allclose(shifted.params_, plain.params_, rtol=0)
    counts = np.bincount(y) / len(y)
    expected = np.log(0.1 / 0.9) - np.log(counts[1] / counts[0])
    assert_allclose(
        shifted.predict_latent_dist(X).mean - plain.predict_latent_dist(X).mean, expected, rtol=1e-9
    )
    assert_allclose(LogisticRegression(class_prior=counts).fit(X, y).predict_proba(X), plain.predict_proba(X))
    # A population with these fractions, made by keeping rows: its probabilities are right, the others wrong.
    fresh, labels = simulate(40_000, 11)
    rng = np.random.default_rng(0)
    keep = rng.random(40_000) < np.where(
        labels == 1, 0.1 / 0.9 * np.mean(labels == 0) / np.mean(labels == 1), 1.0
    )
    fresh, labels = fresh[keep], labels[keep]
    assert abs(labels.mean() - 0.1) < 0.01
    assert reliability(shifted.predict_dist(fresh), labels).pvalue > 1e-3
    assert reliability(plain.predict_dist(fresh), labels).pvalue < 1e-10
    balanced = LogisticRegression(class_prior="balanced").fit(X, y)
    assert_allclose(balanced.prior_shift_, -np.log(counts[1] / counts[0]))


def test_threshold_and_decision_function():
    X, y = simulate(400, 12)
    model = LogisticRegression(threshold=0.2).fit(X, y)
    p = model.predict_proba(X)
    assert np.array_equal(model.predict(X), (p[:, 1] >= 0.2).astype(int))
    assert_allclose(model.decision_function(X), special.logit(p[:, 1]), rtol=1e-9)
    assert np.all(np.abs(model.decision_function(X)) < np.abs(model.predict_latent_dist(X).mean))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"alpha": -1.0}, ("alpha", "-1.0", ">= 0")),
        ({"alpha": "large"}, ("alpha", "large")),
        ({"threshold": 1.5}, ("threshold", "1.5")),
        ({"averaging": "mean"}, ("averaging", "mean", "exact", "probit")),
        ({"class_prior": "equal"}, ("class_prior", "equal", "balanced")),
        ({"class_prior": [0.5, 0.6]}, ("class_prior", "sum to 1")),
        ({"class_prior": [0.2, 0.3, 0.5]}, ("class_prior", "2 positive fractions")),
    ],
)
def test_settings_that_are_not_accepted(settings, words):
    X, y = simulate(50, 13)
    with pytest.raises(InputError) as caught:
        LogisticRegression(**settings).fit(X, y)
    text = str(caught.value)
    assert "\n" not in text and all(word in text for word in words), text


def test_more_classes_are_sent_elsewhere():
    with pytest.raises(InputError, match="3 classes; SoftmaxRegression"):
        LogisticRegression().fit(np.arange(6.0)[:, None], [0, 1, 2, 0, 1, 2])
    X, y = simulate(50, 14)
    with pytest.raises(InputError, match=r"X_err.*predict_dist.*BayesianLogisticRegression"):
        LogisticRegression().fit(X, y, X_err=0.1)


# -- calibration ----------------------------------------------------------------------------


def test_intervals_of_coefficients_cover():
    """1000 samples of 400: 68 and 95 % of 4 coefficients, 8 checks at 3 sigma (a right one fails with 2 %)."""
    runs, inside = 1000, {0.68: np.zeros(4), 0.95: np.zeros(4)}
    for seed in range(runs):
        model = LogisticRegression().fit(*simulate(400, 1000 + seed))
        pull = np.abs(model.params_ - BETA) / np.sqrt(np.diag(model.params_cov_))
        for level, z in ((0.68, 0.99446), (0.95, 1.95996)):
            inside[level] += pull < z
    for level, count in inside.items():
        assert np.all(np.abs(count / runs - level) < 3 * np.sqrt(level * (1 - level) / runs)), (level, count)


def test_errors_misstated_by_a_fifth_fail_that_test():
    runs, inside = 1000, np.zeros(4)
    for seed in range(runs):
        model = LogisticRegression().fit(*simulate(400, 1000 + seed))
        inside += np.abs(model.params_ - BETA) / np.sqrt(np.diag(model.params_cov_)) < 0.8 * 0.99446
    assert np.all(np.abs(inside / runs - 0.68) > 3 * np.sqrt(0.68 * 0.32 / runs))


def test_probabilities_are_right_and_those_of_a_wrong_model_are_not():
    X, y = simulate(3000, 15)
    fresh, labels = simulate(20_000, 16)
    assert reliability(LogisticRegression().fit(X, y).predict_dist(fresh), labels).pvalue > 1e-3

    def curved(n, seed):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, 1))
        return x, (rng.random(n) < special.expit(-1 + x[:, 0] + x[:, 0] ** 2)).astype(int)

    x, y = curved(3000, 17)
    fresh, labels = curved(20_000, 18)
    straight = LogisticRegression().fit(x, y).predict_dist(fresh)
    assert reliability(straight, labels).pvalue < 1e-10
    bent = (
        LogisticRegression()
        .fit(np.column_stack([x, x**2]), y)
        .predict_dist(np.column_stack([fresh, fresh**2]))
    )
    assert reliability(bent, labels).pvalue > 1e-3


def test_small_samples_are_better_predicted_with_uncertain_coefficients():
    """Averaging over the coefficients wins the held-out log score at n = 40: 200 samples, a paired 3 sigma."""
    gains = []
    for seed in range(200):
        X, y = simulate(40, 3000 + seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SeparationWarning)
            model = LogisticRegression().fit(X, y)
        fresh, labels = simulate(500, 6000 + seed)
        sign = np.where(labels == 1, 1, -1)
        plug_in = special.log_expit(sign * model.predict_latent_dist(fresh).mean)
        gains.append(np.mean(model.predict_dist(fresh).log_prob(labels) - plug_in))
    assert np.mean(gains) > 3 * np.std(gains) / np.sqrt(200)
