"""The figure of chapter 7: log odds, the valley of the likelihood, a threshold, reliability."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import special
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from statml import datasets, units
from statml.classification import LogisticRegression, proportion, reliability
from statml.classification.newton import BinaryLikelihood
from statml.uncertainty import Categorical

Array = np.ndarray
BANDS = 8


class Stars(NamedTuple):
    """Standardised band fluxes and whether each star is a giant, in training and test stars."""

    X: Array
    giant: Array
    X_test: Array
    giant_test: Array


def logistic_regression() -> Figure:
    """Four panels, all of them real stars."""
    figure = Figure(figsize=(9.6, 7.6), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    stars = _stars()
    _log_odds(panels[0], stars)
    _valley(panels[1], stars)
    _threshold(panels[2], stars)
    _reliability(panels[3], stars)
    titles = (
        "log odds: a line, and real stars",
        "the valley of the likelihood",
        "what a threshold buys",
        "are the probabilities right?",
    )
    for letter, axes, title in zip("abcd", panels, titles):
        tidy(axes, letter, title)
    return figure


def _stars() -> Stars:
    table = datasets.load("gaia_xp")
    table = table[(table["teff"] > 4000) & (table["teff"] < 5600)]
    flux, logg, _ = units.from_table(table, x="flux", y="logg")
    assert logg is not None
    wavelength = np.asarray(table.meta["wavelength"])
    edges = np.linspace(400, 980, BANDS + 1)
    bands = np.column_stack(
        [flux[:, (wavelength >= low) & (wavelength < high)].mean(axis=1) for low, high in pairwise(edges)]
    )
    order = np.random.default_rng(0).permutation(len(table))
    train, test = order[:1400], order[1400:]
    X = (bands - bands[train].mean(axis=0)) / bands[train].std(axis=0)
    giant = logg < 3.7
    return Stars(X[train], giant[train], X[test], giant[test])


def _log_odds(axes: Axes, stars: Stars) -> None:
    """Fractions of giants in bins of the fitted log odds' main direction, on the log odds scale."""
    model = LogisticRegression().fit(stars.X[:, [6, 7]], stars.giant)
    along = stars.X_test[:, 6] - stars.X_test[:, 7]
    x = np.linspace(*np.quantile(along, [0.01, 0.99]), 100)
    centre = stars.X_test[:, [6, 7]].mean(axis=1)
    rows = np.column_stack([x / 2, -x / 2]) + np.median(centre)
    latent = model.predict_latent_dist(rows)
    low, high = latent.interval(0.68)
    axes.fill_between(x, low, high, color=BLUE, alpha=0.3, lw=0, label="68 %, uncertain coefficients")
    axes.plot(x, latent.mean, color=BLUE, lw=1.6)
    edges = np.quantile(along, np.linspace(0, 1, 11))
    place = np.clip(np.searchsorted(edges, along, side="right") - 1, 0, 9)
    for b in range(10):
        inside = stars.giant_test[place == b]
        # Half a star added to both sides, so that no log odds are infinite.
        members, others = inside.sum() + 0.5, (~inside).sum() + 0.5
        axes.errorbar(
            along[place == b].mean(),
            np.log(members / others),
            np.sqrt(1 / members + 1 / others),
            fmt="o",
            color=INK,
            ms=4,
            lw=1,
            label="test stars in tenths" if b == 0 else None,
        )
    axes.axhline(0, color=GREY, lw=0.8, ls=":")
    axes.set(xlabel="band 7 $-$ band 8 (standardised)", ylabel="log odds of a giant")
    axes.legend(frameon=False, fontsize=9, loc="lower right")


def _valley(axes: Axes, stars: Stars) -> None:
    """Log likelihood over two of its coefficients, the others at their best, and two ways up."""
    likelihood = BinaryLikelihood(stars.X, stars.giant, intercept=True)
    model = LogisticRegression().fit(stars.X, stars.giant)
    pair = [7, 8]  # coefficients of bands 7 and 8, after the intercept
    inverse = np.linalg.inv(model.params_cov_[np.ix_(pair, pair)])
    u, v = np.meshgrid(np.linspace(-8, 62, 200), np.linspace(-46, 14, 200))
    gap = np.stack([u - model.params_[7], v - model.params_[8]])
    depth = np.einsum("aij,ab,bij->ij", gap, inverse, gap) / 2
    axes.contourf(u, v, np.log10(depth + 0.3), levels=8, cmap="Greys_r", alpha=0.55)
    path, params = [], np.zeros(9)
    for step in range(3001):
        if step % 10 == 0:
            path.append(params[pair])
        residual = stars.giant - special.expit(likelihood.log_odds(params))
        params = params + 0.5 * np.append(residual.sum(), stars.X.T @ residual) / len(residual)
    descent = np.array(path)
    axes.plot(*descent.T, color=GOLD, lw=2.2, label="gradient descent, 3000 steps")
    axes.plot(*descent[-1], "s", color=GOLD, ms=6)
    params, steps = np.zeros(9), [np.zeros(2)]
    for _ in range(8):
        params = params + likelihood.step(params).move
        steps.append(params[pair])
    axes.plot(*np.array(steps).T, "o-", color=RED, lw=1.3, ms=4, label="Newton, 8 steps")
    axes.set(xlabel="coefficient of band 7", ylabel="coefficient of band 8", xlim=(-8, 62), ylim=(-46, 14))
    axes.legend(frameon=False, fontsize=9, loc="upper right")


def _threshold(axes: Axes, stars: Stars) -> None:
    prediction = LogisticRegression().fit(stars.X, stars.giant).predict_dist(stars.X_test)
    dwarf = ~stars.giant_test
    p = prediction.proba[:, 0]
    cuts = np.linspace(0.02, 0.9, 60)
    found = np.array([((p >= cut) & dwarf).sum() for cut in cuts])
    selected = np.array([(p >= cut).sum() for cut in cuts])
    everything = np.full(len(cuts), dwarf.sum())
    for label, colour, n in (("completeness of dwarfs", BLUE, everything), ("purity", RED, selected)):
        each = [proportion(int(k), int(m)) for k, m in zip(found, n)]
        axes.fill_between(cuts, [e.low for e in each], [e.high for e in each], color=colour, alpha=0.22, lw=0)
        axes.plot(cuts, [e.value for e in each], color=colour, lw=1.8, label=label)
    axes.axvline(0.5, color=GREY, lw=0.8, ls=":")
    axes.set(
        xlabel="threshold of the probability of a dwarf",
        ylabel="fraction, with its 68 % interval",
        ylim=(0, 1.02),
        xlim=(0, 0.92),
    )
    axes.legend(frameon=False, fontsize=9, loc="lower left")


def _reliability(axes: Axes, stars: Stars) -> None:
    line = LogisticRegression().fit(stars.X, stars.giant).predict_dist(stars.X_test)
    squares, scaler = PolynomialFeatures(2, include_bias=False), StandardScaler()
    bent = LogisticRegression(alpha=0.01).fit(
        scaler.fit_transform(squares.fit_transform(stars.X)), stars.giant
    )
    curve = bent.predict_dist(scaler.transform(squares.transform(stars.X_test)))
    models: list[tuple[str, str, Categorical]] = [("line", RED, line), ("curve, weak penalty", BLUE, curve)]
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.8)
    for name, colour, prediction in models:
        found: Any = reliability(prediction, stars.giant_test)
        axes.errorbar(
            found.predicted,
            found.observed,
            found.error,
            fmt="o-",
            color=colour,
            ms=4,
            lw=1.2,
            label=f"{name}: p = {found.pvalue:.0e}"
            if found.pvalue < 1e-3
            else f"{name}: p = {found.pvalue:.2f}",
        )
    axes.set(
        xlabel="predicted probability of a giant", ylabel="observed fraction", xlim=(0, 1), ylim=(-0.05, 1.05)
    )
    axes.legend(frameon=False, fontsize=9, loc="upper left")


FIGURES = {"chapter07_logistic_regression": logistic_regression}
