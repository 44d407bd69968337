"""Effective temperatures of real stars from Gaia XP spectra: which intervals cover, and which are flagged.

4000 to 7000 K, split by source id with five fixed seeds. Coverage is that of the
*observed* labels; over splits into calibration and test stars it scatters with
sigma^2 = c (1 - c) (1 / n_test + 1 / n_cal), exactly as a beta-binomial.
"""

import numpy as np
import pytest
from sklearn.model_selection import GroupShuffleSplit
from sklearn.pipeline import make_pipeline

from statml import datasets
from statml.errors import InputError
from statml.regression import BayesianLinearRegression, SpectrumFeatures, spectral_regressor
from statml.uncertainty import calibration_report, covered_fraction, predict_dist

SEEDS = range(5)
N_CALIBRATION, N_TEST = 800, 800


@pytest.fixture(scope="module")
def stars():
    table = datasets.load("gaia_xp")
    teff = table["teff"].data
    table = table[(teff >= 4000) & (teff <= 7000)]
    return (
        table["flux"].data[:, 28:328],
        table["teff"].data,
        table["teff_err"].data,
        table["source_id"].data,
    )


def split(stars, seed):
    X, _, _, source = stars
    return next(GroupShuffleSplit(1, test_size=N_TEST, random_state=seed).split(X, groups=source))


@pytest.fixture(scope="module")
def shipped(stars):
    """Predictions of the shipped model on the five test sets."""
    X, y, err, source = stars
    results = []
    for seed in SEEDS:
        train, test = split(stars, seed)
        model = spectral_regressor(calibration_size=N_CALIBRATION, random_state=seed)
        model.fit(X[train], y[train], y_err=err[train], groups=source[train])
        assert len(model.calibration_pit_) == N_CALIBRATION
        assert not set(source[train]) & set(source[test])
        results.append((model.predict_dist(X[test], y_err=err[test]), y[test]))
    return results


@pytest.mark.parametrize("seed", SEEDS)
def test_constant_normal_scatter_is_flagged(stars, seed):
    """68 % intervals that cover far more while 95 % look right: our own report says so."""
    X, y, err, _ = stars
    train, test = split(stars, seed)
    model = make_pipeline(SpectrumFeatures(), BayesianLinearRegression())
    model.fit(X[train], y[train], bayesianlinearregression__y_err=err[train])
    report = calibration_report(predict_dist(model, X[test], y_err=err[test]), y[test])
    assert not report.calibrated
    assert any("68% intervals cover" in miss for miss in report.misses)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("level", [0.68, 0.95])
def test_shipped_model_covers_the_observed_labels(shipped, seed, level):
    """Each split within 3 sigma; ten checks, so a calibrated model fails one with a chance of 3 %."""
    covered = covered_fraction(*shipped[seed], level)
    sigma = np.sqrt(level * (1 - level) * (1 / N_TEST + 1 / N_CALIBRATION))
    print(f"split {seed}, nominal {level:.0%}: {covered:.4f}, {(covered - level) / sigma:+.1f} sigma")
    assert abs(covered - level) < 3 * sigma


@pytest.mark.slow
def test_coverage_scatters_over_splits_as_it_must(stars):
    """Forty more splits: mean and standard deviation of the coverage are those of exchangeable stars."""
    X, y, err, source = stars
    covered = []
    for seed in range(100, 140):
        train, test = split(stars, seed)
        model = spectral_regressor(calibration_size=N_CALIBRATION, random_state=seed)
        model.fit(X[train], y[train], y_err=err[train], groups=source[train])
        p = model.predict_dist(X[test], y_err=err[test])
        covered.append([covered_fraction(p, y[test], level) for level in (0.68, 0.95)])
    for level, values in zip((0.68, 0.95), np.transpose(covered)):
        sigma = np.sqrt(level * (1 - level) * (1 / N_TEST + 1 / N_CALIBRATION))
        print(f"nominal {level:.0%}: mean {values.mean():.4f}, std {values.std():.4f}, expected {sigma:.4f}")
        assert abs(values.mean() - level) < sigma
        # 40 splits of the same stars: a chi-square of about 40 degrees of freedom
        assert 0.6 < values.std() / sigma < 1.5


@pytest.mark.parametrize("seed", SEEDS)
def test_every_quartile_of_predicted_temperature_is_covered(shipped, seed):
    p, y = shipped[seed]
    low, high = p.interval(0.68)
    inside = (low <= y) & (y <= high)
    quartile = np.searchsorted(np.quantile(p.mean, [0.25, 0.5, 0.75]), p.mean)
    covered = [inside[quartile == k].mean() for k in range(4)]
    print("quartiles of predicted Teff: " + ", ".join(f"{value:.3f}" for value in covered))
    assert min(covered) >= 0.55 and max(covered) <= 0.80


@pytest.mark.parametrize("seed", SEEDS)
def test_intervals_are_useful(shipped, seed):
    low, high = shipped[seed][0].interval(0.68)
    half_width = np.median(high - low) / 2
    print(f"split {seed}: median 68 % half-width {half_width:.1f} K")
    assert half_width <= 250


def test_features_do_not_depend_on_the_other_stars_of_a_call(stars):
    X = stars[0][:300]
    features = SpectrumFeatures().fit(X)
    whole = features.transform(X)
    assert np.allclose(features.transform(X[:5]), whole[:5])
    assert np.all(np.isfinite(whole))
    scores = whole[:, : features.pca_.n_components_]
    assert np.all(np.abs(scores) <= 3.0)
    # products of the first eight, squares included
    assert whole.shape[1] == scores.shape[1] + 8 * 9 // 2


def test_negative_and_zero_fluxes_have_finite_features(stars):
    X = stars[0][:100].copy()
    X[3] = 0.0
    X[4] = -1.0
    assert np.all(np.isfinite(SpectrumFeatures().fit(stars[0][:100]).transform(X)))


@pytest.mark.parametrize("name", ["n_bins", "n_components", "clip", "floor"])
def test_wrong_parameters(stars, name):
    with pytest.raises(InputError, match=f"{name} is 0; accepted are values > 0"):
        SpectrumFeatures(**{name: 0}).fit(stars[0][:50])
