"""Abundances at points: from the sky to the plane, without a gradient, and correlated with themselves."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from statml.errors import InputError, InputTypeError
from statml.research.abundances import (
    Channel,
    Element,
    Environment,
    covariance,
    deproject,
    fit_correlation_length,
    remove_gradient,
    simulate,
    two_point,
)
from statml.research.abundances.correlation_model import Expected

CENTRE = (201.4 * u.deg, -29.9 * u.deg)


def observed(x, y, angle, tilt, distance):
    """On the sky: the inverse, by rotations and astropy."""
    along, across = x, y * np.cos(tilt)
    north = along * np.cos(angle) - across * np.sin(angle)
    east = along * np.sin(angle) + across * np.cos(angle)
    separation = np.arctan(np.hypot(east, north) / distance)
    return SkyCoord(*CENTRE).directional_offset_by(np.arctan2(east, north), separation)


def test_the_way_back_from_the_sky():
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 5, (2, 50)) * u.kpc
    for angle, tilt in ((0, 0), (35, 50), (210, 75)):
        sky = observed(x, y, angle * u.deg, tilt * u.deg, 5 * u.Mpc)
        found = deproject(
            sky.ra,
            sky.dec,
            centre=CENTRE,
            position_angle=angle * u.deg,
            inclination=tilt * u.deg,
            distance=5 * u.Mpc,
        )
        assert np.allclose(u.Quantity(found).to_value(u.kpc), [x.value, y.value], atol=1e-6)


def test_a_gradient_is_taken_away():
    rng = np.random.default_rng(1)
    x, y = rng.normal(0, 5, (2, 400)) * u.kpc
    z = 8.9 - 0.03 * np.hypot(x, y).value + rng.normal(0, 0.05, 400)
    found = remove_gradient(x, y, z, np.full(400, 0.05))
    assert abs(found.slope.to_value(1 / u.kpc) + 0.03) < 3 * found.slope_err.to_value(1 / u.kpc)
    assert found.at_centre == pytest.approx(8.9, abs=0.02)
    assert abs(np.corrcoef(found.residual, np.hypot(x, y).value)[0, 1]) < 1e-6
    assert remove_gradient(x.to(u.pc), y.to(u.pc), z, np.full(400, 0.05)).slope == found.slope


def test_all_pairs_one_by_one():
    rng = np.random.default_rng(2)
    places, z, err = rng.uniform(0, 3, (60, 2)), rng.normal(size=60), rng.uniform(0.2, 0.5, 60)
    edges = np.array([0.1, 0.5, 1.0, 2.0])
    found = two_point(*places.T * u.kpc, z, edges * u.kpc, err)
    w = 1 / (err**2 + np.var(z) - np.mean(err**2))
    off = z - np.average(z, weights=w)
    r = np.hypot(*(places[:, None] - places).transpose(2, 0, 1))
    for b in range(3):
        inside = (r > edges[b]) & (r <= edges[b + 1])
        xi = np.sum(np.outer(w * off, w * off)[inside]) / np.sum(np.outer(w, w)[inside])
        assert found.xi[b] == pytest.approx(xi / np.average(off**2, weights=w**2), rel=1e-9)
        assert found.pairs[b] == inside.sum() / 2
    assert found.dilution > 1


def test_points_of_a_simulated_field():
    """HII regions on maps of known theory: the mean correlation of 30 fields is the expected one, window, noise and all."""
    env = Environment(
        1 * u.kpc**2 / u.Gyr, t_star=1 * u.Gyr, cluster_rate=100 / u.kpc**2 / u.Gyr, mass_scatter2=1.0
    )
    wide = Channel("wide", 0.15 * u.kpc)
    metal = Element("X", {wide: 1.0}, {wide: 0 * u.Myr})
    fields = simulate(env, [metal], box=8 * u.kpc, grid=128, realisations=30, rng=3, progress=False)
    rng, pixel = np.random.default_rng(4), fields.pixel
    cells = rng.choice(64 * 64, 250, replace=False)
    rows, columns = np.divmod(cells, 64)  # a quarter of the box
    noise = np.sqrt(0.5 * covariance(metal, metal, env))
    bins = [0.1, 0.4, 0.8, 1.5, 2.5] * u.kpc
    found = [
        two_point(columns * pixel, rows * pixel, maps[0, 0][rows, columns] + rng.normal(0, noise, 250), bins)
        for maps in fields.product_maps
    ]
    products = np.array([each.xi * each.variance for each in found])
    variance = np.array([each.variance for each in found])
    ratio = products.mean(axis=0) / variance.mean()
    error = np.std(products - ratio * variance[:, None], axis=0, ddof=1) / variance.mean() / np.sqrt(30)
    expected = Expected.within(found[0].window)(np.array([150.0**2]), np.array([1e6]), np.array([1.5]))
    assert np.abs((ratio - expected) / error).max() < 3.5
    # And it can be fitted as it is, with the scatter of the fields.
    xi = np.array([each.xi for each in found])
    fit = fit_correlation_length(
        found[0].separation, xi[0], cov=np.cov(xi.T), realisations=30, window=found[0].window, rng=0
    )
    assert 0.02 < fit.probability_below("l_corr", 1 * u.kpc) < 0.98


def test_jackknife_errors_are_larger_than_none():
    rng = np.random.default_rng(5)
    x, y = rng.uniform(0, 10, (2, 500)) * u.kpc
    found = two_point(x, y, np.sin(x.value) + rng.normal(0, 0.5, 500), [0.2, 1, 2, 4] * u.kpc, regions=16)
    assert found.cov.shape == (3, 3) and np.all(np.linalg.eigvalsh(found.cov) > 0)


@pytest.mark.parametrize(
    "ask, error, words",
    [
        (lambda x: two_point(x.value, x, np.arange(9), [0, 1] * u.kpc), InputTypeError, "no unit"),
        (lambda x: two_point(x, x, np.arange(8), [0, 1] * u.kpc), InputError, "dz"),
        (lambda x: two_point(x, x, np.full(9, np.nan), [0, 1] * u.kpc), InputError, "not finite"),
        (lambda x: two_point(x, x, np.arange(9.0), [0, 1] * u.kpc, np.zeros(9)), InputError, "err"),
        (lambda x: two_point(x, x, np.arange(9.0), [50, 60] * u.kpc), InputError, "bin without"),
        (lambda x: two_point(x, x, np.arange(9.0), [6, 5] * u.kpc), InputError, "bins has shape"),
        (lambda x: two_point(x, x, np.ones(9), [0, 1] * u.kpc), InputError, "dz is 1 everywhere"),
        (lambda x: two_point(x, x, np.arange(9.0), [0, 1] * u.kpc, -0.1), InputError, "err"),
        (lambda x: remove_gradient(x, x, np.arange(8.0)), InputError, "accepted are equal"),
        (
            lambda x: deproject(
                x, x, centre=CENTRE, position_angle=0 * u.deg, inclination=0 * u.deg, distance=1 * u.Mpc
            ),
            InputError,
            "ra is in kpc",
        ),
        (
            lambda x: deproject(
                *[x.value * u.deg] * 2,
                centre=CENTRE,
                position_angle=0 * u.deg,
                inclination=90 * u.deg,
                distance=1 * u.Mpc,
            ),
            InputError,
            "less than 90",
        ),
    ],
)
def test_bad_input_is_one_sentence(ask, error, words):
    with pytest.raises(error, match=words) as found:
        ask(np.arange(1.0, 10.0) * u.kpc)
    assert "\n" not in str(found.value)
