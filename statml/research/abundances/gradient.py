r"""How correlations change with the environment: derivatives of the whole matrix, in closed form.

At r = 0 the kernel depends on the environment through S_min, S_max and the drift's variance d^2 only, whose
derivatives are

    ln kappa (l_corr kept)   S_min - sigma^2,   S_max - sigma^2 - 4 l_corr^2,   0
    ln l_corr                0,                 8 l_corr^2,                     0
    ln drift                 0,                 0,                              2 d^2
    ln width of channel c    2 sigma_c^2 for each of the two products that c makes, both

with sigma^2 = sigma_c^2 + sigma_c'^2, and d rho = d Cov_XY / sqrt(Cov_XX Cov_YY) - rho (d Cov_XX / Cov_XX + d Cov_YY / Cov_YY) / 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from statml.errors import InputError
from statml.research.abundances.channels import Element
from statml.research.abundances.correlation import CorrelationMatrix, as_matrix
from statml.research.abundances.covariance import Pairs, node_pairs, nodes_of
from statml.research.abundances.drift import check_drift
from statml.research.abundances.environment import Environment
from statml.research.abundances.kernel import bracket_slopes, check_environment
from statml.research.abundances.nodes import Nodes, as_elements

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class CorrelationGradient:
    """A matrix of correlations and its derivatives with respect to logarithms of parameters.

    Attributes
    ----------
    matrix : CorrelationMatrix
    parameters : tuple of str
        "kappa", "l_corr", "drift", and "width of NAME" for each channel.
    values : array (parameters, n, n)
        d rho / d ln parameter, all others kept.
    """

    matrix: CorrelationMatrix
    parameters: tuple[str, ...]
    values: Array

    def __getitem__(self, parameter: str) -> Array:
        if parameter not in self.parameters:
            raise InputError(f"parameter is {parameter!r}; accepted are {', '.join(self.parameters)}")
        return self.values[self.parameters.index(parameter)]


def correlation_gradient(
    elements: Sequence[Element], env: Environment, delays: str = "median", drift: str = "isotropic"
) -> CorrelationGradient:
    """Correlations of elements and their derivatives with respect to the environment and the widths of channels.

    Parameters
    ----------
    elements, env, delays, drift
        As of `correlation_matrix`.

    Returns
    -------
    CorrelationGradient

    Examples
    --------
    A longer correlation length makes oxygen and nitrogen more alike:

    >>> from statml.research.abundances import Environment, load_elements
    >>> gradient = correlation_gradient(load_elements(["O", "N"]), Environment.fiducial())
    >>> {name: round(float(gradient[name][0, 1]), 3) for name in ("kappa", "l_corr", "drift")}
    {'kappa': -0.055, 'l_corr': 0.123, 'drift': -0.065}
    """
    found, env = as_elements(elements), check_environment(env)
    nodes = nodes_of(found, env, delays)
    pairs = node_pairs(nodes, env, check_drift(drift))
    cov = nodes.weights @ pairs.covariance() @ nodes.weights.T
    matrix = as_matrix(found, nodes, env, cov)
    slopes = [_through(each, nodes.weights, cov, matrix.values) for each in _node_slopes(pairs, nodes, env)]
    widths = tuple(f"width of {channel.name}" for channel in nodes.channels)
    return CorrelationGradient(matrix, ("kappa", "l_corr", "drift", *widths), np.array(slopes))


def _node_slopes(pairs: Pairs, nodes: Nodes, env: Environment) -> list[Array]:
    """Derivatives of the covariance of all pairs of nodes, one parameter after the other."""
    of_low = of_high = of_drift = np.zeros_like(pairs.low)
    for factor, kicked, moved in pairs.terms:
        slopes = bracket_slopes(pairs.low + kicked, pairs.high + kicked, moved, pairs.drift)
        of_low, of_high = of_low + factor * slopes[0], of_high + factor * slopes[1]
        of_drift = of_drift + factor * slopes[2] * 2 * moved
    width2 = nodes.width2[:, None] + nodes.width2[None, :]
    age = env.scaled.t_star
    both = of_low + of_high
    found = [
        of_low * (pairs.low - width2) + of_high * (pairs.high - width2 - 4 * age),
        of_high * 8 * age,
        of_drift,
    ]
    for i in range(len(nodes.channels)):
        own = 2 * nodes.width2 * (nodes.channel == i)
        found.append(both * (own[:, None] + own[None, :]))
    return found


def _through(slope: Array, weights: Array, cov: Array, rho: Array) -> Array:
    """From derivatives of the covariances of nodes to those of the correlations of elements."""
    change = weights @ slope @ weights.T
    std = np.sqrt(np.diag(cov))
    relative = np.diag(change) / np.diag(cov) / 2
    return change / np.outer(std, std) - rho * (relative[:, None] + relative[None, :])
