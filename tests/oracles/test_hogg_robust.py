"""Hogg, Bovy & Lang (2010): the outlier mixture on all 20 points, and the jackknife on points 5 to 20.

The numbers were computed independently of this library, with the paper's equation 17;
the likelihood is written down here once more, densely, and maximised by another optimiser.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize

from statml import datasets
from statml.regression import LinearRegression, RobustRegression
from statml.uncertainty import jackknife


@pytest.fixture(scope="module")
def hogg():
    table = datasets.load("hogg2010")
    return tuple(table[name].data.astype(float) for name in ("x", "y", "y_err"))


@pytest.fixture(scope="module")
def mixture(hogg):
    x, y, err = hogg
    return RobustRegression(method="mixture", random_state=0).fit(x[:, None], y, y_err=err)


def log_likelihood(theta, x, y, err):
    """Equation 17 of the paper: theta = (b, m, P, Y, ln V)."""
    b, m, fraction, mean, log_variance = theta
    bad = np.exp(log_variance) + err**2
    good = (1 - fraction) * np.exp(-0.5 * ((y - b - m * x) / err) ** 2) / err
    return np.sum(
        np.log(good + fraction * np.exp(-0.5 * (y - mean) ** 2 / bad) / np.sqrt(bad))
        - 0.5 * np.log(2 * np.pi)
    )


def theta_of(model):
    shape = [model.outlier_fraction_, model.outlier_mean_, 2 * np.log(model.outlier_scatter_)]
    return np.concatenate([model.params_, shape])


def test_mixture_of_all_twenty_points(mixture):
    assert_allclose(mixture.coef_[0], 2.25882, atol=6e-6)
    assert_allclose(mixture.intercept_, 32.0028, atol=6e-5)
    assert_allclose(mixture.outlier_fraction_, 0.2573, atol=6e-5)
    assert_allclose(mixture.outlier_mean_, 447.39, atol=6e-3)
    assert_allclose(2 * np.log(mixture.outlier_scatter_), 8.533, atol=6e-4)
    assert_allclose(mixture.log_likelihood_, -105.17441, atol=6e-6)
    assert mixture.scatter_ == 0


def test_the_mixture_line_is_that_of_the_good_points(mixture):
    """Points 2 to 4 are outliers; with point 1 in doubt the line is close to that of points 5 to 20."""
    assert np.flatnonzero(mixture.outlier_proba_ > 0.5).tolist() == [1, 2, 3]
    assert 0.1 < mixture.outlier_proba_[0] < 0.5
    assert abs(mixture.coef_[0] - 2.23992) < 0.5 * mixture.coef_err_[0]
    assert mixture.coef_err_[0] > 0.10778  # not knowing which points are good costs something


def test_no_other_optimiser_finds_more(hogg, mixture):
    """Nelder-Mead on the dense likelihood from 12 random starts."""
    assert_allclose(log_likelihood(theta_of(mixture), *hogg), mixture.log_likelihood_, atol=1e-9)
    rng = np.random.default_rng(0)
    best = -np.inf
    for _ in range(12):
        start = [rng.normal(100, 100), rng.normal(2, 1), rng.uniform(0.05, 0.5), rng.normal(400, 100), 8.0]
        found = optimize.minimize(
            lambda t: -log_likelihood(t, *hogg) if 0 < t[2] < 1 else np.inf,
            start,
            method="Nelder-Mead",
            options={"maxiter": 4000, "xatol": 1e-8, "fatol": 1e-10},
        )
        if found.x[2] < 0.5:
            best = max(best, -found.fun)
    assert best < mixture.log_likelihood_ + 1e-7
    assert best > mixture.log_likelihood_ - 1e-4  # the starts do find it


def test_covariance_is_that_of_the_whole_information(hogg, mixture):
    """Second differences of the dense likelihood, outlier parameters included."""
    theta = theta_of(mixture)
    steps = 1e-3 * np.array([18.0, 0.11, 0.1, 20.0, 0.5])
    hessian = np.empty((5, 5))
    for i in range(5):
        for j in range(5):
            corners = [
                a
                * b
                * log_likelihood(
                    theta + a * steps * (np.arange(5) == i) + b * steps * (np.arange(5) == j), *hogg
                )
                for a in (1, -1)
                for b in (1, -1)
            ]
            hessian[i, j] = sum(corners) / (4 * steps[i] * steps[j])
    covariance = np.linalg.inv(-hessian)[:2, :2]
    assert_allclose(mixture.params_cov_, covariance, rtol=1e-4)
    line_alone = np.linalg.inv(-hessian[:2, :2])
    assert not np.allclose(mixture.params_cov_, line_alone, rtol=1e-3)


def test_jackknife_of_points_5_to_20(hogg):
    """Standard errors 0.16649 and 29.275, half as large again as the formula's 0.108 and 18."""
    x, y, err = (values[4:] for values in hogg)
    found = jackknife(LinearRegression(), x[:, None], y, y_err=err)
    assert found.refits.shape == (16, 2)
    assert_allclose(found.std[1], 0.16649, atol=6e-6)
    assert_allclose(found.std[0], 29.275, atol=6e-4)
    assert_allclose(found.params, [34.0477, 2.23992], atol=6e-5)
