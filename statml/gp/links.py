r"""From a latent function to the probability of a class, and what inference asks of it.

    P(t | f) = g(s f),   s = +1 for the second class, -1 for the first

with g the logistic function or the normal distribution function (probit). Laplace's method wants
derivatives of log g at one f; expectation propagation and prediction want the average of g under a
normal f. Both links are mixtures of probits, g(f) = sum_k w_k Phi(f / sqrt(V_k)), one term for the
probit itself and 32 for the logistic (`statml.classification.logistic_normal`), so that

    Z(m, v) = E g(s f) = sum_k w_k Phi(s m / sqrt(V_k + v)),   f ~ N(m, v),

is closed. Source: Rasmussen & Williams (2006), "Gaussian Processes for Machine Learning", 3.2, 3.6.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from statml.classification.logistic_normal import averaged_sigmoid, sigmoid_as_probits
from statml.errors import InputError

Array = np.ndarray
_LOG_ROOT = 0.5 * float(np.log(2 * np.pi))


class Derivatives(NamedTuple):
    """log g(s f) and its first three derivatives by f, each (n,)."""

    value: Tensor
    first: Tensor
    second: Tensor
    third: Tensor


class LogPartition(NamedTuple):
    """log Z(m, v) and its first two derivatives by m, each (n,)."""

    value: Tensor
    first: Tensor
    second: Tensor


class Link(ABC):
    """A sigmoid g with g(f) + g(-f) = 1."""

    name: str
    # g as a mixture of probits.
    variances: Array
    weights: Array

    @abstractmethod
    def derivatives(self, sign: Tensor, latent: Tensor) -> Derivatives:
        """Of log g(s f), for `sign` (n,) of +1 and -1 and `latent` f (n,)."""

    @abstractmethod
    def average(self, mean: Any, variance: Any) -> Array:
        """E g(f) for f ~ N(mean, variance), arrays (n,)."""

    def log_partition(self, sign: Tensor, mean: Tensor, variance: Tensor) -> LogPartition:
        """log E g(s f) for f ~ N(mean, variance), each (n,), with derivatives by the mean."""
        nodes = torch.as_tensor(self.variances, dtype=mean.dtype, device=mean.device)
        log_weights = torch.log(torch.as_tensor(self.weights, dtype=mean.dtype, device=mean.device))
        width = torch.sqrt(nodes + variance[:, None])
        z = (sign * mean)[:, None] / width
        log_z = torch.logsumexp(log_weights + torch.special.log_ndtr(z), dim=1)
        # Ratios of densities to Z from their logarithms: neither tail is lost.
        density = torch.exp(log_weights - 0.5 * z**2 - _LOG_ROOT - torch.log(width) - log_z[:, None])
        first = density.sum(dim=1)
        second = -(density * z / width).sum(dim=1) - first**2
        return LogPartition(log_z, sign * first, second)


class Logit(Link):
    """The logistic function: f are log odds."""

    name = "logit"
    variances, weights = sigmoid_as_probits(2)

    def derivatives(self, sign: Tensor, latent: Tensor) -> Derivatives:
        margin = sign * latent
        p, q = torch.sigmoid(latent), torch.sigmoid(-latent)
        return Derivatives(
            torch.nn.functional.logsigmoid(margin),
            sign * torch.sigmoid(-margin),
            -p * q,
            -p * q * (q - p),
        )

    def average(self, mean: Any, variance: Any) -> Array:
        return averaged_sigmoid(mean, variance)


class Probit(Link):
    """The normal distribution function: f is in units of the noise of a threshold."""

    name = "probit"
    variances, weights = np.ones(1), np.ones(1)

    def derivatives(self, sign: Tensor, latent: Tensor) -> Derivatives:
        value = torch.special.log_ndtr(sign * latent)
        ratio = sign * torch.exp(-0.5 * latent**2 - _LOG_ROOT - value)
        second = -ratio * (ratio + latent)
        third = -second * (2 * ratio + latent) - ratio
        return Derivatives(value, ratio, second, third)

    def average(self, mean: Any, variance: Any) -> Array:
        from scipy import special

        return np.asarray(special.ndtr(np.asarray(mean) / np.sqrt(1 + np.asarray(variance))))


LINKS: dict[str, Link] = {link.name: link for link in (Logit(), Probit())}


def link_named(name: Any) -> Link:
    """The link of that name.

    Raises
    ------
    InputError
        There is none.
    """
    if name not in LINKS:
        raise InputError(f"link is {name!r}; accepted are 'logit' and 'probit'")
    return LINKS[name]
