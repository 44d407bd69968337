"""The figure of chapter 4: a network as one design, shared errors, a curve beyond its data, a penalty."""

from __future__ import annotations

import numpy as np
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import sparse
from sklearn.pipeline import make_pipeline

from statml import datasets
from statml.regression import LinearRegression, PolynomialBasis, RidgeRegression, SplineBasis
from statml.uncertainty import Covariance, predict_dist

STARS, NIGHTS, TELESCOPES = 20, 50, 5
OWN, SHARED = 0.1, 0.2


def chapter04_linear_regression() -> Figure:
    """Four panels; c and d on real stars."""
    figure = Figure(figsize=(9.6, 7.2), layout="constrained")
    (pattern, pulls), (curve, penalty) = figure.subplots(2, 2)
    design, group = _network()
    _pattern(pattern, design)
    _pulls(pulls, design, group)
    _curve(curve)
    _penalty(penalty)
    tidy(pattern, "a", "a radial-velocity network is one sparse design")
    tidy(pulls, "b", "how far off, in units of the stated error")
    tidy(curve, "c", "beyond the data: degree 8 and splines")
    tidy(penalty, "d", "the penalty is chosen without the test stars")
    return figure


def _network() -> tuple[sparse.csr_array, np.ndarray]:
    """Design (1000, 40), and which telescope and night each observation belongs to."""
    rng = np.random.default_rng(4)
    star, night = np.divmod(np.arange(STARS * NIGHTS), NIGHTS)
    telescope = (star + night) % TELESCOPES
    temperature = rng.normal(size=(TELESCOPES, NIGHTS))[telescope, night]
    terms = np.column_stack(
        [np.ones(len(star)), temperature, temperature**2, rng.uniform(-0.5, 0.5, len(star))]
    )
    columns = np.column_stack([star, STARS + 4 * telescope[:, None] + np.arange(4)])
    values = np.column_stack([np.ones(len(star)), terms])
    rows = np.repeat(np.arange(len(star)), 5)
    design = sparse.csr_array((values.ravel(), (rows, columns.ravel())), shape=(len(star), 40))
    return design, telescope * NIGHTS + night


def _pattern(axes: Axes, design: sparse.csr_array) -> None:
    shown = design[::4].toarray()
    axes.imshow(
        np.where(shown == 0, np.nan, 1.0),
        aspect="auto",
        cmap="Blues",
        vmin=0,
        vmax=1.3,
        interpolation="nearest",
        extent=(0, 40, 1000, 0),
    )
    axes.axvline(STARS, color=GREY, lw=0.8)
    for place, words in ((9.5, "velocities of 20 stars"), (30, "5 telescopes x 4 terms")):
        box = {"facecolor": "white", "edgecolor": "none", "pad": 3}
        axes.text(place, 930, words, ha="center", fontsize=9, color=INK, bbox=box)
    axes.set_xlabel("column")
    axes.set_ylabel("observation")


def _pulls(axes: Axes, design: sparse.csr_array, group: np.ndarray) -> None:
    free = design[:, np.arange(40) != STARS].tocsr()
    order = np.argsort(group, kind="stable")
    nightly = np.tile(OWN**2 * np.eye(4) + SHARED**2, (len(np.unique(group)), 1, 1))
    models = {
        "independent, own\nerrors only": {"y_err": OWN},
        "independent,\nsame total": {"y_err": float(np.hypot(OWN, SHARED))},
        "shared within\neach night": {"y_cov": Covariance.block(nightly)[np.argsort(order)]},
    }
    rng = np.random.default_rng(0)
    found: dict[str, list[np.ndarray]] = {name: [] for name in models}
    for _ in range(200):
        errors = SHARED * rng.normal(size=250)[group] + OWN * rng.normal(size=len(group))
        for name, given in models.items():
            # The truth is zero: least squares is linear, so only the errors matter.
            fit = LinearRegression(fit_intercept=False).fit(free, errors, **given)
            found[name].append(fit.coef_ / fit.coef_err_)
    for place, name in enumerate(models):
        size = np.sqrt(np.mean(np.array(found[name]) ** 2, axis=0))
        for part, colour, label in (
            (slice(0, STARS), BLUE, "stars"),
            (slice(STARS, None), RED, "telescope terms"),
        ):
            offset = -0.12 if colour == BLUE else 0.12
            axes.plot(
                size[part],
                np.full(len(size[part]), place + offset),
                "o",
                color=colour,
                ms=4,
                alpha=0.7,
                label=label if place == 0 else None,
            )
    axes.axvline(1, color=GREY, lw=1, ls="--")
    axes.set_yticks(range(len(models)), list(models))
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.set_xlim(0, None)
    axes.set_xlabel("rms over 200 simulated networks (1 is honest)")
    axes.legend(frameon=False, fontsize=9)


def colours() -> tuple[np.ndarray, np.ndarray]:
    """BP - RP (n, 1) and G - K (n,) of the real stars that have both."""
    stars = datasets.load("gaia_xp")
    names = ("phot_bp_mean_mag", "phot_rp_mean_mag", "phot_g_mean_mag", "k")
    bp, rp, g, k = (np.ma.filled(stars[name].data.astype(float), np.nan) for name in names)
    known = np.isfinite(bp - rp + g - k)
    return (bp - rp)[known, None], (g - k)[known]


def _curve(axes: Axes) -> None:
    x, y = colours()
    inside = (x[:, 0] > 0.5) & (x[:, 0] < 3)
    axes.plot(
        x[inside, 0], y[inside], ".", ms=2, color=GREY, alpha=0.4, label="fitted stars", rasterized=True
    )
    axes.plot(x[~inside, 0], y[~inside], ".", ms=3.5, color=INK, alpha=0.7, label="stars kept apart")
    grid = np.linspace(-0.2, 5, 300)[:, None]
    for basis, colour, label in (
        (PolynomialBasis(8), RED, "polynomial of degree 8"),
        (SplineBasis(6), BLUE, "splines, straight beyond"),
    ):
        model = make_pipeline(basis, LinearRegression()).fit(x[inside], y[inside])
        p = predict_dist(model, grid)
        axes.plot(grid[:, 0], p.mean, color=colour, lw=1.6, label=label)
        axes.fill_between(grid[:, 0], *p.interval(0.95), color=colour, alpha=0.2, lw=0)
    axes.axvspan(0.5, 3, color=GOLD, alpha=0.08, lw=0)
    axes.set_xlim(-0.2, 5)
    axes.set_ylim(-1, 9)
    axes.set_xlabel("BP - RP [mag]")
    axes.set_ylabel("G - K [mag]")
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def giants() -> tuple[np.ndarray, np.ndarray]:
    """Log flux (n, 300) and Teff (n,) of bright real giants, in random order."""
    stars = datasets.load("gaia_xp")
    chosen = (stars["teff"] > 4000) & (stars["teff"] < 5500) & (stars["logg"] < 3.5)
    stars = stars[chosen & (stars["phot_g_mean_mag"] < 14.5)]
    order = np.random.default_rng(0).permutation(len(stars))
    flux = np.log(np.maximum(stars["flux"].data[:, 28:328], 0.01))
    return flux[order].astype(float), stars["teff"].data[order].astype(float)


def _penalty(axes: Axes) -> None:
    X, y = giants()
    train, test = slice(0, 400), slice(400, None)

    def error(model: RidgeRegression, rows: slice) -> float:
        return float(np.sqrt(np.mean((model.predict(X[rows]) - y[rows]) ** 2)))

    penalties = 10.0 ** np.arange(-7, 5.1, 0.5)
    models = [RidgeRegression(alpha).fit(X[train], y[train]) for alpha in penalties]
    chosen = RidgeRegression("loo").fit(X[train], y[train])
    for values, colour, label in (
        ([error(model, train) for model in models], GREY, "400 fitted stars"),
        ([np.sqrt(model.loo_) for model in models], BLUE, "leave one out, the same stars"),
        ([error(model, test) for model in models], RED, f"{len(y) - 400} test stars"),
    ):
        axes.loglog(penalties, values, color=colour, lw=1.8, label=label)
    axes.axvline(chosen.alpha_, color=GOLD, lw=1.4, label="chosen by leave one out")
    axes.set_xlabel("penalty")
    axes.set_ylabel("rms error of Teff [K]")
    axes.legend(frameon=True, framealpha=1, edgecolor="none", fontsize=9)


FIGURES = {"chapter04_linear_regression": chapter04_linear_regression}
