r"""The interstellar medium: how fast metals are mixed, and how often and where star clusters inject them.

    dZ/dt = kappa lap Z + m sum_i w_i delta(t - t_i - t_X) N(x - x_i - v_i t_X; sigma_X^2 1)

Clusters i form at rate Gamma for each unit of area and time, over the last t_*, with relative masses w of
mean 1 and variance sigma_w^2, and drift with velocities v. Lengths and times are measured in

    L0 = (kappa / Gamma)^(1/4),   T0 = (kappa Gamma)^(-1/2),

in which kappa = Gamma = 1, and the field in m / L0^2. The correlation length is l_corr = sqrt(kappa t_*).

Sources: Krumholz & Ting (2018), arXiv:1708.06853; Krumholz et al. (2025), arXiv:2507.14572 and its released
parameters.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from astropy import units as u

from statml.errors import InputError
from statml.research.abundances.dimensions import (
    DIFFUSIVITY,
    FREQUENCY,
    LENGTH,
    RATE,
    SPEED,
    TIME,
    magnitude,
    number,
)

# Of the released analysis.
MASS_SCATTER2 = 120.0
CLUSTER_RATE = 3e-6 * RATE
DRIFT = 2 * u.km / u.s
# Of the Sun's neighbourhood, 37 km/s/kpc (Binney & Tremaine 2008, table 1.2).
EPICYCLIC_FREQUENCY = 37 * u.km / u.s / u.kpc


class Scaled(NamedTuple):
    """An environment in its own units, kappa = Gamma = 1."""

    t_star: float
    drift: float
    epicyclic_frequency: float
    mass_scatter2: float


class Environment:
    """A patch of a galactic disc.

    Parameters
    ----------
    kappa : Quantity
        Diffusion coefficient, such as pc2 / Myr or km / s pc.
    t_star : Quantity, optional
        For how long stars have formed.
    l_corr : Quantity, optional
        Correlation length sqrt(kappa t_star), instead of `t_star`: exactly one of the two.
    cluster_rate : Quantity
        Star clusters for each unit of area and time.
    mass_scatter2 : float
        Variance of the clusters' masses over their squared mean.
    drift : Quantity
        Velocity dispersion of clusters, for each axis.
    epicyclic_frequency : Quantity
        Used where clusters move on epicycles.

    Raises
    ------
    InputTypeError, InputError, WrongUnitError
        No unit, a value that is not positive, a unit of another physical type (which is also an
        `astropy.units.UnitConversionError`).

    Examples
    --------
    >>> env = Environment.fiducial()
    >>> print(env.kappa.round(2), env.t_star.round(0), env.length_unit.round(1), env.time_unit.round(1))
    357.95 pc2 / Myr 2794.0 Myr 104.5 pc 30.5 Myr
    >>> print(env.replace(kappa=3 * env.kappa).l_corr.round(3))
    1000.0 pc
    """

    def __init__(
        self,
        kappa: Any,
        *,
        t_star: Any = None,
        l_corr: Any = None,
        cluster_rate: Any = CLUSTER_RATE,
        mass_scatter2: float = MASS_SCATTER2,
        drift: Any = DRIFT,
        epicyclic_frequency: Any = EPICYCLIC_FREQUENCY,
    ) -> None:
        if (t_star is None) == (l_corr is None):
            given = "neither" if t_star is None else "both"
            raise InputError(f"{given} of t_star and l_corr are given; accepted is exactly one")
        self._kappa = magnitude("kappa", kappa, DIFFUSIVITY, above=0)
        if t_star is not None:
            self._t_star = magnitude("t_star", t_star, TIME, above=0)
        else:
            self._t_star = magnitude("l_corr", l_corr, LENGTH, above=0) ** 2 / self._kappa
        self._cluster_rate = magnitude("cluster_rate", cluster_rate, RATE, above=0)
        self.mass_scatter2 = number("mass_scatter2", mass_scatter2, least=0)
        self._drift = magnitude("drift", drift, SPEED, least=0)
        self._epicyclic_frequency = magnitude("epicyclic_frequency", epicyclic_frequency, FREQUENCY, above=0)

    @classmethod
    def fiducial(cls) -> Environment:
        """The Sun's neighbourhood as released with the paper: scale height 150 pc, 7 km/s, l_corr = 1 kpc."""
        return cls.from_disc(150 * u.pc, 7 * u.km / u.s, 1 * u.kpc)

    @classmethod
    def from_disc(cls, scale_height: Any, sigma_gas: Any, l_corr: Any, **others: Any) -> Environment:
        """The environment of a turbulent disc, kappa = scale_height * sigma_gas / 3.

        Parameters
        ----------
        scale_height, sigma_gas, l_corr : Quantity
            Of the gas: its scale height and velocity dispersion; the correlation length.
        **others
            As of `Environment`.
        """
        height = magnitude("scale_height", scale_height, LENGTH, above=0)
        speed = magnitude("sigma_gas", sigma_gas, SPEED, above=0)
        return cls(height * speed / 3 * DIFFUSIVITY, l_corr=l_corr, **others)

    @property
    def kappa(self) -> u.Quantity:
        """Diffusion coefficient in pc2 / Myr."""
        return self._kappa * DIFFUSIVITY

    @property
    def t_star(self) -> u.Quantity:
        """Time for which stars have formed, in Myr."""
        return self._t_star * TIME

    @property
    def l_corr(self) -> u.Quantity:
        """Correlation length sqrt(kappa t_star) in pc."""
        return math.sqrt(self._kappa * self._t_star) * LENGTH

    @property
    def cluster_rate(self) -> u.Quantity:
        """Clusters for each pc2 and Myr."""
        return self._cluster_rate * RATE

    @property
    def drift(self) -> u.Quantity:
        """Velocity dispersion of clusters for each axis, in km / s."""
        return (self._drift * SPEED).to(u.km / u.s)

    @property
    def epicyclic_frequency(self) -> u.Quantity:
        """In 1 / Myr."""
        return self._epicyclic_frequency * FREQUENCY

    @property
    def length_unit(self) -> u.Quantity:
        """L0 = (kappa / cluster_rate)^(1/4) in pc."""
        return (self._kappa / self._cluster_rate) ** 0.25 * LENGTH

    @property
    def time_unit(self) -> u.Quantity:
        """T0 = (kappa cluster_rate)^(-1/2) in Myr."""
        return (self._kappa * self._cluster_rate) ** -0.5 * TIME

    @property
    def scaled(self) -> Scaled:
        """The same environment in units of `length_unit` and `time_unit`."""
        length, time = self.length_unit.value, self.time_unit.value
        return Scaled(
            self._t_star / time,
            self._drift * time / length,
            self._epicyclic_frequency * time,
            self.mass_scatter2,
        )

    def mass_moment(self, order: int) -> float:
        """Mean of w^order where masses follow a gamma distribution of mean 1 and variance `mass_scatter2`."""
        return math.prod(1 + j * self.mass_scatter2 for j in range(order))

    def replace(self, **changes: Any) -> Environment:
        """Return a copy with other parameters; `l_corr` is kept where neither it nor `t_star` is given."""
        kept = {
            "kappa": self.kappa,
            "cluster_rate": self.cluster_rate,
            "mass_scatter2": self.mass_scatter2,
            "drift": self.drift,
            "epicyclic_frequency": self.epicyclic_frequency,
        }
        if not {"t_star", "l_corr"} & set(changes):
            kept["l_corr"] = self.l_corr
        return Environment(**(kept | changes))

    def __repr__(self) -> str:
        return (
            f"Environment(kappa={self.kappa:.6g}, l_corr={self.l_corr:.6g}, cluster_rate={self.cluster_rate:.6g}, "
            f"mass_scatter2={self.mass_scatter2:g}, drift={self.drift:.6g})"
        )
