"""GaussianProcessClassifier: averages, errors of X, hyperparameters, calibration on draws of the prior."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import special
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessClassifier as SklearnClassifier
from sklearn.gaussian_process import kernels as sklearn_kernels

from statml.errors import InputError, InputTypeError
from statml.gp import RBF, Constant, GaussianProcessClassifier, Matern32
from statml.uncertainty import CovarianceStack

SIGMOID = {"logit": special.expit, "probit": special.ndtr}
WAYS = [("laplace", "logit"), ("laplace", "probit"), ("ep", "logit"), ("ep", "probit")]
every_way = pytest.mark.parametrize("inference, link", WAYS)


def rings(n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, np.where((X**2).sum(axis=1) + 0.4 * rng.normal(size=n) > 1.2, "outside", "inside")


@every_way
def test_probabilities_are_averages_over_the_latent_function(inference, link):
    X, y = rings(50)
    model = GaussianProcessClassifier(RBF(1.0, 2.0), inference=inference, link=link, optimise=False).fit(X, y)
    new = np.random.default_rng(1).normal(size=(8, 2))
    latent = model.predict_latent_dist(new)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    values = SIGMOID[link](latent.mean[:, None] + latent.std[:, None] * nodes)
    proba = model.predict_proba(new)[:, 1]
    assert_allclose(proba, values @ weights / weights.sum(), rtol=1e-6)
    plug_in = SIGMOID[link](latent.mean)
    assert np.all(np.abs(proba - 0.5) < np.abs(plug_in - 0.5))


@every_way
def test_far_away_nothing_is_known(inference, link):
    X, y = rings(40)
    model = GaussianProcessClassifier(RBF(1.0, 2.0), inference=inference, link=link, optimise=False).fit(X, y)
    p = model.predict_dist([[60.0, 0.0]])
    assert_allclose(p.proba, 0.5, atol=1e-12)
    leaning = GaussianProcessClassifier(
        RBF(1.0, 2.0) + Constant(2.0), inference=inference, link=link, optimise=False
    )
    share = leaning.fit(X, y).predict_dist([[60.0, 0.0]]).proba[0, 1]
    assert (share > 0.5) == (np.mean(y == "outside") > 0.5) and abs(share - 0.5) > 0.02


def test_joint_covariance_of_the_latent_function():
    X, y = rings(30)
    model = GaussianProcessClassifier(RBF(1.0, 2.0), optimise=False).fit(X, y)
    new = np.vstack([X[:4], X[:2]])  # two points twice: singular, and no reason to fail
    latent = model.predict_latent_dist(new)
    assert_allclose(latent.cov.variance(), latent.std**2, rtol=1e-8)
    draws = latent.sample(3, rng=0)
    assert_allclose(draws[:, :2], draws[:, 4:], atol=1e-6)
    assert_allclose(latent.variance_components["parameter"], latent.std**2)


@every_way
def test_optimising_ends_where_the_evidence_has_no_slope(inference, link):
    X, y = rings(60)
    start = RBF(0.5, 1.0)
    before = GaussianProcessClassifier(start, inference=inference, link=link, optimise=False).fit(X, y)
    model = clone(before).set_params(optimise=True).fit(X, y)
    assert model.log_evidence_ > before.log_evidence_ + 1
    for j in range(2):
        for step in (-0.05, 0.05):
            theta = model.kernel_.theta + step * np.eye(2)[j]
            moved = clone(before).set_params(kernel=start.with_theta(theta)).fit(X, y)
            assert moved.log_evidence_ < model.log_evidence_
    assert model.kernel == start  # a parameter is left alone


def test_evidence_is_no_worse_than_scikit_learns_after_optimising():
    X, y = rings(60)
    peer = SklearnClassifier(1.0 * sklearn_kernels.RBF(0.5), random_state=0).fit(X, y)
    model = GaussianProcessClassifier(RBF(0.5)).fit(X, y)
    assert model.log_evidence_ > peer.log_marginal_likelihood_value_ - 1e-5
    new = np.random.default_rng(1).normal(size=(20, 2))
    # scikit-learn averages the sigmoid by five error functions, good to a few 1e-4.
    assert_allclose(model.predict_proba(new), peer.predict_proba(new), atol=2e-3)


def test_restarts_find_the_better_of_two_optima():
    """Few points: noise or structure; from a far start the search ends in the worse explanation."""
    rng = np.random.default_rng(3)
    x = np.sort(rng.uniform(0, 10, 40))[:, None]
    y = (np.sin(2.5 * x[:, 0]) > 0).astype(int)
    kernel = RBF(30.0, 0.5)
    once = GaussianProcessClassifier(kernel).fit(x, y)
    often = GaussianProcessClassifier(kernel, restarts=4, random_state=0).fit(x, y)
    again = GaussianProcessClassifier(kernel, restarts=4, random_state=0).fit(x, y)
    assert often.log_evidence_ > once.log_evidence_ + 3
    assert again.kernel_ == often.kernel_


@pytest.mark.parametrize("form", ["X_err", "X_cov"])
def test_errors_of_x_are_averaged_over(form):
    X, y = rings(50)
    model = GaussianProcessClassifier(RBF(1.0, 3.0), optimise=False).fit(X, y)
    new = np.array([[0.0, 0.0], [0.3, 1.0], [1.2, -0.2]])
    covariance = np.array([[0.3, 0.1], [0.1, 0.2]]) if form == "X_cov" else np.diag([0.25, 0.25])
    errors = (
        {"X_cov": CovarianceStack.dense(np.stack([covariance] * 3))} if form == "X_cov" else {"X_err": 0.5}
    )
    rng = np.random.default_rng(2)
    draws = new[:, None] + rng.standard_normal((3, 20_000, 2)) @ np.linalg.cholesky(covariance).T
    many = model.predict_proba(draws.reshape(-1, 2)).reshape(3, -1, 2)
    noise = many[..., 1].std(axis=1) / np.sqrt(20_000)
    proba = model.predict_dist(new, **errors).proba
    assert_allclose(proba, many.mean(axis=1), atol=5 * noise.max() + 5e-3)
    assert np.max(np.abs(proba - model.predict_proba(new))) > 0.05
    latent, flat = model.predict_latent_dist(new, **errors), model.predict_latent_dist(draws.reshape(-1, 2))
    means, variances = flat.mean.reshape(3, -1), flat.std.reshape(3, -1) ** 2
    assert_allclose(latent.mean, means.mean(axis=1), atol=0.05)
    assert_allclose(latent.variance_components["input"], means.var(axis=1), rtol=0.1)
    assert_allclose(latent.variance_components["parameter"], variances.mean(axis=1), rtol=0.05)
    assert_allclose(sum(latent.variance_components.values()), latent.std**2, rtol=1e-12)


def test_columns_in_reverse_order_of_memory():
    X = np.random.default_rng(0).normal(size=(20, 2))
    classes = X[:, 0] > 0
    model = GaussianProcessClassifier(RBF(1.0), optimise=False)
    reversed_columns = X[:, ::-1]
    expected = model.fit(reversed_columns.copy(), classes).predict_proba(reversed_columns.copy())
    assert_allclose(model.fit(reversed_columns, classes).predict_proba(reversed_columns), expected)


def test_several_classes():
    X, y = rings(80)
    y = np.where((y == "inside") & (X[:, 0] > 0), "right", y)
    model = GaussianProcessClassifier(RBF(1.0, 2.0)).fit(X, y)
    p = model.predict_dist(X)
    assert list(model.classes_) == ["inside", "outside", "right"]
    assert np.mean(p.mode == y) > 0.85
    scores, covariance = model.predict_scores([[0.8, 0.0]])
    rng = np.random.default_rng(0)
    f = rng.multivariate_normal(scores[0], covariance[0], size=100_000)
    assert_allclose(model.predict_proba([[0.8, 0.0]])[0], special.softmax(f, axis=1).mean(axis=0), atol=3e-3)
    sure, unsure = (model.predict_dist(X, **errors) for errors in ({}, {"X_err": 1.0}))
    assert np.mean(unsure.entropy) > np.mean(sure.entropy)
    assert_allclose(model.predict_dist([[50.0, 0.0]]).proba, 1 / 3, atol=2e-3)


def test_two_classes_as_three_with_one_left_out():
    """The binary model of twice the variance predicts what the softmax of two would."""
    X, y = rings(40)
    import torch

    from statml.classification.softmax_normal import sampled_softmax
    from statml.gp.class_evidence import SoftmaxEvidence

    kernel = RBF(1.0, 2.0)
    target = torch.tensor(np.stack([y == "inside", y == "outside"]).astype(float))
    joint = SoftmaxEvidence(target).posterior(torch.from_numpy(kernel(X)), None)
    new = np.random.default_rng(1).normal(size=(5, 2))
    moments = joint.moments(torch.from_numpy(kernel(X, new)), torch.from_numpy(np.diag(kernel(new)).copy()))
    binary = GaussianProcessClassifier(RBF(1.0, 2.0 * np.sqrt(2)), optimise=False).fit(X, y)
    assert_allclose(
        binary.predict_proba(new), sampled_softmax(*(part.numpy() for part in moments)), atol=1e-3
    )


# -- calibration ------------------------------------------------------------------------


def prior_draws(kernel, n, functions, link, seed):
    rng = np.random.default_rng(seed)
    for _ in range(functions):
        X = rng.uniform(0, 6, (n, 1))
        f = np.linalg.cholesky(kernel(X) + 1e-8 * np.eye(n)) @ rng.standard_normal(n)
        p = SIGMOID[link](f)
        yield X, (rng.random(n) < p).astype(int), p


def mean_and_error(values):
    """Mean over functions, and its standard error: the points of one function hang together."""
    values = np.array(values)
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))


def test_calibration_on_draws_from_the_prior():
    """At the true kernel expectation propagation is calibrated and nearly Bayes-optimal.

    Each statistic is a mean over 60 independent functions in units of its standard error; with nine
    of them and a limit of 3.5 a correct method fails once in 240 seeds.
    """
    kernel, gaps, brier, own = RBF(1.0, 3.0), [], [], []
    edges = np.linspace(0, 1, 8)
    for X, y, truth in prior_draws(kernel, 160, 60, "logit", seed=11):
        model = GaussianProcessClassifier(kernel, inference="ep", optimise=False).fit(X[:60], y[:60])
        p = model.predict_proba(X[60:])[:, 1]
        bins = np.clip(np.digitize(p, edges) - 1, 0, 6)
        gaps.append(np.bincount(bins, y[60:] - p, minlength=7) / len(p))
        squares = (y[60:] - p) ** 2
        # What a calibrated forecast expects of its own score, and the score of the true probabilities.
        brier.append(np.mean(squares - p * (1 - p)))
        own.append([squares.mean(), np.mean((y[60:] - truth[60:]) ** 2), np.mean((p - truth[60:]) ** 2)])
    mean, error = mean_and_error(gaps)
    assert np.all(np.abs(mean) < 3.5 * error)
    mean, error = mean_and_error(brier)
    assert abs(mean) < 3.5 * error
    # Brier score = that of the truth + the squared distance from it, which is what the posterior expects.
    (score, best, _), _ = mean_and_error(own)
    assert best < score < best + 0.05
    mean, error = mean_and_error([each[0] - each[1] - each[2] for each in own])
    assert abs(mean) < 3.5 * error


def test_laplace_is_too_cautious_where_the_prior_is_wide():
    """Probits of a wide prior: the truth is nearly certain, and Laplace does not dare to say so."""
    kernel, shift = RBF(1.0, 8.0), {"laplace": [], "ep": []}
    for X, y, _ in prior_draws(kernel, 120, 20, "probit", seed=12):
        if len(set(y[:50])) < 2:
            continue  # nothing to learn; what was observed may be conditioned on
        for inference in shift:
            model = GaussianProcessClassifier(kernel, inference=inference, link="probit", optimise=False)
            p = model.fit(X[:50], y[:50]).predict_proba(X[50:])[:, 1]
            shift[inference].append(np.mean(np.where(p > 0.5, y[50:] - p, p - y[50:])))
    mean, error = mean_and_error(shift["laplace"])
    assert mean > 5 * error
    assert abs(mean_and_error(shift["ep"])[0]) < 3.5 * mean_and_error(shift["ep"])[1]


# -- the boundary ------------------------------------------------------------------------


def test_what_is_refused():
    X, y = rings(20)
    three = np.arange(20) % 3
    for settings, target, error, words in (
        ({"kernel": "rbf"}, y, InputTypeError, ("kernel", "RBF")),
        ({"inference": "mcmc"}, y, InputError, ("inference", "laplace", "ep")),
        ({"link": "cauchit"}, y, InputError, ("link", "logit", "probit")),
        ({"restarts": -1}, y, InputError, ("restarts", "-1")),
        ({"device": "tpu"}, y, InputError, ("device", "tpu")),
        ({"inference": "ep"}, three, InputError, ("Only binary", "laplace")),
        ({"link": "probit"}, three, InputError, ("Only binary", "logit")),
    ):
        with pytest.raises(error) as caught:
            GaussianProcessClassifier(**settings).fit(X, target)
        assert "\n" not in str(caught.value) and all(word in str(caught.value) for word in words)
    with pytest.raises(InputError, match=r"X_err.*predict_dist"):
        GaussianProcessClassifier().fit(X, y, X_err=0.1)
    two, many = (GaussianProcessClassifier(RBF(1.0), optimise=False).fit(X, t) for t in (y, three))
    with pytest.raises(InputError, match="predict_latent_dist"):
        two.predict_scores(X)
    with pytest.raises(InputError, match="predict_scores"):
        many.predict_latent_dist(X)


def test_a_fitted_model_pickles_without_tensors_of_the_search():
    X, y = rings(30)
    model = GaussianProcessClassifier(Matern32(1.0), inference="ep").fit(X, y)
    stored = pickle.dumps(model)
    assert len(stored) < 30 * 30 * 8 + 10_000  # one factor, no derivative
    assert_allclose(pickle.loads(stored).predict_proba(X), model.predict_proba(X), rtol=0)
