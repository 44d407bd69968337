"""Every form of a covariance is the matrix it says it is."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from statml.errors import InputError
from statml.uncertainty import Covariance, CovarianceStack

FORMS = ("diagonal", "std", "dense", "cholesky", "block", "low_rank")


def positive_definite(rng, n):
    A = rng.normal(size=(n, n + 2))
    return A @ A.T / n + 0.1 * np.eye(n)


def build(form, n, seed):
    """A covariance of the form and, independently, its dense matrix."""
    rng = np.random.default_rng(seed)
    variance = rng.uniform(0.1, 3.0, n)
    if form == "diagonal":
        return Covariance.diagonal(variance), np.diag(variance)
    if form == "std":
        return Covariance.from_std(variance), np.diag(variance**2)
    if form == "block":
        cut = int(rng.integers(1, n)) if n > 1 else 0
        sizes = [cut, n - cut] if cut else [n]
        blocks = [positive_definite(rng, size) for size in sizes]
        matrix = np.zeros((n, n))
        matrix[: sizes[0], : sizes[0]] = blocks[0]
        if cut:
            matrix[cut:, cut:] = blocks[1]
        return Covariance.block(blocks), matrix
    if form == "low_rank":
        modes = rng.normal(size=(n, int(rng.integers(1, 4))))
        return Covariance.low_rank(variance, modes), np.diag(variance) + modes @ modes.T
    matrix = positive_definite(rng, n)
    if form == "cholesky":
        return Covariance.cholesky(np.linalg.cholesky(matrix)), matrix
    return Covariance.dense(matrix), matrix


cases = given(form=st.sampled_from(FORMS), n=st.integers(1, 9), seed=st.integers(0, 10**6))
quick = settings(max_examples=60, deadline=None)


@quick
@cases
def test_algebra_is_that_of_the_matrix(form, n, seed):
    C, matrix = build(form, n, seed)
    rng = np.random.default_rng(seed + 1)
    close = {"rtol": 1e-9, "atol": 1e-10}
    assert len(C) == n and C.shape == (n, n)
    assert_allclose(C.to_dense(), matrix, **close)
    assert_allclose(C.variance(), np.diag(matrix), **close)
    assert_allclose(C.std() ** 2, np.diag(matrix), **close)
    W = C.whiten(np.eye(n))
    assert_allclose(W.T @ W, np.linalg.inv(matrix), **close)
    assert_allclose(C.logdet(), np.linalg.slogdet(matrix)[1], **close)
    values = rng.normal(size=(n, 3))
    assert_allclose(C.solve(values), np.linalg.solve(matrix, values), **close)
    vector = values[:, 0]
    assert_allclose(C.whiten(vector), W @ vector, **close)
    assert_allclose(C.solve(vector), np.linalg.solve(matrix, vector), **close)
    assert_allclose(C.mahalanobis(vector), vector @ np.linalg.solve(matrix, vector), **close)


@quick
@cases
def test_sums_and_multiples(form, n, seed):
    C, matrix = build(form, n, seed)
    added = np.random.default_rng(seed + 2).uniform(0, 2, n)
    close = {"rtol": 1e-9, "atol": 1e-10}
    for variance in (0.7, added):
        total = C.plus_diagonal(variance)
        assert_allclose(total.to_dense(), matrix + np.diag(np.full(n, variance)), **close)
        assert_allclose(total.logdet(), np.linalg.slogdet(total.to_dense())[1], **close)
    assert_allclose(C.times(2.5).to_dense(), 2.5 * matrix, **close)
    assert_allclose(C.times(2.5).logdet(), C.logdet() + n * np.log(2.5), **close)
    assert_allclose(C.to_dense(), matrix, **close)  # the original is left alone


@quick
@cases
def test_selection_takes_rows_and_columns(form, n, seed):
    C, matrix = build(form, n, seed)
    rng = np.random.default_rng(seed + 3)
    order = rng.permutation(n)
    some = order[: int(rng.integers(1, n + 1))]
    mask = np.isin(np.arange(n), some)
    for key in (order, some, mask, slice(None, None, 2), slice(0, n, 1), list(map(int, some)), -1 - some):
        chosen, expected = C[key], matrix[key][:, key]
        assert_allclose(chosen.to_dense(), expected, rtol=1e-9, atol=1e-10)
        assert_allclose(chosen.logdet(), np.linalg.slogdet(expected)[1], rtol=1e-8, atol=1e-9)
        assert_allclose(chosen.variance(), np.diag(expected), rtol=1e-9)
        vector = rng.normal(size=len(expected))
        assert_allclose(chosen.solve(vector), np.linalg.solve(expected, vector), rtol=1e-8, atol=1e-9)
    # scikit-learn asks with an Ellipsis; a selection can be selected from again.
    assert_allclose(C[order, ...].to_dense(), matrix[np.ix_(order, order)], rtol=1e-9, atol=1e-10)
    back = np.argsort(order)
    assert_allclose(C[order][back].to_dense(), matrix, rtol=1e-9, atol=1e-10)


@quick
@cases
def test_pickle(form, n, seed):
    C, matrix = build(form, n, seed)
    assert_allclose(pickle.loads(pickle.dumps(C)).to_dense(), matrix, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_moments_of_samples(form):
    """Each of 5 variances and 10 covariances within 5 standard errors: false alarm below 1e-5 a form."""
    C, matrix = build(form, 5, 11)
    size = 100_000
    draws = C.sample(size, rng=4)
    assert draws.shape == (size, 5)
    variance = np.diag(matrix)
    error = np.sqrt((matrix**2 + np.outer(variance, variance)) / size)
    assert np.all(np.abs(np.cov(draws, rowvar=False, ddof=0) - matrix) < 5 * error)
    assert np.all(np.abs(draws.mean(axis=0)) < 5 * np.sqrt(variance / size))
    assert_allclose(C.sample(3, rng=9), C.sample(3, rng=9))
    assert not np.allclose(C.sample(3, rng=9), C.sample(3, rng=10))


def test_blocks_out_of_order_keep_their_rows():
    """After a shuffle the rows of a block are no longer neighbours."""
    C, matrix = build("block", 8, 5)
    order = np.array([7, 0, 6, 1, 5, 2, 4, 3])
    shuffled = C[order]
    expected = matrix[np.ix_(order, order)]
    assert_allclose(shuffled.plus_diagonal(np.arange(8.0)).to_dense(), expected + np.diag(np.arange(8.0)))
    assert_allclose(shuffled.times(3.0).logdet(), np.linalg.slogdet(3 * expected)[1])
    draws = shuffled.sample(200_000, rng=1)
    assert_allclose(np.cov(draws, rowvar=False), expected, atol=0.05)


@pytest.mark.parametrize("form", ["dense", "block"])
def test_repeated_rows_would_be_singular(form):
    C, _ = build(form, 6, 3)
    for k in range(6):
        with pytest.raises(InputError, match="selected twice"):
            C[[k, (k + 1) % 6, k]]


@pytest.mark.parametrize("form", ["diagonal", "low_rank"])
def test_repeated_rows_are_independent_draws_where_there_is_a_diagonal(form):
    C, _ = build(form, 6, 3)
    assert np.all(np.linalg.eigvalsh(C[[0, 1, 0]].to_dense()) > 0)


def test_infinite_and_zero_errors():
    C = Covariance.from_std([1.0, np.inf, 0.0])
    assert np.array_equal(C.variance(), [1.0, np.inf, 0.0])
    with pytest.raises(InputError, match="zero"):
        C.whiten(np.ones(3))
    informative = C[[0, 1]]
    assert np.array_equal(informative.whiten(np.ones(2)), [1.0, 0.0])
    exact = Covariance.low_rank([0.0, 1.0], [[1.0], [0.0]])
    assert exact.sample(10, rng=0).shape == (10, 2)
    with pytest.raises(InputError, match="zero"), np.errstate(all="raise"):
        exact.solve(np.ones(2))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Covariance.from_std([1.0, np.nan]), "std contains NaN"),
        (lambda: Covariance.from_std([1.0, -1.0]), "std contains negative"),
        (lambda: Covariance.from_std(1.0), r"std has shape \(\)"),
        (lambda: Covariance.diagonal(np.eye(2)), "variance has shape"),
        (lambda: Covariance.dense(np.ones((2, 3))), "square"),
        (lambda: Covariance.dense([[1.0, 0.5], [0.4, 1.0]]), "not symmetric"),
        (lambda: Covariance.dense([[1.0, 2.0], [2.0, 1.0]]), "not positive definite"),
        (lambda: Covariance.dense([[1.0, np.nan], [np.nan, 1.0]]), "NaN or inf"),
        (lambda: Covariance.cholesky([[1.0, 0.5], [0.0, 1.0]]), "lower triangular"),
        (lambda: Covariance.block([]), "blocks is empty"),
        (lambda: Covariance.block([np.eye(2), -np.eye(1)]), r"blocks\[1\] is not positive definite"),
        (lambda: Covariance.low_rank([1.0, 1.0], np.ones((3, 1))), "modes has 3 rows"),
        (lambda: Covariance.low_rank([1.0, np.inf], np.ones((2, 1))), "inf"),
        (lambda: Covariance.from_std([1.0])[0], "not by one number"),
        (lambda: Covariance.from_std([1.0, 1.0])[:, 0], "rows alone"),
        (lambda: Covariance.from_std([1.0]).times(0.0), "positive number"),
        (lambda: Covariance.dense(np.eye(2)).plus_diagonal([1.0, -0.5]), "negative"),
        (lambda: Covariance.dense(np.eye(2)).plus_diagonal(np.ones(3)), r"shape \(3,\)"),
    ],
)
def test_refusals_are_one_clear_sentence(make, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_loop_over_a_covariance_ends():
    with pytest.raises(InputError):
        list(Covariance.from_std([1.0, 1.0]))


# -- one small matrix for each row of X ---------------------------------------------------


@quick
@given(n=st.integers(1, 7), d=st.integers(1, 4), dense=st.booleans(), seed=st.integers(0, 10**6))
def test_stack(n, d, dense, seed):
    rng = np.random.default_rng(seed)
    if dense:
        matrices = np.array([positive_definite(rng, d) for _ in range(n)])
        stack = CovarianceStack.dense(matrices)
    else:
        std = rng.uniform(0, 2, (n, d))
        matrices = np.array([np.diag(row**2) for row in std])
        stack = CovarianceStack.from_std(std)
    assert stack.shape == (n, d, d) and len(stack) == n
    assert_allclose(stack.to_dense(), matrices)
    direction, matrix = rng.normal(size=d), rng.normal(size=(d, d))
    assert_allclose(stack.project(direction), [direction @ S @ direction for S in matrices], atol=1e-12)
    many, weights = rng.normal(size=(3, d)), rng.normal(size=(3, n))
    assert_allclose(stack.project(many), [[a @ S @ a for S in matrices] for a in many], atol=1e-12)
    assert_allclose(stack.times(direction), matrices @ direction, atol=1e-12)
    assert_allclose(stack.weighted_sum(weights), np.tensordot(weights, matrices, 1), atol=1e-12)
    assert_allclose(stack.weighted_sum(weights[0]), np.tensordot(weights[0], matrices, 1), atol=1e-12)
    assert_allclose(stack.trace_with(matrix), [np.trace(S @ matrix) for S in matrices], atol=1e-12)
    order = rng.permutation(n)
    for key in (order, order[:1], slice(None, None, 2), order > n // 2):
        assert_allclose(stack[key].to_dense(), matrices[key])
    assert_allclose(stack[order, ...].to_dense(), matrices[order])
    assert_allclose(stack[0].to_dense(), matrices[:1])
    assert_allclose(pickle.loads(pickle.dumps(stack)).to_dense(), matrices)


def test_stack_of_one_feature():
    assert CovarianceStack.from_std([0.1, 0.2]).shape == (2, 1, 1)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: CovarianceStack.from_std([[np.nan]]), "NaN"),
        (lambda: CovarianceStack.from_std([[np.inf]]), "inf"),
        (lambda: CovarianceStack.from_std([[-1.0]]), "negative"),
        (lambda: CovarianceStack.from_std(np.ones((1, 1, 1))), r"accepted is \(n, d\)"),
        (lambda: CovarianceStack.dense(np.eye(2)), r"accepted is \(n, d, d\)"),
        (lambda: CovarianceStack.dense([[[1.0, 0.3], [0.1, 1.0]]]), "not symmetric"),
        (lambda: CovarianceStack.dense([[[1.0, 2.0], [2.0, 1.0]]]), "negative eigenvalue"),
        (lambda: CovarianceStack.dense([[[np.nan]]]), "NaN"),
        (lambda: CovarianceStack.dense(np.eye(2)[None])[:, 0], "rows alone"),
    ],
)
def test_stack_refusals(make, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "build",
    [
        lambda unit: Covariance.from_std([1.0, 2.0] * unit),
        lambda unit: Covariance.diagonal([1.0, 2.0] * unit),
        lambda unit: Covariance.dense(np.eye(2) * unit),
        lambda unit: Covariance.low_rank(np.ones(2), np.ones((2, 1)) * unit),
        lambda unit: CovarianceStack.from_std([[1.0, 2.0]] * unit),
        lambda unit: CovarianceStack.dense(np.eye(2)[None] * unit),
    ],
)
def test_a_unit_is_not_dropped_in_silence(build):
    from astropy.units import km

    with pytest.raises(TypeError, match="carries the unit km"):
        build(km)
