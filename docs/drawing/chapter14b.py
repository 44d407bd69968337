"""The figures of light curves: state-space processes, and a pulsating star in four bands."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from statml import datasets
from statml.gp import DRW, SHO, StateSpaceGP

Array = np.ndarray
STAR = 4947744


def state_space() -> Figure:
    """Three panels, synthetic."""
    figure = Figure(figsize=(11.2, 3.8), layout="constrained")
    figure.set_layout_engine("constrained", wspace=0.06)
    left, middle, right = figure.subplots(1, 3)
    _walk(left)
    _oscillators(middle)
    _lengths(right)
    tidy(left, "a", "a damped random walk")
    tidy(middle, "b", "one oscillator, three qualities")
    tidy(right, "c", "how long is long enough?")
    return figure


def _walk(axes: Axes) -> None:
    rng = np.random.default_rng(5)
    grid = np.linspace(0, 300, 900)
    truth = StateSpaceGP(DRW(0.2, 30.0)).sample_prior(grid, rng=8)[0]
    seen = np.sort(rng.choice(np.r_[0:330, 500:820], 60, replace=False))
    t, y = grid[seen], truth[seen] + 0.03 * rng.normal(size=60)
    p = StateSpaceGP(DRW(0.1, 10.0), scatter=0.0, random_state=0).fit(t, y, y_err=0.03).predict_dist(grid)
    for level, alpha in ((0.95, 0.15), (0.68, 0.25)):
        axes.fill_between(grid, *p.interval(level), color=BLUE, alpha=alpha, lw=0)
    axes.plot(grid, truth, color=GREY, lw=0.8)
    axes.plot(grid, p.mean, color=BLUE, lw=1.4)
    axes.errorbar(t, y, 0.03, fmt=".", color=INK, ms=3.5, lw=0.7)
    axes.set(xlabel="time [d]", ylabel="magnitude")


def _oscillators(axes: Axes) -> None:
    lag = np.linspace(0, 4, 400)
    for quality, colour in ((0.2, GOLD), (0.5, RED), (5.0, BLUE)):
        name = "  (Matérn 3/2)" if quality == 0.5 else ""
        axes.plot(
            lag,
            SHO(1.0, 1.0, quality)(lag, [0.0])[:, 0],
            color=colour,
            lw=1.6,
            label=f"Q = {quality:g}{name}",
        )
    axes.axhline(0, color=GREY, lw=0.6)
    axes.set(xlabel="lag [undamped periods]", ylabel="correlation")
    axes.legend(frameon=False, fontsize=9)


def _lengths(axes: Axes) -> None:
    rng = np.random.default_rng(14)
    for place, span in enumerate((2, 5, 10, 30, 100)):
        found = []
        for _ in range(60):
            t = np.sort(rng.uniform(0, span, 100))
            y = StateSpaceGP(DRW(1.0, 1.0)).sample_prior(t, rng=rng)[0] + 0.05 * rng.normal(size=100)
            gp = StateSpaceGP(DRW(1.0, 1.0), mean="constant", scatter=0.0, restarts=0).fit(t, y, y_err=0.05)
            found.append(min(gp.kernel_.tau, 20.0))
        axes.plot(place + rng.uniform(-0.16, 0.16, 60), found, ".", color=BLUE, ms=4, alpha=0.45, mec="none")
        axes.plot(
            [place - 0.3, place + 0.3],
            [np.median(found)] * 2,
            color=RED,
            lw=2,
            label="median" if not place else None,
        )
    axes.axhline(1, color=INK, lw=0.8, ls=":")
    axes.set_yscale("log")
    axes.set_xticks(range(5), ["2", "5", "10", "30", "100"])
    axes.set_yticks([0.1, 1, 10, 20], ["0.1", "1", "10", "> 20"])
    axes.minorticks_off()
    axes.set(xlabel="length of the series / true damping time", ylabel="fitted / true damping time")
    axes.legend(frameon=False, fontsize=9, loc="upper right")


def rr_lyrae() -> Figure:
    """Two panels, real data (needs the light curves of Stripe 82)."""
    table = datasets.load("rr_lyrae_light_curves")
    table = table[(table["id"] == STAR) & (table["band"] != "u")]
    t, mag, err = (np.asarray(table[name], float) for name in ("mjd", "mag", "mag_err"))
    band = np.array(["griz".index(b) for b in table["band"]])
    period = float(table["period"][0])
    shape = reduce(add, [SHO(0.3 / k, period / k, 1e5).fixed("period", "quality") for k in (1, 2, 3, 4, 5)])
    pulsation = StateSpaceGP(shape, mean="constant", loadings=np.ones((4, 1)), restarts=0)
    pulsation.fit(t, mag, y_err=err, bands=band)
    figure = Figure(figsize=(9.6, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    _folded(left, t, mag, err, band, period, pulsation)
    _weeks(right, t, mag, err, band, pulsation)
    tidy(left, "a", f"RR Lyrae star {STAR} of Stripe 82")
    tidy(right, "b", "the pulsation, and a random walk")
    return figure


def _folded(
    axes: Axes, t: Array, mag: Array, err: Array, band: Array, period: float, gp: StateSpaceGP
) -> None:
    grid = np.linspace(t.mean(), t.mean() + period, 300)
    phase = grid / period % 1
    order = np.argsort(phase)
    for b, (name, colour) in enumerate(zip("griz", (BLUE, GOLD, RED, INK))):
        shift = (0.0, 0.4, 0.75, 1.1)[b]
        own = band == b
        axes.errorbar(t[own] / period % 1, mag[own] + shift, err[own], fmt=".", color=colour, ms=2.6, lw=0.5)
        p = gp.predict_dist(grid, bands=np.full(300, b))[order]
        low, high = p.interval(0.95)
        axes.fill_between(phase[order], low + shift, high + shift, color=colour, alpha=0.25, lw=0)
        label = name if not shift else f"{name} + {shift:g}"
        axes.text(1.01, p.mean[-1] + shift, label, color=colour, fontsize=9.5, va="center")
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.12), xlabel="phase", ylabel="magnitude")


def _weeks(axes: Axes, t: Array, mag: Array, err: Array, band: Array, gp: StateSpaceGP) -> None:
    own = band == 1
    times = np.sort(t[own])
    # where twenty days hold most observations
    first = max(times, key=lambda start: np.sum((times >= start) & (times < start + 20)))
    grid = np.linspace(first - 1, first + 12, 1500)
    walk = StateSpaceGP(DRW(0.3, 10.0), mean="constant", random_state=0).fit(t[own], mag[own], y_err=err[own])
    for p, colour, label in (
        (walk.predict_dist(grid), RED, "damped random walk"),
        (gp.predict_dist(grid, bands=np.ones(1500, int)), BLUE, "pulsation"),
    ):
        axes.fill_between(grid - first, *p.interval(0.68), color=colour, alpha=0.25, lw=0)
        axes.plot(grid - first, p.mean, color=colour, lw=1.1, label=label)
    some = own & (t > grid[0]) & (t < grid[-1])
    axes.errorbar(t[some] - first, mag[some], err[some], fmt="o", color=INK, ms=4, lw=0.8, zorder=4)
    axes.invert_yaxis()
    axes.set(xlabel=f"days since MJD {first:.0f}", ylabel="r magnitude")
    axes.legend(frameon=False, fontsize=9, loc="upper right", ncols=2)


FIGURES = {"chapter14b_state_space": state_space, "chapter14b_rr_lyrae": rr_lyrae}
