"""Poisson intervals and detections beside tables, exact sums and astropy."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from astropy.stats import poisson_conf_interval
from scipy import stats

from statml.errors import InputError
from statml.statistics import on_off, poisson_interval, signal_interval


def test_central_interval_is_its_definition_and_astropys() -> None:
    n = np.arange(0, 60)
    low, high = poisson_interval(n, level=0.9)
    assert low[0] == 0
    np.testing.assert_allclose(stats.poisson.cdf(n, high), 0.05, rtol=1e-10)
    np.testing.assert_allclose(stats.poisson.sf(n[1:] - 1, low[1:]), 0.05, rtol=1e-10)
    one_sigma = stats.norm.cdf(1) - stats.norm.cdf(-1)
    theirs = poisson_conf_interval(n, interval="frequentist-confidence")
    np.testing.assert_allclose(poisson_interval(n, level=one_sigma), theirs, rtol=1e-10)


@pytest.mark.parametrize("mean", [0.3, 1.0, 3.7, 20.0])
def test_central_interval_covers_at_least_its_level(mean: float) -> None:
    # Summed over all counts: no random numbers.
    n = np.arange(200)
    low, high = poisson_interval(n, level=0.68)
    covered = stats.poisson.pmf(n, mean)[(low <= mean) & (mean <= high)].sum()
    assert covered >= 0.68
    # Where sqrt(n) does not.
    naive = stats.poisson.pmf(n, mean)[np.abs(n - mean) <= np.sqrt(n)].sum()
    if mean in (0.3, 3.7):
        assert naive < 0.68


@pytest.mark.parametrize(
    ("n", "background", "low", "high"),
    # Tables of Feldman & Cousins (1998), 90 %.
    [
        (0, 0.0, 0.0, 2.44),
        (1, 0.0, 0.11, 4.36),
        (3, 0.0, 1.10, 7.42),
        (5, 0.0, 1.84, 9.99),
        (0, 3.0, 0.0, 1.08),
    ],
)
def test_likelihood_ratio_intervals(n: int, background: float, low: float, high: float) -> None:
    found = signal_interval(n, background, level=0.9)
    # Their printed limits are rounded, and made monotonic in the background.
    assert found[0] == pytest.approx(low, abs=0.011)
    assert found[1] == pytest.approx(high, abs=0.011) or (background > 0 and found[1] <= high)


@pytest.mark.parametrize(
    ("n", "background", "level"),
    [(1, 12.0, 0.99), (20, 40.0, 0.99), (200, 250.0, 0.9), (0, 1000.0, 0.9), (60, 40.0, 0.95)],
)
def test_likelihood_ratio_intervals_by_their_definition(n: int, background: float, level: float) -> None:
    """Also far below the background, where the limit is many counts above what was seen."""
    signals = np.arange(0.0, 60.0, 0.005)
    counts = np.arange(int(background + 60 + 12 * np.sqrt(background + 60)))
    log_best = stats.poisson.logpmf(counts, np.maximum(counts, background))
    accepted = []
    for part in np.array_split(signals, 40):
        log_probability = stats.poisson.logpmf(counts, (part + background)[:, None])
        ratio = log_probability - log_best
        better = np.where(ratio > ratio[:, [n]], np.exp(log_probability), 0.0).sum(axis=1)
        accepted.append(part[better < level])
    every = np.concatenate(accepted)
    assert signal_interval(n, background, level) == pytest.approx((every[0], every[-1]), abs=1e-9)


def test_likelihood_ratio_intervals_of_many_counts() -> None:
    """In little memory; for many counts they are those of a normal, 1.645 errors wide."""
    low, high = signal_interval(1500, 500.0, level=0.9)
    np.testing.assert_allclose([low, high], 1000 + np.sqrt(1500) * np.array([-1.645, 1.645]), atol=1.5)


def test_likelihood_ratio_intervals_cover() -> None:
    n = np.arange(25)
    every = [signal_interval(int(each), 2.0, level=0.9) for each in n]
    for signal in (0.0, 1.0, 4.0):
        inside = np.array([low - 0.005 <= signal <= high + 0.005 for low, high in every])
        assert stats.poisson.pmf(n[inside], signal + 2.0).sum() >= 0.9 - 1e-4


def test_on_off_is_exact_and_agrees_with_li_and_ma() -> None:
    # Li & Ma's equation 17, written as they do.
    for n_on, n_off, alpha in ((25, 40, 0.25), (130, 90, 1.0), (3, 20, 0.5)):
        ours = on_off(n_on, n_off, alpha)
        total = n_on + n_off
        theirs = np.sqrt(2) * np.sqrt(
            n_on * np.log((1 + alpha) / alpha * n_on / total) + n_off * np.log((1 + alpha) * n_off / total)
        )
        assert abs(ours.significance) == pytest.approx(theirs, rel=1e-12)
        assert np.sign(ours.significance) == np.sign(ours.excess)
        # Summed over how any total divides between on and off.
        assert ours.p_value == pytest.approx(
            stats.binomtest(n_on, total, alpha / (1 + alpha), "greater").pvalue
        )
    assert on_off(130, 90, 1.0).significance == pytest.approx(
        on_off(130, 90, 1.0).exact_significance, abs=0.1
    )


def test_on_off_of_many_counts_keeps_its_digits() -> None:
    """Nearly as expected, the significance is the excess over its error without a source."""
    off = 10**12
    for gap in (10**3, 10**5, -(10**5)):
        found = on_off(off + gap, off, 1.0).significance
        assert found == pytest.approx(gap / np.sqrt(2.0 * off + gap), rel=1e-4)


@pytest.mark.parametrize("counts", [(25, 40, 0.25), (200, 10, 0.1), (3000, 500, 0.2), (2000, 0, 1.0)])
def test_the_exact_significance_of_any_strength(counts: tuple[int, int, float]) -> None:
    """Beside the incomplete beta function at 40 digits; doubles end at 38 standard deviations."""
    n_on, n_off, alpha = counts
    with mpmath.workdps(40):
        share = mpmath.mpf(alpha) / (1 + mpmath.mpf(alpha))
        tail = mpmath.betainc(n_on, n_off + 1, 0, share, regularized=True)
        found = on_off(*counts).exact_significance
        ours = mpmath.erfc(mpmath.mpf(found) / mpmath.sqrt(2)) / 2
        # d log(tail) = -z dz, so that the rounding of z and of the sum are this much
        assert abs(mpmath.log(ours) - mpmath.log(tail)) < 1e-12 * found**2 + 1e-12


def test_the_exact_significance_of_a_deficit() -> None:
    assert on_off(5, 500, 1.0).exact_significance == pytest.approx(
        stats.norm.ppf(stats.binom.cdf(4, 505, 0.5)), rel=1e-12
    )
    assert on_off(0, 10, 0.5).exact_significance == -np.inf


def test_on_off_false_positives() -> None:
    # Exact sum over both counts: a p value below 0.05 at most 5 times in 100, whatever the background.
    for background in (2.0, 30.0):
        on, off = np.arange(90), np.arange(160)
        weight = stats.poisson.pmf(on, background)[:, None] * stats.poisson.pmf(off, 2 * background)
        total = on[:, None] + off
        p = stats.binom.sf(on[:, None] - 1, total, 1 / 3)
        assert weight[p <= 0.05].sum() <= 0.05


def test_bad_counts() -> None:
    for wrong in (-1, 1.5, np.nan):
        with pytest.raises(InputError, match="n holds a value that is no count"):
            poisson_interval(wrong)
    with pytest.raises(InputError, match="level is 1"):
        poisson_interval(3, level=1)
    with pytest.raises(InputError, match="background is -1"):
        signal_interval(3, -1)
    with pytest.raises(InputError, match="alpha is 0"):
        on_off(1, 1, 0)
    with pytest.raises(InputError, match="both 0"):
        on_off(0, 0, 1)
