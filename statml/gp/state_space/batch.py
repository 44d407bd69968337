"""Many light curves of one kernel: their arrays end to end, one compiled loop over all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numba import njit

from statml.errors import InputError
from statml.gp.kernels import Kernel
from statml.gp.state_space.likelihood import LOG_2PI, BlockFilter, Sampling, SingularError, Terms
from statml.gp.state_space.series import Series, as_times
from statml.gp.state_space.unrolled import compiled_filter, kept_size

Array = np.ndarray


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
    t, y, noise, offsets = _end_to_end(curves)
    found = BlockFilter.of(kernel)
    if found is None:
        return _one_by_one(kernel, torch.tensor(kernel.theta), t, y - mean, noise + extra, offsets)
    loop = _compiled_loop(found.orders)
    values = np.empty(len(curves))
    y, noise = y - mean, noise + (found.white + extra)

    def work(some: slice) -> None:
        loop(
            t,
            y,
            noise,
            offsets[some.start : some.stop + 1],
            found.kinds,
            *found.rows,
            found.lowest,
            values[some],
        )

    bounds = np.linspace(0, len(curves), max(n_jobs, 1) + 1).astype(int)
    slices = [slice(int(a), int(b)) for a, b in pairwise(bounds) if b > a]
    if len(slices) == 1:
        work(slices[0])
    else:
        with ThreadPoolExecutor(n_jobs) as pool:
            list(pool.map(work, slices))
    if np.isnan(values).any():
        raise SingularError
    return values


@cache
def _compiled_loop(orders: tuple[int, ...]) -> Callable[..., None]:
    forward = compiled_filter(orders)[0]
    size = kept_size(orders)

    def loop(t, y, noise, offsets, kinds, q, c, w, lowest, values):  # type: ignore[no-untyped-def]
        kept = np.empty((0, size))
        for i in range(len(values)):
            a, b = offsets[i], offsets[i + 1]
            logdet, quadratic, smallest = forward(t[a:b], y[a:b], noise[a:b], kinds, q, c, w, kept)
            values[i] = -0.5 * (logdet + quadratic + (b - a) * LOG_2PI) if smallest > lowest else np.nan

    return njit(nogil=True, error_model="numpy")(loop)


def _end_to_end(curves: Sequence[Any]) -> tuple[Array, Array, Array, Array]:
    """t, y and variances of all curves, sorted in each, values of infinite error left out, and where each begins."""
    if len(curves) == 0:
        raise InputError("curves is empty; accepted are one or more (t, y, y_err)")
    try:
        columns = [list(column) for column in zip(*curves, strict=True)]
        times, values, errors = columns
    except (TypeError, ValueError) as error:
        raise InputError("curves holds something else than triples; accepted are (t, y, y_err)") from error
    lengths = np.array([len(one) for one in times])
    plain = all(
        isinstance(e, np.ndarray) and e.shape == x.shape == v.shape
        for x, v, e in zip(times, values, errors)
        if isinstance(x, np.ndarray) and isinstance(v, np.ndarray)
    ) and all(isinstance(x, np.ndarray) and isinstance(v, np.ndarray) for x, v in zip(times, values))
    if plain:
        t, y, err = (np.concatenate(column).astype(float, copy=False) for column in (times, values, errors))
        good = (
            t.ndim == 1
            and np.isfinite(t).all()
            and np.isfinite(y).all()
            and not np.isnan(err).any()
            and (err >= 0).all()
        )
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        descending = np.diff(t) < 0
        descending[offsets[1:-1] - 1] = False
        if good and lengths.min() > 0 and not descending.any() and np.isfinite(err).all():
            return t, y, err**2, offsets
    # Something is unusual: curve by curve, where a mistake is named.
    series = [Series.of(as_times("t", x), v, e, None) for x, v, e in zip(times, values, errors)]
    finite = [np.isfinite(one.noise) for one in series]
    t, y, noise = (
        np.concatenate([getattr(one, name)[keep] for one, keep in zip(series, finite)])
        for name in ("t", "y", "noise")
    )
    return t, y, noise, np.concatenate([[0], np.cumsum([keep.sum() for keep in finite])])


def _one_by_one(
    kernel: Kernel, theta: torch.Tensor, t: Array, y: Array, noise: Array, offsets: Array
) -> Array:
    values = []
    for a, b in pairwise(offsets):
        terms = Terms(kernel, theta, Sampling(torch.from_numpy(t[a:b])))
        logdet, quadratic = terms(torch.from_numpy(y[a:b]), torch.from_numpy(noise[a:b]))
        values.append(-0.5 * (float(logdet) + float(quadratic) + (b - a) * LOG_2PI))
    return np.array(values)
