"""The code of a GPU, run by torch on the CPU, gives the numbers of the CPU's own code."""

from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from statml.compute import BLOCK_ROWS, GPU_BLOCK_BYTES, Namespace, namespace
from statml.errors import InputError
from statml.regression import BayesianLinearRegression, LinearRegression, linear
from statml.regression.least_squares import reduce_rows
from statml.uncertainty import Covariance

torch = pytest.importorskip("torch")
cpu = namespace("cpu")


@pytest.fixture(scope="module")
def gpu():
    """Everything a GPU does, with the tensors of torch kept in main memory."""
    return Namespace("cuda", import_module("array_api_compat.torch"), place="cpu")


def triangles(X, y, weights, gpu, **more):
    return [
        reduce_rows(X, y, intercept=True, weights=weights, device=device, **more) for device in (cpu, gpu)
    ]


def same_triangle(one, other, rtol=1e-10):
    """Equal but for the signs of rows."""
    signs = np.sign(np.diag(one.R)) * np.sign(np.diag(other.R))
    scale = one.column_norms
    assert_allclose(signs[:, None] * other.R / scale, one.R / scale, atol=rtol)
    assert_allclose(signs * other.z, one.z, rtol=0, atol=rtol * np.hypot(np.linalg.norm(one.z), one.rho))
    assert_allclose(other.rho, one.rho, rtol=rtol)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 3000), d=st.integers(1, 12), weighted=st.booleans(), seed=st.integers(0, 10**6))
def test_triangles_are_those_of_the_cpu(gpu, n, d, weighted, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-8, 8, d) + rng.normal(size=d)
    y = rng.normal(size=n)
    weights = rng.uniform(0.1, 3, n) if weighted else None
    ours, theirs = triangles(X, y, weights, gpu)
    design = np.column_stack([np.ones(n), X, y]) * (1 if weights is None else weights[:, None])
    norms = np.linalg.norm(design, axis=0)
    for triangle in (ours, theirs):
        R = np.zeros((d + 2, d + 2))
        R[: d + 1, : d + 1], R[: d + 1, -1], R[-1, -1] = triangle.R, triangle.z, triangle.rho
        assert_allclose(
            R.T @ R / np.outer(norms, norms), design.T @ design / np.outer(norms, norms), atol=1e-13
        )


def test_triangles_to_1e_10_in_several_blocks(gpu, monkeypatch):
    rng = np.random.default_rng(3)
    X, y, weights = rng.normal(size=(9_000, 6)) + 5, rng.normal(size=9_000), rng.uniform(0.5, 2, 9_000)
    monkeypatch.setattr("statml.compute.GPU_BLOCK_BYTES", 0)
    assert gpu.block_rows(8) == BLOCK_ROWS  # so that this takes five blocks
    same_triangle(*triangles(X, y, weights, gpu))
    same_triangle(*triangles(X, y, None, gpu))
    same_triangle(*triangles(X, y, weights, gpu, modes=3 * rng.normal(size=(9_000, 2))))


def test_a_block_of_a_gpu_is_large(gpu):
    assert cpu.block_rows(50) == BLOCK_ROWS
    assert GPU_BLOCK_BYTES / 2 < 8 * 50 * gpu.block_rows(50) <= GPU_BLOCK_BYTES


@pytest.mark.parametrize("shrunk", [1e-3, 1e-5, 1e-7, 1e-9, 1e-12])
def test_nearly_dependent_columns(gpu, shrunk):
    """Gram matrices lose twice the digits: beyond kappa = 1e6 the triangle comes from reflections."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(4_000, 5))
    A[:, 4] = A[:, 3] + shrunk * A[:, 4]
    R = gpu.to_numpy(gpu.qr_r(gpu.asarray(A.copy())))
    expected = np.linalg.svd(A, compute_uv=False)
    assert_allclose(np.linalg.svd(R, compute_uv=False), expected, rtol=1e-15 / shrunk + 1e-13)
    assert_allclose(R.T @ R, A.T @ A, atol=1e-13 * len(A))


def test_dependent_columns_are_found(gpu, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5_000, 3))
    X[:, 2] = X[:, 0] - X[:, 1]
    monkeypatch.setattr(linear, "namespace", lambda device: gpu)
    with pytest.raises(InputError, match="column 0, column 1, column 2"):
        LinearRegression(device="cuda").fit(X, X[:, 0])


@pytest.mark.parametrize("errors", ["none", "diagonal", "block", "low rank"])
def test_estimators_on_either_device(gpu, monkeypatch, errors):
    rng = np.random.default_rng(4)
    n = 6_000
    X, sigma = rng.normal(size=(n, 4)), rng.uniform(0.5, 2, n)
    y = X @ [1.0, 2.0, 3.0, 4.0] + sigma * rng.normal(size=n)
    given = {
        "none": {},
        "diagonal": {"y_err": sigma},
        "block": {"y_cov": Covariance.block(np.tile(np.eye(3) + 0.5, (n // 3, 1, 1)))},
        "low rank": {"y_cov": Covariance.low_rank(sigma**2, np.ones((n, 1)))},
    }[errors]
    expected = LinearRegression().fit(X, y, **given)
    bayes = BayesianLinearRegression(prior_cov=1.0, scatter=0.5).fit(X, y, **given)
    monkeypatch.setattr(linear, "namespace", lambda device: gpu)
    monkeypatch.setattr("statml.regression.evidence.namespace", lambda device: gpu)
    found = LinearRegression(device="cuda").fit(X, y, **given)
    assert_allclose(found.params_, expected.params_, rtol=1e-10)
    assert_allclose(found.params_cov_, expected.params_cov_, rtol=1e-10, atol=1e-20)
    assert_allclose(found.chi2_, expected.chi2_, rtol=1e-10)
    other = BayesianLinearRegression(prior_cov=1.0, scatter=0.5).fit(X, y, **given)
    assert_allclose(other.log_evidence_, bayes.log_evidence_, rtol=1e-10)
    assert_allclose(other.params_, bayes.params_, rtol=1e-10)


def test_memory_that_must_not_be_written_is_not(gpu):
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(100, 2)), rng.normal(size=100)
    kept = X.copy()
    X.setflags(write=False)
    for device in (cpu, gpu):
        reduce_rows(X, y, intercept=False, weights=np.full(100, 2.0), device=device)
        assert np.array_equal(X, kept)
