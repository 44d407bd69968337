"""Timing and memory of competitors that solve the same problem, taken in turns.

The repeats are interleaved, and their order rotates, so that a busy second of
the machine hits every competitor alike; the median is what is reported. Peak
memory is what the process held at most during one fit beyond what it held
before, as Linux counts it (work arrays inside LAPACK included).
"""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

Array = np.ndarray
LIBRARIES = ("statml", "numpy", "scipy", "scikit-learn", "statsmodels")


class DisagreementError(AssertionError):
    """Two libraries answer the same question differently, so their times say nothing."""


@dataclass(frozen=True)
class Answer:
    """Parameters, intercept first, shape (p,), and their standard errors where the library gives them."""

    params: Array
    errors: Array | None


@dataclass(frozen=True)
class Competitor:
    """One way to solve a problem: a label, whether it is ours, and the call that is timed."""

    label: str
    ours: bool
    fit: Callable[[], Answer]


@dataclass(frozen=True)
class Cost:
    """What a competitor needed: seconds of every repeat, and peak extra memory in bytes (None: unknown)."""

    seconds: tuple[float, ...]
    peak_bytes: int | None

    @property
    def median(self) -> float:
        """Median of the repeats, in seconds."""
        return float(np.median(self.seconds))


def measure(
    competitors: list[Competitor], repeats: int, seen: Iterable[int] | None = None
) -> dict[str, Cost]:
    """Time every competitor `repeats` times, in turns, after one fit each that measures memory.

    Parameters
    ----------
    competitors : list of Competitor
        With different labels.
    repeats : int
        Timed fits of each.
    seen : iterable of int, optional
        What to iterate over instead of ``range(repeats)``, for a progress bar.
    """
    with _settled():
        peaks = {each.label: peak_memory(each.fit) for each in competitors}
        seconds: dict[str, list[float]] = {each.label: [] for each in competitors}
        for turn in range(repeats) if seen is None else seen:
            first = turn % len(competitors)
            for each in competitors[first:] + competitors[:first]:
                gc.collect()
                start = time.perf_counter()
                each.fit()
                seconds[each.label].append(time.perf_counter() - start)
    return {label: Cost(tuple(times), peaks[label]) for label, times in seconds.items()}


@contextmanager
def _settled() -> Iterator[None]:
    """Set what is loaded aside, so that collections between fits see only what the fits left."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def ratio_to_fastest_peer(competitors: list[Competitor], costs: dict[str, Cost]) -> tuple[float, str]:
    """(our median time / that of the fastest peer, the peer's label); ours is the fastest of ours."""
    medians = {each.label: costs[each.label].median for each in competitors}
    ours = min(medians[each.label] for each in competitors if each.ours)
    peer = min((each.label for each in competitors if not each.ours), key=medians.__getitem__)
    return ours / medians[peer], peer


def largest_difference(ours: Array, theirs: Array) -> float:
    """Largest relative difference, each number beside its own size."""
    return float(np.max(np.abs(ours - theirs) / np.abs(theirs)))


def peak_memory(work: Callable[[], object]) -> int | None:
    """Bytes the process held at most while `work` ran, beyond before; None where Linux does not say."""
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak, VmHWM
        before = _memory("VmRSS")
        work()
        return max(_memory("VmHWM") - before, 0)
    except OSError:
        work()
        return None


def _memory(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def machine() -> dict[str, Any]:
    """Where and with what the numbers were made."""
    threads = {Path(pool["filepath"]).name.split("-")[0]: pool["num_threads"] for pool in threadpool_info()}
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "blas_threads": threads,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
