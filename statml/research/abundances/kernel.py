r"""The covariance of two fields of metals that the same star clusters feed.

Derivation. An event adds a Gaussian that diffuses, so t after its birth a cluster has put the product of
channel c, made t_X after birth, into a Gaussian of variance s^2 = sigma_c^2 + 2 kappa (t - t_X) for each
axis, centred at x_i + v t_X. The Fourier transform of the field is

    Z_X(k) = m sum_i w_i exp(-k^2 s_X^2 / 2 - i k.(x_i + v_i t_X)),

and because clusters are a Poisson process (Campbell's theorem) the cross power is the integral over their ages

    P_XY(k) = Gamma m^2 <w^2> int dt exp(-k^2 S(t) / 2) <exp(-i k.v (t_X - t_Y))>_v,    S = s_X^2 + s_Y^2.

Between the youngest cluster that has made both and the oldest, S runs from S_min to S_max with dS = 4 kappa
dt. A drift with a normal velocity of dispersion sigma_v for each axis gives <exp(-i k.v dt)> = exp(-k^2 d^2 /
2), d = sigma_v |t_X - t_Y|, since k.v is normal with variance k^2 sigma_v^2 whatever the direction of k. So
drift only widens: S -> S + d^2. With int d^2k / (2 pi)^2 exp(i k.r - k^2 S / 2) = exp(-r^2 / 2 S) / (2 pi S)
and int dS exp(-r^2 / 2 S) / S = E1(r^2 / 2 S),

    Cov_XY(r) = A [E1(r^2 / 2 (S_max + d^2)) - E1(r^2 / 2 (S_min + d^2))],     A = Gamma m^2 <w^2> / (8 pi kappa),
    Cov_XY(0) = A ln[(S_max + d^2) / (S_min + d^2)].

`kernel` is the bracket. With a second field observed a time `lag` after the first, S_min = sigma_c^2 +
sigma_c'^2 + 2 kappa |t_Y - t_X - lag| and S_max = S_min + 4 kappa min(t_* - t_X, t_* + lag - t_Y); where that
minimum is not positive no cluster has made both, and the kernel is zero.

The released analysis of arXiv:2507.14572 has another bracket at r = 0 (drift="aligned"),

    ln(S_max / S_min) + g(d / sqrt(S_max)) - g(d / sqrt(S_min)),    g(b) = 2 b asinh(b) / sqrt(1 + b^2),

whose derivative 2F1(1, 1; 1/2; -d^2 / S) / S is what the integral gives where <exp(i k.v dt)> over
directions, a Bessel function J0(k v dt), is replaced by cos(k v dt). It is negative for d^2 > 2.3 S, which no
sum of positive Gaussians can be. A simulation of drifting particles
(tests/statml/research/abundances/test_particles.py: every cluster an event, power measured mode by mode)
agrees with the isotropic form and rejects this one; the isotropic form is the default.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from astropy import units as u
from scipy import special

from statml.errors import InputError, InputTypeError
from statml.research.abundances.channels import Channel
from statml.research.abundances.dimensions import LENGTH, SPEED, TIME, magnitudes
from statml.research.abundances.drift import check_drift, displacement_variance
from statml.research.abundances.environment import Environment, Scaled

Array = np.ndarray


def kernel(
    channel_x: Channel,
    delay_x: Any,
    channel_y: Channel,
    delay_y: Any,
    env: Environment,
    r: Any = 0 * u.pc,
    lag: Any = 0 * u.Myr,
    drift: str = "isotropic",
) -> Any:
    """Covariance of two products of clusters over Gamma m^2 <w^2> / (8 pi kappa): the bracket derived above.

    Parameters
    ----------
    channel_x, channel_y : Channel
        Of which the widths (and kicks) count.
    delay_x, delay_y : Quantity
        Times after a cluster's birth at which they make their metals.
    env : Environment
    r : Quantity
        Separation of the two places; scalars and arrays broadcast.
    lag : Quantity
        By how much the second field is observed later than the first.
    drift : {"isotropic", "aligned", "dispersing", "epicyclic"}
        How clusters move; see `statml.research.abundances.drift`. "aligned" is known at r = 0 only.

    Returns
    -------
    float or array

    Raises
    ------
    InputError, InputTypeError, WrongUnitError

    Warns
    -----
    UserWarning
        A delay is beyond `env.t_star`: no cluster is old enough, and the covariance is 0.

    Examples
    --------
    Supernovae of massive stars, correlated to half at 442 pc:

    >>> import numpy as np
    >>> from astropy import units as u
    >>> from statml.research.abundances import CCSN, Environment
    >>> xi = kernel(CCSN, 10 * u.Myr, CCSN, 10 * u.Myr, Environment.fiducial(), [0, 100, 442, 1000] * u.pc)
    >>> (xi / xi[0]).round(3)
    array([1.   , 0.907, 0.5  , 0.257])
    """
    check_environment(env)
    check_drift(drift)
    for name, channel in (("channel_x", channel_x), ("channel_y", channel_y)):
        if not isinstance(channel, Channel):
            raise InputTypeError(f"{name} is {channel!r}; accepted is a Channel")
    length, time = env.length_unit.value, env.time_unit.value
    x = _at_least_zero("delay_x", delay_x, TIME) / time
    y = _at_least_zero("delay_y", delay_y, TIME) / time
    for name, delay in (("delay_x", x), ("delay_y", y)):
        if np.any(delay >= env.scaled.t_star):
            warnings.warn(
                f"{name} is at least t_star = {env.t_star:.4g}; no cluster is old enough for it, and it contributes "
                "nothing",
                UserWarning,
                stacklevel=2,
            )
    separation = _at_least_zero("r", r, LENGTH) / length
    width2 = (channel_x.width.value**2 + channel_y.width.value**2) / length**2
    kicks = [channel.kick.to_value(SPEED) * time / length for channel in (channel_x, channel_y)]
    low, high = variances(width2, x, y, env.scaled, magnitudes("lag", lag, TIME) / time)
    scattered = (kicks[0] * x) ** 2 + (kicks[1] * y) ** 2
    moved = displacement_variance(drift, x, y, env.scaled)
    found = bracket(low + scattered, high + scattered, moved, drift, separation**2)
    return float(found) if np.ndim(found) == 0 else found


def _at_least_zero(name: str, value: Any, unit: Any) -> Array:
    numbers = magnitudes(name, value, unit)
    if (numbers < 0).any():
        raise InputError(f"{name} has the negative value {numbers.min():g} {unit}; accepted are values >= 0")
    return numbers


def check_environment(env: Any) -> Environment:
    """Refuse what is no `Environment`."""
    if not isinstance(env, Environment):
        raise InputTypeError(
            f"env is a {type(env).__name__}; accepted is an Environment, such as Environment.fiducial()"
        )
    return env


def variances(width2: Any, x: Any, y: Any, env: Scaled, lag: Any = 0.0) -> tuple[Array, Array]:
    """S_min and S_max without drift, in scaled units (kappa = 1); they are equal where no cluster made both.

    Parameters
    ----------
    width2 : array
        sigma_c^2 + sigma_c'^2.
    x, y, lag : array
        Delays of the first and of the second product, and by how much the second field is later.
    """
    low = width2 + 2 * np.abs(y - x - lag)
    return low, low + 4 * np.maximum(np.minimum(env.t_star - x, env.t_star + lag - y), 0)


def bracket(low: Array, high: Array, moved: Array, drift: str, r2: Any = 0.0) -> Array:
    """The kernel of S from `low` to `high`, displaced with variance `moved`, at squared separation `r2`."""
    if drift == "aligned":
        if np.any(r2):
            raise InputError(
                "drift is 'aligned', which is known at r = 0 only; accepted there is 'isotropic'"
            )
        return np.log(high / low) + _aligned(np.sqrt(moved / high)) - _aligned(np.sqrt(moved / low))
    low, high = low + moved, high + moved
    if not np.any(r2):
        return np.log(high / low)
    return np.where(np.equal(r2, 0), np.log(high / low), _exponential_integrals(r2, low, high))


def _aligned(b: Array) -> Array:
    return 2 * b * np.arcsinh(b) / np.sqrt(1 + b**2)


def _exponential_integrals(r2: Any, low: Array, high: Array) -> Array:
    """E1(r2 / 2 high) - E1(r2 / 2 low)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = r2 / (2 * high), r2 / (2 * low)
        return special.exp1(a) - special.exp1(b)


def bracket_slopes(low: Array, high: Array, moved: Array, drift: str) -> tuple[Array, Array, Array]:
    """Derivatives of `bracket` at r = 0 with respect to `low`, `high` and `moved`."""
    if drift != "aligned":
        of_low, of_high = -1 / (low + moved), 1 / (high + moved)
        return of_low, of_high, of_low + of_high
    at_low, at_high = (_aligned_slopes(s, moved) for s in (low, high))
    return -at_low[0], at_high[0], at_high[1] - at_low[1]


def _aligned_slopes(s: Array, moved: Array) -> tuple[Array, Array]:
    """Derivatives of ln s + g(sqrt(moved / s)) with respect to s and to `moved`."""
    b = np.sqrt(moved / s)
    root = np.arcsinh(b) / (1 + b**2) ** 1.5
    # (asinh b) / b is 1 at b = 0
    over = np.where(b == 0, 1.0, root / np.where(b == 0, 1.0, b))
    return (1 / (1 + b**2) - b * root) / s, (over + 1 / (1 + b**2)) / s


def damping(k2: Array, moved: Array, drift: str) -> Array:
    """Mean of exp(-i k.displacement), with squared wavenumbers `k2`."""
    if drift != "aligned":
        return np.exp(-k2 * moved / 2)
    # cos(k v dt) averaged over the speeds of a two-dimensional normal
    b = np.sqrt(k2 * moved / 2)
    return 1 - 2 * b * special.dawsn(b)
