"""The power of drifting particles, mode by mode, against the closed forms: no field, no grid.

Clusters are points of a Poisson process in a periodic box; what they make is moved star by star. The transform
of the field at a mode of the box is a sum over particles, its mean square is the power, and modes are
independent of each other. Units: kappa = t_* = 1, 40 clusters for each unit of area and time; clusters drift
fast, so that the forms differ where there is power. Each comparison is at 4 standard errors of 80 realisations
(t distribution, 1e-4 each; 20 of them: 0.2 % for the module).
"""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from astropy import units as u
from scipy import stats

from statml.research.abundances import Channel, Element, Environment, power_spectrum
from statml.research.abundances.dimensions import DIFFUSIVITY, RATE, SPEED

BOX, RATE_, DRIFT, NU = 6.0, 40.0, 20.0, 100.0
WIDTHS, DELAYS = (0.06, 0.08), (0.02, 0.05)
REALISATIONS, STARS = 80, 3
# one of +k and -k, eight of each length
LENGTHS = (1, 2, 3, 5)


def wavevectors():
    """Eight modes of nearly each length, four arrays (8, 2)."""
    found = []
    for length in LENGTHS:
        grid = np.array(
            [(i, j) for i in range(-length - 1, length + 2) for j in range(length + 2) if j > 0 or i > 0]
        )
        near = np.abs(np.hypot(*grid.T) - length) < 0.5
        chosen = grid[near][np.linspace(0, near.sum() - 1, 8).astype(int)] if near.sum() > 8 else grid[near]
        found.append(2 * np.pi / BOX * chosen)
    return found


def environment():
    return Environment(
        1 * DIFFUSIVITY,
        t_star=1 * u.Myr,
        cluster_rate=RATE_ * RATE,
        mass_scatter2=1.0,
        drift=DRIFT * SPEED,
        epicyclic_frequency=NU / u.Myr,
    )


def straight(rng, clusters):
    """Displacements of the two products: each cluster has one velocity."""
    v = DRIFT * rng.normal(size=(clusters, 1, 2))
    return [v * delay for delay in DELAYS]


def dispersing(rng, clusters):
    """Every star has a velocity of its own, and the two products are of different stars."""
    return [DRIFT * rng.normal(size=(clusters, STARS, 2)) * delay for delay in DELAYS]


def epicyclic(rng, clusters):
    """Oscillations about a guiding centre, integrated by leapfrog from a random phase."""
    x, v = DRIFT / NU * rng.normal(size=(clusters, 1, 2)), DRIFT * rng.normal(size=(clusters, 1, 2))
    steps, dt, found = np.rint(np.array(DELAYS) / 0.0005).astype(int), 0.0005, []
    for step in range(steps.max() + 1):
        if step in steps:
            found.append(x.copy())
        v = v - dt / 2 * NU**2 * x
        x = x + dt * v
        v = v - dt / 2 * NU**2 * x
    return found


def transforms(rng, moves):
    """The two fields' transforms at all modes, one realisation."""
    clusters = rng.poisson(RATE_ * BOX**2)
    place, age = BOX * rng.random((clusters, 1, 2)), rng.random(clusters)
    mass = rng.gamma(1.0, size=clusters)  # mean 1, variance 1
    k = np.concatenate(wavevectors())
    found = []
    for width, delay, moved in zip(WIDTHS, DELAYS, moves(rng, clusters)):
        phase = np.exp(-1j * ((place + moved) @ k.T)).mean(axis=1)
        grown = np.where(age > delay, mass, 0) * np.ones(clusters)
        s2 = width**2 + 2 * np.maximum(age - delay, 0)
        found.append((grown[:, None] * np.exp(-0.5 * s2[:, None] * (k**2).sum(1)) * phase).sum(0))
    return found


@functools.cache
def powers(moves, seed):
    """Cross power of each realisation and length, (realisations, lengths)."""
    rng = np.random.default_rng(seed)
    edges = np.cumsum([0] + [len(each) for each in wavevectors()])
    rows = []
    for _ in range(REALISATIONS):
        x, y = transforms(rng, moves)
        each = (x * y.conj()).real / BOX**2
        rows.append([each[a:b].mean() for a, b in itertools.pairwise(edges)])
    return np.array(rows)


def expected(drift):
    """The closed form in the same bins; the simulation's field is in units of m, not of m / L0^2."""
    env = environment()
    x, y = (
        Element(name, {channel: 1.0}, {channel: delay * u.Myr})
        for name, channel, delay in zip("XY", (Channel(n, w * u.pc) for n, w in zip("ab", WIDTHS)), DELAYS)
    )
    scale = env.length_unit.value**-4  # (m / L0^2)^2 in m^2
    return np.array(
        [
            scale * power_spectrum(np.hypot(*k.T) / u.pc, x, y, env, drift=drift).value.mean()
            for k in wavevectors()
        ]
    )


def deviations(found, theory):
    """In standard errors."""
    return (found.mean(0) - theory) / (found.std(0, ddof=1) / np.sqrt(len(found)))


@pytest.mark.parametrize(
    ("drift", "moves", "seed"),
    [("isotropic", straight, 1), ("dispersing", dispersing, 2), ("epicyclic", epicyclic, 3)],
)
def test_particles_have_the_power_of_the_closed_form(drift, moves, seed):
    limit = stats.t.isf(0.5e-4, REALISATIONS - 1)
    assert np.abs(deviations(powers(moves, seed), expected(drift))).max() < limit


def test_the_released_form_is_rejected():
    """Clusters that drift straight on, in all directions: the cosine is wrong by many standard errors."""
    found = powers(straight, 1)
    assert np.abs(deviations(found, expected("aligned"))).max() > 10
    # it even predicts a negative power, which positive sources cannot have
    assert expected("aligned").min() < 0 < expected("isotropic").min()


def test_straight_epicyclic_and_dispersing_particles_are_told_apart():
    found = powers(epicyclic, 3)
    for other in ("isotropic", "dispersing"):
        assert np.abs(deviations(found, expected(other))).max() > 6


def test_rare_and_kicked_events():
    """Half an event for a mean cluster, each with its own kick and yield: auto and cross power."""
    n, kick, spread, width, delay = 0.5, 8.0, 0.7, 0.06, 0.05
    env = environment()
    often = Channel("often", WIDTHS[0] * u.pc)
    rare = Channel("rare", width * u.pc, kick=kick * SPEED, events_per_cluster=n, yield_scatter=spread)
    x = Element("X", {often: 1.0}, {often: DELAYS[0] * u.Myr})
    r = Element("R", {rare: 1.0}, {rare: delay * u.Myr})
    k = np.concatenate(wavevectors())
    k2 = (k**2).sum(1)
    edges = np.cumsum([0] + [len(each) for each in wavevectors()])
    rng = np.random.default_rng(4)
    auto, cross = [], []
    for _ in range(REALISATIONS):
        clusters = rng.poisson(RATE_ * BOX**2)
        place, age, mass = (
            BOX * rng.random((clusters, 2)),
            rng.random(clusters),
            rng.gamma(1.0, size=clusters),
        )
        v = DRIFT * rng.normal(size=(clusters, 2))
        s2 = WIDTHS[0] ** 2 + 2 * np.maximum(age - DELAYS[0], 0)
        first = (mass * (age > DELAYS[0]))[:, None] * np.exp(
            -0.5 * s2[:, None] * k2 - 1j * (place + v * DELAYS[0]) @ k.T
        )
        events = np.repeat(np.arange(clusters), rng.poisson(n * mass))
        events = events[age[events] > delay]
        moved = place[events] + (v[events] + kick * rng.normal(size=(len(events), 2))) * delay
        made = (
            rng.gamma(spread**-2, spread**2, size=len(events)) / n
        )  # mean 1 / n, so that all make as much as X
        s2 = width**2 + 2 * (age[events] - delay)
        second = made[:, None] * np.exp(-0.5 * s2[:, None] * k2 - 1j * moved @ k.T)
        fields = first.sum(0), second.sum(0)
        for rows, (one, other) in ((auto, (1, 1)), (cross, (0, 1))):
            each = (fields[one] * fields[other].conj()).real / BOX**2
            rows.append([each[a:b].mean() for a, b in itertools.pairwise(edges)])
    scale = env.length_unit.value**-4
    limit = stats.t.isf(0.5e-4, REALISATIONS - 1)
    for rows, pair in ((auto, (r, r)), (cross, (x, r))):
        theory = [
            scale * power_spectrum(np.hypot(*w.T) / u.pc, *pair, env).value.mean() for w in wavevectors()
        ]
        assert np.abs(deviations(np.array(rows), np.array(theory))).max() < limit
