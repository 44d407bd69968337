"""Simulated maps of metals against their theory, and the coverage of fitted correlation lengths."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from statml import datasets
from statml.research.abundances import (
    Channel,
    CorrelationLength,
    Element,
    Environment,
    Window,
    covariance,
    fit_correlation_length,
    simulate,
)

Array = np.ndarray
PIXEL = 31.25 * u.pc
EDGES = np.array([1.5, 2.5, 3.5, 5, 7, 10, 14, 20, 28, 40, 56, 76, 96]) * PIXEL
TRUTH = 1e6 - 3579.5  # kappa (t_star - 10 Myr) in pc^2
FIELDS = 80


def simulation() -> Figure:
    """Four panels, all synthetic."""
    figure = Figure(figsize=(9.0, 7.4), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    _maps(panels[0], panels[1])
    full, short = _fits()
    _intervals(panels[2], full, short)
    _coverage(panels[3], full, short)
    titles = (
        "a metal, made at once",
        "theory and simulation",
        "one field each",
        "200 held-out fields: 80 of them",
    )
    for letter, axes, title in zip("abcd", panels, (*titles[:3], f"{FIELDS} held-out fields")):
        tidy(axes, letter, title)
    return figure


def _maps(picture: Axes, curves: Axes) -> None:
    env = Environment(
        1 * u.kpc**2 / u.Gyr,
        t_star=1 * u.Gyr,
        cluster_rate=200 / u.kpc**2 / u.Gyr,
        mass_scatter2=1.0,
        drift=3 * u.kpc / u.Gyr,
    )
    channel = Channel("wide", 0.1 * u.kpc)
    fast, slow = (
        Element(name, {channel: 1.0}, {channel: t * u.Gyr}) for name, t in (("A", 0.0), ("B", 0.15))
    )
    fields = simulate(env, [fast, slow], box=8 * u.kpc, grid=256, realisations=40, rng=1, progress=False)
    picture.imshow(
        fields.maps[0, 0, 0],
        cmap=colormaps["viridis"].resampled(20),
        interpolation="nearest",
        origin="lower",
        extent=(0, 8, 0, 8),
    )
    picture.set(xlabel="kpc", ylabel="kpc")
    r, fine = np.array([0.0, 0.1, 0.2, 0.35, 0.6, 1.0, 1.5]) * u.kpc, np.linspace(0, 1.6, 100) * u.kpc
    found = fields.cross_correlation(r)
    for (i, j), colour, name in (((0, 0), BLUE, "A with A"), ((0, 1), RED, "A with B, made later")):
        pair = ((fast, slow)[i], (fast, slow)[j])
        curves.plot(fine, covariance(*pair, env, fine), color=colour, lw=1.4)
        curves.errorbar(
            r,
            found.mean[i, j] + fields.missing_variance[i, j],
            found.std_error[i, j],
            fmt="o",
            color=colour,
            ms=4,
            label=name,
        )
    released = covariance(fast, slow, env, drift="aligned")
    curves.plot(0, released, "x", color=GOLD, ms=8, mew=2, clip_on=False, label="A with B, released kernel")
    curves.set(
        xlabel="separation [kpc]", ylabel=r"covariance [$(m/L_0^2)^2$]", ylim=(0, None), xlim=(-0.03, 1.6)
    )
    curves.legend(frameon=False, fontsize=9)


def _fits() -> tuple[list[CorrelationLength], list[CorrelationLength]]:
    """With the covariance of mocks and the integral constraint, and with neither."""
    table = datasets.load("correlation_length_mocks")
    xi = np.stack([table[f"xi_{b}"] for b in range(12)], axis=1) / np.asarray(table["variance"])[:, None]
    window = Window.of_grid(np.ones((192, 192)), PIXEL, EDGES)
    sep, cov = (window.pairs @ window.separation) * u.pc, np.cov(xi[:600].T)
    full = [
        fit_correlation_length(sep, each, cov=cov, realisations=600, window=window, rng=0)
        for each in xi[600 : 600 + FIELDS]
    ]
    errors = np.sqrt(np.diag(cov))
    short = [fit_correlation_length(sep, each, err=errors, rng=0) for each in xi[600 : 600 + FIELDS]]
    return full, short


def _intervals(axes: Axes, full: list[CorrelationLength], short: list[CorrelationLength]) -> None:
    order = np.argsort([each.quantile("l_corr", 0.5).value for each in full[:20]])
    for row, number in enumerate(order):
        for fits, colour, shift in ((full, BLUE, 0.0), (short, RED, 0.35)):
            low, middle, high = fits[number].quantile("l_corr", [0.16, 0.5, 0.84]).to_value(u.kpc)
            axes.plot([low, high], [row + shift] * 2, color=colour, lw=2)
            axes.plot(middle, row + shift, "o", color=colour, ms=3)
    axes.axvline(np.sqrt(TRUTH) / 1000, color=INK, lw=1, ls="--")
    axes.set(xscale="log", xlabel="correlation length [kpc], 68 %", ylabel="field", yticks=[], xlim=(0.25, 6))
    axes.set_xticks([0.3, 0.5, 1, 2, 5], ["0.3", "0.5", "1", "2", "5"])
    axes.minorticks_off()


def _coverage(axes: Axes, full: list[CorrelationLength], short: list[CorrelationLength]) -> None:
    levels = np.linspace(0, 1, 101)
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    error = np.sqrt(levels * (1 - levels) / FIELDS)
    axes.fill_between(levels, levels - error, levels + error, color=GREY, alpha=0.25, lw=0)
    names = ("covariance of mocks, integral constraint", "diagonal errors, mean taken as known")
    for fits, colour, name in zip((full, short), (BLUE, RED), names):
        off = np.array([2 * abs(each.probability_below("kappa_t", TRUTH * u.pc**2) - 0.5) for each in fits])
        axes.plot(levels, [(off <= level).mean() for level in levels], color=colour, lw=1.6, label=name)
    axes.set(xlabel="stated probability", ylabel="intervals that hold the truth", xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False, fontsize=9, loc="upper left")


FIGURES = {"abundances_simulation": simulation}
