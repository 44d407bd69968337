"""The figure of chapter 6: a flattened line, ellipses of errors, posteriors of a slope, noisy predictions."""

from __future__ import annotations

import numpy as np
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from statml import datasets, units
from statml.regression import ErrorsInVariables, Kelly, LinearRegression, Orthogonal

SIGMA_X, SIGMA_Y, SLOPE = 0.65, 1.0, 2.0
SCATTER = 2.0


def chapter06_errors_in_variables() -> Figure:
    """Four panels; b on the points of Hogg, Bovy & Lang."""
    figure = Figure(figsize=(8.8, 6.6), layout="constrained")
    (flat, ellipses), (posterior, predicted) = figure.subplots(2, 2)
    _flat(flat)
    _ellipses(ellipses)
    X, y = _simulate(np.random.default_rng(3), 300)
    errors = {"X_err": SIGMA_X, "y_err": SIGMA_Y}
    york = ErrorsInVariables("york").fit(X, y, **errors)
    kelly = ErrorsInVariables(Kelly(n_components=1, draws=1500), random_state=0).fit(X, y, **errors)
    _posterior(posterior, york, kelly, LinearRegression().fit(X, y))
    _predicted(predicted, york, kelly)
    tidy(flat, "a", "noise in x flattens the line")
    tidy(ellipses, "b", "correlated errors, and outliers")
    tidy(posterior, "c", "the slope, where the truth scatters")
    tidy(predicted, "d", "y from a noisy x")
    return figure


def _simulate(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    xi = rng.uniform(-1.7, 1.7, n)
    eta = 1 + SLOPE * xi + SCATTER * rng.normal(size=n)
    return (xi + SIGMA_X * rng.normal(size=n))[:, None], eta + SIGMA_Y * rng.normal(size=n)


def _flat(axes: Axes) -> None:
    rng = np.random.default_rng(6)
    xi = rng.normal(0, 1, 90)
    x, y = xi + 0.8 * rng.normal(size=xi.size), 1 + SLOPE * xi + 0.5 * rng.normal(size=xi.size)
    for start, end, height in zip(xi, x, y):
        axes.plot([start, end], [height, height], color=GREY, lw=0.5, alpha=0.5)
    axes.plot(xi, y, "o", ms=3, color=GREY, alpha=0.7, label="exact x")
    axes.plot(x, y, "o", ms=3.2, color=BLUE, label="measured x")
    grid = np.array([-3.0, 3.0])
    flat = LinearRegression().fit(x[:, None], y, y_err=0.5)
    york = ErrorsInVariables("york").fit(x[:, None], y, X_err=0.8, y_err=0.5)
    axes.plot(grid, 1 + SLOPE * grid, color=INK, lw=1, ls=":", label="truth")
    axes.plot(grid, flat.predict(grid[:, None]), color=RED, lw=2, label="least squares")
    axes.plot(grid, york.predict(grid[:, None]), color=GOLD, lw=2, label="York")
    axes.set(xlim=(-3.2, 3.2), ylim=(-5.5, 7.5), xlabel="x", ylabel="y")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")


def _ellipses(axes: Axes) -> None:
    points = datasets.load("hogg2010")
    X, y, err = units.from_table(points, x="x", y="y")
    shared = points["rho_xy"].data * err.X_err[:, 0] * err.y_err
    line = ErrorsInVariables(Orthogonal(outliers=True), random_state=0)
    line.fit(X, y, X_err=err.X_err, y_err=err.y_err, xy_cov=shared[:, None])
    shade = LinearSegmentedColormap.from_list("outlier", [BLUE, RED])
    for x, value, sx, sy, c, probability in zip(
        X[:, 0], y, err.X_err[:, 0], err.y_err, shared, line.outlier_proba_
    ):
        variances, directions = np.linalg.eigh([[sx**2, c], [c, sy**2]])
        ellipse = Ellipse(
            (x, value),
            *(2 * np.sqrt(variances)),
            angle=float(np.degrees(np.arctan2(directions[1, 0], directions[0, 0]))),
            facecolor=(*shade(probability)[:3], 0.18),
            edgecolor=shade(probability),
            lw=1.2,
        )
        axes.add_patch(ellipse)
        axes.plot(x, value, "o", ms=2.5, color=shade(probability))
    grid = np.linspace(0, 310, 80)
    prediction = line.predict_dist(grid[:, None])
    low, high = prediction.interval(0.95)
    axes.fill_between(grid, low, high, color=GOLD, alpha=0.3, lw=0, label="95 % of the line")
    axes.plot(grid, prediction.mean, color=INK, lw=1.3)
    axes.set(xlim=(20, 310), ylim=(60, 740), xlabel="x", ylabel="y")
    axes.legend(frameon=False, fontsize=8.5, loc="lower right")


def _posterior(axes: Axes, york: ErrorsInVariables, kelly: ErrorsInVariables, flat: LinearRegression) -> None:
    grid = np.linspace(0.7, 4.4, 400)
    for line, colour, words, place in (
        (flat, RED, "least squares", -0.02),
        (york, GOLD, "York", 0.0),
    ):
        mean, std = line.coef_[0], line.coef_err_[0]
        density = np.exp(-0.5 * ((grid - mean) / std) ** 2) / std / np.sqrt(2 * np.pi)
        axes.fill_between(grid, density, color=colour, alpha=0.25, lw=0)
        axes.plot(grid, density, color=colour, lw=1.6)
        axes.text(mean + place, density.max() + 0.06, words, ha="center", color=colour, fontsize=9)
    draws = kelly.posterior_["params"][..., 1].ravel()
    heights, _, _ = axes.hist(
        draws, bins=50, range=(0.7, 4.4), density=True, color=BLUE, alpha=0.75, label="Kelly"
    )
    axes.text(draws.mean() + 0.25, heights.max() + 0.02, "Kelly", color=BLUE, fontsize=9)
    axes.axvline(SLOPE, color=INK, lw=1.1, ls=":")
    axes.text(SLOPE + 0.04, 3.6, "truth", color=INK, fontsize=9)
    axes.set(xlim=(0.7, 4.4), ylim=(0, 3.9), xlabel="slope", ylabel="probability density")


def _predicted(axes: Axes, york: ErrorsInVariables, kelly: ErrorsInVariables) -> None:
    X, y = _simulate(np.random.default_rng(4), 300)
    axes.plot(X[:, 0], y, "o", ms=2.2, color=GREY, alpha=0.6, label="new stars")
    grid = np.linspace(-3.3, 3.3, 60)
    for line, colour, words in ((york, GOLD, "York"), (kelly, BLUE, "Kelly")):
        p = line.predict_dist(grid[:, None], X_err=SIGMA_X, y_err=SIGMA_Y)
        low, high = p.interval(0.68)
        axes.fill_between(grid, low, high, color=colour, alpha=0.22, lw=0)
        axes.plot(grid, p.mean, color=colour, lw=2, label=words)
    axes.plot(grid, 1 + SLOPE * grid, color=INK, lw=1, ls=":", label="truth, of exact x")
    axes.set(xlim=(-3.3, 3.3), ylim=(-10, 12), xlabel="measured x", ylabel="measured y")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")


FIGURES = {"chapter06_errors_in_variables": chapter06_errors_in_variables}
