"""Every family of predictions keeps the laws of a distribution."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import integrate, stats

from statml.errors import InputError
from statml.uncertainty import (
    Categorical,
    Covariance,
    Gaussian,
    GaussianMixture,
    PredictiveDistribution,
    Recalibrated,
    Samples,
    StudentT,
)

MEAN = np.array([-1.0, 0.0, 3.0, 100.0])
SCALE = np.array([0.5, 1.0, 2.0, 10.0])


def recalibrated():
    # Calibration ranks of a model that is too wide and a little too low.
    ranks = stats.norm.cdf(0.3 + 0.6 * stats.norm.ppf((np.arange(200) + 0.5) / 200))
    return Recalibrated(Gaussian(MEAN, SCALE), ranks)


FAMILIES = {
    "gaussian": lambda: Gaussian(MEAN, SCALE),
    "student_t 3": lambda: StudentT(MEAN, SCALE, 3.0),
    "student_t many": lambda: StudentT(MEAN, SCALE, [2.5, 4.0, 10.0, 300.0]),
    "mixture": lambda: GaussianMixture(
        [0.2, 0.5, 0.3], MEAN[:, None] + [-2.0, 0.0, 1.0], SCALE[:, None] * [0.3, 1.0, 2.0]
    ),
    "mixture far apart": lambda: GaussianMixture([0.5, 0.5], MEAN[:, None] + [-40.0, 40.0], np.ones((4, 2))),
    "samples": lambda: Samples(MEAN + SCALE * np.random.default_rng(0).normal(size=(4001, 4))),
    "recalibrated": recalibrated,
}
SMOOTH = [name for name in FAMILIES if name not in ("samples", "recalibrated")]
each_family = pytest.mark.parametrize("family", FAMILIES)


@each_family
def test_quantiles_invert_the_cdf(family):
    p = FAMILIES[family]()
    # The empirical distribution function is a staircase of steps 1 / 4001.
    tolerance = 1.01 / 4001 if family == "samples" else 1e-9
    for probability in (0.001, 0.02, 0.16, 0.5, 0.84, 0.98, 0.999):
        assert_allclose(p.cdf(p.ppf(probability)), probability, atol=tolerance)
    several = np.array([0.1, 0.3, 0.6, 0.9])
    assert_allclose(p.cdf(p.ppf(several)), several, atol=tolerance)


@settings(max_examples=50, deadline=None)
@given(
    probability=st.floats(1e-6, 1 - 1e-6),
    gap=st.floats(0, 100),
    ratio=st.floats(1e-3, 1e3),
    weight=st.floats(1e-6, 1 - 1e-6),
)
def test_mixture_quantiles_anywhere(probability, gap, ratio, weight):
    p = GaussianMixture([weight, 1 - weight], [[0.0, gap]], [[1.0, ratio]])
    assert_allclose(p.cdf(p.ppf(probability)), probability, rtol=1e-6, atol=1e-9)


@each_family
def test_cdf_rises_from_zero_to_one(family):
    p = FAMILIES[family]()
    values = [p.cdf(p.mean + z * p.std) for z in np.linspace(-300, 300, 601)]
    assert np.all(np.diff(values, axis=0) >= 0)
    assert np.all(values[0] < 1e-3) and np.all(values[-1] > 1 - 1e-3)


@pytest.mark.parametrize("family", SMOOTH)
def test_density_is_the_slope_of_the_cdf_and_integrates_to_one(family):
    p = FAMILIES[family]()
    grid = p.ppf(0.01), p.ppf(0.99)
    for i in range(len(p)):
        low, high = grid[0][i], grid[1][i]
        one = p[i]
        inside, _ = integrate.quad(
            lambda y, one=one: float(np.exp(one.log_prob(y))[0]), low, high, limit=400, epsabs=1e-10
        )
        assert_allclose(inside, 0.98, atol=1e-7)


@pytest.mark.parametrize("family", ["samples", "recalibrated"])
def test_smoothed_density_integrates_to_one(family):
    p = FAMILIES[family]()
    width = 12 * p.std
    grid = p.mean + np.linspace(-1, 1, 1501)[:, None] * width
    density = np.exp([p.log_prob(y) for y in grid])
    assert_allclose(np.trapezoid(density, grid, axis=0), 1, atol=2e-3)


@each_family
def test_crps_is_the_integral_of_its_definition(family):
    """CRPS = integral of (F(x) - 1{y <= x})^2 dx (Gneiting & Raftery 2007)."""
    p = FAMILIES[family]()
    # What our sum over 185 quantiles, or the grid below, leaves; the closed forms are exact.
    stepped = family in ("samples", "recalibrated")
    for y in (p.mean - 0.4 * p.std, p.mean + 2.5 * p.std):
        for i in range(len(p)):
            one, at, width = p[i], float(y[i]), float(p.std[i])
            if stepped:
                below, above = np.linspace(at - 15 * width, at, 4001), np.linspace(at, at + 15 * width, 4001)
                expected = np.trapezoid([one.cdf(x)[0] ** 2 for x in below], below)
                expected += np.trapezoid([(1 - one.cdf(x)[0]) ** 2 for x in above], above)
            else:
                expected = sum(
                    integrate.quad(lambda x, one=one: float(one.cdf(x)[0]) ** 2, low, high, limit=400)[0]
                    for low, high in ((-np.inf, at - 20 * width), (at - 20 * width, at))
                ) + sum(
                    integrate.quad(lambda x, one=one: float(1 - one.cdf(x)[0]) ** 2, low, high, limit=400)[0]
                    for low, high in ((at, at + 20 * width), (at + 20 * width, np.inf))
                )
            assert_allclose(one.crps(at)[0], expected, rtol=2e-3 if stepped else 1e-7)


@each_family
def test_moments_of_samples(family):
    """Means, variances and coverage within 5 standard errors (8 for heavy tails' variances)."""
    p = FAMILIES[family]()
    size = 20_000 if family == "recalibrated" else 200_000
    draws = p.sample(size, rng=1)
    assert draws.shape == (size, 4)
    assert np.all(np.abs(draws.mean(axis=0) - p.mean) < 5 * p.std / np.sqrt(size) + 2e-3 * p.std)
    if "student" not in family:
        fourth = np.mean((draws - p.mean) ** 4, axis=0) / p.std**4
        error = np.sqrt((fourth - 1) / size)
        assert np.all(np.abs(draws.var(axis=0) / p.std**2 - 1) < 5 * error + 4e-3)
    for level in (0.5, 0.9):
        low, high = p.interval(level)
        inside = np.mean((draws >= low) & (draws <= high), axis=0)
        assert np.all(np.abs(inside - level) < 5 * np.sqrt(level * (1 - level) / size) + 5e-4)
    assert_allclose(p.sample(2, rng=3), p.sample(2, rng=3))


def test_student_t_moments_are_scipys():
    p = StudentT(MEAN, SCALE, 3.0)
    assert_allclose(p.std, stats.t(3.0, MEAN, SCALE).std())
    assert np.all(np.isinf(StudentT(MEAN, SCALE, 1.5).std))


@each_family
def test_intervals_are_nested_and_central(family):
    p = FAMILIES[family]()
    inner, outer = p.interval(0.5), p.interval(0.95)
    assert np.all(outer[0] < inner[0]) and np.all(inner[0] < inner[1]) and np.all(inner[1] < outer[1])
    assert_allclose(inner[0], p.ppf(0.25))
    for level in (0.0, 1.0, 68, -0.1, np.nan):
        with pytest.raises(InputError, match="level is"):
            p.interval(level)


@each_family
def test_pickle_slices_and_concatenate(family):
    p = FAMILIES[family]()
    y = p.mean + 0.3 * p.std
    copy = pickle.loads(pickle.dumps(p))
    for method in ("cdf", "log_prob", "crps"):
        assert_allclose(getattr(copy, method)(y), getattr(p, method)(y), rtol=1e-13)
    for key in (slice(1, 3), np.array([2, 0]), np.array([True, False, True, False]), [3, 1]):
        assert len(p[key]) == 2
        assert_allclose(p[key].mean, p.mean[key])
        assert_allclose(p[key].crps(y[key]), p.crps(y)[key], rtol=1e-12)
    assert len(p[2]) == len(p[-1]) == 1
    assert_allclose(p[-1].mean, p.mean[-1:])
    joined = PredictiveDistribution.concatenate([p[2:], p[:2]])
    assert type(joined) is type(p) and len(joined) == 4
    assert_allclose(joined.log_prob(y[[2, 3, 0, 1]]), p.log_prob(y)[[2, 3, 0, 1]], rtol=1e-10)
    assert joined.cov is None or family == "samples"


@each_family
def test_a_loop_over_predictions_ends(family):
    p = FAMILIES[family]()
    assert [len(one) for one in p] == [1, 1, 1, 1]
    with pytest.raises(IndexError):
        p[4]
    with pytest.raises(IndexError):
        p[-5]


def test_concatenate_refuses_strangers():
    with pytest.raises(InputError, match="one family"):
        PredictiveDistribution.concatenate([Gaussian([0.0], 1.0), StudentT([0.0], 1.0, 3.0)])
    with pytest.raises(InputError, match="no family"):
        PredictiveDistribution.concatenate([])


def test_components_follow_rows():
    parts = {"parameter": [0.1, 0.2], "noise": 0.5}
    p = Gaussian([0.0, 1.0], np.sqrt([0.6, 0.7]), variance_components=parts)
    assert set(p.variance_components) == {"parameter", "input", "noise", "model"}
    assert_allclose(np.sum(list(p.variance_components.values()), axis=0), p.std**2, rtol=1e-12)
    assert_allclose(p[1].variance_components["parameter"], [0.2])
    both = PredictiveDistribution.concatenate([p[1], p[0]])
    assert_allclose(both.variance_components["parameter"], [0.2, 0.1])
    without = PredictiveDistribution.concatenate([p[0], Gaussian([0.0], 1.0)])
    assert without.variance_components == {}
    with pytest.raises(InputError, match="'scatter'; accepted are parameter, input, noise, model"):
        Gaussian([0.0], 1.0, variance_components={"scatter": 1.0})


# -- points and widths without end -----------------------------------------------------------


@pytest.mark.parametrize("make", [Gaussian, lambda m, s: StudentT(m, s, 4.0)])
@pytest.mark.filterwarnings("error")
def test_zero_and_infinite_widths_are_limits_without_nan(make):
    p = make([1.0, 1.0, 1.0], [0.0, 0.0, np.inf])
    y = np.array([1.0, 2.0, 5.0])
    assert_allclose(p.cdf(y), [1.0, 1.0, 0.5])
    assert p.cdf(0.0)[0] == 0.0
    assert list(p.log_prob(y)) == [np.inf, -np.inf, -np.inf]
    assert_allclose(p.crps(y), [0.0, 1.0, np.inf])
    low, high = p.interval(0.68)
    assert list(low) == [1.0, 1.0, -np.inf] and list(high) == [1.0, 1.0, np.inf]
    assert_allclose(p.ppf(0.5), 1.0)
    assert_allclose(p.sample(3, rng=0)[:, 0], 1.0)


@pytest.mark.filterwarnings("error")
def test_infinite_width_in_a_mixture():
    p = GaussianMixture([0.5, 0.5], [[0.0, 0.0]], [[np.inf, np.inf]])
    assert p.cdf(3.0) == 0.5 and p.ppf(0.5) == 0.0 and p.crps(1.0) == np.inf
    assert p.ppf(0.9) == np.inf and p.ppf(0.1) == -np.inf


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Gaussian([0.0], [-1.0]), "std contains NaN or negative"),
        (lambda: Gaussian([0.0], [np.nan]), "std contains NaN or negative"),
        (lambda: StudentT([0.0], [-1.0], 3.0), "scale contains NaN or negative"),
        (lambda: StudentT([0.0], [1.0], 0.0), "df has the value 0"),
        (lambda: StudentT([0.0], [1.0], np.nan), "df has the value nan"),
        (
            lambda: StudentT([0.0, 1.0], 1.0, [3.0, 4.0], scale_cov=Covariance.from_std([1.0, 1.0])),
            "one common df",
        ),
        (lambda: GaussianMixture([0.5, 0.4], [[0.0, 1.0]], [[1.0, 1.0]]), "sum to 1"),
        (lambda: GaussianMixture([0.5, np.nan], [[0.0, 1.0]], [[1.0, 1.0]]), "sum to 1"),
        (lambda: GaussianMixture([0.5, 0.5], [[0.0, 1.0]], [[1.0, 0.0]]), "positive"),
        (lambda: GaussianMixture([0.5, 0.5], [0.0, 1.0], [1.0, 1.0]), r"accepted is \(n, K\)"),
        (lambda: Samples(np.ones(5)), r"accepted is \(size, n\)"),
        (lambda: Samples([[np.nan], [1.0]]), "NaN or inf"),
        (lambda: Categorical([[0.5, 0.5]], ["a"]), "one column"),
        (lambda: Categorical([[0.5, 0.6]], ["a", "b"]), "sum to 1"),
    ],
)
def test_refusals_are_one_clear_sentence(make, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)


# -- joint distributions -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def joint():
    rng = np.random.default_rng(3)
    modes = rng.normal(size=(4, 2))
    return np.diag(SCALE**2) + modes @ modes.T, Covariance.low_rank(SCALE**2, modes), rng.normal(size=4)


def test_joint_gaussian_is_scipys(joint):
    matrix, C, z = joint
    p = Gaussian(MEAN, np.sqrt(np.diag(matrix)), cov=C)
    y = MEAN + z * SCALE
    assert_allclose(p.joint_log_prob(y), stats.multivariate_normal(MEAN, matrix).logpdf(y), rtol=1e-12)
    key = [2, 0]
    some = stats.multivariate_normal(MEAN[key], matrix[np.ix_(key, key)]).logpdf(y[key])
    assert_allclose(p[key].joint_log_prob(y[key]), some, rtol=1e-12)
    draws = p.sample(200_000, rng=0)
    assert_allclose(np.cov(draws, rowvar=False), matrix, atol=0.02 * 100)
    assert_allclose(np.corrcoef(draws[:, 0], draws[:, 1])[0, 1], correlation(matrix), atol=0.02)


def test_joint_student_t_is_scipys(joint):
    matrix, C, z = joint
    p = StudentT(MEAN, np.sqrt(np.diag(matrix)), 5.0, scale_cov=C)
    y = MEAN + z * SCALE
    assert_allclose(p.joint_log_prob(y), stats.multivariate_t(MEAN, matrix, 5.0).logpdf(y), rtol=1e-12)
    assert_allclose(p.cov.to_dense(), matrix * 5 / 3, rtol=1e-12)
    assert_allclose(p.cov.variance(), p.std**2, rtol=1e-12)
    draws = p.sample(200_000, rng=0)
    assert_allclose(np.corrcoef(draws[:, 0], draws[:, 1])[0, 1], correlation(matrix), atol=0.03)
    # One common chi-square: a far first value goes with a far third one.
    far = np.abs(draws[:, 0] - MEAN[0]) > np.quantile(np.abs(draws[:, 0] - MEAN[0]), 0.999)
    assert np.std(draws[far, 3]) > 1.5 * np.std(draws[:, 3])
    assert StudentT(MEAN, 1.0, 2.0, scale_cov=C).cov is None


def correlation(matrix):
    return matrix[0, 1] / np.sqrt(matrix[0, 0] * matrix[1, 1])


@pytest.mark.parametrize("family", FAMILIES)
def test_no_joint_density_without_a_covariance(family):
    with pytest.raises(InputError, match="joint_log_prob"):
        FAMILIES[family]().joint_log_prob(MEAN)


def test_samples_are_joint():
    rng = np.random.default_rng(0)
    first = rng.normal(size=5000)
    p = Samples(np.column_stack([first, first + 0.1 * rng.normal(size=5000)]))
    assert_allclose(p.cov.to_dense(), np.cov(p.draws, rowvar=False, ddof=0))
    draws = p.sample(2000, rng=1)
    assert np.corrcoef(draws, rowvar=False)[0, 1] > 0.99


# -- classes -------------------------------------------------------------------------------------


@pytest.fixture
def classes():
    return Categorical([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5]], ["rgb", "clump", "agb"])


def test_categorical_scores(classes):
    assert_allclose(classes.brier(["rgb", "agb"]), [0.3**2 + 0.2**2 + 0.1**2, 0.5])
    assert_allclose(classes.log_prob(["clump", "rgb"]), [np.log(0.2), -np.inf])
    assert list(classes.mode) == ["rgb", "clump"]
    assert len(classes) == 2 and len(classes[1]) == 1
    with pytest.raises(InputError, match="other than"):
        classes.brier(["rgb", "dwarf"])


def test_categorical_draws(classes):
    draws = classes.sample(100_000, rng=0)
    for name, expected in zip(classes.classes, classes.proba.T):
        error = np.sqrt(np.maximum(expected * (1 - expected), 1e-12) / 100_000)
        assert np.all(np.abs(np.mean(draws == name, axis=0) - expected) <= 5 * error)


def test_categorical_refuses_intervals_and_joins(classes):
    with pytest.raises(InputError, match="interval is not defined for classes"):
        classes.interval(0.68)
    assert_allclose(pickle.loads(pickle.dumps(classes)).proba, classes.proba)
    both = Categorical.concatenate([classes[1], classes[0]])
    assert_allclose(both.proba, classes.proba[::-1])
    with pytest.raises(InputError, match="different classes"):
        Categorical.concatenate([classes, Categorical([[1.0]], ["rgb"])])
    assert [len(one) for one in classes] == [1, 1]


# -- recalibration ---------------------------------------------------------------------------------


def test_recalibration_by_uniform_ranks_changes_nothing():
    """With evenly spaced ranks the map is the identity."""
    base = Gaussian(MEAN, SCALE)
    same = Recalibrated(base, np.arange(1, 1000) / 1000)
    y = MEAN + 0.7 * SCALE
    assert_allclose(same.cdf(y), base.cdf(y), rtol=1e-9)
    assert_allclose(same.interval(0.68), base.interval(0.68), rtol=1e-9)
    assert_allclose(same.log_prob(y), base.log_prob(y), rtol=1e-6)
    assert np.all(np.abs(same.mean - base.mean) < 1e-6 * SCALE)
    assert_allclose(same.std, base.std, rtol=1e-4)
    assert_allclose(same.crps(y), base.crps(y), rtol=3e-3)  # a sum over 185 quantiles, with a kink at y


def test_recalibration_undoes_a_known_error():
    """A Gaussian twice too wide, and its ranks: the recalibrated one has the true width."""
    ranks = stats.norm.cdf(0.5 * stats.norm.ppf((np.arange(5000) + 0.5) / 5000))
    p = Recalibrated(Gaussian(MEAN, 2 * SCALE), ranks)
    truth = Gaussian(MEAN, SCALE)
    assert_allclose(p.interval(0.9), truth.interval(0.9), rtol=2e-3, atol=0.01)
    assert_allclose(p.std, truth.std, rtol=0.01)
    assert_allclose(p.log_prob(MEAN + SCALE), truth.log_prob(MEAN + SCALE), atol=0.1)


def test_recalibration_with_components_keeps_their_sum():
    base = Gaussian(MEAN, SCALE, variance_components={"parameter": 0.3 * SCALE**2, "model": 0.7 * SCALE**2})
    p = Recalibrated(base, stats.norm.cdf(0.5 * stats.norm.ppf((np.arange(50) + 0.5) / 50)))
    assert_allclose(np.sum(list(p.variance_components.values()), axis=0), p.std**2, rtol=1e-12)
    both = PredictiveDistribution.concatenate([p[:2], Recalibrated(base[2:], np.arange(1, 100) / 100)])
    assert_allclose(both.std[:2], p.std[:2])
    assert_allclose(both.std[2:], base.std[2:], rtol=0.02)
