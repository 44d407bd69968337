"""York's line: the function it minimises, its limits, its symmetries. Coverage is in a file of its own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import optimize

from statml.errors import InputError
from statml.regression import ErrorsInVariables, LinearRegression
from statml.regression.errors_in_variables.method import Measured
from statml.regression.errors_in_variables.standard import Standardised
from statml.regression.errors_in_variables.york import half_chi2
from statml.uncertainty import CovarianceStack


def points(seed, n=40, slope=2.0, d=1):
    """x (n, d), y and their errors, which are correlated and differ from point to point."""
    rng = np.random.default_rng(seed)
    L = rng.normal(size=(n, d + 1, d + 1)) * 0.4
    xi = rng.normal(0, 2, (n, d))
    z = np.column_stack([xi, 1 + xi @ np.full(d, slope)]) + np.einsum(
        "nij,nj->ni", L, rng.normal(size=(n, d + 1))
    )
    return z, L @ L.transpose(0, 2, 1)


def fit(z, E, **settings):
    return ErrorsInVariables("york", **settings).fit(
        z[:, :-1],
        z[:, -1],
        X_cov=CovarianceStack.dense(E[:, :-1, :-1]),
        y_err=np.sqrt(E[:, -1, -1]),
        xy_cov=E[:, :-1, -1],
    )


def chi2(z, E, a, b):
    """The definition: the smallest Mahalanobis distance of each point to the line, summed."""
    normal = np.r_[-np.atleast_1d(b), 1]
    return np.sum((z @ normal - a) ** 2 / np.einsum("nij,i,j->n", E, normal, normal))


def test_chi2_is_the_least_over_the_true_points():
    """Minimise over the true x of three points by hand; what is left is York's chi2."""
    z, E = points(0, n=3)
    a, b = 0.5, 1.7

    def distance(xi):
        gap = z - np.column_stack([xi, a + b * xi])
        return np.einsum("ni,nij,nj->", gap, np.linalg.inv(E), gap)

    brute = optimize.minimize(distance, z[:, 0], method="BFGS", options={"gtol": 1e-10}).fun
    assert_allclose(chi2(z, E, a, b), brute, rtol=1e-9)


@pytest.mark.parametrize("d", [1, 3])
def test_gradient_and_hessian_are_those_of_chi2(d):
    z, E = points(1, d=d)
    rows = Measured(z[:, :-1], z[:, -1], E[:, :-1, :-1], E[:, -1, -1], E[:, :-1, -1], None, True)
    scaled = Standardised.of(rows)
    at = np.random.default_rng(2).normal(size=d + 1)
    here = half_chi2(scaled, at)
    params, _ = scaled.unscale(at, np.eye(d + 1))
    assert_allclose(2 * here.value, chi2(z, E, params[0], params[1:]), rtol=1e-12)
    numeric = optimize.approx_fprime(at, lambda p: half_chi2(scaled, p).value, 1e-7)
    assert_allclose(here.gradient, numeric, rtol=1e-4, atol=1e-4)
    numeric = optimize.approx_fprime(at, lambda p: half_chi2(scaled, p).gradient, 1e-7)
    assert_allclose(here.hessian, numeric, rtol=1e-4, atol=1e-4)


def test_the_hessian_is_on_average_the_information_at_the_true_points():
    """E[H] = sum xi xi' / v and E[gradient gradient'] = E[J]: what the covariance H^-1 J H^-1 rests on.

    4000 data sets; each of 3 means within 4 standard errors (1 chance in 5000 to fail if true).
    """
    rng = np.random.default_rng(3)
    xi, b, n, repeats = np.linspace(-1.5, 1.5, 12), 1.3, 12, 4000
    c, sx, sy = -0.1, 0.5, 0.6
    L = np.linalg.cholesky([[sx**2, c], [c, sy**2]])
    v = sy**2 + b**2 * sx**2 - 2 * b * c
    found = []
    for _ in range(repeats):
        z = np.column_stack([xi, b * xi]) + rng.normal(size=(n, 2)) @ L.T
        rows = Standardised(
            z[:, :1],
            z[:, 1],
            np.full((n, 1, 1), sx**2),
            np.full(n, sy**2),
            np.full((n, 1), c),
            False,
            np.zeros(1),
            0.0,
            np.ones(1),
            1.0,
        )
        here = half_chi2(rows, np.array([b]))
        found.append((here.hessian[0, 0], here.score_variance[0, 0], here.gradient[0] ** 2))
    H, J, squared = np.array(found).T
    assert abs(H.mean() - np.sum(xi**2) / v) < 4 * H.std() / np.sqrt(repeats)
    assert abs((squared - J).mean()) < 4 * (squared - J).std() / np.sqrt(repeats)
    # The adjusted points spread wider than the true ones, so York's closed form, 1 / J, promises too much.
    wider = n * (sx**2 - (b * sx**2 - c) ** 2 / v) / v
    assert abs(J.mean() - np.sum(xi**2) / v - wider) < 4 * J.std() / np.sqrt(repeats)
    assert wider > 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1.55, 1.55))
def test_it_is_the_lowest_minimum_of_all_slopes(seed, angle):
    """No slope of a fine scan of all directions does better."""
    z, E = points(seed, n=12, slope=np.tan(angle))
    line = fit(z, E)
    slopes = np.tan(np.linspace(-np.pi / 2 + 1e-4, np.pi / 2 - 1e-4, 2001))
    normal = np.column_stack([-slopes, np.ones(len(slopes))])
    weight = 1 / np.einsum("nij,mi,mj->mn", E, normal, normal)
    residual = normal @ z.T
    residual = residual - (weight * residual).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    lowest = np.min(np.sum(weight * residual**2, axis=1))
    assert line.chi2_ <= lowest * (1 + 1e-9)
    assert_allclose(line.chi2_, chi2(z, E, line.intercept_, line.coef_), rtol=1e-9)


@pytest.mark.parametrize("slope", [0.01, 1.0, 30.0, 1e4])
def test_swapping_x_and_y_gives_the_inverse_line(slope):
    z, E = points(5, slope=slope)
    there = fit(z, E)
    back = fit(z[:, ::-1], E[:, ::-1, ::-1])
    assert_allclose(back.coef_[0], 1 / there.coef_[0], rtol=1e-7)
    assert_allclose(back.intercept_, -there.intercept_ / there.coef_[0], rtol=1e-6, atol=1e-9)
    assert_allclose(back.chi2_, there.chi2_, rtol=1e-9)
    # The delta method carries the errors over.
    assert_allclose(back.coef_err_[0], there.coef_err_[0] / there.coef_[0] ** 2, rtol=1e-5)


def test_another_variable_can_be_the_dependent_one():
    """In two features: the same plane, whichever coordinate is called y."""
    z, E = points(6, d=2)
    a, (b, c) = (lambda line: (line.intercept_, line.coef_))(fit(z, E))
    turned = fit(z[:, [2, 1, 0]], E[:, [2, 1, 0]][:, :, [2, 1, 0]])
    assert_allclose(turned.coef_, [1 / b, -c / b], rtol=1e-6)
    assert_allclose(turned.intercept_, -a / b, rtol=1e-6)


def test_equal_errors_are_demings_line():
    """Closed form for errors of the ratio delta = (s_y / s_x)^2 (Deming 1943)."""
    z, _ = points(7)
    sx, sy = 0.4, 0.7
    line = ErrorsInVariables("york").fit(z[:, :1], z[:, 1], X_err=sx, y_err=sy)
    (xx, xy), (_, yy) = np.cov(z.T)
    delta = (sy / sx) ** 2
    slope = (yy - delta * xx + np.sqrt((yy - delta * xx) ** 2 + 4 * delta * xy**2)) / (2 * xy)
    assert_allclose(line.coef_[0], slope, rtol=1e-10)
    assert_allclose(line.intercept_, z[:, 1].mean() - slope * z[:, 0].mean(), rtol=1e-10)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("X_err", [0.0, 1e-9])
def test_exact_x_gives_weighted_least_squares(X_err, intercept):
    z, E = points(8, d=3)
    X, y, err = z[:, :-1] * [1.0, 1e3, 1e-3] + [0.0, 5e3, 1.0], z[:, -1], np.sqrt(E[:, -1, -1])
    line = ErrorsInVariables("york", fit_intercept=intercept).fit(
        X, y, X_err=X_err * np.ones(X.shape) * [1, 1e3, 1e-3], y_err=err
    )
    ordinary = LinearRegression(fit_intercept=intercept).fit(X, y, y_err=err)
    assert_allclose(line.params_, ordinary.params_, rtol=1e-10)
    assert_allclose(line.params_cov_, ordinary.params_cov_, rtol=1e-9)
    assert_allclose(line.closed_form_cov_, ordinary.params_cov_, rtol=1e-9)
    assert_allclose(line.chi2_, ordinary.chi2_, rtol=1e-10)
    assert line.dof_ == ordinary.dof_
    ours, theirs = line.predict_dist(X, X_err=0.1, y_err=err), ordinary.predict_dist(X, X_err=0.1, y_err=err)
    assert_allclose(ours.mean, theirs.mean, rtol=1e-10)
    for name, part in theirs.variance_components.items():
        assert_allclose(ours.variance_components[name], part, rtol=1e-8, err_msg=name)


def test_without_any_errors_it_is_ordinary_least_squares():
    z, _ = points(9, d=2)
    X, y = z[:, :-1], z[:, -1]
    for line in (ErrorsInVariables("york").fit(X, y), ErrorsInVariables("york").fit(X, y, X_err=0.0)):
        ordinary = LinearRegression().fit(X, y)
        assert_allclose(line.params_, ordinary.params_, rtol=1e-13)
        assert_allclose(line.params_cov_, ordinary.params_cov_, rtol=1e-13)
        ours, theirs = line.predict_dist(X, y_err=0.2), ordinary.predict_dist(X, y_err=0.2)
        assert type(ours) is type(theirs)
        assert_allclose(ours.ppf(0.1), theirs.ppf(0.1), rtol=1e-12)
        residual = y - ordinary.predict(X)
        noise = np.sqrt(np.mean(residual**2))
        density = -0.5 * np.sum(residual**2 / noise**2 + np.log(2 * np.pi * noise**2))
        assert_allclose(line.log_likelihood_, density, rtol=1e-12)


def test_a_row_without_information_has_no_influence():
    z, E = points(10)
    with_inf = E.copy()
    with_inf[3, -1, -1] = np.inf
    moved = z.copy()
    moved[3] += 100
    less = fit(np.delete(z, 3, axis=0), np.delete(E, 3, axis=0))
    assert_allclose(fit(moved, with_inf).params_, less.params_, rtol=1e-13)
    assert fit(moved, with_inf).dof_ == less.dof_


def test_exact_y_is_least_squares_of_x_on_y():
    z, E = points(11)
    err = np.sqrt(E[:, 0, 0])
    line = ErrorsInVariables("york").fit(z[:, :1], z[:, 1], X_err=err[:, None], y_err=0.0)
    inverse = LinearRegression().fit(z[:, 1:], z[:, 0], y_err=err)
    assert_allclose(line.coef_[0], 1 / inverse.coef_[0], rtol=1e-8)


@settings(max_examples=20, deadline=None)
@given(
    st.floats(-5, 5).map(lambda power: 10**power),
    st.floats(-5, 5).map(lambda power: 10**power),
    st.floats(-3, 3),
)
def test_units_and_origin_do_not_matter(x_unit, y_unit, shift):
    z, E = points(12)
    unit = np.array([x_unit, y_unit])
    line, other = fit(z, E), fit(z * unit + shift * unit, E * unit[:, None] * unit)
    assert_allclose(other.coef_[0], line.coef_[0] * y_unit / x_unit, rtol=1e-8)
    assert_allclose(other.coef_err_[0], line.coef_err_[0] * y_unit / x_unit, rtol=1e-6)
    expected = (line.intercept_ + shift * (1 - line.coef_[0])) * y_unit
    assert_allclose(other.intercept_, expected, rtol=1e-7, atol=1e-7 * y_unit)


def test_many_rows_start_from_a_selection_and_end_with_all():
    z, E = points(13, n=12_000)
    line = fit(z, E)
    rows = Measured(z[:, :1], z[:, 1], E[:, :1, :1], E[:, 1, 1], E[:, :1, 1], None, True)
    scaled = Standardised.of(rows)
    there = np.array(
        [
            (line.intercept_ + line.coef_[0] * scaled.X_center[0] - scaled.y_center) / scaled.y_scale,
            line.coef_[0] * scaled.X_scale[0] / scaled.y_scale,
        ]
    )
    here = half_chi2(scaled, there)
    # The gradient, in standard errors of the parameters, is zero.
    assert np.sqrt(here.gradient @ np.linalg.solve(here.hessian, here.gradient)) < 1e-6


def test_predictions_split_their_variance():
    z, E = points(14, d=2)
    line = fit(z, E)
    S = np.array([[0.2, 0.05], [0.05, 0.1]])
    p = line.predict_dist([[1.0, -2.0]], X_cov=CovarianceStack.dense([S]), y_err=0.3)
    a = np.array([1, 1.0, -2.0])
    parts = p.variance_components
    assert_allclose(p.mean, a @ line.params_)
    assert_allclose(parts["parameter"], a @ line.params_cov_ @ a)
    assert_allclose(parts["input"], line.coef_ @ S @ line.coef_ + np.trace(S @ line.coef_cov_))
    assert_allclose(parts["noise"], 0.09)
    assert_allclose(parts["model"], 0)
    assert line.scatter_ == 0


REFUSED = {
    "no y_err": ({"X_err": 0.1, "y_err": None}, ("X_err", "y_err", "accepted")),
    "exact point": ({"X_err": 0.0, "y_err": 0.0}, ("y_err", "zero", "accepted")),
    "few rows": ({"X_err": 0.1, "y_err": 0.1, "rows": 1}, ("n_samples=1", "accepted")),
    "constant x": ({"X_err": 0.1, "y_err": 0.1, "constant": True}, ("column 0", "accepted")),
    "upper limits": (
        {"X_err": 0.1, "y_err": 0.1, "y_upper_limit": np.arange(40) < 3},
        ("y_upper_limit", "kelly"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    arguments, words = REFUSED[case]
    arguments = dict(arguments)
    z, _ = points(15)
    rows, constant = arguments.pop("rows", 40), arguments.pop("constant", False)
    x = np.ones((40, 1)) if constant else z[:, :1]
    with pytest.raises(InputError) as caught:
        ErrorsInVariables("york").fit(x[:rows], z[:rows, 1], **arguments)
    text = str(caught.value)
    assert "\n" not in text and all(word in text for word in words), text


def test_dependent_columns_are_refused():
    z, _ = points(16)
    X = np.column_stack([z[:, 0], 2 * z[:, 0]])
    with pytest.raises(InputError, match="accepted"):
        ErrorsInVariables("york").fit(X, z[:, 1], X_err=[[1e-9, 1e-9]] * 40, y_err=0.1)
