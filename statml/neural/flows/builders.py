"""Flows of the usual architectures, from their pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from statml.errors import InputError
from statml.neural.flows.autoregressive import Autoregressive
from statml.neural.flows.coupling import Coupling
from statml.neural.flows.flow import Flow, StandardNormal
from statml.neural.flows.linear import Permutation, Rotation
from statml.neural.flows.monotone import Affine, Monotone, Spline
from statml.neural.flows.transform import Transform


def coupling_flow(
    d: int,
    family: Monotone,
    *,
    layers: int = 4,
    context: int = 0,
    hidden: Sequence[int] = (64, 64),
    before: Sequence[Transform] = (),
) -> Flow:
    """Pairs of couplings whose columns take turns, with a learned rotation before each pair.

    Parameters
    ----------
    d : int
        Columns, at least 2.
    family : Affine or Spline
    layers : int
        Couplings.
    context : int
        Columns of the context.
    hidden : sequence of int
        Widths of each network.
    before : sequence of Transform
        Between the data and the couplings: supports, standardisation.

    Examples
    --------
    >>> flow = coupling_flow(2, Affine(), layers=2)
    >>> flow.log_prob(torch.zeros(1, 2))  # the identity, until it is trained
    tensor([-1.8379], grad_fn=<AddBackward0>)
    """
    if d < 2:
        raise InputError(f"d is {d}; accepted for coupling are 2 columns or more, for one take monotone_flow")
    turns: list[Transform] = []
    for layer in range(layers):
        if layer % 2 == 0:
            turns.append(Rotation(d))
        turns.append(Coupling(np.arange(d) % 2 == layer % 2, family, context=context, hidden=hidden))
    return Flow(StandardNormal(d), [*before, *turns])


def autoregressive_flow(
    d: int,
    family: Monotone,
    *,
    layers: int = 3,
    context: int = 0,
    hidden: Sequence[int] = (64, 64),
    before: Sequence[Transform] = (),
) -> Flow:
    """Autoregressive maps with the columns reversed between them; arguments as in `coupling_flow`."""
    turns: list[Transform] = []
    for layer in range(layers):
        if layer:
            turns.append(Permutation(torch.arange(d - 1, -1, -1)))
        turns.append(Autoregressive(d, family, context=context, hidden=hidden))
    return Flow(StandardNormal(d), [*before, *turns])


def monotone_flow(
    *, context: int, bins: int = 16, bound: float = 5.0, hidden: Sequence[int] = (64, 64), before: Any = ()
) -> Flow:
    """One column: a shift and scale, then a spline, both given the context.

    All of it together is one spline for each context, so distribution function and
    quantiles have closed forms (`statml.uncertainty.TransformedNormal`).
    """
    return Flow(
        StandardNormal(1),
        [
            *before,
            Autoregressive(1, Affine(), context=context, hidden=hidden),
            Autoregressive(1, Spline(bins, bound), context=context, hidden=hidden),
        ],
    )
