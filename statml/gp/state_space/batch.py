"""Many light curves of one kernel: their arrays end to end, some at a time, and one compiled loop over them.

The curves are copied in groups that fit the cache into memory that is used again: fresh memory for all
of them would take as long as the filter, whose points cost some ten nanoseconds each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch

from statml.errors import InputError
from statml.gp.kernels import Kernel
from statml.gp.state_space.block_filter import LOG_2PI, BlockFilter, SingularError
from statml.gp.state_space.elementary import compiled
from statml.gp.state_space.likelihood import Sampling, Terms
from statml.gp.state_space.series import Series, as_times
from statml.gp.state_space.unrolled import compiled_loop

Array = np.ndarray

# Points of a group: t, y and variances are 800 kB, which a second cache holds.
GROUP_POINTS = 1 << 15


class _Columns(NamedTuple):
    """The curves by column: times, values and errors, a list each."""

    times: list[Any]
    values: list[Any]
    errors: list[Any]


class _Packed(NamedTuple):
    """Some curves end to end: arrays (n,), variances of errors, and where each begins, (curves + 1,)."""

    t: Array
    y: Array
    noise: Array
    offsets: Array


def batch_log_likelihood(
    kernel: Kernel, curves: Sequence[Any], *, mean: float, extra: float, n_jobs: int = 1
) -> Array:
    """Log likelihoods of series (t, y, y_err).

    Parameters
    ----------
    kernel : Kernel
    curves : sequence of (t, y, y_err)
    mean, extra : float
        Known mean, and variance to add to that of the errors.
    n_jobs : int
        Threads.
    """
    if not (isinstance(n_jobs, Integral) and n_jobs >= 1):
        raise InputError(f"n_jobs is {n_jobs!r}; accepted are integers >= 1")
    columns = _columns(curves)
    values = np.empty(len(columns.times))
    likelihoods = _compiled(kernel) or _one_by_one(kernel)

    def work(begin: int, end: int) -> None:
        for first, packed in _groups(columns, begin, end):
            packed.y[:] -= mean
            packed.noise[:] += extra
            likelihoods(packed, values[first : first + len(packed.offsets) - 1])

    bounds = np.unique(np.linspace(0, len(values), int(n_jobs) + 1).astype(int))
    if len(bounds) == 2:
        work(0, len(values))
    else:
        with ThreadPoolExecutor(n_jobs) as pool:
            list(pool.map(work, bounds[:-1], bounds[1:]))
    if np.isnan(values).any():
        raise SingularError
    return values


# -- likelihoods of some curves ------------------------------------------------------------


def _compiled(kernel: Kernel) -> Callable[[_Packed, Array], None] | None:
    """By the compiled filter; None where there is none for this kernel."""
    found = BlockFilter.of(kernel)
    if found is None:
        return None
    loop = compiled_loop(found.orders)

    def likelihoods(packed: _Packed, values: Array) -> None:
        packed.noise[:] += found.white
        loop(*packed, found.kinds, *found.rows, found.lowest, values)

    return likelihoods


def _one_by_one(kernel: Kernel) -> Callable[[_Packed, Array], None]:
    """By the matrices of a chain, one curve after another."""
    theta = torch.tensor(kernel.theta)

    def likelihoods(packed: _Packed, values: Array) -> None:
        t, y, noise = (torch.tensor(part) for part in packed[:3])
        for i, (a, b) in enumerate(pairwise(packed.offsets)):
            logdet, quadratic = Terms(kernel, theta, Sampling(t[a:b]))(y[a:b], noise[a:b])
            values[i] = -0.5 * (float(logdet) + float(quadratic) + (b - a) * LOG_2PI)

    return likelihoods


# -- from curves to arrays -----------------------------------------------------------------


def _columns(curves: Sequence[Any]) -> _Columns:
    try:
        curves = list(curves)
        columns = _Columns(*(list(column) for column in zip(*curves, strict=True))) if curves else None
    except (TypeError, ValueError) as error:
        raise InputError("curves holds something else than triples; accepted are (t, y, y_err)") from error
    if columns is None:
        raise InputError("curves is empty; accepted are one or more (t, y, y_err)")
    return columns


def _groups(columns: _Columns, begin: int, end: int) -> Iterator[tuple[int, _Packed]]:
    """Curves begin to end, some at a time: the number of the first, and their arrays until the next are asked for."""
    lengths = _lengths(_Columns(*(column[begin:end] for column in columns)))
    if lengths is None:  # something is unusual, perhaps wrong
        yield begin, _curve_by_curve(_Columns(*(column[begin:end] for column in columns)))
        return
    stops = np.cumsum(lengths)
    turns = np.flatnonzero(np.diff(stops // GROUP_POINTS)) + 1
    bounds = [0, *turns.tolist(), len(lengths)]
    room = np.empty((3, max(int(lengths[a:b].sum()) for a, b in pairwise(bounds))))
    for a, b in pairwise(bounds):
        some = _Columns(*(column[begin + a : begin + b] for column in columns))
        yield begin + a, _end_to_end(some, lengths[a:b], room) or _curve_by_curve(some)


def _lengths(columns: _Columns) -> Array | None:
    """Points of each curve, where all columns are arrays of as many; else None."""
    # Masks and units are in types of their own, whose concatenation would lose them.
    if any(set(map(type, column)) != {np.ndarray} for column in columns):
        return None
    try:
        lengths, *others = (list(map(len, column)) for column in columns)
    except TypeError:  # an array of no dimension
        return None
    return np.array(lengths) if 0 not in lengths and others == [lengths, lengths] else None


def _end_to_end(some: _Columns, lengths: Array, room: Array) -> _Packed | None:
    """In `room`, without a look at each curve, where all are sorted and finite; else None."""
    t, y, noise = room[:, : int(lengths.sum())]
    try:
        for column, out in zip(some, (t, y, noise)):
            np.concatenate(column, out=out)
    except (TypeError, ValueError):  # of several dimensions, or no numbers
        return None
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return _Packed(t, y, noise, offsets) if _ready(t, y, noise, offsets) else None


@compiled
def _ready(t, y, noise, offsets):  # type: ignore[no-untyped-def]
    """Square the errors in `noise`; whether every curve is sorted and finite, and no error negative."""
    wrong = 0
    for i in range(len(offsets) - 1):
        for j in range(offsets[i] + 1, offsets[i + 1]):
            wrong += t[j] < t[j - 1]
    # Without a branch, so that these are vector instructions; only for NaN and inf is x - x not 0.
    for j in range(len(t)):
        wrong += noise[j] < 0
        wrong += (t[j] - t[j]) + (y[j] - y[j]) + (noise[j] - noise[j]) != 0
        noise[j] *= noise[j]
    return wrong == 0


def _curve_by_curve(some: _Columns) -> _Packed:
    """Sorted, values of infinite error left out; here a mistake is named."""
    series = [Series.of(as_times("t", t), y, err, None) for t, y, err in zip(*some)]
    finite = [np.isfinite(one.noise) for one in series]
    t, y, noise = (
        np.concatenate([getattr(one, name)[keep] for one, keep in zip(series, finite)])
        for name in ("t", "y", "noise")
    )
    return _Packed(t, y, noise, np.concatenate([[0], np.cumsum([keep.sum() for keep in finite])]))
