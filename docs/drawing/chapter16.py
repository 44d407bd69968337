"""Chapter 16: beta in the likelihood, real stars, what an ensemble disagrees about, coverage."""

from __future__ import annotations

from typing import Any

import numpy as np
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from statml import datasets
from statml.neural import DeepEnsemble, MLPRegressor, Training
from statml.uncertainty import Recalibrated, pit

Array = np.ndarray


def networks() -> Figure:
    """The four panels."""
    figure = Figure(figsize=(8.6, 6.2), layout="constrained")
    (top_left, top_right), (low_left, low_right) = figure.subplots(2, 2)
    _sine(top_left)
    X, teff, err = _stars()
    inside = (teff >= 4000) & (teff <= 7000)
    order = np.random.default_rng(0).permutation(np.flatnonzero(inside))
    train, test, strange = order[:2000], order[2000:], np.flatnonzero(~inside)
    training = Training(epochs=60, batch_size=128, learning_rate=3e-3, schedule="one_cycle")
    network = MLPRegressor((64, 64), training=training)
    ensemble = DeepEnsemble(network, members=4, random_state=0).fit(X[train], teff[train], y_err=err[train])
    held = ensemble.predict_dist(X[test], y_err=err[test])
    _temperatures(top_right, teff[test], held)
    _strangers(low_left, (teff[test], held), (teff[strange], ensemble.predict_dist(X[strange])))
    _coverage(low_right, held, teff[test])
    for axes, letter, title in (
        (top_left, "a", "beta = 0 gives up on what it calls noise"),
        (top_right, "b", "temperatures of stars held out"),
        (low_left, "c", "what the members disagree about"),
        (low_right, "d", "coverage of stars held out"),
    ):
        tidy(axes, letter, title)
    return figure


def _stars() -> tuple[Array, Array, Array]:
    stars = datasets.load("gaia_xp")
    flux = np.array(stars["flux"])[:, 28:328]
    X = np.arcsinh(flux / 0.1).reshape(len(flux), 60, 5).mean(axis=2)
    return X, np.array(stars["teff"]), np.array(stars["teff_err"])


def _sine(axes: Axes) -> None:
    t = np.random.default_rng(0).uniform(0, 1, 1000)
    wave = np.sin(8 * np.pi * t) + 0.02 * np.random.default_rng(1).normal(size=1000)
    grid = np.linspace(0, 1, 300)
    training = Training(epochs=200, batch_size=100, learning_rate=3e-3, schedule="one_cycle")
    axes.plot(t[::4], wave[::4], ".", ms=3, color=GREY, label="data")
    for beta, colour in ((0.0, RED), (1.0, BLUE)):
        network = MLPRegressor((64, 64), beta=beta, training=training, random_state=0).fit(t[:, None], wave)
        p = network.predict_dist(grid[:, None])
        axes.fill_between(grid, p.mean - p.std, p.mean + p.std, color=colour, alpha=0.18, lw=0)
        axes.plot(grid, p.mean, color=colour, lw=1.6, label=f"beta = {beta:.0f}")
    axes.set(xlabel="x", ylabel="y", ylim=(-2.6, 2.6), xlim=(0, 1))
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="upper center")


def _temperatures(axes: Axes, teff: Array, p: Any) -> None:
    axes.plot([3900, 7100], [3900, 7100], color=INK, lw=0.8)
    axes.plot(teff[::3], p.mean[::3], ".", ms=3, color=GREY)
    some = slice(None, None, 12)
    axes.errorbar(
        teff[some], p.mean[some], p.std[some], fmt="o", ms=3.5, color=BLUE, ecolor=BLUE, elinewidth=0.9
    )
    axes.set(
        xlabel="temperature by APOGEE  [K]",
        ylabel="from the XP spectrum  [K]",
        xlim=(3900, 7100),
        ylim=(3600, 7300),
    )


def _strangers(axes: Axes, known: tuple[Array, Any], unknown: tuple[Array, Any]) -> None:
    axes.axvspan(4000, 7000, color="0.93", lw=0)
    for (teff, p), colour, label in ((known, GREY, "held out"), (unknown, RED, "beyond the training range")):
        axes.plot(
            teff[::3], np.sqrt(p.variance_components["parameter"][::3]), ".", ms=4, color=colour, label=label
        )
    axes.set(
        xscale="log", yscale="log", xlabel="temperature by APOGEE  [K]", ylabel="spread between members  [K]"
    )
    axes.set_xticks(
        [3500, 5000, 7000, 10000, 15000, 20000], ["3500", "5000", "7000", "10000", "15000", "20000"]
    )
    axes.set_xticks([], minor=True)
    axes.legend(frameon=False, fontsize=9, loc="upper right")


def _coverage(axes: Axes, p: Any, teff: Array) -> None:
    levels = np.linspace(0.02, 0.98, 49)
    new = slice(500, None)
    ranks = pit(p[:500], teff[:500])
    error = 3 * np.sqrt(levels * (1 - levels) * (1 / len(teff[new]) + 1 / 500))
    axes.fill_between(levels, -error, error, color="0.9", lw=0, label="3 sigma of a calibrated one")
    for u, colour, label in (
        (pit(p[new], teff[new]), RED, "raw"),
        (pit(Recalibrated(p[new], ranks), teff[new]), BLUE, "recalibrated"),
    ):
        seen = np.array([np.mean(np.abs(u - 0.5) <= level / 2) for level in levels])
        axes.plot(levels, seen - levels, color=colour, lw=2, label=label)
    axes.axhline(0, color=GOLD, lw=1)
    axes.set(xlabel="nominal coverage", ylabel="observed minus nominal", xlim=(0, 1))
    axes.legend(frameon=False, fontsize=9, loc="lower left")


FIGURES = {"chapter16_networks": networks}
