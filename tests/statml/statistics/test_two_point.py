"""Pairs against brute force, correlation functions against a process whose own is known."""

from __future__ import annotations

import numpy as np
import pytest

from statml.errors import InputError
from statml.statistics import Groups, jackknife, pair_counts, two_point
from statml.statistics.pairs import as_points, compact_regions, counts_by_region

EDGES = np.array([0.0, 0.02, 0.05, 0.1, 0.2])


def brute(first, second, edges, w1, w2):
    distance = np.linalg.norm(first[:, None] - second, axis=2)
    return np.histogram(distance, bins=np.nextafter(edges, np.inf), weights=np.multiply.outer(w1, w2))[0]


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_pairs_are_all_pairs(dimensions: int) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((80, dimensions)), rng.random((50, dimensions))
    wa, wb = rng.random(80), rng.random(50)
    ones = np.ones
    np.testing.assert_allclose(
        pair_counts(a, b, edges=EDGES), brute(a, b, EDGES, ones(80), ones(50)), rtol=1e-12
    )
    np.testing.assert_allclose(
        pair_counts(a, b, edges=EDGES, first_weights=wa, second_weights=wb),
        brute(a, b, EDGES, wa, wb),
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        pair_counts(a, edges=EDGES, first_weights=wa), brute(a, a, EDGES, wa, wa) / 2, rtol=1e-12
    )
    # One set with weights, the other without.
    np.testing.assert_allclose(
        pair_counts(a, b, edges=EDGES, first_weights=wa), brute(a, b, EDGES, wa, ones(50)), rtol=1e-12
    )


def test_a_point_at_an_edge_belongs_below() -> None:
    line = np.arange(5.0)
    np.testing.assert_array_equal(pair_counts(line, edges=[0, 1, 2, 4]), [4, 3, 3])


def test_opposite_points_are_180_degrees_apart() -> None:
    """Rounding makes some chords longer than the diameter."""
    rng = np.random.default_rng(0)
    for lon, lat in zip(rng.uniform(0, 360, 100), rng.uniform(-90, 90, 100)):
        opposite = [[lon, lat], [(lon + 180) % 360, -lat]]
        np.testing.assert_array_equal(pair_counts(opposite, edges=[0, 90, 180], metric="sky"), [0, 1])


def test_angles_on_the_sky() -> None:
    rng = np.random.default_rng(1)
    a = np.column_stack([rng.uniform(0, 360, 70), np.degrees(np.arcsin(rng.uniform(-1, 1, 70)))])
    edges = np.array([0.0, 5, 30, 90, 180])
    lon, lat = np.radians(a).T
    half = (
        np.sin((lat[:, None] - lat) / 2) ** 2
        + np.cos(lat)[:, None] * np.cos(lat) * np.sin((lon[:, None] - lon) / 2) ** 2
    )
    angle = np.degrees(2 * np.arcsin(np.sqrt(np.clip(half, 0, 1))))[np.triu_indices(70, 1)]
    np.testing.assert_array_equal(pair_counts(a, edges=edges, metric="sky"), np.histogram(angle, edges)[0])


def test_regions_add_up() -> None:
    rng = np.random.default_rng(2)
    points = as_points("data", rng.random((90, 2)), rng.random(90), "euclidean")
    parted = type(points)(points.positions, points.weights, rng.integers(5, size=90))
    np.testing.assert_allclose(
        counts_by_region(parted, None, EDGES).sum(axis=(0, 1)),
        counts_by_region(points, None, EDGES)[0, 0],
        rtol=1e-12,
    )


# -- estimators -------------------------------------------------------------------------------


def by_hand(data, randoms, estimator):
    dd, rr = pair_counts(data, edges=EDGES), pair_counts(randoms, edges=EDGES)
    dr = pair_counts(data, randoms, edges=EDGES)
    n, m = len(data), len(randoms)
    dd, rr, dr = dd / (n * (n - 1) / 2), rr / (m * (m - 1) / 2), dr / (n * m)
    return {"natural": dd / rr - 1, "davis-peebles": dd / dr - 1, "landy-szalay": (dd - 2 * dr + rr) / rr}[
        estimator
    ]


@pytest.mark.parametrize("estimator", ["natural", "davis-peebles", "landy-szalay"])
def test_estimators_and_jackknife_are_counted_again(estimator: str) -> None:
    rng = np.random.default_rng(3)
    data, randoms = rng.random((150, 2)), rng.random((700, 2))
    labels = [np.digitize(each[:, 0], [0.25, 0.5, 0.75]) for each in (data, randoms)]
    found = two_point(data, randoms, EDGES, estimator=estimator, regions=tuple(labels))
    np.testing.assert_allclose(found.xi, by_hand(data, randoms, estimator), rtol=1e-10)
    for g in range(4):
        again = by_hand(data[labels[0] != g], randoms[labels[1] != g], estimator)
        np.testing.assert_allclose(found.replicates[g], again, rtol=1e-10)
    # The general jackknife, data and randoms cut together, gives the same covariance.
    both = np.vstack([data, randoms])
    is_data, label = np.arange(850) < 150, np.concatenate(labels)
    general = jackknife(
        lambda rows, mine: by_hand(rows[mine], rows[~mine], estimator), both, is_data, scheme=Groups(label)
    )
    np.testing.assert_allclose(found.cov, general.cov, rtol=1e-9)


def test_weights_of_whole_numbers_are_repeated_points_at_large_separations() -> None:
    rng = np.random.default_rng(4)
    data, randoms, weights = rng.random((100, 2)), rng.random((400, 2)), rng.integers(1, 4, 100)
    edges = [0.05, 0.1, 0.2]
    weighted = two_point(data, randoms, edges, data_weights=weights)
    dd = pair_counts(np.repeat(data, weights, axis=0), edges=edges)
    np.testing.assert_allclose(weighted.dd, dd)
    # All pairs: those of a point with its own copies do not exist for a weighted point.
    total = weights.sum() ** 2 - np.sum(weights**2)
    np.testing.assert_allclose(
        weighted.xi,
        1 + (dd / (total / 2) - 2 * weighted.dr / (weights.sum() * 400)) / (weighted.rr / (400 * 399 / 2)),
        rtol=1e-10,
    )


# -- a process whose correlation function is known ----------------------------------------------

PARENTS, CHILDREN, SPREAD = 80, 6, 0.015


def thomas(rng):
    """Poisson parents, Poisson children with a normal offset: xi = exp(-r^2 / 4 s^2) / (4 pi s^2 parents)."""
    parents = rng.uniform(-0.1, 1.1, (rng.poisson(PARENTS * 1.44), 2))
    children = np.repeat(parents, rng.poisson(CHILDREN, len(parents)), axis=0)
    points = children + SPREAD * rng.normal(size=children.shape)
    return points[np.all((points > 0) & (points < 1), axis=1)]


def thomas_xi(low, high):
    """Mean over a ring of the correlation function."""
    return (np.exp(-(low**2) / (4 * SPREAD**2)) - np.exp(-(high**2) / (4 * SPREAD**2))) / (
        np.pi * (high**2 - low**2) * PARENTS
    )


@pytest.fixture(scope="module")
def realisations():
    rng = np.random.default_rng(5)
    edges = np.array([0.0, 0.015, 0.03, 0.06, 0.12])
    randoms = rng.random((1500, 2))
    found = [two_point(thomas(rng), randoms, edges, regions=16) for _ in range(40)]
    return edges, found


def test_landy_szalay_is_right_in_the_mean(realisations) -> None:
    edges, found = realisations
    xi = np.array([each.xi for each in found])
    truth = thomas_xi(edges[:-1], edges[1:])
    # 4 standard errors of 40 realisations, and the integral constraint: the variance of the mean density.
    error = xi.std(axis=0, ddof=1) / np.sqrt(len(xi))
    constraint = 1 / PARENTS * (1 + 1 / CHILDREN)
    assert np.all(np.abs(xi.mean(axis=0) - truth) < 4 * error + constraint)
    assert truth[0] > 20 * error[0]


def test_jackknife_errors_are_the_scatter(realisations) -> None:
    _, found = realisations
    xi = np.array([each.xi for each in found])
    quoted = np.sqrt(np.mean([each.std**2 for each in found], axis=0))
    ratio = quoted / xi.std(axis=0, ddof=1)
    # The scatter of 40 is known to 11 %, the jackknife of 16 regions somewhat worse: 4 of these.
    assert np.all((ratio > 0.55) & (ratio < 1.9))
    # Poisson errors are not: pairs of one cluster come together.
    poisson = np.mean([each.poisson_std for each in found], axis=0)
    assert poisson[0] < 0.5 * xi.std(axis=0, ddof=1)[0]


def test_bootstrap_errors_are_those_of_the_jackknife() -> None:
    rng = np.random.default_rng(6)
    data, randoms = thomas(rng), rng.random((1500, 2))
    edges = [0.01, 0.03, 0.06, 0.12]
    drawn = two_point(data, randoms, edges, regions=25, errors="bootstrap", size=800, rng=1)
    left = two_point(data, randoms, edges, regions=25)
    ratio = drawn.std / left.std
    assert np.all((ratio > 0.6) & (ratio < 1.7))


def test_white_noise_has_no_structure() -> None:
    # Chi-square of three bins with Hartlap's factor: never too large, error rate 1e-3. It is below 3 in
    # the mean, as pairs across two regions are left out twice.
    rng = np.random.default_rng(7)
    randoms, edges = rng.random((1500, 2)), [0.02, 0.05, 0.1, 0.15]
    chi2 = np.array([two_point(rng.random((300, 2)), randoms, edges, regions=30).chi2() for _ in range(40)])
    assert 1 < chi2.mean() < 3 + 3.1 * np.sqrt(6 / 40)


def test_regions_are_equal_and_compact() -> None:
    rng = np.random.default_rng(10)
    randoms, data = rng.random((1400, 2)) * [4, 1], rng.random((300, 2)) * [4, 1]
    theirs, ours = compact_regions(randoms, data, 7)
    np.testing.assert_array_equal(np.bincount(theirs), 200)
    for g in range(7):
        np.testing.assert_array_less(randoms[theirs == g].min(axis=0) - 0.1, data[ours == g].min(axis=0))
        np.testing.assert_array_less(data[ours == g].max(axis=0), randoms[theirs == g].max(axis=0) + 0.1)
        assert np.all(np.ptp(randoms[theirs == g], axis=0) < 1.01)


def test_the_sky_has_regions_too() -> None:
    rng = np.random.default_rng(8)

    def sky(n):
        return np.column_stack([rng.uniform(0, 40, n), np.degrees(np.arcsin(rng.uniform(0.2, 0.6, n)))])

    found = two_point(sky(300), sky(1500), [0.5, 1, 2, 4], regions=12, metric="sky")
    assert np.all(np.abs(found.xi) < 5 * found.std)
    assert found.figure().axes and two_point(sky(50), sky(500), [1, 5], metric="sky").figure().axes


def test_bad_input() -> None:
    rng = np.random.default_rng(9)
    data, randoms = rng.random((40, 2)), rng.random((200, 2))
    with pytest.raises(InputError, match="estimator is 'hamilton'"):
        two_point(data, randoms, EDGES, estimator="hamilton")
    with pytest.raises(InputError, match="errors is 'poisson'"):
        two_point(data, randoms, EDGES, errors="poisson")
    with pytest.raises(InputError, match="data has 2 coordinates and randoms 1"):
        two_point(data, randoms[:, :1], EDGES)
    with pytest.raises(InputError, match="regions is 1"):
        two_point(data, randoms, EDGES, regions=1)
    with pytest.raises(InputError, match="labels of other shapes"):
        two_point(data, randoms, EDGES, regions=(np.zeros(3), np.zeros(200)))
    with pytest.raises(InputError, match="bin without pairs of randoms"):
        two_point(data, randoms, [1e-9, 2e-9])
    with pytest.raises(InputError, match="no covariance"):
        _ = two_point(data, randoms, EDGES).std
    with pytest.raises(InputError, match="accepted are more than 6"):
        two_point(data, randoms, [0.05, 0.1, 0.2, 0.3, 0.4], regions=4).chi2()
    with pytest.raises(InputError, match="does not grow"):
        pair_counts(data, edges=[1, 1])
    with pytest.raises(InputError, match="latitude beyond 90"):
        pair_counts(data + 100, edges=[0, 1], metric="sky")
    with pytest.raises(InputError, match="weights of first"):
        pair_counts(data, edges=[0, 1], first_weights=-np.ones(40))
    with pytest.raises(InputError, match="metric is 'manhattan'"):
        pair_counts(data, edges=[0, 1], metric="manhattan")
