"""Ranks of simulated posteriors: uniform for a correct one, and the test sees what is wrong."""

import numpy as np
import pytest
from scipy import stats

from statml.errors import InputError
from statml.uncertainty import rank_among, rank_uniformity, simulation_report


def test_p_values_of_uniform_ranks_are_uniform():
    """400 tests of truly uniform ranks; a Kolmogorov-Smirnov test at 1e-3 judges the p values."""
    u = np.random.default_rng(0).uniform(size=(1000, 400))
    assert stats.kstest(rank_uniformity(u), "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    "wrong, word",
    [(lambda u: u**1.3, "mean 0.43"), (lambda u: stats.norm.cdf(1.3 * stats.norm.ppf(u)), "spread 1.1")],
)
def test_a_bias_and_a_wrong_width_are_seen_and_told_apart(wrong, word):
    u = np.random.default_rng(1).uniform(size=(2000, 2))
    u[:, 1] = wrong(u[:, 1])
    report = simulation_report(u, ["good", "bad"])
    assert not report.calibrated and len(report.misses) == 1
    assert "bad" in report.misses[0] and word in report.misses[0]
    assert "MISCALIBRATED" in str(report)


def test_ranks_among_few_draws_are_uniform_with_ties_too():
    """Truth and 7 draws from the same law, continuous and integer: exchangeable, so uniform (alpha 1e-3)."""
    rng = np.random.default_rng(2)
    for draw in (lambda *shape: rng.normal(size=shape), lambda *shape: rng.integers(0, 4, size=shape)):
        ranks = np.array([rank_among(draw(2), draw(7, 2), rng=rng) for _ in range(2000)])
        assert simulation_report(ranks, bins=10).calibrated


@pytest.mark.parametrize(
    "bad", [np.full(200, np.nan), np.full(200, 1.1), np.zeros(99), np.zeros((200, 2, 2))]
)
def test_bad_ranks_are_refused(bad):
    with pytest.raises(InputError):
        rank_uniformity(bad)


def test_bad_draws_and_names_are_refused():
    with pytest.raises(InputError, match=r"\(3,\) and draws \(5, 2\)"):
        rank_among(np.zeros(3), np.zeros((5, 2)))
    with pytest.raises(InputError, match="names"):
        simulation_report(np.random.default_rng(0).uniform(size=(200, 2)), ["one"])
