"""A calibrated model passes, a wrong one is flagged, and false alarms are as rare as stated."""

import json
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from statml.errors import InputError, InputTypeError
from statml.regression import LinearRegression
from statml.uncertainty import (
    ConformalRegressor,
    Gaussian,
    StudentT,
    calibration_report,
    covered_fraction,
    pit,
)
from statml.uncertainty.calibration import COVERAGE_ALPHA, LEVELS, PIT_ALPHA, coverage_pvalue


def toy(n, seed=0):
    rng = np.random.default_rng(seed)
    mean, std = rng.normal(size=n), rng.uniform(0.5, 2.0, n)
    return mean, std, mean + std * rng.normal(size=n)


def test_calibrated_passes():
    mean, std, y = toy(2000)
    report = calibration_report(Gaussian(mean, std), y)
    assert report.calibrated and report.misses == []
    assert_allclose(report.covered, LEVELS, atol=0.04)
    assert_allclose(report.sharpness, np.median(std) * stats.norm.ppf(0.84), rtol=1e-9)
    assert_allclose(report.crps, np.mean(Gaussian(mean, std).crps(y)))
    assert_allclose(report.log_score, np.mean(stats.norm.logpdf(y, mean, std)))


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_wrong_widths_are_flagged(factor):
    mean, std, y = toy(2000)
    report = calibration_report(Gaussian(mean, factor * std), y)
    assert not report.calibrated
    assert any("68% intervals cover" in miss for miss in report.misses)
    assert "MISCALIBRATED" in str(report)


def test_bias_is_flagged():
    mean, std, y = toy(2000)
    report = calibration_report(Gaussian(mean + 0.25 * std, std), y)
    assert any("not uniform" in miss for miss in report.misses)


def test_heavy_tails_that_pass_at_95_percent_are_flagged():
    """Student-t scatter described by its normal variance: 95 % looks right, 68 % does not."""
    rng = np.random.default_rng(2)
    y = rng.standard_t(3.0, 3000)
    report = calibration_report(Gaussian(np.zeros(3000), np.sqrt(3.0)), y)
    covered = dict(zip(report.levels, report.covered))
    assert abs(covered[0.95] - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 3000)
    assert covered[0.68] > 0.74 and not report.calibrated
    assert calibration_report(StudentT(np.zeros(3000), 1.0, 3.0), y).calibrated


@pytest.mark.parametrize("n", [20, 60, 500])
def test_false_alarms_are_as_rare_as_stated(n):
    """1,000 calibrated sets: fewer flagged than the sum of the stated rates (3 binomial errors above)."""
    stated = PIT_ALPHA + len(LEVELS) * COVERAGE_ALPHA
    rng = np.random.default_rng(n)
    alarms = sum(
        not calibration_report(Gaussian(np.zeros(n), 1.0), rng.normal(size=n)).calibrated for _ in range(1000)
    )
    assert alarms / 1000 < stated + 3 * np.sqrt(stated * (1 - stated) / 1000)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("n", [20, 50, 1000])
def test_each_level_keeps_its_false_alarm_rate_exactly(n, level):
    """Summed over the binomial distribution, not simulated."""
    inside = np.arange(n + 1)
    flagged = np.array([coverage_pvalue(k, n, level) < COVERAGE_ALPHA for k in inside])
    assert stats.binom.pmf(inside[flagged], n, level).sum() <= COVERAGE_ALPHA
    assert flagged[0]  # nothing covered is always a miss


def test_pit_is_the_cdf_and_uniform():
    mean, std, y = toy(5000)
    u = pit(Gaussian(mean, std), y)
    assert_allclose(u, stats.norm.cdf(y, mean, std))
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert covered_fraction(Gaussian(mean, std), y, 0.5) == pytest.approx(np.mean(np.abs(u - 0.5) <= 0.25))


def test_report_as_json_and_figure():
    mean, std, y = toy(300)
    report = calibration_report(Gaussian(mean, std), y, target="true")
    values = json.loads(json.dumps(report.to_dict()))
    assert values["n"] == 300 and values["calibrated"] is True and values["target"] == "true"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = report.figure()
        figure.canvas.draw()
    assert len(figure.axes) == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"y": np.zeros(99)}, r"y has shape \(99,\)"),
        ({"y": np.r_[np.nan, np.zeros(99)]}, "y contains NaN"),
        ({"target": "latent"}, "target is 'latent'"),
        ({"levels": [68]}, "level is"),
    ],
)
def test_refusals(change, sentence):
    arguments = {"y": np.zeros(100), "target": "observed", "levels": LEVELS} | change
    with pytest.raises(InputError, match=sentence):
        calibration_report(Gaussian(np.zeros(100), 1.0), arguments.pop("y"), **arguments)
    with pytest.raises(InputError, match="at least 20"):
        calibration_report(Gaussian(np.zeros(5), 1.0), np.zeros(5))


# -- split conformal ---------------------------------------------------------------------------------


def test_conformal_coverage_is_the_beta_binomial_mean():
    """With m calibration ranks the next value is below the k-th with probability k / (m + 1), whatever F is.

    For m = 9 and level 0.8 the interval runs from the first to the ninth rank, so it
    covers 8 of 10 exchangeable ranks. Over 4,000 draws of 9 + 10 values with a model
    that is plainly wrong, the mean coverage is within 4 standard errors.
    """
    rng = np.random.default_rng(0)
    m, new, trials = 9, 10, 4000
    covered = np.empty(trials)
    for trial in range(trials):
        y = rng.standard_t(3.0, m + new)
        ranks = pit(Gaussian(np.full(m, 0.7), 2.0), y[:m])
        p = recalibrated(Gaussian(np.full(new, 0.7), 2.0), ranks)
        covered[trial] = covered_fraction(p, y[m:], 0.8)
    expected = stats.betabinom(new, 8, 2)
    assert_allclose(expected.mean() / new, 0.8)
    error = expected.std() / new / np.sqrt(trials)
    assert abs(covered.mean() - 0.8) < 4 * error
    # and the whole distribution over trials is beta-binomial
    counts = np.bincount(np.round(covered * new).astype(int), minlength=new + 1)
    assert (
        stats.chisquare(counts[3:], expected.pmf(np.arange(3, 11)) / expected.sf(2) * counts[3:].sum()).pvalue
        > 1e-3
    )


def recalibrated(base, ranks):
    from statml.uncertainty import Recalibrated

    return Recalibrated(base, ranks)


def heavy(n, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, X @ [1.0, -2.0] + rng.standard_t(2.5, n)


def test_conformal_repairs_a_model_that_is_wrong():
    X, y = heavy(4000, 1)
    new_X, new_y = heavy(4000, 2)
    plain = LinearRegression().fit(X, y).predict_dist(new_X)
    repaired = ConformalRegressor(LinearRegression(), calibration_size=2000, random_state=0).fit(X, y)
    assert not calibration_report(plain, new_y).calibrated
    p = repaired.predict_dist(new_X)
    for level in LEVELS:
        error = np.sqrt(level * (1 - level) * (1 / 4000 + 1 / 2000))
        assert abs(covered_fraction(p, new_y, level) - level) < 4 * error


def test_conformal_uses_the_errors_of_y_and_the_same_rows():
    """The ranks are those of a manual split with the same rows."""
    from sklearn.model_selection import ShuffleSplit

    X, y = heavy(200, 3)
    err = np.random.default_rng(0).uniform(0.5, 2.0, 200)
    model = ConformalRegressor(LinearRegression(), calibration_size=50, random_state=7).fit(X, y, y_err=err)
    seed = int(np.random.default_rng(7).integers(2**31))
    train, held = next(ShuffleSplit(1, test_size=50, random_state=seed).split(X))
    line = LinearRegression().fit(X[train], y[train], y_err=err[train])
    assert_allclose(model.estimator_.params_, line.params_)
    ranks = np.sort(line.predict_dist(X[held], y_err=err[held]).cdf(y[held]))
    assert_allclose(model.calibration_pit_, ranks)


def test_conformal_leaves_out_values_without_information():
    X, y = heavy(200, 3)
    err = np.where(np.arange(200) % 4 == 0, np.inf, 1.0)
    wild = np.where(np.isinf(err), 1e6, y)
    model = ConformalRegressor(LinearRegression(), random_state=0).fit(X, wild, y_err=err)
    kept = np.isfinite(err)
    expected = ConformalRegressor(LinearRegression(), random_state=0).fit(X[kept], y[kept], y_err=err[kept])
    assert_allclose(model.calibration_pit_, expected.calibration_pit_)
    assert_allclose(model.predict(X), expected.predict(X))


def test_conformal_keeps_groups_together():
    X, y = heavy(120, 5)
    groups = np.repeat(np.arange(30), 4)
    X[:, 0] = groups  # so that the fitted rows can be told apart
    seen = []

    class Spy(LinearRegression):
        def fit(self, X, y, **errors):
            seen.append(set(X[:, 0].astype(int)))
            return super().fit(X, y, **errors)

    ConformalRegressor(Spy(), random_state=0).fit(X, y, groups=groups)
    assert len(seen[0]) * 4 == 120 - round(0.3 * 30) * 4


@pytest.mark.parametrize("size", [0, 200, 1.5, -3])
def test_conformal_refuses_impossible_sizes(size):
    X, y = heavy(200, 3)
    with pytest.raises(InputError, match="calibration_size is"):
        ConformalRegressor(LinearRegression(), calibration_size=size).fit(X, y)


def test_arguments_in_the_wrong_order_are_named():
    with pytest.raises(InputTypeError, match="prediction is a ndarray; accepted is a PredictiveDistribution"):
        calibration_report(np.zeros(3), Gaussian(np.zeros(3), np.ones(3)))
