"""Extreme deconvolution: limits, recovery of what is behind the noise, conditionals, moves."""

from importlib import import_module

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from statml.compute import Namespace, namespace
from statml.errors import InputError
from statml.mixture import ExtremeDeconvolution, GaussianMixture, MixtureStack, density
from statml.mixture.components import Components
from statml.mixture.split_merge import moved
from statml.uncertainty import CovarianceStack, calibration_report, covered_fraction

TRUTH = Components(
    np.array([0.65, 0.35]),
    np.array([[0.0, 0.0], [4.0, 1.0]]),
    np.array([[[1.0, 0.6], [0.6, 1.0]], [[0.3, 0.0], [0.0, 0.6]]]),
)


def noisy(n, seed, truth=TRUTH):
    """True values, values with correlated errors of very different size, and the errors."""
    rng = np.random.default_rng(seed)
    V = truth.sample(n, rng)[0]
    F = rng.normal(size=(n, 2, 2)) * rng.uniform(0.1, 1.0, (n, 1, 1))
    X = V + np.einsum("nab,nb->na", F, rng.normal(size=(n, 2)))
    return V, X, CovarianceStack.from_factors(F)


@pytest.mark.parametrize("missing", [False, True])
def test_errors_of_zero_give_a_gaussian_mixture(missing):
    X = TRUTH.sample(400, np.random.default_rng(0))[0]
    if missing:
        X[::4, 1] = np.nan
    options = {"n_init": 2, "tol": 1e-9, "random_state": 0}
    plain = GaussianMixture(2, **options).fit(X)
    for errors in ({}, {"X_err": 0.0}, {"X_cov": CovarianceStack.dense(np.zeros((400, 2, 2)))}):
        deconvolved = ExtremeDeconvolution(2, **options).fit(X, **errors)
        assert_allclose(deconvolved.log_posterior_, plain.log_posterior_, rtol=1e-9)
        assert_allclose(deconvolved.means_, plain.means_, atol=1e-6)
        assert_allclose(deconvolved.covariances_, plain.covariances_, atol=1e-6)


@pytest.mark.parametrize("accelerate", [False, True])
def test_the_log_posterior_never_falls(accelerate):
    _, X, errors = noisy(500, 1)
    X[::5, 0] = np.nan
    model = ExtremeDeconvolution(3, accelerate=accelerate, tol=1e-6, random_state=0).fit(X, X_cov=errors)
    assert len(model.history_) > 10
    assert np.all(np.diff(model.history_) > -1e-9 * np.abs(model.history_[-1]))


def test_the_true_covariance_is_smaller_than_that_of_noisy_values():
    _, X, errors = noisy(2000, 2)
    raw = GaussianMixture(1, prior_strength=0).fit(X)
    true = ExtremeDeconvolution(1, prior_strength=0, tol=1e-9).fit(X, X_cov=errors)
    assert np.all(np.linalg.eigvalsh(raw.covariances_[0] - true.covariances_[0]) > 0)
    assert np.linalg.det(true.covariances_[0]) < 0.8 * np.linalg.det(raw.covariances_[0])


def recovery(seeds, n):
    """(estimate - truth) / standard error of every parameter, (fits, 11), and the same of a fit without errors."""
    found = []
    for seed in seeds:
        _, X, errors = noisy(n, seed)
        model = ExtremeDeconvolution(2, prior_strength=0, tol=1e-7, random_state=seed).fit(X, X_cov=errors)
        error = model.standard_errors(X, X_cov=errors)
        upper = np.triu_indices(2)
        z = [
            [(model.weights_[0] - TRUTH.weights[0]) / error.weights[0]],
            ((model.means_ - TRUTH.means) / error.means).ravel(),
            ((model.covariances_ - TRUTH.covariances) / error.covariances)[:, upper[0], upper[1]].ravel(),
        ]
        found.append(np.concatenate(z))
    return np.array(found)


def check_recovery(z):
    """Coverage of the 68 % intervals over fits; bias of the means' and weights' z below 4 standard errors.

    Parameters of one fit hang together, so the number of independent trials is taken as
    that of the fits times two; bounds are 4 sigma of it.
    """
    trials = 2 * len(z)
    inside = np.mean(np.abs(z) < stats.norm.isf(0.16))
    assert abs(inside - 0.68) < 4 * np.sqrt(0.68 * 0.32 / trials)
    assert np.all(np.abs(np.mean(z[:, :5], axis=0)) < 4 / np.sqrt(len(z)))


def test_a_known_mixture_comes_back():
    check_recovery(recovery(range(30), 800))


@pytest.mark.slow
def test_a_known_mixture_comes_back_over_many_seeds():
    check_recovery(recovery(range(1000, 1300), 1500))


def test_without_the_errors_the_covariances_are_wrong():
    """The test above can fail: a mixture that ignores the errors misses by many standard errors."""
    _, X, _ = noisy(800, 0)
    model = GaussianMixture(2, prior_strength=0, random_state=0).fit(X)
    errors = model.standard_errors(X)
    z = (model.covariances_ - TRUTH.covariances)[:, [0, 1], [0, 1]] / errors.covariances[:, [0, 1], [0, 1]]
    assert np.max(z) > 5


@pytest.mark.parametrize("dense", [False, True])
def test_a_population_narrower_than_its_errors_has_no_width(dense):
    """Errors stated twice too large leave nothing: a maximum at the edge, and no collapse."""
    rng = np.random.default_rng(13)
    X = 0.5 * rng.normal(size=(300, 2))
    errors = {"X_cov": CovarianceStack.dense(np.stack([np.eye(2)] * 300))} if dense else {"X_err": 1.0}
    model = ExtremeDeconvolution(1, prior_strength=0, tol=1e-14, max_iter=3000, prior_scale=[1.0, 1.0])
    model.fit(X, **errors)
    assert np.max(np.linalg.eigvalsh(model.covariances_[0])) < 1e-3
    edge = stats.multivariate_normal(X.mean(axis=0), np.eye(2)).logpdf(X).sum()
    assert_allclose(model.log_likelihood_, edge, atol=1e-2)


def test_projections_of_which_none_sees_everything():
    """Each row is one number, a^T v of a random direction a; 4 standard errors."""
    rng = np.random.default_rng(3)
    V = TRUTH.sample(4000, rng)[0]
    angle = rng.uniform(0, np.pi, 4000)
    R = np.stack([np.cos(angle), np.sin(angle)], axis=1)[:, None]
    err = rng.uniform(0.05, 0.3, (4000, 1))
    w = np.einsum("nmd,nd->nm", R, V) + err * rng.normal(size=(4000, 1))
    model = ExtremeDeconvolution(2, prior_strength=0, n_init=2, random_state=0, tol=1e-8)
    model.fit(w, X_err=err, projection=R)
    errors = model.standard_errors(w, X_err=err, projection=R)
    assert np.all(np.abs(model.means_ - TRUTH.means) < 4 * errors.means)
    assert np.all(np.abs(model.covariances_ - TRUTH.covariances) < 4 * errors.covariances)
    assert model.posterior(w, X_err=err, projection=R).mean.shape == (4000, 2)


def test_identity_projection_changes_nothing():
    _, X, errors = noisy(300, 4)
    one = ExtremeDeconvolution(2, random_state=0, tol=1e-10, prior_scale=np.eye(2)).fit(X, X_cov=errors)
    other = ExtremeDeconvolution(2, random_state=0, tol=1e-10, prior_scale=np.eye(2)).fit(
        X, X_cov=errors, projection=np.eye(2)
    )
    assert_allclose(other.log_likelihood_, one.log_likelihood_, rtol=1e-6)
    assert_allclose(
        other.score_samples(X, X_cov=errors, projection=np.eye(2)),
        one.score_samples(X, X_cov=errors),
        atol=1e-3,
    )


def test_infinite_errors_are_missing_values():
    X = TRUTH.sample(200, np.random.default_rng(5))[0]
    err = np.full(X.shape, 0.3)
    err[::3, 1] = np.inf
    gone = np.where(np.isinf(err), np.nan, X)
    one = ExtremeDeconvolution(2, random_state=0).fit(X, X_err=err)
    other = ExtremeDeconvolution(2, random_state=0).fit(gone, X_err=0.3)
    assert_allclose(one.means_, other.means_)


def test_true_values_are_covered():
    """68 and 95 % of the truths lie in their posterior's intervals; 3 sigma of 3,000."""
    _, X, errors = noisy(3000, 6)
    model = ExtremeDeconvolution(2, random_state=0).fit(X, X_cov=errors)
    truth, new, new_errors = noisy(3000, 7)
    posterior = model.posterior(new, X_cov=new_errors)
    for column in (0, 1):
        for level in (0.68, 0.95):
            covered = covered_fraction(posterior.column(column), truth[:, column], level)
            assert abs(covered - level) < 3 * np.sqrt(level * (1 - level) / 3000)
    # Drawn to the population, they are nearer to the truth than the measurements are.
    assert np.mean((posterior.mean - truth) ** 2) < 0.8 * np.mean((new - truth) ** 2)


def test_conditional_predictions_are_calibrated():
    _, X, errors = noisy(3000, 8)
    model = ExtremeDeconvolution(2, random_state=0).fit(X, X_cov=errors)
    truth, new, new_errors = noisy(3000, 9)
    prediction = model.conditional(1, new, X_cov=new_errors)
    assert calibration_report(prediction, truth[:, 1]).calibrated
    ignoring = model.conditional(1, new)
    assert not calibration_report(ignoring, truth[:, 1]).calibrated
    parts = prediction.variance_components
    assert_allclose(sum(parts.values()), prediction.std**2, rtol=1e-12)
    assert np.all(parts["input"] > 0) and np.all(ignoring.variance_components["input"] == 0)


def test_conditional_of_one_normal_is_a_regression():
    covariance = np.array([[2.0, 0.8, 0.3], [0.8, 1.5, 0.2], [0.3, 0.2, 1.0]])
    X = np.random.default_rng(10).multivariate_normal([1.0, 2.0, 3.0], covariance, 500)
    model = GaussianMixture(1, prior_strength=0).fit(X)
    V, m = model.covariances_[0], model.means_[0]
    new = np.array([[0.5, 99.0, 2.0]])
    gain = V[1, [0, 2]] @ np.linalg.inv(V[np.ix_([0, 2], [0, 2])])
    prediction = model.conditional(1, new, target_err=0.5)
    assert_allclose(prediction.mean, m[1] + (new[:, [0, 2]] - m[[0, 2]]) @ gain)
    assert_allclose(prediction.std**2, V[1, 1] - gain @ V[[0, 2], 1] + 0.25)
    assert_allclose(prediction.variance_components["noise"], 0.25)
    joint = model.conditional([0, 1], new)
    assert isinstance(joint, MixtureStack) and joint.means.shape == (1, 1, 2)
    assert_allclose(model.conditional(0, np.full((1, 3), np.nan)).mean, m[0])


def test_a_fit_on_a_gpu_is_that_of_the_cpu(monkeypatch):
    """The estimator with device="cuda", torch keeping its tensors in main memory."""
    pytest.importorskip("torch")
    gpu = Namespace("cuda", import_module("array_api_compat.torch"), place="cpu")
    monkeypatch.setattr(density, "namespace", lambda device: gpu if device == "cuda" else namespace("cpu"))
    _, X, errors = noisy(300, 14)
    X[::6, 1] = np.nan
    X[0] = np.nan
    fits = [
        ExtremeDeconvolution(2, random_state=0, device=device).fit(X, X_cov=errors)
        for device in ("cpu", "cuda")
    ]
    assert_allclose(fits[1].means_, fits[0].means_, rtol=1e-8)
    assert_allclose(fits[1].history_, fits[0].history_, rtol=1e-10)
    posteriors = [fit.posterior(X, X_cov=errors).mean for fit in fits]
    assert_allclose(posteriors[1], posteriors[0], rtol=1e-7, atol=1e-8)


def test_moves_find_what_em_cannot():
    """Three clumps, started with two components in one of them: EM stays, one move mends it."""
    rng = np.random.default_rng(11)
    clumps = np.concatenate([rng.normal(center, 0.5, (200, 1)) for center in (0, 10, 14)])
    err = rng.uniform(0.1, 0.5, clumps.shape)
    X = clumps + err * rng.normal(size=clumps.shape)
    start = {
        "weights_init": [1 / 6, 1 / 6, 2 / 3],
        "means_init": [[-0.3], [0.3], [12.0]],
        "covariances_init": [[[0.1]], [[0.1]], [[4.0]]],
    }
    stuck = ExtremeDeconvolution(3, max_iter=300, tol=1e-5, **start).fit(X, X_err=err)
    free = ExtremeDeconvolution(3, max_iter=300, tol=1e-5, split_merge=3, **start).fit(X, X_err=err)
    assert free.log_posterior_ > stuck.log_posterior_ + 50
    assert_allclose(np.sort(free.means_.ravel()), [0, 10, 14], atol=0.3)
    assert np.all(np.diff(free.history_) > -1e-9 * np.abs(free.history_[-1]))
    assert_allclose(free.history_[-1], free.log_posterior_)


def test_a_move_keeps_weight_and_mean():
    start = Components(
        np.array([0.2, 0.3, 0.5]), np.array([[0.0, 1.0], [2.0, 0.0], [5.0, 5.0]]), np.stack([np.eye(2)] * 3)
    )
    end = moved(start, 0, 1, 2)
    assert_allclose(end.weights, [0.5, 0.25, 0.25])
    assert_allclose(end.weights @ end.means, start.weights @ start.means)

    def total(each):
        gap = each.means - each.weights @ each.means
        return np.einsum("k,kab->ab", each.weights, each.covariances) + np.einsum(
            "k,ka,kb->ab", each.weights, gap, gap
        )

    assert_allclose(total(end), total(start))


def test_draws_and_densities_of_a_stack():
    """10,000 draws of two objects: moments within five standard errors; density against scipy."""
    _, X, errors = noisy(200, 12)
    model = ExtremeDeconvolution(2, random_state=0).fit(X, X_cov=errors)
    stack = model.posterior(X[:2], X_cov=errors[:2])
    sample = stack.sample(10_000, rng=0)
    assert np.all(np.abs(sample.mean(axis=0) - stack.mean) < 5 * stack.std / 100)
    assert_allclose(np.cov(sample[:, 1].T), stack.cov[1], atol=0.1 * np.max(stack.cov[1]))
    by_hand = [
        np.log(sum(w * stats.multivariate_normal(m, V).pdf(X[i]) for w, m, V in zip(*parts)))
        for i, parts in enumerate(zip(stack.weights, stack.means, stack.covariances))
    ]
    assert_allclose(stack.log_prob(X[:2]), by_hand)
    assert len(stack[1]) == 1 and stack.columns([1]).means.shape == (2, 2, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X_err": -0.1}, "X_err contains NaN, inf or negative values|negative"),
        ({"X_err": np.ones((3, 2))}, r"X_err has shape \(3, 2\); accepted is a number or \(50, 2\)"),
        ({"X_cov": np.eye(2)}, "X_cov is a ndarray; accepted is a statml.uncertainty.CovarianceStack"),
        ({"projection": np.ones((3, 2, 2))}, r"projection has shape \(3, 2, 2\); accepted is"),
    ],
)
def test_refusals(arguments, message):
    X = TRUTH.sample(50, np.random.default_rng(0))[0]
    with pytest.raises((InputError, TypeError), match=message):
        ExtremeDeconvolution().fit(X, **arguments)


def test_a_value_known_exactly_is_no_density():
    X = TRUTH.sample(50, np.random.default_rng(0))[0]
    model = GaussianMixture().fit(X)
    with pytest.raises(InputError, match="column 0 is known exactly for 50 objects"):
        model.posterior(X).column(0)
    with pytest.raises(InputError, match="target is 2; accepted are columns from 0 to 1"):
        model.conditional(2, X)
