"""The figure of Markov chains: two ways to walk, a line among outliers, a funnel and its divergences."""

from __future__ import annotations

import numpy as np
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import special

from statml import datasets, units
from statml.sampling import HMC, NUTS, Ensemble, Metropolis, ValueAndGradient, sample

Array = np.ndarray
RHO = 0.95


def mcmc() -> Figure:
    """Three panels."""
    figure = Figure(figsize=(11.2, 3.9), layout="constrained")
    figure.set_layout_engine("constrained", wspace=0.06)
    left, middle, right = figure.subplots(1, 3)
    _walks(left)
    _line(middle)
    _funnel(right)
    tidy(left, "a", "two ways to walk")
    tidy(middle, "b", "a line among outliers")
    tidy(right, "c", "a funnel, and where it diverges")
    return figure


def _walks(axes: Axes) -> None:
    precision = np.linalg.inv([[1, RHO], [RHO, 1]])
    target = ValueAndGradient(lambda x: (-0.5 * np.einsum("ij,jk,ik->i", x, precision, x), -x @ precision))
    grid = np.linspace(-3, 3, 200)
    points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    axes.contour(
        grid,
        grid,
        target(points).reshape(200, 200),
        levels=[-4.5, -2, -0.5],
        colors=GREY,
        linewidths=0.8,
        linestyles="solid",
    )
    start = [[-2.0, -2.0]]
    walk = sample(target, start, sampler=Metropolis(scale=0.35), draws=60, rng=3).draws[0]
    rolls = sample(target, start, sampler=HMC(step_size=0.25, duration=1.6), draws=15, warmup=0, rng=1).draws[
        0
    ]
    for path, colour, label in ((walk, RED, "60 Metropolis steps"), (rolls, BLUE, "15 trajectories")):
        path = np.concatenate([start, path])
        axes.plot(*path.T, "o-", color=colour, ms=3.5, lw=0.9, alpha=0.85, label=label)
    axes.plot(*start[0], "*", ms=13, color=GOLD, mec=INK, zorder=5)
    axes.set(xlim=(-3, 3), ylim=(-3, 3), xlabel="x", ylabel="y")
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def _line(axes: Axes) -> None:
    X, y, errors = units.from_table(datasets.load("hogg2010"), x="x", y="y")
    assert y is not None and errors.y_err is not None
    x, err = X[:, 0], errors.y_err

    def terms(p: Array) -> tuple[Array, Array]:
        slope, intercept, logit, mean, log_width = (value[..., None] for value in np.moveaxis(p, -1, 0))
        share = 0.5 * special.expit(logit)
        bad = err**2 + np.exp(2 * log_width)
        good = np.log1p(-share) - 0.5 * ((y - slope * x - intercept) / err) ** 2 - np.log(err)
        return good, np.log(share) - 0.5 * (y - mean) ** 2 / bad - 0.5 * np.log(bad)

    def log_prob(p: Array) -> Array:
        prior = -0.5 * ((p[..., 0] / 5) ** 2 + (p[..., 1] / 300) ** 2 + ((p[..., 3] - 400) / 300) ** 2)
        uniform = special.log_expit(p[..., 2]) + special.log_expit(-p[..., 2])
        return prior + uniform - 0.5 * (p[..., 4] - 5) ** 2 + np.logaddexp(*terms(p)).sum(axis=-1)

    start = [2.2, 30.0, 0.0, 400.0, 5.0] + 0.1 * np.random.default_rng(1).normal(size=(64, 5))
    draws = sample(log_prob, start, sampler=Ensemble(), draws=1500, warmup=1000, rng=2).flat
    good, bad = terms(draws)
    outlier = special.expit(bad - good).mean(axis=0)
    grid = np.array([0.0, 300.0])
    for slope, intercept in draws[:: len(draws) // 40, :2]:
        axes.plot(grid, slope * grid + intercept, color=BLUE, lw=0.7, alpha=0.3)
    axes.errorbar(x, y, err, fmt="none", ecolor=INK, lw=0.9)
    shown = axes.scatter(x, y, c=outlier, cmap="Greys", vmin=0, vmax=1, s=42, edgecolors=INK, zorder=3)
    bar = axes.figure.colorbar(shown, ax=axes, pad=0.02, aspect=30)
    bar.set_label("probability of being an outlier", fontsize=9)
    axes.set(xlabel="x", ylabel="y", xlim=(0, 300), ylim=(0, 720))


def _funnel(axes: Axes) -> None:
    def both(x: Array) -> tuple[Array, Array]:
        v, y = x[..., :1], x[..., 1:]
        square = np.exp(-v) * y**2
        value = -0.5 * (v[..., 0] / 3) ** 2 - 0.5 * square.sum(-1) - 2 * v[..., 0]
        slope = -v / 9 + 0.5 * square.sum(-1, keepdims=True) - 2
        return value, np.concatenate([slope, -np.exp(-v) * y], axis=-1)

    rng = np.random.default_rng(2)
    start = 0.5 * rng.normal(size=(16, 5))
    chain = sample(ValueAndGradient(both), start, sampler=NUTS(max_depth=7), draws=300, warmup=300, rng=3)
    v = 3 * rng.normal(size=1000)
    axes.plot(np.exp(v / 2) * rng.normal(size=1000), v, ".", ms=2, color=GREY, alpha=0.6)
    axes.plot(
        chain["theta[1]"].ravel()[::5], chain["theta[0]"].ravel()[::5], ".", ms=2, color=BLUE, alpha=0.6
    )
    lost = chain.statistics["diverging"]
    axes.plot(chain["theta[1]"][lost], chain["theta[0]"][lost], "o", ms=4, color=RED, mec="white", mew=0.4)
    for label, colour, size in (("exact", GREY, 5), ("centred chains", BLUE, 5), ("divergences", RED, 5)):
        axes.plot([], [], "o", color=colour, ms=size, label=label)
    axes.set(xlim=(-12, 12), ylim=(-11, 9), xlabel="x", ylabel="v,  x ~ N(0, exp(v))")
    axes.legend(frameon=False, fontsize=9, loc="lower left")


FIGURES = {"chapter13_mcmc": mcmc}
