r"""Backpropagation by hand, in NumPy: what a framework does when it is asked for a gradient.

Forwards, layer by layer, with z_l the inputs of the nonlinearity and h_0 = x:

    z_l = h_{l-1} W_l + b_l,        h_l = tanh(z_l),        the last layer without tanh

Backwards, with delta_l = dL/dz_l, by the chain rule:

    dL/dW_l = h_{l-1}^T delta_l,    dL/db_l = sum_i delta_l,    delta_{l-1} = (delta_l W_l^T) * (1 - h_{l-1}^2)

Both passes cost two matrix products for each layer, whatever the number of weights: that is all there is to it.

Source: Rumelhart, Hinton & Williams (1986), Nature 323, 533; arXiv:2506.12230, chapter 16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from statml.compute import generator
from statml.errors import InputError

Array = np.ndarray
# The loss of outputs (n, k) for targets (n, k'), and its derivative with respect to the outputs.
OutputLoss = Callable[[Array, Array], tuple[float, Array]]


class TeachingMLP:
    """A multilayer perceptron to read; for work there is `MLPRegressor`.

    Parameters
    ----------
    widths : sequence of int
        Of x, of each hidden layer and of the output: ``(3, 20, 20, 1)``.
    rng : int, Generator or None
        Draws the first weights, normal with variance 1 / (width before).

    Attributes
    ----------
    weights, biases : lists of arrays

    Examples
    --------
    >>> x = np.linspace(-1, 1, 50)[:, None]
    >>> network = TeachingMLP((1, 10, 1), rng=0)
    >>> for _ in range(2000):
    ...     loss = network.descend(x, np.sin(3 * x), squared_error, rate=0.3)
    >>> bool(loss < 3e-3)
    True
    """

    def __init__(self, widths: Sequence[int], rng: Any = None) -> None:
        if len(widths) < 2 or any(width < 1 for width in widths):
            raise InputError(f"widths is {widths!r}; accepted are two or more ints >= 1")
        rng = generator(rng)
        self.weights = [rng.normal(0, into**-0.5, (into, out)) for into, out in pairwise(widths)]
        self.biases = [np.zeros(out) for out in widths[1:]]

    def layers(self, x: Array) -> list[Array]:
        """h_0 = x, h_1, ..., and the output, each (n, width): what the way back needs."""
        h = [np.asarray(x, float)]
        for W, b in zip(self.weights, self.biases):
            z = h[-1] @ W + b
            h.append(z if W is self.weights[-1] else np.tanh(z))
        return h

    def __call__(self, x: Array) -> Array:
        """The output, (n, k)."""
        return self.layers(x)[-1]

    def gradient(self, x: Array, y: Array, loss: OutputLoss) -> tuple[float, list[Array], list[Array]]:
        """The loss and its derivatives with respect to all weights and biases."""
        h = self.layers(x)
        value, delta = loss(h[-1], np.asarray(y, float))
        d_weights: list[Array] = []
        d_biases: list[Array] = []
        for l in reversed(range(len(self.weights))):  # noqa: E741
            d_weights.insert(0, h[l].T @ delta)
            d_biases.insert(0, delta.sum(axis=0))
            if l > 0:
                delta = (delta @ self.weights[l].T) * (1 - h[l] ** 2)
        return value, d_weights, d_biases

    def descend(self, x: Array, y: Array, loss: OutputLoss, rate: float) -> float:
        """One step down the gradient; returns the loss before it."""
        value, d_weights, d_biases = self.gradient(x, y, loss)
        for parameter, slope in zip(self.weights + self.biases, d_weights + d_biases):
            parameter -= rate * slope
        return value


def squared_error(output: Array, y: Array) -> tuple[float, Array]:
    """Mean of (output - y)^2 / 2 over rows, summed over columns, and its derivative."""
    gap = output - y
    return 0.5 * float(np.sum(gap**2)) / len(gap), gap / len(gap)


def normal_log_loss(output: Array, y: Array) -> tuple[float, Array]:
    """Minus the mean log density of y (n, 1) under normals; the two outputs are their mean and log variance.

    With r = (y - m) / s the derivatives are -r / s for the mean and (1 - r^2) / 2 for the log variance.
    """
    mean, log_variance = output[:, :1], output[:, 1:]
    r = (y - mean) * np.exp(-0.5 * log_variance)
    value = 0.5 * float(np.mean(r**2 + log_variance + np.log(2 * np.pi)))
    slope = np.hstack([-r * np.exp(-0.5 * log_variance), 0.5 * (1 - r**2)])
    return value, slope / len(slope)
