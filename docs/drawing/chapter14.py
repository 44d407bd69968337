"""The figure of Gaussian processes: a function with its band, the evidence of a length scale, a folded light curve."""

from __future__ import annotations

import numpy as np
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from statml import datasets, units
from statml.errors import DataNotFoundError
from statml.gp import RBF, GaussianProcessRegressor, Periodic

Array = np.ndarray
SIGMA, SCATTER = 800.0, 300.0


def gaussian_processes() -> Figure:
    """Three panels."""
    figure = Figure(figsize=(11.6, 3.9), layout="constrained")
    figure.get_layout_engine().set(wspace=0.07)  # type: ignore[union-attr]
    left, middle, right = figure.subplots(1, 3)
    x, y, y_err = _stars()
    _function(left, x, y, y_err)
    _evidence(middle, x, y - 5000, y_err)
    _light_curve(right)
    return figure


def _stars() -> tuple[Array, Array, Array]:
    """The forty stars of the page: first component of the spectrum, temperature and its error."""
    stars = datasets.load("gaia_xp")
    stars = stars[(stars["teff"] >= 4000) & (stars["teff"] <= 7000)]
    flux, teff, err = units.from_table(stars, x="flux", y="teff")
    train = np.random.default_rng(0).permutation(len(stars))[:300]
    scores = PCA(6, whiten=True).fit_transform(flux[train, 28:328])
    return scores[:40, :1], teff[train[:40]], err.y_err[train[:40]]


def _function(axes: Axes, x: Array, y: Array, y_err: Array) -> None:
    process = GaussianProcessRegressor(RBF(1.0, SIGMA), random_state=0).fit(x, y, y_err=y_err)
    grid = np.linspace(-2.6, 4.2, 200)
    prediction = process.predict_dist(grid[:, None])
    function = np.sqrt(prediction.variance_components["parameter"])
    for width, alpha in ((prediction.std, 0.14), (function, 0.30)):
        axes.fill_between(
            grid, prediction.mean - width, prediction.mean + width, color=BLUE, alpha=alpha, lw=0
        )
    axes.plot(grid, prediction.mean, color=BLUE, lw=1.8)
    axes.plot(x[:, 0], y, "o", color=INK, ms=3.5, alpha=0.8, mew=0)
    axes.set(
        xlim=(grid[0], grid[-1]), ylim=(3700, 7300), xlabel="first principal component", ylabel="teff [K]"
    )
    tidy(axes, "a", "what forty stars say")


def _evidence(axes: Axes, x: Array, y: Array, y_err: Array) -> None:
    lengths = np.geomspace(0.03, 30, 80)
    fit, room = np.zeros((2, len(lengths)))
    for i, length in enumerate(lengths):
        K = RBF(length, SIGMA)(x) + np.diag(y_err**2 + SCATTER**2)
        fit[i], room[i] = -0.5 * y @ np.linalg.solve(K, y), -0.5 * np.linalg.slogdet(K)[1]
    best = int(np.argmax(fit + room))
    for values, colour, label in ((fit, GOLD, "fit"), (room, GREY, "room"), (fit + room, RED, "evidence")):
        values = values - values.max()
        axes.semilogx(lengths, values, color=colour, lw=2.2 if label == "evidence" else 1.5, label=label)
    axes.plot(lengths[best], 0, "o", color=RED, ms=6)
    axes.set(ylim=(-40, 3), xlabel="length scale", ylabel="log, below its maximum")
    axes.legend(frameon=False, fontsize=9, loc="lower center")
    tidy(axes, "b", "fit, room, evidence")


def _light_curve(axes: Axes) -> None:
    days, mag, mag_err, period, title = _star()
    model = GaussianProcessRegressor(Periodic(0.7, period=period, sigma=0.3), restarts=0)
    model.fit(days, mag, y_err=mag_err)
    period = model.kernel_.period  # type: ignore[attr-defined]
    once = np.linspace(0, 1, 200)
    zero = once[np.argmin(model.predict(days.max() + once[:, None] * period))]  # phase 0 is maximum light
    shown = np.linspace(-0.25, 1.25, 300)
    prediction = model.predict_dist(days.max() + (shown + zero)[:, None] * period)
    seen = ((days[:, 0] - days.max()) / period - zero + 0.25) % 1 - 0.25
    axes.fill_between(shown, *prediction.interval(0.95), color=BLUE, alpha=0.25, lw=0)
    axes.plot(shown, prediction.mean, color=BLUE, lw=1.6)
    for shift in (0, 1):
        axes.plot(seen + shift, mag, "o", color=INK, ms=3, alpha=0.8 if shift == 0 else 0.35, mew=0)
    axes.set(xlim=(-0.25, 1.25), xlabel=f"phase, period {period:.5f} d", ylabel="g [mag]")
    axes.invert_yaxis()
    tidy(axes, "c", title)


def _star() -> tuple[Array, Array, Array, float, str]:
    """Star 4099 of Stripe 82, or one like it where the table is not."""
    try:
        table = datasets.load("rr_lyrae_light_curves")
    except DataNotFoundError:
        rng, period = np.random.default_rng(0), 0.6418
        days = np.sort(rng.uniform(0, 3300, 59))
        draw = np.linalg.cholesky(Periodic(0.7, period=period, sigma=0.2)(days) + 1e-8 * np.eye(59))
        mag = 17 + draw @ rng.normal(size=59) + 0.01 * rng.normal(size=59)
        return days[:, None], mag, np.full(59, 0.005), period, "a simulated light curve"
    star = table[(table["id"] == 4099) & (table["band"] == "g")]
    days, mag, errors = units.from_table(star, x=["mjd"], y="mag")
    return days, mag, errors.y_err, float(star["period"][0]), "an RR Lyrae star over nine years"


FIGURES = {"chapter14_gaussian_processes": gaussian_processes}
