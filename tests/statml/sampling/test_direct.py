"""Direct sampling on Kroupa's mass function, whose numbers are known to six digits.

p(m) ~ m^-0.3, m^-1.3, m^-2.3 with breaks at 0.08 and 0.5 solar masses, from 0.01 to 1.
Statistical comparisons are to 4 standard errors at fixed seeds.
"""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import integrate, optimize, stats

from statml.errors import InputError, InputTypeError
from statml.sampling import WeightedDraws, importance, inverse_cdf, rejection
from statml.sampling.pareto import fit_pareto, smoothed_log_weights

EDGES, SLOPES = np.array([0.01, 0.08, 0.5, 1.0]), np.array([0.3, 1.3, 2.3])
# Continuity fixes the second and third constant by the first.
RELATIVE = np.array([1.0, 0.08, 0.08 * 0.5])


def _pieces(low, high, power):
    """Integrals of m^(power - slope) over the pieces, clipped to [low, high]."""
    a, b = np.clip(EDGES[:-1], low, high), np.clip(EDGES[1:], low, high)
    q = power - SLOPES + 1
    return RELATIVE * (b**q - a**q) / q


K = RELATIVE / _pieces(0.01, 1, 0).sum()


def density(m):
    m = np.asarray(m, float)
    piece = np.clip(np.searchsorted(EDGES, m, side="right") - 1, 0, 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((m >= 0.01) & (m <= 1), K[piece] * np.abs(m) ** -SLOPES[piece], 0.0)


def log_density(m):
    with np.errstate(divide="ignore"):
        return np.log(density(m))


def cdf(m):
    m = np.clip(np.asarray(m, float), 0.01, 1)[..., None]
    a, b = np.minimum(EDGES[:-1], m), np.minimum(EDGES[1:], m)
    return np.sum(K * (b ** (1 - SLOPES) - a ** (1 - SLOPES)) / (1 - SLOPES), axis=-1)


def test_the_exact_numbers():
    assert_allclose(K, [2.116218, 0.169297, 0.084649], atol=6e-7)
    assert_allclose(K[0] * _pieces(0.01, 1, 1).sum(), 0.189322, atol=6e-7)
    assert_allclose(optimize.brentq(lambda m: cdf(m) - 0.5, 0.01, 1), 0.108238, atol=6e-7)
    assert_allclose([cdf(0.08), 1 - cdf(0.5)], [0.395617, 0.095216], atol=6e-7)
    grid = np.linspace(0.01, 1, 400_001)
    ratio = np.max(density(grid) / (4 * np.exp(-4 * grid)))
    assert_allclose(ratio, 2.19216, atol=6e-6)
    inside = np.exp(-0.04) - np.exp(-4)
    assert_allclose([1 / 2.2, 1 / 2.2 / inside], [0.4545, 0.48229], atol=6e-5)

    def fraction(q):
        return 1 / sum(integrate.quad(lambda m: density(m) ** 2 / q(m), a, b)[0] for a, b in pairwise(EDGES))

    truncated = stats.truncexpon(b=0.99 * 5, loc=0.01, scale=1 / 5)
    assert_allclose(fraction(truncated.pdf), 0.92536, atol=6e-6)
    assert_allclose(fraction(stats.uniform(0.01, 0.99).pdf), 0.30710, atol=6e-6)


def assert_kroupa(draws, n):
    sd = np.sqrt(K[0] * _pieces(0.01, 1, 2).sum() - 0.189322**2)
    assert abs(draws.mean() - 0.189322) < 4 * sd / np.sqrt(n)
    for threshold, probability in ((0.08, 0.395617), (0.5, 1 - 0.095216), (0.108238, 0.5)):
        assert abs(np.mean(draws < threshold) - probability) < 4 * np.sqrt(
            probability * (1 - probability) / n
        )
    assert stats.kstest(draws, cdf).pvalue > 1e-4


def test_inverse_cdf():
    drawn = inverse_cdf(cdf, (0.01, 1), 100_000, rng=1)
    assert_kroupa(drawn.draws, 100_000)
    assert drawn.ess == pytest.approx(100_000)
    # Bisection finds the quantile to rounding.
    u = np.random.default_rng(1).random(100_000)
    assert_allclose(cdf(drawn.draws), u, atol=1e-14)


def test_inverse_cdf_in_bounds_far_wider_than_the_distribution():
    """As many halvings as it takes: sixty of 1e25 end at 1e7."""
    drawn = inverse_cdf(lambda x: -np.expm1(-np.maximum(x, 0)), (0, 1e25), 2000, rng=0)
    u = np.random.default_rng(0).random(2000)
    assert_allclose(drawn.draws, -np.log1p(-u), rtol=1e-12)


def test_draws_that_do_not_count_are_no_quantiles():
    drawn = WeightedDraws(np.array([-50.0, 2.0, 3.0, 90.0]), np.array([-np.inf, 0.0, 0.0, -np.inf]), 4)
    assert_allclose(drawn.quantile([0.0, 0.1, 0.5, 1.0]), [2.0, 2.0, 2.5, 3.0])


def test_rejection():
    drawn = rejection(log_density, stats.expon(scale=0.25), np.log(2.2), 100_000, rng=2)
    assert_kroupa(drawn.draws, 100_000)
    exact = 1 / 2.2
    assert abs(drawn.acceptance - exact) < 4 * exact * np.sqrt((1 - exact) / 100_000)
    # The density is normalised, so its integral is 1.
    assert abs(drawn.log_evidence.value) < 4 * drawn.log_evidence.error
    inside = stats.truncexpon(b=0.99 * 4, loc=0.01, scale=0.25)
    drawn = rejection(log_density, inside, np.log(2.2 * (np.exp(-0.04) - np.exp(-4))), 100_000, rng=3)
    assert abs(drawn.acceptance - 0.48229) < 4 * 0.48229 * np.sqrt(0.518 / 100_000)


def test_a_bound_that_does_not_hold_is_seen():
    with pytest.raises(InputError, match=r"log_bound is .* accepted is a bound that holds everywhere"):
        rejection(log_density, stats.expon(scale=0.25), np.log(2.0), 1000, rng=1)


@pytest.mark.parametrize(
    ("proposal", "fraction"),
    [
        (stats.truncexpon(b=0.99 * 5, loc=0.01, scale=0.2), 0.92536),
        (stats.uniform(0.01, 0.99), 0.30710),
    ],
)
def test_importance(proposal, fraction):
    n = 400_000
    drawn = importance(log_density, proposal, n, rng=4)
    assert abs(drawn.ess / n - fraction) < 0.005
    value, error = drawn.expectation(lambda m: m)
    assert abs(value - 0.189322) < 4 * error
    below, error = drawn.expectation(lambda m: m < 0.08)
    assert abs(below - 0.395617) < 4 * error
    assert abs(drawn.log_evidence.value) < 4 * drawn.log_evidence.error
    assert drawn.reliable
    assert abs(drawn.quantile(0.5) - 0.108238) < 0.002
    assert_kroupa(drawn.resample(20_000, rng=1), 20_000 * fraction * 0.9)


def test_many_dimensions():
    target = stats.multivariate_normal([1.0, -1.0], [[1.0, 0.5], [0.5, 1.0]])
    drawn = importance(
        lambda x: target.logpdf(x) + 3.0, stats.multivariate_t([1, -1], np.eye(2), df=5), 100_000, rng=0
    )
    assert_allclose(drawn.mean, [1, -1], atol=0.03)
    assert_allclose(drawn.cov, [[1, 0.5], [0.5, 1]], atol=0.04)
    assert_allclose(drawn.std, [1, 1], atol=0.03)
    assert abs(drawn.log_evidence.value - 3.0) < 4 * drawn.log_evidence.error
    assert drawn.quantile([0.1, 0.9]).shape == (2, 2)
    assert drawn.resample(10, rng=0).shape == (10, 2)
    values, errors = drawn.expectation(lambda x: x**2)
    assert values.shape == errors.shape == (2,)


def test_the_error_of_an_expectation_covers():
    """200 runs: the mean square pull is 1 within the 0.1 % points of chi-square."""
    pulls = []
    for seed in range(200):
        drawn = importance(log_density, stats.uniform(0.01, 0.99), 2000, rng=seed)
        value, error = drawn.expectation(lambda m: m)
        pulls.append((value - 0.189322) / error)
    low, high = stats.chi2.ppf([0.001, 0.999], 200)
    assert low < np.sum(np.square(pulls)) < high


@pytest.fixture(scope="module")
def arviz():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arviz = pytest.importorskip("arviz")
    from arviz.utils import Numba

    Numba.disable_numba()
    return arviz


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(25, 3000), st.floats(0.05, 2.5))
def test_pareto_k_equals_arviz(arviz, seed, n, k):
    rng = np.random.default_rng(seed)
    log_weights = -k * np.log(rng.random(n)) + 0.1 * rng.normal(size=n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, their_k = arviz.psislw(log_weights.copy())
    ours, our_k = smoothed_log_weights(log_weights)
    assert_allclose(our_k, float(their_k), rtol=1e-9)
    assert_allclose(ours, np.asarray(theirs), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("k", [-0.3, 0.2, 0.7, 1.5])
def test_pareto_shape_is_found(k):
    """Within 4 asymptotic errors (1 + k) / sqrt(n), and the pull of the weak prior."""
    n = 4000
    x = np.sort(stats.genpareto(k, scale=2.0).rvs(n, random_state=1))
    found, sigma = fit_pareto(x)
    assert abs(found - k) < 4 * (1 + k) / np.sqrt(n) + 10 / n
    assert abs(sigma - 2) < 0.3


def test_pareto_k_sees_the_dimensions_grow():
    """A proposal 20 % too narrow: harmless in one dimension, hopeless in fifty."""
    found = []
    for d in (1, 50):
        proposal = stats.multivariate_normal(np.zeros(d), 0.64 * np.eye(d))
        target = stats.multivariate_normal(np.zeros(d), np.eye(d))
        found.append(importance(target.logpdf, proposal, 20_000, rng=0))
    assert found[0].reliable and not found[1].reliable
    assert found[0].ess > 10_000 and found[1].ess < 200


def test_equal_weights_have_no_tail():
    drawn = WeightedDraws(np.arange(100.0), np.zeros(100), 100)
    assert drawn.pareto_k == -np.inf and drawn.reliable
    assert_allclose(drawn.smoothed().weights, 0.01)
    assert drawn.expectation(lambda x: x)[0] == pytest.approx(49.5)


def test_resampling_follows_the_weights():
    drawn = WeightedDraws(np.arange(4.0), np.log([1.0, 2.0, 3.0, 4.0]), 4)
    counts = np.bincount(drawn.resample(1000, rng=0).astype(int))
    assert_allclose(counts, [100, 200, 300, 400], atol=1)  # systematic: off by less than one


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: inverse_cdf(lambda x: x, (0, 2), 10),
            "cdf is .* accepted is a distribution that is 0 and 1",
        ),
        (lambda: inverse_cdf(cdf, (0.01, 1), 0), "size is 0; accepted is a whole number"),
        (lambda: rejection(log_density, stats.expon(), np.nan, 10), "log_bound is nan; accepted is a finite"),
        (
            lambda: importance(lambda x: np.zeros(3), stats.norm(), 10),
            r"returned shape \(3,\).*accepted is \(10,\)",
        ),
        (lambda: importance(lambda x: x * np.nan, stats.norm(), 10), "log_density is nan at"),
        (lambda: importance(lambda x: x * 0 - np.inf, stats.norm(), 10), "-inf at every draw"),
        (lambda: WeightedDraws(np.zeros(3), np.full(3, np.nan), 3), "log_weights contains NaN"),
        (lambda: WeightedDraws(np.zeros(3), np.zeros(2), 3), r"log_weights \(2,\)"),
        (
            lambda: WeightedDraws(np.zeros(3), np.zeros(3), 3).quantile(1.5),
            "accepted are numbers between 0 and 1",
        ),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_proposal_must_have_a_density():
    with pytest.raises(
        InputTypeError, match="proposal is a int without rvs; accepted is a frozen distribution"
    ):
        importance(log_density, 3, 10)  # type: ignore[arg-type]


def test_same_seed_same_draws():
    for method in (
        lambda: inverse_cdf(cdf, (0.01, 1), 5, rng=1),
        lambda: rejection(log_density, stats.expon(scale=0.25), 1.0, 5, rng=1),
        lambda: importance(log_density, stats.uniform(0.01, 0.99), 5, rng=1),
    ):
        assert_allclose(method().draws, method().draws, rtol=0)
