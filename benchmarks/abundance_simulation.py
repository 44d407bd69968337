"""Snapshots of diffusing metals beside exact spectral time stepping and a non-uniform FFT, at equal accuracy in P(k).

fields    four fields of 12,800 clusters each on a square of eight correlation lengths, injected over 0.05 of one

All competitors get the same events, places, weights and variances, and return the spectra of all fields. How far
their power spectra are from those of a reference (a non-uniform FFT of 1e-9 on a ladder of fine rungs) is measured in ten bins of
wavenumber and recorded beside their times; more than `SAME` is refused. What is varied is the grid, the events, and, for whole
runs of `simulate` with the drawing of clusters, the elements.

spectral time stepping   decays the spectrum in steps and adds the events of each, exact in age, by products of phases
                         (one complex matrix product for each step and field, in single precision)
finufft                  our ladder of variances with finufft of 1e-4 in place of our B-splines, in double precision
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from astropy import units as u

from benchmarks.measurement import DisagreementError, machine, peak_memory
from statml.research.abundances import Channel, Element, Environment, load_elements, simulate
from statml.research.abundances.deposit import LN_STEP, Events, needed_grid, spectra

Array = np.ndarray

# Largest relative difference of the power in any bin.
SAME = 2e-3
FIELDS, CLUSTERS, GRID = 4, 12_800, 512
BOX, WIDTH = 8.0, 0.05  # in correlation lengths
STEPS = 32
# What takes longer is run once.
LONG = 3.0
TARGET = 0.5  # seconds of one realisation of four fields, 512 x 512


def benchmark(grids: list[int], events: list[int], elements: list[int], repeats: int) -> dict[str, Any]:
    """Compare powers, then measure, for every grid, number of events and number of elements.

    Parameters
    ----------
    grids : list of int
        At `CLUSTERS` events for each field; the headline is `GRID`, or the largest.
    events : list of int
        At the headline's grid.
    elements : list of int
        Of the table of 42, simulated with delays rounded to 0.1 dex.
    repeats : int

    Raises
    ------
    DisagreementError
        A power spectrum is off by more than `SAME`.
    """
    where = machine()
    headline = GRID if GRID in grids else max(grids)
    rows = [measure(grid, CLUSTERS, repeats, "grid") for grid in grids]
    rows += [measure(headline, n, repeats, "events") for n in events]
    return {
        "family": "abundance_simulation",
        "headline": headline,
        "repeats": repeats,
        "machine": {**where, "torch": torch.__version__, "torch_threads": torch.get_num_threads()},
        "measurements": rows,
        "elements": [whole_run(n, repeats) for n in elements],
        "gpu": on_gpu(),
    }


def problem(n: int, seed: int = 20250714) -> dict[str, Array]:
    """Places, weights and variances (fields, n), in units of the box: four products of the same clusters."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(0, 1, n)
    place = rng.uniform(0, 1, (2, 1, n)) + 0.05 * rng.standard_normal((2, FIELDS, n))
    variance = (WIDTH**2 + 2 * age) / BOX**2 * np.ones((FIELDS, 1))
    return {
        "x": place[0] % 1,
        "y": place[1] % 1,
        "weight": rng.gamma(1, 1, n) * np.ones((FIELDS, 1)),
        "variance": variance,
    }


def ours(events: dict[str, Array], grid: int, device: str = "cpu") -> Array:
    """Ladder, B-splines, one FFT for each size of grid."""
    flat = {
        name: torch.as_tensor(values.ravel(), dtype=torch.float32, device=device)
        for name, values in events.items()
    }
    owner = torch.arange(FIELDS, device=device).repeat_interleave(events["x"].shape[1])
    return spectra(Events(**flat, owner=owner), FIELDS, grid).cpu().numpy()


def by_time_steps(events: dict[str, Array], grid: int) -> Array:
    """Exact spectral stepping: the spectrum decays, the events of each step are added with the ages they have at its end."""
    k, across = 2 * np.pi * np.fft.fftfreq(grid, 1 / grid), 2 * np.pi * np.arange(grid // 2 + 1)
    total = np.zeros((FIELDS, grid, grid // 2 + 1), np.complex64)
    injected = WIDTH**2 / BOX**2
    age = (events["variance"][0] - injected) / 2
    limits = np.linspace(age.max(), 0, STEPS + 1)
    for old, young in itertools.pairwise(limits):
        decay = [np.exp(-(each**2) * (old - young)).astype(np.float32) for each in (k, across)]
        total *= decay[0][:, None] * decay[1]
        new = np.flatnonzero((age <= old) & (age > young) if young else age <= old)
        spread = injected + 2 * (age[new] - young)
        widths = [np.exp(-0.5 * np.outer(spread, each**2)) for each in (k, across)]
        for field in range(FIELDS):
            x, y, weight = (events[name][field, new] for name in ("x", "y", "weight"))
            rows = (weight[:, None] * widths[0] * np.exp(-1j * np.outer(y, k))).astype(np.complex64)
            columns = (widths[1] * np.exp(-1j * np.outer(x, across))).astype(np.complex64)
            total[field] += rows.T @ columns
    return total


def by_finufft(events: dict[str, Array], grid: int, eps: float = 1e-4, step: float = LN_STEP) -> Array:
    """The same ladder, each rung by a non-uniform FFT of type 1 with as many modes as it needs."""
    import finufft

    total = np.zeros((FIELDS, grid, grid // 2 + 1), complex)
    for field in range(FIELDS):
        x, y, weight, variance = (events[name][field] for name in ("x", "y", "weight", "variance"))
        place = np.log(variance) / step
        below = np.floor(place).astype(int)
        t = place - below
        shares = (
            -t * (t - 1) * (t - 2) / 6,
            (t + 1) * (t - 1) * (t - 2) / 2,
            -(t + 1) * t * (t - 2) / 2,
            (t + 1) * t * (t - 1) / 6,
        )
        for rung in range(below.min() - 1, below.max() + 3):
            used = np.flatnonzero((rung - below >= -1) & (rung - below <= 2))
            if not len(used):
                continue
            strength = np.choose(rung - below[used] + 1, [share[used] for share in shares]) * weight[used]
            needed = needed_grid(np.exp(rung * step / 2))
            modes = min(grid, needed + needed % 2)
            found = finufft.nufft2d1(
                2 * np.pi * y[used],
                2 * np.pi * x[used],
                strength + 0j,
                (modes, modes),
                eps=eps,
                isign=-1,
                modeord=1,
            )
            half = modes // 2
            k = 2 * np.pi * np.fft.fftfreq(modes, 1 / modes)
            damping = np.exp(-0.5 * k**2 * np.exp(rung * step))
            for rows in (slice(0, half), slice(modes - half + 1, modes)):
                into = rows if rows.start == 0 else slice(grid - half + 1, grid)
                total[field, into, :half] += found[rows, :half] * damping[rows, None] * damping[:half]
    return total


COMPETITORS: dict[str, Callable[[dict[str, Array], int], Array]] = {
    "statml snapshot": ours,
    "spectral time stepping": by_time_steps,
    "finufft on our ladder": by_finufft,
}


def power(spectrum: Array, bins: int = 10) -> Array:
    """Mean power of all fields in bins of wavenumber, up to where the injection width cuts it off."""
    grid = spectrum.shape[1]
    number = np.hypot(np.fft.fftfreq(grid, 1 / grid)[:, None], np.arange(grid // 2 + 1))
    edges = np.geomspace(1, 1.5 * BOX / WIDTH / (2 * np.pi), bins + 1)
    place = np.digitize(number, edges) - 1
    inside = (place >= 0) & (place < bins)
    summed = np.bincount(place[inside], np.mean(np.abs(spectrum) ** 2, axis=0)[inside], bins)
    return summed[np.bincount(place[inside], minlength=bins) > 0]


def measure(grid: int, n: int, repeats: int, varied: str) -> dict[str, Any]:
    """Differences from the reference, and times, of all competitors."""
    events = problem(n)
    reference = power(by_finufft(events, grid, eps=1e-9, step=LN_STEP / 4))
    costs: list[dict[str, Any]] = []
    for label, run in COMPETITORS.items():
        work = partial(run, events, grid)
        seconds: list[float] = []
        difference = float(np.max(np.abs(power(_timed(work, seconds)) / reference - 1)))
        if not difference < SAME:
            raise DisagreementError(
                f"{label}: power differs by {difference:.1e}; accepted is less than {SAME:g}"
            )
        peak = None
        if seconds[0] < LONG:  # the first run, with its imports and tables, is not counted then
            seconds, peak = [], peak_memory(work)
            for _ in range(repeats):
                _timed(work, seconds)
        costs.append(
            {
                "label": label,
                "ours": label.startswith("statml"),
                "median_s": float(np.median(seconds)),
                "seconds": seconds,
                "peak_bytes": peak,
                "power_difference": difference,
            }
        )
    peers = {cost["label"]: cost["median_s"] for cost in costs if not cost["ours"]}
    return {
        "varied": varied,
        "grid": grid,
        "events": n,
        "fields": FIELDS,
        "ratios": {label: costs[0]["median_s"] / seconds for label, seconds in peers.items()},
        "costs": costs,
    }


def whole_run(elements: int, repeats: int) -> dict[str, Any]:
    """A realisation of so many elements of the table, clusters, mixing and all."""
    channels = [Channel(name, 100 * u.pc) for name in ("ccsn", "agb", "snia")]
    chosen: list[Element] = load_elements(channels=channels)[:elements]
    env = Environment.fiducial().replace(
        cluster_rate=CLUSTERS / 64 / 2794e6 / u.pc**2 / u.Myr, mass_scatter2=1.0
    )
    seconds: list[float] = []
    products = 0
    for seed in range(repeats + 1):

        def once(seed: int = seed) -> int:
            fields = simulate(
                env, chosen, box=BOX * u.kpc, grid=256, delay_step=0.1, rng=seed, progress=False
            )
            return fields.maps.size and fields.product_maps.shape[2]

        products = _timed(once, seconds)
    return {
        "elements": elements,
        "products": products,
        "grid": 256,
        "median_s": float(np.median(seconds[1:])),
    }


def on_gpu(grid: int = 1024, realisations: int = 32) -> str:
    """1024 x 1024 cells, 24 products, 32 realisations, where there is a GPU."""
    if not torch.cuda.is_available():
        return "not measured"
    channel = Channel("metal", 60 * u.pc)
    elements = [Element(f"E{i}", {channel: 1.0}, {channel: 50.0 * (i + 1) * u.Myr}) for i in range(24)]
    env = Environment.fiducial().replace(
        cluster_rate=CLUSTERS / 64 / 2794e6 / u.pc**2 / u.Myr, mass_scatter2=1.0
    )
    seconds: dict[str, list[float]] = {"cuda": [], "cpu": []}
    for device, number in (("cuda", realisations), ("cuda", realisations), ("cpu", 1)):

        def run(device: Any = device, number: int = number) -> Any:
            return simulate(
                env,
                elements,
                box=BOX * u.kpc,
                grid=grid,
                realisations=number,
                device=device,
                rng=0,
                progress=False,
            )

        _timed(run, seconds[device])
    cuda, cpu = seconds["cuda"][-1], realisations * seconds["cpu"][-1]
    return (
        f"{torch.cuda.get_device_name()}: {grid} x {grid}, 24 products, {realisations} realisations in {cuda:.2f} s; the "
        f"CPU of this machine {cpu:.1f} s ({realisations} times one realisation), ratio {cpu / cuda:.1f}"
    )


def _timed(work: Callable[[], Any], seconds: list[float]) -> Any:
    start = time.perf_counter()
    result = work()
    seconds.append(time.perf_counter() - start)
    return result


def tables(record: dict[str, Any]) -> str:
    """The measurements as text."""
    where = record["machine"]
    lines = [
        f"{record['family']}: {FIELDS} fields, spectra from the same events, median of {record['repeats']}",
        f"{where['cpu']}, {where['cores']} cores, {where['torch_threads']} torch threads, load before "
        f"{where['load_before']}, {where['date']}",
    ]
    for row in record["measurements"]:
        ratios = ", ".join(f"{ratio:.2f} of {label}" for label, ratio in row["ratios"].items())
        lines += [
            "",
            f"{row['grid']} x {row['grid']}, {row['events']:,} events for each field: ours takes {ratios}",
        ]
        lines += [
            f"  {cost['label']:28s} {cost['median_s']:8.3f} s   P(k) differs by {cost['power_difference']:.0e}"
            for cost in row["costs"]
        ]
    lines.append("")
    lines += [
        f"simulate, {run['elements']} elements ({run['products']} products) at {run['grid']}^2: {run['median_s']:.3f} s"
        for run in record["elements"]
    ]
    head = next(row for row in record["measurements"] if row["grid"] == record["headline"])
    lines += [
        "",
        f"four fields at {head['grid']}^2: {head['costs'][0]['median_s']:.3f} s (target at 512^2: {TARGET} s on 2 cores)",
        f"GPU: {record['gpu']}",
    ]
    return "\n".join(lines)


def draw(record: dict[str, Any], path: Path) -> None:
    """Cost against grid, events and elements."""
    from matplotlib.figure import Figure

    colours = dict(zip(COMPETITORS, ("#1b4f9c", "#c8553d", "#e0a030")))
    figure = Figure(figsize=(11.5, 4), layout="constrained")
    panels = figure.subplots(1, 3)
    for axes, varied in zip(panels, ("grid", "events")):
        rows = [row for row in record["measurements"] if row["varied"] == varied]
        for number, label in enumerate(COMPETITORS):
            seconds = [row["costs"][number]["median_s"] for row in rows]
            axes.loglog([row[varied] for row in rows], seconds, "o-", color=colours[label], label=label)
        fixed = (
            f"{CLUSTERS:,} events"
            if varied == "grid"
            else f"{record['headline']} x {record['headline']} cells"
        )
        axes.set(xlabel="cells for each side" if varied == "grid" else "events for each field", title=fixed)
    panels[0].set_ylabel("seconds for four fields")
    panels[0].legend(frameon=False, fontsize=8)
    runs = record["elements"]
    panels[2].loglog(
        [run["elements"] for run in runs], [run["median_s"] for run in runs], "o-", color="#1b4f9c"
    )
    for run in runs:
        panels[2].annotate(
            f"{run['products']} products",
            (run["elements"], run["median_s"]),
            fontsize=8,
            xytext=(4, -10),
            textcoords="offset points",
        )
    panels[2].set(xlabel="elements", title="simulate, 256 x 256 cells", ylabel="seconds for one realisation")
    for axes in panels:
        axes.grid(alpha=0.25, lw=0.5, which="both")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
