"""Joint covariances that may be singular, and the search for a maximum."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

from statml.errors import InputError
from statml.gp.optimise import maximise
from statml.gp.semidefinite import SemidefiniteCovariance
from statml.uncertainty import Covariance

A = np.random.default_rng(0).normal(size=(5, 5))
MATRIX = A @ A.T


def lazy(matrix=MATRIX):
    return SemidefiniteCovariance(np.diag(matrix).copy(), lambda: matrix)


def test_equal_to_a_dense_covariance():
    ours, dense, values = lazy(), Covariance.dense(MATRIX), np.arange(5.0)
    assert_allclose(ours.to_dense(), MATRIX, rtol=1e-12)
    assert_allclose(ours.logdet(), dense.logdet(), rtol=1e-10)
    assert_allclose(ours.solve(values), np.linalg.solve(MATRIX, values), rtol=1e-8)
    assert_allclose(ours.mahalanobis(values), dense.mahalanobis(values), rtol=1e-8)
    rows = np.array([3, 0])
    assert_allclose(ours[rows].to_dense(), MATRIX[np.ix_(rows, rows)])
    assert_allclose(ours.plus_diagonal(2.0).to_dense(), MATRIX + 2 * np.eye(5))
    assert_allclose(ours.times(3.0).variance(), 3 * np.diag(MATRIX))
    assert_allclose(pickle.loads(pickle.dumps(ours)).to_dense(), ours.to_dense(), rtol=0)
    draws = ours.sample(40_000, rng=1)
    assert_allclose(np.cov(draws.T), MATRIX, atol=5 * np.max(np.diag(MATRIX)) / np.sqrt(20_000))


def test_nothing_is_formed_before_it_is_asked_for():
    def never():
        raise AssertionError("formed")

    covariance = SemidefiniteCovariance(np.ones(3), never)
    assert len(covariance[np.array([0, 2])].times(2.0)) == 2
    assert_allclose(covariance.std(), 1)


def test_a_singular_matrix_is_sampled_and_has_no_density():
    line = lazy(np.ones((4, 4)))
    draws = line.sample(3, rng=0)
    assert_allclose(draws, draws[:, :1] * np.ones(4), atol=1e-7)
    with pytest.raises(InputError, match="no joint density"):
        line.logdet()


def quadratic(widths):
    """A log density with one width for each direction, its maximum at 1, 2, ..."""
    center = np.arange(1.0, len(widths) + 1)

    def value_and_gradient(point):
        z = (point - center) / widths
        return -0.5 * float(z @ z), -z / widths

    return value_and_gradient, center


@pytest.mark.parametrize("widths", [[1.0, 1.0], [1e-5, 1.0, 0.5], [1e-3, 10.0, 1.0, 1.0]])
def test_maximum_of_stiff_and_soft_directions(widths):
    function, center = quadratic(np.array(widths))
    start, bounds = np.zeros(len(widths)), np.tile([-20.0, 20.0], (len(widths), 1))
    best = maximise(function, start, bounds, restarts=1, rng=np.random.default_rng(0))
    assert best.value > -1e-4 and len(best.values) == 2
    assert_allclose(best.point, center, atol=1e-2 * max(widths))


def test_points_without_a_value_are_stepped_over():
    function, _ = quadratic(np.ones(2))

    def broken(point):
        if point[0] > 1.5:
            raise InputError("singular")
        return function(point)

    bounds = np.tile([-5.0, 5.0], (2, 1))
    best = maximise(broken, np.zeros(2), bounds, restarts=0, rng=np.random.default_rng(0))
    assert_allclose(best.point, [1, 2], atol=1e-3)
    with pytest.raises(InputError, match="singular"):
        maximise(broken, np.full(2, 3.0), bounds, restarts=0, rng=np.random.default_rng(0))
