"""Star clusters and what they inject: where, when and how much.

Clusters are a Poisson process of unit rate in the environment's own units, with masses from a gamma distribution of
mean 1. Every cluster feeds all products, at places that differ by its motion; a channel of rare events gets a
Poisson number of them for each cluster, with yields and kicks of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from statml.errors import InputError
from statml.research.abundances.channels import Channel
from statml.research.abundances.environment import Scaled

Array = np.ndarray

# Clusters below this mass, in means, add nothing that single precision could hold. Where masses scatter
# as much as in a galaxy, five of six are.
LEAST_MASS = 1e-9


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters of one realisation.

    Attributes
    ----------
    position : array (n, 2)
    mass, birth : array (n,)
    motion : array (n, 2, 2)
        Standard normals, two for each axis, that `displacement` turns into a path.
    """

    position: Array
    mass: Array
    birth: Array
    motion: Array

    @classmethod
    def draw(cls, box: float, until: float, mass_scatter2: float, rng: np.random.Generator) -> Clusters:
        """Clusters born in a square of side `box` from 0 to `until`."""
        n = rng.poisson(box**2 * until)
        mass = rng.gamma(1 / mass_scatter2, mass_scatter2, n) if mass_scatter2 else np.ones(n)
        mass = mass[mass > LEAST_MASS]
        n = len(mass)
        return cls(
            rng.uniform(0, box, (n, 2)), mass, rng.uniform(0, until, n), rng.standard_normal((n, 2, 2))
        )

    def of(self, rows: Array) -> Clusters:
        """Some of the clusters, in this order."""
        return Clusters(self.position[rows], self.mass[rows], self.birth[rows], self.motion[rows])


@dataclass(frozen=True, eq=False)
class Injections:
    """What a channel injects into one realisation.

    Attributes
    ----------
    clusters : Clusters
        The parent of each event.
    weight : array (n,)
        Mean 1 for a cluster of mean mass.
    kick : array (n, 2) or None
        Standard normals of the velocity of each event's progenitor; None where events are so many that
        their kicks only widen what they inject.
    """

    clusters: Clusters
    weight: Array
    kick: Array | None

    @classmethod
    def draw(
        cls, channel: Channel, clusters: Clusters, box: float, until: float, rng: np.random.Generator
    ) -> Injections:
        """One injection of each cluster, or a Poisson number where events are rare."""
        rate = channel.events_per_cluster
        if np.isinf(rate):
            return cls(clusters, clusters.mass, None)
        if channel.clustered:
            number = rng.poisson(rate * clusters.mass)
            parents = clusters.of(np.repeat(np.arange(len(number)), number))
        else:
            alone = Clusters.draw(box, until * rate, 0.0, rng)
            parents = replace(alone, birth=alone.birth / rate)
        n, scatter2 = len(parents.mass), channel.yield_scatter**2
        made = rng.gamma(1 / scatter2, scatter2, n) if scatter2 else np.ones(n)
        return cls(parents, made / rate, rng.standard_normal((n, 2)))

    def divided(self, stars: int, rng: np.random.Generator) -> Injections:
        """Each event in `stars` equal parts, with motions of their own: a cluster that has dissolved."""
        rows = np.repeat(np.arange(len(self.weight)), stars)
        apart = replace(self.clusters.of(rows), motion=rng.standard_normal((len(rows), 2, 2)))
        return Injections(apart, self.weight[rows] / stars, None if self.kick is None else self.kick[rows])


def displacement(drift: str, delay: float, motion: Any, env: Scaled) -> Any:
    """How far each is from where it was born at a delay, (n, 2), from normals (n, 2, 2); arrays or tensors.

    A star of a cluster that dissolves ("dispersing") moves straight on as an undissolved cluster does. On epicycles it
    is the distance from the guiding centre. "aligned" moves along the first axis only, with the speed of a
    two-dimensional normal: what the released kernel takes all drift to be, and right for waves along that axis.
    """
    if drift == "epicyclic":
        phase = env.epicyclic_frequency * delay
        swing = motion[:, :, 0] * float(np.cos(phase)) + motion[:, :, 1] * float(np.sin(phase))
        return env.drift / env.epicyclic_frequency * swing
    if drift in ("isotropic", "dispersing"):
        return env.drift * delay * motion[:, :, 0]
    if drift != "aligned":
        raise InputError(f"drift is {drift!r}; accepted are isotropic, aligned, dispersing and epicyclic")
    moved = 0.0 * motion[:, :, 0]
    speed = (motion[:, 0, 0] ** 2 + motion[:, 1, 0] ** 2) ** 0.5
    moved[:, 0] = env.drift * delay * speed * (2.0 * (motion[:, 0, 0] > 0) - 1.0)
    return moved
