"""Laplace's method and expectation propagation against integrals that can be done, and against scikit-learn.

With one or two training points the posterior of the latent values is an integral in one or two
dimensions; with eight, importance sampling from the prior does it. Formulas: Rasmussen & Williams (2006).
"""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import optimize, special
from sklearn.gaussian_process import GaussianProcessClassifier as SklearnClassifier
from sklearn.gaussian_process import kernels as sklearn_kernels

from statml.gp import RBF, Constant, Linear, Matern32, RationalQuadratic
from statml.gp.class_evidence import BinaryEvidence, SoftmaxEvidence, evidence_and_gradient
from statml.gp.expectation_propagation import Sites, expectation_propagation
from statml.gp.laplace import laplace
from statml.gp.links import LINKS
from statml.gp.softmax_laplace import softmax_laplace

SIGMOID = {"logit": special.expit, "probit": special.ndtr}
every_link = pytest.mark.parametrize("link", list(LINKS))


def tensor(values):
    return torch.tensor(np.asarray(values, float))


def exact_moments(K, sign, link):
    """Log evidence, posterior mean and covariance of one or two latent values, on a grid of white ones."""
    z = np.linspace(-9, 9, 361)
    grid = np.stack(np.meshgrid(*[z] * len(K), indexing="ij"), axis=-1).reshape(-1, len(K))
    f = grid @ np.linalg.cholesky(K).T
    weight = np.exp(-0.5 * (grid**2).sum(axis=1)) * ((z[1] - z[0]) / np.sqrt(2 * np.pi)) ** len(K)
    weight = weight * np.prod(SIGMOID[link](sign * f), axis=1)
    Z = weight.sum()
    mean = weight @ f / Z
    return np.log(Z), mean, np.einsum("i,ij,ik->jk", weight / Z, f - mean, f - mean)


def posterior(method, K, sign, link):
    found = method(tensor(K), tensor(sign), LINKS[link])
    mean, variance = found.moments(tensor(K), tensor(np.diag(K)))
    return found, mean.numpy(), variance.numpy()


@every_link
@pytest.mark.parametrize("variance", [0.3, 4.0, 50.0])
def test_one_point_by_expectation_propagation_is_exact(link, variance):
    K, sign = np.array([[variance]]), np.array([-1.0])
    log_z, mean, cov = exact_moments(K, sign, link)
    assert_allclose(log_z, np.log(0.5), rtol=1e-9)
    found, m, v = posterior(expectation_propagation, K, sign, link)
    assert_allclose(found.log_evidence, log_z, rtol=1e-8)
    assert_allclose(m, mean, rtol=1e-7)
    assert_allclose(v, np.diag(cov), rtol=1e-7)


@every_link
@pytest.mark.parametrize("variance", [0.3, 4.0, 50.0])
def test_one_point_by_laplace_is_mode_and_curvature(link, variance):
    """f = k d log g / df at the mode, 1/v = 1/k - d2 log g / df2, evidence log g - f^2/2k - log(1 + k w)/2."""
    g = SIGMOID[link]

    def log_g(f):
        return np.log(g(f))

    mode = optimize.minimize_scalar(
        lambda f: f * f / (2 * variance) - log_g(f),
        bounds=(0, 20),
        method="bounded",
        options={"xatol": 1e-11},
    ).x
    h = 1e-4
    w = -(log_g(mode + h) - 2 * log_g(mode) + log_g(mode - h)) / h**2
    found, m, v = posterior(laplace, np.array([[variance]]), np.array([1.0]), link)
    assert_allclose(m, mode, rtol=1e-6)
    assert_allclose(v, 1 / (1 / variance + w), rtol=1e-5)
    expected = log_g(mode) - mode**2 / (2 * variance) - 0.5 * np.log1p(variance * w)
    assert_allclose(found.log_evidence, expected, rtol=1e-6)
    # Its own error: an evidence that is too small, a mean that is too near zero (the posterior is skewed).
    log_z, mean, _ = exact_moments(np.array([[variance]]), np.array([1.0]), link)
    assert found.log_evidence < log_z and m[0] < mean[0]


TWO_POINTS = {
    "alike": ([[4.0, 3.0], [3.0, 4.0]], [1.0, 1.0]),
    "unlike": ([[4.0, 3.0], [3.0, 4.0]], [1.0, -1.0]),
    "weak": ([[0.5, 0.1], [0.1, 0.7]], [1.0, -1.0]),
    "strong": ([[25.0, -10.0], [-10.0, 16.0]], [1.0, 1.0]),
}


@every_link
@pytest.mark.parametrize("case", TWO_POINTS)
def test_two_points_against_quadrature(link, case):
    """Evidence of expectation propagation to 1e-3 (5e-3 for two strongly coupled points of one class).

    That is the error of the method: `test_sites_match_the_moments` shows that its equations are solved.
    """
    K, sign = (np.array(part) for part in TWO_POINTS[case])
    log_z, mean, cov = exact_moments(K, sign, link)
    found, m, v = posterior(expectation_propagation, K, sign, link)
    std = np.sqrt(np.diag(cov))
    error = abs(found.log_evidence - log_z)
    assert error < (5e-3 if case == "alike" else 1.2e-3)
    assert_allclose((m - mean) / std, 0, atol=0.002)
    assert_allclose(np.sqrt(v) / std, 1, atol=0.012)
    near, m, v = posterior(laplace, K, sign, link)
    assert near.log_evidence < log_z and abs(near.log_evidence - log_z) > 10 * error
    assert np.all(sign * m < sign * mean) and np.all(np.sqrt(v) < std)


@every_link
def test_sites_match_the_moments(link):
    """What defines expectation propagation, written with full matrices and quadrature."""
    rng = np.random.default_rng(2)
    K = RBF(1.0, 3.0)(rng.uniform(0, 3, 5)) + 0.1 * np.eye(5)
    sign = np.array([1.0, -1.0, 1.0, 1.0, -1.0])
    found = expectation_propagation(tensor(K), tensor(sign), LINKS[link])
    tau, nu = found.sites.tau.numpy(), found.sites.nu.numpy()
    cov = np.linalg.inv(np.linalg.inv(K) + np.diag(tau))
    mean = cov @ nu
    cavity_var = 1 / (1 / np.diag(cov) - tau)
    cavity_mean = cavity_var * (mean / np.diag(cov) - nu)
    z = np.linspace(-9, 9, 2001)
    f = cavity_mean[:, None] + np.sqrt(cavity_var)[:, None] * z
    weight = np.exp(-0.5 * z**2) * (z[1] - z[0]) / np.sqrt(2 * np.pi) * SIGMOID[link](sign[:, None] * f)
    norm = weight.sum(axis=1)
    tilted = (weight * f).sum(axis=1) / norm
    assert_allclose(tilted, mean, atol=1e-7)
    spread = (weight * (f - tilted[:, None]) ** 2).sum(axis=1) / norm
    assert_allclose(spread, np.diag(cov), rtol=1e-7)
    # The evidence: the integral of the prior times all sites, each with the mass of its tilted factor.
    width = cavity_var + 1 / tau
    height = np.log(norm) + 0.5 * np.log(2 * np.pi * width) + (cavity_mean - nu / tau) ** 2 / (2 * width)
    total = K + np.diag(1 / tau)
    log_z = height.sum() - 0.5 * (
        nu / tau @ np.linalg.solve(total, nu / tau) + np.linalg.slogdet(2 * np.pi * total)[1]
    )
    assert_allclose(found.log_evidence, log_z, rtol=1e-9)


@every_link
def test_eight_points_against_importance_sampling(link):
    """Predictions where half a million draws of the prior give the exact ones to about 1e-3."""
    rng = np.random.default_rng(3)
    X, new = np.sort(rng.uniform(0, 6, 8))[:, None], np.linspace(-1, 7, 9)[:, None]
    kernel = RBF(1.0, 3.0)
    together = kernel(np.concatenate([X, new])) + 1e-10 * np.eye(17)
    sign = np.where(np.sin(1.5 * X[:, 0]) > 0, 1.0, -1.0)
    f = rng.standard_normal((400_000, 17)) @ np.linalg.cholesky(together).T
    weight = np.prod(SIGMOID[link](sign * f[:, :8]), axis=1)
    proba = (weight[:, None] * SIGMOID[link](f[:, 8:])).sum(axis=0) / weight.sum()
    error = {}
    for method in (laplace, expectation_propagation):
        found = method(tensor(together[:8, :8]), tensor(sign), LINKS[link])
        mean, variance = found.moments(tensor(together[:8, 8:]), tensor(np.diag(together)[8:]))
        predicted = LINKS[link].average(mean.numpy(), variance.numpy())
        error[method] = np.max(np.abs(predicted - proba)), abs(found.log_evidence - np.log(weight.mean()))
    assert error[expectation_propagation][0] < 0.01 and error[expectation_propagation][1] < 0.1
    # Laplace keeps near one half, and underrates the evidence.
    assert error[laplace][0] > 4 * error[expectation_propagation][0]
    assert error[laplace][1] > 4 * error[expectation_propagation][1]


SKLEARN = {
    "RBF": (RBF(0.7, 3.0), 9.0 * sklearn_kernels.RBF(0.7)),
    "Matern32": (Matern32(2.0, 5.0), 25.0 * sklearn_kernels.Matern(2.0, nu=1.5)),
    "RationalQuadratic": (
        RationalQuadratic(1.0, 0.5, 2.0),
        4.0 * sklearn_kernels.RationalQuadratic(1.0, 0.5),
    ),
    "sum": (RBF([1.0, 3.0], 1.0) + Constant(2.0), sklearn_kernels.RBF([1.0, 3.0]) + 4.0),
}


def noisy_ring(n, rng):
    X = rng.normal(size=(n, 2))
    return X, ((X**2).sum(axis=1) + 0.4 * rng.normal(size=n) > 1.2).astype(int)


@pytest.mark.parametrize("kernel", SKLEARN)
def test_evidence_and_latent_mean_are_scikit_learns(kernel):
    ours, theirs = SKLEARN[kernel]
    X, y = noisy_ring(60, np.random.default_rng(4))
    peer = SklearnClassifier(theirs, optimizer=None).fit(X, y)
    found = laplace(tensor(ours(X)), tensor(2 * y - 1), LINKS["logit"])
    assert_allclose(found.log_evidence, peer.log_marginal_likelihood_value_, rtol=1e-10)
    new = np.random.default_rng(5).normal(size=(10, 2))
    mean, variance = found.moments(tensor(ours(X, new)), tensor(np.diag(ours(new))))
    # scikit-learn stops once its evidence changes by less than 1e-10: modes agree to the root of that.
    peer_mean, peer_variance = peer.latent_mean_and_variance(new)
    assert_allclose(mean, peer_mean, rtol=1e-5, atol=1e-6)
    assert_allclose(variance, peer_variance, rtol=1e-5)


GRADIENT_KERNELS = [RBF([0.7, 1.5], 2.0), Matern32(1.0, 3.0) + Linear(0.5) * Constant(1.0)]


@pytest.mark.parametrize("kernel", GRADIENT_KERNELS, ids=str)
@pytest.mark.parametrize("method", ["laplace-logit", "laplace-probit", "ep-logit", "ep-probit", "softmax"])
def test_gradients_are_finite_differences(kernel, method):
    X, y = noisy_ring(40, np.random.default_rng(6))
    if method == "softmax":
        y = y + (X[:, 0] > 0)
        evidence = SoftmaxEvidence(tensor(y == np.arange(3)[:, None]))
    else:
        way, link = method.split("-")
        evidence = BinaryEvidence(tensor(2 * y - 1), LINKS[link], propagate=way == "ep")
    rows, theta = tensor(X), kernel.theta
    _, gradient, _ = evidence_and_gradient(kernel, rows, evidence, theta)
    h = 1e-4
    for j, step in enumerate(h * np.eye(len(theta))):
        up, down = (evidence_and_gradient(kernel, rows, evidence, theta + s * step)[0] for s in (1, -1))
        assert_allclose(gradient[j], (up - down) / (2 * h), rtol=1e-5, atol=1e-6)


@every_link
def test_link_derivatives(link):
    """Three derivatives by f, and two of the average by its mean."""
    f = tensor([-12.0, -8.0, -1.0, 0.0, 0.5, 6.0])
    sign = tensor([1.0, -1.0, 1.0, -1.0, 1.0, 1.0])
    at, h = LINKS[link].derivatives(sign, f), 1e-4
    up, down = LINKS[link].derivatives(sign, f + h), LINKS[link].derivatives(sign, f - h)
    for higher, lower in (("first", "value"), ("second", "first"), ("third", "second")):
        slope = (getattr(up, lower) - getattr(down, lower)) / (2 * h)
        assert_allclose(getattr(at, higher), slope, rtol=2e-5, atol=1e-9)
    variance = torch.full_like(f, 0.7)
    part = LINKS[link].log_partition(sign, f, variance)
    up, down = (LINKS[link].log_partition(sign, f + s * h, variance) for s in (1, -1))
    assert_allclose(part.first, (up.value - down.value) / (2 * h), rtol=2e-6, atol=1e-9)
    assert_allclose(part.second, (up.first - down.first) / (2 * h), rtol=2e-6, atol=1e-9)


def test_two_classes_of_the_softmax_are_the_binary_model_of_twice_the_variance():
    X, y = noisy_ring(50, np.random.default_rng(7))
    new = np.random.default_rng(8).normal(size=(6, 2))
    kernel, doubled = RBF(1.0, 2.0), RBF(1.0, 2.0 * np.sqrt(2))
    joint = softmax_laplace(tensor(kernel(X)), tensor([y == 0, y == 1]))
    binary = laplace(tensor(doubled(X)), tensor(2 * y - 1), LINKS["logit"])
    assert_allclose(joint.log_evidence, binary.log_evidence, rtol=1e-11)
    mean, cov = joint.moments(tensor(kernel(X, new)), tensor(np.diag(kernel(new))))
    m, v = binary.moments(tensor(doubled(X, new)), tensor(np.diag(doubled(new))))
    assert_allclose(mean[:, 1] - mean[:, 0], m, rtol=1e-8)
    assert_allclose(cov[:, 0, 0] + cov[:, 1, 1] - 2 * cov[:, 0, 1], v, rtol=1e-8)


def test_softmax_laplace_is_the_formula_on_the_full_matrices():
    """Mode by a general optimiser, evidence and posterior covariance from (k n) x (k n) matrices."""
    rng = np.random.default_rng(9)
    n, k = 7, 3
    X, y = rng.normal(size=(n, 2)), np.array([0, 1, 2, 0, 1, 2, 2])
    K, target = RBF(1.0, 2.0)(X), (y == np.arange(k)[:, None]).astype(float)
    full, inverse = np.kron(np.eye(k), K), np.kron(np.eye(k), np.linalg.inv(K))

    def loss(f):
        scores = f.reshape(k, n)
        p = special.softmax(scores, axis=0)
        value = (target * scores).sum() - special.logsumexp(scores, axis=0).sum() - 0.5 * f @ inverse @ f
        return -value, -((target - p).ravel() - inverse @ f)

    best = optimize.minimize(loss, np.zeros(k * n), jac=True, method="BFGS", options={"gtol": 1e-9})
    p = special.softmax(best.x.reshape(k, n), axis=0)
    stacked = np.concatenate([np.diag(row) for row in p])
    W = np.diag(p.ravel()) - stacked @ stacked.T
    found = softmax_laplace(tensor(K), tensor(target))
    assert_allclose((found.weights @ tensor(K)).numpy().ravel(), best.x, atol=1e-6)
    log_evidence = -best.fun - 0.5 * np.linalg.slogdet(np.eye(k * n) + full @ W)[1]
    assert_allclose(found.log_evidence, log_evidence, rtol=1e-9)
    covariance = np.linalg.inv(inverse + W).reshape(k, n, k, n)
    _, cov = found.moments(tensor(K), tensor(np.diag(K)))
    assert_allclose(cov, np.einsum("cidi->icd", covariance), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("spread", [0.1, 30.0])
def test_where_the_search_starts_does_not_matter(spread):
    """Also from weights that are absurd under this covariance, as a search for hyperparameters hands on."""
    X, y = noisy_ring(40, np.random.default_rng(10))
    rng, K, sign = np.random.default_rng(11), tensor(RBF(0.7, 5.0)(X)), tensor(2 * y - 1)
    target = tensor([y == 0, y == 1])
    for link in LINKS.values():
        found = laplace(K, sign, link, start=tensor(spread * rng.normal(size=40)))
        assert_allclose(found.log_evidence, laplace(K, sign, link).log_evidence, rtol=1e-9)
        sites = Sites(tensor(rng.uniform(0, spread, 40)), tensor(spread * rng.normal(size=40)))
        found = expectation_propagation(K, sign, link, start=sites)
        assert_allclose(found.log_evidence, expectation_propagation(K, sign, link).log_evidence, rtol=1e-8)
    found = softmax_laplace(K, target, start=tensor(spread * rng.normal(size=(2, 40))))
    assert_allclose(found.log_evidence, softmax_laplace(K, target).log_evidence, rtol=1e-9)
