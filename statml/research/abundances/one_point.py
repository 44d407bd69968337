r"""The distribution of an abundance at one place: cumulants and density, beyond the mean and the variance.

Campbell's theorem gives every cumulant as an integral over the ages of clusters and over the plane,

    kappa_n = Gamma m^n <w^n> int dt int d^2x <[sum_c f_c N(x - v t_c; s_c^2(t))]^n>_v.

A product of n Gaussians S_1 ... S_n about t_1 v ... t_n v, with v normal of dispersion sigma_v, integrates to

    1 / prod(2 pi S_j) * 2 pi / (a + sigma_v^2 [a b - c^2]),
    a = sum 1/S_j,  b = sum t_j^2 / S_j,  c = sum t_j / S_j.

Without drift and for one channel that is kappa_n = Gamma <w^n> m^n int dt (2 pi s^2)^(1-n) / n. The density
of one channel follows from its characteristic function, with u = s^2 = sigma^2 + 2 kappa (t - t_X) from
sigma^2 to sigma^2 + 2 kappa (t_* - t_X),

    ln phi(q) = Gamma / (2 kappa) int 2 pi u H(q m / (2 pi u)) du,     H(z) = int_0^z (phi_w(x) - 1) dx / x,

where phi_w is the characteristic function of the masses: for equal ones H(z) = Ci(z) - ln z - gamma_E + i
Si(z), else a gamma distribution of mean 1. The derivation is ours from Campbell's theorem; the tests compare
with simulated sums of events.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import interpolate, special

from statml.errors import InputError
from statml.research.abundances.channels import Element
from statml.research.abundances.covariance import covariance, mean
from statml.research.abundances.dimensions import SPEED, number
from statml.research.abundances.environment import Environment, Scaled
from statml.research.abundances.kernel import check_environment

Array = np.ndarray

MAX_ORDER = 6
# Of Gauss-Legendre in the logarithms of ages and of variances.
NODES = 96
# The characteristic function is followed until it is this small; Fourier steps are taken together in blocks.
NEGLIGIBLE = 1e-13
BLOCK = 4096
MAX_FREQUENCIES = 2**18


def cumulant(x: Element, env: Environment, order: int, *, mass_moment: float | None = None) -> float:
    """Cumulant of an abundance, drift isotropic.

    Parameters
    ----------
    x : Element
        Its channels are clustered and their events many (for `order` above 2).
    env : Environment
    order : int
        1 (the mean), 2 (the variance) up to 6.
    mass_moment : float, optional
        Mean of w^order over the clusters; by default that of a gamma distribution with `env.mass_scatter2`.

    Returns
    -------
    float
        In (m / L0^2)^order.

    Examples
    --------
    Skewness of a supernova element where all clusters are alike:

    >>> from astropy import units as u
    >>> from statml.research.abundances import Element, Environment
    >>> x = Element("X", {"ccsn": 1.0}, {"ccsn": 10 * u.Myr})
    >>> env = Environment.fiducial().replace(mass_scatter2=0)
    >>> round(cumulant(x, env, 3) / cumulant(x, env, 2) ** 1.5, 3)
    0.101
    """
    if not isinstance(order, int | np.integer) or not 1 <= order <= MAX_ORDER:
        raise InputError(f"order is {order!r}; accepted is a whole number from 1 to {MAX_ORDER}")
    check_environment(env)
    if mass_moment is not None:
        mass_moment = number("mass_moment", mass_moment, above=0)
    if order == 1:
        return mean(x, env) * (1.0 if mass_moment is None else mass_moment)
    moment = env.mass_moment(order) if mass_moment is None else mass_moment
    if order == 2 and mass_moment is None:
        return covariance(x, x, env)
    parts, delays, widths2 = _many_events(x, env)
    total = 0.0
    for chosen in itertools.combinations_with_replacement(range(len(parts)), order):
        index = list(chosen)
        ways = special.factorial(order) / np.prod([special.factorial(chosen.count(c)) for c in set(chosen)])
        total += ways * np.prod(parts[index]) * _overlap(delays[index], widths2[index], env.scaled)
    return float(moment * total)


def _many_events(x: Element, env: Environment) -> tuple[Array, Array, Array]:
    """Parts, delays and variances (kicks included) of the channels of an element, scaled."""
    length, time = env.length_unit.value, env.time_unit.value
    found = []
    for channel, fraction, delay in x.contributions:
        if np.isfinite(channel.events_per_cluster) or not channel.clustered:
            raise InputError(
                f"x has the channel {channel.name!r}, whose events are rare or not clustered; accepted here are "
                "clustered channels of many events"
            )
        if delay < env.t_star.value:
            kick = channel.kick.to_value(SPEED)
            found.append((fraction, delay / time, (channel.width.value**2 + (kick * delay) ** 2) / length**2))
    parts, delays, widths2 = np.array(found).reshape(-1, 3).T
    return parts, delays, widths2


def _overlap(delays: Array, widths2: Array, env: Scaled) -> float:
    """Integral over ages and places of a product of Gaussians, the mean over drifts taken."""
    latest = delays.max()
    # since the last of them was injected: from 0 to t_star - latest, dense where the Gaussians are narrow
    first = widths2.min() / 2
    edges = np.log([first, first + env.t_star - latest])
    points, weights = np.polynomial.legendre.leggauss(NODES)
    log_age = edges.mean() + points * np.ptp(edges) / 2
    age = np.exp(log_age) - first
    s = widths2[:, None] + 2 * (age + latest - delays[:, None])
    t = delays[:, None]
    a, b, c = (1 / s).sum(0), (t**2 / s).sum(0), (t / s).sum(0)
    value = 2 * np.pi / np.prod(2 * np.pi * s, axis=0) / (a + env.drift**2 * np.maximum(a * b - c**2, 0))
    return float(np.sum(weights * value * np.exp(log_age)) * np.ptp(edges) / 2)


def pdf(values: Any, x: Element, env: Environment) -> Array:
    """Probability density of the abundance of an element with one channel.

    Parameters
    ----------
    values : array
        Abundances in m / L0^2 (those of `mean`).
    x : Element
        Made by one clustered channel of many events.
    env : Environment
        Masses of clusters are equal for ``mass_scatter2=0``, else gamma distributed.

    Returns
    -------
    array
        Density at `values`, zero at negative ones.

    Raises
    ------
    InputError
        More than one channel; or a density so spiked that its Fourier transform does not end, as where clusters are
        so few that most places have seen none.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from statml.research.abundances import Element, Environment
    >>> x = Element("X", {"ccsn": 1.0}, {"ccsn": 10 * u.Myr})
    >>> grid = np.linspace(80, 105, 251)
    >>> density = pdf(grid, x, Environment.fiducial().replace(mass_scatter2=0))
    >>> float(grid[density.argmax()].round(1)), float(np.trapezoid(density, grid).round(6))
    (91.2, 1.0)
    """
    check_environment(env)
    points = np.asarray(values, dtype=float)
    if not np.isfinite(points).all():
        raise InputError("values has NaN or infinite entries; accepted are finite numbers")
    _, delays, widths2 = _many_events(x, env)
    if len(delays) != 1:
        raise InputError(
            f"x has {len(x.contributions)} channels before t_star; accepted is an element with one"
        )
    centre, std = mean(x, env), np.sqrt(covariance(x, x, env))
    period = 2 * max(centre + 20 * std, 1.2 * points.max(initial=0.0))
    log_phi = _log_characteristic(widths2[0], delays[0], env.scaled)
    q = 2 * np.pi / period * np.arange(1, MAX_FREQUENCIES + 1)
    density = np.full(points.shape, 1 / period)
    for start in range(0, MAX_FREQUENCIES, BLOCK):
        block = q[start : start + BLOCK]
        phi = np.exp(log_phi(block))
        for i in np.ndindex(points.shape):
            density[i] += 2 / period * np.sum((phi * np.exp(-1j * block * points[i])).real)
        if abs(phi[-1]) < NEGLIGIBLE:
            return np.where(points < 0, 0.0, np.maximum(density, 0))
    raise InputError(
        f"x and env have a characteristic function that is still {abs(phi[-1]):.1e} at the {MAX_FREQUENCIES}th frequency; "
        "accepted are environments in which clusters overlap more"
    )


def _log_characteristic(width2: float, delay: float, env: Scaled) -> Callable[[Array], Array]:
    points, weights = np.polynomial.legendre.leggauss(NODES)
    edges = np.log([width2, width2 + 2 * (env.t_star - delay)])
    u = np.exp(edges.mean() + points * np.ptp(edges) / 2)
    du = weights * u * np.ptp(edges) / 2
    inner = _equal_masses if env.mass_scatter2 == 0 else _gamma_masses(env.mass_scatter2)

    def log_phi(q: Array) -> Array:
        return np.pi * inner(q[:, None] / (2 * np.pi * u)) @ (u * du)

    return log_phi


def _equal_masses(z: Array) -> Array:
    sine, cosine = special.sici(z)
    # Ci(z) - ln z - gamma cancels for small z, where the series is exact to rounding
    exact = cosine - np.log(z) - np.euler_gamma
    return np.where(z < 1e-2, -(z**2) / 4 + z**4 / 96, exact) + 1j * sine


def _gamma_masses(scatter2: float) -> Callable[[Array], Array]:
    """H for masses of a gamma distribution with mean 1 and variance `scatter2`, tabulated in ln z."""
    points, weights = np.polynomial.legendre.leggauss(8)
    log_z = np.linspace(np.log(1e-9 / (1 + scatter2)), np.log(1e9), 4001)
    half = np.diff(log_z)[:, None] / 2
    z = np.exp((log_z[:-1, None] + log_z[1:, None]) / 2 + half * points)
    # d ln z = dz / z; log1p keeps the digits of a power near 1
    pieces = np.sum(weights * half * np.expm1(-np.log1p(-1j * scatter2 * z) / scatter2), axis=1)
    first = 1j * np.exp(log_z[0])
    table = interpolate.CubicSpline(log_z, np.concatenate([[first], first + np.cumsum(pieces)]))
    return lambda z: np.where(z < 1e-9 / (1 + scatter2), 1j * z, table(np.log(z)))
