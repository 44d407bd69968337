"""What makes elements: channels, elements, and the table of 42 elements from carbon to cerium.

>>> elements = load_elements()
>>> oxygen = next(element for element in elements if element.symbol == "O")
>>> {channel.name: round(fraction, 3) for channel, fraction in oxygen.fractions.items()}
{'ccsn': 0.806, 'agb': 0.18, 'snia': 0.014}
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u

from statml import datasets
from statml.errors import InputError, InputTypeError
from statml.research.abundances.dimensions import LENGTH, SPEED, TIME, magnitude, number

Array = np.ndarray
# Fractions come from tables with six digits.
SUM_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Channel:
    """One way of making elements in a star cluster.

    Parameters
    ----------
    name : str
    width : Quantity
        Standard deviation, for each axis, of the Gaussian over which one event spreads its metals.
    kick : Quantity
        Velocity dispersion for each axis that every event's progenitor has relative to its cluster.
    events_per_cluster : float
        Mean number of events of a cluster of mean mass; infinite where there are so many that their number
        does not fluctuate.
    yield_scatter : float
        Standard deviation of what one event makes, over the mean.
    clustered : bool
        False where events happen at places and times of their own.

    Examples
    --------
    >>> from astropy import units as u
    >>> mergers = Channel("mergers", 60 * u.pc, kick=20 * u.km / u.s, events_per_cluster=0.01)
    >>> print(mergers.width, mergers.kick.round(1))
    60.0 pc 20.0 km / s
    """

    name: str
    width: Any
    kick: Any = 0 * u.km / u.s
    events_per_cluster: float = np.inf
    yield_scatter: float = 0.0
    clustered: bool = True

    def __post_init__(self) -> None:
        def keep(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        if not isinstance(self.name, str):
            raise InputTypeError(f"name is {self.name!r}; accepted is a string")
        keep("width", magnitude("width", self.width, LENGTH, above=0) * LENGTH)
        keep("kick", (magnitude("kick", self.kick, SPEED, least=0) * SPEED).to(u.km / u.s))
        keep(
            "events_per_cluster", number("events_per_cluster", self.events_per_cluster, above=0, finite=False)
        )
        keep("yield_scatter", number("yield_scatter", self.yield_scatter, least=0))
        if not self.clustered and np.isinf(self.events_per_cluster):
            raise InputError(
                f"events_per_cluster of the channel {self.name!r} is infinite and clustered is False; accepted is a "
                "finite number of events, without which such a channel has no scatter at all"
            )

    def __hash__(self) -> int:
        return hash((self.name, self.width.value, self.kick.value, self.events_per_cluster))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Channel) and self._key() == other._key()

    def _key(self) -> tuple[Any, ...]:
        return (
            self.name,
            self.width.value,
            self.kick.value,
            self.events_per_cluster,
            self.yield_scatter,
            self.clustered,
        )


# Injection widths of the released analysis.
CCSN = Channel("ccsn", 60 * u.pc)
AGB = Channel("agb", 2 * u.pc)
SNIA = Channel("snia", 60 * u.pc)
CHANNELS = (CCSN, AGB, SNIA)


@dataclass(frozen=True, eq=False)
class Production:
    """When a channel makes an element: what is made in each interval of time, over all the element's production.

    Attributes
    ----------
    edges : Quantity (m + 1,)
        Limits of the intervals after the birth of a cluster.
    made : dict of arrays (m,)
        For each channel; all channels together sum to 1.
    """

    edges: u.Quantity
    made: Mapping[Channel, Array]


class Element:
    """An element: which channels make it, in what parts, and how long after the birth of a cluster.

    Parameters
    ----------
    symbol : str
    fractions : dict
        Part of its production by each channel (a `Channel`, or "ccsn", "agb", "snia"); they sum to 1.
    delays : dict of Quantity
        Time at which half of a channel's production is out, for every channel with a fraction.
    production : Production or callable, optional
        The whole curve of production, or what returns it, for ``delays="full"``; without it all is made at the delay.

    Raises
    ------
    InputError, InputTypeError, WrongUnitError
        Fractions that are negative or do not sum to 1, a channel without delay, a delay that is no time.

    Examples
    --------
    >>> from astropy import units as u
    >>> Element("O", {"ccsn": 0.8, "agb": 0.2}, {"ccsn": 8 * u.Myr, "agb": 600 * u.Myr})
    Element('O', ccsn 0.800 at 8 Myr, agb 0.200 at 600 Myr)
    """

    def __init__(
        self,
        symbol: str,
        fractions: Mapping[Any, float],
        delays: Mapping[Any, Any],
        production: Production | Callable[[], Production | None] | None = None,
    ) -> None:
        if not isinstance(symbol, str) or not symbol:
            raise InputTypeError(f"symbol is {symbol!r}; accepted is a non-empty string")
        shares = _by_channel("fractions", fractions)
        times = _by_channel("delays", delays)
        self.symbol = symbol
        self.fractions = {c: number(f"fraction of {c.name}", f, least=0) for c, f in shares.items()}
        total = sum(self.fractions.values())
        if not abs(total - 1) <= SUM_TOLERANCE:
            raise InputError(
                f"fractions of {symbol} sum to {total:.7g}; accepted is 1 within {SUM_TOLERANCE:g}"
            )
        missing = [c.name for c, f in self.fractions.items() if f > 0 and c not in times]
        if missing:
            raise InputError(
                f"delays of {symbol} lack {', '.join(missing)}; accepted is a delay for every channel with a fraction"
            )
        self.delays = {
            c: magnitude(f"delay of {c.name}", times[c], TIME, least=0) * TIME
            for c in self.fractions
            if c in times
        }
        self._production = production
        # Plain copies: a matrix of 42 elements would spend its time on units otherwise.
        made = [c for c, fraction in self.fractions.items() if fraction > 0]
        self.contributions = tuple((c, self.fractions[c], float(self.delays[c].value)) for c in made)

    def __repr__(self) -> str:
        parts = ", ".join(f"{c.name} {f:.3f} at {t:.4g} Myr" for c, f, t in self.contributions)
        return f"Element({self.symbol!r}, {parts})"

    @property
    def production(self) -> Production | None:
        """The curve of production; for an element of `load_elements` read when first asked for."""
        if callable(self._production):
            self._production = self._production()
        return self._production

    def with_channels(self, others: Mapping[Channel, Channel]) -> Element:
        """Return the element made by other channels in the place of these, at the same times."""

        def production() -> Production | None:
            known = self.production
            if known is None:
                return None
            return Production(known.edges, {others.get(c, c): parts for c, parts in known.made.items()})

        return Element(
            self.symbol,
            {others.get(c, c): fraction for c, fraction in self.fractions.items()},
            {others.get(c, c): delay for c, delay in self.delays.items()},
            production,
        )


def _by_channel(name: str, values: Mapping[Any, Any]) -> dict[Channel, Any]:
    if not isinstance(values, Mapping) or not values:
        raise InputTypeError(f"{name} is {values!r}; accepted is a dictionary with a value for each channel")
    known = {channel.name: channel for channel in CHANNELS}
    found: dict[Channel, Any] = {}
    for key, value in values.items():
        channel = known.get(key) if isinstance(key, str) else key
        if not isinstance(channel, Channel):
            raise InputError(
                f"{name} has the key {key!r}; accepted are a Channel and {', '.join(map(repr, known))}"
            )
        found[channel] = value
    return found


def load_elements(
    symbols: Iterable[str] | None = None, *, channels: Iterable[Channel] = CHANNELS
) -> list[Element]:
    """Load elements of the data set ``nucleosynthesis_channels``: 42, in the order of their atomic numbers.

    Parameters
    ----------
    symbols : iterable of str, optional
        Which, in this order; by default all.
    channels : iterable of Channel
        The three channels, named "ccsn", "agb" and "snia": other widths, for example.

    Returns
    -------
    list of Element

    Raises
    ------
    InputError, InputTypeError
        A symbol that the table does not have, a channel missing, one string in place of a list.

    Examples
    --------
    >>> load_elements(["Ba"])
    [Element('Ba', ccsn 0.053 at 7.943 Myr, agb 0.947 at 758.6 Myr)]
    """
    table = _table()
    if isinstance(symbols, str):  # whose letters would be taken for symbols
        raise InputTypeError(f"symbols is {symbols!r}; accepted is a list of symbols, such as [{symbols!r}]")
    wanted = list(table) if symbols is None else list(symbols)
    for symbol in wanted:
        if symbol not in table:
            raise InputError(f"symbols has {symbol!r}; accepted are {', '.join(table)}")
    named = {channel.name: channel for channel in channels}
    for channel in CHANNELS:
        if channel.name not in named:
            raise InputError(
                f"channels lack {channel.name!r}; accepted are channels named ccsn, agb and snia"
            )
    return [
        Element(
            symbol,
            {named[name]: fraction for name, (fraction, _) in table[symbol].items()},
            {named[name]: delay * TIME for name, (_, delay) in table[symbol].items()},
            functools.partial(_tabulated, symbol, tuple(named[channel.name] for channel in CHANNELS)),
        )
        for symbol in wanted
    ]


@functools.cache
def _table() -> dict[str, dict[str, tuple[float, float]]]:
    """Fraction and delay in Myr by symbol and channel."""
    table = datasets.load("nucleosynthesis_channels")
    names = [channel.name for channel in CHANNELS]
    return {
        str(row["element"]): {name: (float(row[f"f_{name}"]), float(row[f"t50_{name}"])) for name in names}
        for row in table
    }


def _tabulated(symbol: str, channels: tuple[Channel, ...]) -> Production:
    """The row of the data set of curves that belongs to an element."""
    edges, cumulative = _curves()
    made = dict(zip(channels, np.diff(cumulative[symbol], axis=1), strict=True))
    total = sum(parts.sum() for parts in made.values())
    return Production(edges, {channel: parts / total for channel, parts in made.items()})


@functools.cache
def _curves() -> tuple[u.Quantity, dict[str, Array]]:
    table = datasets.load("nucleosynthesis_curves")
    stacked = np.stack([table[channel.name] for channel in CHANNELS], axis=1)
    return table.meta["age"], dict(zip(map(str, table["element"]), stacked))
