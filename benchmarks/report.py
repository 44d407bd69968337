"""What a run leaves behind: tables on the screen, a JSON record, a figure of cost against n."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# Runnable processes before the first fit, above which times are not for the record.
BUSY = 0.5
COLOURS = {
    "statml": "#1b4f9c",
    "statsmodels": "#c8553d",
    "scikit-learn": "#e0a030",
    "numpy": "#8a8f98",
    "scipy": "#5b8c5a",
    "odrpack": "#c8553d",
    "hyperfit": "#e0a030",
    "astroML": "#c8553d",
    "treecorr": "#c8553d",
    "torch": "#c8553d",
    "gpytorch": "#c8553d",
    "celerite2": "#c8553d",
}


def tables(record: dict[str, Any]) -> str:
    """The measurements as text: the largest n in full, then cost against n."""
    where = record["machine"]
    lines = [
        f"{record['family']}: {record['n_features']} features, median of {record['repeats']} interleaved fits",
        f"{where['cpu']}, {where['cores']} cores, load before {where['load_before']}, {where['date']}",
    ]
    if where["load_before"] > BUSY:
        lines.append("THE MACHINE WAS BUSY: libraries that use several threads suffer more than others")
    largest = max(entry["n"] for entry in record["measurements"])
    for entry in record["measurements"]:
        if entry["n"] == largest:
            lines += ["", *_detail(entry)]
    lines += ["", "seconds against n", *_against_n(record["measurements"]), "", f"GPU: {record['gpu']}"]
    return "\n".join(lines)


def _detail(entry: dict[str, Any]) -> list[str]:
    lines = [
        f"{entry['problem']}, n = {entry['n']:,}: ours / fastest peer = {entry['ratio']:.2f} "
        f"({entry['fastest_peer']}; target at most 1.0)"
    ]
    fastest_peer = min(cost["median_s"] for cost in entry["costs"] if not cost["ours"])
    for cost in entry["costs"]:
        peak = "-" if cost["peak_bytes"] is None else f"{cost['peak_bytes'] / 2**20:,.0f} MiB"
        difference = entry["differences"].get(cost["label"])
        worst = "" if difference is None else f"  differs by {max(difference.values()):.1e}"
        lines.append(
            f"  {cost['label']:46s} {cost['median_s']:9.4f} s {cost['median_s'] / fastest_peer:7.2f} x "
            f"{peak:>11s}{worst}"
        )
    return lines


def _against_n(measurements: list[dict[str, Any]]) -> list[str]:
    sizes = sorted({entry["n"] for entry in measurements})
    lines = [f"  {'n':48s}" + "".join(f"{n:>11,}" for n in sizes)]
    for problem, label, medians in curves(measurements):
        lines.append(
            f"  {problem + '  ' + label:48s}" + "".join(f"{seconds:11.4f}" for _, seconds in medians)
        )
    return lines


def curves(measurements: list[dict[str, Any]]) -> list[tuple[str, str, list[tuple[int, float]]]]:
    """(problem, label, [(n, median seconds)]) of every competitor."""
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for entry in sorted(measurements, key=lambda entry: entry["n"]):
        for cost in entry["costs"]:
            found.setdefault((entry["problem"], cost["label"]), []).append((entry["n"], cost["median_s"]))
    return [(problem, label, points) for (problem, label), points in found.items()]


def draw(record: dict[str, Any], path: Path) -> None:
    """One log-log panel for each problem, on one scale."""
    from matplotlib.figure import Figure

    every = curves(record["measurements"])
    names = list(dict.fromkeys(problem for problem, _, _ in every))
    figure = Figure(figsize=(3.9 * len(names), 4.4), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names):
        markers = iter("so^D")
        for problem, label, points in every:
            if problem != name:
                continue
            library = label.split()[0]
            ours = library == "statml"
            x, seconds = np.array(points).T
            axes.loglog(
                x,
                seconds,
                color=COLOURS[library],
                marker="o" if ours else next(markers),
                ls="--" if "(qr)" in label else "-",
                lw=2.4 if ours else 1.3,
                ms=5 if ours else 4,
                zorder=3 if ours else 2,
                label=label.replace("LinearRegression", "LR") if name != "Bayes" else label,
            )
        sizes = np.array(sorted({n for problem, _, points in every if problem == name for n, _ in points}))
        fastest = min(points[-1][1] for problem, _, points in every if problem == name)
        axes.loglog(
            sizes, fastest / 2.5 * sizes / sizes[-1], color="0.6", lw=0.8, ls=":", label="proportional to n"
        )
        axes.set_title(name, fontsize=11)
        axes.set_xlabel("rows n")
        axes.grid(alpha=0.25, lw=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.16))
    panels[0].set_ylabel("median time of one fit [s]")
    figure.suptitle(
        f"{record['n_features']} features, {record['machine']['cores']} cores", fontsize=9, color="0.4"
    )
    figure.savefig(path, dpi=150)


def save(
    record: dict[str, Any], folder: Path, picture_of: Callable[[dict[str, Any], Path], None] = draw
) -> list[Path]:
    """Write NAME.json and NAME.png; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers, picture = folder / f"{record['family']}.json", folder / f"{record['family']}.png"
    picture_of(record, picture)
    numbers.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return [numbers, picture]
