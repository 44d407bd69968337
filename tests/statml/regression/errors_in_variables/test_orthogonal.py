"""The likelihood of perpendicular distances: its gradient, its limits, scatter, outliers, and its bias."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize, stats

from statml.errors import InputError
from statml.regression import ErrorsInVariables, LinearRegression, Orthogonal
from statml.regression.errors_in_variables.method import Measured
from statml.regression.errors_in_variables.perpendicular import Perpendicular
from statml.regression.errors_in_variables.standard import Standardised
from statml.uncertainty import CovarianceStack


def line_with_scatter(seed, n=80, errors=(0.3, 0.3), scatter=0.3, slope=2.0, outliers=0):
    """x (n, 1), y and their errors; scatter along the normal, the last points displaced along it."""
    rng = np.random.default_rng(seed)
    xi, size = rng.normal(size=n), rng.uniform(0.5, 1.5, n)
    normal = np.array([-slope, 1]) / np.hypot(slope, 1)
    off = scatter * rng.normal(size=n)
    off[n - outliers :] = 5 * rng.normal(size=outliers)
    sx, sy = size * errors[0], size * errors[1]
    x = xi + normal[0] * off + sx * rng.normal(size=n)
    return x[:, None], 1 + slope * xi + normal[1] * off + sy * rng.normal(size=n), sx[:, None], sy


def fit(method, X, y, X_err, y_err):
    return ErrorsInVariables(method, random_state=0).fit(X, y, X_err=X_err, y_err=y_err)


def likelihood(seed, d, scatter, outliers):
    rng = np.random.default_rng(seed)
    L = rng.normal(size=(25, d + 1, d + 1)) * 0.4
    z, E = rng.normal(size=(25, d + 1)) * [*range(1, d + 1), 7.0], L @ L.transpose(0, 2, 1)
    rows = Measured(z[:, :d], z[:, d], E[:, :d, :d], E[:, d, d], E[:, :d, d], None, True)
    points = Standardised.of(rows)
    return z, E, Perpendicular.of(points, np.ones(d), scatter=scatter, outliers=outliers)


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("scatter", [True, False])
@pytest.mark.parametrize("outliers", [True, False])
def test_likelihood_is_that_of_the_distances(d, scatter, outliers):
    """Equation 35 from the unit normal and the full covariances, in the units of the data; and its gradient."""
    z, E, found = likelihood(0, d, scatter, outliers)
    theta = np.r_[np.random.default_rng(1).normal(size=d + 1), [2.0] * scatter, [-1.0, 3.0] * outliers]
    line, V, odds, U = found.split(theta)
    params, _ = found.points.unscale(line, np.eye(d + 1))
    V, U = V * found.points.y_scale**2, U * found.points.y_scale**2
    normal = np.r_[-params[1:], 1] / np.sqrt(1 + params[1:] @ params[1:])
    distance = z @ normal - params[0] / np.sqrt(1 + params[1:] @ params[1:])
    projected = np.einsum("nij,i,j->n", E, normal, normal)
    density = stats.norm.logpdf(distance, 0, np.sqrt(projected + V))
    if outliers:
        P = 1 / (1 + np.exp(-odds))
        broad = stats.norm.logpdf(distance, 0, np.sqrt(projected + V + U))
        density = np.logaddexp(np.log1p(-P) + density, np.log(P) + broad)
    value, gradient = found.loss(theta)
    assert_allclose(-value - len(z) * np.log(found.points.y_scale), density.sum(), rtol=1e-10)
    numeric = optimize.approx_fprime(theta, lambda t: found.loss(t)[0], 1e-7)
    assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-4)


def test_exact_rows_with_scatter_are_total_least_squares():
    """The first principal axis, and the smaller variance as that along the normal."""
    X, y, *_ = line_with_scatter(2)
    line = fit(Orthogonal(scatter=True), X, y, 0.0, 0.0)
    variances, axes = np.linalg.eigh(np.cov(np.column_stack([X[:, 0], y]).T, bias=True))
    assert_allclose(line.coef_[0], -axes[0, 0] / axes[1, 0], rtol=1e-8)
    assert_allclose(line.perpendicular_scatter_, np.sqrt(variances[0]), rtol=1e-7)
    assert_allclose(line.scatter_, line.perpendicular_scatter_ * np.hypot(1, line.coef_[0]), rtol=1e-12)


def test_it_turns_with_the_axes():
    """Rotate points and errors: the angle of the line, the scatter and the likelihood follow."""
    X, y, sx, sy = line_with_scatter(3)
    z, turn = np.column_stack([X[:, 0], y]), 0.5
    R = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    E = np.stack([np.diag([a**2, b**2]) for a, b in zip(sx[:, 0], sy)])
    z, E = z @ R.T, R @ E @ R.T
    there = fit(Orthogonal(scatter=True), X, y, sx, sy)
    turned = ErrorsInVariables(Orthogonal(scatter=True)).fit(
        z[:, :1],
        z[:, 1],
        X_cov=CovarianceStack.dense(E[:, :1, :1]),
        y_err=np.sqrt(E[:, 1, 1]),
        xy_cov=E[:, :1, 1],
    )
    angle = np.arctan(turned.coef_[0]) - np.arctan(there.coef_[0]) - turn
    assert_allclose(np.remainder(angle + 0.1, np.pi), 0.1, atol=1e-7)
    assert_allclose(turned.perpendicular_scatter_, there.perpendicular_scatter_, rtol=1e-6)
    assert_allclose(turned.log_likelihood_, there.log_likelihood_, rtol=1e-10)


def test_without_x_errors_or_scatter_it_is_weighted_least_squares():
    X, y, _, sy = line_with_scatter(4)
    line, ordinary = (
        ErrorsInVariables(Orthogonal()).fit(X, y, y_err=sy),
        LinearRegression().fit(X, y, y_err=sy),
    )
    assert_allclose(line.params_, ordinary.params_, rtol=1e-10)
    assert_allclose(line.params_cov_, ordinary.params_cov_, rtol=1e-9)


def test_predictions_carry_the_scatter_along_y():
    X, y, sx, sy = line_with_scatter(5)
    line = fit(Orthogonal(scatter=True), X, y, sx, sy)
    parts = line.predict_dist(X, X_err=sx, y_err=sy).variance_components
    assert_allclose(parts["model"], line.scatter_**2)
    assert_allclose(parts["noise"], sy**2)
    assert line.scatter_ > 0


@pytest.fixture(scope="module")
def fits_with_scatter():
    """100 fits of 80 points with equal errors of x and y: (slope, its error, scatter, its error, limit)."""
    found = []
    for seed in range(100):
        line = fit(Orthogonal(scatter=True), *line_with_scatter(seed))
        found.append(
            (
                line.coef_[0],
                line.coef_err_[0],
                line.scatter_,
                line.scatter_err_ or np.nan,
                line.scatter_limit_,
            )
        )
    return np.array(found)


def test_slope_scatter_and_limit_cover(fits_with_scatter):
    """Binomial bounds of 3 sigma around 95 % of 100: .885 to 1 (three statements, 0.4 % to fail if true)."""
    slope, slope_err, scatter, scatter_err, limit = fits_with_scatter.T
    truth = 0.3 * np.hypot(1, 2.0)
    assert np.mean(np.abs(slope - 2.0) < 1.96 * slope_err) >= 0.885
    assert np.mean(np.abs(scatter - truth) < 1.96 * scatter_err) >= 0.885
    assert 0.885 <= np.mean(limit > truth) < 1


def test_unequal_errors_bias_the_slope_as_stated():
    """By b (s_y^2 - s_x^2) / ((1 + b^2) var x): here 0.27, to first order; York has none of it."""
    b, errors, slopes, york = 2.0, (0.1, 0.8), [], []
    for seed in range(100):
        points = line_with_scatter(seed, errors=errors, scatter=0.0)
        slopes.append(fit(Orthogonal(scatter=True), *points).coef_[0] - b)
        york.append(fit("york", *points).coef_[0] - b)
    square = 13 / 12  # mean square of the sizes
    expected = b * square * (errors[1] ** 2 - errors[0] ** 2) / (1 + b**2)
    error = np.std(slopes) / 10
    assert abs(np.mean(slopes) - expected) < 0.25 * expected
    assert np.mean(slopes) > 8 * error
    assert abs(np.mean(york)) < 4 * np.std(york) / 10


def test_outliers_are_named_and_do_not_move_the_line():
    """8 of 80 points far off: found, and the line is that without them, where scatter alone takes them in."""
    X, y, sx, sy = line_with_scatter(6, scatter=0.0, outliers=8)
    line = fit(Orthogonal(outliers=True), X, y, sx, sy)
    clean = fit(Orthogonal(), X[:-8], y[:-8], sx[:-8], sy[:-8])
    assert abs(line.coef_[0] - clean.coef_[0]) < 0.5 * clean.coef_err_[0]
    assert np.mean(line.outlier_proba_[-8:]) > 0.7 and np.mean(line.outlier_proba_[:-8]) < 0.1
    assert 0.05 < line.outlier_fraction_ < 0.2
    swollen = fit(Orthogonal(scatter=True), X, y, sx, sy)
    assert swollen.scatter_ > 1
    assert fit(Orthogonal(scatter=True, outliers=True), X, y, sx, sy).scatter_ < 0.5


def test_without_outliers_none_are_found():
    line = fit(Orthogonal(outliers=True), *line_with_scatter(7, scatter=0.0))
    assert line.outlier_fraction_ < 0.05 and np.max(line.outlier_proba_) < 0.5


@pytest.mark.parametrize(
    ("method", "arguments", "word"),
    [
        (Orthogonal(scatter=0.3), {"y_err": 0.1}, "scatter is 0.3"),
        (Orthogonal(outliers="yes"), {"y_err": 0.1}, "outliers is 'yes'"),
        (Orthogonal(scatter=True), {"X_err": 0.1}, "y_err"),
        (Orthogonal(), {"X_err": 0.0, "y_err": 0.0}, "y_err contains zero"),
        (Orthogonal(outliers=True), {"X_err": 0.0, "y_err": 0.0}, "y_err contains zero"),
        (Orthogonal(), {"y_err": 0.1, "y_upper_limit": np.arange(80) < 2}, "y_upper_limit"),
    ],
)
def test_refusals(method, arguments, word):
    X, y, *_ = line_with_scatter(8)
    with pytest.raises(InputError) as caught:
        ErrorsInVariables(method).fit(X, y, **arguments)
    text = str(caught.value)
    assert word in text and "accepted" in text and "\n" not in text


def test_too_few_rows_for_a_scatter():
    X, y, sx, sy = line_with_scatter(9)
    with pytest.raises(InputError, match="n_samples=2 is too few"):
        fit(Orthogonal(scatter=True), X[:2], y[:2], sx[:2], sy[:2])
