"""Do the samplers keep their target? Reversibility and invariance, from exact draws.

Start every chain with an exact draw. If a step is reversible, the pairs (before, after)
are as many from bin a to bin b as back, and sum (n_ab - n_ba)^2 / (n_ab + n_ba) over
pairs of bins is chi-square with their number; sweeps that are not reversible must at least
leave the distribution what it was. Steps are coarse, so that accepting everything, or
a forgotten Hastings factor, is seen: each test has a sampler that fails it.

Every p value is compared with 1e-4; about twenty of them, at fixed seeds.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from statml.sampling import HMC, NUTS, Ensemble, Gibbs, Metropolis, ValueAndGradient, hamiltonian, sample
from statml.sampling.target import AnalyticTarget, NumpyTarget
from statml.sampling.transition import Clock

ALPHA = 1e-4
CHAINS = 40_000
WIDTH = 0.7


def banana(x):
    """x0 ~ N(0, 1), x1 given x0 ~ N(x0^2, WIDTH^2)."""
    residual = (x[..., 1] - x[..., 0] ** 2) / WIDTH
    return -0.5 * (x[..., 0] ** 2 + residual**2)


def banana_gradient(x):
    residual = (x[..., 1] - x[..., 0] ** 2) / WIDTH**2
    return banana(x), np.stack([-x[..., 0] + 2 * x[..., 0] * residual, -residual], axis=-1)


def exact(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return np.column_stack([x, x**2 + WIDTH * rng.normal(size=n)])


def bins(points):
    """One of 16 bins of equal probability."""
    first = np.floor(4 * stats.norm.cdf(points[:, 0])).astype(int)
    second = np.floor(4 * stats.norm.cdf((points[:, 1] - points[:, 0] ** 2) / WIDTH)).astype(int)
    return 4 * np.clip(first, 0, 3) + np.clip(second, 0, 3)


def p_symmetric(before, after):
    counts = np.zeros((16, 16))
    np.add.at(counts, (bins(before), bins(after)), 1)
    upper = np.triu_indices(16, 1)
    there, back = counts[upper], counts.T[upper]
    seen = there + back >= 10
    statistic = np.sum((there - back)[seen] ** 2 / (there + back)[seen])
    return stats.chi2.sf(statistic, seen.sum())


def p_unchanged(after):
    return stats.chisquare(np.bincount(bins(after), minlength=16)).pvalue


REVERSIBLE = {
    "metropolis": Metropolis(scale=[1.0, 1.5]),
    "hastings": Metropolis(proposal=lambda x, rng: _drifting(x, rng, correct=True)),
    "hmc": HMC(step_size=0.45, duration=1.5),
    "hmc, fixed duration": HMC(step_size=0.6, duration=1.2, jitter=0.0),
    "nuts": NUTS(step_size=0.45),
    "nuts, shallow": NUTS(step_size=0.3, max_depth=2),
    "nuts, dense": NUTS(step_size=0.6, dense=True),
}


def _drifting(x, rng, correct):
    """An asymmetric proposal: towards 0.3 times the point."""
    new = 0.3 * x + rng.normal(size=x.shape)
    ratio = -0.5 * np.sum((x - 0.3 * new) ** 2 - (new - 0.3 * x) ** 2, axis=-1)
    return new, ratio if correct else 0.0


def step(sampler, start, draws=1):
    chain = sample(ValueAndGradient(banana_gradient), start, sampler=sampler, draws=draws, warmup=0, rng=5)
    return chain


@pytest.mark.parametrize("name", REVERSIBLE)
def test_detailed_balance(name):
    start = exact(CHAINS, 1)
    chain = step(REVERSIBLE[name], start)
    after = chain.draws[:, 0]
    # The step is worth testing: it moves, and something is rejected.
    assert np.mean(bins(start) != bins(after)) > 0.2
    assert 0.2 < chain.acceptance < 0.99
    assert p_symmetric(start, after) > ALPHA
    assert p_unchanged(after) > ALPHA


@pytest.mark.parametrize("how", ["no Hastings factor", "accept everything"])
def test_a_wrong_step_is_seen(how):
    start = exact(CHAINS, 1)
    if how == "no Hastings factor":
        after = step(Metropolis(proposal=lambda x, rng: _drifting(x, rng, correct=False)), start).draws[:, 0]
    else:
        after = _leapfrogs(start, np.random.default_rng(2).normal(size=start.shape), 0.45, 3)[0]
    assert p_symmetric(start, after) < 1e-8 or p_unchanged(after) < 1e-8


def ensembles_after(sampler, number, steps):
    """One walker of each of many ensembles of 8, exact at the start, after some steps: independent draws."""
    target = NumpyTarget(banana, True, 2)
    rng = np.random.default_rng(3)
    points = exact(8 * number, rng).reshape(number, 8, 2)
    state = sampler.begin(target, points, target.value(points), rng)
    for i in range(steps):
        state = sampler.step(target, state, Clock(i, 0), rng)
    return state.points


@pytest.mark.parametrize("move", ["stretch", "differential"])
def test_ensemble_keeps_its_target(move):
    """Both halves, over ten steps (the tenth is a long one of the differential move)."""
    after = ensembles_after(Ensemble(move=move), 10_000, 11)
    assert p_unchanged(after[:, 0]) > ALPHA
    assert p_unchanged(after[:, -1]) > ALPHA


def test_wrong_stretch_is_seen():
    """Without the factor z^(d-1)."""

    class Wrong(Ensemble):
        def _stretch(self, uniform, k, clock, rng):
            draw = super()._stretch(uniform, k, clock, rng)
            return lambda side, moving, standing: (draw(side, moving, standing)[0], 0.0)

    assert p_unchanged(ensembles_after(Wrong(), 10_000, 11)[:, 0]) < 1e-8


def test_gibbs_keeps_its_target():
    rho = 0.8

    def given(other):
        return lambda x, rng: rho * x[:, other] + np.sqrt(1 - rho**2) * rng.standard_normal(len(x))

    rng = np.random.default_rng(7)
    first = rng.normal(size=CHAINS)
    start = np.column_stack([first, rho * first + np.sqrt(1 - rho**2) * rng.normal(size=CHAINS)])
    for conditionals in ([given(1), given(0)], {1: given(0), 0: given(1)}):
        after = sample(None, start, sampler=Gibbs(conditionals), draws=3, rng=1).draws[:, -1]
        for direction in ([1, 0], [0, 1], [1, 1], [1, -1]):
            width = np.sqrt(2 + 2 * rho * direction[0] * direction[1]) if all(direction) else 1.0
            assert stats.kstest(after @ direction / width, "norm").pvalue > ALPHA


def _leapfrogs(x, p, eps, number, axes=None):
    target = AnalyticTarget(ValueAndGradient(banana_gradient), 2)
    axes = np.ones(2) if axes is None else axes
    white = hamiltonian.whitened(banana_gradient(x)[1], axes)
    for _ in range(number):
        x, p, _, _, white = hamiltonian.leapfrog(target, x, p, white, eps, axes)
    return x, p


AXES = [np.array([0.8, 1.7]), np.array([[1.1, 0.0], [0.6, 0.9]])]


@pytest.mark.parametrize("axes", AXES)
def test_leapfrog_is_reversible(axes):
    rng = np.random.default_rng(0)
    x, p = exact(50, 0), rng.normal(size=(50, 2))
    there = _leapfrogs(x, p, 0.2, 7, axes)
    back = _leapfrogs(there[0], -there[1], 0.2, 7, axes)
    assert_allclose(back[0], x, rtol=1e-9, atol=1e-10)
    assert_allclose(-back[1], p, rtol=1e-9, atol=1e-10)
    # A step backwards in time is the step undone.
    again = _leapfrogs(*there, -0.2, 7, axes)
    assert_allclose(again[0], x, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("axes", AXES)
def test_leapfrog_keeps_volume(axes):
    """The Jacobian of three steps, by central differences, has determinant 1."""
    at = np.array([0.3, -0.2, 0.7, 0.4])
    h = 1e-5
    columns = []
    for j in range(4):
        ends = []
        for sign in (1, -1):
            moved = at.copy()
            moved[j] += sign * h
            x, p = _leapfrogs(moved[None, :2], moved[None, 2:], 0.4, 3, axes)
            ends.append(np.concatenate([x[0], p[0]]))
        columns.append((ends[0] - ends[1]) / (2 * h))
    assert_allclose(np.linalg.det(np.array(columns)), 1.0, atol=1e-7)


def test_energy_error_is_of_second_order():
    x, p = exact(200, 4), np.random.default_rng(4).normal(size=(200, 2))

    def error(number):
        end = _leapfrogs(x, p, 1.0 / number, number)
        return hamiltonian.kinetic(end[1]) - banana(end[0]) - hamiltonian.kinetic(p) + banana(x)

    ratio = np.median(np.abs(error(100))) / np.median(np.abs(error(200)))
    assert 3.6 < ratio < 4.4


class _NormalMean:
    """One datum for each chain: y ~ N(theta, 0.7^2), theta ~ t with 3 degrees of freedom."""

    def __init__(self, y):
        self.y = y

    def value(self, points):
        theta = points[..., 0]
        return -2 * np.log1p(theta**2 / 3) - 0.5 * ((self.y - theta) / 0.7) ** 2

    def value_and_gradient(self, points):
        theta = points[..., 0]
        slope = -4 * theta / (3 + theta**2) + (self.y - theta) / 0.49
        return self.value(points), slope[:, None]


@pytest.mark.parametrize(
    "sampler",
    [Metropolis(scale=1.3), HMC(step_size=0.9, duration=1.8, jitter=0.3)],
    ids=["metropolis", "hmc"],
)
@pytest.mark.parametrize("right", [True, False])
def test_joint_distribution(sampler, right):
    """Geweke (2004): a step of theta given y, then y given theta, over and over, keep the joint distribution.

    The wrong model has an error of y 15 % too small in the draws of y; it must be seen.
    """
    rng = np.random.default_rng(8)
    n, error = 20_000, 0.7 if right else 0.6
    theta = rng.standard_t(3, size=n)
    target = _NormalMean(theta + 0.7 * rng.normal(size=n))
    points = theta[:, None]
    for i in range(15):
        state = sampler.begin(target, points, target.value(points), rng)
        points = sampler.step(target, state, Clock(i, 0), rng).points
        target.y = points[:, 0] + error * rng.normal(size=n)
    p = stats.kstest(points[:, 0], stats.t(3).cdf).pvalue
    assert p > ALPHA if right else p < ALPHA
