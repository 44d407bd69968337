"""Units are converted, never dropped: the same sky in other units gives the same answer."""

import pickle

import astropy.units as u
import numpy as np
import pytest
from astropy.table import MaskedColumn, QTable, Table
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import BayesianRidge
from sklearn.utils.estimator_checks import parametrize_with_checks

from statml import datasets, units
from statml.errors import InputError, InputTypeError
from statml.regression import LinearRegression
from statml.units import QuantityDistribution, QuantityEstimator, from_table, refuse_quantity


class Normal:
    """A stand-in for PredictiveDistribution with the parts the wrapper uses."""

    def __init__(self, mean, std):
        self.mean, self.std = np.asarray(mean), np.asarray(std)
        self.cov = None
        self.variance_components = {"parameter": 0.25 * self.std**2, "noise": 0.75 * self.std**2}
        self._scipy = stats.norm(self.mean, self.std)
        self.cdf, self.log_prob, self.ppf = self._scipy.cdf, self._scipy.logpdf, self._scipy.ppf

    def __len__(self):
        return len(self.mean)

    def __getitem__(self, index):
        return Normal(self.mean[index], self.std[index])

    def interval(self, level=0.68):
        return self._scipy.interval(level)

    def sample(self, size=1, *, rng=None):
        return self._scipy.rvs((size, len(self)), random_state=rng)

    def joint_log_prob(self, y):
        return float(self.log_prob(y).sum())

    def crps(self, y):
        return np.abs(np.asarray(y) - self.mean)


class Weighted(RegressorMixin, BaseEstimator):
    """Weighted least squares that records what reaches it."""

    def __init__(self, slope_prior=0.0):
        self.slope_prior = slope_prior

    def fit(self, X, y, *, X_err=None, y_err=None, X_cov=None, y_cov=None, xy_cov=None):
        self.seen_ = {"X": X, "y": y, "X_err": X_err, "y_err": y_err}
        self.seen_ |= {"X_cov": X_cov, "y_cov": y_cov, "xy_cov": xy_cov}
        A = np.column_stack([np.ones(len(y)), X])
        w = np.ones(len(y)) if y_err is None else 1 / y_err
        self.beta_ = np.linalg.lstsq(A * w[:, None], y * w, rcond=None)[0]
        self.std_ = 0.1 if y_err is None else float(np.mean(y_err))
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X, return_std=False):
        mean = self.beta_[0] + X @ self.beta_[1:]
        return (mean, np.full(len(X), self.std_)) if return_std else mean

    def predict_dist(self, X, *, X_err=None, X_cov=None, y_err=None, y_cov=None):
        self.asked_ = {"X_err": X_err, "X_cov": X_cov, "y_err": y_err, "y_cov": y_cov}
        return Normal(self.predict(X), np.full(len(X), self.std_))


@pytest.fixture
def line():
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 10, (40, 1))
    y_err = rng.uniform(0.5, 2.0, 40)
    return X, 3.0 + 2.0 * X[:, 0] + y_err * rng.normal(size=40), y_err


# --- from_table ---


def test_from_table_takes_vector_columns_and_their_errors():
    stars = datasets.load("gaia_xp")[:50]
    X, y, err = from_table(stars, x="flux", y="teff")
    assert_array_equal(X, stars["flux"])
    assert_array_equal(y, stars["teff"])
    assert_array_equal(err.X_err, stars["flux_err"])
    assert_array_equal(err.y_err, stars["teff_err"])
    assert all(type(values) is np.ndarray for values in (X, y, err.X_err, err.y_err))


def test_from_table_joins_scalar_and_vector_columns_in_order():
    table = Table({"b": [1.0, 2.0], "v": [[3.0, 4.0], [5.0, 6.0]]})
    X, y, err = from_table(table, x=["v", "b"])
    assert_array_equal(X, [[3, 4, 1], [5, 6, 2]])
    assert y is None and err.X_err is None and err.y_err is None


@pytest.mark.parametrize("name", ["rv_err", "rv_error", "e_rv"])
def test_every_spelling_of_an_error_column_is_found(name):
    table = Table({"t": [1, 2], "rv": [3.0, 4.0], name: [0.1, 0.2]})
    X, _, err = from_table(table, x="t", y="rv")
    assert X.dtype == float
    assert_array_equal(err.y_err, [0.1, 0.2])


@pytest.mark.parametrize("kind", [Table, QTable])
def test_errors_are_converted_to_the_unit_of_their_value(kind):
    table = kind({"t": [1.0, 2.0] * u.d, "rv": [3.0, 4.0] * u.km / u.s, "rv_err": [100.0, 200.0] * u.m / u.s})
    _, y, err = from_table(table, x="t", y="rv")
    assert_array_equal(y, [3.0, 4.0])
    assert_allclose(err.y_err, [0.1, 0.2], rtol=1e-15)


def test_masked_values_become_nan_in_values_and_errors():
    masked = {
        "y": MaskedColumn([1.0, 2.0], mask=[False, True]),
        "y_err": MaskedColumn([0.1, 9.0], mask=[1, 0]),
    }
    table = Table({"x": [1.0, 2.0], **masked})
    _, y, err = from_table(table, x="x", y="y")
    assert_array_equal(y, [1.0, np.nan])
    assert_array_equal(err.y_err, [np.nan, 9.0])
    quantities = QTable({"x": [1.0, 2.0], "y": MaskedColumn([1.0, 2.0], mask=[False, True], unit="K")})
    assert_array_equal(from_table(quantities, x="x", y="y")[1], [1.0, np.nan])
    counts = Table({"x": MaskedColumn([7, 8], mask=[True, False])})
    assert_array_equal(from_table(counts, x="x")[0], [[np.nan], [8]])


def test_errors_unpack_into_fit_and_follow_rows(line):
    X, y, y_err = line
    table = Table({"x": X[:, 0], "y": y, "y_err": y_err})
    X, y, err = from_table(table, x="x", y="y")
    half = err.rows(slice(0, 20))
    model = Weighted().fit(X[:20], y[:20], **half)
    assert_array_equal(model.seen_["y_err"], y_err[:20])
    assert model.seen_["X_err"] is None
    with pytest.raises(KeyError):
        err["z_err"]


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, {"x": "nope"}, "x='nope' is not a column"),
        ({}, {"x": "x", "y": "nope"}, "y='nope' is not a column"),
        ({}, {"x": []}, "x is empty"),
        ({}, {"x": "x", "y": "v"}, "one number per row"),
        ({"x_err": [0.1, 0.1]}, {"x": ["x", "v"]}, "no error column for v"),
        ({"v_err": [0.1, 0.1]}, {"x": "v"}, "'v_err' has shape"),
        ({"x": [1, 2] * u.km, "x_err": [1, 2] * u.s}, {"x": "x"}, "does not convert to km"),
        ({"x": np.zeros((2, 2, 2))}, {"x": "x"}, "accepted are"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(change, arguments, message):
    table = Table({"x": [1.0, 2.0], "v": [[3.0, 4.0], [5.0, 6.0]]} | change)
    with pytest.raises(InputError, match=message):
        from_table(table, **arguments)


def test_only_tables_of_numbers_are_accepted():
    with pytest.raises(InputTypeError, match="table must be"):
        from_table(np.zeros((2, 2)), x="x")
    with pytest.raises(InputTypeError, match="numbers are needed"):
        from_table(Table({"x": ["a", "b"]}), x="x")


# --- refuse_quantity ---


@pytest.mark.parametrize(
    "value", [[1.0] * u.m, 5 * u.percent, Table({"x": [1.0] * u.K})["x"], [1 * u.m, 2 * u.m]]
)
def test_a_unit_is_refused_and_the_wrapper_is_named(value):
    with pytest.raises(InputTypeError, match=r"^y_err carries the unit .*QuantityEstimator"):
        refuse_quantity("y_err", value)


@pytest.mark.parametrize("value", [None, 1.0, [1.0], [], np.ones(3), Table({"x": [1.0]})["x"]])
def test_plain_numbers_are_not_refused(value):
    refuse_quantity("y_err", value)


# --- QuantityEstimator ---


def test_other_units_give_the_same_answer(line):
    X, y, y_err = line
    a = QuantityEstimator(Weighted()).fit(X * u.kpc, y * u.km / u.s, y_err=y_err * u.km / u.s)
    meters = (y * u.km / u.s).to(u.m / u.s)
    b = QuantityEstimator(Weighted()).fit((X * u.kpc).to(u.pc), meters, y_err=1e3 * y_err * u.m / u.s)
    new = [[2500.0], [7500.0]] * u.pc
    assert a.predict(new).unit == u.km / u.s
    assert b.predict(new).unit == u.m / u.s
    assert_allclose(a.predict(new).value, b.predict(new).to_value(u.km / u.s), rtol=1e-12)
    plain = Weighted().fit(X, y, y_err=y_err)
    assert_allclose(a.predict(new).value, plain.predict([[2.5], [7.5]]), rtol=1e-12)


def test_every_error_argument_is_converted_to_the_fitted_units(line):
    X, y, y_err = line
    n = len(y)
    model = QuantityEstimator(Weighted()).fit(
        X * u.kpc,
        y * u.km / u.s,
        X_err=np.full((n, 1), 100.0) * u.pc,
        y_err=1e3 * y_err * u.m / u.s,
        X_cov=np.full((n, 1, 1), 1e4) * u.pc**2,
        y_cov=np.eye(n) * 1e6 * u.m**2 / u.s**2,
        xy_cov=np.full((n, 1), 1e6) * u.pc * u.m / u.s,
    )
    seen = model.estimator_.seen_
    assert_allclose(seen["X_err"], 0.1)
    assert_allclose(seen["y_err"], y_err)
    assert_allclose(seen["X_cov"], 0.01)
    assert_allclose(seen["y_cov"], np.eye(n))
    assert_allclose(seen["xy_cov"], 1.0)
    assert all(type(value) is np.ndarray for value in seen.values())
    asked = {"X_err": [[1.0]] * u.pc, "X_cov": [[[1.0]]] * u.pc**2}
    asked |= {"y_err": [1.0] * u.m / u.s, "y_cov": [[1.0]] * (u.m / u.s) ** 2}
    model.predict_dist([[1.0]] * u.kpc, **asked)
    assert_allclose([float(v.squeeze()) for v in model.estimator_.asked_.values()], [1e-3, 1e-6, 1e-3, 1e-6])


def test_a_table_of_features_keeps_a_unit_per_column(line):
    X, y, _ = line
    flux = np.column_stack([X[:, 0] ** 2, np.cos(X[:, 0])])
    table = QTable({"teff": 1e3 * X[:, 0] * u.K, "flux": flux, "logg": np.sin(X[:, 0]) * u.dex})
    model = QuantityEstimator(Weighted()).fit(table, y * u.Gyr)
    assert model.n_features_in_ == 4
    other = table.copy()
    other["teff"] = other["teff"].to(u.mK)
    assert_allclose(model.predict(other).to_value(u.Gyr), model.predict(table).to_value(u.Gyr), rtol=1e-9)
    with pytest.raises(InputError, match=r"X_cov needs features of one unit"):
        QuantityEstimator(Weighted()).fit(table, y * u.Gyr, X_cov=np.zeros((40, 4, 4)) * u.K**2)
    with pytest.raises(InputError, match="X has 2 features"):
        model.predict(table["teff", "logg"])


def test_distribution_answers_in_units(line):
    X, y, y_err = line
    model = QuantityEstimator(Weighted()).fit(X * u.kpc, y * u.km / u.s, y_err=y_err * u.km / u.s)
    p = model.predict_dist(X[:5] * u.kpc)
    assert isinstance(p, QuantityDistribution) and len(p) == 5 and len(p[1:3]) == 2
    kms = u.km / u.s
    assert p.mean.unit == p.std.unit == p.ppf(0.5).unit == kms
    assert_allclose(sum(p.variance_components.values()).to_value(kms**2), p.std.value**2, rtol=1e-12)
    low, high = p.interval(0.95)
    assert low.unit == high.unit == kms
    assert_allclose((high - low).value, 2 * stats.norm.ppf(0.975) * p.std.value, rtol=1e-12)
    assert p.sample(7, rng=1).shape == (7, 5) and p.sample(7, rng=1).unit == kms
    assert_allclose(p.cdf(p.mean.to(u.m / u.s)), 0.5)
    assert p.crps(p.mean).unit == kms and p.cov is None
    peak = -np.log(np.sqrt(2 * np.pi) * p.std.value)
    assert_allclose(p.log_prob(p.mean.to(u.m / u.s)), peak, rtol=1e-12)
    assert_allclose(p.joint_log_prob(p.mean), peak.sum(), rtol=1e-12)
    assert pickle.loads(pickle.dumps(p[:2].mean)).unit == kms


def test_return_std_and_score(line):
    X, y, _ = line
    model = QuantityEstimator(BayesianRidge()).fit(X * u.m, y * u.s)
    plain = BayesianRidge().fit(X, y)
    mean, std = model.predict(X * u.m, return_std=True)
    assert mean.unit == std.unit == u.s
    assert_allclose(std.value, plain.predict(X, return_std=True)[1])
    assert model.score(X * u.m, y * 1e3 * u.ms) == pytest.approx(plain.score(X, y))
    assert not hasattr(model, "predict_dist")


def test_logarithmic_targets_have_errors_in_magnitudes(line):
    X, y, y_err = line
    model = QuantityEstimator(Weighted()).fit(X * u.d, y * u.ABmag, y_err=1e3 * y_err * u.mmag)
    assert_allclose(model.estimator_.seen_["y_err"], y_err)
    p = model.predict_dist(X[:3] * u.d)
    assert p.mean.unit == u.ABmag and p.std.unit == u.mag


def test_plain_numbers_pass_through(line):
    X, y, y_err = line
    model = QuantityEstimator(Weighted()).fit(X, y, y_err=y_err)
    assert type(model.predict(X)) is np.ndarray
    assert type(model.predict_dist(X).std) is np.ndarray
    assert_array_equal(model.predict(X), Weighted().fit(X, y, y_err=y_err).predict(X))


def test_clone_and_nested_parameters():
    model = QuantityEstimator(Weighted(slope_prior=2.0))
    assert model.get_params()["estimator__slope_prior"] == 2.0
    copy = clone(model).set_params(estimator__slope_prior=3.0)
    assert (copy.estimator.slope_prior, model.estimator.slope_prior) == (3.0, 2.0)


def test_fit_leaves_the_given_estimator_alone(line):
    inner = Weighted()
    QuantityEstimator(inner).fit(line[0] * u.m, line[1] * u.s)
    assert not hasattr(inner, "beta_")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y_err": [1.0] * 40 * u.s}, r"y_err is in s \(time\), which does not convert to km"),
        ({"y_err": [1.0] * 40}, "y_err carries no unit"),
        ({"X_err": np.ones((40, 1)) * u.K}, r"X_err is in K .* does not convert to kpc"),
        ({"y_cov": np.eye(40) * u.km / u.s}, "y_cov is in km / s"),
        ({"X_cov": np.ones((40, 1, 1))}, "X_cov carries no unit"),
        ({"xy_cov": np.ones((40, 1)) * u.kpc}, "xy_cov is in kpc"),
    ],
)
def test_errors_in_wrong_units_are_one_sentence(line, arguments, message):
    with pytest.raises(InputError, match=message):
        QuantityEstimator(Weighted()).fit(line[0] * u.kpc, line[1] * u.km / u.s, **arguments)


def test_new_data_in_wrong_units_are_one_sentence(line):
    X, y, _ = line
    model = QuantityEstimator(Weighted()).fit(X * u.kpc, y * u.km / u.s)
    with pytest.raises(InputError, match=r"X is in K \(temperature\), which does not convert to kpc"):
        model.predict(X * u.K)
    with pytest.raises(InputError, match="X carries no unit"):
        model.predict(X)
    with pytest.raises(InputError, match="y carries no unit"):
        model.predict_dist(X * u.kpc).cdf(y)
    plain = QuantityEstimator(Weighted()).fit(X, y)
    with pytest.raises(InputError, match="fitted on numbers without a unit"):
        plain.predict(X * u.kpc)
    with pytest.raises(InputError, match="X is a table"):
        plain.predict(Table({"x": X[:, 0]}))


def test_a_real_predictive_distribution_scales_with_the_units():
    points = datasets.load("hogg2010")[4:]
    X, y, err = from_table(points, x="x", y="y")
    kms, new = u.km / u.s, [[100.0], [200.0]]
    plain = LinearRegression().fit(X, y, y_err=err.y_err).predict_dist(new, y_err=[20.0, 20.0])
    model = QuantityEstimator(LinearRegression()).fit((X * u.kpc).to(u.pc), y * kms, y_err=err.y_err * kms)
    p = model.predict_dist(new * u.kpc, y_err=[2e4, 2e4] * u.m / u.s)
    assert_allclose(p.mean.to_value(kms), plain.mean, rtol=1e-12)
    assert_allclose(p.std.to_value(kms), plain.std, rtol=1e-12)
    assert set(p.variance_components) == set(plain.variance_components)
    assert_allclose(sum(p.variance_components.values()).to_value(kms**2), plain.std**2, rtol=1e-12)
    assert_allclose(p.crps([250, 480] * kms).value, plain.crps(np.array([250.0, 480.0])), rtol=1e-10)
    assert_allclose(p.sample(3, rng=0).value, plain.sample(3, rng=0), rtol=1e-9)
    assert len(p[:1]) == 1 and p[:1].interval(0.68)[0].unit == kms


def test_a_core_estimator_sends_quantities_to_the_wrapper(line):
    X, y, _ = line
    for arguments in ((X * u.kpc, y), (X, y * u.km)):
        with pytest.raises(InputTypeError, match="QuantityEstimator"):
            LinearRegression().fit(*arguments)


@parametrize_with_checks([QuantityEstimator(BayesianRidge()), QuantityEstimator(LinearRegression())])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def test_public_names_exist():
    assert all(hasattr(units, name) for name in units.__all__)
