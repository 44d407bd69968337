"""The figure of Gaussian process classification: a curved boundary, a twin, sparse processes, their bound."""

from __future__ import annotations

import numpy as np
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from statml import datasets
from statml.gp import (
    RBF,
    Constant,
    GaussianProcessClassifier,
    GaussianProcessRegressor,
    Linear,
    SparseGaussianProcess,
)

Array = np.ndarray


def classification() -> Figure:
    """Four panels."""
    figure = Figure(figsize=(9.6, 7.2), layout="constrained")
    figure.set_layout_engine("constrained", wspace=0.06, hspace=0.06)
    (first, second), (third, fourth) = figure.subplots(2, 2)
    _boundary(first)
    _twin(second)
    x, y = _giants()
    found = _sparse(third, x, y)
    _bound(fourth, x, y, found)
    tidy(first, "a", "a boundary without an equation")
    tidy(second, "b", "what one star says of its twin")
    tidy(third, "c", "three inducing points, and eight")
    tidy(fourth, "d", "a bound that rises to the evidence")
    return figure


def _column(name: str) -> Array:
    return np.asarray(datasets.load("gaia_xp")[name], float)


def _boundary(axes: Axes) -> None:
    stars = datasets.load("gaia_xp")
    wavelength, flux = stars.meta["wavelength"], np.asarray(stars["flux"])
    blue, red = (
        flux[:, (wavelength >= low) & (wavelength < high)].mean(axis=1)
        for low, high in ((505, 530), (540, 560))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        features = np.column_stack([_column("j") - _column("k"), -2.5 * np.log10(blue / red)])
    teff, logg = _column("teff"), _column("logg")
    cool = (teff > 3500) & (teff < 5000) & ((logg < 3.2) | (logg > 4.2)) & np.isfinite(features).all(axis=1)
    X, giant = features[cool], logg[cool] < 3.7
    order = np.random.default_rng(0).permutation(len(X))
    train, test = order[:200], order[200:700]
    model = GaussianProcessClassifier(RBF([0.3, 0.3], sigma=3.0), inference="ep").fit(X[train], giant[train])
    straight = GaussianProcessClassifier(Linear(5.0) + Constant(5.0)).fit(X[train], giant[train])
    grid = np.meshgrid(np.linspace(0.3, 1.9, 120), np.linspace(-0.1, 1.0, 120))
    points = np.column_stack([part.ravel() for part in grid])
    shades = LinearSegmentedColormap.from_list("classes", [RED, "#ffffff", BLUE])
    proba = model.predict_proba(points)[:, 1].reshape(120, 120)
    shown = axes.contourf(
        *grid,
        proba,
        levels=[0, 0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1],
        cmap=shades,
        alpha=0.55,
        antialiased=False,
    )
    axes.contour(*grid, proba, levels=[0.05, 0.5, 0.95], colors=INK, linewidths=[0.7, 1.4, 0.7])
    plain = straight.predict_proba(points)[:, 1].reshape(120, 120)
    axes.contour(*grid, plain, levels=[0.5], colors=GREY, linewidths=2, linestyles="dashed")
    for which, colour, label in ((~giant, RED, "dwarfs"), (giant, BLUE, "giants")):
        axes.plot(*X[test][which[test]].T, "o", ms=2.6, color=colour, alpha=0.7, mew=0, label=label)
    axes.plot([], [], "--", color=GREY, lw=2, label="a linear kernel")
    bar = axes.figure.colorbar(shown, ax=axes, pad=0.02, aspect=30, ticks=[0, 0.5, 1])
    bar.set_label("P(giant)", fontsize=9)
    axes.set(xlim=(0.3, 1.9), ylim=(-0.1, 1.0), xlabel="J - K (mag)", ylabel="Mg b band (mag)")
    axes.legend(fontsize=8.5, loc="lower right", framealpha=0.9, edgecolor="none", markerscale=2)


def _twin(axes: Axes) -> None:
    widths = np.geomspace(0.1, 30, 25)
    exact = 0.5 + np.arcsin(widths**2 / (1 + widths**2)) / np.pi
    axes.plot(widths, exact, color=INK, lw=2, label="exact")
    for inference, colour, label in (("ep", BLUE, "expectation propagation"), ("laplace", RED, "Laplace")):
        found = []
        for sigma in widths:
            model = GaussianProcessClassifier(
                RBF(1.0, sigma), link="probit", inference=inference, optimise=False
            )
            found.append(model.fit([[0.0], [100.0]], [1, 0]).predict_proba([[0.0]])[0, 1])
        axes.plot(widths, found, color=colour, lw=1.8, label=label)
    axes.set(xscale="log", ylim=(0.48, 1.02), xlabel="prior width of f", ylabel="P(twin of the same class)")
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def _giants() -> tuple[Array, Array]:
    """BP - RP and temperature of 400 giants."""
    colour = _column("phot_bp_mean_mag") - _column("phot_rp_mean_mag")
    keep = (
        (_column("logg") < 3.2)
        & (_column("teff") < 5500)
        & (_column("ak_targ") < 0.1)
        & (colour > 0.7)
        & (colour < 3.2)
    )
    rows = np.random.default_rng(1).choice(np.flatnonzero(keep), 400, replace=False)
    return colour[rows, None], _column("teff")[rows]


def _sparse(axes: Axes, x: Array, y: Array) -> GaussianProcessRegressor:
    grid = np.linspace(x.min(), x.max(), 200)[:, None]
    dense = GaussianProcessRegressor(RBF(0.5, 500.0), random_state=0).fit(x, y)
    axes.plot(x, y, ".", ms=3, color=GREY, alpha=0.5)
    axes.plot(grid, dense.predict(grid), color=GREY, lw=4, alpha=0.8, label="dense")
    for m, colour in ((3, RED), (8, BLUE)):
        gp = SparseGaussianProcess(
            dense.kernel_, inducing=m, scatter=dense.scatter_, optimise=False, random_state=0
        ).fit(x, y)
        p = gp.predict_dist(grid)
        std = np.sqrt(p.variance_components["parameter"])
        axes.plot(grid, p.mean, color=colour, lw=1.5, label=f"{m} points")
        axes.fill_between(grid[:, 0], p.mean - 2 * std, p.mean + 2 * std, color=colour, alpha=0.2, lw=0)
        axes.plot(gp.inducing_, np.full(m, 3150 if m == 3 else 3080), "|", ms=11, mew=2, color=colour)
    axes.set(xlabel="BP - RP (mag)", ylabel="effective temperature (K)")
    axes.legend(frameon=False, fontsize=9)
    return dense


def _bound(axes: Axes, x: Array, y: Array, dense: GaussianProcessRegressor) -> None:
    counts = np.array([2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30])
    for kernel, colour, label in (
        (dense.kernel_, BLUE, "the kernel of c"),
        (dense.kernel_.with_theta(dense.kernel_.theta - [np.log(4), 0]), GOLD, "a quarter of its length"),
    ):
        exact = GaussianProcessRegressor(kernel, scatter=dense.scatter_, optimise=False).fit(x, y)
        gaps = [
            exact.log_evidence_
            - SparseGaussianProcess(
                kernel, inducing=int(m), scatter=dense.scatter_, optimise=False, random_state=0
            )
            .fit(x, y)
            .lower_bound_
            for m in counts
        ]
        axes.plot(counts, -np.maximum(gaps, 1e-9), "o-", color=colour, ms=4, label=label)
    axes.axhline(0, color=INK, lw=1)
    axes.text(2.1, 0.012, "log evidence", fontsize=9, color=INK)
    axes.set_yscale("symlog", linthresh=0.1)
    axes.set(
        xscale="log",
        ylim=(-3e4, 0.1),
        xlabel="inducing points",
        ylabel="lower bound - log evidence",
        xticks=[2, 5, 10, 20, 30],
        xticklabels=["2", "5", "10", "20", "30"],
    )
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=9, loc="lower right")


FIGURES = {"chapter15_gp_classification": classification}
