"""Published and exactly known answers of linear least squares.

NIST certifies Longley and Norris to 15 digits; the Wampler problems have exact
integer answers; the degree-10 problem here is as ill-conditioned as NIST's Filip
and solved beside it with 60 digits; Hogg, Bovy & Lang (2010) print exercises 1-3.
"""

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose

from statml import datasets
from statml.compute import namespace
from statml.regression import LinearRegression
from statml.regression.least_squares import reduce_rows, solve


def digits(found, certified):
    """Correct significant digits of the worst number: minus log10 of the relative error."""
    found, certified = np.asarray(found, float), np.asarray(certified, float)
    error = np.max(np.abs(found - certified) / np.abs(certified))
    return np.inf if error == 0 else -np.log10(error)


def nist(name):
    """Design (powers of one feature, or the features), target, whether there is an intercept, answers."""
    table = datasets.load("nist")[name]
    certified = table.meta["certified"]
    columns = [table[feature].data.astype(float) for feature in certified["features"]]
    X = np.column_stack([column**k for k in range(1, certified.get("degree", 1) + 1) for column in columns])
    return X, table[certified["target"]].data.astype(float), certified.get("intercept", True), certified


# Filip's columns are rounded before anybody sees them, which alone costs digits: see `test_filip_to_seven_digits`.
@pytest.mark.parametrize("name", ["norris", "pontius", "noint1", "noint2", "longley"])
def test_nist_certified_to_nine_digits(name):
    X, y, intercept, certified = nist(name)
    model = LinearRegression(fit_intercept=intercept).fit(X, y)
    assert digits(model.params_, certified["estimate"]) >= 9
    assert digits(np.sqrt(np.diag(model.params_cov_)), certified["standard_error"]) >= 9
    assert digits(model.scale_, certified["residual_sd"]) >= 9
    around = y.mean() if intercept else 0.0
    assert digits(1 - model.chi2_ / np.sum((y - around) ** 2), certified["r_squared"]) >= 9
    assert model.dof_ == certified["dof"]


def test_filip_to_seven_digits():
    """Degree 10 in x between -8.8 and -3.1: the hardest linear set of NIST; normal equations fail."""
    X, y, _, certified = nist("filip")
    A = np.column_stack([np.ones(82), X])
    assert np.linalg.cond(A) > 1e15
    model = LinearRegression().fit(X, y)
    assert digits(model.params_, certified["estimate"]) >= 7
    assert digits(np.sqrt(np.diag(model.params_cov_)), certified["standard_error"]) >= 7
    assert digits(model.scale_, certified["residual_sd"]) >= 7
    assert model.dof_ == certified["dof"]
    assert digits(np.linalg.solve(A.T @ A, A.T @ y), certified["estimate"]) < 2


# Errors of y of Wampler3 as published; 4 and 5 are its hundred- and ten-thousandfold.
_HALF = np.array([759.0, -2048, 2048, -2048, 2523, -2048, 2048, -2048, 1838, -2048, 2048])
WAMPLER_ERRORS = np.concatenate([_HALF, _HALF[-2::-1]])


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_wampler(number):
    """y of degree 5 in x = 0..20; the errors of 3 to 5 are orthogonal to the polynomials of degree 5."""
    x = np.arange(21.0)
    X = x[:, None] ** np.arange(1, 6)
    exact = np.ones(6) if number != 2 else 0.1 ** np.arange(6)
    y = exact[0] + X @ exact[1:]
    size = {1: 0, 2: 0, 3: 1, 4: 100, 5: 10_000}[number]
    assert np.all(WAMPLER_ERRORS @ np.column_stack([np.ones(21), X]) == 0)
    model = LinearRegression().fit(X, y + size * WAMPLER_ERRORS)
    certified_rsd = size * np.sqrt(np.sum(WAMPLER_ERRORS**2) / 15)
    if size == 0:
        # Certified zeros: what is left is the rounding of y, about eps * max(y).
        rounding = np.finfo(float).eps * np.max(np.abs(y))
        assert model.scale_ < 4 * rounding
        assert np.max(np.sqrt(np.diag(model.params_cov_))) < 100 * rounding
        assert digits(model.params_, exact) >= 9
    else:
        assert digits(model.params_, exact) >= 9
        assert digits(model.scale_, certified_rsd) >= 12


def test_wampler_residual_sd_is_the_published_one():
    """NIST prints 2360.14502379268 for Wampler3."""
    assert digits(np.sqrt(np.sum(WAMPLER_ERRORS**2) / 15), 2360.14502379268) > 14


@pytest.fixture(scope="module")
def degree_ten():
    """A polynomial of degree 10 on x in [-9, -3], as in NIST's Filip, with its 60-digit solution."""
    x = np.linspace(-9.0, -3.0, 82) + 0.03 * np.sin(np.arange(82.0))
    y = 0.8 + 0.1 * np.tanh(x + 5.5) + 0.003 * np.cos(7.0 * np.arange(82.0))
    X = np.column_stack([x**k for k in range(1, 11)])
    with mpmath.workdps(60):
        A = mpmath.matrix([[1] + [mpmath.mpf(float(value)) for value in row] for row in X])
        b = mpmath.matrix([mpmath.mpf(float(value)) for value in y])
        inverse = (A.T * A) ** -1
        params = inverse * (A.T * b)
        residual = b - A * params
        chi2 = sum(r * r for r in residual)
        errors = [mpmath.sqrt(inverse[i, i] * chi2 / (82 - 11)) for i in range(11)]
    return X, y, np.array([float(p) for p in params]), np.array([float(e) for e in errors]), float(chi2)


def test_degree_ten_to_seven_digits(degree_ten):
    X, y, params, errors, chi2 = degree_ten
    assert np.linalg.cond(np.column_stack([np.ones(82), X])) > 1e14
    model = LinearRegression().fit(X, y)
    assert digits(model.params_, params) >= 7
    assert digits(model.chi2_, chi2) >= 9
    assert digits(np.sqrt(np.diag(model.params_cov_)), errors) >= 6
    assert model.n_refinements_ >= 1


def test_refinement_is_what_brings_the_last_digits(degree_ten):
    """Without it the same factorisation loses at least two more digits, and normal equations fail."""
    X, y, params, *_ = degree_ten
    triangle = reduce_rows(X, y, intercept=True, weights=None, device=namespace("cpu"))
    plain = solve(triangle, [str(k) for k in range(11)])
    assert plain.worth_refining
    refined = LinearRegression().fit(X, y).params_
    assert digits(refined, params) >= digits(plain.params, params) + 2
    A = np.column_stack([np.ones(82), X])
    normal = np.linalg.solve(A.T @ A, A.T @ y)
    assert digits(normal, params) < 3


def test_refinement_does_not_stop_at_a_coefficient_of_zero(degree_ten):
    """A column whose true coefficient is 0 never settles to relative precision; the others must."""
    X, y, *_ = degree_ten
    rng = np.random.default_rng(3)
    A = np.column_stack([np.ones(82), X])
    extra = rng.normal(size=82)
    model = LinearRegression().fit(np.column_stack([X, extra]), y)
    with mpmath.workdps(60):
        full = mpmath.matrix(np.column_stack([A, extra]).tolist())
        exact = (full.T * full) ** -1 * (full.T * mpmath.matrix(y.tolist()))
        exact = np.array([float(p) for p in exact])
    assert digits(model.params_, exact) >= 7
    # Now y is exactly free of the extra column.
    q = np.linalg.qr(np.column_stack([A / np.linalg.norm(A, axis=0), extra]))[0][:, -1]
    model = LinearRegression().fit(np.column_stack([X, q]), y - q * (q @ y))
    assert abs(model.params_[-1]) < 1e-10
    assert digits(model.params_[:-1], LinearRegression().fit(X, y - q * (q @ y)).params_) >= 5


def test_units_and_origin_do_not_lose_digits():
    """Scaling by powers of ten, and dates as Julian days, leave the slope's digits alone."""
    rng = np.random.default_rng(0)
    t = np.sort(rng.uniform(0, 100, 200))
    y = 1.0 + 0.25 * t
    slope = LinearRegression().fit((t + 2_460_000.0)[:, None] * 1e-12, y).coef_[0]
    assert_allclose(slope, 0.25e12, rtol=1e-9)


# -- Hogg, Bovy & Lang (2010) -------------------------------------------------------------


@pytest.fixture(scope="module")
def hogg():
    table = datasets.load("hogg2010")
    return tuple(table[name].data.astype(float) for name in ("x", "y", "y_err"))


def test_hogg_exercise_1(hogg):
    """Points 5 to 20: y = (2.24 +- 0.11) x + (34 +- 18)."""
    x, y, err = (values[4:] for values in hogg)
    model = LinearRegression().fit(x[:, None], y, y_err=err)
    assert_allclose(model.coef_[0], 2.23992, atol=6e-6)
    assert_allclose(model.coef_err_[0], 0.10778, atol=6e-6)
    assert_allclose(model.intercept_, 34.0477, atol=6e-5)
    assert_allclose(model.intercept_err_, 18.2462, atol=6e-5)
    assert_allclose(model.params_cov_[0, 1], -1.8895, atol=6e-5)
    assert_allclose(model.chi2_, 18.6808, atol=6e-5)
    assert (round(model.coef_[0], 2), round(model.coef_err_[0], 2)) == (2.24, 0.11)
    assert (round(model.intercept_), round(model.intercept_err_)) == (34, 18)


def test_hogg_exercise_2(hogg):
    """All 20 points: outliers drag the line to y = 1.08 x + 213."""
    x, y, err = hogg
    model = LinearRegression().fit(x[:, None], y, y_err=err)
    assert_allclose(model.coef_[0], 1.07675, atol=6e-6)
    assert_allclose(model.coef_err_[0], 0.07741, atol=6e-6)
    assert_allclose(model.intercept_, 213.2735, atol=6e-5)
    assert_allclose(model.intercept_err_, 14.3940, atol=6e-5)
    assert_allclose(model.chi2_, 289.9637, atol=6e-5)


def test_hogg_exercise_3(hogg):
    """Points 5 to 20 with a quadratic term: (0.0023 +- 0.0020) x^2 + (1.60 +- 0.58) x + (73 +- 39)."""
    x, y, err = (values[4:] for values in hogg)
    model = LinearRegression().fit(np.column_stack([x, x**2]), y, y_err=err)
    assert_allclose(model.coef_[1], 0.0022989, atol=6e-8)
    assert_allclose(model.coef_err_[1], 0.0020339, atol=6e-8)
    assert_allclose(model.coef_[0], 1.59605, atol=6e-6)
    assert_allclose(model.coef_err_[0], 0.57975, atol=6e-6)
    assert_allclose(model.intercept_, 72.8946, atol=6e-5)
    assert_allclose(model.intercept_err_, 38.9116, atol=6e-5)
    assert_allclose(model.chi2_, 17.4032, atol=6e-5)
