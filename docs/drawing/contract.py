"""The figure of the contract page: which y, where its variance comes from, whether the intervals hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from drawing.style import BLUE, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.pipeline import make_pipeline

from statml import datasets, units
from statml.regression import (
    BayesianLinearRegression,
    LinearRegression,
    SpectrumFeatures,
    spectral_regressor,
)
from statml.uncertainty import pit, predict_dist

PARTS = {
    "parameter": ("#1b4f9c", "parameter: uncertain line"),
    "input": ("#7fb0e0", "input: error of x"),
    "noise": ("#c9ced6", "noise: error of y"),
    "model": ("#e0a030", "model: intrinsic scatter"),
}


def contract() -> Figure:
    """Four panels, the last two on real stars."""
    figure = Figure(figsize=(10.4, 8.2), layout="constrained")
    (which, split), (coverage, width) = figure.subplots(2, 2)
    _which_y(which)
    _where_variance_comes_from(split)
    stars = _held_out_stars()
    _coverage(coverage, stars)
    _width(width, stars)
    for letter, axes in zip("abcd", (which, split, coverage, width)):
        title = axes.get_title()
        axes.set_title("")
        tidy(axes, letter, title)
    return figure


def _which_y(axes: Axes) -> None:
    points = datasets.load("hogg2010")
    X, y, errors = units.from_table(points[points["id"] >= 5], x="x", y="y")
    assert y is not None and errors.X_err is not None and errors.y_err is not None
    line = LinearRegression().fit(X, y, y_err=errors.y_err)
    x = np.linspace(20, 290, 200)
    typical = float(np.median(errors.y_err))
    observed, true = line.predict_dist(x[:, None], y_err=typical), line.predict_dist(x[:, None])
    for prediction, colour, alpha, label in (
        (observed, GREY, 0.28, f"68 % of y observed with error {typical:.0f}"),
        (true, BLUE, 0.45, "68 % of the true y"),
    ):
        axes.fill_between(x, *prediction.interval(0.68), color=colour, alpha=alpha, lw=0, label=label)
    axes.plot(x, true.mean, color=BLUE, lw=1.6)
    axes.errorbar(
        X[:, 0], y, errors.y_err, fmt="o", color=INK, ms=4, lw=1, label="points 5 to 20 of Hogg et al."
    )
    axes.set(xlabel="x", ylabel="y", xlim=(20, 290), title="which y? the true one or the observed one")
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def _where_variance_comes_from(axes: Axes) -> None:
    points = datasets.load("hogg2010")
    X, y, errors = units.from_table(points[points["id"] >= 5], x="x", y="y")
    assert y is not None and errors.X_err is not None and errors.y_err is not None
    line = BayesianLinearRegression().fit(X, y, y_err=errors.y_err)
    x = np.linspace(20, 290, 200)
    typical_x, typical_y = float(np.median(errors.X_err)), float(np.median(errors.y_err))
    prediction = line.predict_dist(x[:, None], X_err=np.full((200, 1), typical_x), y_err=typical_y)
    parts = prediction.variance_components
    axes.stackplot(
        x,
        *(parts[name] for name in PARTS),
        colors=[colour for colour, _ in PARTS.values()],
        labels=[meaning for _, meaning in PARTS.values()],
        lw=0,
    )
    axes.plot(x, prediction.std**2, color=INK, lw=1.6, label="their sum, std²")
    axes.set(
        xlabel="x",
        ylabel="variance of one observed y",
        xlim=(20, 290),
        ylim=(0, 1.45 * np.max(prediction.std**2)),
        title="where its variance comes from",
    )
    axes.legend(
        frameon=False,
        fontsize=9,
        loc="upper center",
        reverse=True,
        ncols=2,
        columnspacing=1.2,
        handlelength=1.3,
    )


def _held_out_stars() -> dict[str, Any]:
    """Teff of held-out stars by a Gaussian model of constant scatter and by the shipped one."""
    stars = datasets.load("gaia_xp")
    stars = stars[(stars["teff"] >= 4000) & (stars["teff"] <= 7000)]
    flux, teff, errors = units.from_table(stars, x="flux", y="teff")
    flux, teff_err = flux[:, 28:328], errors.y_err
    assert teff is not None and teff_err is not None
    order = np.random.default_rng(0).permutation(len(flux))
    train, test = order[:2000], order[2000:]
    constant = make_pipeline(SpectrumFeatures(), BayesianLinearRegression())
    constant.fit(flux[train], teff[train], bayesianlinearregression__y_err=teff_err[train])
    shipped = spectral_regressor(calibration_size=800, random_state=0)
    shipped.fit(flux[train], teff[train], y_err=teff_err[train])
    return {
        "teff": teff[test],
        "constant": predict_dist(constant, flux[test], y_err=teff_err[test]),
        "shipped": shipped.predict_dist(flux[test], y_err=teff_err[test]),
    }


def _coverage(axes: Axes, stars: dict[str, Any]) -> None:
    nominal = np.linspace(0.01, 0.99, 99)
    for name, colour, label in (
        ("constant", RED, "Gaussian, one scatter for all stars"),
        ("shipped", BLUE, "shipped: Student-t, conformal"),
    ):
        distance = 2 * np.abs(pit(stars[name], stars["teff"]) - 0.5)
        seen = np.array([np.mean(distance <= level) for level in nominal])
        axes.plot(100 * nominal, 100 * (seen - nominal), color=colour, lw=2, label=label)
    # Both samples are finite: the stars tested, and the 800 the ranks were learned from.
    error = 100 * np.sqrt(nominal * (1 - nominal) * (1 / len(stars["teff"]) + 1 / 800))
    axes.fill_between(
        100 * nominal,
        -3 * error,
        3 * error,
        color=GREY,
        alpha=0.25,
        lw=0,
        label="within 3 sigma of calibrated",
    )
    axes.axhline(0, color=INK, lw=0.8)
    axes.set(
        xlabel="nominal coverage of the interval [%]",
        ylabel="observed - nominal [points]",
        xlim=(0, 100),
        ylim=(-9, 19),
        title=f"do the intervals hold? {len(stars['teff']):,} unseen stars",
    )
    axes.legend(frameon=False, fontsize=9, loc="upper right")


def _width(axes: Axes, stars: dict[str, Any]) -> None:
    for name, colour, size in (("shipped", BLUE, 7), ("constant", RED, 4)):
        low, high = stars[name].interval(0.68)
        axes.scatter(stars[name].mean, (high - low) / 2, s=size, color=colour, alpha=0.45, lw=0)
    for y, text, colour in (
        (330, "one scatter for all", RED),
        (38, "shipped: the scatter follows the spectrum", BLUE),
    ):
        axes.text(
            7060,
            y,
            text,
            color=colour,
            fontsize=9,
            ha="right",
            bbox={"color": "white", "alpha": 0.8, "pad": 1},
        )
    axes.set(
        xlabel="predicted Teff [K]",
        ylabel="half-width of the 68 % interval [K]",
        xlim=(3900, 7100),
        yscale="log",
        ylim=(30, 2000),
        title="a width for each star",
    )
    axes.set_yticks([50, 100, 200, 500, 1000], ["50", "100", "200", "500", "1000"])
    axes.minorticks_off()


FIGURES = {"contract": contract}
