"""The figure of chapter 3: intervals, inverse covariances, clustered points, rings."""

from __future__ import annotations

import numpy as np
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from statml.statistics import bootstrap, field_correlation, hartlap_factor, two_point

Array = np.ndarray
WIDTH, PARENTS = 0.015, 80


def summary_statistics() -> Figure:
    """Four panels, all synthetic."""
    figure = Figure(figsize=(9.6, 7.6), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    _coverage(panels[0])
    _inverses(panels[1])
    _points(panels[2])
    _rings(panels[3])
    titles = (
        "90 % intervals of a variance",
        "covariances of ten numbers, inverted",
        "clustered points",
        "fields with rings of radius 5",
    )
    for letter, axes, title in zip("abcd", panels, titles):
        tidy(axes, letter, title)
    return figure


def _coverage(axes: Axes) -> None:
    rng, sizes = np.random.default_rng(1), np.array([15, 30, 60, 120])
    styles = (("bca", BLUE, "BCa"), ("basic", GOLD, "basic"), ("percentile", RED, "percentile"))
    held: dict[str, list[float]] = {method: [] for method, _, _ in styles}
    for n in sizes:
        intervals = [bootstrap(_variance, rng.normal(size=n), size=300, rng=rng) for _ in range(500)]
        for method in held:
            ends = np.array([each.interval(0.9, method=method) for each in intervals])[:, :, 0]  # type: ignore[arg-type]
            held[method].append(float(np.mean((ends[:, 0] <= 1) & (ends[:, 1] >= 1))))
    axes.axhline(0.9, color=GREY, lw=1, ls="--")
    for shift, (method, colour, name) in zip((0.97, 1.0, 1.03), styles):
        share = np.array(held[method])
        axes.errorbar(
            sizes * shift,
            share,
            np.sqrt(share * (1 - share) / 500),
            fmt="o-",
            color=colour,
            lw=1.4,
            ms=4,
            label=name,
        )
    axes.set(
        xscale="log",
        xlabel="numbers in the sample",
        ylabel="intervals that hold the truth",
        ylim=(0.65, 0.95),
    )
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=9, loc="lower right")


def _variance(x: Array) -> float:
    return float(np.dot(x, x) / len(x) - (x.sum() / len(x)) ** 2)


def _inverses(axes: Axes) -> None:
    rng, p = np.random.default_rng(2), 10
    sizes = np.array([14, 16, 20, 30, 50, 100, 200])
    raw = []
    for n in sizes:
        inverses = [np.linalg.inv(np.cov(rng.normal(size=(n, p)).T)) for _ in range(800)]
        raw.append(
            [
                np.mean(np.trace(inverses, axis1=1, axis2=2)) / p,
                np.std(np.trace(inverses, axis1=1, axis2=2)) / p,
            ]
        )
    mean, scatter = np.array(raw).T / 1.0
    factor = np.array([hartlap_factor(int(n), p) for n in sizes])
    axes.axhline(1, color=GREY, lw=1, ls="--")
    axes.errorbar(sizes, mean, scatter / np.sqrt(800), fmt="o", color=RED, ms=4, label="inverse as it is")
    fine = np.linspace(12.6, 220, 600)
    axes.plot(fine, (fine - 1) / (fine - p - 2), color=RED, lw=1.2)
    axes.errorbar(
        sizes,
        mean * factor,
        factor * scatter / np.sqrt(800),
        fmt="s",
        color=BLUE,
        ms=4,
        label="with Hartlap's factor",
    )
    axes.axvspan(10, 12, color=GREY, alpha=0.3, lw=0)
    axes.text(11, 3.4, "refused", rotation=90, ha="center", color=INK, fontsize=9)
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(10, 230),
        ylim=(0.7, 9),
        xlabel="realisations N",
        ylabel="mean chi-square / truth",
    )
    axes.set_yticks([1, 2, 5], ["1", "2", "5"])
    axes.set_xticks([20, 50, 100, 200], ["20", "50", "100", "200"])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=9)


def _points(axes: Axes) -> None:
    rng, edges = np.random.default_rng(6), np.array([0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.065, 0.085, 0.12])
    centres = rng.uniform(-0.1, 1.1, (rng.poisson(PARENTS * 1.44), 2))
    points = np.repeat(centres, rng.poisson(6, len(centres)), axis=0)
    points = points + WIDTH * rng.normal(size=points.shape)
    points = points[np.all((points > 0) & (points < 1), axis=1)]
    found = two_point(points, rng.random((6000, 2)), edges, regions=25)
    r = np.linspace(0, 0.12, 200)
    axes.plot(
        r,
        np.exp(-(r**2) / (4 * WIDTH**2)) / (4 * np.pi * WIDTH**2 * PARENTS),
        color=INK,
        lw=1.4,
        label="truth",
    )
    axes.errorbar(
        found.separation, found.xi, found.std, fmt="o", color=BLUE, ms=4, lw=1.4, label="25 regions"
    )
    axes.errorbar(
        found.separation + 0.0018,
        found.xi,
        found.poisson_std,
        fmt="none",
        ecolor=RED,
        lw=2,
        label="Poisson errors",
    )
    axes.axhline(0, color=GREY, lw=0.8)
    axes.set(xlabel="separation", ylabel=r"$\xi$", xlim=(0, 0.115))
    axes.legend(frameon=False, fontsize=9)
    inner = axes.inset_axes((0.58, 0.24, 0.4, 0.44))
    inner.plot(*points.T, ".", color=INK, ms=1)
    inner.set(xticks=[], yticks=[], aspect="equal", xlim=(0, 1), ylim=(0, 1))


def _rings(axes: Axes) -> None:
    rng, grid = np.random.default_rng(7), np.arange(64)
    every, last = [], np.zeros((64, 64))
    for _ in range(400):
        last = rng.normal(5, 1, (64, 64))
        for x, y in rng.uniform(6, 58, (2, 2)):
            last += 1.5 * np.exp(-2 * (np.hypot(grid - x, (grid - y)[:, None]) - 5) ** 2)
        every.append(field_correlation(last, np.arange(0.5, 15)).xi)
    xi, r = np.array(every), np.arange(1, 15)
    axes.fill_between(
        r, *np.quantile(xi, [0.16, 0.84], axis=0), color=GREY, alpha=0.3, lw=0, label="68 % of single fields"
    )
    axes.errorbar(
        r, xi.mean(axis=0), xi.std(axis=0) / 20, fmt="o-", color=BLUE, ms=4, lw=1.4, label="mean of 400"
    )
    fine = np.linspace(2.5, 9.93, 200)
    thin = 1 / (fine * np.sqrt(100 - fine**2))
    axes.plot(
        fine, 0.0034 * thin / thin[np.argmin(np.abs(fine - 7))], color=RED, lw=1.3, label="thin ring, scaled"
    )
    axes.axhline(0, color=GREY, lw=0.8)
    axes.set(xlabel="separation [pixels]", ylabel=r"$\xi$", ylim=(-0.011, 0.027), xlim=(0.5, 14.5))
    axes.legend(frameon=False, fontsize=9, loc="upper right", bbox_to_anchor=(1, 1))
    inner = axes.inset_axes((0.18, 0.58, 0.3, 0.4))
    inner.imshow(last, cmap="Greys", origin="lower")
    inner.set(xticks=[], yticks=[])


FIGURES = {"chapter03_summary_statistics": summary_statistics}
