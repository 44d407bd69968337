"""Outliers: Hogg's points, the weight of a row, what clipping does to errors, residuals of real stars."""

from __future__ import annotations

import numpy as np
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from statml import datasets, units
from statml.regression import LinearRegression, RobustRegression, SpectrumFeatures
from statml.uncertainty import pit

Array = np.ndarray
FITS = 300


def outliers() -> Figure:
    """Four panels, the last on real stars."""
    figure = Figure(figsize=(9.4, 7.4), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    titles = (
        _hogg(figure, panels[0]),
        _weights(panels[1]),
        _clipping(panels[2]),
        _stars(panels[3]),
    )
    for letter, axes, title in zip("abcd", panels, titles):
        tidy(axes, letter, title)
    return figure


def _points() -> tuple[Array, Array, Array]:
    X, y, errors = units.from_table(datasets.load("hogg2010"), x="x", y="y")
    assert y is not None and errors.y_err is not None
    return X, y, errors.y_err


def _hogg(figure: Figure, axes: Axes) -> str:
    X, y, err = _points()
    grid = np.linspace(30, 300, 100)[:, None]
    mixture = RobustRegression(method="mixture", random_state=0).fit(X, y, y_err=err)
    student = RobustRegression(random_state=0).fit(X, y, y_err=err)
    usual = LinearRegression().fit(X, y, y_err=err)
    band = mixture.predict_dist(grid)
    axes.fill_between(grid[:, 0], *band.interval(0.68), color=BLUE, alpha=0.25, lw=0)
    for model, colour, style, label in (
        (mixture, BLUE, "-", "mixture, 68 % of the true y"),
        (student, GOLD, "--", "Student t"),
        (usual, RED, "-", "least squares"),
    ):
        axes.plot(grid, model.predict(grid), color=colour, ls=style, lw=1.8, label=label)
    axes.errorbar(X[:, 0], y, err, fmt="none", ecolor=GREY, lw=1, zorder=2)
    shown = axes.scatter(
        X[:, 0],
        y,
        c=mixture.outlier_proba_,
        cmap="Greys",
        vmin=-0.25,
        vmax=1,
        s=34,
        edgecolor=INK,
        lw=0.8,
        zorder=3,
    )
    bar = figure.colorbar(shown, ax=axes, pad=0.01, fraction=0.05)
    bar.set_label("probability to be an outlier", fontsize=9)
    bar.ax.set_ylim(0, 1)
    bar.ax.tick_params(labelsize=8)
    axes.set(xlabel="x", ylabel="y", xlim=(30, 300), ylim=(50, 730))
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return "twenty points, three of them wrong"


def _weights(axes: Axes) -> str:
    residual = np.linspace(0, 8, 300)
    X, y, err = _points()
    mixture = RobustRegression(method="mixture", random_state=0).fit(X, y, y_err=err)
    size, x = 25.0, 150.0
    line = float(mixture.predict([[x]])[0])
    good = (1 - mixture.outlier_fraction_) * stats.norm.pdf(residual * size, 0, size)
    bad = mixture.outlier_fraction_ * stats.norm.pdf(
        line + residual * size, mixture.outlier_mean_, np.hypot(mixture.outlier_scatter_, size)
    )
    axes.plot(residual, np.ones_like(residual), color=RED, lw=1.8, label="least squares")
    axes.plot(residual, np.where(residual < 3, 1, 0), color=GREY, lw=1.4, ls=":", label="clipped at 3 sigma")
    for nu, style in ((10, "-."), (2.1, "--")):
        axes.plot(
            residual, nu / (nu + residual**2), color=GOLD, lw=1.8, ls=style, label=f"Student t, {nu} d.o.f."
        )
    axes.plot(residual, good / (good + bad), color=BLUE, lw=2, label="mixture, at x = 150")
    axes.set(xlabel="residual in units of its error", ylabel="weight of the row", xlim=(0, 8), ylim=(0, 1.08))
    axes.legend(frameon=False, fontsize=9, loc="upper right", bbox_to_anchor=(1, 0.95))
    return "how much a row counts"


def _clipping(axes: Axes) -> str:
    found: dict[str, list[float]] = {"clipped": [], "robust": []}
    rng = np.random.default_rng(3)
    for _ in range(FITS):
        X, err = rng.uniform(0, 10, (100, 1)), rng.uniform(0.5, 1.5, 100)
        y = 3 + 2 * X[:, 0] + err * rng.standard_t(3, 100)
        robust = RobustRegression(random_state=0).fit(X, y, y_err=err)
        for name, line in (("clipped", _clip(X, y, err)), ("robust", robust)):
            found[name].append(float((line.coef_[0] - 2) / line.coef_err_[0]))
    z = np.linspace(0, 3.2, 300)
    axes.plot(z, 2 * stats.norm.cdf(z) - 1, color=INK, lw=1, label="what the errors promise")
    for name, colour, label in (
        ("clipped", RED, "least squares, clipped at 3 sigma"),
        ("robust", BLUE, "Student t"),
    ):
        inside = [np.mean(np.abs(found[name]) < limit) for limit in z]
        axes.plot(z, inside, color=colour, lw=2, label=label)
    axes.axvline(stats.norm.isf(0.16), color=GREY, lw=0.8, ls=":")
    share = np.mean(np.abs(found["clipped"]) < stats.norm.isf(0.16))
    axes.annotate(
        f"68 % intervals\nhold {100 * share:.0f} %",
        (stats.norm.isf(0.16), share),
        (1.5, 0.38),
        fontsize=9,
        color=RED,
        arrowprops={"arrowstyle": "-", "color": RED, "lw": 0.8},
    )
    axes.set(
        xlabel="|slope - truth| in units of its standard error",
        ylabel=f"fraction of {FITS} fits below",
        xlim=(0, 3.2),
        ylim=(0, 1.02),
    )
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return "clipping makes errors too small"


def _clip(X: Array, y: Array, err: Array) -> LinearRegression:
    keep = np.ones(len(y), bool)
    while True:
        line = LinearRegression().fit(X[keep], y[keep], y_err=err[keep])
        new = keep & (np.abs(y - line.predict(X)) < 3 * err)
        if np.array_equal(new, keep):
            return line
        keep = new


def _stars(axes: Axes) -> str:
    stars = datasets.load("gaia_xp")
    stars = stars[(stars["teff"] >= 4000) & (stars["teff"] <= 7000)]
    flux, teff, errors = units.from_table(stars, x="flux", y="teff")
    assert teff is not None and errors.y_err is not None
    order = np.random.default_rng(0).permutation(len(teff))
    train, test = order[:2000], order[2000:]
    features = SpectrumFeatures().fit(flux[train, 28:328])
    X, new = (features.transform(flux[rows, 28:328]) for rows in (train, test))
    err = errors.y_err
    nominal = np.linspace(0.01, 0.99, 99)
    for model, told, colour, label in (
        (LinearRegression(), False, RED, "least squares, fitted noise"),
        (RobustRegression(scatter="fit", random_state=0), True, GOLD, "Student t"),
        (RobustRegression(method="mixture", scatter="fit", random_state=0), True, BLUE, "mixture"),
    ):
        model.fit(X, teff[train], **({"y_err": err[train]} if told else {}))
        prediction = model.predict_dist(new, **({"y_err": err[test]} if told else {}))
        distance = 2 * np.abs(pit(prediction, teff[test]) - 0.5)
        seen = np.array([np.mean(distance <= level) for level in nominal])
        axes.plot(100 * nominal, 100 * (seen - nominal), color=colour, lw=2, label=label)
    error = 300 * np.sqrt(nominal * (1 - nominal) / len(test))
    axes.fill_between(
        100 * nominal, -error, error, color=GREY, alpha=0.25, lw=0, label="within 3 sigma of calibrated"
    )
    axes.axhline(0, color=INK, lw=0.8)
    axes.set(
        xlabel="nominal coverage of the interval [%]",
        ylabel="observed - nominal [points]",
        xlim=(0, 100),
        ylim=(-7, 20),
    )
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    return f"Teff of {len(test):,} unseen stars (real)"


FIGURES = {"chapter06b_outliers": outliers}
