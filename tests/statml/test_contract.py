"""One walk over all public estimators: every error argument works, or says in one sentence what does.

The estimators are found, not listed: a new one is tested the day it is exported.
"""

import functools
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
from statml.gp import DRW, RBF, GaussianProcessRegressor, Linear, Matern32, White
from statml.neural import MLPRegressor, Training
from statml.regression import Kelly, LinearRegression, Orthogonal, York
from statml.uncertainty import Covariance, CovarianceStack, PredictiveDistribution
from statml.uncertainty.contract import DistributionRegressor
from statml.uncertainty.distributions import COMPONENTS

N, D = 60, 2


def public_estimators():
    """Every `DistributionRegressor` in the `__all__` of a subpackage of statml."""
    found = set()
    for module in pkgutil.walk_packages(statml.__path__, "statml."):
        if module.ispkg and not module.name.startswith("statml._"):
            package = importlib.import_module(module.name)
            for name in getattr(package, "__all__", ()):
                value = getattr(package, name)
                if inspect.isclass(value) and issubclass(value, DistributionRegressor):
                    found.add(value)
    return sorted(found, key=lambda estimator: estimator.__name__)


# A few steps: the walk asks what the error arguments do, not how well a network fits.
QUICK = Training(epochs=4, batch_size=64, learning_rate=0.02)
# Where the constructor has settings that change what the error arguments do.
SETTINGS = {
    "LinearRegression": [{}, {"absolute_errors": False}, {"fit_intercept": False}],
    "BayesianLinearRegression": [
        {},
        {"prior_cov": 4.0, "scatter": 0.3},
        {"tails": "student_t"},
        {"scatter_model": "features"},
    ],
    "RobustRegression": [
        {"random_state": 0},
        {"df": 4.0, "scatter": "fit", "random_state": 0},
        {"method": "mixture", "random_state": 0},
        {"method": "mixture", "scatter": "fit", "random_state": 0},
    ],
    "ErrorsInVariables": [
        {"method": York()},
        {"method": York(), "fit_intercept": False},
        {"method": Orthogonal()},
        {"method": Orthogonal(scatter=True)},
        {"method": Orthogonal(scatter=True, outliers=True), "random_state": 0},
        {"method": Kelly(2, warmup=20, draws=10), "random_state": 0},
        {"method": Kelly(1, warmup=20, draws=10), "fit_intercept": False, "random_state": 0},
    ],
    "NormalInverseGammaRegression": [{}, {"prior_cov": 4.0, "noise_df": 3.0}, {"prior_cov": np.inf}],
    "RidgeRegression": [
        {},
        {"alpha": "loo"},
        {"alpha": "evidence"},
        {"alpha": 2.0, "absolute_errors": False},
    ],
    "ConditionalFlow": [{"bins": 4, "hidden": (8,), "training": QUICK, "input_draws": 4, "random_state": 0}],
    "MLPRegressor": [
        {"hidden": (8,), "training": QUICK, "input_draws": 2, "random_state": 0},
        {
            "hidden": (8,),
            "likelihood": "student_t",
            "training": QUICK,
            "input_draws": 2,
            "random_state": 0,
        },
        {
            "hidden": (8,),
            "dropout": 0.1,
            "draws": 2,
            "training": QUICK,
            "input_draws": 2,
            "random_state": 0,
        },
    ],
    "DeepEnsemble": [
        {"estimator": MLPRegressor((8,), training=QUICK, input_draws=2), "members": 2, "random_state": 0}
    ],
    "LastLayerLaplace": [{"estimator": MLPRegressor((8,), training=QUICK, input_draws=2, random_state=0)}],
    "MixtureDensityNetwork": [
        {"n_components": 2, "hidden": (8,), "training": QUICK, "input_draws": 4, "random_state": 0}
    ],
    "ConformalRegressor": [{"estimator": LinearRegression(), "random_state": 0}],
    "GaussianProcessRegressor": [
        {"kernel": RBF(3.0, sigma=3.0), "restarts": 0},
        {"kernel": Linear(2.0) + White(0.2), "mean_prior": (0.0, 9.0), "scatter": 0.2, "optimise": False},
    ],
    "AveragedGP": [
        {
            "estimator": GaussianProcessRegressor(RBF(3.0).fixed("length_scale"), scatter=0.3, restarts=0),
            "draws": 2,
            "random_state": 0,
        }
    ],
    "StateSpaceGP": [
        {"kernel": Matern32(1.0).on(0), "restarts": 0},
        {"kernel": DRW(1.0, 1.0).on(0) + White(0.2), "mean": "constant", "scatter": 0.2, "optimise": False},
    ],
    "SparseGaussianProcess": [
        {"inducing": 15, "move_inducing": False, "random_state": 0},
        {"inducing": 15, "method": "svgp", "epochs": 2, "mean": "linear", "random_state": 0},
    ],
}


def build():
    for estimator in public_estimators():
        required = [
            name
            for name, parameter in inspect.signature(estimator).parameters.items()
            if parameter.default is inspect.Parameter.empty
        ]
        for settings in SETTINGS.get(estimator.__name__, [{}]):
            missing = {name: LinearRegression() for name in required if name not in settings}
            yield pytest.param(estimator(**settings | missing), id=f"{estimator.__name__}-{settings}")


every_estimator = pytest.mark.parametrize("estimator", list(build()))


def data():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(N, D))
    err = rng.uniform(0.2, 0.6, N)
    return X, 1 + X @ [2.0, -1.0] + np.hypot(err, 0.3) * rng.normal(size=N), err


X, Y, ERR = data()
PLATES = np.kron(np.eye(3), np.ones((N // 3, 1))) * 0.2
MATRICES = np.tile(0.01 * (np.eye(D) + 0.3), (N, 1, 1))

Y_ERRORS = {
    "y_err": {"y_err": ERR},
    "y_err number": {"y_err": 0.4},
    "y_err list": {"y_err": list(ERR)},
    "y_cov diagonal": {"y_cov": Covariance.from_std(ERR)},
    "y_cov dense": {"y_cov": Covariance.dense(np.diag(ERR**2) + PLATES @ PLATES.T)},
    "y_cov cholesky": {"y_cov": Covariance.cholesky(np.diag(ERR))},
    "y_cov block": {"y_cov": Covariance.block([np.eye(N // 3) * 0.2 + 0.04] * 3)},
    "y_cov low rank": {"y_cov": Covariance.low_rank(ERR**2, PLATES)},
}
X_ERRORS = {
    "X_err": {"X_err": np.full((N, D), 0.1)},
    "X_err number": {"X_err": 0.1},
    "X_cov": {"X_cov": CovarianceStack.dense(MATRICES)},
    "X_cov diagonal": {"X_cov": CovarianceStack.from_std(np.full((N, D), 0.1))},
}
FIT_ERRORS = (
    {"none": {}}
    | Y_ERRORS
    | X_ERRORS
    | {"xy_cov": {"y_err": ERR, "X_err": np.full((N, D), 0.1), "xy_cov": np.full((N, D), 0.01)}}
)
PREDICT_ERRORS = (
    {"none": {}}
    | Y_ERRORS
    | X_ERRORS
    | {
        "X_err and y_err": {"X_err": 0.1, "y_err": ERR},
        "X_cov and y_cov": X_ERRORS["X_cov"] | Y_ERRORS["y_cov low rank"],
    }
)
# What a prediction is told should not depend on the form in which the fit was told the same:
# after the other forms of a fit a few are tried here, and all of them among the slow tests.
EVERY_PREDICTION = {"none", "y_err", "y_cov low rank", "X_err", "X_cov", "xy_cov"}
FEW_PREDICTIONS = ("y_err", "y_cov dense", "X_err and y_err")


def one_sentence(error, *words):
    """A single line that names the argument and what is accepted or can be used instead."""
    text = str(error)
    assert text and "\n" not in text, text
    for word in words:
        assert word in text, f"{word!r} is not named in: {text}"


def check_prediction(p, n):
    assert isinstance(p, PredictiveDistribution) and len(p) == n
    assert p.mean.shape == p.std.shape == (n,)
    assert np.all(np.isfinite(p.mean)) and np.all(np.isfinite(p.std)) and np.all(p.std > 0)
    assert set(p.variance_components) == set(COMPONENTS)
    for name, part in p.variance_components.items():
        assert part.shape == (n,) and np.all(part >= 0), name
    assert_allclose(np.sum(list(p.variance_components.values()), axis=0), p.std**2, rtol=1e-12)
    low, high = p.interval(0.68)
    assert np.all(low < high)
    at_mean = p.log_prob(p.mean)
    assert at_mean.shape == p.cdf(p.mean).shape == p.crps(p.mean).shape == (n,)
    assert np.all(np.isfinite(at_mean)) and np.all(p.crps(p.mean) >= 0)
    assert p.sample(3, rng=0).shape == (3, n)
    if p.cov is not None:
        assert_allclose(p.cov.variance(), p.std**2, rtol=1e-10)
    assert_allclose(pickle.loads(pickle.dumps(p)).std, p.std)


def test_the_walk_finds_the_estimators():
    names = {estimator.__name__ for estimator in public_estimators()}
    assert set(SETTINGS) <= names


@every_estimator
def test_signatures_are_those_of_the_contract(estimator):
    fit = inspect.signature(type(estimator).fit).parameters
    predict = inspect.signature(type(estimator).predict_dist).parameters
    for name in ("X_err", "y_err", "X_cov", "y_cov", "xy_cov"):
        assert fit[name].kind is inspect.Parameter.KEYWORD_ONLY and fit[name].default is None
    for name in ("X_err", "X_cov", "y_err", "y_cov"):
        assert predict[name].kind is inspect.Parameter.KEYWORD_ONLY and predict[name].default is None
    assert "xy_cov" not in predict
    assert inspect.signature(type(estimator).predict).parameters["return_std"].default is False


@every_estimator
@pytest.mark.parametrize("fit_with", FIT_ERRORS)
def test_every_error_argument(estimator, fit_with):
    """Fit with each argument, predict with each: it works, or one sentence names the way out."""
    walk(estimator, fit_with, PREDICT_ERRORS if fit_with in EVERY_PREDICTION else FEW_PREDICTIONS)


@pytest.mark.slow
@every_estimator
@pytest.mark.parametrize("fit_with", sorted(set(FIT_ERRORS) - EVERY_PREDICTION))
def test_every_pair_of_error_arguments(estimator, fit_with):
    walk(estimator, fit_with, PREDICT_ERRORS)


def walk(estimator, fit_with, predictions):
    model = clone(estimator)
    try:
        model.fit(X, Y, **FIT_ERRORS[fit_with])
    except (InputError, InputTypeError) as error:
        assert fit_with not in ("none", "y_err", "y_err number", "y_err list", "y_cov diagonal"), error
        argument = {"xy_cov": "_"}.get(fit_with, fit_with.split()[0])
        one_sentence(error, argument)
        assert any(word in str(error) for word in ("accepted", "pass ", "exact")), error
        return
    plain = model.predict_dist(X)
    check_prediction(plain, N)
    mean, std = model.predict(X, return_std=True)
    assert_allclose(mean, plain.mean)
    assert_allclose(std, plain.std)
    assert_allclose(model.predict(X), plain.mean)
    for predict_with in predictions:
        errors = PREDICT_ERRORS[predict_with]
        try:
            p = model.predict_dist(X, **errors)
        except (InputError, InputTypeError) as error:
            one_sentence(error, next(iter(errors)))
            continue
        check_prediction(p, N)
        if predict_with != "none":
            # Errors widen; a recalibrated mean may move by less than they do.
            assert np.all(p.std > plain.std), predict_with
            part = "input" if predict_with.startswith("X") else "noise"
            assert np.all(p.variance_components[part] > plain.variance_components[part]), predict_with


@every_estimator
@pytest.mark.parametrize("method", ["fit", "predict_dist"])
def test_errors_given_twice(estimator, method):
    call = caller(estimator, method)
    with pytest.raises(InputError) as caught:
        call(y_err=ERR, y_cov=Covariance.from_std(ERR))
    one_sentence(caught.value, "y_err", "y_cov", "accepted")
    with pytest.raises(InputError) as caught:
        call(X_err=0.1, X_cov=CovarianceStack.dense(MATRICES))
    one_sentence(caught.value, "X_err")


def caller(estimator, method):
    if method == "fit":
        return lambda **errors: clone(estimator).fit(X, Y, **errors)
    return lambda **errors: fitted(estimator).predict_dist(X, **errors)


@functools.cache
def fitted(estimator):
    """One fit for all the tests that predict wrongly."""
    return clone(estimator).fit(X, Y, y_err=ERR)


WRONG = {
    "y_err NaN": ({"y_err": np.r_[np.nan, ERR[1:]]}, ("y_err", "NaN", "inf")),
    "y_err negative": ({"y_err": np.r_[-0.1, ERR[1:]]}, ("y_err", "negative", "accepted")),
    "y_err short": ({"y_err": ERR[1:]}, ("y_err", "(59,)", "accepted")),
    "y_err long": ({"y_err": np.ones(N + 7)}, ("y_err", "(67,)", "accepted")),
    "y_err matrix": ({"y_err": np.ones((N, 1))}, ("y_err", "(60, 1)", "accepted")),
    "y_err words": ({"y_err": ["large"] * N}, ("y_err", "accepted")),
    "y_cov array": ({"y_cov": np.eye(N)}, ("y_cov", "ndarray", "Covariance.dense")),
    "y_cov short": ({"y_cov": Covariance.from_std(ERR[1:])}, ("y_cov", "(59, 59)", "accepted")),
    "y_err unit": ({"y_err": ERR * u.K}, ("y_err", "QuantityEstimator")),
    "y_cov unit": ({"y_cov": np.eye(N) * u.K**2}, ("y_cov", "QuantityEstimator")),
    "X_err NaN": ({"X_err": np.full((N, D), np.nan)}, ("X_err",)),
    "X_err negative": ({"X_err": np.full((N, D), -1.0)}, ("X_err",)),
    "X_err short": ({"X_err": np.ones((N - 1, D))}, ("X_err",)),
    "X_err one row": ({"X_err": np.ones(D)}, ("X_err",)),
    "X_err unit": ({"X_err": np.ones((N, D)) * u.K}, ("X_err",)),
    "X_cov array": ({"X_cov": MATRICES}, ("X_cov",)),
    "X_cov short": ({"X_cov": CovarianceStack.dense(MATRICES[1:])}, ("X_cov",)),
    "X_cov unit": ({"X_cov": MATRICES * u.K**2}, ("X_cov",)),
}


@every_estimator
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("method", ["fit", "predict_dist"])
def test_wrong_errors(estimator, wrong, method):
    errors, words = WRONG[wrong]
    with pytest.raises((InputError, InputTypeError)) as caught:
        caller(estimator, method)(**errors)
    one_sentence(caught.value, *words)


@every_estimator
def test_wrong_data(estimator):
    model = clone(estimator)
    for bad_X, bad_y, words in (
        (X, np.r_[np.nan, Y[1:]], ("y", "NaN")),
        (X, np.r_[np.inf, Y[1:]], ("y",)),
        (X, Y[1:], ("60", "59")),
        (np.where(np.arange(D) == 0, np.nan, X), Y, ("X", "NaN")),
        (X * u.km, Y, ("X", "QuantityEstimator")),
        (X, Y * u.K, ("y", "QuantityEstimator")),
    ):
        with pytest.raises((ValueError, TypeError)) as caught:
            model.fit(bad_X, bad_y)
        one_sentence(caught.value, *words)
    model.fit(X, Y)
    with pytest.raises(ValueError, match="3 features"):
        model.predict_dist(np.ones((4, 3)))
    with pytest.raises(InputTypeError, match="QuantityEstimator"):
        model.predict_dist(X * u.km)


@every_estimator
def test_wider_errors_of_y_give_wider_predictions(estimator):
    """Without errors the noise is fitted; with huge ones nothing is known but the prior."""
    model = clone(estimator).fit(X, Y, y_err=ERR)
    small, large = model.predict_dist(X, y_err=0.1), model.predict_dist(X, y_err=10.0)
    assert np.all(large.std > small.std)
    assert_allclose(large.mean, small.mean, atol=2.0 * np.max(large.std))


@every_estimator
def test_same_seed_same_answer(estimator):
    first, second = clone(estimator).fit(X, Y, y_err=ERR), clone(estimator).fit(X, Y, y_err=ERR)
    assert_allclose(
        first.predict_dist(X, y_err=ERR).ppf(0.3), second.predict_dist(X, y_err=ERR).ppf(0.3), rtol=0
    )
    restored = pickle.loads(pickle.dumps(first))
    assert_allclose(restored.predict(X), first.predict(X), rtol=0)
