"""The picture of the paper's claim: 42 elements ordered by what makes them, and the stars beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from statml.errors import DataNotFoundError
from statml.research.abundances.channels import CCSN, CHANNELS, Element, load_elements
from statml.research.abundances.correlation import correlation_matrix
from statml.research.abundances.environment import Environment
from statml.research.abundances.kernel import kernel
from statml.research.abundances.r_process import RProcessPosterior, infer_r_process
from statml.research.abundances.samples import load_sample
from statml.research.abundances.stellar import predictions, score

INK, BLUE, RED, GREY, GOLD = "#22252b", "#1b4f9c", "#c8553d", "#8a8f98", "#e0a030"
NAMES = {"ccsn": "massive stars", "agb": "AGB", "snia": "SN Ia"}


def figure() -> Figure:
    """The matrix ordered by channel; with third-party tables also the stars, and the posterior of Eu.

    Returns
    -------
    matplotlib.figure.Figure
    """
    try:
        sample = load_sample("mead25")
        load_elements()[0].production  # noqa: B018  (the curves are a table of their own)
    except DataNotFoundError:
        drawn = Figure(figsize=(11.5, 5.2), layout="constrained")
        left, right = drawn.subplots(1, 2, width_ratios=(1.25, 1))
        matrix(left)
        scales(right)
        return drawn
    drawn = Figure(figsize=(12.5, 7.3), layout="constrained")
    grid = drawn.add_gridspec(2, 2, width_ratios=(1.45, 1))
    matrix(drawn.add_subplot(grid[:, 0]))
    upper, lower = drawn.add_subplot(grid[0, 1]), drawn.add_subplot(grid[1, 1])
    stars(upper, "full delays")
    r_process(lower, infer_r_process(sample, "Eu"))
    return drawn


def by_channel(elements: list[Element]) -> list[Element]:
    """Elements of one largest channel together, the purest first; those of AGB stars by delay."""
    ccsn, agb, snia = CHANNELS
    order = {ccsn: 0, snia: 1, agb: 2}

    def key(element: Element) -> tuple[int, float]:
        channel, fraction, delay = max(element.contributions, key=lambda each: each[1])
        return order[channel], delay if channel == agb else -fraction

    return sorted(elements, key=key)


def matrix(axes: Axes, drift: str = "isotropic") -> None:
    """All 861 correlations, elements ordered by channel."""
    elements = by_channel(load_elements())
    rho = correlation_matrix(elements, Environment.fiducial(), drift=drift)
    shown = axes.imshow(rho.values, cmap="YlGnBu", vmin=0, vmax=1)
    n = len(elements)
    axes.set_xticks(range(n), rho.symbols, rotation=90, fontsize=7)
    axes.set_yticks(range(n), rho.symbols, fontsize=7)
    axes.tick_params(length=0)
    largest = [max(e.fractions.items(), key=lambda item: item[1])[0].name for e in elements]
    start = 0
    for i in range(1, n + 1):
        if i == n or largest[i] != largest[start]:
            axes.add_patch(_square(start, i))
            axes.text(
                (start + i) / 2 - 0.5, start - 1.0, NAMES[largest[start]], ha="center", fontsize=9, color=RED
            )
            start = i
    axes.spines[:].set_visible(False)
    assert axes.figure is not None
    axes.figure.colorbar(shown, ax=axes, shrink=0.7, pad=0.015, label="correlation")
    axes.set_title(f"42 elements, {drift} drift", fontsize=11, loc="left", pad=20)


def _square(start: int, end: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((start - 0.5, start - 0.5), end - start, end - start, fill=False, ec=RED, lw=1.4)


def scales(axes: Axes) -> None:
    """How the metals of massive stars and of AGB stars decorrelate with separation."""
    env, r = Environment.fiducial(), np.geomspace(1, 3000, 200) * u.pc
    for (name, channel, delay), colour in zip(
        [("massive stars, 10 Myr", CCSN, 10), ("AGB stars, 600 Myr", CHANNELS[1], 600)], (BLUE, RED)
    ):
        xi = kernel(channel, delay * u.Myr, channel, delay * u.Myr, env, r)
        at_zero = kernel(channel, delay * u.Myr, channel, delay * u.Myr, env)
        axes.semilogx(r.value, xi / at_zero, color=colour, lw=2, label=name)
    axes.axvline(1000, color=GREY, lw=0.8, ls=":")
    axes.set(xlabel="separation [pc]", ylabel="correlation", ylim=(0, 1.02))
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def stars(axes: Axes, theory: str = "full delays", name: str = "mead25") -> None:
    """Predicted against observed correlations of pairs, beside a baseline without physics."""
    known, predicted = predictions(load_sample(name))
    upper = np.triu_indices(len(known.symbols), 1)
    for which, colour, marker in (("cosine", GOLD, "s"), (theory, BLUE, "o")):
        found = score(known, which, predicted[which])
        said = "channel fractions alone" if which == "cosine" else f"theory, {which}"
        label = f"{said}: r = {found.r:.2f} ± {found.r_err:.2f}, rms {found.rms:.2f}"
        axes.plot(
            known.values[upper],
            predicted[which][upper],
            marker,
            ms=3.5,
            color=colour,
            alpha=0.65,
            mew=0,
            label=label,
        )
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.8)
    axes.set(
        xlim=(0, 1.03), ylim=(0, 1.24), yticks=np.linspace(0, 1, 6), xlabel="observed", ylabel="predicted"
    )
    axes.set_title("79 stars (Mead et al. 2025), 231 pairs", fontsize=11, loc="left")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left", handletextpad=0.2)
    axes.spines[["top", "right"]].set_visible(False)


def r_process(axes: Axes, posterior: RProcessPosterior) -> None:
    """Delay and number of events of an element, with 68 and 95 % regions."""
    delay, events = posterior.grid["delay"], posterior.grid["events"]
    joint = posterior.joint("delay", "events")
    density = np.sort(joint.ravel())[::-1]
    levels = [density[np.searchsorted(np.cumsum(density), level)] for level in (0.95, 0.68)]
    axes.contourf(delay, events, joint.T, levels=[*levels, joint.max()], colors=["#c9d6ea", "#7f9fcf"])
    axes.contour(delay, events, joint.T, levels=levels, colors=BLUE, linewidths=0.8)
    axes.set(xscale="log", yscale="log", xlabel="delay [Myr]", ylabel="events per cluster")
    axes.set_xlim(delay[0], delay[-1])
    axes.set_title(f"{posterior.symbol}: 68 and 95 % regions", fontsize=11, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
