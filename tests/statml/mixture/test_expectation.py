"""The expectation step beside its formulas written out row by row, on every device's code."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from statml.compute import Namespace, namespace
from statml.mixture import measurements
from statml.mixture.components import Components
from statml.mixture.expectation import expectation, log_joint, responsibilities, true_values
from statml.mixture.input import Rows
from statml.mixture.measurements import Measurements
from statml.uncertainty import CovarianceStack


def random_components(rng, k, d):
    A = rng.normal(size=(k, d, d))
    covariances = A @ A.transpose(0, 2, 1) + 0.3 * np.eye(d)
    return Components(rng.dirichlet(np.full(k, 5.0)), rng.normal(0, 2, (k, d)), covariances)


def random_rows(rng, n, d, kind):
    values = rng.normal(0, 2, (n, d))
    if kind in ("missing", "missing dense", "missing independent"):
        values[rng.random((n, d)) < 0.3] = np.nan
        values[0] = np.nan
    errors, projection = None, None
    if "dense" in kind:
        F = rng.normal(size=(n, d, d))
        errors = CovarianceStack.dense(F @ F.transpose(0, 2, 1))
    elif "independent" in kind:
        errors = CovarianceStack.from_std(rng.uniform(0, 1, (n, d)))
    elif "projected" in kind:
        m = 2
        values = rng.normal(0, 2, (n, m))
        values[1, 0] = np.nan
        errors = CovarianceStack.from_std(rng.uniform(0.1, 1, (n, m)))
        projection = rng.normal(size=(n, m, d))
    return Rows(values, errors, projection)


def by_hand(components, rows, weights):
    """Bovy et al., eqs. 13 to 16, one row and component at a time."""
    n, (k, d) = len(rows.values), components.means.shape
    joint, b, B = np.zeros((n, k)), np.zeros((n, k, d)), np.zeros((n, k, d, d))
    for i in range(n):
        seen = np.isfinite(rows.values[i])
        R = (np.eye(d) if rows.projection is None else rows.projection[i])[seen]
        S = np.zeros((d, d)) if rows.errors is None else rows.errors[[i]].to_dense()[0]
        S = S[: len(seen), : len(seen)][np.ix_(seen, seen)]
        for j in range(k):
            m, V = components.means[j], components.covariances[j]
            T = R @ V @ R.T + S
            gain = V @ R.T @ np.linalg.inv(T)
            w = rows.values[i, seen]
            density = stats.multivariate_normal(R @ m, T).logpdf(w) if len(w) else 0.0
            joint[i, j] = np.log(components.weights[j]) + density
            b[i, j], B[i, j] = m + gain @ (w - R @ m), V - gain @ R @ V
    share = responsibilities(joint) * weights[:, None]
    gap = b - components.means
    second = np.einsum("nk,nkab->kab", share, B) + np.einsum("nk,nka,nkb->kab", share, gap, gap)
    return joint, b, B, share.sum(axis=0), np.einsum("nk,nka->ka", share, gap), second


KINDS = ["exact", "missing", "independent", "dense", "missing independent", "missing dense", "projected"]


def check(kind, seed, k, d, n, ns):
    rng = np.random.default_rng(seed)
    components, rows = random_components(rng, k, d), random_rows(rng, n, d, kind)
    weights = rng.uniform(0.5, 2, n)
    data = Measurements.of(
        rows.values, namespace=ns, errors=rows.errors, projection=rows.projection, weights=weights
    )
    joint, b, B, weight, first, second = by_hand(components, rows, weights)
    moments, log_likelihood = expectation(components, data)
    assert_allclose(log_joint(components, data), joint, rtol=1e-9, atol=1e-9)
    # Rows of which nothing was seen have log 1, where the sum of the weights is known to eps.
    expected = weights @ np.log(np.sum(np.exp(joint), axis=1))
    assert_allclose(log_likelihood, expected, rtol=1e-9, atol=4 * np.finfo(float).eps * weights.sum())
    assert_allclose(moments.weight, weight, rtol=1e-8, atol=1e-10)
    assert_allclose(moments.first, first, rtol=1e-7, atol=1e-8)
    assert_allclose(moments.second, second, rtol=1e-7, atol=1e-8)
    found = true_values(components, data)
    assert_allclose(found[1], b, rtol=1e-8, atol=1e-8)
    assert_allclose(found[2], B, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 3), d=st.integers(2, 5), n=st.integers(2, 12))
@example(seed=240, k=2, d=2, n=2)
def test_formulas_row_by_row(kind, seed, k, d, n):
    check(kind, seed, k, d, n, namespace())


@pytest.mark.parametrize("kind", KINDS)
def test_the_code_of_a_gpu(kind):
    """Torch in main memory: everything a GPU does but be one."""
    pytest.importorskip("torch")
    gpu = Namespace("cuda", import_module("array_api_compat.torch"), place="cpu")
    check(kind, 3, 3, 4, 40, gpu)


def test_portions_of_rows_add_up(monkeypatch):
    rng = np.random.default_rng(0)
    components, rows = random_components(rng, 2, 3), random_rows(rng, 900, 3, "missing dense")
    data = rows.measurements(namespace())
    whole, total = expectation(components, data)
    monkeypatch.setattr(measurements, "CPU_CHUNK_BYTES", 1)
    monkeypatch.setattr(measurements, "FEWEST_ROWS", 7)
    parts, again = expectation(components, data)
    assert_allclose(again, total)
    assert_allclose(parts.second, whole.second, rtol=1e-9, atol=1e-9)


def test_many_features_and_tiny_units():
    """Products of the Cholesky diagonal are taken in parts, so they do not underflow."""
    rng = np.random.default_rng(1)
    d, tiny = 24, 1e-30
    components = random_components(rng, 1, d)
    small = replace(components, means=components.means * tiny, covariances=components.covariances * tiny**2)
    rows = random_rows(rng, 5, d, "independent")
    scaled = Rows(rows.values * tiny, CovarianceStack(variances=rows.errors.variances * tiny**2), None)
    one = log_joint(components, rows.measurements(namespace()))
    other = log_joint(small, scaled.measurements(namespace()))
    assert_allclose(other + d * np.log(tiny), one, rtol=1e-9)
