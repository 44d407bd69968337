"""Softmax regression: which class is the reference, uncertain scores, separation, coverage, probabilities."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from statml.classification import (
    SeparationWarning,
    SoftmaxRegression,
    classification_report,
    reliability,
)
from statml.classification.multinomial import softmax
from statml.classification.softmax_normal import pairwise_softmax, sampled_softmax
from statml.errors import InputError
from statml.uncertainty import CovarianceStack

# Intercept and two slopes of three classes against the first, whose scores are 0.
BETA = np.array([[0.3, 1.0, -0.5], [-0.2, -0.4, 0.9]])


def simulate(n, seed, labels=("a", "b", "c")):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    eta = np.column_stack([np.zeros(n), BETA[:, 0] + X @ BETA[:, 1:].T])
    return X, np.asarray(labels)[np.argmax(eta + rng.gumbel(size=eta.shape), axis=1)]


def test_gradient_is_zero_and_information_is_the_second_derivative():
    X, y = simulate(300, 0)
    model = SoftmaxRegression().fit(X, y)
    A = np.column_stack([np.ones(300), X])
    proba = softmax(np.column_stack([np.zeros(300), A @ model.params_.T]))[0]
    target = (y[:, None] == model.classes_).astype(float)
    assert np.max(np.abs((target - proba).T @ A)) < 1e-11
    pi = proba[:, 1:]
    weights = pi[:, :, None] * (np.eye(2) - pi[:, None, :])
    information = np.einsum("ncd,ni,nj->cidj", weights, A, A).reshape(6, 6)
    assert_allclose(model.params_cov_, np.linalg.inv(information), rtol=1e-8)
    assert_allclose(model.log_likelihood_, np.sum(np.log(proba[target == 1])), rtol=1e-13)
    assert_allclose(model.coef_err_.ravel(), np.sqrt(np.diag(model.coef_cov_)), rtol=1e-12)


def test_which_class_is_first_does_not_matter():
    """Other labels, another reference: the same log odds between classes, the same probabilities."""
    for settings in ({}, {"alpha": 2.0}):
        X, y = simulate(400, 1)
        _, other = simulate(400, 1, labels=("z", "b", "a"))
        first, second = SoftmaxRegression(**settings).fit(X, y), SoftmaxRegression(**settings).fit(X, other)
        for pair, same in ((("c", "b"), ("a", "b")), (("a", "c"), ("z", "a"))):
            for ours, theirs in zip(first.contrast(*pair), second.contrast(*same)):
                assert_allclose(theirs, ours, rtol=1e-7, atol=1e-12)
        p, q = first.predict_dist(X, X_err=0.5).proba, second.predict_dist(X, X_err=0.5).proba[:, ::-1]
        assert_allclose(p, q, atol=2e-4)  # quasi-random draws are of other directions
        assert_allclose(first.log_likelihood_, second.log_likelihood_, rtol=1e-12)


def test_uncertain_scores_by_simulation():
    """Errors of the averages against 200,000 draws: 2e-3 quasi-random, up to 0.18 by pairs, as documented."""
    rng = np.random.default_rng(2)
    for spread, allowed, by_pairs in ((0.5, 1.5e-3, 0.035), (1.0, 2e-3, 0.09), (4.0, 8e-3, 0.2)):
        scores = 2 * rng.normal(size=(10, 4))
        roots = rng.normal(size=(10, 4, 4)) * spread / 2
        covariance = roots @ roots.transpose(0, 2, 1)
        own = np.einsum("ncc->nc", covariance)
        pairs = own[:, :, None] + own[:, None, :] - 2 * covariance
        z = rng.normal(size=(100_000, 4))
        z = np.concatenate([z, -z])
        exact = np.array([softmax(scores[i] + z @ roots[i].T)[0].mean(axis=0) for i in range(10)])
        assert np.max(np.abs(sampled_softmax(scores, covariance) - exact)) < allowed
        assert np.max(np.abs(pairwise_softmax(scores, pairs) - exact)) < by_pairs
    assert_allclose(pairwise_softmax(scores, np.zeros((10, 4, 4))), softmax(scores)[0], rtol=1e-12)
    assert_allclose(sampled_softmax(scores, np.zeros((10, 4, 4))), softmax(scores)[0], rtol=1e-12)


def test_uncertain_features_by_simulation():
    X, y = simulate(400, 3)
    model = SoftmaxRegression().fit(X, y)
    S = np.array([[0.5, 0.3], [0.3, 0.4]])
    p = model.predict_dist(X[:4], X_cov=CovarianceStack.dense(np.tile(S, (4, 1, 1)))).proba
    rng = np.random.default_rng(0)
    beta = rng.multivariate_normal(model.params_.ravel(), model.params_cov_, size=200_000).reshape(-1, 2, 3)
    for row in range(4):
        x = rng.multivariate_normal(X[row], S, size=200_000)
        eta = beta[:, :, 0] + np.einsum("mcd,md->mc", beta[:, :, 1:], x)
        drawn = softmax(np.column_stack([np.zeros(len(eta)), eta]))[0].mean(axis=0)
        assert_allclose(p[row], drawn, atol=4e-3)


def test_separation_of_one_class_and_dependent_columns():
    X, y = simulate(150, 4)
    X[:, 1] += 20 * (y == "c")
    with pytest.warns(SeparationWarning, match="a, b, c are quasi-completely separated by logg"):
        model = SoftmaxRegression().fit(pd.DataFrame(X, columns=["teff", "logg"]), y)
    assert model.separation_.columns == (1,) and np.all(np.isfinite(model.params_cov_))
    with pytest.raises(InputError, match=r"dependent columns \(column 0, column 2\)"):
        SoftmaxRegression().fit(np.column_stack([X, 3 * X[:, 0]]), y)
    with pytest.raises(InputError, match="label is 'd'; accepted are a, b, c"):
        model.contrast("d", "a")
    for settings, word in (
        ({"averaging": "exact"}, "quasi-random"),
        ({"alpha": np.nan}, "alpha"),
        ({"class_prior": [0.5, 0.5]}, "3 positive"),
    ):
        with pytest.raises(InputError, match=word):
            SoftmaxRegression(**settings).fit(X, y)


def test_class_prior():
    X, y = simulate(5000, 5)
    wanted = np.array([0.6, 0.3, 0.1])
    model = SoftmaxRegression(class_prior=wanted).fit(X, y)
    fresh, labels = simulate(25_000, 6)
    fractions = np.array([np.mean(labels == label) for label in model.classes_])
    weight = wanted / fractions
    keep = (
        np.random.default_rng(0).random(25_000)
        < (weight / weight.max())[np.searchsorted(model.classes_, labels)]
    )
    assert classification_report(model.predict_dist(fresh[keep]), labels[keep]).calibrated
    plain = SoftmaxRegression().fit(X, y)
    assert not classification_report(plain.predict_dist(fresh[keep]), labels[keep]).calibrated


def test_intervals_of_coefficients_cover():
    """600 samples of 400: 6 parameters at two levels, 12 checks at 3 sigma (a right one fails with 3 %)."""
    runs, inside = 600, {0.68: np.zeros((2, 3)), 0.95: np.zeros((2, 3))}
    for seed in range(runs):
        model = SoftmaxRegression().fit(*simulate(400, 1000 + seed))
        pull = np.abs(model.params_ - BETA) / np.sqrt(np.diag(model.params_cov_)).reshape(2, 3)
        for level, z in ((0.68, 0.99446), (0.95, 1.95996)):
            inside[level] += pull < z
    for level, count in inside.items():
        assert np.all(np.abs(count / runs - level) < 3 * np.sqrt(level * (1 - level) / runs)), (level, count)


def test_probabilities_and_sets_are_right_on_new_rows():
    X, y = simulate(3000, 7)
    fresh, labels = simulate(10_000, 8)
    prediction = SoftmaxRegression().fit(X, y).predict_dist(fresh)
    assert classification_report(prediction, labels).calibrated
    inside = prediction.prediction_set(0.9)[np.arange(10_000), np.searchsorted(prediction.classes, labels)]
    assert inside.mean() > 0.9 - 3 * np.sqrt(0.09 / 10_000)


def test_errors_of_the_features_that_are_left_out_make_probabilities_wrong():
    """Trained on exact features, asked about noisy ones: with X_err right, without flagged."""
    X, y = simulate(5000, 9)
    rng = np.random.default_rng(1)
    fresh, labels = simulate(10_000, 10)
    # The mean of the true feature given the noisy one, and what remains uncertain (features are standard normal).
    noise = 1.5
    seen = fresh + noise * rng.normal(size=fresh.shape)
    shrunk, left = seen / (1 + noise**2), noise / np.sqrt(1 + noise**2)
    model = SoftmaxRegression().fit(X, y)
    assert classification_report(model.predict_dist(shrunk, X_err=left), labels).calibrated
    assert reliability(model.predict_dist(seen), labels, label="top").pvalue < 1e-10


def test_same_answer_from_many_rows():
    X, y = simulate(70_000, 11)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = SoftmaxRegression().fit(X, y)
    assert model.n_iter_ <= 5
    assert np.all(np.abs(model.params_ - BETA) < 5 * np.sqrt(np.diag(model.params_cov_)).reshape(2, 3))
