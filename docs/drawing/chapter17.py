"""The figure of generative models: abundances, their slices, codes of spectra, a posterior without a likelihood."""

from __future__ import annotations

import numpy as np
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from statml import datasets
from statml.neural import (
    ConditionalFlow,
    FlowDensity,
    MixtureDensityNetwork,
    NeuralPosterior,
    Training,
    VariationalAutoencoder,
)
from statml.regression import BayesianLinearRegression

Array = np.ndarray
SETTINGS = Training(epochs=40, batch_size=100, learning_rate=0.01, validation=0.15)


def generative() -> Figure:
    """Six panels."""
    figure = Figure(figsize=(10.6, 6.4), layout="constrained")
    figure.set_layout_engine("constrained", wspace=0.06, hspace=0.06)
    axes = figure.subplots(2, 3)
    stars, train, test = _stars()
    _abundances(axes[0, 0], axes[0, 1], stars, train)
    _codes(axes[0, 2], stars, train, test)
    model = _distance_model()
    _posterior(axes[1, 0], model)
    _ranks(axes[1, 1], model)
    _edge(axes[1, 2])
    titles = (
        "alpha given iron, by a flow",
        "two slices of it",
        "codes of spectra",
        "distance and absolute magnitude",
        "ranks of simulated truths",
        "a density with an edge",
    )
    for letter, title, one in zip("abcdef", titles, axes.ravel()):
        tidy(one, letter, title)
    return figure


def _stars() -> tuple[object, Array, Array]:
    stars = datasets.load("gaia_xp")
    measured = np.isfinite(stars["alpha_m"]) & np.isfinite(stars["fe_h"])
    stars = stars[measured & (stars["teff"] >= 4000) & (stars["teff"] <= 7000)]
    order = np.random.default_rng(0).permutation(len(stars))
    return stars, order[:2000], order[2000:]


def _abundances(left: Axes, right: Axes, stars: object, train: Array) -> None:
    fe_h, alpha, err = (np.asarray(stars[name], float) for name in ("fe_h", "alpha_m", "alpha_m_err"))  # type: ignore[index]
    data = fe_h[train, None], alpha[train]
    models = {
        "line": BayesianLinearRegression(),
        "mixture": MixtureDensityNetwork(3, hidden=(32, 32), training=SETTINGS, random_state=0),
        "flow": ConditionalFlow(bins=10, hidden=(32, 32), training=SETTINGS, random_state=0),
    }
    for model in models.values():
        model.fit(*data, y_err=err[train])
    x, y = np.linspace(-1.6, 0.45, 160), np.linspace(-0.15, 0.42, 160)
    density = np.exp(models["flow"].predict_dist(x[:, None]).log_prob(y[:, None]))
    shown = left.contourf(x, y, density, levels=[0.5, 1, 2, 3, 4, 6, 8, 12], cmap="Blues", extend="max")
    bar = left.figure.colorbar(shown, ax=left, pad=0.02, aspect=30)
    bar.set_label("density of [alpha/M]", fontsize=9)
    left.plot(fe_h[train], alpha[train], ".", ms=1.2, color=INK, alpha=0.5)
    left.set(xlim=(-1.6, 0.45), ylim=(-0.15, 0.42), xlabel="[Fe/H]", ylabel="[alpha/M]")
    styles = {"line": (GREY, "-"), "mixture": (GOLD, "-"), "flow": (BLUE, "-")}
    for value, shift in ((-0.4, 0.0), (-0.7, 8.0)):
        for name, model in models.items():
            slice_ = np.exp(model.predict_dist([[value]]).log_prob(y[:, None]))[:, 0]
            label = name if value == -0.4 else None
            right.plot(y, slice_ + shift, color=styles[name][0], lw=1.6, label=label)
        right.axhline(shift, color=INK, lw=0.6)
        place = (-0.14, 5.0, "left") if value == -0.7 else (0.41, 3.4, "right")
        right.text(place[0], shift + place[1], f"[Fe/H] = {value}", ha=place[2], fontsize=9, color=INK)
    right.set(xlim=(-0.15, 0.42), yticks=[], xlabel="[alpha/M]", ylabel="density", ylim=(-0.3, 17))
    right.legend(frameon=False, fontsize=9, loc="upper center", ncols=3, columnspacing=1.0, handlelength=1.2)


def _codes(axes: Axes, stars: object, train: Array, test: Array) -> None:
    flux, err = (np.asarray(stars[name], float)[:, 28:328] for name in ("flux", "flux_err"))  # type: ignore[index]
    settings = Training(epochs=60, batch_size=100, learning_rate=5e-3)
    model = VariationalAutoencoder(2, hidden=(64, 32), training=settings, random_state=0)
    codes = model.fit(flux[train], X_err=err[train]).transform(flux[test])
    teff = np.asarray(stars["teff"], float)[test]  # type: ignore[index]
    shown = axes.scatter(*codes.T, c=teff, s=7, cmap="RdYlBu", vmin=4000, vmax=6600, edgecolors="none")
    bar = axes.figure.colorbar(shown, ax=axes, pad=0.02, aspect=30)
    bar.set_label("temperature, not shown to it [K]", fontsize=9)
    axes.set(xlabel="first code", ylabel="second code")


def _star(theta: Array, rng: np.random.Generator, dust: float = 0.0) -> Array:
    distance, absolute = theta.T
    parallax = 1 / distance + 0.1 * rng.normal(size=len(distance))
    magnitude = absolute + 10 + 5 * np.log10(distance) + dust + 0.05 * rng.normal(size=len(distance))
    return np.column_stack([parallax, magnitude])


def _distance_model() -> NeuralPosterior:
    model = NeuralPosterior(
        [stats.uniform(0.2, 2.8), stats.norm(4.5, 1.0)],
        hidden=(48, 48),
        training=Training(epochs=40, batch_size=200, learning_rate=0.01, validation=0.1, clip=5.0),
        random_state=0,
    )
    return model.fit(*model.simulate(_star, 6000, rng=1))


def _posterior(axes: Axes, model: NeuralPosterior) -> None:
    observed = [0.8, 14.5]
    draws = model.posterior(observed, draws=1500, rng=2).flat
    distance, absolute = np.meshgrid(np.linspace(0.9, 2.1, 300), np.linspace(2.8, 5, 300), indexing="ij")
    expected = absolute + 10 + 5 * np.log10(distance)
    log_p = stats.norm.logpdf(1 / distance, observed[0], 0.1) + stats.norm.logpdf(expected, observed[1], 0.05)
    log_p += stats.norm.logpdf(absolute, 4.5, 1.0)
    axes.plot(*draws.T, ".", ms=2, color=BLUE, alpha=0.4)
    levels = log_p.max() + np.array([-4.5, -2.0, -0.5])
    axes.contour(distance, absolute, log_p, levels=levels, colors=RED, linewidths=1.0, linestyles="solid")
    axes.plot([], [], "o", ms=4, color=BLUE, label="draws of the flow")
    axes.plot([], [], color=RED, label="exact, 1 to 3 sigma")
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    axes.set(xlim=(0.9, 2.1), ylim=(2.8, 4.9), xlabel="distance [kpc]", ylabel="absolute magnitude")


def _ranks(axes: Axes, model: NeuralPosterior) -> None:
    for colour, dust, label in ((BLUE, 0.0, "as simulated"), (RED, 0.3, "0.3 mag of dust")):
        rng = np.random.default_rng(3)
        theta, _ = model.simulate(_star, 1000, rng=rng)
        ranks = model.ranks(theta, _star(theta, rng, dust), rng=4)[:, 1]
        axes.hist(ranks, bins=20, range=(0, 1), histtype="step", lw=1.6, color=colour, label=label)
    axes.axhspan(50 - 3 * 50**0.5, 50 + 3 * 50**0.5, color=GREY, alpha=0.2, lw=0)
    axes.axhline(50, color=GREY, lw=0.8)
    axes.set(xlim=(0, 1), xlabel="rank of the true absolute magnitude", ylabel="count")
    axes.legend(frameon=False, fontsize=9, loc="upper right")


def _edge(axes: Axes) -> None:
    X = np.random.default_rng(0).exponential(size=(1000, 1))
    grid = np.linspace(-0.8, 3, 800)
    settings = Training(epochs=30, batch_size=100, learning_rate=0.01)
    for colour, low, label in ((RED, None, "no bound"), (BLUE, 0.0, "bound at 0")):
        flow = FlowDensity(layers=1, hidden=(16,), low=low, training=settings, random_state=0).fit(X)
        axes.plot(grid, np.exp(flow.score_samples(grid[:, None])), color=colour, lw=1.6, label=label)
    axes.plot(grid, np.where(grid > 0, np.exp(-grid), 0), color=INK, lw=0.9, ls="--", label="truth")
    axes.axvspan(-0.8, 0, color=GREY, alpha=0.15, lw=0)
    axes.set(xlim=(-0.8, 3), ylim=(0, 1.6), xlabel="x", ylabel="density")
    axes.legend(frameon=False, fontsize=9)


FIGURES = {"chapter17_generative": generative}
