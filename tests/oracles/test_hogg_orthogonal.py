"""Known lines through points with errors in both coordinates.

Hogg, Bovy & Lang (2010), exercises 13 and 14, to seven digits (hyperfit finds exercise
14 too); Pearson's points with York's weights, the standard example of the field.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize

from statml import datasets
from statml.regression import ErrorsInVariables, Orthogonal, York


@pytest.fixture(scope="module")
def hogg():
    """x, y, their errors and covariance; points 5 to 20."""
    table = datasets.load("hogg2010")[4:]
    x, y, sx, sy, rho = (table[name].data.astype(float) for name in ("x", "y", "x_err", "y_err", "rho_xy"))
    return x, y, sx, sy, rho * sx * sy


def fit(method, hogg):
    x, y, sx, sy, c = hogg
    return ErrorsInVariables(method).fit(x[:, None], y, X_err=sx[:, None], y_err=sy, xy_cov=c[:, None])


@pytest.mark.parametrize("method", [York(), Orthogonal()], ids=["york", "orthogonal"])
def test_exercise_13(hogg, method):
    """Without scatter, equation 32, which has no term of the variances: y = 2.2005 x + 35.95."""
    line = fit(method, hogg)
    assert_allclose(line.coef_[0], 2.200532, atol=6e-7)
    assert_allclose(line.intercept_, 35.94709, atol=6e-6)


def test_exercise_14(hogg):
    """With scatter, equation 35: V is at its boundary, so it has a limit and no standard error."""
    line = fit(Orthogonal(scatter=True), hogg)
    assert_allclose(line.coef_[0], 2.263105, atol=6e-7)
    assert_allclose(line.intercept_, 26.1756, atol=6e-5)
    assert line.scatter_ == line.perpendicular_scatter_ == 0
    assert line.scatter_err_ is None
    # hyperfit leaves out the factors 2 pi.
    assert_allclose(line.log_likelihood_ + 8 * np.log(2 * np.pi), -44.38526, atol=6e-6)


def test_the_limit_of_exercise_14_by_brute_force(hogg):
    """95 % of the posterior of s >= 0, intercept integrated exactly, slope on a grid."""
    x, y, sx, sy, c = hogg
    line = fit(Orthogonal(scatter=True), hogg)
    slope, scatter = np.linspace(1.5, 3.5, 401)[:, None], np.linspace(0, 60, 601)
    q = 1 + slope**2
    errors = sy**2 + slope**2 * sx**2 - 2 * slope * c
    log_mass = []
    for s in scatter:
        variance = errors + s**2 * q
        weight, residual = 1 / variance, y - slope * x
        total = weight.sum(axis=1)
        mean = (weight * residual).sum(axis=1) / total
        chi2 = (weight * (residual - mean[:, None]) ** 2).sum(axis=1)
        density = -0.5 * (chi2 + np.log(variance / q).sum(axis=1) + np.log(total))
        log_mass.append(np.logaddexp.reduce(density))
    mass = np.cumsum(np.exp(np.array(log_mass) - np.max(log_mass)))
    exact = np.interp(0.95, mass / mass[-1], scatter)
    # Along y at the slope that goes with the limit; Laplace's approximation costs about a per cent.
    slope_there = optimize.minimize_scalar(
        lambda m: profile(m, exact, hogg), bounds=(1.5, 3.5), method="bounded"
    ).x
    assert_allclose(line.scatter_limit_, exact * np.hypot(1, slope_there), rtol=0.02)


def profile(slope, s, hogg):
    """Minus log likelihood at a slope and scatter, the intercept maximised."""
    x, y, sx, sy, c = hogg
    variance = sy**2 + slope**2 * sx**2 - 2 * slope * c + s**2 * (1 + slope**2)
    residual = y - slope * x
    residual = residual - np.average(residual, weights=1 / variance)
    return 0.5 * np.sum(residual**2 / variance + np.log(variance / (1 + slope**2)))


@pytest.mark.parametrize("scatter", [False, True])
def test_outliers_of_the_whole_table_are_found(scatter):
    """Points 2, 3 and 4 are outliers, point 1 lies 1.5 sigma off; the line is that of points 5 to 20."""
    table = datasets.load("hogg2010")
    x, y, sx, sy, rho = (table[name].data.astype(float) for name in ("x", "y", "x_err", "y_err", "rho_xy"))
    method = Orthogonal(scatter=scatter, outliers=True)
    line = ErrorsInVariables(method, random_state=0).fit(
        x[:, None], y, X_err=sx[:, None], y_err=sy, xy_cov=(rho * sx * sy)[:, None]
    )
    assert np.all(line.outlier_proba_[1:4] > 0.999) and np.all(
        np.delete(line.outlier_proba_, [1, 2, 3]) < 0.2
    )
    assert abs(line.coef_[0] - 2.263105) < 0.5 * line.coef_err_[0]
    assert 0.1 < line.outlier_fraction_ < 0.3


def test_pearson_with_yorks_weights():
    """York (1966) and York et al. (2004): intercept 5.47991, slope -0.480533, S / (n - 2) = 1.4833."""
    x = np.array([0.0, 0.9, 1.8, 2.6, 3.3, 4.4, 5.2, 6.1, 6.5, 7.4])
    y = np.array([5.9, 5.4, 4.4, 4.6, 3.5, 3.7, 2.8, 2.8, 2.4, 1.5])
    x_weight = np.array([1000, 1000, 500, 800, 200, 80, 60, 20, 1.8, 1.0])
    y_weight = np.array([1, 1.8, 4, 8, 20, 20, 70, 70, 100, 500])
    line = ErrorsInVariables("york").fit(x[:, None], y, X_err=x_weight[:, None] ** -0.5, y_err=y_weight**-0.5)
    assert_allclose(line.params_, [5.47991022, -0.480533407], rtol=1e-8)
    assert_allclose(line.chi2_ / line.dof_, 1.4833, atol=6e-5)
    # The standard errors in closed form, at the adjusted points.
    assert_allclose(np.sqrt(np.diag(line.closed_form_cov_)), [0.29497, 0.05799], atol=6e-6)
