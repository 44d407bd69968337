"""Bootstrap and jackknife beside closed forms, scipy, and their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from statml import datasets, uncertainty, units
from statml.errors import InputError, InputTypeError
from statml.regression import LinearRegression
from statml.statistics import (
    CircularBlocks,
    Groups,
    MovingBlocks,
    bootstrap,
    field_correlation,
    hartlap_factor,
    inverse_covariance,
    jackknife,
    refitted,
    residual_bootstrap,
    two_point,
)
from statml.uncertainty import Covariance


def line():
    X, y, err = units.from_table(datasets.load("hogg2010")[4:], x="x", y="y")
    return X, y, err.y_err


def variance(x):
    return np.dot(x, x) / len(x) - (x.sum() / len(x)) ** 2


# -- jackknife -----------------------------------------------------------------------


def test_jackknife_of_means_is_their_covariance() -> None:
    X = np.random.default_rng(0).normal(size=(40, 3)) @ [[1, 0.5, 0], [0, 1, 0.2], [0, 0, 2]]
    found = jackknife(lambda rows: rows.mean(axis=0), X)
    np.testing.assert_allclose(found.cov, np.cov(X.T) / 40, rtol=1e-12)
    np.testing.assert_allclose(found.bias, 0, atol=1e-13)


def test_jackknife_of_equal_blocks_is_that_of_their_means() -> None:
    x = np.random.default_rng(1).normal(size=60)
    expected = np.std(x.reshape(12, 5).mean(axis=1), ddof=1) / np.sqrt(12)
    for scheme in (MovingBlocks(5), CircularBlocks(5), Groups(np.repeat(np.arange(12), 5))):
        assert jackknife(np.mean, x, scheme=scheme).std[0] == pytest.approx(expected, rel=1e-12)


def test_estimators_are_refitted_with_their_errors() -> None:
    X, y, err = line()
    ours = jackknife(refitted(LinearRegression()), X, y, y_err=err)
    theirs = uncertainty.jackknife(LinearRegression(), X, y, y_err=err)
    np.testing.assert_array_equal(ours.cov, theirs.cov)
    # A matrix loses rows and columns.
    again = jackknife(refitted(LinearRegression()), X, y, y_cov=Covariance.dense(np.diag(err**2)))
    np.testing.assert_allclose(again.cov, theirs.cov, rtol=1e-8)
    pairs = bootstrap(refitted(LinearRegression()), X, y, y_err=err, size=50, rng=3, bca=False)
    np.testing.assert_array_equal(
        pairs.replicates, uncertainty.bootstrap(LinearRegression(), X, y, y_err=err, size=50, rng=3).refits
    )
    residuals = residual_bootstrap(LinearRegression(), X, y, y_err=err, size=50, rng=3)
    assert residuals.std[1] == pytest.approx(LinearRegression().fit(X, y, y_err=err).coef_err_[0], rel=0.4)


# -- intervals of the bootstrap ---------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"), [("bca", "BCa"), ("basic", "basic"), ("percentile", "percentile")]
)
def test_intervals_are_scipys_on_the_same_replicates(ours: str, theirs: str) -> None:
    x = np.random.default_rng(2).exponential(size=45)
    found = bootstrap(np.var, x, size=800, rng=0)
    peer = stats.bootstrap(
        (x,),
        np.var,
        n_resamples=0,
        bootstrap_result=stats._resampling.BootstrapResult(None, found.replicates[:, 0], None),
        method=theirs,
        confidence_level=0.9,
    )
    low, high = found.interval(0.9, method=ours)
    np.testing.assert_allclose([low[0], high[0]], list(peer.confidence_interval), rtol=1e-12)
    assert found.std[0] == pytest.approx(peer.standard_error, rel=1e-12)


def coverage(draw: str, trials: int, size: int) -> dict[str, np.ndarray]:
    """Whether 90 % intervals of the variance of 30 numbers hold the truth, which is 1."""
    rng = np.random.default_rng(4)
    held: dict[str, list[bool]] = {"bca": [], "percentile": [], "basic": []}
    for _ in range(trials):
        found = bootstrap(variance, getattr(rng, draw)(size=30), size=size, rng=rng)
        for method, values in held.items():
            low, high = found.interval(0.9, method=method)
            values.append(bool(low[0] <= 1 <= high[0]))
    return {method: np.array(values) for method, values in held.items()}


def test_bca_covers_a_skewed_statistic_more_often() -> None:
    # Same data and replicates for both: a sign test of the data sets on which they disagree, error rate 1e-3.
    found = coverage("normal", 500, 400)
    better = int(np.sum(found["bca"] & ~found["percentile"]))
    worse = int(np.sum(~found["bca"] & found["percentile"]))
    assert stats.binomtest(better, better + worse, 0.5, "greater").pvalue < 1e-3


@pytest.mark.slow
def test_coverage_of_the_three_intervals() -> None:
    # Binomial errors of about 0.01; measured .84 (BCa), .81 (basic), .80 (percentile) of 0.90 for normal numbers.
    normal = {method: held.mean() for method, held in coverage("normal", 1500, 1000).items()}
    assert normal["percentile"] + 0.03 < normal["bca"] < 0.9
    assert normal["bca"] > 0.80
    # Thirty exponential numbers are too few for any of them: .73 of 0.90 at best.
    skewed = {method: held.mean() for method, held in coverage("exponential", 1500, 1000).items()}
    assert skewed["basic"] < skewed["percentile"] < skewed["bca"] < 0.8


# -- what is drawn must be independent ----------------------------------------------------


def test_blocks_keep_the_correlation_of_a_series() -> None:
    rho, n = 0.7, 4000
    rng = np.random.default_rng(5)
    x = np.zeros(n)
    for i, shock in enumerate(rng.normal(size=n)):
        x[i] = rho * x[i - 1] + shock if i else shock / np.sqrt(1 - rho**2)
    # Error of the mean of a stationary AR(1) series, large n.
    truth = 1 / (1 - rho) / np.sqrt(n)
    alone = bootstrap(np.mean, x, size=300, rng=0, bca=False).std[0]
    assert alone == pytest.approx(truth * np.sqrt((1 - rho) / (1 + rho)), rel=0.2)
    for scheme in (MovingBlocks(60), CircularBlocks(60)):
        # 66 blocks and 300 replicates: relative error about 0.1; 4 of them.
        assert bootstrap(np.mean, x, scheme=scheme, size=300, rng=0, bca=False).std[0] == pytest.approx(
            truth, rel=0.4
        )


def test_groups_keep_what_their_members_share() -> None:
    rng = np.random.default_rng(6)
    labels = np.repeat(np.arange(50), 20)
    x = rng.normal(size=50)[labels] + rng.normal(size=1000)
    truth = np.sqrt(1 / 50 + 1 / 1000)
    assert bootstrap(np.mean, x, scheme=Groups(labels), size=400, rng=0, bca=False).std[0] == pytest.approx(
        truth, rel=0.35
    )
    assert bootstrap(np.mean, x, size=400, rng=0, bca=False).std[0] < 0.5 * truth


def test_regions_of_the_sky_keep_what_neighbours_share() -> None:
    rng = np.random.default_rng(9)
    positions = rng.random((4000, 2))
    # A field that is constant in cells of 1/16: 256 independent values, about 16 points in each.
    cell = (positions * 16).astype(int) @ [16, 1]
    x = rng.normal(size=256)[cell] + rng.normal(size=4000)
    truth = np.sqrt(1 / 256 + 1 / 4000)
    regions = bootstrap(np.mean, x, scheme=Groups.spatial(positions, 64), size=400, rng=0, bca=False)
    # The scatter of 64 regions and 400 replicates: 10 %; 4 of these.
    assert regions.std[0] == pytest.approx(truth, rel=0.4)
    assert bootstrap(np.mean, x, size=400, rng=0, bca=False).std[0] < 0.5 * truth
    with pytest.raises(InputError, match="positions has shape"):
        Groups.spatial(x, 64)


def test_every_row_of_a_ring_is_drawn_equally_often() -> None:
    rng = np.random.default_rng(7)
    counts = np.zeros(20)
    for _ in range(4000):
        counts += np.bincount(CircularBlocks(5).draw(20, rng), minlength=20)
    # Rows of a block come together: variance 5 times that of independent draws; 5 standard deviations.
    assert np.all(np.abs(counts - 4000) < 5 * np.sqrt(5 * 4000))


# -- inverse covariances ----------------------------------------------------------------------


def test_hartlaps_factor_makes_the_inverse_right_in_the_mean() -> None:
    rng, p, n = np.random.default_rng(8), 5, 20
    truth = np.eye(p) + 0.3
    draws = rng.multivariate_normal(np.zeros(p), truth, size=(4000, n))
    traces = np.array([np.trace(inverse_covariance(np.cov(each.T), n) @ truth) / p for each in draws])
    error = traces.std() / np.sqrt(len(traces))
    assert abs(traces.mean() - 1) < 4 * error
    assert traces.mean() / hartlap_factor(n, p) - 1 > 50 * error  # without it: 46 % too large


@pytest.mark.parametrize("realisations", [3, 6, 7])
def test_too_few_realisations_are_refused(realisations: int) -> None:
    with pytest.raises(InputError, match="accepted are more than 7"):
        inverse_covariance(np.eye(5), realisations)


# -- refusals ----------------------------------------------------------------------------------


def test_bad_input() -> None:
    x = np.arange(10.0)
    with pytest.raises(InputError, match=r"rows; accepted are equal numbers"):
        bootstrap(np.mean, x, x[:-1])
    with pytest.raises(InputError, match="size is 1"):
        bootstrap(np.mean, x, size=1)
    with pytest.raises(InputError, match="scheme is 'pears'"):
        bootstrap(np.mean, x, scheme="pears")
    with pytest.raises(InputError, match="length is 6"):
        bootstrap(np.mean, x, scheme=MovingBlocks(6))
    with pytest.raises(InputError, match="labels has shape"):
        jackknife(np.mean, x, scheme=Groups([1, 2]))
    with pytest.raises(InputError, match="one group"):
        jackknife(np.mean, x, scheme=Groups(np.zeros(10)))
    with pytest.raises(InputError, match="statistic is NaN"):
        bootstrap(lambda v: np.nan, x)
    with pytest.raises(InputError, match=r"20 replicates have no 0\.025 quantile"):
        bootstrap(np.mean, x, size=20).interval(0.95)
    with pytest.raises(InputError, match="without jackknife values"):
        bootstrap(np.mean, x, bca=False).interval(0.68)
    with pytest.raises(InputError, match="y_cov is not diagonal"):
        bootstrap(refitted(LinearRegression()), *line()[:2], y_cov=Covariance.dense(np.eye(16) + 0.1))
    with pytest.raises(InputTypeError, match="has no params_"):
        from sklearn.linear_model import Ridge

        jackknife(refitted(Ridge()), x[:, None], x)


@pytest.mark.parametrize("unit", [1.0, 1e-120, 1e90])
def test_bca_in_any_unit_and_of_what_does_not_vary(unit):
    data = np.random.default_rng(0).gamma(1.0, size=40)
    found = np.array(bootstrap(np.mean, data * unit, rng=1).interval(0.68)) / unit
    assert_allclose(found, bootstrap(np.mean, data, rng=1).interval(0.68), rtol=1e-9)
    low, high = bootstrap(np.mean, np.full(10, unit), rng=1).interval(0.68)
    assert_allclose([low, high], unit)


def test_masked_values_and_units_are_refused():
    import astropy.units as u

    data = np.ma.array(np.arange(10.0), mask=np.arange(10) == 2)
    with pytest.raises(InputError, match="data has 1 masked values"):
        bootstrap(np.mean, data, rng=0)
    with pytest.raises(InputTypeError, match="data carries the unit m"):
        jackknife(np.mean, np.arange(10.0) * u.m)
    with pytest.raises(InputError, match="field has 1 masked values"):
        field_correlation(data, edges=[1, 2, 3])
    points = np.random.default_rng(0).random((10, 2))
    with pytest.raises(InputTypeError, match="data carries the unit deg"):
        two_point(points * u.deg, randoms=points, edges=[0.1, 0.2])
