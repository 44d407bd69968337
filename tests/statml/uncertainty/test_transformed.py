"""A normal through a map: against closed forms, and against integrals by brute force."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from statml.errors import InputError
from statml.uncertainty import Gaussian, GaussianMixture, PredictiveDistribution, TransformedNormal
from statml.uncertainty.tabulation import averaged, plus_noise

GRID = np.linspace(-12, 12, 48_001)


def straight(mean, std):
    """Normals as two knots."""
    mean, std = np.broadcast_arrays(np.asarray(mean, float), np.asarray(std, float))
    y = mean[:, None] + std[:, None] * [-1.0, 1.0]
    return TransformedNormal(y, np.tile([-1.0, 1.0], (len(mean), 1)), np.tile(1 / std[:, None], (1, 2)))


def bent(seed=0, n=5, knots=9):
    """Random maps, some nearly flat in places: densities with gaps and peaks."""
    rng = np.random.default_rng(seed)
    y = np.cumsum(rng.uniform(0.1, 1, (n, knots)), axis=1) - 3
    z = np.cumsum(rng.exponential(0.7, (n, knots)), axis=1) - 2.5
    slope = rng.uniform(0.05, 3, (n, knots))
    slope[:, [0, -1]] = 2.0  # tails that end on the grid below
    return TransformedNormal(y, z, slope)


def by_hand(prediction):
    """Density and distribution function of one prediction on a fine grid."""
    return np.exp(prediction.log_prob(GRID[:, None])[:, 0]), prediction.cdf(GRID[:, None])[:, 0]


def test_two_knots_are_a_normal():
    mean, std, y = np.array([0.0, 5.0, -3.0]), np.array([1.0, 0.1, 20.0]), np.array([0.5, 4.8, 60.0])
    ours, normal = straight(mean, std), Gaussian(mean, std)
    assert_allclose(ours.mean, mean, atol=1e-12)
    assert_allclose(ours.std, std, rtol=1e-10)
    for name in ("cdf", "log_prob", "crps"):
        assert_allclose(getattr(ours, name)(y), getattr(normal, name)(y), rtol=1e-9)
    assert_allclose(ours.ppf(0.1), normal.ppf(0.1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("row", range(5))
def test_densities_moments_and_scores_by_brute_force(row):
    p = bent()[row]
    density, cdf = by_hand(p)
    assert_allclose(np.trapezoid(density, GRID), 1, atol=1e-6)
    mean = np.trapezoid(density * GRID, GRID)
    assert_allclose(p.mean, mean, atol=1e-5)
    assert_allclose(p.std, np.sqrt(np.trapezoid(density * (GRID - mean) ** 2, GRID)), rtol=1e-5)
    for y in (-6.0, -2.0, 0.013, 1.7, 7.0):
        expected = np.trapezoid((cdf - (y <= GRID)) ** 2, GRID)
        assert_allclose(p.crps(y), expected, atol=3e-4)  # half a step of the grid


def test_quantiles_are_inverses():
    p = bent(n=40)
    for probability in (1e-9, 0.01, 0.3, 0.5, 0.9, 1 - 1e-6):
        assert_allclose(p.cdf(p.ppf(probability)), probability, rtol=1e-8)
    assert_allclose(p.from_normal(p.to_normal(p.y[:, 3])[0]), p.y[:, 3], atol=1e-12)


def test_draws_follow_the_distribution():
    p = bent(n=2)
    draws = p.sample(4000, rng=1)
    assert draws.shape == (4000, 2)
    for j in range(2):
        assert stats.kstest(p[j].cdf(draws[:, j, None])[:, 0], "uniform").pvalue > 1e-3
    assert_allclose(p.sample(3, rng=1), draws[:3])


def test_slices_joins_and_pickles():
    p, q = bent(n=4), straight([1.0], [2.0])
    joined = PredictiveDistribution.concatenate([p, q, p[1]])
    assert len(joined) == 6 and len(p[1]) == 1
    y = np.linspace(-4, 9, 6)
    assert_allclose(joined.cdf(y)[:4], p.cdf(y[:4]))
    assert_allclose(joined[4].cdf(y[4]), q.cdf(y[4]))
    assert_allclose(joined.crps(y)[5], p[1].crps(y[5])[0], rtol=1e-6)
    assert_allclose(pickle.loads(pickle.dumps(joined)).std, joined.std)


@pytest.mark.parametrize("error", [1e-4, 0.03, 0.3, 1.0])
def test_noise_on_top_is_a_convolution(error):
    p = bent(n=5)
    ours = plus_noise(p, np.full(5, error))
    normal_z, weight = np.polynomial.hermite_e.hermegauss(101)
    weight = weight / weight.sum()
    for row in range(5):
        y = np.linspace(-6, 8, 400)
        if error < 0.1:
            expected = np.sum(weight * p[row].cdf((y[:, None] - error * normal_z)[..., None])[..., 0], axis=1)
        else:  # slices of the truth, fine enough for such an error
            density, _ = by_hand(p[row])
            step = GRID[1] - GRID[0]
            expected = step * stats.norm.cdf((y[:, None] - GRID[::20]) / error) @ density[::20] * 20
        assert_allclose(ours[row].cdf(y[:, None])[:, 0], expected, atol=1e-2)
    assert_allclose(ours.mean, p.mean, atol=2e-3)
    assert_allclose(ours.std, np.hypot(p.std, error), rtol=2e-3)


def test_noise_of_nothing_and_of_everything():
    p = bent(n=3)
    assert plus_noise(p, np.zeros(3)) is p
    some = plus_noise(p, np.array([0.0, 0.5, 0.0]))
    assert_allclose(some[0].cdf(0.3), p[0].cdf(0.3))
    assert some.std[1] > p.std[1]
    wide = plus_noise(p, np.full(3, 1e4))
    assert_allclose(wide.std, 1e4, rtol=1e-4)


def test_averages_are_mixtures():
    mean, std = np.array([[0.0, 1.0, 2.0, 6.0], [3.0, 3.0, 3.0, 4.0]]), np.array([1.0, 0.5, 1.0, 0.2])
    ours = averaged(straight(mean.ravel(), np.tile(std, 2)), 4)
    mixture = GaussianMixture(np.full(4, 0.25), mean, np.tile(std, (2, 1)))
    for y in (-2.0, 0.3, 2.5, 4.0, 6.1):
        assert_allclose(ours.cdf(y), mixture.cdf(y), atol=1e-4)
        assert_allclose(ours.crps(y), mixture.crps(y), atol=1e-3)
    assert_allclose(ours.std, mixture.std, rtol=1e-3)


@pytest.mark.parametrize(
    "knots",
    [
        ([[0.0]], [[0.0]], [[1.0]]),
        ([[0.0, 0.0]], [[0.0, 1.0]], [[1.0, 1.0]]),
        ([[0.0, 1.0]], [[0.0, 1.0]], [[1.0, 0.0]]),
        ([[0.0, 1.0]], [[0.0, 1.0, 2.0]], [[1.0, 1.0]]),
    ],
)
def test_maps_that_do_not_rise_are_refused(knots):
    with pytest.raises(InputError, match="accepted"):
        TransformedNormal(*knots)
