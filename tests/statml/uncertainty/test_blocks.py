"""Many blocks at once are the block-diagonal matrix they stand for, whatever their sizes and order."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.linalg import block_diag

from statml.errors import InputError
from statml.uncertainty import Covariance
from statml.uncertainty.blocks import SIDE_BY_SIDE, STEP_ROWS, inverse_factors

quick = settings(max_examples=30, deadline=None)
close = {"rtol": 1e-9, "atol": 1e-10}


def positive_definite(rng, size):
    A = rng.normal(size=(size, size + 2))
    return A @ A.T / size + 0.1 * np.eye(size)


def build(sizes, seed):
    """A block covariance in shuffled order and, independently, its dense matrix."""
    rng = np.random.default_rng(seed)
    blocks = [positive_definite(rng, size) for size in sizes]
    order = rng.permutation(sum(sizes))
    return Covariance.block(blocks)[order], block_diag(*blocks)[np.ix_(order, order)], rng


mixed = given(
    sizes=st.lists(st.integers(1, 6) | st.just(SIDE_BY_SIDE + 3), min_size=1, max_size=9),
    seed=st.integers(0, 10**6),
)


@quick
@mixed
def test_mixed_sizes_in_any_order(sizes, seed):
    C, matrix, rng = build(sizes, seed)
    n = len(matrix)
    values = rng.normal(size=(n, 3))
    assert_allclose(C.to_dense(), matrix, **close)
    assert_allclose(C.variance(), np.diag(matrix), **close)
    assert_allclose(C.solve(values), np.linalg.solve(matrix, values), **close)
    assert_allclose(C.logdet(), np.linalg.slogdet(matrix)[1], **close)
    W = C.whiten(np.eye(n))
    assert_allclose(W.T @ W, np.linalg.inv(matrix), **close)
    added = rng.uniform(0, 1, n)
    assert_allclose(C.plus_diagonal(added).to_dense(), matrix + np.diag(added), **close)
    assert_allclose(C.times(0.3).to_dense(), 0.3 * matrix, **close)


@quick
@mixed
def test_selections_of_selections(sizes, seed):
    C, matrix, rng = build(sizes, seed)
    for _ in range(2):
        rows = rng.permutation(len(matrix))[: int(rng.integers(1, len(matrix) + 1))]
        C, matrix = C[rows], matrix[np.ix_(rows, rows)]
        assert len(C) == len(rows)
        assert_allclose(C.to_dense(), matrix, **close)
        assert_allclose(C.mahalanobis(np.ones(len(rows))), np.sum(np.linalg.inv(matrix)), rtol=1e-7)


@quick
@mixed
@pytest.mark.parametrize("size", [1, 4, 10**6])
def test_pieces_whiten_what_the_whole_whitens(sizes, seed, size):
    C, _, rng = build(sizes, seed)
    values = rng.normal(size=(len(C), 2))
    expected = C.whiten(values)
    seen = np.zeros(len(C), int)
    for rows, whiten in C.pieces(size):
        assert_allclose(whiten(values[rows]), expected[rows], **close)
        seen[rows] += 1
    assert np.all(seen == 1)


def test_no_rows_are_left():
    C = Covariance.block([np.eye(2), np.eye(3)])
    assert len(C[[]]) == 0 and C[[]].logdet() == 0
    assert C[np.zeros(5, bool)].whiten(np.zeros(0)).shape == (0,)


def test_one_array_and_a_list_are_the_same():
    """More rows than one step takes, so that steps meet."""
    rng = np.random.default_rng(1)
    matrices = np.array([positive_definite(rng, 3) for _ in range(STEP_ROWS // 3 + 50)])
    together, one_by_one = Covariance.block(matrices), Covariance.block(list(matrices))
    values = rng.normal(size=3 * len(matrices))
    white = together.whiten(values)
    assert_allclose(one_by_one.whiten(values), white, rtol=1e-12)
    by_hand = [np.linalg.solve(np.linalg.cholesky(C), v) for C, v in zip(matrices, values.reshape(-1, 3))]
    assert_allclose(white, np.concatenate(by_hand), rtol=1e-9)


@pytest.mark.parametrize("size", [1, 2, SIDE_BY_SIDE, SIDE_BY_SIDE + 1])
def test_inverse_factors(size):
    rng = np.random.default_rng(size)
    factors = np.linalg.cholesky([positive_definite(rng, size) for _ in range(4)])
    assert_allclose(inverse_factors(factors) @ factors, np.tile(np.eye(size), (4, 1, 1)), atol=1e-11)


def test_nearly_singular_blocks_lose_no_more_digits_than_a_triangular_solve():
    """Two bands that share all but 1e-10 of their variance: kappa = 2e10, whitened to 1e-10 relative."""
    rng = np.random.default_rng(0)
    block = np.ones((2, 2)) + 1e-10 * np.eye(2)
    values = rng.normal(size=(100, 2))
    white = Covariance.block([block] * 100).whiten(values.ravel()).reshape(100, 2)
    factor = np.linalg.cholesky(block)
    assert_allclose(white, np.linalg.solve(factor, values.T).T, rtol=1e-10)


def test_samples_of_a_block_stay_together():
    """12 entries within 5 standard errors: false alarm below 1e-5."""
    C, matrix, _ = build([2, 1, 3], 7)
    size = 60_000
    variance = np.diag(matrix)
    error = np.sqrt((matrix**2 + np.outer(variance, variance)) / size)
    assert np.all(np.abs(np.cov(C.sample(size, rng=2), rowvar=False) - matrix) < 5 * error)


BAD = np.array([[1.0, 2.0], [2.0, 1.0]])


@pytest.mark.parametrize(
    ("blocks", "sentence"),
    [
        ([np.eye(2), np.eye(3), BAD], r"blocks\[2\] is not positive definite"),
        (np.array([np.eye(2)] * 5 + [BAD]), r"blocks\[5\] is not positive definite"),
        (np.array([np.eye(2)] * 5 + [np.triu(BAD)]), r"blocks\[5\] is not symmetric"),
        (np.array([np.eye(2), np.full((2, 2), np.nan)]), r"blocks\[1\] contains NaN or inf"),
        ([np.eye(3), np.eye(2), np.full((2, 2), np.inf)], r"blocks\[2\] contains NaN or inf"),
        (np.ones((4, 2, 3)), r"blocks\[0\] has shape \(2, 3\); accepted is a square matrix"),
        ([np.eye(2), np.ones((2, 3))], r"blocks\[1\] has shape \(2, 3\)"),
        ([np.eye(2), 3.0], r"blocks\[1\] has shape \(\); accepted is a matrix"),
        (np.zeros((0, 2, 2)), "blocks is empty"),
        (np.zeros((3, 0, 0)), r"blocks\[0\] has no rows"),
        ([np.eye(2), np.zeros((0, 0))], r"blocks\[1\] has no rows"),
    ],
)
def test_refusals_name_the_block(blocks, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        Covariance.block(blocks)
    assert "\n" not in str(caught.value)


def test_units_of_one_array_are_not_dropped():
    from astropy.units import km

    with pytest.raises(TypeError, match="carries the unit km"):
        Covariance.block(np.ones((3, 1, 1)) * km)


# -- common modes -------------------------------------------------------------------------------


@quick
@given(n=st.integers(3, 40), k=st.integers(1, 5), size=st.floats(-3, 5), seed=st.integers(0, 10**6))
@example(n=36, k=4, size=2.5, seed=3)
def test_low_rank_of_any_size_against_its_matrix(n, k, size, seed):
    """Modes a thousandth to 1e5 times the noise, one of them ten thousand times fainter."""
    rng = np.random.default_rng(seed)
    variance = rng.uniform(0.5, 2.0, n)
    modes = 10.0**size * rng.normal(size=(n, k))
    modes[:, -1] *= 1e-4
    C = Covariance.low_rank(variance, modes)
    W = C.whiten(np.eye(n))
    identity = W @ (np.diag(variance) + modes @ modes.T) @ W.T
    # The matrix itself is only known to eps times its largest entry.
    tolerance = 1e-10 + 1e-14 * n * np.max(modes**2)
    assert_allclose(identity, np.eye(n), atol=tolerance)
    # Solving with the matrix would lose eps times its condition, up to 1e12. With P s Q^T the modes
    # in units of the noise, C^-1 is D^-1/2 (1 - P s^2 / (1 + s^2) P^T) D^-1/2, known to eps times s.
    noise = np.sqrt(variance)
    P, s, _ = np.linalg.svd(modes / noise[:, None], full_matrices=False)
    known = 1e-12 + 10 * np.finfo(float).eps * s[0]
    assert_allclose(C.logdet(), np.sum(np.log(variance)) + np.sum(np.log1p(s**2)), rtol=known, atol=n * known)
    v = rng.normal(size=n)
    expected = (v / noise - P @ (s**2 / (1 + s**2) * (P.T @ (v / noise)))) / noise
    assert_allclose(C.solve(v), expected, rtol=0, atol=known * np.linalg.norm(v / noise) / noise.min())


def test_low_rank_whitening_to_1e_10_over_several_steps():
    rng = np.random.default_rng(2)
    n = 300
    variance, modes = rng.uniform(0.5, 2.0, n), rng.normal(size=(n, 5))
    C = Covariance.low_rank(np.tile(variance, 40), np.tile(modes, (40, 1)))
    values = rng.normal(size=(len(C), 3))
    kept = values.copy()
    white = C.whiten(values)
    K = np.eye(5) + 40 * modes.T @ (modes / variance[:, None])
    scaled = values / np.tile(variance, 40)[:, None]
    shared = np.linalg.solve(K, np.tile(modes, (40, 1)).T @ scaled)
    expected = values.T @ (scaled - np.tile(modes / variance[:, None], (40, 1)) @ shared)
    assert_allclose(white.T @ white, expected, rtol=1e-10, atol=1e-10 * np.max(expected))
    assert np.array_equal(values, kept)


@quick
@mixed
def test_modes_on_top_of_blocks(sizes, seed):
    """Plates with errors of their own, and a zero point of the whole survey."""
    C, matrix, rng = build(sizes, seed)
    n = len(matrix)
    modes = rng.normal(size=(n, 2))
    total, expected = Covariance.low_rank(C, modes), matrix + modes @ modes.T
    values, added = rng.normal(size=(n, 3)), rng.uniform(0, 1, n)
    assert_allclose(total.to_dense(), expected, **close)
    assert_allclose(total.variance(), np.diag(expected), **close)
    assert_allclose(total.solve(values), np.linalg.solve(expected, values), rtol=1e-8, atol=1e-9)
    assert_allclose(total.logdet(), np.linalg.slogdet(expected)[1], **close)
    assert_allclose(total.plus_diagonal(added).to_dense(), expected + np.diag(added), **close)
    assert_allclose(total.times(2.0).to_dense(), 2 * expected, **close)
    rows = rng.permutation(n)[: int(rng.integers(1, n + 1))]
    assert_allclose(total[rows].to_dense(), expected[np.ix_(rows, rows)], **close)
    assert total.sample(2, rng=0).shape == (2, n)
