"""Metrics beside scikit-learn, exact intervals, and the coverage of every interval by simulation."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn import metrics as peer

from statml.classification import (
    accuracy,
    average_precision,
    balanced_accuracy,
    brier_decomposition,
    brier_score,
    choose_threshold,
    classification_report,
    completeness,
    confusion_matrix,
    f1_score,
    log_loss,
    proportion,
    purity,
    reliability,
    roc_auc,
)
from statml.errors import InputError
from statml.uncertainty import Categorical

LEVELS = (0.68, 0.95)


def binary(p, classes=(0, 1)):
    return Categorical(np.column_stack([1 - p, p]), classes)


def sample(n=400, seed=0, k=2):
    """Probabilities and classes drawn from them; some probabilities are equal."""
    rng = np.random.default_rng(seed)
    if k == 2:
        p = rng.beta(0.7, 1.2, size=n).round(2)
        return binary(p), (rng.random(n) < p).astype(int)
    proba = rng.dirichlet(np.full(k, 0.6), size=n)
    prediction = Categorical(proba, [f"c{i}" for i in range(k)])
    return prediction, prediction.sample(rng=rng)[0]


# -- values -----------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 4])
def test_values_are_those_of_scikit_learn(k):
    prediction, y = sample(k=k)
    given, classes = prediction.mode, prediction.classes
    assert_allclose(confusion_matrix(prediction, y), peer.confusion_matrix(y, given, labels=classes))
    assert_allclose(float(accuracy(prediction, y)), peer.accuracy_score(y, given))
    assert_allclose(float(balanced_accuracy(prediction, y)), peer.balanced_accuracy_score(y, given))
    assert_allclose(float(log_loss(prediction, y)), peer.log_loss(y, prediction.proba, labels=classes))
    truth = y[:, None] == classes
    assert_allclose(
        float(brier_score(prediction, y)), np.mean(np.sum((prediction.proba - truth) ** 2, axis=1))
    )
    for column, label in enumerate(classes):
        options = {"labels": [label], "average": None}
        assert_allclose(
            float(completeness(prediction, y, label=label)), peer.recall_score(y, given, **options)[0]
        )
        assert_allclose(
            float(purity(prediction, y, label=label)), peer.precision_score(y, given, **options)[0]
        )
        assert_allclose(float(f1_score(prediction, y, label=label)), peer.f1_score(y, given, **options)[0])
        p = prediction.proba[:, column]
        assert_allclose(float(roc_auc(prediction, y, label=label)), peer.roc_auc_score(y == label, p))
        precision = average_precision(prediction, y, label=label, resamples=10)
        assert_allclose(float(precision), peer.average_precision_score(y == label, p))


def test_two_classes_mean_the_second():
    prediction, y = sample()
    for metric in (completeness, purity, f1_score, roc_auc):
        assert metric(prediction, y) == metric(prediction, y, label=1) != metric(prediction, y, label=0)


def test_delong_variance_against_pairs():
    """The structural components, written out over all pairs of a small sample."""
    prediction, y = sample(n=40, seed=3)
    p = prediction.proba[:, 1]
    inside, outside = p[y == 1], p[y == 0]
    pairs = (inside[:, None] > outside) + 0.5 * (inside[:, None] == outside)
    m, n = pairs.shape
    variance = np.var(pairs.mean(axis=1), ddof=1) / m + np.var(pairs.mean(axis=0), ddof=1) / n
    found = roc_auc(prediction, y)
    area = pairs.mean()
    assert_allclose(found.value, area)
    half = stats.norm.ppf(0.84) * np.sqrt(variance) / (area * (1 - area))
    logit = np.log(area / (1 - area))
    assert_allclose([found.low, found.high], 1 / (1 + np.exp(-np.array([logit - half, logit + half]))))


def test_wilson_and_clopper_pearson_against_scipy():
    for count, n in ((0, 5), (3, 10), (10, 10), (136, 146)):
        for level in LEVELS:
            for method, name in (("wilson", "wilson"), ("clopper-pearson", "exact")):
                ours = proportion(count, n, level=level, method=method)
                theirs = stats.binomtest(count, n).proportion_ci(level, method=name)
                assert_allclose([ours.low, ours.high], [theirs.low, theirs.high], atol=1e-12)
    nothing = proportion(0, 0)
    assert np.isnan(nothing.value) and (nothing.low, nothing.high) == (0.0, 1.0)


def test_perfect_and_useless_ranks():
    y = np.repeat([0, 1], [30, 10])
    perfect = roc_auc(binary(np.where(y == 1, 0.9, 0.1)), y, level=0.95)
    assert perfect.value == perfect.high == 1 and 0.6 < perfect.low < 1
    assert roc_auc(binary(np.full(40, 0.3)), y).value == 0.5
    one_class = roc_auc(binary(np.full(40, 0.3)), np.ones(40, int))
    assert np.isnan(one_class.value) and (one_class.low, one_class.high) == (0, 1)


# -- coverage of the intervals ------------------------------------------------------------

RUNS = 800


def within_binomial(covered, level, runs=RUNS, slack=0.0):
    """Within 3 binomial sigma of the level, and of what a discrete count cannot do better (slack)."""
    return abs(covered / runs - level) <= 3 * np.sqrt(level * (1 - level) / runs) + slack


def test_proportions_cover_on_average_over_the_truth():
    """Wilson's coverage oscillates with p; over uniform p it is the level. Clopper-Pearson's is never below."""
    rng = np.random.default_rng(11)
    runs, n = 20_000, 30
    p = rng.uniform(0.05, 0.95, size=runs)
    count = rng.binomial(n, p)
    for level in LEVELS:
        table = [proportion(k, n, level=level) for k in range(n + 1)]
        low, high = (np.array([getattr(row, name) for row in table])[count] for name in ("low", "high"))
        assert within_binomial(np.sum((low <= p) & (p <= high)), level, runs, slack=0.005)
        exact = [proportion(k, n, level=level, method="clopper-pearson") for k in range(n + 1)]
        low, high = (np.array([getattr(row, name) for row in exact])[count] for name in ("low", "high"))
        assert np.mean((low <= p) & (p <= high)) > level


def truth_and_draws(seed):
    """A population with known metrics: scores of two normals, log odds exact; many samples of 300."""
    rng = np.random.default_rng(seed)

    def draw(n):
        y = (rng.random(n) < 0.3).astype(int)
        x = rng.normal(1.5 * y, 1.0)
        odds = 0.3 / 0.7 * np.exp(1.5 * x - 1.125)
        return binary(odds / (1 + odds)), y

    return draw


METRICS = {
    "accuracy": accuracy,
    "balanced accuracy": balanced_accuracy,
    "completeness": completeness,
    "purity": purity,
    "F1": f1_score,
    "AUC": roc_auc,
    "log loss": log_loss,
    "Brier": brier_score,
}


def test_intervals_cover_the_population_value():
    """800 samples of 300; 16 checks at 3 sigma: a right one fails with probability 4 %, the seed is fixed.

    A count of 300 moves in steps, so the coverage of a proportion may differ from its level by the
    probability of one step, about 2 %.
    """
    draw = truth_and_draws(5)
    population = draw(2_000_000)
    truth = {name: float(metric(*population)) for name, metric in METRICS.items()}
    samples = [draw(300) for _ in range(RUNS)]
    for name, metric in METRICS.items():
        for level in LEVELS:
            found = [metric(*each, level=level) for each in samples]
            covered = sum(each.low <= truth[name] <= each.high for each in found)
            assert within_binomial(covered, level, slack=0.02), (name, level, covered / RUNS)


def test_average_precision_covers():
    """The bootstrap's interval; 200 samples of 300 at 68 %."""
    draw = truth_and_draws(6)
    truth = float(average_precision(*draw(1_000_000), resamples=2))
    covered = 0
    for run in range(200):
        found = average_precision(*draw(300), resamples=150, rng=run)
        covered += found.low <= truth <= found.high
    assert within_binomial(covered, 0.68, 200), covered / 200


# -- reliability ------------------------------------------------------------------------


def test_right_probabilities_pass_at_the_stated_rate():
    """P values of right probabilities are uniform: 700 sets of 500, KS at 1e-3."""
    pvalues = [reliability(*sample(n=500, seed=seed)).pvalue for seed in range(700)]
    assert stats.kstest(pvalues, "uniform").pvalue > 1e-3
    sharp = []
    for seed in range(400):  # nearly all predictions nearly certain
        rng = np.random.default_rng(seed)
        p = rng.beta(0.05, 0.05, size=1000)
        sharp.append(reliability(binary(p), (rng.random(1000) < p).astype(int)).pvalue)
    assert stats.binom.sf(np.sum(np.array(sharp) < 0.01) - 1, 400, 0.01) > 1e-3


def test_calibration_error_band_holds():
    """Half of right predictions lie below its median, 99 % below its upper end; 500 sets."""
    found = [reliability(*sample(n=500, seed=seed)) for seed in range(500)]
    below = np.array(
        [[each.calibration_error < edge for edge in each.calibration_error_band] for each in found]
    )
    for share, level in zip(below.mean(axis=0), (0.5, 0.99)):
        assert abs(share - level) < 3.3 * np.sqrt(level * (1 - level) / 500)


def test_wrong_probabilities_are_flagged():
    prediction, y = sample(n=3000, seed=1)
    p = prediction.proba[:, 1]
    for wrong in (p**2 / (p**2 + (1 - p) ** 2), np.clip(1.2 * p, 0, 1), 0.5 + 0.7 * (p - 0.5)):
        assert reliability(binary(wrong), y).pvalue < 1e-6
        assert not classification_report(binary(wrong), y).calibrated
    many, labels = sample(n=3000, seed=2, k=4)
    assert classification_report(many, labels).calibrated
    sure = Categorical(many.proba**2 / np.sum(many.proba**2, axis=1, keepdims=True), many.classes)
    report = classification_report(sure, labels)
    assert not report.calibrated and "most probable class" in report.misses[-1]


def test_reliability_along_a_feature():
    """Right on average at each probability, wrong along a feature the model has not seen."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=4000)
    p = np.full(4000, 0.5)
    y = (rng.random(4000) < 1 / (1 + np.exp(-x))).astype(int)
    assert reliability(binary(p), y).pvalue > 1e-3
    assert reliability(binary(p), y, by=x).pvalue < 1e-6


@pytest.mark.parametrize("k", [2, 3])
def test_brier_decomposition_adds_up(k):
    prediction, y = sample(n=2000, k=k)
    parts = brier_decomposition(prediction, y, resamples=50)
    total = parts.reliability.value - parts.resolution.value + parts.uncertainty.value + parts.within
    assert_allclose(total, float(brier_score(prediction, y)), rtol=1e-12)
    assert abs(parts.within) < 0.02 and parts.reliability.value < 0.01
    fractions = np.array([np.mean(y == label) for label in prediction.classes])
    constant = Categorical(np.tile(fractions, (2000, 1)), prediction.classes)
    plain = brier_decomposition(constant, y, bins=1, resamples=2)
    assert_allclose(plain.uncertainty.value, float(brier_score(constant, y)))
    assert_allclose([plain.resolution.value, plain.reliability.value, plain.within], 0, atol=1e-15)


# -- thresholds --------------------------------------------------------------------------


def test_threshold_meets_its_target():
    prediction, y = sample(n=2000, seed=4)
    p = prediction.proba[:, 1]
    for target in (0.5, 0.9, 0.99, 1.0):
        found = choose_threshold(prediction, y, completeness=target)
        kept = p >= found.threshold
        assert found.selected == kept.sum()
        assert_allclose(found.completeness.value, np.mean(kept[y == 1]))
        assert_allclose(found.purity.value, np.mean(y[kept] == 1))
        assert found.completeness.value >= target - 1e-12
        higher = np.min(p[p > found.threshold])
        assert np.mean(p[y == 1] >= higher) < target
    for target in (0.6, 0.9):
        found = choose_threshold(prediction, y, purity=target)
        assert found.purity.value >= target
        lower = np.unique(p[p < found.threshold])
        assert all(np.mean(y[p >= t] == 1) < target for t in lower)


# -- the report ----------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3])
def test_report(k):
    prediction, y = sample(n=600, k=k)
    report = classification_report(prediction, y, level=0.95)
    text = str(report)
    assert "600 predictions" in text and "95%" in text and "MISCALIBRATED" not in text
    assert report.scores["accuracy"] == accuracy(prediction, y, level=0.95)
    written = json.loads(json.dumps(report.to_dict()))
    assert written["n"] == 600 and written["calibrated"] is True
    assert set(written["reliability"]) == ({"1"} if k == 2 else {"c0", "c1", "c2", "top"})
    figure = report.figure()
    assert len(figure.axes) == 2


def test_wrong_arguments_are_named():
    prediction, y = sample(n=30)
    many, labels = sample(n=30, k=3)
    for call, words in (
        (lambda: accuracy(prediction, y[1:]), ("(29,)", "(30,)")),
        (lambda: completeness(many, labels), ("label", "c0, c1, c2")),
        (lambda: roc_auc(prediction, y, label=5), ("label", "5")),
        (lambda: accuracy(prediction, y, level=1.2), ("level", "1.2")),
        (lambda: log_loss(prediction.mode, y), ("Categorical",)),
        (lambda: log_loss(prediction, y + 1), ("classes",)),
        (lambda: proportion(5, 3), ("count", "3")),
        (lambda: reliability(prediction[:10], y[:10]), ("10", "20")),
        (lambda: reliability(prediction, y, by=np.full(30, np.nan)), ("by", "NaN")),
        (lambda: choose_threshold(prediction, y), ("completeness", "purity", "one of them")),
        (lambda: choose_threshold(prediction, y, purity=1.5), ("purity", "1.5")),
        (lambda: classification_report(y, y), ("prediction", "Categorical")),
    ):
        with pytest.raises(InputError) as caught:
            call()
        text = str(caught.value)
        assert "\n" not in text and all(word in text for word in words), text


def test_sets_of_classes_cover():
    """Sets of probability 0.9 hold the class at least 90 % of the time; the top class alone does not."""
    prediction, y = sample(n=4000, seed=7, k=4)
    inside = prediction.prediction_set(0.9)[np.arange(4000), np.searchsorted(prediction.classes, y)]
    assert inside.mean() > 0.9 - 3 * np.sqrt(0.09 / 4000)
    assert np.mean(prediction.mode == y) < 0.8
    assert_allclose(prediction.entropy, -np.sum(prediction.proba * np.log(prediction.proba), axis=1))
    assert_allclose(prediction.variance.sum(axis=1) + np.sum(prediction.proba**2, axis=1), 1)
