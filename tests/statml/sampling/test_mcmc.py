"""Samplers beside known answers: acceptance rates, autocorrelations, moments of hard shapes.

Tolerances are multiples of Monte Carlo standard errors, stated where they are used;
seeds are fixed, and a correct sampler fails one of these with probability below 0.02.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose

torch = pytest.importorskip("torch")

from statml.sampling import HMC, NUTS, Ensemble, Gibbs, Metropolis, Tempering, ValueAndGradient, sample  # noqa: E402
from statml.sampling.adaptation import DualAveraging, Moments, window_ends  # noqa: E402
from statml.sampling.diagnostics import ess, mcse, rhat  # noqa: E402

# Posterior of chapter 13: a normal mean with a Cauchy prior, whose sd is this.
S = 0.031620


@pytest.mark.parametrize(("nu", "printed"), [(0.01, 0.90016), (0.1, 0.35899), (0.5, 0.08009)])
def test_metropolis_acceptance(nu, printed):
    """(2 / pi) atan(2 s / nu) for a normal target, within 3 standard errors of 2 million proposals."""
    exact = 2 / np.pi * np.arctan(2 * S / nu)
    assert_allclose(exact, printed, atol=5e-6)
    start = S * np.random.default_rng(1).normal(size=(2000, 1))
    chain = sample(
        lambda x: -0.5 * (x[..., 0] / S) ** 2, start, sampler=Metropolis(scale=nu), draws=1000, rng=2
    )
    rates = chain.statistics["accepted"].mean(axis=1)
    assert abs(rates.mean() - exact) < 3 * rates.std(ddof=1) / np.sqrt(len(rates))


@pytest.mark.parametrize(("rho", "printed"), [(0.95, 0.05125), (0.1, 0.98020)])
def test_gibbs_effective_size(rho, printed):
    """Lag-1 autocorrelation rho^2, and (1 - rho^2) / (1 + rho^2) of the draws are effective."""
    exact = (1 - rho**2) / (1 + rho**2)
    assert_allclose(exact, printed, atol=6e-6)

    def given(other):
        return lambda x, rng: rho * x[:, other] + np.sqrt(1 - rho**2) * rng.standard_normal(len(x))

    chains, draws = 200, 4000
    first = np.random.default_rng(0).normal(size=chains)
    start = np.column_stack([first, rho * first])
    chain = sample(None, start, sampler=Gibbs([given(1), given(0)]), draws=draws, rng=4)
    x = chain.draws[:, 100:, 0]
    lag = np.mean(x[:, 1:] * x[:, :-1], axis=1)
    assert abs(lag.mean() - rho**2) < 3 * lag.std(ddof=1) / np.sqrt(chains)
    # The variance of chain means is sigma^2 / ESS: a chi-square with 199 degrees of freedom, so known to 10 %.
    found = 1 / (x.shape[1] * x.mean(axis=1).var(ddof=1))
    assert abs(found / exact - 1) < 4 * np.sqrt(2 / (chains - 1))
    assert abs(ess(x[:20], kind="mean") / x[:20].size / exact - 1) < 0.1


def correlated(seed, k):
    """A covariance of condition number 630 in k dimensions, and its inverse."""
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.normal(size=(k, k)))
    widths = np.logspace(-0.7, 0.7, k)
    return (axes * widths**2) @ axes.T, (axes / widths**2) @ axes.T


def gaussian(inverse, mean):
    def both(x):
        gradient = -(x - mean) @ inverse
        return 0.5 * np.sum((x - mean) * gradient, axis=-1), gradient

    return ValueAndGradient(both)


@pytest.mark.parametrize(
    ("sampler", "chains", "draws", "warmup"),
    [
        (NUTS(), 16, 500, 400),
        (NUTS(dense=True), 16, 500, 400),
        (HMC(dense=True), 16, 1500, 500),
        (Metropolis(), 32, 10_000, 2000),
        (Ensemble(), 64, 10_000, 1000),
        (Ensemble(move="differential"), 64, 8000, 1000),
    ],
    ids=["nuts", "nuts-dense", "hmc-dense", "metropolis", "stretch", "differential"],
)
def test_moments_of_a_narrow_normal(sampler, chains, draws, warmup):
    """Four parameters, widths from 0.2 to 5 along tilted axes: means and variances to 4.5 standard errors."""
    cov, inverse = correlated(3, 4)
    mean = np.array([1.0, -2.0, 30.0, 0.0])
    start = mean + np.random.default_rng(0).normal(size=(chains, 4))
    chain = sample(gaussian(inverse, mean), start, sampler=sampler, draws=draws, warmup=warmup, rng=11)
    assert np.min(chain.ess()) > 400
    error = np.sqrt(np.diag(cov) / chain.ess())
    assert np.max(np.abs(chain.flat.mean(axis=0) - mean) / error) < 4.5
    if not chain.dependent:
        assert np.max(chain.rhat()) < 1.02
        sd_error = mcse(chain.draws, kind="sd")
        assert np.max(np.abs(chain.flat.std(axis=0) - np.sqrt(np.diag(cov))) / sd_error) < 4.5
    else:
        assert_allclose(chain.flat.std(axis=0), np.sqrt(np.diag(cov)), rtol=0.1)


def test_nuts_on_a_banana():
    """x0 ~ N(0, 1), x1 ~ N(x0^2 / 2, 0.6^2): mean of x1 is 1/2, its variance 1/2 + 0.36."""

    def log_prob(x):
        return -0.5 * x[..., 0] ** 2 - 0.5 * ((x[..., 1] - 0.5 * x[..., 0] ** 2) / 0.6) ** 2

    start = np.random.default_rng(2).normal(size=(16, 2))
    chain = sample(log_prob, start, sampler=NUTS(target_accept=0.9), draws=900, warmup=300, rng=3)
    assert np.max(rhat(chain.draws)) < 1.02
    for found, error, exact in zip(
        (*chain.flat.mean(axis=0), *chain.flat.std(axis=0)),
        (*mcse(chain.draws), *mcse(chain.draws, kind="sd")),
        (0.0, 0.5, 1.0, np.sqrt(0.86)),
    ):
        assert abs(found - exact) < 4 * error


def test_nuts_on_a_funnel():
    """Neal's funnel in five dimensions: centred it diverges, non-centred it is exact."""

    def centred(x):
        v, y = x[..., :1], x[..., 1:]
        square = np.exp(-v) * y**2
        value = -0.5 * (v[..., 0] / 3) ** 2 - 0.5 * square.sum(-1) - 2 * v[..., 0]
        slope = -v / 9 + 0.5 * square.sum(-1, keepdims=True) - 2
        return value, np.concatenate([slope, -np.exp(-v) * y], axis=-1)

    def free(x):
        scale = np.array([9.0, 1, 1, 1, 1])
        return -0.5 * np.sum(x**2 / scale, axis=-1), -x / scale

    start = 0.5 * np.random.default_rng(2).normal(size=(16, 5))
    shallow = NUTS(max_depth=7)
    wrong = sample(ValueAndGradient(centred), start, sampler=shallow, draws=300, warmup=300, rng=3)
    assert wrong.divergences > 20
    right = sample(ValueAndGradient(free), start, sampler="nuts", draws=600, warmup=300, rng=3)
    funnel = right.transformed(
        lambda z: np.concatenate([z[..., :1], z[..., 1:] * np.exp(z[..., :1] / 2)], -1), right.names
    )
    assert right.divergences == 0
    v = funnel["theta[0]"]
    assert abs(v.mean()) < 4 * mcse(v)
    assert abs(v.std() - 3) < 4 * mcse(v, kind="sd")
    # The divergences sit in the neck, which the centred chains do not enter.
    neck = wrong["theta[0]"][wrong.statistics["diverging"]]
    assert np.median(neck) < np.median(wrong["theta[0]"])
    assert np.mean(wrong["theta[0]"] < -5) < 0.6 * np.mean(v < -5)


def test_warmup_learns_step_and_widths():
    widths = np.array([0.05, 1.0, 20.0])
    target = ValueAndGradient(lambda x: (-0.5 * np.sum((x / widths) ** 2, axis=-1), -x / widths**2))
    start = widths * np.random.default_rng(0).normal(size=(8, 3))
    chain = sample(target, start, sampler="nuts", draws=200, warmup=400, rng=1)
    # Round coordinates need few steps, and acceptance is what was asked for.
    assert chain.statistics["n_steps"].mean() < 8
    assert 0.7 < chain.acceptance < 0.95
    assert np.ptp(chain.statistics["step_size"]) == 0  # frozen
    assert chain.statistics["tree_depth"].max() <= 10
    energy = chain.statistics["energy"]
    assert np.all(energy >= -chain.log_prob - 1e-6)  # kinetic energy is not negative


def test_units_far_apart_do_not_cost_the_warmup():
    """Widths 1e-3 and 1e3: without the early windows this took 100,000 gradients."""
    widths, calls = np.array([1e-3, 1e3]), []

    def both(x):
        calls.append(len(x))
        return -0.5 * np.sum((x / widths) ** 2, axis=-1), -x / widths**2

    start = widths * np.random.default_rng(0).normal(size=(8, 2))
    chain = sample(ValueAndGradient(both), start, sampler="nuts", draws=100, warmup=300, rng=1)
    assert len(calls) < 10_000
    assert 0.8 < (chain.flat / widths).std() < 1.2


def test_metropolis_learns_its_proposal():
    _, inverse = correlated(5, 3)
    chain = sample(
        lambda x: -0.5 * np.einsum("...i,ij,...j", x, inverse, x),
        np.random.default_rng(0).normal(size=(16, 3)),
        sampler="metropolis",
        draws=3000,
        warmup=2000,
        rng=1,
    )
    assert abs(chain.acceptance - 0.234) < 0.05


def test_windows_and_moments():
    first, ends = window_ends(1000)
    assert (first, ends) == (75, [99, 149, 249, 449, 949])  # Stan's
    for warmup in (20, 50, 149, 150, 151, 200, 777, 5000):
        first, ends = window_ends(warmup)
        assert first < ends[0] and ends == sorted(ends) and ends[-1] < warmup
    x = np.random.default_rng(0).normal(size=(6, 5, 3)) * [1.0, 10.0, 0.1]
    for dense in (True, False):
        moments = Moments.begin(3, dense)
        for batch in x:
            moments = moments.with_points(batch)
        cov = np.cov(x.reshape(-1, 3).T) * 30 / 35 + 1e-3 * 5 / 35 * np.eye(3)
        axes = moments.axes()
        assert_allclose(axes @ axes.T if dense else axes**2, cov if dense else np.diag(cov))


def test_dual_averaging_finds_the_step():
    """Acceptance exp(-step) is 0.8 where the step is -log 0.8."""
    averaging = DualAveraging.begin(3.0)
    rng = np.random.default_rng(0)
    for _ in range(3000):
        averaging = averaging.after(np.exp(-np.exp(averaging.log_step)) + 0.05 * rng.normal(), 0.8)
    assert_allclose(np.exp(averaging.log_average), -np.log(0.8), rtol=0.05)


# -- tempering and evidence ------------------------------------------------------------------


def gaussian_evidence(k, width, prior_width):
    """Normal prior around 0, normal likelihood around 1: log Z in closed form."""

    def likelihood(x):
        return -0.5 * np.sum(((x - 1) / width) ** 2, axis=-1) - k * np.log(width * np.sqrt(2 * np.pi))

    def posterior(x):
        prior = -0.5 * np.sum((x / prior_width) ** 2, axis=-1) - k * np.log(prior_width * np.sqrt(2 * np.pi))
        return prior + likelihood(x)

    variance = width**2 + prior_width**2
    return likelihood, posterior, -0.5 * k * (1 / variance + np.log(2 * np.pi * variance))


@pytest.mark.parametrize("inner", ["metropolis", pytest.param("ensemble", marks=pytest.mark.slow)])
def test_evidence_of_a_gaussian_covers(inner):
    """24 runs: errors are right (mean square pull within the chi-square range of 24, error rate 2e-3 each)."""
    likelihood, posterior, exact = gaussian_evidence(2, 0.2, 3.0)
    pulls = {"stepping_stone": [], "thermodynamic": []}
    errors = []
    for seed in range(24):
        start = 3.0 * np.random.default_rng(seed).normal(size=(8, 2))
        sampler = Tempering(likelihood, 12, inner=inner, steps=2)
        chain = sample(posterior, start, sampler=sampler, draws=400, warmup=150, rng=seed)
        for method, found in pulls.items():
            value, error = chain.log_evidence(method)
            found.append((value - exact) / error)
            errors.append(error)
    for found in pulls.values():
        assert np.sum(np.square(found)) < 50.3  # chi-square with 24 degrees of freedom, upper 0.1 %
    # and not absurdly wide: the stepping stone's own error is believed from below as well
    assert np.sum(np.square(pulls["stepping_stone"])) > 8.0
    assert np.median(errors) < 0.3


def shells(x, k):
    """Two Gaussian shells of radius 2 and width 0.1, centres at -3.5 and 3.5 of the first axis."""
    found = []
    for centre in (-3.5, 3.5):
        shifted = x.copy()
        shifted[..., 0] -= centre
        radius = np.sqrt(np.sum(shifted**2, axis=-1))
        found.append(-0.5 * ((radius - 2) / 0.1) ** 2 - 0.5 * np.log(2 * np.pi * 0.01))
    return np.logaddexp(*found)


def test_evidence_of_gaussian_shells():
    """log Z = -1.746 in two dimensions, uniform prior on [-6, 6]^2 (Feroz, Hobson & Bridges 2009)."""
    from scipy import integrate

    # Each shell is far from the walls and from the other: 2 pi times the radial integral.
    radial = integrate.quad(
        lambda r: r * np.exp(-0.5 * ((r - 2) / 0.1) ** 2) / np.sqrt(2 * np.pi * 0.01), 0, 4, points=[2.0]
    )[0]
    exact = np.log(2 * 2 * np.pi * radial / 12**2)
    assert_allclose(exact, -1.746, atol=5e-4)

    def posterior(x):
        inside = np.all(np.abs(x) < 6, axis=-1)
        return np.where(inside, shells(x, 2) - 2 * np.log(12), -np.inf)

    start = np.random.default_rng(1).uniform(-6, 6, size=(40, 2))
    sampler = Tempering(lambda x: shells(x, 2), 16)
    chain = sample(posterior, start, sampler=sampler, draws=1500, warmup=500, rng=3)
    for method in ("stepping_stone", "thermodynamic"):
        value, error = chain.log_evidence(method)
        assert abs(value - exact) < 4 * error
        assert error < 0.25
    # Both shells, equally often.
    assert abs(np.mean(chain["theta[0]"] > 0) - 0.5) < 0.1
    # Without tempering a chain stays in its shell.
    stuck = sample(posterior, start, sampler="metropolis", draws=500, warmup=500, rng=3)
    right = np.mean(stuck["theta[0]"] > 0, axis=1)
    assert np.mean((right == 0) | (right == 1)) > 0.9
