"""Backpropagation by hand against automatic differentiation."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from statml.errors import InputError
from statml.neural import TeachingMLP
from statml.neural.backpropagation import normal_log_loss, squared_error

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 3)), RNG.normal(size=(40, 1))


def torch_squares(output, y):
    return 0.5 * ((output - y) ** 2).sum() / len(y)


def torch_normal(output, y):
    normal = torch.distributions.Normal(output[:, :1], torch.exp(0.5 * output[:, 1:]))
    return -normal.log_prob(y).mean()


@pytest.mark.parametrize("widths", [(3, 1), (3, 7, 1), (3, 20, 15, 10, 1)])
@pytest.mark.parametrize("ours, theirs", [(squared_error, torch_squares), (normal_log_loss, torch_normal)])
def test_gradients_are_those_of_autograd(widths, ours, theirs):
    widths = (*widths[:-1], 2 if ours is normal_log_loss else 1)
    network = TeachingMLP(widths, rng=1)
    network.biases = [RNG.normal(size=b.shape) for b in network.biases]
    value, d_weights, d_biases = network.gradient(X, Y, ours)
    weights = [torch.tensor(w, requires_grad=True) for w in network.weights]
    biases = [torch.tensor(b, requires_grad=True) for b in network.biases]
    h = torch.tensor(X)
    for w, b in zip(weights, biases):
        z = h @ w + b
        h = z if w is weights[-1] else torch.tanh(z)
    loss = theirs(h, torch.tensor(Y))
    loss.backward()
    assert_allclose(value, loss.item(), rtol=1e-12)
    for hand, automatic in zip(d_weights + d_biases, weights + biases):
        assert_allclose(hand, automatic.grad.numpy(), rtol=1e-10, atol=1e-13)


def test_a_step_goes_down():
    network = TeachingMLP((3, 10, 1), rng=2)
    losses = [network.descend(X, Y, squared_error, rate=0.05) for _ in range(50)]
    assert np.all(np.diff(losses) < 0)


@pytest.mark.parametrize("widths", [(3,), (3, 0, 1)])
def test_wrong_widths(widths):
    with pytest.raises(InputError, match=r"widths is .*accepted"):
        TeachingMLP(widths)
