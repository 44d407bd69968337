"""Correlations of an element of unknown channel with known ones, at all points of a grid of its four parameters.

The covariance with known elements does not depend on the number of events, the variance does: rho = cov /
sqrt(var_known var), so the fourth dimension costs almost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from statml.research.abundances.channels import Element
from statml.research.abundances.covariance import node_pairs, nodes_of
from statml.research.abundances.drift import displacement_variance
from statml.research.abundances.environment import Environment
from statml.research.abundances.kernel import bracket, variances
from statml.research.abundances.nodes import Nodes

Array = np.ndarray


def unknown_correlations(
    known: Sequence[Element],
    env: Environment,
    grid: dict[str, Array],
    *,
    delays: str = "median",
    drift: str = "isotropic",
    sigma_dex: float = 0.0,
) -> Array:
    """Correlations of an element of one channel with known ones, at all points of a grid.

    Parameters
    ----------
    known : sequence of m Element
    env : Environment
    grid : dict of arrays
        Of delay (Myr), width (pc), kick (pc / Myr) and events.
    delays, drift
        As of `correlation_matrix`.
    sigma_dex : float
        Error of the abundance of the unknown element.

    Returns
    -------
    array (delay, width, kick, events, m)
    """
    nodes = nodes_of(list(known), env, delays)
    own = np.diag(nodes.weights @ node_pairs(nodes, env, drift).covariance() @ nodes.weights.T)
    length, time = env.length_unit.value, env.time_unit.value
    delay = grid["delay"][:, None, None] / time
    width2 = (grid["width"][None, :, None] / length) ** 2
    kick2 = (grid["kick"][None, None, :] * grid["delay"][:, None, None] / length) ** 2
    cov = _with_nodes(nodes, env, drift, delay, width2, kick2) @ nodes.weights.T
    variance = _own_variance(env, drift, delay, width2, kick2, grid["events"])
    if sigma_dex:
        average = np.maximum(env.scaled.t_star - delay, 0)[..., None]
        variance = variance + (average * sigma_dex * np.log(10)) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = cov[..., None, :] / np.sqrt(variance[..., None] * own)
    return np.where(variance[..., None] > 0, rho, 0.0)


def _with_nodes(
    nodes: Nodes, env: Environment, drift: str, delay: Array, width2: Array, kick2: Array
) -> Array:
    """Covariance of the unknown product with each node, (delay, width, kick, nodes)."""
    x, y = delay[..., None], nodes.delay
    low, high = variances(width2[..., None] + nodes.width2, x, y, env.scaled)
    kicked = kick2[..., None] + nodes.kick2
    moved = displacement_variance(drift, x, y, env.scaled)
    clustered = nodes.of_channels([channel.clustered for channel in nodes.channels])
    return (
        clustered * (1 + env.mass_scatter2) / (8 * np.pi) * bracket(low + kicked, high + kicked, moved, drift)
    )


def _own_variance(
    env: Environment, drift: str, delay: Array, width2: Array, kick2: Array, events: Array
) -> Array:
    """Variance of the unknown product, (delay, width, kick, events)."""
    low, high = variances(2 * width2, delay, delay, env.scaled)
    moved = displacement_variance(drift, delay, delay, env.scaled)
    clusters = (1 + env.mass_scatter2) * bracket(low + 2 * kick2, high + 2 * kick2, moved, drift)
    # one event with itself: nothing moves it apart
    shot = bracket(low, high, np.zeros_like(moved), drift)
    return (clusters[..., None] + shot[..., None] / events) / (8 * np.pi)
