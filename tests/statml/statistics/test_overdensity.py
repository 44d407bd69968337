"""Crowds of points: exact windows, exact probabilities, and false alarms as often as promised."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from statml.errors import InputError
from statml.statistics import RandomPoints, Rectangle, search_marked, search_overdensities

FIELD = Rectangle((0, 1000), (0, 1000))
UNIT = Rectangle((0, 1), (0, 1))


def test_a_window_is_cut_at_the_edges() -> None:
    field = Rectangle((-3, 5), (2, 4))
    rng = np.random.default_rng(0)
    centres = field.draw(20, rng)
    centres[:3] = [[-3, 2], [5, 3], [1, 4]]
    for radius in (0.5, 1.3, 3.0, 20.0):
        angle, distance = rng.uniform(0, 2 * np.pi, 200_000), radius * np.sqrt(rng.random(200_000))
        disc = np.column_stack([distance * np.cos(angle), distance * np.sin(angle)])
        for centre, share in zip(centres, field.share(centres, radius)):
            x, y = (centre + disc).T
            inside = np.mean((x > -3) & (x < 5) & (y > 2) & (y < 4))
            # Five standard errors of 200,000 points, for 80 comparisons.
            sigma = np.sqrt(max(inside * (1 - inside), 1e-6) / len(disc)) * np.pi * radius**2 / field.area
            assert abs(share - inside * np.pi * radius**2 / field.area) < 5 * sigma + 1e-9
    assert field.share(centres, 20.0).max() == pytest.approx(1)


def test_the_point_itself_is_not_counted() -> None:
    # The textbook's field: 10,000 points in 1000 x 1000, windows of 20: 12.57 expected, 13.57 with the centre.
    points = FIELD.draw(10_000, np.random.default_rng(1))
    search = search_overdensities(points, FIELD, 20.0, null_fields=19, rng=2)
    inside = np.all((points > 20) & (points < 980), axis=1)
    exact = np.pi * 400 * 10_000 / 1e6 * (9_999 / 10_000)
    np.testing.assert_allclose(search.expected[inside, 0], exact, rtol=1e-12)
    # About 800 independent windows: standard error 0.13.
    assert abs(search.counts[inside].mean() - exact) < 0.5
    assert abs((search.counts - search.expected).mean()) < 0.5
    # Near the edges too.
    assert abs((search.counts - search.expected)[~inside].mean()) < 0.8


def test_local_probability_is_binomial() -> None:
    points = UNIT.draw(60, np.random.default_rng(3))
    search = search_overdensities(points, UNIT, [0.1, 0.2], null_fields=19, rng=0)
    n = len(points) - 1
    np.testing.assert_allclose(
        search.p_local, stats.binom.sf(search.counts - 1, n, search.expected / n), rtol=1e-9
    )
    # Likelihood ratio against its definition.
    i, k = np.unravel_index(search.counts.argmax(), search.counts.shape)
    count, mu = search.counts[i, k], search.expected[i, k]
    by_hand = 2 * (stats.binom.logpmf(count, n, count / n) - stats.binom.logpmf(count, n, mu / n))
    assert search.likelihood_ratio[i, k] == pytest.approx(np.sqrt(by_hand), rel=1e-9)


def p_values_of_null_fields(fields: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    return np.array(
        [
            search_overdensities(UNIT.draw(60, rng), UNIT, [0.08, 0.15], null_fields=39, rng=rng).p_global
            for _ in range(fields)
        ]
    )


@pytest.mark.parametrize("fields", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_false_alarms_on_null_fields_are_as_many_as_promised(fields: int) -> None:
    # With 39 null fields p_global <= 0.05 happens to 2 of 40; ties make it a little rarer. Error rate 1e-3 each.
    p = p_values_of_null_fields(fields)
    for level in (0.05, 0.2):
        alarms = int(np.sum(p <= level + 1e-9))
        assert alarms <= stats.binom.isf(1e-3, fields, level)
        assert alarms >= stats.binom.ppf(1e-3, fields, 0.7 * level)


def test_local_probabilities_alone_would_cry_wolf() -> None:
    rng = np.random.default_rng(6)
    searches = [
        search_overdensities(UNIT.draw(60, rng), UNIT, 0.1, null_fields=19, rng=rng) for _ in range(40)
    ]
    # Ten times as often as 0.05 promises.
    assert np.mean([search.p_local.min() < 0.05 for search in searches]) > 0.5


def test_the_number_of_trials_extends_the_null_fields() -> None:
    rng = np.random.default_rng(7)
    search = search_overdensities(UNIT.draw(80, rng), UNIT, 0.1, null_fields=400, rng=rng)
    assert 8 < search.trials < 80
    for p_global in (0.05, 0.2):
        p_local = np.quantile(search.null_smallest, p_global)
        # Counts are whole numbers, so that p_local comes in steps.
        assert search.extrapolated(p_local) == pytest.approx(p_global, rel=0.6)
    assert search.extrapolated(1e-12) == pytest.approx(search.trials * 1e-12, rel=1e-6)


def test_a_cluster_is_found_once_and_where_it_is() -> None:
    rng = np.random.default_rng(8)
    points = np.vstack(
        [FIELD.draw(2000, rng), rng.normal([300, 700], 15, (60, 2)), rng.normal([600, 200], 15, (40, 2))]
    )
    search = search_overdensities(points, FIELD, [20.0, 40.0], null_fields=99, rng=9)
    first, second = search.detections(0.02)[:2]
    assert np.hypot(*(first.position - [300, 700])) < 20
    assert np.hypot(*(second.position - [600, 200])) < 20
    assert first.p_local < second.p_local < 1e-8
    assert len(search.detections(0.02)) == 2
    assert search.figure().axes


def test_random_points_stand_for_a_region() -> None:
    rng = np.random.default_rng(10)
    angle, distance = rng.uniform(0, 2 * np.pi, 6000), np.sqrt(rng.random(6000))
    ring = np.column_stack([distance * np.cos(angle), distance * np.sin(angle)])
    ring = ring[distance > 0.5]
    points, region = ring[:150], RandomPoints(ring[150:])
    search = search_overdensities(points, region, 0.2, null_fields=99, rng=11)
    assert search.p_global > 0.02
    assert abs(np.mean(search.counts - search.expected)) < 1.5
    # Taken for a square, the ring is a crowd everywhere.
    square = search_overdensities(points, Rectangle((-1, 1), (-1, 1)), 0.2, null_fields=99, rng=11)
    assert square.p_local.min() < search.p_local.min() and np.mean(square.counts - square.expected) > 1


def test_three_dimensions() -> None:
    rng = np.random.default_rng(12)
    points = np.vstack([rng.random((200, 3)), rng.normal(0.5, 0.02, (15, 3))])
    search = search_overdensities(points, RandomPoints(rng.random((5000, 3))), 0.1, null_fields=39, rng=0)
    assert np.linalg.norm(search.detections(0.05)[0].position - 0.5) < 0.1


# -- marks ------------------------------------------------------------------------------------


def test_marked_counts_are_hypergeometric() -> None:
    rng = np.random.default_rng(13)
    positions, marked = rng.normal(size=(120, 2)), rng.random(120) < 0.25
    search = search_marked(positions, marked, [0.3, 0.6], permutations=19, rng=0)
    distance = np.linalg.norm(positions[:, None] - positions, axis=2)
    for k, radius in enumerate((0.3, 0.6)):
        near = distance <= radius
        np.testing.assert_array_equal(search.counts[:, k], (near & marked).sum(axis=1))
        np.testing.assert_allclose(
            search.p_local[:, k],
            stats.hypergeom.sf(search.counts[:, k] - 1, 120, marked.sum(), near.sum(axis=1)),
            rtol=1e-9,
        )


def test_false_alarms_on_shuffled_marks() -> None:
    rng = np.random.default_rng(14)
    positions = rng.normal(size=(150, 2))  # as crowded as it likes
    p = np.array(
        [
            search_marked(positions, rng.permutation(150) < 30, [0.2, 0.5], permutations=39, rng=rng).p_global
            for _ in range(300)
        ]
    )
    alarms = int(np.sum(p <= 0.05 + 1e-9))
    assert 3 <= alarms <= stats.binom.isf(1e-3, 300, 0.05)


def test_bad_input() -> None:
    points = UNIT.draw(30, np.random.default_rng(0))
    with pytest.raises(InputError, match="point outside the rectangle"):
        search_overdensities(points + 1, UNIT, 0.1)
    with pytest.raises(InputError, match="3 columns"):
        search_overdensities(np.ones((5, 3)), UNIT, 0.1)
    with pytest.raises(InputError, match="radii holds a value"):
        search_overdensities(points, UNIT, 0.0)
    with pytest.raises(InputError, match="null_fields is 5"):
        search_overdensities(points, UNIT, 0.1, null_fields=5)
    with pytest.raises(InputError, match="30 random points for 30 points"):
        search_overdensities(points, RandomPoints(points), 0.1)
    with pytest.raises(InputError, match="the lower one first"):
        Rectangle((1, 0), (0, 1))
    with pytest.raises(InputError, match="both among them"):
        search_marked(points, np.ones(30, bool), 0.1)
    with pytest.raises(InputError, match="accepted are at least 1 / alpha - 1"):
        search_overdensities(points, UNIT, 0.1, null_fields=19, rng=0).detections(0.01)
