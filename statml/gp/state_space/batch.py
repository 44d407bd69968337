"""Many light curves of one kernel: their arrays end to end, one compiled loop over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from numbers import Integral
from typing import Any

import numpy as np
import torch

from statml.errors import InputError
from statml.gp.kernels import Kernel
from statml.gp.state_space.block_filter import LOG_2PI, BlockFilter, SingularError
from statml.gp.state_space.likelihood import Sampling, Terms
from statml.gp.state_space.series import Series, as_times
from statml.gp.state_space.unrolled import compiled_loop

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
    if not (isinstance(n_jobs, Integral) and n_jobs >= 1):
        raise InputError(f"n_jobs is {n_jobs!r}; accepted are integers >= 1")
    t, y, noise, offsets = _end_to_end(curves)
    found = BlockFilter.of(kernel)
    if found is None:
        return _one_by_one(kernel, torch.tensor(kernel.theta), t, y - mean, noise + extra, offsets)
    loop = compiled_loop(found.orders)
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

    bounds = np.linspace(0, len(curves), int(n_jobs) + 1).astype(int)
    slices = [slice(int(a), int(b)) for a, b in pairwise(bounds) if b > a]
    if len(slices) == 1:
        work(slices[0])
    else:
        with ThreadPoolExecutor(n_jobs) as pool:
            list(pool.map(work, slices))
    if np.isnan(values).any():
        raise SingularError
    return values


def _end_to_end(curves: Sequence[Any]) -> tuple[Array, Array, Array, Array]:
    """t, y and variances of all curves, sorted in each, values of infinite error left out, and where each begins."""
    if len(curves) == 0:
        raise InputError("curves is empty; accepted are one or more (t, y, y_err)")
    try:
        times, values, errors = (list(column) for column in zip(*curves, strict=True))
    except (TypeError, ValueError) as error:
        raise InputError("curves holds something else than triples; accepted are (t, y, y_err)") from error
    ready = _plain(times, values, errors)
    if ready is not None:
        return ready
    # Something is unusual: curve by curve, where a mistake is named.
    series = [Series.of(as_times("t", x), v, e, None) for x, v, e in zip(times, values, errors)]
    finite = [np.isfinite(one.noise) for one in series]
    t, y, noise = (
        np.concatenate([getattr(one, name)[keep] for one, keep in zip(series, finite)])
        for name in ("t", "y", "noise")
    )
    return t, y, noise, np.concatenate([[0], np.cumsum([keep.sum() for keep in finite])])


def _plain(
    times: list[Any], values: list[Any], errors: list[Any]
) -> tuple[Array, Array, Array, Array] | None:
    """The same without a look at each curve, where all are sorted arrays of finite numbers; else None."""
    shapes = [np.shape(one) for one in times if isinstance(one, np.ndarray) and one.ndim == 1]
    for column in (times, values, errors):
        if shapes != [one.shape for one in column if isinstance(one, np.ndarray)]:
            return None
    if len(shapes) < len(times) or (0,) in shapes:
        return None
    t, y, err = (np.concatenate(column).astype(float, copy=False) for column in (times, values, errors))
    offsets = np.concatenate([[0], np.cumsum([n for (n,) in shapes])])
    backwards = np.diff(t) < 0
    backwards[offsets[1:-1] - 1] = False
    if not np.isfinite(t.sum() + y.sum() + err.sum()) or err.min() < 0 or backwards.any():
        return None
    return t, y, err**2, offsets


def _one_by_one(
    kernel: Kernel, theta: torch.Tensor, t: Array, y: Array, noise: Array, offsets: Array
) -> Array:
    values = []
    for a, b in pairwise(offsets):
        terms = Terms(kernel, theta, Sampling(torch.from_numpy(t[a:b])))
        logdet, quadratic = terms(torch.from_numpy(y[a:b]), torch.from_numpy(noise[a:b]))
        values.append(-0.5 * (float(logdet) + float(quadratic) + (b - a) * LOG_2PI))
    return np.array(values)
