"""The figure of chapter 8: five classes of stars, their confusion, reliability, sets of classes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from statml import datasets, units
from statml.classification import SoftmaxRegression, confusion_matrix, proportion, reliability
from statml.classification.report import draw_confusion
from statml.uncertainty import Categorical

Array = np.ndarray
COLOURS = {"bright giant": RED, "giant": GOLD, "subgiant": GREY, "dwarf": INK, "hot": BLUE}


class Stars(NamedTuple):
    """Spectra (n, pixels) with their errors, wavelengths, classes, and which rows train and test."""

    flux: Array
    flux_err: Array
    wavelength: Array
    kind: Array
    train: Array
    test: Array


def multiclass() -> Figure:
    """Four panels, all of them real stars."""
    figure = Figure(figsize=(9.6, 7.6), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    stars = _stars()
    twelve, eight = _prediction(stars, 12), _prediction(stars, 8)
    _spectra(panels[0], stars)
    draw_confusion(panels[1], confusion_matrix(twelve, stars.kind[stars.test]), twelve.classes)
    panels[1].set_xticks(range(5), [str(name).replace(" ", "\n") for name in twelve.classes], fontsize=9)
    _reliability(panels[2], stars, {"eight bands": (RED, eight), "twelve bands": (BLUE, twelve)})
    _sets(panels[3], stars, twelve)
    titles = ("five classes of stars", "which are confused", "is the best class right?", "sets of classes")
    for letter, axes, title in zip("abcd", panels, titles):
        tidy(axes, letter, title)
    return figure


def _stars() -> Stars:
    table = datasets.load("gaia_xp")
    table = table[(table["teff"] > 3500) & (table["teff"] < 9000)]
    flux, logg, errors = units.from_table(table, x="flux", y="logg")
    assert logg is not None and errors.X_err is not None
    kind = np.select(
        [np.asarray(table["teff"]) > 6500, logg > 4.1, logg > 3.4, logg > 2.0],
        ["hot", "dwarf", "subgiant", "giant"],
        "bright giant",
    )
    order = np.random.default_rng(0).permutation(len(table))
    return Stars(flux, errors.X_err, np.asarray(table.meta["wavelength"]), kind, order[:2300], order[2300:])


def _prediction(stars: Stars, number: int) -> Categorical:
    """Of the test stars, from the fluxes in so many bands and their errors."""
    edges = pairwise(np.linspace(400, 980, number + 1))
    inside = [(stars.wavelength >= low) & (stars.wavelength < high) for low, high in edges]
    bands = np.column_stack([stars.flux[:, band].mean(axis=1) for band in inside])
    errors = np.column_stack(
        [np.hypot.reduce(stars.flux_err[:, band], axis=1) / band.sum() for band in inside]
    )
    mean, sd = bands[stars.train].mean(axis=0), bands[stars.train].std(axis=0)
    X, X_err = (bands - mean) / sd, errors / sd
    model = SoftmaxRegression().fit(X[stars.train], stars.kind[stars.train])
    return model.predict_dist(X[stars.test], X_err=X_err[stars.test])


def _spectra(axes: Axes, stars: Stars) -> None:
    shown = (stars.wavelength >= 400) & (stars.wavelength <= 980)
    for number, (low, high) in enumerate(pairwise(np.linspace(400, 980, 13))):
        if number % 2:
            axes.axvspan(low, high, color="0.94", lw=0)
    for name, colour in COLOURS.items():
        mean = stars.flux[stars.kind == name][:, shown].mean(axis=0)
        axes.plot(stars.wavelength[shown], mean, color=colour, lw=1.5, label=name)
    axes.set(xlabel="wavelength [nm]", ylabel="mean flux / median", xlim=(400, 980))
    axes.legend(frameon=False, fontsize=9)


def _reliability(axes: Axes, stars: Stars, predictions: dict[str, tuple[str, Categorical]]) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.8)
    for name, (colour, prediction) in predictions.items():
        found: Any = reliability(prediction, stars.kind[stars.test], label="top")
        p = f"p = {found.pvalue:.0e}" if found.pvalue < 1e-3 else f"p = {found.pvalue:.2f}"
        axes.errorbar(
            found.predicted,
            found.observed,
            found.error,
            fmt="o-",
            color=colour,
            ms=4,
            lw=1.2,
            label=f"{name}: {p}",
        )
    axes.set(
        xlabel="probability of the most probable class",
        ylabel="fraction that are it",
        xlim=(0.2, 1),
        ylim=(0.1, 1.02),
    )
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def _sets(axes: Axes, stars: Stars, prediction: Categorical) -> None:
    """Coverage of sets against their level, with the mean number of classes beside it."""
    truth = np.searchsorted(prediction.classes, stars.kind[stars.test])
    rows = np.arange(len(truth))
    levels = np.linspace(0.3, 0.98, 18)
    sets = [prediction.prediction_set(level) for level in levels]
    held = [proportion(int(each[rows, truth].sum()), len(rows)) for each in sets]
    axes.plot([0.3, 1], [0.3, 1], color=GREY, lw=0.8, label="what is promised")
    axes.fill_between(levels, [h.low for h in held], [h.high for h in held], color=BLUE, alpha=0.25, lw=0)
    axes.plot(levels, [h.value for h in held], color=BLUE, lw=1.8, label="sets hold the true class")
    best = np.mean(prediction.mode == stars.kind[stars.test])
    axes.axhline(best, color=RED, lw=1.2, ls="--", label="the best class alone")
    axes.set(xlabel="level of the set", ylabel="fraction of test stars", xlim=(0.3, 1), ylim=(0.28, 1.02))
    size = axes.twinx()
    size.plot(levels, [each.sum(axis=1).mean() for each in sets], color=GOLD, lw=1.6, ls=":")
    size.set_ylabel("mean number of classes (dotted)", color=GOLD)
    size.set_ylim(0, 5)
    size.tick_params(labelsize=9, colors=GOLD)
    size.spines["top"].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="lower right")


FIGURES = {"chapter08_multiclass": multiclass}
