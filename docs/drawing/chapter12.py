"""The figure of direct sampling: an envelope, weights, and what dimensions do to them."""

from __future__ import annotations

import numpy as np
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from statml.sampling import importance, rejection

EDGES, SLOPES = np.array([0.01, 0.08, 0.5, 1.0]), np.array([0.3, 1.3, 2.3])
# Kroupa (2001), continuous and normalised between 0.01 and 1 solar masses.
CONSTANTS = np.array([2.116218, 0.169297, 0.084649])


def log_density(m: np.ndarray) -> np.ndarray:
    """Kroupa's mass function."""
    piece = np.clip(np.searchsorted(EDGES, m, side="right") - 1, 0, 2)
    inside = (m >= 0.01) & (m <= 1)
    return np.where(inside, np.log(CONSTANTS[piece]) - SLOPES[piece] * np.log(np.abs(m)), -np.inf)


def sampling() -> Figure:
    """Three panels."""
    figure = Figure(figsize=(12.4, 4.1), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _envelope(left)
    _weights(middle)
    _dimensions(right)
    tidy(left, "a", "rejection: under an envelope")
    tidy(middle, "b", "importance: weights")
    tidy(right, "c", "a proposal 20 % too narrow")
    return figure


def _envelope(axes: Axes) -> None:
    m = np.linspace(0.01, 1, 2000)
    p, envelope = np.exp(log_density(m)), 2.2 * 4 * np.exp(-4 * m)
    kept = rejection(log_density, stats.expon(scale=0.25), np.log(2.2), 20_000, rng=1).draws
    axes.fill_between(m, p, envelope, color=GREY, alpha=0.25, lw=0, label="thrown away")
    axes.hist(kept, bins=60, range=(0.01, 1), density=True, color=BLUE, alpha=0.35, label="20 000 draws")
    axes.plot(m, envelope, color=RED, lw=1.8, label="2.2 q,  q = 4 exp(-4m)")
    axes.plot(m, p, color=BLUE, lw=1.8, label="Kroupa's p(m)")
    axes.annotate(
        "they nearly touch\nat 0.01",
        (0.013, 8.35),
        (0.1, 8.0),
        fontsize=9,
        arrowprops={"arrowstyle": "-", "lw": 0.7},
    )
    axes.set(xlabel="mass [solar masses]", ylabel="density", xlim=(0, 1), ylim=(0, 9))
    axes.legend(frameon=False, fontsize=9, loc="center right")


def _weights(axes: Axes) -> None:
    for name, q, colour in (
        ("uniform", stats.uniform(0.01, 0.99), GOLD),
        ("exponential, rate 5", stats.truncexpon(b=0.99 * 5, loc=0.01, scale=0.2), BLUE),
    ):
        drawn = importance(log_density, q, 3000, rng=2)
        label = f"{name}: n_eff / n = {drawn.ess / len(drawn):.2f}"
        axes.semilogy(drawn.draws, np.exp(drawn.log_weights), ".", ms=2.5, color=colour, alpha=0.7)
        axes.plot([], [], "o", color=colour, label=label)
    axes.axhline(1, color=INK, lw=0.7)
    axes.set(xlabel="mass [solar masses]", ylabel="weight p / q", xlim=(0, 1), ylim=(0.05, 20))
    axes.legend(frameon=False, fontsize=9)


def _dimensions(axes: Axes) -> None:
    dimensions = np.array([1, 2, 3, 5, 8, 12, 20, 30, 45, 65, 90])
    fractions, shapes = [], []
    for d in dimensions:
        target = stats.multivariate_normal(np.zeros(d), np.eye(d))
        drawn = importance(
            target.logpdf, stats.multivariate_normal(np.zeros(d), 0.64 * np.eye(d)), 20_000, rng=3
        )
        fractions.append(drawn.ess / len(drawn))
        shapes.append(drawn.pareto_k)
    axes.semilogy(dimensions, fractions, "o-", color=BLUE, ms=4, label="n_eff / n (left)")
    axes.set(xlabel="dimensions", ylabel="effective fraction", ylim=(1e-4, 1.5), xlim=(0, 92))
    other = axes.twinx()
    other.plot(dimensions, shapes, "s-", color=RED, ms=4, label="Pareto k (right)")
    other.axhline(0.7, color=RED, lw=0.8, ls=":")
    other.text(91, 0.72, "0.7: not reliable above", color=RED, fontsize=8.5, ha="right")
    other.set_ylim(0, 1.5)
    other.set_ylabel("Pareto k")
    other.spines["top"].set_visible(False)
    other.tick_params(labelsize=9)
    lines = [*axes.get_lines(), other.get_lines()[0]]
    axes.legend(lines, [str(line.get_label()) for line in lines], frameon=False, fontsize=9, loc="lower left")


FIGURES = {"chapter12_sampling": sampling}
