"""Features and their derivatives; errors of X carried through, to first order and no further."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import chebyshev, legendre
from numpy.testing import assert_allclose
from scipy.interpolate import BSpline
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from statml import datasets
from statml.errors import InputError, InputTypeError
from statml.regression import (
    BayesianLinearRegression,
    FourierBasis,
    LinearRegression,
    PolynomialBasis,
    RadialBasis,
    SplineBasis,
)
from statml.uncertainty import CovarianceStack, predict_dist

BASES = [
    PolynomialBasis(3),
    PolynomialBasis(4, interactions=False, family="chebyshev"),
    PolynomialBasis(2, family="powers"),
    FourierBasis(period=3.0, harmonics=3),
    SplineBasis(5),
    SplineBasis(3, degree=2, extrapolation="constant"),
    RadialBasis(6, random_state=0),
    RadialBasis([[0.0] * 3, [1.0] * 3], width=[0.5, 1.0, 2.0]),
]
every_basis = pytest.mark.parametrize("basis", BASES, ids=lambda basis: repr(basis).replace("\n", ""))


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(1).normal(size=(80, 3)) * [1.0, 2.0, 0.5]


@every_basis
def test_the_jacobian_is_that_of_finite_differences(basis, X):
    """Inside the training rows and beyond them: central differences are good to 1e-7 here."""
    fitted = clone(basis).fit(X)
    rows = 1.3 * np.random.default_rng(4).normal(size=(30, 3)) * X.std(axis=0)  # none of them a knot
    J = fitted.jacobian(rows)
    step = 1e-5
    for j in range(3):
        shift = step * np.eye(3)[j]
        numeric = (fitted.transform(rows + shift) - fitted.transform(rows - shift)) / (2 * step)
        assert_allclose(J[:, :, j], numeric, atol=1e-7 + 3e-6 * np.max(np.abs(J)))


@every_basis
def test_propagated_errors(basis, X):
    """J S J^T, for independent errors, for correlated ones, and through one direction."""
    fitted = clone(basis).fit(X)
    rng = np.random.default_rng(2)
    err = rng.uniform(0.0, 0.1, X.shape)
    roots = 0.1 * rng.normal(size=(len(X), 3, 3))
    J = fitted.jacobian(X)
    for errors, S in (
        ({"X_err": err}, np.einsum("ni,ij->nij", err**2, np.eye(3))),
        ({"X_err": 0.02}, np.tile(0.0004 * np.eye(3), (len(X), 1, 1))),
        (
            {"X_cov": CovarianceStack.dense(roots @ roots.transpose(0, 2, 1))},
            roots @ roots.transpose(0, 2, 1),
        ),
    ):
        features, stack = fitted.propagate(X, **errors)
        assert_allclose(features, fitted.transform(X))
        expected = J @ S @ J.transpose(0, 2, 1)
        tolerance = {"rtol": 1e-9, "atol": 1e-10 * np.max(expected)}
        assert stack.shape == (len(X), features.shape[1], features.shape[1])
        assert_allclose(stack.to_dense(), expected, **tolerance)
        direction = rng.normal(size=features.shape[1])
        assert_allclose(
            stack.project(direction), np.einsum("nij,i,j->n", expected, direction, direction), **tolerance
        )


@every_basis
def test_small_errors_against_monte_carlo(basis, X):
    """Variances of 40,000 draws, whose own error is 0.7 %: within 5 sigma of the Jacobian's, 3e-4 in all."""
    fitted = clone(basis).fit(X)
    rng = np.random.default_rng(3)
    row = X[:1]
    sigma = np.array([1e-3, 2e-3, 1e-3])
    draws = fitted.transform(row + sigma * rng.normal(size=(40_000, 3)))
    _, stack = fitted.propagate(row, X_err=sigma[None])
    expected = stack.to_dense()[0]
    found = np.cov(draws, rowvar=False)
    spread = np.sqrt(np.diag(expected))
    # Where the slope is (nearly) zero only the second order is left.
    visible = spread > 1e-5
    assert visible.any()
    scale = np.outer(spread, spread)[np.ix_(visible, visible)]
    difference = (found - expected)[np.ix_(visible, visible)] / scale
    assert np.max(np.abs(difference)) < 5 * np.sqrt(2 / 40_000)


def test_at_an_extremum_the_first_order_sees_nothing():
    """y = x^2 at 0: no slope, so the error is sqrt(2) sigma^2 and the shift sigma^2, all second order."""
    basis = PolynomialBasis(2, family="powers").fit([[-1.0], [1.0]])
    _, stack = basis.propagate([[0.0]], X_err=0.1)
    assert stack.to_dense()[0, 1, 1] == 0
    draws = basis.transform(0.1 * np.random.default_rng(0).normal(size=(200_000, 1)))[:, 1]
    assert_allclose(draws.std(), np.sqrt(2) * 0.01, rtol=0.02)
    assert_allclose(draws.mean(), 0.01, rtol=0.02)


# -- the functions themselves ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "series"), [("legendre", legendre.legval), ("chebyshev", chebyshev.chebval)]
)
def test_polynomials_are_those_of_numpy(family, series):
    x = np.linspace(-3, 5, 9)[:, None]
    features = PolynomialBasis(5, family=family).fit_transform(x)
    t = (x[:, 0] - 1) / 4
    for k in range(1, 6):
        assert_allclose(features[:, k - 1], series(t, np.eye(6)[k]), atol=1e-14)


def test_products_of_polynomials(X):
    basis = PolynomialBasis(3).fit(X)
    assert len(basis.degrees_) == 19  # (3 + 3)! / (3! 3!) - 1
    assert np.all(basis.degrees_.sum(axis=1) <= 3) and len(np.unique(basis.degrees_, axis=0)) == 19
    names = basis.get_feature_names_out(["a", "b", "c"]).tolist()
    assert "P1(a) P2(b)" in names and len(set(names)) == 19
    single = PolynomialBasis(3, interactions=False).fit(X)
    features = dict(zip(single.get_feature_names_out(["a", "b", "c"]), single.transform(X).T))
    product = basis.transform(X)[:, names.index("P1(a) P2(b)")]
    assert_allclose(product, features["P1(a)"] * features["P2(b)"])


@settings(max_examples=20, deadline=None)
@given(degree=st.integers(1, 3), intervals=st.integers(1, 7), seed=st.integers(0, 1000))
def test_splines_are_those_of_scikit_learn(degree, intervals, seed):
    """Inside the training rows, but for the first; with the constant they sum to one."""
    x = np.sort(np.random.default_rng(seed).normal(size=(50, 1)), axis=0)
    basis = SplineBasis(intervals, degree=degree).fit(x)
    knots = basis.knots_[0]
    features = basis.transform(x)
    full = BSpline.design_matrix(np.clip(x[:, 0], knots[0], knots[-1]), knots, degree).toarray()
    assert_allclose(features, full[:, 1:], atol=1e-13)
    assert_allclose(features.sum(axis=1) + full[:, 0], 1)
    # Their base knots are not repeated at the ends, but the curves they span are the same.
    theirs = SplineTransformer(intervals + 1, degree, knots="quantile").fit_transform(x)
    mine = np.column_stack([np.ones(50), features])
    assert_allclose(mine @ np.linalg.lstsq(mine, theirs, rcond=None)[0], theirs, atol=1e-9)


@pytest.mark.parametrize("extrapolation", ["linear", "constant"])
def test_splines_beyond_the_data(extrapolation):
    x = np.linspace(0, 1, 40)[:, None]
    basis = SplineBasis(4, extrapolation=extrapolation).fit(x)
    ends, beyond = basis.transform([[0.0], [1.0]]), basis.transform([[-2.0], [3.0]])
    slopes = basis.jacobian([[0.0], [1.0]])[:, :, 0] if extrapolation == "linear" else np.zeros_like(ends)
    assert_allclose(beyond, ends + np.array([[-2.0], [2.0]]) * slopes, atol=1e-12)


def test_repeated_values_give_fewer_knots():
    x = np.repeat([0.0, 1.0, 2.0], 30)[:, None]
    assert SplineBasis(10).fit_transform(x).shape == (90, 4)
    assert np.all(np.isfinite(SplineBasis().fit_transform(np.ones((10, 1)))))


def test_a_periodic_curve_comes_back():
    """A light curve of two harmonics: exact, and the same one period later."""
    t = np.random.default_rng(0).uniform(0, 40, 60)[:, None]
    phase = 2 * np.pi * t[:, 0] / 0.56
    y = 12 + 0.4 * np.cos(phase) - 0.2 * np.sin(phase) + 0.1 * np.sin(2 * phase)
    model = make_pipeline(FourierBasis(period=0.56, harmonics=2), LinearRegression()).fit(t, y)
    assert_allclose(model[-1].params_, [12, 0.4, -0.2, 0, 0.1], atol=1e-12)
    assert_allclose(model.predict(t + 0.56), y, atol=1e-11)


def test_radial_functions():
    basis = RadialBasis([[0.0, 0.0], [3.0, 4.0]], width=5.0).fit(np.zeros((2, 2)))
    assert_allclose(basis.transform([[0.0, 0.0]]), [[1.0, np.exp(-0.5)]])
    placed = RadialBasis(4, random_state=1).fit(np.random.default_rng(0).normal(size=(100, 2)) * [1, 1000])
    assert placed.centers_.shape == (4, 2)
    assert 100 < placed.width_[1] / placed.width_[0] < 10_000  # widths follow the spread of each feature


def test_filip_needs_a_basis_that_is_not_powers():
    """NIST's polynomial of degree 10: residual standard deviation to 9 digits without any refinement."""
    table = datasets.load("nist")["filip"]
    certified = table.meta["certified"]
    x, y = table[certified["features"][0]].data[:, None], table[certified["target"]].data
    model = make_pipeline(PolynomialBasis(10), LinearRegression()).fit(x, y)
    assert_allclose(model[-1].scale_, certified["residual_sd"], rtol=1e-9)
    assert model[-1].condition_number_ < 1e3


# -- with a regressor -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "regressor", [LinearRegression(), BayesianLinearRegression(prior_cov=1.0, scatter=0.0)]
)
def test_a_curve_with_errors_of_x(regressor):
    """At small errors the predicted spread is that of predictions at drawn x: 5 sigma of 40,000 draws."""
    rng = np.random.default_rng(5)
    x = rng.uniform(-2, 2, (200, 1))
    y = np.sin(2 * x[:, 0]) + 0.1 * rng.normal(size=200)
    model = make_pipeline(SplineBasis(8), regressor).fit(
        x, y, **{f"{type(regressor).__name__.lower()}__y_err": 0.1}
    )
    new, sigma = np.array([[-1.4], [0.2], [1.7]]), 0.005
    p = predict_dist(model, new, X_err=sigma, y_err=0.1)
    for row, value in enumerate(new):
        drawn = model.predict(value + sigma * rng.normal(size=(40_000, 1)))
        found = drawn.var() / p.variance_components["input"][row]
        # tr(S cov(b)) is part of the input variance: the slope itself is uncertain.
        assert found < 1 + 5 * np.sqrt(2 / 40_000)
        assert found > 0.97
    assert_allclose(sum(p.variance_components.values()), p.std**2, rtol=1e-12)


@pytest.mark.parametrize(
    ("basis", "sentence"),
    [
        (PolynomialBasis(0), "degree is 0; accepted is an integer >= 1"),
        (PolynomialBasis(2.5), "degree is 2.5"),
        (PolynomialBasis(family="hermite"), "family is 'hermite'; accepted are 'legendre'"),
        (FourierBasis(period=0.0), "period is 0.0; accepted is a positive number"),
        (FourierBasis(period=[1.0, 2.0]), "one for each of 3 features"),
        (FourierBasis(period="year"), "period is 'year'"),
        (FourierBasis(harmonics=0), "harmonics is 0"),
        (SplineBasis(0), "n_intervals is 0"),
        (SplineBasis(degree=0), "degree is 0"),
        (SplineBasis(extrapolation="wild"), "extrapolation is 'wild'"),
        (RadialBasis(0), "centers is 0"),
        (RadialBasis([[1.0]]), r"centers has shape \(1, 1\); accepted is \(k, 3\)"),
        (RadialBasis(width=-1.0), "width is -1.0"),
    ],
)
def test_refusals(basis, sentence, X):
    with pytest.raises(InputError, match=sentence) as caught:
        basis.fit(X)
    assert "\n" not in str(caught.value)


def test_errors_that_do_not_fit(X):
    basis = PolynomialBasis().fit(X)
    with pytest.raises(InputError, match="X_err and X_cov are both missing"):
        basis.propagate(X)
    with pytest.raises(InputError, match="both given"):
        basis.propagate(X, X_err=0.1, X_cov=CovarianceStack.from_std(np.ones_like(X)))
    with pytest.raises(InputError, match="X_err has 79 rows"):
        basis.propagate(X, X_err=np.ones((79, 3)))
    with pytest.raises(InputTypeError, match="QuantityEstimator"):
        from astropy.units import km

        basis.transform(X * km)
