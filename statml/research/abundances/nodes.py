"""What a set of elements is made of, as plain arrays: a table of (channel, delay) and each element's weights on it.

Elements share most of their (channel, delay) pairs, so the kernel is evaluated between the distinct ones, and
the covariance of the elements is W K W^T.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from statml.errors import InputError, InputTypeError
from statml.research.abundances.channels import Channel, Element
from statml.research.abundances.dimensions import SPEED, TIME
from statml.research.abundances.environment import Environment

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Nodes:
    """Distinct products of clusters, lengths and times in the environment's units.

    Attributes
    ----------
    weights : array (elements, nodes)
        Part of each element's production.
    channel : array (nodes,) of int
    channels : tuple of Channel
    delay, spread : arrays (nodes,)
        When a product is made, and over which interval.
    width2, kick2 : arrays (nodes,)
        Variances of place: of an event's Gaussian, and kick^2 delay^2.
    """

    weights: Array
    channel: Array
    channels: tuple[Channel, ...]
    delay: Array
    spread: Array
    width2: Array
    kick2: Array

    def of_channels(self, values: Sequence[Any]) -> Array:
        """One value for each channel, spread over the nodes."""
        return np.asarray(values)[self.channel]


def as_elements(elements: Any) -> list[Element]:
    """Check that `elements` is a sequence of elements with different symbols."""
    if isinstance(elements, Element):
        elements = [elements]
    found = list(elements)
    for i, element in enumerate(found):
        if not isinstance(element, Element):
            raise InputTypeError(f"elements[{i}] is {element!r}; accepted is an Element")
    if not found:
        raise InputError("elements is empty; accepted is at least one Element")
    return found


def median_nodes(elements: list[Element], env: Environment) -> Nodes:
    """One node for each channel and delay: what a channel makes of an element, it makes at once."""
    rows, pairs, parts = [], [], []
    for row, element in enumerate(elements):
        for channel, fraction, delay in element.contributions:
            rows.append(row)
            pairs.append((channel, delay))
            parts.append(fraction)
    distinct = {pair: i for i, pair in enumerate(dict.fromkeys(pairs))}
    weights = np.zeros((len(elements), len(distinct)))
    np.add.at(weights, (rows, [distinct[pair] for pair in pairs]), parts)
    delays = np.array([delay for _, delay in distinct])
    return _nodes(weights, [channel for channel, _ in distinct], delays, np.zeros(len(delays)), elements, env)


def full_nodes(elements: list[Element], env: Environment) -> Nodes:
    """One node for each channel and interval in which it makes something: the whole curves of production.

    Elements without a curve are made at their delays.
    """
    blocks: dict[tuple[Channel, bytes], tuple[Array, Array]] = {}
    for row, element in enumerate(elements):
        for channel, edges, parts in _curves(element):
            limits, block = blocks.setdefault(
                (channel, edges.tobytes()), (edges, np.zeros((len(elements), parts.size)))
            )
            block[row] += parts
    columns, starts, ends, channels = [], [], [], []
    for (channel, _), (limits, block) in blocks.items():
        used = block.any(axis=0)
        columns.append(block[:, used])
        starts.append(limits[0][used])
        ends.append(limits[1][used])
        channels += [channel] * int(used.sum())
    start, end = np.concatenate(starts), np.concatenate(ends)
    # A population that outlives the star formation is no surprise here: what it makes later is cut without a word.
    return _nodes(np.hstack(columns), channels, (start + end) / 2, end - start, None, env)


def _curves(element: Element) -> Iterator[tuple[Channel, Array, Array]]:
    """Channel, limits (2, m) of its intervals, and what is made in each, over the element's production."""
    if element.production is None:
        for channel, fraction, delay in element.contributions:
            yield channel, np.array([[delay], [delay]]), np.array([fraction])
    else:
        edges = element.production.edges.to_value(TIME)
        for channel, parts in element.production.made.items():
            yield channel, np.array([edges[:-1], edges[1:]]), np.asarray(parts)


def _nodes(
    weights: Array,
    by_node: list[Channel],
    delay: Array,
    spread: Array,
    elements: list[Element] | None,
    env: Environment,
) -> Nodes:
    channels = tuple(dict.fromkeys(by_node))
    index = np.array([channels.index(channel) for channel in by_node])
    late = delay >= env.t_star.value
    if elements is not None and late.any():
        _warn_late(weights[:, late], elements, env)
    length, time = env.length_unit.value, env.time_unit.value
    kick = np.array([channel.kick.to_value(SPEED) for channel in channels])[index]
    width = np.array([channel.width.value for channel in channels])[index]
    early = ~late
    return Nodes(
        weights=weights[:, early],
        channel=index[early],
        channels=channels,
        delay=delay[early] / time,
        spread=spread[early] / time,
        width2=(width[early] / length) ** 2,
        kick2=(kick[early] * delay[early] / length) ** 2,
    )


def _warn_late(weights: Array, elements: list[Element], env: Environment) -> None:
    symbols = [element.symbol for element, row in zip(elements, weights) if row.any()]
    if symbols:
        warnings.warn(
            f"a channel of {', '.join(symbols)} has a delay of at least t_star = {env.t_star:.4g}; no cluster is old "
            "enough for it, and it contributes nothing",
            UserWarning,
            stacklevel=5,
        )
