r"""How far apart a cluster puts what it makes early and what it makes late.

An element made t_X after the birth of a cluster and one made t_Y after it are injected at places that differ
by a vector; for each axis it is normal with variance

    isotropic    sigma_v^2 (t_X - t_Y)^2                     the cluster moves straight on
    dispersing   sigma_v^2 (t_X^2 + t_Y^2)                   it dissolves at birth, each star goes its own way
    epicyclic    2 (sigma_v / nu)^2 (1 - cos nu (t_X - t_Y))  it oscillates about a guiding centre with frequency nu

Straight motion carries a star of 2 km/s by 1.2 kpc in 600 Myr, which a star of a disc does not do: radially
it oscillates with an amplitude of sigma_v / nu = 53 pc. The epicyclic form gives both axes the radial
variance. It leaves out that the azimuthal axis of an epicycle is longer by 2 Omega / nu (1.4 where rotation
is flat; it would change no correlation of the 42 elements by more than 0.007), and the shear, which draws out
gas and orbits alike.

"aligned" is the form of the released analysis of arXiv:2507.14572: the variance is the isotropic one, but the
average over directions of exp(i k.v dt) is replaced by cos(k v dt), as if all drift were along k (see
`statml.research.abundances.kernel`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from statml.errors import InputError
from statml.research.abundances.environment import Scaled

Array = np.ndarray


def _straight(x: Array, y: Array, env: Scaled) -> Array:
    return (env.drift * (x - y)) ** 2


def _dispersing(x: Array, y: Array, env: Scaled) -> Array:
    return env.drift**2 * (x**2 + y**2)


def _epicyclic(x: Array, y: Array, env: Scaled) -> Array:
    # 1 - cos a = 2 sin^2(a / 2), without cancellation for small a
    return (2 * env.drift / env.epicyclic_frequency * np.sin(env.epicyclic_frequency * (x - y) / 2)) ** 2


_VARIANCES: dict[str, Callable[[Array, Array, Scaled], Array]] = {
    "isotropic": _straight,
    "aligned": _straight,
    "dispersing": _dispersing,
    "epicyclic": _epicyclic,
}
DRIFTS = tuple(_VARIANCES)


def check_drift(drift: str) -> str:
    """Return the name of a drift, or say which there are."""
    if drift not in DRIFTS:
        raise InputError(f"drift is {drift!r}; accepted are {', '.join(map(repr, DRIFTS))}")
    return drift


def displacement_variance(drift: str, x: Array, y: Array, env: Scaled) -> Array:
    """Variance for each axis of the vector between injections at delays `x` and `y`, in scaled units."""
    return _VARIANCES[drift](x, y, env)
