"""State-space Gaussian processes are Gaussian processes: every number beside one of n x n matrices."""

import pickle

import celerite2
import mpmath
import numpy as np
import pytest
import torch
from astropy import units as u
from celerite2 import terms
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from statml.errors import InputError, InputTypeError
from statml.gp import (
    DRW,
    RBF,
    SHO,
    Constant,
    GaussianProcessRegressor,
    Linear,
    Matern12,
    Matern32,
    Matern52,
    Periodic,
    RationalQuadratic,
    Rotation,
    StateSpaceGP,
    White,
)
from statml.gp.state_space.chain import chain
from statml.gp.state_space.elementary import (
    CRITICAL,
    FIRST_ORDER,
    OVERDAMPED,
    UNDERDAMPED,
    stiffness_slopes,
    transitions,
)
from statml.gp.state_space.forms import form
from statml.gp.state_space.likelihood import Sampling, Terms
from statml.gp.state_space.search import Search
from statml.gp.state_space.series import Series
from statml.uncertainty import Covariance, covered_fraction

KERNELS = {
    "DRW": DRW(1.3, 2.0),
    "Matern12": Matern12(2.0, 0.7),
    "Matern32": Matern32(1.5, 1.2),
    "Matern52": Matern52(1.5, 1.2),
    "underdamped": SHO(1.1, 3.0, 2.0),
    "critical": SHO(1.1, 3.0, 0.5),
    "nearly critical, above": SHO(1.1, 3.0, 0.5001),
    "nearly critical, below": SHO(1.1, 3.0, 0.4999),
    "overdamped": SHO(1.1, 3.0, 0.2),
    "Rotation": Rotation(1.0, 3.0, 1.0, 0.5, 0.3),
    "sum": DRW(1.0, 3.0) + SHO(0.5, 2.0, 5.0),
    "sum with a constant and scatter": Constant(2.0) + Matern32(1.0) + White(0.3),
    "sum of two forms": Matern52(2.0) + Rotation(1.0, 3.0, 1.0, 0.5, 0.3),
    "product": Matern52(1.0, 0.5) * SHO(1.0, 2.0, 4.0),
    "product of a constant": Constant(2.0) * Matern12(1.0),
    "product of a sum with scatter": (DRW(1.0, 3.0) + White(0.2)) * (SHO(1.0, 2.0, 3.0) + White(0.4)),
    "scatter alone": White(0.7) + Constant(0.2),
}
every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS.keys())


def series(seed=1, n=50):
    """Times uneven and with a gap of a hundred, values with errors of 0.0001 to 0.3."""
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.exponential(0.5, n))
    t[n // 2 :] += 100
    err = rng.uniform(0.05, 0.3, n)
    err[3] = 1e-4
    return t, rng.normal(size=n), err


def dense(kernel, theta, t, y, noise):
    """log det K and y^T K^-1 y from the matrix."""
    K = kernel.covariance(t[:, None], None, theta) + torch.diag(noise)
    L = torch.linalg.cholesky(K)
    z = torch.linalg.solve_triangular(L, y[:, None], upper=False)
    return 2 * torch.log(torch.diagonal(L)).sum(), z.square().sum()


def with_gradients(function, *arrays):
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    logdet, quadratic = function(*tensors)
    # different weights, so that neither term can hide behind the other
    return (
        logdet.item(),
        quadratic.item(),
        torch.autograd.grad(
            1.7 * logdet + 0.3 * quadratic, tensors, allow_unused=True, materialize_grads=True
        ),
    )


def by_blocks(kernel):
    return lambda theta, t, y, noise: Terms(kernel, theta, Sampling(t))(y, noise)


def by_scan(kernel):
    return lambda theta, t, y, noise: Terms(kernel, theta, Sampling(t), scan=True)(y, noise)


def by_chain(kernel):
    def evaluate(theta, t, y, noise):
        engine = Terms(kernel, theta, Sampling(t))
        found = form(kernel, theta)
        engine.chain, engine.white = chain(found, t), found.white
        return engine(y, noise)

    return evaluate


@every_kernel
@pytest.mark.parametrize("engine", [by_blocks, by_chain, by_scan])
def test_value_and_gradients_are_those_of_the_matrix(kernel, engine):
    """By hyperparameters, times, values and errors."""
    t, y, err = series()
    ours = with_gradients(engine(kernel), kernel.theta, t, y, err**2)
    reference = with_gradients(lambda *a: dense(kernel, *a), kernel.theta, t, y, err**2)
    assert_allclose(ours[:2], reference[:2], rtol=1e-8)
    for mine, theirs in zip(ours[2], reference[2]):
        assert_allclose(mine, theirs, rtol=1e-8, atol=1e-8 * max(float(theirs.abs().max()), 1e-3))


@every_kernel
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_any_times(kernel, data):
    """Unsorted, tied, packed or far apart."""
    steps = data.draw(
        st.lists(st.sampled_from([0.0, 1e-9, 0.01, 0.3, 2.0, 50.0, 1e4]), min_size=1, max_size=9)
    )
    order = data.draw(st.permutations(range(len(steps))))
    t = np.cumsum(steps)[order]
    y = np.array(data.draw(st.lists(st.floats(-3, 3), min_size=len(t), max_size=len(t))))
    err = np.array(
        data.draw(st.lists(st.sampled_from([1e-2, 0.1, 1.0, 30.0]), min_size=len(t), max_size=len(t)))
    )
    K = kernel(t) + np.diag(err**2)
    expected = -0.5 * (y @ np.linalg.solve(K, y) + np.linalg.slogdet(2 * np.pi * K)[1])
    assert_allclose(StateSpaceGP(kernel).log_likelihood(t, y, err), expected, rtol=1e-8, atol=1e-8)


@every_kernel
@pytest.mark.parametrize("mean", [0.0, "constant"])
def test_evidence_and_predictions_are_those_of_the_dense_regressor(kernel, mean):
    if mean == "constant" and "Constant" in repr(kernel):
        pytest.skip("an unknown constant twice")
    t, y, err = series(2)
    t[7] = t[8]
    new = np.concatenate([np.linspace(-3, t.max() + 5, 40), t[:5]])[::-1].copy()
    options = {"scatter": 0.1, "optimise": False}
    ours = StateSpaceGP(kernel, mean=mean, **options).fit(t, y, y_err=err)
    full = GaussianProcessRegressor(kernel, mean="zero" if mean == 0 else mean, **options)
    full.fit(t[:, None], y, y_err=err)
    assert_allclose(ours.log_evidence_, full.log_evidence_, rtol=1e-8)
    mine, theirs = ours.predict_dist(new, y_err=0.2), full.predict_dist(new[:, None], y_err=0.2)
    assert_allclose(mine.mean, theirs.mean, rtol=1e-8, atol=1e-8)
    assert_allclose(mine.std, theirs.std, rtol=1e-8)
    for name, part in mine.variance_components.items():
        assert_allclose(part, theirs.variance_components[name], rtol=1e-8, atol=1e-9, err_msg=name)
    if mean == "constant":
        assert_allclose(ours.mean_, full.mean_params_, rtol=1e-8)
        assert_allclose(ours.mean_cov_, full.mean_params_cov_, rtol=1e-8)


PEERS = {
    "DRW": (DRW(1.3, 2.0), terms.RealTerm(a=1.69, c=0.5)),
    "underdamped": (SHO(1.1, 3.0, 2.0), terms.SHOTerm(sigma=1.1, rho=3.0, Q=2.0)),
    "overdamped": (SHO(1.1, 3.0, 0.2), terms.SHOTerm(sigma=1.1, rho=3.0, Q=0.2)),
    "Rotation": (
        Rotation(1.3, 3.0, 2.0, 0.5, 0.4),
        terms.RotationTerm(sigma=1.3, period=3.0, Q0=2.0, dQ=0.5, f=0.4),
    ),
}


@pytest.mark.parametrize(("kernel", "term"), PEERS.values(), ids=PEERS.keys())
def test_likelihood_is_that_of_celerite2(kernel, term):
    rng = np.random.default_rng(3)
    t = np.sort(rng.uniform(0, 500, 3000))
    y, err = rng.normal(size=3000), rng.uniform(0.1, 0.4, 3000)
    expected = celerite2.GaussianProcess(term, t, yerr=err).log_likelihood(y)
    assert_allclose(StateSpaceGP(kernel).log_likelihood(t, y, err), expected, rtol=1e-10)


@pytest.mark.parametrize("kernel", [SHO(1.0, 10.0, 3.0), Matern52(5.0), DRW(1.0, 100.0)], ids=type)
def test_tiny_errors(kernel):
    """Errors of a millionth of the process, at times that resolve it: forty digits as the judge.

    The covariance of a smooth process then has a condition number near 1e12, and no method in
    doubles that starts from k(0) keeps more than four digits of the smallest variances.
    """
    mpmath.mp.dps = 40
    t = np.linspace(0, 12, 25)
    y, err = np.sin(t / 2), np.full(25, 1e-6)
    K = mpmath.matrix((kernel(t)).tolist()) + mpmath.diag([mpmath.mpf(1e-6) ** 2] * 25)
    L = mpmath.cholesky(K)
    z = mpmath.lu_solve(L, mpmath.matrix(y.tolist()))
    exact = -mpmath.fsum(mpmath.log(L[i, i]) for i in range(25)) - mpmath.fsum(v**2 for v in z) / 2
    expected = float(exact - mpmath.mpf(12.5) * mpmath.log(2 * mpmath.pi))
    assert_allclose(StateSpaceGP(kernel).log_likelihood(t, y, err), expected, rtol=1e-8)


# -- exposures ------------------------------------------------------------------------------

NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)


def averaged(kernel, t, exposure, s, width):
    """Covariance of means over exposures that do not overlap, or of a value with a mean, by quadrature."""
    value = np.empty((len(t), len(s)))
    for i in range(len(t)):
        for j in range(len(s)):
            lags = (t[i] + NODES * exposure[i] / 2)[:, None] - (s[j] + NODES * width[j] / 2)
            value[i, j] = WEIGHTS @ kernel(lags.ravel(), [0.0]).reshape(40, 40) @ WEIGHTS / 4
    return value


def exposed_matrix(kernel, t, exposure):
    K = averaged(kernel, t, exposure, t, exposure)
    for i, width in enumerate(exposure):
        if width > 0:  # the kernel has a kink at zero lag: 2 / w^2 int (w - s) k(s) ds
            s = (NODES + 1) / 2 * width
            K[i, i] = WEIGHTS @ ((width - s) * kernel(s, [0.0])[:, 0]) / width
    return K


@pytest.mark.parametrize("name", ["DRW", "Matern52", "overdamped", "sum", "product"])
def test_exposures_average_the_process(name):
    """Likelihood and predictions, also at times within an exposure, and of new exposures."""
    kernel = KERNELS[name]
    t = np.array([0.0, 1.0, 1.7, 4.0, 4.5, 9.0])
    exposure = np.array([0.5, 0.9, 0.3, 0.0, 0.6, 1.5])
    y, err = np.array([0.1, 0.5, -0.2, 0.3, 0.4, -0.6]), np.array([0.1, 0.2, 0.1, 0.05, 0.1, 0.1])
    K = exposed_matrix(kernel, t, exposure) + np.diag(err**2)
    gp = StateSpaceGP(kernel, scatter=0.0, optimise=False)
    expected = -0.5 * (y @ np.linalg.solve(K, y) + np.linalg.slogdet(2 * np.pi * K)[1])
    assert_allclose(
        gp.log_likelihood(t[::-1], y[::-1], err[::-1], exposure=exposure[::-1]), expected, rtol=1e-8
    )
    gp.fit(t, y, y_err=err, exposure=exposure)

    new, width = np.array([-2.0, 2.5, 6.0, 12.0]), np.array([1.0, 0.4, 1.2, 3.0])
    cross = averaged(kernel, new, width, t, exposure)
    p = gp.predict_dist(new, exposure=width)
    assert_allclose(p.mean, cross @ np.linalg.solve(K, y), rtol=1e-8, atol=1e-9)
    own = np.diag(exposed_matrix(kernel, new, width))
    assert_allclose(p.std**2, own - np.sum(cross * np.linalg.solve(K, cross.T).T, axis=1), rtol=1e-8)

    inside = 0.9  # an integral over both sides of the kink
    cross = averaged(kernel, np.array([inside]), np.zeros(1), t, exposure)
    both = [(0.55, inside), (inside, 1.45)]
    pieces = [
        (b - a) / 2 * WEIGHTS @ kernel((a + b) / 2 + NODES * (b - a) / 2, [inside])[:, 0] for a, b in both
    ]
    cross[0, 1] = sum(pieces) / 0.9
    assert_allclose(gp.predict_dist([inside]).mean, cross @ np.linalg.solve(K, y), rtol=1e-8)


def test_short_exposures_are_values():
    t, y, err = series(4)
    gp = StateSpaceGP(Matern32(1.5))
    exposed = StateSpaceGP(Matern32(1.5), exposure=1e-7)
    assert_allclose(exposed.log_likelihood(t, y, err), gp.log_likelihood(t, y, err), rtol=1e-6)


def test_gradients_through_exposures_and_bands():
    """Against central differences of the value."""
    t, y, err = np.arange(12) * 1.3, np.sin(np.arange(12.0)), np.full(12, 0.1)
    bands = torch.tensor(np.arange(12) % 2)
    kernel = SHO(1.0, 4.0, 1.5) + DRW(0.5, 3.0)

    def value(theta, times, factor):
        sampling = Sampling(times, torch.full((12,), 0.8, dtype=torch.float64), bands)
        logdet, quadratic = Terms(kernel, theta, sampling, factor)(torch.tensor(y), torch.tensor(err**2))
        return logdet + 0.5 * quadratic

    point = (kernel.theta, t, np.array([[1.0, 0.0], [0.4, 0.7]]))
    tensors = [torch.tensor(part, requires_grad=True) for part in point]
    gradients = torch.autograd.grad(value(*tensors), tensors)
    for which, gradient in enumerate(gradients):
        for index in list(np.ndindex(*point[which].shape))[:6]:
            ends = []
            for h in (-1e-5, 1e-5):
                moved = [part.copy() for part in point]
                moved[which][index] += h
                ends.append(value(*map(torch.tensor, moved)).item())
            assert_allclose(gradient[index], (ends[1] - ends[0]) / 2e-5, rtol=2e-6, atol=1e-6)


# -- bands ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["DRW", "Matern52", "sum"])
def test_bands_are_a_kronecker_product(name):
    kernel = KERNELS[name]
    rng = np.random.default_rng(5)
    t, y, err = series(5)
    t[10] = t[11]
    bands, new_bands = rng.integers(0, 3, 50), rng.integers(0, 3, 20)
    L = np.array([[1.0, 0.0], [0.6, 0.5], [0.3, -0.8]])
    B = L @ L.T
    K = B[np.ix_(bands, bands)] * kernel(t) + np.diag(err**2)
    new = np.linspace(0, 20, 20)
    gp = StateSpaceGP(kernel, scatter=0.0, optimise=False, loadings=L)
    expected = -0.5 * (y @ np.linalg.solve(K, y) + np.linalg.slogdet(2 * np.pi * K)[1])
    assert_allclose(gp.log_likelihood(t, y, err, bands=bands), expected, rtol=1e-8)
    p = gp.fit(t, y, y_err=err, bands=bands).predict_dist(new, bands=new_bands)
    cross = B[np.ix_(new_bands, bands)] * kernel(new, t)
    assert_allclose(p.mean, cross @ np.linalg.solve(K, y), rtol=1e-8, atol=1e-8)
    own = np.diag(B)[new_bands] * np.diag(kernel(new))
    assert_allclose(
        p.std**2, own - np.sum(cross * np.linalg.solve(K, cross.T).T, axis=1), rtol=1e-8, atol=1e-9
    )


def test_bands_are_recovered():
    """Two bands of one random walk, the second at 0.6 of the amplitude, with means of their own."""
    rng = np.random.default_rng(6)
    t, bands = np.sort(rng.uniform(0, 400, 400)), np.arange(400) % 2
    truth = StateSpaceGP(DRW(1.0, 8.0), loadings=[[1.0], [0.6]])
    y = truth.sample_prior(t, rng=7, bands=bands)[0] + np.array([20.0, 19.0])[bands]
    y += 0.05 * rng.normal(size=400)
    gp = StateSpaceGP(DRW(0.5, 20.0), mean="constant", scatter=0.0, loadings=np.ones((2, 1)), restarts=0)
    gp.fit(t, y, y_err=0.05, bands=bands)
    assert_allclose(gp.loadings_, [[1.0], [0.6]], rtol=0.02)
    assert_allclose(gp.band_covariance_, gp.loadings_ @ gp.loadings_.T)
    assert np.all(np.abs(gp.mean_ - [20, 19]) < 3 * np.sqrt(np.diag(gp.mean_cov_)))
    assert abs(np.log(gp.kernel_.tau / 8)) < 0.6


# -- batches, draws, coverage -----------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["DRW", "underdamped", "Rotation", "Matern52", "sum with a constant and scatter"]
)
def test_a_batch_is_one_by_one(name):
    """Unequal lengths, a curve out of order, a value without information, threads."""
    rng = np.random.default_rng(8)
    curves = []
    for n in (1, 130, 2, 129, 400):
        curves.append((np.sort(rng.uniform(0, 50, n)), rng.normal(size=n), rng.uniform(0.1, 0.3, n)))
    gp = StateSpaceGP(KERNELS[name], mean=0.3, scatter=0.2)
    assert_allclose(gp.log_likelihood_batch(curves), [gp.log_likelihood(*c) for c in curves], rtol=1e-12)
    curves[1] = tuple(part[::-1] for part in curves[1])
    curves[3][2][5] = np.inf
    curves.append(([3.0, 1.0], [0.1, 0.2], 0.2))
    each = [gp.log_likelihood(*c) for c in curves]
    assert_allclose(gp.log_likelihood_batch(curves), each, rtol=1e-12)
    assert_allclose(gp.log_likelihood_batch(curves, n_jobs=2), each, rtol=1e-12)


def test_a_batch_in_groups_is_one_by_one(monkeypatch):
    """Groups that are smaller than curves, numbers of other types, one unusual curve among plain ones."""
    monkeypatch.setattr("statml.gp.state_space.batch.GROUP_POINTS", 64)
    rng = np.random.default_rng(9)
    curves = [
        (np.sort(rng.uniform(0, 50, n)), rng.normal(size=n), rng.uniform(0.1, 0.3, n))
        for n in rng.integers(1, 200, 40)
    ]
    curves[3] = tuple(part.astype(np.float32) for part in curves[3])
    curves[7] = (np.arange(5), np.array([0, 1, 0, 1, 0]), np.ones(5, int))
    curves[11][2][0] = np.inf
    curves[20] = tuple(part[::-1] for part in curves[20])
    gp = StateSpaceGP(SHO(1.1, 3.0, 2.0), mean=0.3, scatter=0.2)
    each = [gp.log_likelihood(*curve) for curve in curves]
    for some in (curves, iter(curves)):
        assert_allclose(gp.log_likelihood_batch(some), each, rtol=1e-12)
    assert_allclose(gp.log_likelihood_batch(curves, n_jobs=3), each, rtol=1e-12)


def test_a_batch_loses_neither_units_nor_negative_errors():
    """Arrays of astropy would lose their units end to end."""
    t, y, err = np.arange(3.0), np.ones(3), np.full(3, 0.1)
    gp = StateSpaceGP(DRW())
    with pytest.raises(InputTypeError, match="t carries the unit d"):
        gp.log_likelihood_batch([(t, y, err), (t * u.day, y, err)])
    with pytest.raises(InputError, match="y_err"):
        gp.log_likelihood_batch([(t, y, err), (t, y, -err)])
    with pytest.raises(InputError, match="y has 2 values and t has 3"):
        gp.log_likelihood_batch([(t, y, err), (t, y[:2], err[:2])])


def test_draws_have_the_posterior_as_their_moments():
    """4,000 joint draws; each of 50 numbers within 4.5 standard errors, which fails once in 3,000 seeds."""
    t, y, err = series(9, 30)
    gp = StateSpaceGP(SHO(1.0, 4.0, 2.0), mean="constant", scatter=0.1, optimise=False).fit(t, y, y_err=err)
    full = GaussianProcessRegressor(SHO(1.0, 4.0, 2.0), scatter=0.1, optimise=False)
    full.fit(t[:, None], y, y_err=err)
    new = np.array([t[2], 3.0, 3.2, 50.0, t.max() + 1])
    p = full.predict_dist(new[:, None])
    cov = p.cov.to_dense() - 0.01 * np.eye(5)
    draws = gp.sample(new, 4000, rng=1)
    assert draws.shape == (4000, 5)
    assert np.all(np.abs(draws.mean(0) - p.mean) < 4.5 * np.sqrt(np.diag(cov) / 4000))
    error = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / 4000)
    assert np.all(np.abs(np.cov(draws.T) - cov) < 4.5 * error)
    prior = gp.sample_prior(np.array([0.0, 0.0, 1.0]), 2000, rng=2)
    assert_allclose(prior[:, 0], prior[:, 1])
    assert abs(np.corrcoef(prior.T)[0, 2] - SHO(1.0, 4.0, 2.0)([0.0], [1.0])[0, 0]) < 4.5 / np.sqrt(2000)


@pytest.mark.parametrize("kernel", [DRW(1.0, 5.0), SHO(1.0, 3.0, 4.0)], ids=["DRW", "SHO"])
def test_held_out_values_are_covered(kernel):
    """60 series of 20 held-out values far apart, hyperparameters fitted; 68 and 95 % within 4 standard errors."""
    rng = np.random.default_rng(10)
    inside, at = [], (0.68, 0.95)
    for _ in range(60):
        t = np.sort(rng.uniform(0, 100, 150))
        truth = StateSpaceGP(kernel).sample_prior(t, rng=rng)[0]
        err = rng.uniform(0.1, 0.3, 150)
        y = truth + err * rng.normal(size=150)
        held = np.zeros(150, bool)
        held[rng.choice(150, 20, replace=False)] = True
        gp = StateSpaceGP(kernel, scatter=0.0, restarts=0).fit(t[~held], y[~held], y_err=err[~held])
        p = gp.predict_dist(t[held], y_err=err[held])
        inside.append([covered_fraction(p, y[held], level) for level in at])
    # values of one series hang together; their spread over series is the honest error
    covered, error = np.mean(inside, axis=0), np.std(inside, axis=0) / np.sqrt(60)
    assert np.all(np.abs(covered - at) < 4 * error), (covered, error)


# -- the estimator ----------------------------------------------------------------------------


def test_fit_finds_the_truth_and_restores():
    rng = np.random.default_rng(11)
    t = np.sort(rng.uniform(0, 3000, 1500))
    y = StateSpaceGP(DRW(0.3, 40.0)).sample_prior(t, rng=1)[0] + 0.03 * rng.normal(size=1500)
    gp = StateSpaceGP(DRW(1.0, 400.0), restarts=1, random_state=0).fit(t[:, None], y, y_err=0.03)
    assert abs(np.log(gp.kernel_.sigma / 0.3)) < 0.3 and abs(np.log(gp.kernel_.tau / 40)) < 0.6
    assert gp.scatter_ < 0.02
    assert len(gp.log_evidences_) == 2 and gp.log_evidence_ == gp.log_evidences_.max()
    assert_allclose(gp.log_likelihood(t, y, 0.03), gp.log_evidence_, rtol=1e-12)
    again = pickle.loads(pickle.dumps(gp))
    assert_allclose(again.predict(t[:5]), gp.predict(t[:5]), rtol=0)
    # without errors the noise is fitted
    blind = StateSpaceGP(DRW(1.0, 400.0), restarts=0).fit(t, y)
    assert abs(blind.scatter_ - 0.03) < 0.01
    assert np.all(blind.predict_dist([1.0]).variance_components["noise"] > 0)


def test_infinite_errors_carry_no_information():
    t, y, err = series(12)
    for kernel in (SHO(1.0, 3.0, 2.0), Matern52(2.0)):
        gp = StateSpaceGP(kernel, mean="constant", scatter=0.1, optimise=False)
        keep = np.arange(50) % 3 > 0
        gone = np.where(keep, err, np.inf)
        less = gp.log_likelihood(t[keep], y[keep], err[keep])
        assert_allclose(gp.log_likelihood(t, y, gone), less, rtol=1e-12)
        one = gp.fit(t, y, y_err=gone).predict_dist([2.0, 300.0])
        two = gp.fit(t[keep], y[keep], y_err=err[keep]).predict_dist([2.0, 300.0])
        assert_allclose([one.mean, one.std], [two.mean, two.std], rtol=1e-10)


@pytest.mark.parametrize("name", ["DRW", "critical", "overdamped", "Rotation", "sum", "sum of two forms"])
@pytest.mark.parametrize("scatter", [None, 0.2])
def test_the_search_follows_the_gradient_of_the_matrix(name, scatter):
    """With and without tensors on the way; one hyperparameter fixed."""
    kernel = KERNELS[name]
    kernel = kernel.fixed(kernel.names[0])
    t, y, err = series(15)
    data = Series.of(t, y, err, None).data(0.0, 1)
    search = Search(kernel, scatter, None, 1.0)
    value, gradient = search.value_and_gradient(search.start(), data, False)
    point = torch.tensor(search.start(), requires_grad=True)
    extra = torch.exp(2 * point[-1]) if scatter is None else 0.04
    theta = point[:-1] if scatter is None else point
    logdet, quadratic = dense(kernel, theta, *(torch.tensor(a) for a in (t, y)), torch.tensor(err**2) + extra)
    expected = -0.5 * (logdet + quadratic + 50 * np.log(2 * np.pi))
    assert_allclose(value, expected.item(), rtol=1e-10)
    assert_allclose(gradient, torch.autograd.grad(expected, point)[0], rtol=1e-8, atol=1e-7)


def test_exact_values_are_met():
    """Errors of zero are a limit the method has."""
    t, y, _ = series(14)
    for kernel in (DRW(1.0, 2.0), SHO(1.0, 3.0, 0.7)):
        p = StateSpaceGP(kernel, scatter=0.0, optimise=False).fit(t, y, y_err=0.0).predict_dist(t)
        assert_allclose(p.mean, y, atol=1e-6)
        assert np.all(p.std < 1e-6)


@pytest.mark.parametrize("exposure", [None, 0.05])
def test_the_scan_gives_the_same_evidence(exposure):
    """What a GPU computes, on the CPU: with bands, unknown means, scatter and exposures; value and gradient."""
    t, y, err = np.arange(30.0), np.sin(np.arange(30)), np.full(30, 0.1)
    err[4] = np.inf
    loadings, bands = np.array([[1.0, 0.0], [0.5, 0.3]]), np.arange(30) % 2
    width = None if exposure is None else np.full(30, exposure)
    data = Series.of(t, y, err, None, bands=bands, exposure=width).data("constant", 2)
    search = Search(DRW(1.0, 3.0) + SHO(0.5, 2.0, 5.0), None, loadings, 1.0)
    step = search.value_and_gradient(search.start(), data, False)
    scan = search.value_and_gradient(search.start(), data, True)
    assert_allclose(scan[0], step[0], rtol=1e-10)
    assert_allclose(scan[1], step[1], rtol=1e-8, atol=1e-8)


def test_the_time_is_the_feature_a_kernel_looks_at():
    t, y, err = series(13)
    X = np.column_stack([np.zeros(50), t])
    options = {"scatter": 0.1, "optimise": False}
    two = StateSpaceGP((DRW(1.0, 2.0) + SHO(1.0, 3.0, 2.0)).on(1) + White(0.1), **options).fit(
        X, y, y_err=err
    )
    one = StateSpaceGP(DRW(1.0, 2.0) + SHO(1.0, 3.0, 2.0) + White(0.1), **options).fit(t, y, y_err=err)
    assert_allclose(two.log_evidence_, one.log_evidence_, rtol=1e-14)
    assert_allclose(two.predict(X[:4]), one.predict(t[:4]), rtol=1e-14)


T, Y = np.array([0.0, 1.0, 2.0]), np.array([0.1, 0.2, 0.3])
WRONG = {
    "RBF": (
        lambda: StateSpaceGP(RBF(1.0)).log_likelihood(T, Y, 0.1),
        "RBF has no state-space form.*accepted are DRW",
    ),
    "Periodic": (lambda: StateSpaceGP(DRW() + Periodic(1.0)).log_likelihood(T, Y, 0.1), "Periodic has no"),
    "RationalQuadratic": (
        lambda: StateSpaceGP(RationalQuadratic()).fit(T, Y, y_err=0.1),
        "RationalQuadratic has no",
    ),
    "Linear": (lambda: StateSpaceGP(DRW() * Linear(1.0)).fit(T, Y, y_err=0.1), "Linear has no"),
    "two features": (lambda: StateSpaceGP(DRW()).fit(np.ones((3, 2)), Y), "2 features.*kernel.on"),
    "other features": (
        lambda: StateSpaceGP(DRW().on(0) + DRW().on(1)).fit(np.ones((3, 2)), Y),
        "looks at 2 of them",
    ),
    "ARD": (
        lambda: StateSpaceGP(Matern32([1.0, 2.0])).log_likelihood(T, Y, 0.1),
        "length_scale of Matern32 has 2",
    ),
    "kernel": (lambda: StateSpaceGP("DRW").fit(T, Y), "kernel is a str"),
    "no kernel": (lambda: StateSpaceGP().sample_prior(T), "kernel is None"),
    "mean": (
        lambda: StateSpaceGP(DRW(), mean="linear").fit(T, Y),
        "mean is 'linear'; accepted are 'constant'",
    ),
    "scatter": (lambda: StateSpaceGP(DRW(), scatter=-1.0).fit(T, Y), "scatter is -1.0"),
    "no search": (
        lambda: StateSpaceGP(DRW(), optimise=False).fit(T, Y),
        "scatter is 'evidence' and optimise",
    ),
    "restarts": (lambda: StateSpaceGP(DRW(), restarts=-1).fit(T, Y), "restarts is -1"),
    "lengths": (lambda: StateSpaceGP(DRW()).log_likelihood(T, Y[:2]), "y has 2 values and t has 3"),
    "NaN": (lambda: StateSpaceGP(DRW()).log_likelihood([0.0, np.nan, 1.0], Y), "t contains NaN"),
    "y_cov": (
        lambda: StateSpaceGP(DRW()).fit(T, Y, y_cov=Covariance.dense(np.eye(3) + 0.1)),
        "y_cov is not diagonal.*GaussianProcessRegressor",
    ),
    "X_err": (lambda: StateSpaceGP(DRW()).fit(T, Y, X_err=0.1), "X_err.*exact.*GaussianProcessRegressor"),
    "ties": (lambda: StateSpaceGP(DRW()).log_likelihood([0.0, 0.0], [1.0, 1.0]), "singular"),
    "no bands": (lambda: StateSpaceGP(DRW(), loadings=np.eye(2)).fit(T, Y), "bands is None"),
    "bands alone": (lambda: StateSpaceGP(DRW()).fit(T, Y, bands=[0, 1, 0]), "loadings is None"),
    "bands": (
        lambda: StateSpaceGP(DRW(), loadings=np.eye(2)).fit(T, Y, bands=[0, 1, 2]),
        "0 to 2; accepted are 0 to 1",
    ),
    "bands of floats": (
        lambda: StateSpaceGP(DRW(), loadings=np.eye(2)).fit(T, Y, bands=[0.0, 1, 1]),
        "integers",
    ),
    "loadings": (
        lambda: StateSpaceGP(DRW(), loadings=np.ones(2)).fit(T, Y, bands=[0, 1, 0]),
        "loadings has shape",
    ),
    "empty band": (
        lambda: StateSpaceGP(DRW(), mean="constant", loadings=np.ones((3, 1))).fit(T, Y, bands=[0, 2, 0]),
        "no value of finite error in band 1 of 3",
    ),
    "overlap": (lambda: StateSpaceGP(DRW(), exposure=1.5).log_likelihood(T, Y, 0.1), "overlap"),
    "exposure": (lambda: StateSpaceGP(DRW(), exposure=-1.0).log_likelihood(T, Y, 0.1), "exposure is -1.0"),
    "batch": (lambda: StateSpaceGP(DRW()).log_likelihood_batch([(T, Y)]), "accepted are"),
    "threads": (lambda: StateSpaceGP(DRW()).log_likelihood_batch([(T, Y, Y)], n_jobs=0), "n_jobs is 0"),
    "empty batch": (lambda: StateSpaceGP(DRW()).log_likelihood_batch([]), "curves is empty"),
    "batch of NaN": (
        lambda: StateSpaceGP(DRW()).log_likelihood_batch([(T, Y * np.nan, Y)]),
        "y contains NaN",
    ),
    "batch with a mean": (
        lambda: StateSpaceGP(DRW(), mean="constant").log_likelihood_batch([(T, Y, Y)]),
        "known mean",
    ),
    "one value": (lambda: StateSpaceGP(DRW(), mean="constant").fit([[0.0]], [1.0]), "n_samples=1 is too few"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_input_gets_one_sentence(wrong):
    call, match = WRONG[wrong]
    with pytest.raises((InputError, InputTypeError), match=match) as caught:
        call()
    assert ("\n" not in str(caught.value) and "accepted" in str(caught.value)) or "X_err" in wrong


def test_compiled_functions_of_a_block():
    """p, s and ds/dk of all four kinds, against forty digits."""
    mpmath.mp.dps = 40
    steps = np.array([0.0, 1e-7, 1e-3, 0.2, 1.0, 7.0, 30.0, 2e5])
    for kind, c, k in (
        (FIRST_ORDER, 1.3, 0.0),
        (UNDERDAMPED, 0.7, 3.0),
        (UNDERDAMPED, 1e-4, 40.0),
        (CRITICAL, 1.0, 1e-4),
        (CRITICAL, 1.0, 0.0),
        (CRITICAL, 1.0, -5e-4),
        (OVERDAMPED, 1.5, -1.0),
    ):
        for part in (steps[:-1], steps):  # a long step takes the other road
            p, s, slope = np.zeros(len(part)), np.zeros(len(part)), np.zeros(len(part))
            transitions(part, kind, c, k, p, s)
            stiffness_slopes(part, kind, c, k, p, s, slope)
            for i, dt in enumerate(map(mpmath.mpf, part.tolist())):
                e, root = mpmath.exp(-c * dt), mpmath.sqrt(mpmath.mpc(k))
                C = mpmath.cos(root * dt).real
                S = (mpmath.sin(root * dt) / root).real if k else dt
                dS = ((dt * C - S) / (2 * k)) if k else -(dt**3) / 6
                size = float(e * max(1, abs(S), abs(C))) + 1e-260
                # an angle or exponent of x is known to x times the rounding of a double
                reach = max(1.0, float(abs(root) * dt), c * float(dt))
                assert abs(p[i] - float(e * C)) < 1e-15 * size * reach
                if kind != FIRST_ORDER:
                    assert abs(s[i] - float(e * S)) < 2e-15 * size * reach
                    scale = float(e * max(abs(dS), dt**2, abs(S / k) if k else 0)) + 1e-260
                    assert abs(slope[i] - float(e * dS)) < 1e-13 * scale * reach
