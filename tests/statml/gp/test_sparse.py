"""SparseGaussianProcess: a bound below the evidence, equality at all points, minibatches, coverage."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from statml.errors import InputError, InputTypeError
from statml.gp import RBF, GaussianProcessRegressor, Linear, Matern32, Matern52, SparseGaussianProcess, White
from statml.gp.collapsed_bound import (
    Hyperparameters,
    bound,
    collapsed_bound,
    inducing_factor,
    row_sums,
    rows_of,
)
from statml.gp.marginal_likelihood import Observations
from statml.gp.mean_function import MeanFunction
from statml.gp.variational import NaturalNormal, expected_log_likelihood
from statml.uncertainty import Covariance

KERNELS = {
    "RBF": RBF([1.0, 2.0], 1.2),
    "Matern32": Matern32(1.5, 0.8),
    "sum": Matern52(1.0, 1.0).on(0) + Linear(0.5) + White(0.15),
}
MEANS = {
    "zero": {"mean": "zero"},
    "constant": {},
    "linear": {"mean": "linear"},
    "prior": {"mean_prior": (1.0, 4.0)},
}


def waves(n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 5, (n, 2))
    err = rng.uniform(0.1, 0.5, n)
    return X, 3 + np.sin(2 * X[:, 0]) * np.cos(X[:, 1]) + err * rng.normal(size=n), err


def log_normal_density(y, covariance):
    return stats.multivariate_normal(np.zeros(len(y)), covariance).logpdf(y)


def fixed(kernel, **settings):
    return SparseGaussianProcess(kernel, optimise=False, **{"scatter": 0.2, "random_state": 0} | settings)


@settings(max_examples=40, deadline=None)
@given(
    kernel=st.sampled_from(sorted(KERNELS)),
    seed=st.integers(0, 10**6),
    m=st.integers(1, 25),
    scatter=st.floats(0.0, 2.0),
    scale=st.floats(0.01, 10.0),
)
def test_the_bound_is_below_the_evidence(kernel, seed, m, scatter, scale):
    """Any kernel, any inducing points, any scatter, errors of any size; evidence by the dense formula."""
    rng = np.random.default_rng(seed)
    X, y, err = waves(25, seed)
    points = rng.uniform(-1, 6, (m, 2))
    model = fixed(KERNELS[kernel], inducing=points, scatter=scatter, mean="zero").fit(X, y, y_err=scale * err)
    exact = log_normal_density(y, KERNELS[kernel](X) + np.diag((scale * err) ** 2 + scatter**2))
    assert model.lower_bound_ <= exact + 1e-6 * abs(exact)


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_with_all_points_inducing_it_is_the_dense_process(kernel, mean):
    X, y, err = waves(40)
    arguments = {"scatter": 0.2, "optimise": False} | MEANS[mean]
    dense = GaussianProcessRegressor(KERNELS[kernel], **arguments).fit(X, y, y_err=err)
    sparse = fixed(KERNELS[kernel], inducing=X, **MEANS[mean]).fit(X, y, y_err=err)
    assert_allclose(sparse.lower_bound_, dense.log_evidence_, atol=1e-6)
    new = np.random.default_rng(1).uniform(-1, 6, (9, 2))
    for errors in ({}, {"y_err": 0.3}, {"X_err": 0.2}):
        p, q = (model.predict_dist(new, **errors) for model in (sparse, dense))
        assert_allclose(p.mean, q.mean, atol=1e-6)
        assert_allclose(p.cov.to_dense(), q.cov.to_dense(), atol=1e-6)
        for name, part in q.variance_components.items():
            assert_allclose(p.variance_components[name], part, atol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_more_points_raise_the_bound_up_to_the_evidence(kernel):
    X, y, err = waves(60)
    dense = GaussianProcessRegressor(KERNELS[kernel], scatter=0.2, optimise=False).fit(X, y, y_err=err)
    order = np.random.default_rng(2).permutation(60)
    gaps = [
        dense.log_evidence_ - fixed(KERNELS[kernel], inducing=X[order[:m]]).fit(X, y, y_err=err).lower_bound_
        for m in (2, 5, 10, 20, 40, 55, 60)
    ]
    assert np.all(np.diff(gaps) < 0) and gaps[0] > 10
    assert abs(gaps[-1]) < 1e-6


def test_the_bound_is_titsias_formula():
    """Written with n x n matrices, for a row-by-row noise."""
    X, y, err = waves(30)
    kernel, Z = RBF(1.0, 1.5), X[:7]
    Q = kernel(X, Z) @ np.linalg.solve(kernel(Z), kernel(Z, X))
    noise = err**2 + 0.04
    neglected = np.sum((np.diag(kernel(X)) - np.diag(Q)) / noise)
    expected = log_normal_density(y, Q + np.diag(noise)) - 0.5 * neglected
    model = fixed(kernel, inducing=Z, mean="zero").fit(X, y, y_err=err)
    assert_allclose(model.lower_bound_, expected, rtol=1e-10)


def pieces(kernel, n=50, m=6):
    X, y, err = waves(n)
    data = Observations(
        *(torch.from_numpy(part) for part in (X, y, err**2)), MeanFunction.chosen("constant", None, X, y)
    )
    at = Hyperparameters(
        torch.tensor(kernel.theta), torch.tensor(0.04, dtype=torch.float64), torch.from_numpy(X[:m].copy())
    )
    return data, at


def test_a_vague_mean_takes_up_an_offset_of_a_million():
    X, y, err = waves(50)
    near, far = (fixed(RBF(1.0), inducing=X[:6]).fit(X, y + offset, y_err=err) for offset in (0, 1e6))
    assert_allclose(far.lower_bound_, near.lower_bound_, atol=1e-6)
    assert_allclose(far.predict_dist(X).mean - 1e6, near.predict_dist(X).mean, atol=1e-7)


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradients_are_finite_differences(kernel):
    kernel = KERNELS[kernel]
    data, at = pieces(kernel)
    parts = (at.theta, at.scatter_variance, at.inducing)

    def value(*values):
        return collapsed_bound(kernel, data, Hyperparameters(*values))

    free = [part.clone().requires_grad_() for part in parts]
    gradients = torch.autograd.grad(value(*free), free)
    rng = np.random.default_rng(3)
    for _ in range(3):
        move = [torch.tensor(1e-5 * rng.normal(size=part.shape)) for part in parts]
        up, down = (float(value(*(p + s * d for p, d in zip(parts, move)))) for s in (1, -1))
        expected = sum(float((g * d).sum()) for g, d in zip(gradients, move))
        assert_allclose((up - down) / 2, expected, rtol=1e-5)


def test_the_best_normal_of_the_stochastic_bound_gives_the_collapsed_one():
    """One natural step of length 1 on all rows; any other normal has a lower bound."""
    kernel = Matern32(1.0, 1.0)
    data, at = pieces(kernel)
    data = Observations(
        data.X, data.y, data.errors, MeanFunction.chosen("zero", None, data.X.numpy(), data.y.numpy())
    )
    sums = row_sums(kernel, data, at, inducing_factor(kernel, at))
    m = len(sums.moment)

    def lower_bound(q):
        cov = torch.linalg.inv(q.precision)
        w = cov @ q.moment
        divergence = 0.5 * (cov.trace() + w @ w - m + torch.logdet(q.precision))
        return float(expected_log_likelihood(sums, q) - divergence)

    start = NaturalNormal(torch.eye(m, dtype=torch.float64), torch.zeros(m, dtype=torch.float64))
    best = start.step(sums, 1.0, data.mean, 1.0)
    collapsed = float(bound(sums, data.mean))
    assert_allclose(lower_bound(best), collapsed, rtol=1e-12)
    values = [lower_bound(start)]
    for rho in (0.3, 0.3, 0.3, 1.0):
        start = start.step(sums, 1.0, data.mean, rho)
        values.append(lower_bound(start))
    assert np.all(np.diff(values) > 0) and values[-1] <= collapsed + 1e-9


def test_natural_steps_of_one_epoch_end_at_the_collapsed_optimum():
    """Steps of 1, 1/2, 1/3, ... average the minibatches, and those of an epoch are all rows."""
    kernel = RBF(1.0, 1.0)
    data, at = pieces(kernel, n=400)
    factor = inducing_factor(kernel, at)
    full = row_sums(kernel, data, at, factor)
    zero = NaturalNormal(torch.zeros_like(full.gram), torch.zeros_like(full.moment))
    best, q = zero.step(full, 1.0, data.mean, 1.0), zero
    for t, rows in enumerate(torch.from_numpy(np.random.default_rng(4).permutation(400)).split(50)):
        q = q.step(row_sums(kernel, rows_of(data, rows), at, factor), 50 / 400, data.mean, 1 / (1 + t))
        if t == 3:
            half = q
    assert_allclose(q.precision, best.precision, rtol=1e-9)
    assert_allclose(q.moment, best.moment, rtol=1e-9)
    # Half an epoch is an unbiased guess, not yet the answer.
    assert float(torch.max(torch.abs(half.moment - best.moment))) > 1


@pytest.mark.parametrize("method", ["vfe", "svgp"])
def test_optimising_comes_near_the_dense_evidence(method):
    X, y, err = waves(300)
    start = RBF([2.0, 2.0], 2.0)
    dense = GaussianProcessRegressor(start, restarts=0).fit(X, y, y_err=err)
    model = SparseGaussianProcess(
        start, inducing=30, method=method, epochs=40, batch_size=30, random_state=0
    ).fit(X, y, y_err=err)
    before = fixed(start, inducing=30).fit(X, y, y_err=err)
    assert model.lower_bound_ < dense.log_evidence_
    # L-BFGS ends at a maximum; Adam where it is after 400 steps, most of the way.
    reached = (model.lower_bound_ - before.lower_bound_) / (dense.log_evidence_ - before.lower_bound_)
    assert reached > (0.95 if method == "vfe" else 0.85)
    new = np.random.default_rng(1).uniform(0, 5, (50, 2))
    p, q = model.predict_dist(new), dense.predict_dist(new)
    assert np.sqrt(np.mean(((p.mean - q.mean) / q.std) ** 2)) < 0.7


def test_points_that_move_are_better_than_points_that_do_not():
    X, y, err = waves(300)
    arguments = {"inducing": 8, "random_state": 0}
    still = SparseGaussianProcess(RBF(1.0), move_inducing=False, **arguments).fit(X, y, y_err=err)
    moved = SparseGaussianProcess(RBF(1.0), **arguments).fit(X, y, y_err=err)
    assert moved.lower_bound_ > still.lower_bound_ + 1
    assert moved.inducing_.shape == still.inducing_.shape == (8, 2)


def test_coverage_of_held_out_points():
    """Draws from the prior, row-by-row errors; true and observed y of 30 functions.

    The points of one function hang together, so the binomial bound is of functions: the mean coverage
    is tested in units of its standard error over functions, at 3.5 for each of four numbers.
    """
    kernel, inside = Matern52(1.0, 1.0), []
    rng = np.random.default_rng(6)
    for _ in range(30):
        x = rng.uniform(0, 8, (400, 1))
        truth = np.linalg.cholesky(kernel(x) + 1e-9 * np.eye(400)) @ rng.standard_normal(400) + rng.normal()
        err = rng.uniform(0.1, 0.6, 400)
        y = truth + err * rng.standard_normal(400)
        model = fixed(kernel, inducing=25, scatter=0.0).fit(x[:200], y[:200], y_err=err[:200])
        of_truth = model.predict_dist(x[200:])
        of_observed = model.predict_dist(x[200:], y_err=err[200:])
        inside.append(
            [
                np.mean((p.interval(level)[0] < values) & (values < p.interval(level)[1]))
                for p, values in ((of_truth, truth[200:]), (of_observed, y[200:]))
                for level in (0.68, 0.95)
            ]
        )
    inside = np.array(inside)
    z = (inside.mean(axis=0) - [0.68, 0.95, 0.68, 0.95]) / (inside.std(axis=0, ddof=1) / np.sqrt(30))
    assert np.all(np.abs(z) < 3.5), inside.mean(axis=0)


def test_too_few_points_give_themselves_away():
    """A bound far below the evidence, and noise that is not there."""
    X, y, err = waves(300)
    few = SparseGaussianProcess(RBF(1.0), inducing=3, random_state=0).fit(X, y, y_err=err)
    enough = SparseGaussianProcess(RBF(1.0), inducing=30, random_state=0).fit(X, y, y_err=err)
    assert few.lower_bound_ < enough.lower_bound_ - 50
    assert few.scatter_ > 3 * enough.scatter_


def test_rows_of_infinite_error_and_duplicates():
    X, y, err = waves(40)
    plain = fixed(RBF(1.0), inducing=X[:8]).fit(X, y, y_err=err)
    more = fixed(RBF(1.0), inducing=X[:8]).fit(
        np.vstack([X, X[:5] + 1]), np.r_[y, np.full(5, 1e6)], y_err=np.r_[err, np.full(5, np.inf)]
    )
    assert_allclose(more.lower_bound_, plain.lower_bound_, rtol=1e-12)
    assert_allclose(more.predict(X), plain.predict(X), rtol=1e-9)
    twice = fixed(RBF(1.0), inducing=np.vstack([X[:8], X[:3]])).fit(X, y, y_err=err)
    assert_allclose(twice.predict(X), plain.predict(X), atol=1e-4)
    assert twice.lower_bound_ <= plain.lower_bound_ + 1e-4


def test_blocks_of_rows_are_the_whole(monkeypatch):
    X, y, err = waves(100)
    whole = fixed(RBF(1.0), inducing=10).fit(X, y, y_err=err)
    monkeypatch.setattr("statml.gp.collapsed_bound.BLOCK_ROWS", 17)
    blocks = fixed(RBF(1.0), inducing=10).fit(X, y, y_err=err)
    assert_allclose(blocks.lower_bound_, whole.lower_bound_, rtol=1e-12)
    assert_allclose(blocks.predict(X), whole.predict(X), rtol=1e-9)


def test_what_is_refused():
    X, y, err = waves(20)
    plates = Covariance.low_rank(err**2, np.ones((20, 1)))
    for arguments, errors, error, words in (
        ({"kernel": 1.0}, {}, InputTypeError, ("kernel", "RBF")),
        ({"inducing": 0}, {}, InputError, ("inducing", "0")),
        ({"inducing": np.ones((3, 5))}, {}, InputError, ("inducing", "(3, 5)", "(m, 2)")),
        ({"inducing": [["a"]]}, {}, InputTypeError, ("inducing", "list")),
        ({"inducing": np.full((2, 2), np.nan)}, {}, InputError, ("inducing", "NaN")),
        ({"method": "fitc"}, {}, InputError, ("method", "vfe", "svgp")),
        ({"mean": "cubic"}, {}, InputError, ("mean", "linear")),
        ({"scatter": -1.0}, {}, InputError, ("scatter", "-1.0")),
        ({"optimise": False}, {}, InputError, ("scatter", "optimise=False")),
        ({"scatter": 0.0}, {}, InputError, ("scatter", "errors > 0")),
        ({"batch_size": 0}, {}, InputError, ("batch_size", "0")),
        ({"learning_rate": 0.0}, {}, InputError, ("learning_rate", "0.0")),
        ({}, {"X_err": 0.1}, InputError, ("X_err", "predict_dist")),
        ({}, {"y_cov": plates}, InputError, ("y_cov", "GaussianProcessRegressor")),
        ({}, {"y_err": np.full(20, np.inf)}, InputError, ("n_samples=0", "2 rows")),
    ):
        with pytest.raises(error) as caught:
            SparseGaussianProcess(**arguments).fit(X, y, **errors)
        assert "\n" not in str(caught.value) and all(word in str(caught.value) for word in words)


def test_pickles_without_the_data():
    X, y, err = waves(2000)
    model = fixed(RBF(1.0), inducing=10).fit(X, y, y_err=err)
    stored = pickle.dumps(model)
    assert len(stored) < 20_000
    assert_allclose(pickle.loads(stored).predict(X[:5]), model.predict(X[:5]), rtol=0)
