"""Figures of curve fitting: the valley of a sum of squares, and digits over NIST's 27 problems."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import optimize

from statml import datasets


def problem(table: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """Model, x and y of one NIST problem; nelson is fitted in log y with two predictors."""
    model, x, y = table.meta["model"], table["x1"].data, table["y"].data
    if "x2" in table.colnames:
        return model, np.array([x, table["x2"].data]), np.log(y)
    return model, x, y


def digits(found: np.ndarray, certified: list[float]) -> float:
    """Correct digits of the worst parameter, at least 0."""
    error = np.max(np.abs(np.asarray(found) - certified) / np.abs(certified))
    return float(np.clip(-np.log10(error), 0, 11))


def as_it_comes(model: Any, x: np.ndarray, y: np.ndarray, start: list[float]) -> np.ndarray:
    """scipy's curve_fit with nothing but a start."""
    try:
        return optimize.curve_fit(model, x, y, start, maxfev=20_000)[0]
    except RuntimeError:
        return np.full(len(start), np.inf)


def scaled(model: Any, x: np.ndarray, y: np.ndarray, start: list[float]) -> np.ndarray:
    """Trust-region steps in parameters divided by their start, with central differences."""
    unit = np.abs(start)
    found = optimize.least_squares(
        lambda b: model(x, *(b * unit)) - y,
        np.sign(start),
        jac="3-point",
        x_scale="jac",
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
        max_nfev=5000,
    )
    return found.x * unit


def curve_fitting() -> Figure:
    """A narrow valley, and who reaches its bottom."""
    figure = Figure(figsize=(10.4, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
    curves = datasets.load("nist_curves")
    _valley(left, curves["boxbod"])
    _digits(right, curves)
    tidy(left, "a", "two starts in one landscape (BoxBOD)")
    tidy(right, "b", "correct digits, starting far away")
    return figure


def _valley(axes: Axes, table: Any) -> None:
    model, x, y = problem(table)
    certified = table.meta["certified"]
    b1, b2 = np.linspace(-40, 290, 220), np.linspace(0.02, 1.7, 220)
    rss = np.sum((y - model(x, b1[None, :, None], b2[:, None, None])) ** 2, axis=-1)
    axes.contourf(b1, b2, np.log10(rss), levels=18, cmap="Blues_r", alpha=0.9)
    axes.contour(b1, b2, rss, levels=certified["rss"] * np.array([1.3, 2, 4]), colors="white", linewidths=0.8)
    axes.plot(*certified["estimate"], "*", ms=14, color=GOLD, mec=INK, label="certified minimum")
    for key, colour in (("start_1", RED), ("start_2", INK)):
        axes.plot(*certified[key], "o", ms=7, color=colour, mec="white", label=key.replace("_", " "))
    axes.set(xlabel="b1  (plateau)", ylabel="b2  (rate)", xlim=(-40, 290), ylim=(0.02, 1.7))
    axes.legend(fontsize=9, loc="upper left", framealpha=0.9)


def _digits(axes: Axes, curves: Any) -> None:
    order = sorted(
        curves, key=lambda name: (["lower", "average", "higher"].index(_level(curves, name)), name)
    )
    rows = {as_it_comes: [], scaled: []}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in order:
            certified = curves[name].meta["certified"]
            for fit, found in rows.items():
                found.append(digits(fit(*problem(curves[name]), certified["start_1"]), certified["estimate"]))
    place = np.arange(len(order))
    axes.hlines(place, 0, 11, color=GREY, lw=0.4, alpha=0.5)
    axes.plot(rows[as_it_comes], place, "o", color=RED, ms=5, label="curve_fit as it comes")
    axes.plot(rows[scaled], place, "D", color=BLUE, ms=4.5, label="scaled, trust region")
    axes.set_yticks(place, [f"{name} ({_level(curves, name)[0]})" for name in order], fontsize=7.5)
    axes.set(xlabel="correct digits of the worst parameter", xlim=(-0.3, 11.3), ylim=(-1, len(order)))
    axes.legend(frameon=True, fontsize=9, loc="lower left", bbox_to_anchor=(0.02, 0.02))


def _level(curves: Any, name: str) -> str:
    return curves[name].meta["certified"]["difficulty"]


FIGURES = {"chapter04b_curve_fitting": curve_fitting}
