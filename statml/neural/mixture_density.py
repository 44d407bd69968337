r"""Mixture density networks: p(y | x) as K normals whose weights, means and widths follow x.

    p(y | x) = sum_k w_k(x) N(y; mu_k(x), sigma_k(x)^2)

A measured y has its error on top of every component, sigma_k^2 + y_err^2, in the
likelihood as in a prediction, so that what is learned is the density of the true y.
A component whose variance could go to zero would make the likelihood infinite at one
point; the widths therefore stay above a floor.

Source: Bishop (1994), Aston University report NCRG/94/004; arXiv:2506.12230, chapter 17.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from statml.errors import InputError
from statml.neural.conditional_density import ConditionalDensity, DensityRegressor
from statml.neural.training import Training
from statml.uncertainty.mixtures import GaussianMixture

Array = np.ndarray


class MixtureNetwork(ConditionalDensity):
    """Weights (logs), means and standard deviations, each (n, K), of standardised x (n, d)."""

    def __init__(self, d: int, components: int, hidden: Sequence[int], least: float) -> None:
        super().__init__()
        widths = [d, *hidden]
        layers: list[nn.Module] = []
        for into, out in pairwise(widths):
            layers += [nn.Linear(into, out), nn.SiLU()]
        last = nn.Linear(widths[-1], 3 * components)
        with torch.no_grad():
            last.weight.mul_(0.1)
            # Components start apart, each as wide as its share of y.
            last.bias.zero_()
            last.bias[components : 2 * components] = torch.linspace(-1, 1, components + 2)[1:-1]
            last.bias[2 * components :] = math.log(1.5 / components**0.5)
        self.layers = nn.Sequential(*layers, last)
        self.least = least

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, means, log_stds = self.layers(x).chunk(3, dim=-1)
        return torch.log_softmax(logits, dim=-1), means, self.least + torch.exp(log_stds.clamp(max=7.0))

    def log_likelihood(self, y: Tensor, x: Tensor, error: Tensor, random: torch.Generator) -> Tensor:
        log_weights, means, stds = self(x)
        variances = stds**2 + error[:, None] ** 2
        gaps = (y[:, None] - means) ** 2 / variances
        return torch.logsumexp(
            log_weights - 0.5 * (gaps + torch.log(variances) + math.log(2 * math.pi)), dim=-1
        )


class MixtureDensityNetwork(DensityRegressor):
    """A density of y given x made of K normals, by a network.

    Parameters
    ----------
    n_components : int
        K.
    hidden : sequence of int
        Widths of the network's layers.
    training : Training, optional
        By default at most 300 epochs, a tenth of the rows for validation, patience of 40.
    least_width : float
        Floor of the components' standard deviations, in units of the standard deviation of y.
    input_draws : int
        Draws of x where X has errors, in the likelihood and in predictions.
    random_state : int, Generator or None

    Attributes
    ----------
    network_ : torch.nn.Module
        Of standardised x and y; `x_center_`, `x_scale_`, `y_center_`, `y_scale_` standardise.
    history_ : History

    See Also
    --------
    statml.neural.ConditionalFlow : a density of any shape.
    statml.neural.DeepEnsemble : the uncertainty of the network itself, which one network leaves out.

    Examples
    --------
    >>> from statml.neural import Training
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (800, 1))
    >>> y = np.where(rng.random(800) < 0.5, -2, 2) * X[:, 0] + 0.1 * rng.normal(size=800)
    >>> network = MixtureDensityNetwork(2, training=Training(epochs=80, learning_rate=0.01), random_state=0)
    >>> prediction = network.fit(X, y).predict_dist([[0.8]])
    >>> np.sort(prediction.means[0]).round(1)
    array([-1.6,  1.6])
    """

    def __init__(
        self,
        n_components: int = 5,
        *,
        hidden: Sequence[int] = (64, 64),
        training: Training | None = None,
        least_width: float = 1e-3,
        input_draws: int = 16,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.hidden = hidden
        self.training = training
        self.least_width = least_width
        self.input_draws = input_draws
        self.random_state = random_state

    def _network(self, d: int) -> MixtureNetwork:
        if not isinstance(self.n_components, int | np.integer) or self.n_components < 1:
            raise InputError(f"n_components is {self.n_components!r}; accepted is an int >= 1")
        if not self.least_width > 0:
            raise InputError(f"least_width is {self.least_width!r}; accepted are values > 0")
        return MixtureNetwork(d, int(self.n_components), tuple(self.hidden), float(self.least_width))

    def _distribution(self, x: Array, error: Array, draws: int) -> GaussianMixture:
        log_weights, means, stds = self._parameters(x)
        weights = np.exp(log_weights)
        weights = weights / weights.sum(axis=1, keepdims=True)
        center = np.sum(weights * means, axis=1).reshape(-1, draws)
        between = self.y_scale_**2 * center.var(axis=1)
        n = len(center)
        flat_weights, flat_means, flat_stds = (part.reshape(n, -1) for part in (weights / draws, means, stds))
        plain = GaussianMixture(
            flat_weights,
            self.y_center_ + self.y_scale_ * flat_means,
            self.y_scale_ * np.hypot(flat_stds, error[:, None]),
        )
        parts = self._components(plain.std**2, between, self.y_scale_ * error)
        return GaussianMixture(plain.weights, plain.means, plain.stds, variance_components=parts)
