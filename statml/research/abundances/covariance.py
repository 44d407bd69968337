r"""Covariances, powers and means of elements, in the units of the field.

An element X is made by channels c in parts f_Xc at delays t_Xc. With K the bracket of
`statml.research.abundances.kernel`,

    Cov_XY(r) = 1 / (8 pi) sum_cc' f_Xc f_Yc' [(1 + sigma_w^2) K_cc'(r) + delta_cc' (1 + eps_c^2) / n_c K'_cc(r)]

in units of (m / L0^2)^2. The second term is the Poisson noise of rare events, n_c for a mean cluster and with
a scatter eps_c of their yields; it vanishes where events are many. Kicks sigma_k of the events widen the
first term by sigma_k^2 (t_X^2 + t_Y^2), because two events are kicked independently, and the second by
sigma_k^2 (t_X - t_Y)^2, because it is one event. Channels that are not clustered have the second term only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u

from statml.errors import InputError
from statml.research.abundances.channels import Element
from statml.research.abundances.dimensions import LENGTH, TIME, WAVENUMBER, magnitudes
from statml.research.abundances.drift import check_drift, displacement_variance
from statml.research.abundances.environment import Environment
from statml.research.abundances.kernel import bracket, check_environment, damping, variances
from statml.research.abundances.nodes import Nodes, as_elements, full_nodes, median_nodes

Array = np.ndarray


def covariance(
    x: Element,
    y: Element,
    env: Environment,
    r: Any = 0 * u.pc,
    lag: Any = 0 * u.Myr,
    *,
    drift: str = "isotropic",
) -> Any:
    """Covariance of the abundances of two elements at two places and times.

    Parameters
    ----------
    x, y : Element
    env : Environment
    r, lag : Quantity
        Separation of the places, and by how much `y` is observed later than `x`; they broadcast.
    drift : {"isotropic", "aligned", "dispersing", "epicyclic"}

    Returns
    -------
    float or array
        In (m / L0^2)^2, with m the metals of a mean cluster.

    Raises
    ------
    InputError, InputTypeError, WrongUnitError

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from statml.research.abundances import Environment, load_elements
    >>> oxygen, nitrogen = load_elements(["O", "N"])
    >>> env = Environment.fiducial()
    >>> r = [0, 200, 1000] * u.pc
    >>> covariance(oxygen, nitrogen, env, r).round(2)
    array([17.75, 15.57,  7.15])
    """
    nodes = median_nodes(as_elements([x, y]), check_environment(env))
    length, time = env.length_unit.value, env.time_unit.value
    separations, lags = np.broadcast_arrays(
        magnitudes("r", r, LENGTH) / length, magnitudes("lag", lag, TIME) / time
    )
    if (separations < 0).any():
        raise InputError(
            f"r has the negative value {separations.min() * length:g} pc; accepted are values >= 0"
        )
    found = [
        float(nodes.weights[0] @ node_pairs(nodes, env, drift, t).covariance(s**2) @ nodes.weights[1])
        for s, t in zip(separations.ravel(), lags.ravel())
    ]
    return found[0] if separations.ndim == 0 else np.reshape(found, separations.shape)


def power_spectrum(
    k: Any, x: Element, y: Element | None = None, env: Environment | None = None, *, drift: str = "isotropic"
) -> u.Quantity:
    """Cross power of two elements, the integral of xi(r) exp(-i k.r) over the plane.

    Parameters
    ----------
    k : Quantity
        Wavenumbers, such as 1 / kpc, in radians.
    x, y : Element
        By default `y` is `x`.
    env : Environment
        By default the fiducial one.
    drift : {"isotropic", "aligned", "dispersing", "epicyclic"}

    Returns
    -------
    Quantity
        In pc2 times (m / L0^2)^2, of the shape of `k`.

    Examples
    --------
    >>> from astropy import units as u
    >>> from statml.research.abundances import load_elements
    >>> power = power_spectrum([0, 1, 10] / u.kpc, *load_elements(["O"]))
    >>> (power / power[0]).round(4)
    <Quantity [1.    , 0.3721, 0.0026]>
    """
    env = check_environment(Environment.fiducial() if env is None else env)
    nodes = median_nodes(as_elements([x, x if y is None else y]), env)
    pairs = node_pairs(nodes, env, drift)
    wavenumbers = magnitudes("k", k, WAVENUMBER) * env.length_unit.value
    found = [
        float(nodes.weights[0] @ _power(pairs, k2) @ nodes.weights[1])
        for k2 in np.atleast_1d(wavenumbers).ravel() ** 2
    ]
    return np.reshape(found, np.shape(wavenumbers)) * env.length_unit**2


def mean(x: Element, env: Environment) -> float:
    """Mean abundance of an element in m / L0^2: what all clusters have made of it, over their area.

    Examples
    --------
    >>> from statml.research.abundances import Environment, load_elements
    >>> round(mean(*load_elements(["O"]), Environment.fiducial()), 1)
    87.6
    """
    return float(means(median_nodes(as_elements([x]), check_environment(env)), env)[0])


def scatter_dex(x: Element, env: Environment, *, drift: str = "isotropic") -> float:
    """Scatter of the logarithm of an abundance, sigma / (mean ln 10), in dex.

    Examples
    --------
    >>> from statml.research.abundances import Environment, load_elements
    >>> [round(scatter_dex(x, Environment.fiducial()), 4) for x in load_elements(["O", "Fe", "N", "Ba"])]
    [0.024, 0.0237, 0.0307, 0.0477]
    """
    return float(np.sqrt(covariance(x, x, env, drift=drift)) / mean(x, env) / np.log(10))


def nodes_of(elements: list[Element], env: Environment, delays: str) -> Nodes:
    """The table behind `delays`: "median" or "full"."""
    if delays not in ("median", "full"):
        raise InputError(f"delays is {delays!r}; accepted are 'median' and 'full'")
    return median_nodes(elements, env) if delays == "median" else full_nodes(elements, env)


def means(nodes: Nodes, env: Environment) -> Array:
    """Mean of each element in m / L0^2."""
    return nodes.weights @ (env.scaled.t_star - nodes.delay)


@dataclass(frozen=True, eq=False)
class Pairs:
    """All pairs of nodes of unit weight: what their kernels are made of.

    Attributes
    ----------
    low, high : arrays (nodes, nodes)
        S_min and S_max without drift.
    drift : str
    terms : list of (factor, kicked, moved)
        The covariance is the sum of ``factor * bracket(low + kicked, high + kicked, moved)``; `moved` is the
        variance of the drift.
    """

    low: Array
    high: Array
    drift: str
    terms: list[tuple[Array, Array, Array]]

    def covariance(self, r2: float = 0.0) -> Array:
        """Of all pairs at one squared separation."""
        return sum(
            factor * bracket(self.low + kicked, self.high + kicked, moved, self.drift, r2)
            for factor, kicked, moved in self.terms
        )


def node_pairs(nodes: Nodes, env: Environment, drift: str, lag: float = 0.0) -> Pairs:
    """Build the pairs of nodes; lengths and times in scaled units."""
    scaled = env.scaled
    low, high = _node_variances(nodes, env, lag)
    x, y = nodes.delay[:, None], nodes.delay[None, :]
    moved = displacement_variance(check_drift(drift), x, y, scaled)
    clustered = nodes.of_channels([channel.clustered for channel in nodes.channels])
    common = (1 + scaled.mass_scatter2) / (8 * np.pi) * (clustered[:, None] & clustered[None, :])
    terms = [(common, nodes.kick2[:, None] + nodes.kick2[None, :], moved)]
    shot = nodes.of_channels([(1 + c.yield_scatter**2) / c.events_per_cluster for c in nodes.channels])
    if shot.any():
        same = nodes.channel[:, None] == nodes.channel[None, :]
        kick = np.sqrt(nodes.kick2)
        # one event is made by one star, which in a dissolving cluster moves straight on too
        own = displacement_variance("isotropic", x, y, scaled) if drift == "dispersing" else moved
        terms.append((same * shot / (8 * np.pi), (kick[:, None] - kick[None, :]) ** 2, own))
    return Pairs(low, high, drift, terms)


def _node_variances(nodes: Nodes, env: Environment, lag: float = 0.0) -> tuple[Array, Array]:
    """S_min and S_max of all pairs of nodes."""
    x, y = nodes.delay[:, None], nodes.delay[None, :]
    low, high = variances(nodes.width2[:, None] + nodes.width2[None, :], x, y, env.scaled, lag)
    if nodes.spread.any() and lag == 0:
        # Two products of one interval are made a third of it apart on the mean, not at once.
        apart = 2 * np.where(x == y, np.minimum(nodes.spread[:, None], nodes.spread[None, :]) / 3, 0)
        low = low + np.minimum(apart, high - low)
    return low, high


def _power(pairs: Pairs, k2: float) -> Array:
    """Power of all pairs at one squared wavenumber.

    A kernel is the transform of 8 pi (exp(-k^2 S_min / 2) - exp(-k^2 S_max / 2)) / (2 k^2).
    """
    span = k2 * (pairs.high - pairs.low) / 2
    # at k = 0 it is (S_max - S_min) / 4
    buildup = (
        (pairs.high - pairs.low)
        / 4
        * np.where(span == 0, 1.0, -np.expm1(-span) / np.where(span == 0, 1.0, span))
    )
    shape = buildup * np.exp(-k2 * pairs.low / 2)
    return sum(
        8 * np.pi * factor * shape * np.exp(-k2 * kicked / 2) * damping(np.asarray(k2), moved, pairs.drift)
        for factor, kicked, moved in pairs.terms
    )
