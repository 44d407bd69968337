"""Units are converted, never dropped: the same sky in other units gives the same answer."""

import math
import pickle

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable, Table
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import BayesianRidge
from sklearn.utils.estimator_checks import parametrize_with_checks

from statml import datasets
from statml.errors import InputError
from statml.regression import BayesianLinearRegression, LinearRegression
from statml.uncertainty import ConformalRegressor, Covariance, CovarianceStack
from statml.units import QuantityDistribution, QuantityEstimator, from_table

N, D, NEW = 60, 2, 6
KMS, MS = u.km / u.s, u.m / u.s

ESTIMATORS = {
    "linear": LinearRegression(),
    "bayesian": BayesianLinearRegression(),
    "student t": BayesianLinearRegression(tails="student_t"),
    "scatter of features": BayesianLinearRegression(scatter_model="features"),
    "conformal": ConformalRegressor(LinearRegression(), random_state=0),
}
every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)

# The unit of X that fit sees, another for X_err and later X; the same of y.
SCENES = [(u.mag, u.mmag, KMS, MS), (KMS, MS, u.K, u.mK), (u.K, u.kK, u.mag, u.mmag)]
every_scene = pytest.mark.parametrize(
    ("x", "x_other", "y", "y_other"), SCENES, ids=lambda unit: str(unit).replace(" ", "")
)


def numbers():
    rng = np.random.default_rng(5)
    X, err = rng.normal(size=(N, D)), rng.uniform(0.2, 0.6, N)
    return X, 1 + X @ [2.0, -1.0] + np.hypot(err, 0.3) * rng.normal(size=N), err


X, Y, ERR = numbers()


def plates(n):
    """A full covariance: the measurements of one half share a part of their errors."""
    return np.diag(ERR[:n] ** 2) + np.kron(np.eye(2), np.full((n // 2, n // 2), 0.04))


def given_errors(n, x_other, y_other):
    """Every error argument for n rows, as quantities in units the estimator was not fitted in."""
    features = np.tile([[0.01, 0.003], [0.003, 0.02]], (n, 1, 1))
    return {
        "none": {},
        "y_err": {"y_err": 1e3 * ERR[:n] * y_other},
        "y_err number": {"y_err": 400.0 * y_other},
        "y_cov": {"y_cov": 1e6 * plates(n) * y_other**2},
        "y_cov diagonal": {"y_cov": 1e6 * np.diag(ERR[:n] ** 2) * y_other**2},
        "X_err": {"X_err": np.full((n, D), 70.0) * x_other},
        "X_err number": {"X_err": 70.0 * x_other},
        "X_cov": {"X_cov": 1e4 * features * x_other**2},
        "X_cov and y_cov": {"X_cov": 1e4 * features * x_other**2, "y_cov": 1e6 * plates(n) * y_other**2},
    }


ARGUMENTS = list(given_errors(N, u.mmag, MS))


def as_numbers(errors, x, y):
    """What a person would pass who converts by hand."""

    def covariance(value):
        # Independent errors stay so: some methods take no others.
        matrix = value.to_value(y**2)
        diagonal = np.count_nonzero(matrix) == len(matrix)
        return Covariance.diagonal(np.diag(matrix)) if diagonal else Covariance.dense(matrix)

    convert = {
        "y_err": lambda value: value.to_value(y),
        "y_cov": covariance,
        "X_err": lambda value: value.to_value(x),
        "X_cov": lambda value: CovarianceStack.dense(value.to_value(x**2)),
    }
    return {name: convert[name](value) for name, value in errors.items()}


def outcome(call, *arguments, **named):
    """The answer, or the sentence with which it is refused."""
    try:
        return call(*arguments, **named)
    except InputError as error:
        return str(error)


def assert_same(quantity, number, unit):
    assert quantity.unit == unit
    assert_allclose(quantity.value, number, rtol=1e-10, atol=1e-14)


def assert_same_distribution(p, plain, y, y_other):
    """Every answer of `p` is the plain one times the unit."""
    assert isinstance(p, QuantityDistribution) and len(p) == len(plain)
    assert_same(p.mean, plain.mean, y)
    assert_same(p.std, plain.std, y)
    assert_same(p.ppf(0.3), plain.ppf(0.3), y)
    assert_same(p.sample(3, rng=1), plain.sample(3, rng=1), y)
    for end, plain_end in zip(p.interval(0.95), plain.interval(0.95), strict=True):
        assert_same(end, plain_end, y)
    assert set(p.variance_components) == set(plain.variance_components) != set()
    for name, part in p.variance_components.items():
        assert_same(part, plain.variance_components[name], y**2)
    if plain.cov is None:
        assert p.cov is None
    else:
        assert_same(p.cov, plain.cov.to_dense(), y**2)
        assert_allclose(np.diag(p.cov.value), p.std.value**2, rtol=1e-10)
    values = (Y[: len(p)] * y).to(y_other)
    assert_same(p.crps(values), plain.crps(values.to_value(y)), y)
    for name in ("log_prob", "cdf"):
        assert_allclose(getattr(p, name)(values), getattr(plain, name)(values.to_value(y)), rtol=1e-10)
    joint = outcome(p.joint_log_prob, values)
    expected = outcome(plain.joint_log_prob, values.to_value(y))
    assert joint == (expected if isinstance(expected, str) else pytest.approx(expected, rel=1e-10))


# --- the real estimators: every error argument ---


@every_estimator
@every_scene
@pytest.mark.parametrize("argument", ARGUMENTS)
def test_fit_with_every_error_argument(estimator, x, x_other, y, y_other, argument):
    errors = given_errors(N, x_other, y_other)[argument]
    fitted = outcome(QuantityEstimator(estimator).fit, X * x, Y * y, **errors)
    plain = outcome(clone(estimator).fit, X, Y, **as_numbers(errors, x, y))
    # Refused are errors of X, which all five take as exact, and shared errors under a flexible scatter.
    flexible = "student_t" in repr(estimator) or "features" in repr(estimator)
    assert isinstance(plain, str) == (argument.startswith("X") or (flexible and argument == "y_cov"))
    if isinstance(plain, str):
        assert fitted == plain
        return
    new = (X[:NEW] * x).to(x_other)
    p = fitted.predict_dist(new)
    assert_same_distribution(p, plain.predict_dist(new.to_value(x)), y, y_other)
    mean, std = fitted.predict(new, return_std=True)
    assert_same(mean, p.mean.value, y)
    assert_same(std, p.std.value, y)
    assert_same(fitted.predict(new), p.mean.value, y)


@pytest.fixture(scope="module")
def fitted():
    """Both fits of an estimator and a scene, made once."""
    known = {}

    def both(estimator, x, y):
        key = repr(estimator), x, y
        if key not in known:
            wrapped = QuantityEstimator(estimator).fit(X * x, Y * y, y_err=ERR * y)
            known[key] = wrapped, clone(estimator).fit(X, Y, y_err=ERR)
        return known[key]

    return both


@every_estimator
@every_scene
@pytest.mark.parametrize("argument", ARGUMENTS)
def test_predict_with_every_error_argument(fitted, estimator, x, x_other, y, y_other, argument):
    wrapped, plain = fitted(estimator, x, y)
    errors = given_errors(NEW, x_other, y_other)[argument]
    new = (X[:NEW] * x).to(x_other)
    p = wrapped.predict_dist(new, **errors)
    expected = plain.predict_dist(new.to_value(x), **as_numbers(errors, x, y))
    assert_same_distribution(p, expected, y, y_other)
    assert_same_distribution(p[1:4], expected[1:4], y, y_other)
    without = plain.predict_dist(new.to_value(x))
    assert (argument == "none") == np.array_equal(p.std.value, without.std)


@every_estimator
def test_fitted_in_other_units_the_answer_is_the_same(estimator):
    """A density is per unit: a thousand times smaller per m/s than per km/s."""
    # Where the scatter is found by a search, it ends nearby only.
    rtol = 1e-9 if "Bayesian" not in repr(estimator) else 2e-3
    y, y_err = Y * KMS, ERR * KMS
    kms = QuantityEstimator(estimator).fit(X * u.mag, y, y_err=y_err)
    ms = QuantityEstimator(estimator).fit((X * u.mag).to(u.mmag), y.to(MS), y_err=y_err.to(MS))
    new, cov = X[:NEW] * u.mag, plates(NEW) * KMS**2
    p, q = kms.predict_dist(new, y_cov=cov), ms.predict_dist(new, y_cov=cov)
    assert (p.std.unit, q.std.unit) == (KMS, MS)
    assert_allclose(q.mean.to_value(KMS), p.mean.value, rtol=rtol)
    assert_allclose(q.std.to_value(KMS), p.std.value, rtol=rtol)
    assert_allclose(q.crps(y[:NEW]).to_value(KMS), p.crps(y[:NEW]).value, rtol=5 * rtol)
    assert_allclose(q.log_prob(y[:NEW]) + math.log(1e3), p.log_prob(y[:NEW]), rtol=rtol, atol=rtol)
    if p.cov is not None:
        assert_allclose(q.cov.to_value(KMS**2), p.cov.value, rtol=rtol, atol=rtol * p.cov.value.max())
        joint = q.joint_log_prob(y[:NEW]) + NEW * math.log(1e3)
        assert joint == pytest.approx(p.joint_log_prob(y[:NEW]), rel=rtol)


def test_published_points_in_units():
    points = datasets.load("hogg2010")[4:]
    X, y, err = from_table(points, x="x", y="y")
    model = QuantityEstimator(LinearRegression()).fit((X * u.kpc).to(u.pc), y * KMS, y_err=err.y_err * KMS)
    # Hogg, Bovy & Lang (2010), exercise 1: y = (2.24 +- 0.11) x + (34 +- 18)
    slope, constant = model.predict([[0.0], [1.0]] * u.kpc)[::-1] - [1, 0] * model.predict([[0.0]] * u.kpc)
    assert (round(slope.value, 2), round(constant.value)) == (2.24, 34)
    assert_allclose(model.predict_dist([[0.0]] * u.kpc).std.to_value(MS), 18_000, atol=500)


def test_independent_errors_as_a_matrix_are_independent_errors():
    """Exact values and values without information are possible there, as with y_err."""
    err = np.r_[np.inf, 0.0, ERR[2:]]
    for name in ("bayesian", "student t"):
        by_err = QuantityEstimator(ESTIMATORS[name]).fit(X * u.mag, Y * KMS, y_err=err * KMS)
        by_cov = QuantityEstimator(ESTIMATORS[name]).fit(X * u.mag, Y * KMS, y_cov=np.diag(err**2) * KMS**2)
        assert_array_equal(by_cov.estimator_.params_, by_err.estimator_.params_)


# --- features of several units ---


def star_table(teff=u.K):
    rng = np.random.default_rng(2)
    temperature = (rng.normal(5000, 500, N) * u.K).to(teff)
    return QTable({"teff": temperature, "colour": rng.normal(1, 0.2, N) * u.mag, "feh": rng.normal(size=N)})


def test_a_table_of_features_keeps_a_unit_per_column():
    table = star_table()
    wide = QTable({"teff": table["teff"], "flux": np.column_stack([table["colour"].value, table["feh"]])})
    plain_X = np.column_stack([table["teff"].value, table["colour"].value, table["feh"]])
    plain = LinearRegression().fit(plain_X, Y).predict(plain_X)
    for fit_on, ask in ((table, star_table(u.mK)), (wide, wide)):
        model = QuantityEstimator(LinearRegression()).fit(fit_on, Y * u.Gyr)
        assert model.n_features_in_ == 3
        assert_allclose(model.predict(ask).to_value(u.Gyr), plain, rtol=1e-10)
    with pytest.raises(InputError, match="X has 2 features"):
        model.predict(table["teff", "feh"])


def test_errors_of_features_of_several_units():
    table = star_table()
    plain_X = np.column_stack([table["teff"].value, table["colour"].value, table["feh"]])
    model = QuantityEstimator(LinearRegression()).fit(table, Y * KMS)
    plain = LinearRegression().fit(plain_X, Y)
    errors = QTable(
        {"teff": np.full(N, 0.05) * u.kK, "colour": np.full(N, 20.0) * u.mmag, "feh": np.full(N, 0.1)}
    )
    p = model.predict_dist(table, X_err=errors, y_err=ERR * KMS)
    expected = plain.predict_dist(plain_X, X_err=np.tile([50.0, 0.02, 0.1], (N, 1)), y_err=ERR)
    assert_same_distribution(p, expected, KMS, MS)
    with pytest.raises(InputError, match=r"X_err is one number, but the features are in K, mag"):
        model.predict_dist(table, X_err=50 * u.K)
    with pytest.raises(InputError, match=r"X_cov needs features of one unit"):
        model.predict_dist(table, X_cov=np.zeros((N, 3, 3)) * u.K**2)
    with pytest.raises(
        InputError, match=r"^column 'colour' is in s \(time\), which does not convert to mag$"
    ):
        model.predict_dist(table, X_err=QTable({"a": errors["teff"], "colour": [1.0] * N * u.s, "c": ERR}))


# --- what reaches an estimator, whichever arguments it takes ---


class Listener(RegressorMixin, BaseEstimator):
    """Keeps what reaches it: no estimator here takes errors of X in fit, or xy_cov."""

    def fit(self, X, y, **errors):
        self.heard_ = {"X": X, "y": y} | errors
        return self


def test_errors_of_exact_methods_are_converted_too():
    errors = given_errors(N, u.pc, MS)
    given = errors["y_err"] | errors["X_err"] | errors["X_cov and y_cov"]
    model = QuantityEstimator(Listener()).fit(X * u.kpc, Y * KMS, **given, xy_cov=np.ones((N, D)) * u.pc * MS)
    heard = model.estimator_.heard_
    for name, value in as_numbers(given, u.kpc, KMS).items():
        assert type(heard[name]) is type(value)
        dense = [v.to_dense() if hasattr(v, "to_dense") else v for v in (heard[name], value)]
        assert_allclose(*dense, rtol=1e-12)
    assert_allclose(heard["xy_cov"], 1e-6, rtol=1e-12)
    assert_array_equal(heard["X"], X)
    only = QuantityEstimator(Listener()).fit(X * u.kpc, Y * KMS).estimator_.heard_
    assert set(only) == {"X", "y"}


def test_return_std_and_score_of_a_scikit_learn_estimator():
    model = QuantityEstimator(BayesianRidge()).fit(X * u.m, Y * u.s)
    plain = BayesianRidge().fit(X, Y)
    mean, std = model.predict(X * u.m, return_std=True)
    assert mean.unit == std.unit == u.s
    assert_allclose(std.value, plain.predict(X, return_std=True)[1])
    assert model.score(X * u.m, Y * 1e3 * u.ms) == pytest.approx(plain.score(X, Y))
    assert not hasattr(model, "predict_dist")


@every_estimator
def test_logarithmic_targets_have_errors_in_magnitudes(estimator):
    plain = clone(estimator).fit(X, Y, y_err=ERR).predict_dist(X[:NEW], y_err=ERR[:NEW])
    model = QuantityEstimator(estimator).fit(X * u.d, Y * u.ABmag, y_err=ERR * u.mag)
    p = model.predict_dist(X[:NEW] * u.d, y_err=ERR[:NEW] * u.mag)
    assert_same(p.mean, plain.mean, u.ABmag)
    assert_same(p.interval()[0], plain.interval()[0], u.ABmag)
    assert_same(p.std, plain.std, u.mag)
    assert_same(p.variance_components["noise"], plain.variance_components["noise"], u.mag**2)
    assert_same(p.crps(Y[:NEW] * u.ABmag), plain.crps(Y[:NEW]), u.mag)


@every_estimator
def test_plain_numbers_pass_through(estimator):
    y_cov = Covariance.diagonal(ERR**2)
    p = QuantityEstimator(estimator).fit(X, Y, y_cov=y_cov).predict_dist(X, y_cov=y_cov)
    plain = clone(estimator).fit(X, Y, y_cov=y_cov).predict_dist(X, y_cov=y_cov)
    assert type(p.mean) is type(p.std) is np.ndarray
    assert_array_equal(p.mean, plain.mean)
    assert_array_equal(p.std, plain.std)
    assert type(p.cov) is type(plain.cov)


@every_estimator
def test_a_fitted_wrapper_pickles(estimator):
    model = QuantityEstimator(estimator).fit(X * u.mag, Y * KMS, y_err=ERR * KMS)
    p = model.predict_dist(X * u.mag)
    again = pickle.loads(pickle.dumps(model)).predict_dist(X * u.mag)
    assert_array_equal(pickle.loads(pickle.dumps(p)).std, again.std)
    assert again.std.unit == KMS


def test_clone_and_nested_parameters():
    model = QuantityEstimator(BayesianLinearRegression(scatter=2.0))
    assert model.get_params()["estimator__scatter"] == 2.0
    copy = clone(model).set_params(estimator__scatter=3.0)
    assert (copy.estimator.scatter, model.estimator.scatter) == (3.0, 2.0)


def test_fit_leaves_the_given_estimator_alone():
    inner = LinearRegression()
    QuantityEstimator(inner).fit(X * u.m, Y * u.s)
    assert not hasattr(inner, "params_")


# --- what is refused ---

WRONG = {
    "y_err": (
        np.ones(N) * u.s,
        r"y_err is in s \(time\), which does not convert to km / s \(speed/velocity\)",
    ),
    "y_err of magnitudes": (np.ones(N) * u.mag, "y_err is in mag, which does not convert to km / s"),
    "y_err plain": (np.ones(N), "y_err carries no unit; give it one that converts to km / s"),
    "y_cov": (np.eye(N) * KMS, "y_cov is in km / s .* does not convert to km2 / s2"),
    "y_cov plain": (np.eye(N), "y_cov carries no unit; give it one that converts to km2 / s2"),
    "y_cov built": (
        Covariance.low_rank(ERR**2, np.ones((N, 1))),
        r"y_cov is a LowRankCovariance without a unit; accepted is y_cov.to_dense\(\) as a Quantity",
    ),
    "y_cov vector": (np.ones(N) * KMS**2, r"y_cov has shape \(60,\); accepted is a square matrix"),
    "y_cov indefinite": (-plates(N) * KMS**2, "y_cov: matrix is not positive definite"),
    "y_cov short": (plates(N - 2) * KMS**2, r"y_cov has shape \(58, 58\); accepted is \(60, 60\)"),
    "X_err": (
        np.ones((N, D)) * u.K,
        r"X_err is in K \(temperature\), which does not convert to kpc \(length\)",
    ),
    "X_cov": (np.ones((N, D, D)) * u.kpc, "X_cov is in kpc .* does not convert to kpc2"),
    "X_cov plain": (np.ones((N, D, D)), "X_cov carries no unit; give it one that converts to kpc2"),
    "X_cov built": (CovarianceStack.from_std(np.ones((N, D))), "X_cov is a CovarianceStack without a unit"),
    "X_cov vector": (np.ones((N, D)) * u.kpc**2, r"X_cov has shape \(60, 2\); accepted is \(n, d, d\)"),
}


@every_estimator
@pytest.mark.parametrize("method", ["fit", "predict_dist"])
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_errors_are_one_sentence(fitted, estimator, method, wrong):
    value, message = WRONG[wrong]
    model = QuantityEstimator(estimator)
    call = model.fit if method == "fit" else fitted(estimator, u.kpc, KMS)[0].predict_dist
    data = (X * u.kpc, Y * KMS)[: 2 if method == "fit" else 1]
    with pytest.raises(InputError, match=f"^{message}") as caught:
        call(*data, **{wrong.split()[0]: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones((N, D)) * KMS, "xy_cov is in km / s .* does not convert to km kpc / s"),
        (np.ones((N, D)), "xy_cov carries no unit"),
        (np.ones((N, D)) * u.pc * MS, "LinearRegression.fit cannot use xy_cov"),
    ],
)
def test_wrong_xy_cov_is_one_sentence(value, message):
    with pytest.raises(InputError, match=f"^{message}"):
        QuantityEstimator(LinearRegression()).fit(X * u.kpc, Y * KMS, xy_cov=value)


@every_estimator
def test_new_data_in_wrong_units_are_one_sentence(fitted, estimator):
    model = fitted(estimator, u.kpc, KMS)[0]
    with pytest.raises(InputError, match=r"^X is in K \(temperature\), which does not convert to kpc"):
        model.predict(X * u.K)
    with pytest.raises(InputError, match=r"^X carries no unit"):
        model.predict_dist(X)
    p = model.predict_dist(X * u.kpc)
    for ask in (p.log_prob, p.joint_log_prob, p.cdf, p.crps):
        with pytest.raises(InputError, match=r"^y carries no unit; give it one that converts to km / s"):
            ask(Y)
        with pytest.raises(InputError, match=r"^y is in mag, which does not convert to km / s"):
            ask(Y * u.mag)
    plain = QuantityEstimator(estimator).fit(X, Y)
    with pytest.raises(InputError, match=r"^X is in kpc .* fitted on numbers without a unit"):
        plain.predict(X * u.kpc)
    with pytest.raises(InputError, match=r"^y_cov is in .* fitted on numbers without a unit"):
        plain.predict_dist(X, y_cov=np.eye(N) * KMS**2)
    with pytest.raises(InputError, match=r"^X is a table"):
        plain.predict(Table({"x": X[:, 0]}))


@parametrize_with_checks([QuantityEstimator(BayesianRidge())])
def test_scikit_learn_contract(estimator, check):
    check(estimator)
