r"""Maps of elements, by laying down what every star cluster has made: the forward model with known truth.

    Z_X(x) = sum_i w_i N(x - x_i - d_i(t_X); sigma_X^2 + 2 kappa (t_* - t_i - t_X)),    t_i < t_* - t_X

Nothing is stepped in time. The age of an event gives the variance S to which it has spread, and `deposit` lays Gaussians of
any S on a periodic square by one FFT for each size of grid. Realisations, times and products are maps of one batch. Elements are
sums of products, a product being what a channel makes at one delay.

Nothing in here knows the formulas of `covariance` and `power_spectrum`; that they agree is the test of both.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from astropy import units as u

from statml import console
from statml.compute import Device, generator, resolve_device
from statml.errors import InputError, MissingExtraError
from statml.research.abundances.channels import Element
from statml.research.abundances.deposit import Events, check_grid, needed_grid, spectra, to_maps
from statml.research.abundances.dimensions import LENGTH, TIME, magnitude, magnitudes, number
from statml.research.abundances.drift import check_drift
from statml.research.abundances.environment import Environment, Scaled
from statml.research.abundances.events import Clusters, Injections, displacement
from statml.research.abundances.fields import Fields
from statml.research.abundances.kernel import check_environment
from statml.research.abundances.nodes import Nodes, as_elements, median_nodes

Array = np.ndarray

# Bytes of the spectra of one batch of realisations: on a CPU what its caches like.
BATCH_BYTES = {"cpu": 2**24, "cuda": 2**31}


def simulate(
    env: Environment,
    elements: Sequence[Element],
    *,
    box: Any,
    grid: int,
    realisations: int = 1,
    lags: Any = 0 * u.Myr,
    drift: str = "isotropic",
    stars_per_cluster: int | None = None,
    delay_step: float = 0.0,
    precision: str = "single",
    device: Device = "cpu",
    rng: Any = None,
    progress: bool = True,
) -> Fields:
    """Simulate maps of elements on a periodic square.

    Parameters
    ----------
    env : Environment
    elements : sequence of Element
        Made at their delays (curves of production are not used).
    box : Quantity
        Side of the square; eight correlation lengths leave little out.
    grid : int
        Cells for each side, even. The narrowest injection needs cells of 0.65 of its width.
    realisations : int
    lags : Quantity
        Further times of observation, as delays after t_star, in any order; the first is the one most statistics use.
    drift : {"isotropic", "aligned", "dispersing", "epicyclic"}
        How clusters move. With "aligned" all move along the first axis, and maps are not isotropic.
    stars_per_cluster : int, optional
        For "dispersing": the number of parts that a cluster dissolves into; by default so many that what they
        inject is smooth.
    delay_step : float
        Delays are rounded to multiples of this, in dex, so that elements share maps; 0 leaves them.
    precision : {"single", "double"}
    device : {"cpu", "cuda", "auto"}
    rng : int, Generator or None
        The k-th realisation of a seed is the same, to rounding, whatever their number and the device.
    progress : bool
        A bar on stderr, where that is a terminal.

    Returns
    -------
    Fields
        After Ctrl-C: the realisations that were finished, and a warning.

    Raises
    ------
    InputError
        The grid is too coarse for an injection width (the needed number of cells is named), or a value is not accepted.
    InputTypeError, WrongUnitError
        A length or time without unit, or with one of another physical type.
    MissingExtraError
        PyTorch is not installed.

    Examples
    --------
    >>> from astropy import units as u
    >>> from statml.research.abundances import CCSN, Element, Environment, mean
    >>> fast = Element("fast", {CCSN: 1.0}, {CCSN: 10 * u.Myr})
    >>> env = Environment.fiducial().replace(mass_scatter2=1)
    >>> fields = simulate(env, [fast], box=6 * u.kpc, grid=160, realisations=2, rng=0)
    >>> fields
    Fields(fast: 2 realisations of 1 products, 160 x 160 cells of 37.5 pc)
    >>> bool(abs(fields.mean().mean[0] / mean(fast, env) - 1) < 0.01)
    True
    """
    check_environment(env)
    check_drift(drift)
    nodes = _nodes(as_elements(elements), env, delay_step)
    length, time = env.length_unit.value, env.time_unit.value
    side = magnitude("box", box, LENGTH, above=0) / length
    times = np.atleast_1d(magnitudes("lags", lags, TIME))
    if times.ndim != 1 or (times < 0).any():
        raise InputError(f"lags is {lags}; accepted are times of at least 0")
    if stars_per_cluster is not None and drift != "dispersing":
        raise InputError(f"stars_per_cluster is for drift='dispersing'; drift is {drift!r}")
    if precision not in ("single", "double"):
        raise InputError(f"precision is {precision!r}; accepted are 'single' and 'double'")
    run = _Run(
        env.scaled,
        nodes,
        side,
        _check_grid(grid, nodes, side, length),
        times / time,
        drift,
        None if stars_per_cluster is None else whole("stars_per_cluster", stars_per_cluster),
        precision,
        resolve_device(device),
    )
    maps = run.all(whole("realisations", realisations), generator(rng), progress)
    symbols = tuple(element.symbol for element in elements)
    return Fields(symbols, maps, nodes.weights, run.missing(), side * length * LENGTH, times * TIME, env)


def whole(name: str, value: Any) -> int:
    """Check a whole number of at least 1."""
    if not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name} is {value!r}; accepted is a whole number of at least 1")
    return int(value)


def _nodes(elements: list[Element], env: Environment, delay_step: float) -> Nodes:
    step = number("delay_step", delay_step, least=0)
    nodes = median_nodes([_rounded(element, step) for element in elements] if step else elements, env)
    used = nodes.weights.any(axis=0)
    if not used.any():
        raise InputError("elements have no product that is made before t_star; accepted is at least one")
    names = ("channel", "delay", "spread", "width2", "kick2")
    return dataclasses.replace(
        nodes, weights=nodes.weights[:, used], **{name: getattr(nodes, name)[used] for name in names}
    )


def _rounded(element: Element, step: float) -> Element:
    delays = {
        channel: 10 ** (step * round(math.log10(delay) / step)) * TIME if delay else 0 * TIME
        for channel, _, delay in element.contributions
    }
    return Element(element.symbol, element.fractions, delays)


def _check_grid(grid: Any, nodes: Nodes, side: float, length: float) -> int:
    narrowest = nodes.channels[int(nodes.channel[np.argmin(nodes.width2)])]
    width = float(np.sqrt(nodes.width2.min())) / side
    return check_grid(
        grid,
        width,
        f"the injection width {narrowest.width:.4g} of {narrowest.name} in a box of {side * length:.4g} pc",
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Run:
    """A simulation, in units of the environment."""

    env: Scaled
    nodes: Nodes
    side: float
    grid: int
    lags: Array
    drift: str
    stars: int | None
    precision: str
    device: str

    @property
    def until(self) -> float:
        return self.env.t_star + float(self.lags.max())

    @property
    def maps(self) -> int:
        """Of one realisation."""
        return len(self.lags) * len(self.nodes.delay)

    def all(self, realisations: int, rng: np.random.Generator, progress: bool) -> Array:
        """Maps (realisations, lags, products, grid, grid)."""
        try:
            import torch
        except ImportError as error:
            raise MissingExtraError("simulate needs torch: pip install 'statml[neural]'") from error
        size = max(1, BATCH_BYTES[self.device] // (8 * self.maps * self.grid**2))
        streams = rng.spawn(realisations)
        batches: Any = [streams[start : start + size] for start in range(0, realisations, size)]
        done: list[Array] = []
        try:
            for batch in console.progress(batches, "simulate") if progress else batches:
                with torch.no_grad():
                    done.append(self.batch(batch))
        except KeyboardInterrupt:
            if not done:
                raise
            warnings.warn(
                f"interrupted after {sum(map(len, done))} of {realisations} realisations, which are returned",
                RuntimeWarning,
                stacklevel=3,
            )
        return np.concatenate(done)

    def batch(self, streams: Sequence[np.random.Generator]) -> Array:
        """Maps of some realisations."""
        import torch

        parts = [events for i, stream in enumerate(streams) for events in self._events(i, stream)]
        names = [field.name for field in dataclasses.fields(Events)]
        events = Events(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
        spectrum = spectra(events, len(streams) * self.maps, self.grid)
        maps = to_maps(spectrum, self.grid) / self.side**2
        shape = (len(streams), len(self.lags), len(self.nodes.delay), self.grid, self.grid)
        return maps.reshape(shape).cpu().numpy()

    def missing(self) -> Array:
        """Power at k = 0 over the area of the box, for products of events that are many or rare alike."""
        nodes, time = self.nodes, self.env.t_star
        common = np.maximum(time - np.maximum(nodes.delay[:, None], nodes.delay), 0.0)
        clustered = nodes.of_channels([c.clustered for c in nodes.channels])
        shot = nodes.of_channels([(1 + c.yield_scatter**2) / c.events_per_cluster for c in nodes.channels])
        same = nodes.channel[:, None] == nodes.channel
        together = (1 + self.env.mass_scatter2) * (clustered[:, None] & clustered) + same * shot
        return common * together / self.side**2

    def _events(self, realisation: int, rng: np.random.Generator) -> Iterator[Events]:
        clusters = Clusters.draw(self.side, self.until, self.env.mass_scatter2, rng)
        for channel_number, channel in enumerate(self.nodes.channels):
            nodes = np.flatnonzero(self.nodes.channel == channel_number)
            if not len(nodes):
                continue
            injections = Injections.draw(channel, clusters, self.side, self.until, rng)
            if self.stars is not None:
                injections = injections.divided(self.stars, rng)
            tensors = _Tensors(self, injections)
            for node in nodes:
                for lag, later in enumerate(self.lags):
                    owner = realisation * self.maps + lag * len(self.nodes.delay) + int(node)
                    yield tensors.events(int(node), float(later), owner)


class _Tensors:
    """The injections of one channel on the device, and the events of its products."""

    def __init__(self, run: _Run, injections: Injections) -> None:
        import torch

        def place(values: Array) -> Any:
            return torch.as_tensor(values, dtype=torch.float64, device=run.device)

        clusters = injections.clusters
        self.run, self.dtype = run, torch.float32 if run.precision == "single" else torch.float64
        self.position, self.birth, self.motion = map(
            place, (clusters.position, clusters.birth, clusters.motion)
        )
        self.weight = place(injections.weight)
        self.kick = None if injections.kick is None else place(injections.kick)

    def events(self, node: int, later: float, owner: int) -> Events:
        """The events of one product that have happened by t_star + `later`."""
        import torch

        run, nodes = self.run, self.run.nodes
        delay, speed = float(nodes.delay[node]), float(np.sqrt(nodes.kick2[node]))
        age = run.env.t_star + later - self.birth - delay
        happened = age > 0
        position, variance = self.position, 2 * age + float(nodes.width2[node])
        if run.drift == "dispersing" and run.stars is None:
            variance = variance + (run.env.drift * delay) ** 2
        else:
            position = position + displacement(run.drift, delay, self.motion, run.env)
        if self.kick is not None:
            position = position + speed * self.kick
        else:
            variance = variance + speed**2
        position = torch.remainder(position[happened] / run.side, 1.0).to(self.dtype)
        return Events(
            position[:, 0],
            position[:, 1],
            self.weight[happened].to(self.dtype),
            (variance[happened] / run.side**2).to(self.dtype),
            torch.full((len(position),), owner, dtype=torch.int64, device=position.device),
        )


__all__ = ["needed_grid", "simulate"]
