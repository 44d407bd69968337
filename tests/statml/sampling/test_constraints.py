"""Limits and their Jacobians: round trips, derivatives, the same in NumPy and torch."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from statml.errors import InputError
from statml.sampling import Interval, Ordered, Positive, Real, Unconstrained

BLOCKS = [Real(2), Positive(2), Interval(-1.0, 3.0), Ordered(3), Interval(0.0, 1.0, size=2)]


def flat(x):
    return x[..., 0] * 0


@pytest.mark.parametrize("block", BLOCKS, ids=repr)
def test_round_trip_and_jacobian(block):
    free = Unconstrained(flat, [block])
    z = np.random.default_rng(0).normal(size=(5, block.size))
    x = free.constrain(z)
    assert_allclose(free.free(x), z, rtol=1e-9, atol=1e-12)
    h = 1e-5
    for row, log_jacobian in zip(z, free(z)):
        columns = [
            (free.constrain(row + h * unit) - free.constrain(row - h * unit)) / (2 * h)
            for unit in np.eye(block.size)
        ]
        assert_allclose(np.linalg.slogdet(np.array(columns))[1], log_jacobian, atol=1e-8)


def test_torch_is_numpy():
    torch = pytest.importorskip("torch")
    free = Unconstrained(lambda x: -0.5 * (x**2).sum(-1), BLOCKS)
    z = np.random.default_rng(1).normal(size=(2, 4, free.parameters))
    assert_allclose(free(torch.from_numpy(z)).numpy(), free(z), rtol=1e-12)
    assert_allclose(free.constrain(torch.from_numpy(z)).numpy(), free.constrain(z), rtol=1e-12)


def test_far_out_is_finite():
    free = Unconstrained(flat, [Interval(0.0, 1.0)])
    z = np.array([[-800.0], [800.0], [0.0]])
    with np.errstate(over="raise", invalid="raise"):
        assert_allclose(free(z), [-800, -800, 2 * np.log(0.5)])
        assert_allclose(free.constrain(z)[:, 0], [0, 1, 0.5])


def test_outside_is_refused():
    free = Unconstrained(flat, [Positive()])
    with pytest.raises(InputError, match="accepted are parameters inside their limits"):
        free.free([-1.0])
    with pytest.raises(InputError, match="there are 2 parameters; accepted are 1"):
        free(np.zeros((3, 2)))
