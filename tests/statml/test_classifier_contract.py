"""One walk over all public classifiers: every error argument works, or says in one sentence what does.

The classifiers are found, not listed: a new one is tested the day it is exported.
"""

import importlib
import inspect
import pickle
import pkgutil

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

import statml
from statml.errors import InputError, InputTypeError
from statml.uncertainty import Categorical, Covariance, CovarianceStack, cross_predict_dist
from statml.uncertainty.contract import DistributionClassifier
from statml.units import QuantityEstimator

N, D = 120, 2


def public_classifiers():
    """Every `DistributionClassifier` in the `__all__` of a subpackage of statml."""
    found = set()
    for module in pkgutil.walk_packages(statml.__path__, "statml."):
        if module.ispkg and not module.name.startswith("statml._"):
            package = importlib.import_module(module.name)
            for name in getattr(package, "__all__", ()):
                value = getattr(package, name)
                if inspect.isclass(value) and issubclass(value, DistributionClassifier):
                    found.add(value)
    return sorted(found, key=lambda classifier: classifier.__name__)


# Where the constructor has settings that change what the error arguments do.
SETTINGS = {
    "LogisticRegression": [
        {},
        {"alpha": 1.0, "averaging": "probit"},
        {"fit_intercept": False},
        {"class_prior": "balanced", "threshold": 0.3},
    ],
    "BayesianLogisticRegression": [
        {},
        {"prior_precision": 0.5, "input_prior": "gaussian", "averaging": "probit"},
        {"method": "mcmc", "draws": 60, "warmup": 40, "random_state": 0},
    ],
    "SoftmaxRegression": [{}, {"alpha": 1.0, "averaging": "pairwise"}, {"fit_intercept": False}],
    "GaussianProcessClassifier": [{}, {"inference": "ep", "link": "probit", "optimise": False}],
}


def build():
    for classifier in public_classifiers():
        for settings in SETTINGS.get(classifier.__name__, [{}]):
            yield pytest.param(classifier(**settings), id=f"{classifier.__name__}-{settings}")


every_classifier = pytest.mark.parametrize("classifier", list(build()))
# Chains kept short for speed, and a flat prior of features with errors, say so.
pytestmark = pytest.mark.filterwarnings("ignore:the chains have", "ignore:errors make up")


def data():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(N, D))
    y = np.where(rng.random(N) < 1 / (1 + np.exp(-0.5 - X @ [1.5, -1.0])), "giant", "dwarf")
    return X, y


X, Y = data()
MATRICES = np.tile(0.04 * (np.eye(D) + 0.3), (N, 1, 1))
X_ERRORS = {
    "X_err": {"X_err": np.full((N, D), 0.2)},
    "X_err number": {"X_err": 0.2},
    "X_cov": {"X_cov": CovarianceStack.dense(MATRICES)},
    "X_cov diagonal": {"X_cov": CovarianceStack.from_std(np.full((N, D), 0.2))},
}
# What a class cannot have, refused by all.
Y_ERRORS = {
    "y_err": {"y_err": np.ones(N)},
    "y_err number": {"y_err": 0.4},
    "y_cov": {"y_cov": Covariance.from_std(np.ones(N))},
}


def one_sentence(error, *words):
    """A single line that names the argument and what is accepted or can be used instead."""
    text = str(error)
    assert text and "\n" not in text, text
    for word in words:
        assert word in text, f"{word!r} is not named in: {text}"


def check_prediction(p, n, classes):
    assert isinstance(p, Categorical) and len(p) == n
    assert p.proba.shape == (n, len(classes)) and np.array_equal(p.classes, classes)
    assert np.all(p.proba > 0) and np.all(p.proba < 1)
    assert_allclose(p.proba.sum(axis=1), 1, rtol=1e-12)
    assert p.mode.shape == p.confidence.shape == p.entropy.shape == (n,)
    assert p.log_prob(Y[:n]).shape == p.brier(Y[:n]).shape == (n,)
    assert p.sample(3, rng=0).shape == (3, n)
    assert_allclose(pickle.loads(pickle.dumps(p)).proba, p.proba, rtol=0)


def test_the_walk_finds_the_classifiers():
    names = {classifier.__name__ for classifier in public_classifiers()}
    assert {"LogisticRegression", "SoftmaxRegression"} <= names


@every_classifier
def test_signatures_are_those_of_the_contract(classifier):
    fit = inspect.signature(type(classifier).fit).parameters
    predict = inspect.signature(type(classifier).predict_dist).parameters
    for name in ("X_err", "y_err", "X_cov", "y_cov", "xy_cov"):
        assert fit[name].kind is inspect.Parameter.KEYWORD_ONLY and fit[name].default is None
    for name in ("X_err", "X_cov", "y_err", "y_cov"):
        assert predict[name].kind is inspect.Parameter.KEYWORD_ONLY and predict[name].default is None
    assert "xy_cov" not in predict


@every_classifier
@pytest.mark.parametrize("fit_with", ["none", *X_ERRORS])
def test_every_error_argument(classifier, fit_with):
    """Fit with each argument, predict with each: it works, or one sentence names the way out."""
    model = clone(classifier)
    try:
        model.fit(X, Y, **X_ERRORS.get(fit_with, {}))
    except (InputError, InputTypeError) as error:
        assert fit_with != "none", error
        one_sentence(error, fit_with.split()[0], "predict_dist")
        return
    assert list(model.classes_) == ["dwarf", "giant"]
    plain = model.predict_dist(X)
    check_prediction(plain, N, model.classes_)
    assert_allclose(model.predict_proba(X), plain.proba, rtol=0)
    hair = 0.05 if getattr(model, "method", None) == "mcmc" else 0.0
    assert set(model.predict(X)) <= {"dwarf", "giant"}
    for predict_with, errors in X_ERRORS.items():
        p = model.predict_dist(X, **errors)
        check_prediction(p, N, model.classes_)
        if getattr(model, "population_", None) is not None:
            continue  # features are drawn towards their population, and odds towards its mean
        if hasattr(model, "kernel_"):
            continue  # around a curved boundary the average over the features may lie on its other side
        # Uncertain features move the odds of two classes towards 1, never across it; averages
        # over draws of the coefficients do so but for a hair's breadth around 1.
        sure, unsure = (np.abs(np.log(each.proba[:, 1] / each.proba[:, 0])) for each in (plain, p))
        assert np.all(unsure <= np.maximum(sure, hair) * (1 + 1e-9)), predict_with
        assert np.mean(unsure) < np.mean(sure), predict_with
        assert np.all(((p.proba[:, 1] > 0.5) == (plain.proba[:, 1] > 0.5)) | (sure < hair))
    exact = model.predict_dist(X, X_err=0.0)
    assert_allclose(exact.proba, plain.proba, rtol=1e-10)


@every_classifier
@pytest.mark.parametrize("given", Y_ERRORS)
def test_errors_of_classes_are_refused(classifier, given):
    model = clone(classifier)
    with pytest.raises(InputError) as caught:
        model.fit(X, Y, **Y_ERRORS[given])
    one_sentence(caught.value, given.split()[0], "class", "X")
    with pytest.raises(InputError) as caught:
        model.fit(X, Y, xy_cov=np.zeros((N, D)))
    one_sentence(caught.value, "xy_cov", "class")
    model.fit(X, Y)
    with pytest.raises(InputError) as caught:
        model.predict_dist(X, **Y_ERRORS[given])
    one_sentence(caught.value, given.split()[0], "class", "X")


WRONG = {
    "X_err NaN": ({"X_err": np.full((N, D), np.nan)}, ("X_err",)),
    "X_err inf": ({"X_err": np.full((N, D), np.inf)}, ("X_err",)),
    "X_err negative": ({"X_err": np.full((N, D), -1.0)}, ("X_err",)),
    "X_err short": ({"X_err": np.ones((N - 1, D))}, ("X_err",)),
    "X_err words": ({"X_err": [["large"] * D] * N}, ("X_err",)),
    "X_err unit": ({"X_err": np.ones((N, D)) * u.K}, ("X_err", "QuantityEstimator")),
    "X_cov array": ({"X_cov": MATRICES}, ("X_cov",)),
    "X_cov short": ({"X_cov": CovarianceStack.dense(MATRICES[1:])}, ("X_cov",)),
    "X_cov unit": ({"X_cov": MATRICES * u.K**2}, ("X_cov", "QuantityEstimator")),
    "both": ({"X_err": 0.1, "X_cov": CovarianceStack.dense(MATRICES)}, ("X_err",)),
}


@every_classifier
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_errors(classifier, wrong):
    errors, words = WRONG[wrong]
    model = clone(classifier).fit(X, Y)
    with pytest.raises((InputError, InputTypeError)) as caught:
        model.predict_dist(X, **errors)
    one_sentence(caught.value, *words)
    with pytest.raises((InputError, InputTypeError)) as caught:
        clone(classifier).fit(X, Y, **errors)
    one_sentence(caught.value, words[0])


@every_classifier
def test_wrong_data(classifier):
    model = clone(classifier)
    for bad_X, bad_y, words in (
        (X, Y[1:], ("120", "119")),
        (np.where(np.arange(D) == 0, np.nan, X), Y, ("X", "NaN")),
        (np.where(np.arange(D) == 0, np.inf, X), Y, ("X", "infinity")),
        (X, np.full(N, "giant"), ("y", "giant", "2 classes")),
        (X, np.random.default_rng(0).normal(size=N), ("continuous",)),
        (X * u.km, Y, ("X", "QuantityEstimator")),
        (X, np.arange(N) % 2 * u.K, ("y", "QuantityEstimator")),
    ):
        with pytest.raises((ValueError, TypeError)) as caught:
            model.fit(bad_X, bad_y)
        text = str(caught.value).split("\n")[0] if "continuous" in words else str(caught.value)
        one_sentence(text, *words)
    model.fit(X, Y)
    with pytest.raises(ValueError, match="3 features"):
        model.predict_dist(np.ones((4, 3)))
    with pytest.raises(InputTypeError, match="QuantityEstimator"):
        model.predict_dist(X * u.km)


@every_classifier
def test_same_seed_same_answer(classifier):
    first, second = clone(classifier).fit(X, Y), clone(classifier).fit(X, Y)
    assert_allclose(first.predict_proba(X), second.predict_proba(X), rtol=0)
    restored = pickle.loads(pickle.dumps(first))
    assert_allclose(restored.predict_proba(X), first.predict_proba(X), rtol=0)
    assert np.array_equal(restored.predict(X), first.predict(X))


@every_classifier
def test_units_and_cross_validation(classifier):
    model = QuantityEstimator(clone(classifier)).fit(X * u.km, Y)
    plain = clone(classifier).fit(X, Y)
    p = model.predict_dist(1000 * X * u.m, X_err=np.full((N, D), 100.0) * u.m)
    assert_allclose(p.proba, plain.predict_dist(X, X_err=0.1).proba, rtol=1e-9)
    assert np.array_equal(model.predict(X * u.km), plain.predict(X))
    held_out = cross_predict_dist(clone(classifier), X, Y, cv=3)
    assert isinstance(held_out, Categorical) and len(held_out) == N
    assert np.mean(held_out.log_prob(Y)) > np.log(0.5)
