"""Figure of Bayesian classification: a skewed posterior, averaged probabilities, the evidence."""

from __future__ import annotations

import numpy as np
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import special, stats

from statml import datasets
from statml.classification import BayesianLogisticRegression

# Sixteen stars that a line separates, and a weak prior of the slope.
FEATURE = np.r_[np.linspace(-2, -0.4, 8), np.linspace(0.4, 2, 8)]
PRECISION = 0.02


def posterior() -> Figure:
    """Slope, probabilities, evidence."""
    figure = Figure(figsize=(11.4, 3.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    model = BayesianLogisticRegression(prior_precision=PRECISION, fit_intercept=False)
    model.fit(FEATURE[:, None], FEATURE > 0)
    b = np.linspace(-4, 26, 1201)
    signed = np.abs(FEATURE)
    log_joint = np.sum(special.log_expit(b[:, None] * signed), axis=1) - 0.5 * PRECISION * b**2
    density = np.exp(log_joint - log_joint.max())
    density /= np.sum(density) * (b[1] - b[0])
    _slope(left, b, density, model)
    _probability(middle, b, density, model)
    _evidence(right)
    return figure


def _slope(axes: Axes, b: np.ndarray, density: np.ndarray, model: BayesianLogisticRegression) -> None:
    normal = stats.norm.pdf(b, model.coef_[0], model.coef_err_[0])
    axes.fill_between(b, density, color=BLUE, alpha=0.25, lw=0, label="posterior")
    axes.plot(b, density, color=BLUE, lw=1.5)
    axes.plot(b, normal, color=RED, lw=1.5, label="Laplace")
    prior = stats.norm.pdf(b, 0, PRECISION**-0.5)
    axes.plot(b, prior, color=GREY, lw=1.2, ls="--", label="prior")
    axes.set(xlabel="slope", ylabel="density", xlim=(-4, 24), ylim=(0, None))
    axes.legend(frameon=False, fontsize=9)
    tidy(axes, "a", "The posterior is skewed")


def _probability(axes: Axes, b: np.ndarray, density: np.ndarray, model: BayesianLogisticRegression) -> None:
    x = np.linspace(-1.2, 1.2, 241)
    sigmoids = special.expit(np.outer(x, b)) @ density * (b[1] - b[0])
    axes.plot(x, special.expit(25 * x), color=GREY, lw=1.2, ls=":", label="maximum likelihood: steeper yet")
    axes.plot(x, special.expit(model.coef_[0] * x), color=GOLD, lw=1.5, label="at the mode")
    axes.plot(x, model.predict_proba(x[:, None])[:, 1], color=RED, lw=1.5, label="averaged, Laplace")
    axes.plot(x, sigmoids, color=BLUE, lw=1.5, label="averaged, posterior")
    near = np.abs(FEATURE) < 1.2
    axes.plot(FEATURE[near], FEATURE[near] > 0, "|", color=INK, ms=9)
    axes.set(
        xlabel="feature", ylabel="probability of the second class", ylim=(-0.05, 1.62), yticks=[0, 0.5, 1]
    )
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")
    tidy(axes, "b", "Averages are modest")


def _evidence(axes: Axes) -> None:
    X, giant = forty_stars()
    standard = (X - X.mean(axis=0)) / X.std(axis=0)
    widths = np.geomspace(0.1, 100, 25)
    fits = [
        BayesianLogisticRegression(prior_precision=width**-2).fit(standard, giant).check_laplace(2000)
        for width in widths
    ]
    axes.plot(widths, [fit.laplace_log_evidence for fit in fits], color=RED, lw=1.5, label="Laplace")
    drawn = np.array([(fit.log_evidence, fit.log_evidence_err) for fit in fits])
    axes.errorbar(widths, *drawn.T, fmt="o", color=BLUE, ms=3.5, lw=1, label="importance sampling", zorder=0)
    best = BayesianLogisticRegression().fit(X, giant)
    axes.axvline(best.prior_width_, color=GREY, lw=1, ls="--")
    axes.text(best.prior_width_ * 0.9, -17.5, "chosen", color=GREY, fontsize=9, ha="right")
    axes.set(xscale="log", xlabel="prior width of the slopes", ylabel="log evidence")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    tidy(axes, "c", "Too narrow, too wide")


def forty_stars() -> tuple[np.ndarray, np.ndarray]:
    """Three colours of forty cool Gaia stars, and which are giants: the training set of the page."""
    stars = datasets.load("gaia_xp")
    teff, logg = np.asarray(stars["teff"]), np.asarray(stars["logg"])
    stars = stars[(teff > 4200) & (teff < 5300) & ((logg < 3.2) | (logg > 4.2))]
    wavelength, flux = stars.meta["wavelength"], np.asarray(stars["flux"])
    bands = [((505, 530), (540, 560)), ((400, 450), (600, 650)), ((840, 880), (740, 800))]

    def mean(low: float, high: float) -> np.ndarray:
        return flux[:, (wavelength >= low) & (wavelength < high)].mean(axis=1)

    X = np.column_stack([-2.5 * np.log10(mean(*blue) / mean(*red)) for blue, red in bands])
    train = np.random.default_rng(0).permutation(len(X))[:40]
    return X[train], np.asarray(stars["logg"])[train] < 3.5


FIGURES = {"chapter09_posterior": posterior}
