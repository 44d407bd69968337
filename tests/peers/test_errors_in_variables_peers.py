"""Lines with errors in both coordinates beside odrpack and hyperfit.

odrpack minimises York's chi2 over the true points as well as the line; with correlated
errors it does so as an implicit problem, one inverse 2 x 2 covariance for each point.
hyperfit maximises the likelihood of `Orthogonal(scatter=True)`; it stops a simplex at its
tolerance, so five digits are compared, and its likelihood to eight.
"""

import numpy as np
import pytest
from hyperfit.linfit import LinFit
from numpy.testing import assert_allclose
from odrpack import odr_fit

from statml import datasets
from statml.regression import ErrorsInVariables, Orthogonal
from statml.uncertainty import CovarianceStack

TIGHT = {"sstol": 1e-15, "partol": 1e-15, "maxit": 1000}


def hogg():
    table = datasets.load("hogg2010")[4:]
    x, y, sx, sy, rho = (table[name].data.astype(float) for name in ("x", "y", "x_err", "y_err", "rho_xy"))
    return x, y, sx, sy, rho * sx * sy


def simulated(seed):
    """A line of random slope, 40 points, errors of different size, correlated."""
    rng = np.random.default_rng(seed)
    slope = np.tan(rng.uniform(-1.3, 1.3))
    xi = rng.normal(0, 3, 40)
    sx, sy, rho = rng.uniform(0.2, 1, 40), rng.uniform(0.2, 1, 40), rng.uniform(-0.9, 0.9, 40)
    u, v = rng.normal(size=(2, 40))
    x, y = xi + sx * u, 1 + slope * xi + sy * (rho * u + np.sqrt(1 - rho**2) * v)
    return x, y, sx, sy, rho * sx * sy


def york(x, y, sx, sy, c=None):
    return ErrorsInVariables("york").fit(
        x[:, None], y, X_err=sx[:, None], y_err=sy, xy_cov=None if c is None else c[:, None]
    )


@pytest.mark.parametrize("points", [hogg(), *map(simulated, range(5))], ids=["hogg", *"01234"])
def test_independent_errors_against_odrpack(points):
    """Line, chi2, and York's closed-form covariance, which is the one odrpack gives."""
    x, y, sx, sy, _ = points
    line = york(x, y, sx, sy)
    peer = odr_fit(
        lambda x, b: b[0] + b[1] * x,
        x,
        y,
        np.polyfit(x, y, 1)[::-1],
        weight_x=sx**-2,
        weight_y=sy**-2,
        jac_beta=lambda x, b: np.array([np.ones_like(x), x]),
        jac_x=lambda x, b: np.full_like(x, b[1]),
        **TIGHT,
    )
    assert_allclose(line.chi2_, peer.sum_square, rtol=1e-10)
    assert_allclose((line.params_ - peer.beta) / np.sqrt(np.diag(line.params_cov_)), 0, atol=1e-6)
    assert_allclose(line.closed_form_cov_, peer.cov_beta, rtol=1e-5)


def test_hogg_without_correlation():
    """The published run of odrpack stops at its default tolerance: 2.299760, 21.03651."""
    line = york(*hogg()[:4])
    assert_allclose(line.coef_[0], 2.299760, rtol=1e-5)
    assert_allclose(line.intercept_, 21.03651, rtol=2e-4)


@pytest.mark.parametrize("points", [hogg(), *map(simulated, range(5))], ids=["hogg", *"01234"])
def test_correlated_errors_against_odrpack(points):
    x, y, sx, sy, c = points
    line = york(*points)
    errors = np.array([[sx**2, c], [c, sy**2]]).transpose(2, 0, 1)
    ones = np.ones(len(x))
    peer = odr_fit(
        lambda z, b: z[1] - b[0] - b[1] * z[0],
        np.array([x, y]),
        np.zeros(len(x)),
        york(x, y, sx, sy).params_,
        weight_x=np.ascontiguousarray(np.linalg.inv(errors).transpose(1, 2, 0)),
        task="implicit-ODR",
        jac_beta=lambda z, b: np.array([-ones, -z[0]]),
        jac_x=lambda z, b: np.array([-b[1] * ones, ones]),
        maxit=1000,
    )
    # The constraint is met by a penalty, to about six digits.
    assert_allclose(line.chi2_, peer.sum_square, rtol=1e-5)
    assert_allclose((line.params_ - peer.beta) / np.sqrt(np.diag(line.params_cov_)), 0, atol=1e-4)


def test_two_features_against_odrpack():
    rng = np.random.default_rng(4)
    n, slopes = 80, np.array([1.0, -0.5])
    xi = rng.normal(size=(n, 2)) * [1, 3]
    L = rng.normal(size=(n, 2, 2)) * 0.2
    S, sy = L @ L.transpose(0, 2, 1) + 0.01 * np.eye(2), rng.uniform(0.1, 0.5, n)
    X = xi + np.einsum("nij,nj->ni", np.linalg.cholesky(S), rng.normal(size=(n, 2)))
    y = 2 + xi @ slopes + sy * rng.normal(size=n)
    line = ErrorsInVariables("york").fit(X, y, X_cov=CovarianceStack.dense(S), y_err=sy)
    peer = odr_fit(
        lambda x, b: b[0] + b[1] * x[0] + b[2] * x[1],
        X.T,
        y,
        np.r_[2, slopes],
        weight_x=np.ascontiguousarray(np.linalg.inv(S).transpose(1, 2, 0)),
        weight_y=sy**-2,
        **TIGHT,
    )
    assert_allclose(line.chi2_, peer.sum_square, rtol=1e-9)
    assert_allclose((line.params_ - peer.beta) / np.sqrt(np.diag(line.params_cov_)), 0, atol=1e-4)
    assert_allclose(line.closed_form_cov_, peer.cov_beta, rtol=1e-4)


def hyperfit(z, errors, bounds):
    np.random.seed(0)  # noqa: NPY002 - its search uses the global generator
    peer = LinFit(z.T, errors.transpose(1, 2, 0))
    coords, _, log_likelihood = peer.optimize(bounds, tol=1e-12)
    return np.r_[coords[-1], coords[:-1]], log_likelihood


def test_exercise_14_against_hyperfit():
    x, y, sx, sy, c = hogg()
    errors = np.array([[sx**2, c], [c, sy**2]]).transpose(2, 0, 1)
    line = ErrorsInVariables(Orthogonal(scatter=True)).fit(
        x[:, None], y, X_err=sx[:, None], y_err=sy, xy_cov=c[:, None]
    )
    params, log_likelihood = hyperfit(np.column_stack([x, y]), errors, [(0, 5), (-100, 200), (1e-8, 50)])
    assert_allclose(line.params_, params, rtol=1e-5)
    assert_allclose(line.log_likelihood_ + len(x) / 2 * np.log(2 * np.pi), log_likelihood, rtol=1e-8)


def test_scatter_in_two_dimensions_against_hyperfit():
    """Two features, scatter along the normal, errors of x and y correlated."""
    rng = np.random.default_rng(3)
    n, slopes = 60, np.array([1.5, -0.7])
    normal = np.r_[-slopes, 1] / np.sqrt(1 + slopes @ slopes)
    xi, L = rng.normal(size=(n, 2)) * [1, 2], rng.normal(size=(n, 3, 3)) * 0.2
    z = np.column_stack([xi, 1 + xi @ slopes]) + 0.4 * rng.normal(size=(n, 1)) * normal
    z += np.einsum("nij,nj->ni", L, rng.normal(size=(n, 3)))
    errors = L @ L.transpose(0, 2, 1)
    line = ErrorsInVariables(Orthogonal(scatter=True)).fit(
        z[:, :2],
        z[:, 2],
        X_cov=CovarianceStack.dense(errors[:, :2, :2]),
        y_err=np.sqrt(errors[:, 2, 2]),
        xy_cov=errors[:, :2, 2],
    )
    params, log_likelihood = hyperfit(z, errors, [(-5, 5), (-5, 5), (-5, 5), (1e-8, 3)])
    assert_allclose(line.params_, params, rtol=1e-5)
    assert_allclose(line.log_likelihood_ + n / 2 * np.log(2 * np.pi), log_likelihood, rtol=1e-8)
