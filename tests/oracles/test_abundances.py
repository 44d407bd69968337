"""Numbers of arXiv:2507.14572's released analysis, and closed forms checked another way.

Table values are those of the released parameters (channels, environment); both matrices were computed once with
independent code. Tolerances are those of the tables' digits.
"""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest
from astropy import units as u
from numpy.testing import assert_allclose
from scipy import integrate, special

from statml import datasets
from statml.research.abundances import (
    AGB,
    CCSN,
    SNIA,
    Channel,
    Element,
    Environment,
    correlation_matrix,
    covariance,
    kernel,
    load_elements,
    mean,
    observe_stars,
    power_spectrum,
)

TABLES = pytest.mark.skipif(
    "STATML_DATA" not in os.environ, reason="needs $STATML_DATA/abundances/production_curves.npz"
)
ENV = Environment.fiducial()
# rho of (first, second): released kernel, isotropic kernel
PAIRS = {
    ("O", "Mg"): (0.7443, 0.7699),
    ("Mg", "Si"): (0.9157, 0.9285),
    ("O", "Fe"): (0.5095, 0.5864),
    ("Fe", "Mn"): (0.9036, 0.9139),
    ("O", "Ba"): (0.1050, 0.1724),
    ("Y", "Ba"): (0.1747, 0.2180),
}


@pytest.fixture(scope="module")
def elements():
    return load_elements()


def pure(channel, delay, symbol="X"):
    return Element(symbol, {channel: 1.0}, {channel: delay})


# --- the closed form ---


@pytest.mark.parametrize(
    ("a", "b", "value"), [(0.01, 2, 0.3069460513), (0.3, 0.5, 0.5944638701), (1e-4, 50, 0.3601559104)]
)
def test_the_closed_form_is_the_published_integral(a, b, value):
    """xi(r) / xi(0) with a = sigma^2 / r^2, b = 2 kappa t_* / r^2, as Krumholz & Ting (2018) write it."""
    r, width = 1.0, np.sqrt(a)
    env = Environment(1 * u.pc**2 / u.Myr, t_star=b * r**2 / 2 * u.Myr)
    channel = Channel("x", width * u.pc)
    now = 0 * u.Myr
    ours = kernel(channel, now, channel, now, env, r * u.pc) / kernel(channel, now, channel, now, env)
    assert_allclose(ours, value, rtol=0, atol=1e-9)

    def integrand(v):
        return np.exp(-a * v**2) * -np.expm1(-b * v**2) * special.j0(v) / v

    end = np.sqrt(40 / a)
    pieces = np.concatenate([[0], special.jn_zeros(0, int(end / np.pi))])
    total = sum(integrate.quad(integrand, x, y, epsabs=1e-13)[0] for x, y in itertools.pairwise(pieces))
    total += integrate.quad(integrand, pieces[-1], end, epsabs=1e-13)[0]
    assert_allclose(2 / np.log1p(b / a) * total, value, rtol=0, atol=2e-9)


def test_it_tends_to_the_logarithm_and_falls():
    at_zero = kernel(CCSN, 10 * u.Myr, AGB, 600 * u.Myr, ENV)
    assert_allclose(kernel(CCSN, 10 * u.Myr, AGB, 600 * u.Myr, ENV, 1e-3 * u.pc), at_zero, rtol=1e-6)
    r = np.geomspace(1e-3, 2e4, 400) * u.pc
    assert (np.diff(kernel(CCSN, 10 * u.Myr, CCSN, 10 * u.Myr, ENV, r)) < 0).all()


def test_published_scales_of_supernovae():
    """Half correlated at 442 pc and 237 Myr; what the review of the method calls 0.5-1 kpc and 100-300 Myr."""
    delay = 10 * u.Myr
    r = [0, 100, 442, 500, 859, 1000, 2000] * u.pc
    xi = kernel(CCSN, delay, CCSN, delay, ENV, r)
    assert_allclose(xi[1:] / xi[0], [0.907, 0.5, 0.462, 0.3, 0.257, 0.088], atol=6e-4)
    later = kernel(CCSN, delay, CCSN, delay, ENV, lag=237 * u.Myr)
    assert_allclose(later / xi[0], 0.5, atol=1e-3)
    narrow = kernel(AGB, 600 * u.Myr, AGB, 600 * u.Myr, ENV, [0, 75] * u.pc)
    assert_allclose(narrow[1] / narrow[0], 0.5, atol=3e-3)


def test_in_time_two_elements_agree_best_when_the_slow_one_is_seen_later():
    lags = np.arange(300, 601, 5.0) * u.Myr
    cross = kernel(CCSN, 10 * u.Myr, SNIA, 437 * u.Myr, ENV, lag=lags)
    assert lags[cross.argmax()].value == pytest.approx(427, abs=5)


@pytest.mark.parametrize("drift", ["isotropic", "dispersing", "epicyclic"])
def test_the_power_is_the_transform_of_the_covariance(elements, drift):
    oxygen, barium = (next(e for e in elements if e.symbol == s) for s in ("O", "Ba"))
    # beyond 3 / pc nothing is left of Gaussians of 60 pc and 2 pc
    log_k = np.linspace(np.log(1e-7), np.log(3.0), 6001)
    k = np.exp(log_k)
    power = power_spectrum(k / u.pc, oxygen, barium, ENV, drift=drift).value
    for r in (0.0, 10.0, 100.0):
        transform = integrate.simpson(k**2 * power * special.j0(k * r) / (2 * np.pi), x=log_k)
        assert_allclose(transform, covariance(oxygen, barium, ENV, r * u.pc, drift=drift), rtol=1e-6)


def test_the_power_at_k_zero_is_what_all_clusters_made(elements):
    x = pure(CCSN, 10 * u.Myr)
    duration = ((ENV.t_star - 10 * u.Myr) / ENV.time_unit).to_value("")
    expected = (1 + ENV.mass_scatter2) * duration * ENV.length_unit**2
    assert_allclose(power_spectrum(0 / u.pc, x, env=ENV).to_value(u.pc**2), expected.value, rtol=1e-12)


# --- the table of channels ---


def test_channels_of_the_table(elements):
    assert len(elements) == 42 and elements[0].symbol == "C" and elements[-1].symbol == "Ce"
    table = {e.symbol: {c.name: (f, t) for c, f, t in e.contributions} for e in elements}
    assert table["C"]["ccsn"] == (0.831646, 4.16869)
    assert table["O"] == {
        "ccsn": (0.805833, 7.94328),
        "agb": (0.179926, 602.56),
        "snia": (0.0142406, 436.516),
    }
    assert table["Mg"]["agb"] == (0.367323, 501.187)
    assert_allclose([table["Fe"][c][0] for c in ("ccsn", "agb", "snia")], [0.274, 0.211, 0.515], atol=5e-4)
    assert_allclose(table["Ba"]["agb"], (0.947, 758.6), rtol=1e-3)
    for element in elements:
        assert abs(sum(element.fractions.values()) - 1) <= 1e-6


# --- the two matrices ---


@pytest.mark.parametrize(("drift", "column"), [("aligned", 0), ("isotropic", 1)])
def test_correlations_of_six_pairs(elements, drift, column):
    rho = correlation_matrix(elements, ENV, drift=drift)
    for pair, values in PAIRS.items():
        assert rho[pair] == pytest.approx(values[column], abs=6e-5)
    ccsn, snia = pure(CCSN, 10 * u.Myr, "a"), pure(SNIA, 436.5 * u.Myr, "b")
    both = correlation_matrix([ccsn, snia], ENV, drift=drift)
    assert both["a", "b"] == pytest.approx((0.1226, 0.2280)[column], abs=6e-5)


@pytest.mark.parametrize("drift", ["isotropic", "aligned", "dispersing", "epicyclic"])
def test_every_matrix_is_one_of_correlations(elements, drift):
    values = correlation_matrix(elements, ENV, drift=drift).values
    assert_allclose(values, values.T, rtol=0, atol=0)
    assert_allclose(np.diag(values), 1, rtol=0, atol=0)
    assert np.abs(values).max() <= 1
    assert np.linalg.eigvalsh(values).min() > -1e-10


def test_without_drift_all_kernels_are_one(elements):
    still = ENV.replace(drift=0 * u.km / u.s)
    one, *others = (
        correlation_matrix(elements, still, drift=d).values
        for d in ("isotropic", "aligned", "dispersing", "epicyclic")
    )
    for other in others:
        assert_allclose(other, one, rtol=0, atol=1e-13)


def test_the_space_of_abundances(elements):
    rho = correlation_matrix(elements, ENV)
    assert rho.participation_ratio == pytest.approx(2.72, abs=0.005)
    assert_allclose(rho.eigenvalues[:4], [24.75, 4.21, 2.68, 1.74], atol=0.006)
    wanted = rho.select(["O", "Fe", "N", "Ba"])
    assert_allclose(wanted.scatter_dex, [0.0240, 0.0237, 0.0307, 0.0477], atol=6e-5)
    released = correlation_matrix(elements, ENV, drift="aligned")
    assert_allclose(released.eigenvalues[:4], [23.3, 4.5, 2.8, 2.1], atol=0.06)
    assert released.participation_ratio == pytest.approx(3.0, abs=0.05)
    difference = (rho.values - released.values)[np.triu_indices(42, 1)]
    assert np.abs(difference).max() == pytest.approx(0.087, abs=1e-3)
    assert np.sqrt(np.mean(difference**2)) == pytest.approx(0.051, abs=1e-3)
    supernovae = correlation_matrix([pure(CCSN, 10 * u.Myr)], ENV)
    assert supernovae.variance[0] ** 0.5 / supernovae.mean[0] == pytest.approx(0.0605, abs=1e-4)


# --- limits ---


def test_identical_elements_are_one_and_independent_channels_nothing():
    x, same = pure(CCSN, 10 * u.Myr, "a"), pure(CCSN, 10 * u.Myr, "b")
    assert correlation_matrix([x, same], ENV)["a", "b"] == pytest.approx(1, abs=1e-14)
    lonely = Channel("novae", 60 * u.pc, events_per_cluster=0.1, clustered=False)
    assert correlation_matrix([x, pure(lonely, 10 * u.Myr, "n")], ENV)["a", "n"] == 0


def test_rate_and_masses_cancel(elements):
    rho = correlation_matrix(elements, ENV).values
    other = ENV.replace(cluster_rate=50 * ENV.cluster_rate, mass_scatter2=3.0)
    assert_allclose(correlation_matrix(elements, other).values, rho, rtol=0, atol=1e-12)


def test_a_delay_beyond_star_formation_contributes_nothing_and_says_so(elements):
    short = ENV.replace(l_corr=ENV.l_corr / 2)  # 699 Myr, before half of the barium is out
    with pytest.warns(UserWarning, match=r"delay of at least t_star"):
        rho = correlation_matrix(elements, short)
    assert np.isfinite(rho.values).all()
    only = Element("Ba", {"ccsn": 1.0}, {"ccsn": 7.94328 * u.Myr})
    oxygen = next(e for e in elements if e.symbol == "O")
    assert correlation_matrix([oxygen, only], short)["O", "Ba"] == pytest.approx(rho["O", "Ba"], abs=1e-6)
    assert kernel(CCSN, 10 * u.Myr, AGB, 3000 * u.Myr, ENV) == 0


@pytest.mark.parametrize(("n", "factor"), [(1e-3, 0.3285), (1e-2, 0.7399), (0.1, 0.9611), (1.0, 0.9959)])
def test_rare_events_lower_a_correlation(n, factor):
    """1 / sqrt(1 + 1 / (n (1 + sigma_w^2))), without kick."""
    rare = Channel("r", 60 * u.pc, events_per_cluster=n)
    rho = correlation_matrix([pure(CCSN, 10 * u.Myr, "a"), pure(rare, 10 * u.Myr, "r")], ENV)
    assert rho["a", "r"] == pytest.approx(factor, abs=6e-5)
    assert rho["a", "r"] == pytest.approx((1 + 1 / (n * 121)) ** -0.5, abs=1e-12)


def test_a_pure_r_process_element(elements):
    """Correlations of an element of rare, late, kicked events with four others (isotropic)."""
    others = [e for e in elements if e.symbol in ("O", "Mg", "Fe", "Ba")]

    def row(n, delay, kick=0.0):
        channel = Channel("r", 60 * u.pc, events_per_cluster=n, kick=kick * u.km / u.s)
        rho = correlation_matrix([*others, pure(channel, delay * u.Myr, "r")], ENV)
        return [rho["r", symbol] for symbol in ("O", "Mg", "Fe", "Ba")]

    assert_allclose(row(np.inf, 10), [0.93, 0.77, 0.52, 0.12], atol=0.006)
    assert_allclose(row(0.01, 10), [0.69, 0.57, 0.39, 0.09], atol=0.006)
    assert_allclose(row(0.01, 100)[:3], [0.42, 0.38, 0.32], atol=0.006)
    assert_allclose(row(0.01, 100, 20)[:3], [0.12, 0.11, 0.12], atol=0.006)
    assert max(row(0.01, 500, 20)) < 0.01


def test_fast_clusters_forget(elements):
    x, y = pure(CCSN, 10 * u.Myr, "a"), pure(SNIA, 437 * u.Myr, "b")
    found = [
        correlation_matrix([x, y], ENV.replace(drift=v * u.km / u.s))["a", "b"] for v in (0, 1, 10, 100, 1e4)
    ]
    assert (np.diff(found) < 0).all() and found[-1] < 1e-6


def test_noise_lowers_a_correlation_by_what_it_adds_to_the_variances(elements):
    rho = correlation_matrix(elements, ENV)
    seen = observe_stars(rho, 0.01)
    phi = {}
    for symbol in ("O", "Mg"):
        x = next(e for e in elements if e.symbol == symbol)
        phi[symbol] = 1 + mean(x, ENV) ** 2 / covariance(x, x, ENV) * (0.01 * np.log(10)) ** 2
    assert seen["O", "Mg"] == pytest.approx(rho["O", "Mg"] / np.sqrt(phi["O"] * phi["Mg"]), rel=1e-12)
    assert (np.diag(seen.values) == 1).all()


# --- units ---


def test_units_do_not_matter(elements):
    other = Environment((350 * u.km / u.s * u.pc).to(u.km**2 / u.s), l_corr=1 * u.kpc)
    assert_allclose(ENV.kappa.to_value(u.pc * u.km / u.s), 350, rtol=1e-12)
    assert_allclose(
        correlation_matrix(elements, other).values,
        correlation_matrix(elements, ENV).values,
        rtol=0,
        atol=1e-12,
    )
    assert_allclose(ENV.length_unit.to_value(u.pc), 104.5, atol=0.05)
    assert_allclose(ENV.time_unit.to_value(u.Myr), 30.5, atol=0.05)
    assert_allclose(ENV.scaled.t_star, 91.5, atol=0.1)


# --- tables that are not ours to ship ---


@TABLES
@pytest.mark.data
def test_the_whole_delay_curves():
    rho = correlation_matrix(load_elements(), ENV, "full")
    expected = {("Ba", "Y"): 0.989, ("O", "Mg"): 0.99, ("O", "Fe"): 0.91, ("O", "N"): 0.92, ("O", "Ba"): 0.53}
    for pair, value in expected.items():
        assert rho[pair] == pytest.approx(value, abs=0.01)
    assert np.linalg.eigvalsh(rho.values).min() > -1e-6


@TABLES
@pytest.mark.data
@pytest.mark.parametrize(("drift", "name"), [("aligned", "released"), ("isotropic", "isotropic")])
def test_all_861_correlations(elements, drift, name):
    folder = datasets.fetch("nucleosynthesis_curves")[0].parent
    table = np.genfromtxt(folder / f"predicted_{name}_kernel.csv", delimiter=",", skip_header=1)[:, 1:]
    ours = correlation_matrix(elements, ENV, drift=drift).values
    assert_allclose(ours, table, rtol=0, atol=1e-5)
