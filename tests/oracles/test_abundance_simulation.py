"""Simulated maps against the closed forms, of which the simulator knows nothing.

Three products with the delays 0, 0.15 and 0.3 t_*, clusters that drift fast (sigma_v = 3 l_corr / t_*; 5.7 in a galaxy), masses of
unit relative variance, squares of eight correlation lengths: the set-up of the brief that these theories were checked with.
Single numbers are compared at 3 standard errors of the realisations' mean (chance 0.3 to 0.5 % each, as the errors are
estimated too), of which there are some forty in this module; seeds are fixed.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from astropy import units as u
from scipy import ndimage

from statml.research.abundances import (
    Channel,
    Element,
    Environment,
    correlation_matrix,
    covariance,
    cumulant,
    gaussian_fields,
    mean,
    observe_stars,
    power_spectrum,
    simulate,
)
from statml.research.abundances.deposit import Events, needed_grid, spectra, to_maps

BOX = 8 * u.kpc
EDGES = np.geomspace(0.8, 25, 11) / u.kpc


def environment(drift=3.0, **others):
    """l_corr = 1 kpc and t_* = 1 Gyr."""
    return Environment(
        1 * u.kpc**2 / u.Gyr,
        t_star=1 * u.Gyr,
        cluster_rate=200 / u.kpc**2 / u.Gyr,
        mass_scatter2=1.0,
        drift=drift * u.kpc / u.Gyr,
        **others,
    )


def products(widths=(0.1, 0.1, 0.08), delays=(0.0, 0.15, 0.3), **channel):
    found = []
    for symbol, width, delay in zip("ABC", widths, delays):
        made_by = Channel(symbol.lower(), width * u.kpc, **channel)
        found.append(Element(symbol, {made_by: 1.0}, {made_by: delay * u.Gyr}))
    return found


def matrix(elements, env, **how):
    return np.array([[covariance(x, y, env, **how) for y in elements] for x in elements])


def deviations(measured, theory):
    off = measured.mean - theory
    exact = np.abs(off) < 1e-9  # a correlation with itself has no error
    return np.where(exact, 0.0, off / np.where(exact, 1.0, np.maximum(measured.std_error, 1e-300)))


def power_deviations(fields, x, y, theory_of=None, edges=EDGES, lag=0, **how):
    """Of the power of elements number x and y in every bin of wavenumber."""
    elements = fields.elements
    measured, _, k = fields.found.power(edges, lag)
    of = theory_of or (
        lambda k: (
            (power_spectrum(k, elements[x], elements[y], fields.env, **how) / fields.env.length_unit**2).value
        )
    )
    theory = fields.found.in_bins(of(k), edges)
    # Below a millionth of the largest power is the rounding of single precision.
    seen = np.abs(theory) > 1e-6 * measured.mean[x, x].max()
    return ((measured.mean[x, y] - theory) / measured.std_error[x, y])[seen]


class Run:
    """Fields with the elements and the environment that they are of."""

    def __init__(self, elements, env, *, make=simulate, **how):
        self.elements, self.env = elements, env
        self.found = make(env, elements, **how)


@functools.cache
def three_products():
    return Run(products(), environment(), box=BOX, grid=256, realisations=40, rng=1, progress=False)


# --- the deposit beside a sum of Gaussians ---


def gaussians(x, y, weight, variance, grid):
    k = 2 * np.pi * np.fft.fftfreq(grid, 1 / grid)
    across = np.abs(k[: grid // 2 + 1])
    total = np.zeros((grid, grid // 2 + 1), complex)
    for a, b, w, s in zip(x, y, weight, variance):
        total += w * np.outer(
            np.exp(-1j * k * b - k**2 * s / 2), np.exp(-1j * across * a - across**2 * s / 2)
        )
    return total


def laid(x, y, weight, variance, grid, dtype=torch.float64):
    x, y, weight, variance = (torch.as_tensor(each, dtype=dtype) for each in (x, y, weight, variance))
    events = Events(x, y, weight, variance, torch.zeros(len(x), dtype=torch.int64))
    return spectra(events, 1, grid)[0].numpy()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_events_are_gaussians(dtype):
    rng, grid = np.random.default_rng(0), 96
    narrowest = np.sqrt(-2 * np.log(1e-5)) / np.pi / grid
    assert needed_grid(narrowest * 1.001) == grid
    x, y = rng.random((2, 300))
    weight, variance = rng.gamma(1, 1, 300), np.exp(rng.uniform(2 * np.log(narrowest), np.log(0.05), 300))
    ours, exact = laid(x, y, weight, variance, grid, dtype), gaussians(x, y, weight, variance, grid)
    maps, truth = (np.fft.irfft2(each, s=(grid, grid)) for each in (ours, exact))
    assert np.std(maps - truth) < 2e-3 * truth.std()
    assert ours[0, 0] == pytest.approx(weight.sum(), rel=1e-6)
    squared = np.add.outer(np.fft.fftfreq(grid, 1 / grid) ** 2, np.arange(grid // 2 + 1) ** 2)
    for low, high in ((1, 3), (3, 8), (8, 16), (16, 24)):
        shell = (squared >= low**2) & (squared < high**2)
        ratio = np.sum(np.abs(ours[shell]) ** 2) / np.sum(np.abs(exact[shell]) ** 2)
        assert ratio == pytest.approx(1, abs=2e-3 if low < 16 else 1e-2)


def test_one_event_of_any_width_is_normalised_and_in_its_place():
    for variance in (1.6e-4, 1e-3, 1e-2):
        spectrum = torch.as_tensor(laid([38 / 128], [90 / 128], [2.0], [variance], 128))
        found = to_maps(spectrum, 128).numpy()
        assert np.unravel_index(found.argmax(), found.shape) == (90, 38)
        assert found.mean() == pytest.approx(2.0)
        assert found.max() == pytest.approx(2 / (2 * np.pi * variance), rel=2e-3)


# --- section 3 of the brief ---


def test_means():
    run = three_products()
    assert np.abs(deviations(run.found.mean(), [mean(x, run.env) for x in run.elements])).max() < 3


def test_variances_and_covariances():
    run = three_products()
    expected = matrix(run.elements, run.env) - run.found.missing_variance
    assert np.abs(deviations(run.found.covariance(), expected)).max() < 3


def test_correlations():
    run = three_products()
    expected = matrix(run.elements, run.env) - run.found.missing_variance
    scale = np.sqrt(np.diag(expected))
    found = run.found.correlation()
    off = ~np.eye(3, dtype=bool)
    assert np.abs(deviations(found, expected / np.outer(scale, scale))[off]).max() < 3
    assert np.allclose(np.diagonal(found.mean), 1)


def test_third_cumulants():
    run = three_products()
    expected = [cumulant(x, run.env, 3) for x in run.elements]
    assert np.abs(deviations(run.found.third_cumulant(), expected)).max() < 3
    assert run.found.skewness().mean.min() > 0.1


@pytest.mark.parametrize("pair", [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)])
def test_power_mode_by_mode(pair):
    found = power_deviations(three_products(), *pair)
    assert np.abs(found).max() < 3
    assert np.sum(found**2) < 29.6  # chi2 of 10, 0.1 %


def test_correlation_with_distance():
    run, r = three_products(), [0, 0.1, 0.3, 0.8, 1.2] * u.kpc
    found = run.found.cross_correlation(r)
    for x, y in ((0, 0), (0, 1)):
        theory = covariance(run.elements[x], run.elements[y], run.env, r)
        # What the box lacks is the same at all r.
        ours = (found.mean[x, y] + run.found.missing_variance[x, y] - theory) / found.std_error[x, y]
        assert np.abs(ours).max() < 3


@pytest.mark.slow
def test_isotropic_accepted_and_aligned_rejected():
    """100 realisations with the widths of the brief: rho of the released kernel is off by more than 4 standard errors."""
    elements, env = products((0.05, 0.08, 0.04)), environment()
    run = Run(elements, env, box=BOX, grid=512, realisations=100, rng=2, progress=False)
    measured, off = run.found.covariance(), ~np.eye(3, dtype=bool)
    ours = deviations(measured, matrix(elements, env) - run.found.missing_variance)
    released = deviations(measured, matrix(elements, env, drift="aligned") - run.found.missing_variance)
    print("isotropic", ours[off].round(1), "aligned", released[off].round(1))
    assert np.abs(ours).max() < 3
    assert np.abs(released[off]).min() > 4
    rho = run.found.correlation()
    for drift, accepted in (("isotropic", True), ("aligned", False)):
        expected = matrix(elements, env, drift=drift) - run.found.missing_variance
        scale = np.sqrt(np.diag(expected))
        worst = np.abs(deviations(rho, expected / np.outer(scale, scale))[off])
        assert worst.max() < 3 if accepted else worst.max() > 4


# --- the four ways to move, particle by particle ---


def moved(drift, seed, realisations=60, speed=3.0, **how):
    """Two products, 0.15 t_* apart; half an epicycle takes 0.08 t_*."""
    env = environment(drift=speed, epicyclic_frequency=40 / u.Gyr)
    elements = products((0.1, 0.1), (0.1, 0.25))
    how = {"box": 6 * u.kpc, "grid": 96, "drift": drift, "rng": seed, "progress": False, **how}
    return Run(elements, env, realisations=realisations, **how)


@pytest.mark.parametrize("drift, seed", [("isotropic", 11), ("dispersing", 12), ("epicyclic", 13)])
def test_drifts(drift, seed):
    run = moved(drift, seed)
    edges = np.geomspace(1.0, 20, 9) / u.kpc
    for pair in ((0, 0), (0, 1), (1, 1)):
        assert np.abs(power_deviations(run, *pair, edges=edges, drift=drift)).max() < 3.5
    # The other two are not what was simulated.
    others = {"isotropic", "dispersing", "epicyclic"} - {drift}
    assert all(np.abs(power_deviations(run, 0, 1, edges=edges, drift=other)).max() > 4 for other in others)


@pytest.mark.slow
def test_a_cluster_of_few_stars_dissolves():
    """Three stars each: a third of the power of a product with itself is of single stars, which drift does not blur."""
    run, stars = moved("dispersing", 14, realisations=40, stars_per_cluster=3), 3
    edges = np.geomspace(1.0, 20, 9) / u.kpc
    still = run.env.replace(drift=0 * u.km / u.s)

    def expected(k):
        smooth, single = (
            (
                power_spectrum(k, run.elements[1], run.elements[1], env, drift="dispersing")
                / env.length_unit**2
            ).value
            for env in (run.env, still)
        )
        return (1 - 1 / stars) * smooth + single / stars

    assert np.abs(power_deviations(run, 1, 1, expected, edges)).max() < 3.5
    assert np.abs(power_deviations(run, 0, 1, edges=edges, drift="dispersing")).max() < 3.5


@pytest.mark.slow
def test_aligned_is_right_for_waves_along_the_drift():
    """Clusters that all move along one axis, with the speed of a two-dimensional normal: waves along it see cos(k v dt)."""
    run = moved("aligned", 15, realisations=120, speed=6.0)
    maps = run.found.product_maps[:, 0]
    n, side = maps.shape[-1], (6 * u.kpc / run.env.length_unit).to_value(u.one)
    along = np.fft.rfft(maps.mean(axis=-2), axis=-1)[..., 1:5] / n
    power = (along[:, 0] * along[:, 1].conj()).real * side**2
    k = 2 * np.pi * np.arange(1, 5) / (6 * u.kpc)
    for drift, accepted in (("aligned", True), ("isotropic", False)):
        theory = (power_spectrum(k, *run.elements, run.env, drift=drift) / run.env.length_unit**2).value
        worst = np.abs(
            (power.mean(axis=0) - theory) / (power.std(axis=0, ddof=1) / np.sqrt(len(power)))
        ).max()
        assert worst < 3.5 if accepted else worst > 4


# --- rare events, two times, beams, noise ---


def test_rare_events_with_kicks_and_scattered_yields():
    env = environment()
    rare = Channel("rare", 0.1 * u.kpc, kick=1 * u.kpc / u.Gyr, events_per_cluster=0.5, yield_scatter=0.7)
    steady = products()[0]
    elements = [steady, Element("R", {rare: 1.0}, {rare: 0.2 * u.Gyr})]
    run = Run(elements, env, box=6 * u.kpc, grid=96, realisations=80, rng=21, progress=False)
    expected = matrix(elements, env) - run.found.missing_variance
    assert np.abs(deviations(run.found.covariance(), expected)).max() < 3
    assert np.abs(deviations(run.found.mean(), [mean(x, env) for x in elements])).max() < 3
    for pair in ((0, 1), (1, 1)):
        assert np.abs(power_deviations(run, *pair, edges=np.geomspace(1.1, 20, 8) / u.kpc)).max() < 3.5


def test_rare_events_weaken_a_correlation_by_the_known_factor():
    env = environment(drift=0.0)
    many, few = (
        Channel(name, 0.1 * u.kpc, events_per_cluster=n) for name, n in (("many", np.inf), ("few", 0.5))
    )
    elements = [Element(c.name, {c: 1.0}, {c: 0 * u.Myr}) for c in (many, few)]
    run = Run(elements, env, box=6 * u.kpc, grid=96, realisations=60, rng=22, progress=False)
    assert np.abs(deviations(run.found.correlation(), 0.5**0.5)[0, 1]) < 3  # 1 / sqrt(1 + 1 / (0.5 * 2))


def test_events_elsewhere_are_independent():
    env, alone = environment(), Channel("alone", 0.1 * u.kpc, events_per_cluster=0.5, clustered=False)
    elements = [products()[0], Element("R", {alone: 1.0}, {alone: 0.1 * u.Gyr})]
    run = Run(elements, env, box=6 * u.kpc, grid=96, realisations=60, rng=23, progress=False)
    expected = matrix(elements, env) - run.found.missing_variance
    assert expected[0, 1] == 0
    assert np.abs(deviations(run.found.covariance(), expected)).max() < 3


def test_two_times():
    """The slow product seen 0.15 t_* later is where the fast one was."""
    env, lag = environment(), 0.15 * u.Gyr
    elements = products((0.1, 0.1), (0.0, 0.15))
    run = Run(
        elements,
        env,
        box=6 * u.kpc,
        grid=96,
        realisations=40,
        lags=[0, 0.15] * u.Gyr,
        rng=24,
        progress=False,
    )
    found = run.found.cross_correlation([0, 0.3, 0.8] * u.kpc, lag=1)
    for x, y in ((0, 1), (0, 0), (1, 1)):
        # At k = 0 the pair has in common what the first has made by its time, or the second by its later one.
        delays = [element.contributions[0][2] / 1000 for element in (elements[x], elements[y])]
        lost = 2 * min(1 - delays[0], 1.15 - delays[1]) * env.t_star.to_value(u.Gyr) / 36
        lost *= 200 * (env.length_unit.to_value(u.kpc)) ** 4
        theory = covariance(elements[x], elements[y], env, [0, 0.3, 0.8] * u.kpc, lag) - lost
        assert np.abs((found.mean[x, y] - theory) / found.std_error[x, y]).max() < 3
    assert run.found.correlation(1).mean[0, 1] > run.found.correlation().mean[0, 1] + 0.1


def test_a_beam_widens_every_injection():
    run = three_products()
    sigma = 0.15 * u.kpc
    pixels = (sigma / run.found.pixel).to_value(u.one)
    seen = np.array(
        [ndimage.gaussian_filter(maps[0, 0], pixels, mode="wrap") for maps in run.found.product_maps]
    )
    variance = seen.var(axis=(1, 2), dtype=float)
    widened = products((np.hypot(0.1, 0.15),))[0]
    expected = covariance(widened, widened, run.env) - run.found.missing_variance[0, 0]
    assert abs(variance.mean() - expected) < 3 * variance.std(ddof=1) / np.sqrt(len(variance))


def test_noise_attenuates_a_correlation():
    run, rng = three_products(), np.random.default_rng(31)
    two = run.elements[:2]
    theory = correlation_matrix(two, run.env)
    sigma_dex = 0.15
    # Errors of a logarithm are errors of mean * ln 10 in what is measured.
    noise = sigma_dex * np.log(10) * np.array([mean(x, run.env) for x in two])
    maps = run.found.maps[:, 0, :2]
    noisy = maps + noise[:, None, None] * rng.standard_normal(maps.shape)
    rho = np.array([np.corrcoef(each.reshape(2, -1))[0, 1] for each in noisy])
    # The box lacks its largest waves, in theory as in the maps.
    expected = matrix(two, run.env) - run.found.missing_variance[:2, :2]
    phi = 1 + noise**2 / np.diag(expected)
    attenuated = expected[0, 1] / np.sqrt(np.prod(np.diag(expected)) * np.prod(phi))
    assert abs(rho.mean() - attenuated) < 3 * rho.std(ddof=1) / np.sqrt(len(rho))
    ratio = observe_stars(theory, sigma_dex).values[0, 1] / theory.values[0, 1]
    assert ratio == pytest.approx(1 / np.sqrt(np.prod(1 + noise**2 / np.diag(matrix(two, run.env)))))


# --- what only a simulation of events has ---


def test_gaussian_fields_have_the_powers_and_no_skewness():
    elements, env = products()[:2], environment()
    run = Run(elements, env, make=gaussian_fields, box=BOX, grid=128, realisations=40, rng=41)
    edges = np.geomspace(0.8, 20, 9) / u.kpc
    for pair in ((0, 0), (0, 1), (1, 1)):
        assert np.abs(power_deviations(run, *pair, edges=edges)).max() < 3.5
    skewness = run.found.skewness()
    assert np.abs(skewness.mean / skewness.std_error).max() < 3
    events = three_products().found.skewness()
    assert np.all(events.mean[:2] > 5 * events.std_error[:2])
