r"""A network for the mean and the scatter of k labels, and the loss it is trained with.

    y_j = m_j(x) + s_j(x) t_j + e_j,      t_j standard normal or Student's t,   e_j ~ N(0, y_err_j^2)

A t is a sum over normals whose variances are spread, so the error of y simply adds to the variance of
each of them. The gradient of a normal log density with respect to m is (y - m) / v: rows whose scatter is
thought large are hardly fitted any more, which keeps their scatter large. Each row's loss is
therefore multiplied by v^beta, held constant in the gradient: beta = 0 is maximum likelihood,
beta = 1 gives the mean the gradient of least squares.

Source: Nix & Weigend (1994); Seitzer et al. (2022), arXiv:2203.09168, for beta; arXiv:2506.12230, chapter 16.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from statml.neural.conditional_density import ConditionalDensity, drawn_errors
from statml.neural.training import isolated_random
from statml.uncertainty.mixtures import GaussianMixture
from statml.uncertainty.parametric import Gaussian

Array = np.ndarray
# softplus of it is 1: at first the scatter of a label is that of all its values.
UNIT_SCATTER = math.log(math.e - 1)


@dataclass(frozen=True)
class Tails:
    """The unit scatter as a sum of normals: their weights and variances, (1,) for normal scatter."""

    weights: tuple[float, ...]
    variances: tuple[float, ...]

    @classmethod
    def of(cls, df: float | None) -> Tails:
        """Student's t with `df` degrees of freedom; None for normal scatter."""
        if df is None:
            return cls((1.0,), (1.0,))
        # A trapezoid sum in the log of the precision, as in `student_as_normals`, at wide steps: a likelihood that is
        # evaluated at every training step needs a t to one part in a thousand, not to the last digit.
        log_precision = np.arange(-24 / df - 4, 3.5, 0.75)
        log_weights = 0.5 * df * (log_precision - np.exp(log_precision))
        weights = np.exp(log_weights - log_weights.max())
        return cls(tuple(weights / weights.sum()), tuple(np.exp(-log_precision)))

    @property
    def variance(self) -> float:
        """Of the unit scatter."""
        return float(np.dot(self.weights, self.variances))


class SharedDropout(nn.Module):
    """Dropout whose mask can be held: one mask is one network, the same for all rows."""

    def __init__(self, rate: float, width: int) -> None:
        super().__init__()
        self.rate, self.width = rate, width
        self.mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return functional.dropout(x, self.rate)
        return x if self.mask is None else x * self.mask

    def draw(self) -> None:
        self.mask = torch.bernoulli(torch.full((self.width,), 1 - self.rate, dtype=torch.float64)) / (
            1 - self.rate
        )


class LabelNetwork(ConditionalDensity):
    """Means and scatters of k labels, each (n, k), of standardised x (n, d)."""

    tails: Tails

    def __init__(
        self, d: int, k: int, hidden: Sequence[int], dropout: float, tails: Tails, least: float
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = d
        for size in hidden:
            layers += [nn.Linear(width, size), nn.SiLU()]
            if dropout > 0:
                layers.append(SharedDropout(dropout, size))
            width = size
        self.features = nn.Sequential(*layers)
        self.mean, self.scatter = nn.Linear(width, k), nn.Linear(width, k)
        with torch.no_grad():
            self.scatter.weight.mul_(0.1)
            self.scatter.bias.fill_(UNIT_SCATTER)
        self.tails, self.least = tails, least

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(x)
        return self.mean(features), self.least + functional.softplus(self.scatter(features))

    def densities(self, y: Tensor, x: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
        """Log density of each measured label and the variance of its prediction, both (n, k)."""
        mean, scatter = self(x)
        noise, gap = error**2, (y - mean) ** 2
        if len(self.tails.weights) == 1:
            total = scatter**2 + noise
            return -0.5 * (gap / total + torch.log(total) + math.log(2 * math.pi)), total
        weights, variances = (
            torch.tensor(v, dtype=x.dtype, device=x.device)
            for v in (self.tails.weights, self.tails.variances)
        )
        each = scatter[..., None] ** 2 * variances + noise[..., None]
        single = torch.log(weights) - 0.5 * (gap[..., None] / each + torch.log(2 * math.pi * each))
        return torch.logsumexp(single, dim=-1), scatter**2 + noise

    def log_likelihood(self, y: Tensor, x: Tensor, error: Tensor, random: torch.Generator) -> Tensor:
        """Summed over the labels, shape (n,)."""
        return self.densities(_columns(y), x, _columns(error))[0].sum(dim=1)

    @contextmanager
    def masks(self, draws: int, seed: int = 0) -> Iterator[Iterable[LabelNetwork]]:
        """Networks drawn by dropout, or the whole one where `draws` is 0; the masks are taken off at the end."""
        dropouts = [layer for layer in self.features if isinstance(layer, SharedDropout)]

        def drawn() -> Iterator[LabelNetwork]:
            for draw in range(draws):
                with isolated_random(seed + draw):
                    for layer in dropouts:
                        layer.draw()
                yield self

        try:
            yield drawn() if draws else [self]
        finally:
            for layer in dropouts:
                layer.mask = None


@dataclass(frozen=True)
class BetaLoss:
    """Minus the log density of a batch, each row and label weighted by its variance to the power beta.

    Where X has errors, every row is moved by one fresh draw of them at every step.
    """

    beta: float

    def __call__(self, module: Any, batch: tuple[Tensor, ...], random: torch.Generator) -> Tensor:
        x, y, error, *factors = batch
        if factors and module.training:
            x = x + drawn_errors(factors[0], 1, random)[0]
        error = _columns(error)
        # A label that was not measured has an infinite error, and no say.
        known = torch.isfinite(error)
        log_density, variance = module.densities(_columns(y), x, torch.where(known, error, 1.0))
        weighted = torch.where(known, variance.detach() ** self.beta * log_density, 0.0)
        return -weighted.sum() / known.sum().clamp(min=1)


def label_distribution(
    means: Array, scatters: Array, tails: Tails, error: Array, *, errors_given: bool
) -> Gaussian | GaussianMixture:
    """The prediction of one label out of what networks say of it.

    Parameters
    ----------
    means, scatters : arrays (networks, n, draws)
        For each network and each draw of the true x.
    error : array (n,)
        Errors of the y to compare with.
    errors_given : bool
        Whether `fit` had errors of y; else the scatter it found holds the noise.
    """
    n = means.shape[1]
    scatter = tails.variance * np.mean(scatters**2, axis=(0, 2))
    parts = {
        "parameter": means.mean(axis=2).var(axis=0),
        "input": means.var(axis=2).mean(axis=0),
        "noise": error**2 + (0 if errors_given else scatter),
        "model": scatter if errors_given else np.zeros(n),
    }
    flat = [np.moveaxis(part, 1, 0).reshape(n, -1) for part in (means, scatters)]
    variances = flat[1][:, :, None] ** 2 * np.array(tails.variances) + error[:, None, None] ** 2
    components = variances.shape[1] * variances.shape[2]
    if components == 1:
        return Gaussian(flat[0][:, 0], np.sqrt(variances[:, 0, 0]), variance_components=parts)
    weights = np.tile(np.array(tails.weights) / flat[0].shape[1], flat[0].shape[1])
    places = np.repeat(flat[0], len(tails.weights), axis=1)
    return GaussianMixture(weights, places, np.sqrt(variances.reshape(n, -1)), variance_components=parts)


def _columns(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1)
