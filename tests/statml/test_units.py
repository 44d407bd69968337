"""Units at the door: tables become float arrays in one unit, and a quantity never loses its unit in silence."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import MaskedColumn, QTable, Table
from numpy.testing import assert_allclose, assert_array_equal

from statml import datasets, units
from statml.errors import InputError, InputTypeError
from statml.regression import LinearRegression
from statml.units import from_table, refuse_quantity

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


def test_errors_unpack_into_fit_and_follow_rows():
    rng = np.random.default_rng(0)
    x, y_err = rng.uniform(0, 10, 40), rng.uniform(0.5, 2.0, 40)
    table = Table({"x": x, "y": 3 + 2 * x + y_err * rng.normal(size=40), "y_err": y_err})
    X, y, err = from_table(table, x="x", y="y")
    half = err.rows(slice(0, 20))
    assert half.X_err is None
    model = LinearRegression().fit(X[:20], y[:20], **half)
    slope, constant = np.polyfit(x[:20], y[:20], 1, w=1 / y_err[:20])
    assert_allclose(model.params_, [constant, slope], rtol=1e-10)
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


def test_a_core_estimator_sends_quantities_to_the_wrapper():
    X = np.arange(5.0)[:, None]
    for arguments in ((X * u.kpc, X[:, 0]), (X, X[:, 0] * u.km)):
        with pytest.raises(InputTypeError, match="QuantityEstimator"):
            LinearRegression().fit(*arguments)


def test_public_names_exist():
    assert all(hasattr(units, name) for name in units.__all__)
