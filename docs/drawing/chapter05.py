"""The figure of chapter 5: prior to posterior, evidence, the parts of a prediction, few rows."""

from __future__ import annotations

import numpy as np
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from statml import datasets, units
from statml.regression import BayesianLinearRegression, LinearRegression, NormalInverseGammaRegression

Array = np.ndarray
SIMULATIONS = 300


def bayesian_regression() -> Figure:
    """Four panels; a to c on the line of Hogg, Bovy & Lang (2010), d simulated."""
    figure = Figure(figsize=(9.0, 6.9), layout="constrained")
    (posterior, evidence), (parts, few) = figure.subplots(2, 2)
    X, y, sigma = _points()
    _posterior(posterior, X, y, sigma)
    _evidence(evidence, X, y, sigma)
    _parts(parts, X, y, sigma)
    _few_rows(few)
    titles = (
        "prior $\\times$ likelihood = posterior",
        "chi-square never says stop, the evidence does",
        "where the variance of an answer comes from",
        "a width chosen by the evidence needs rows",
    )
    for letter, axes, title in zip("abcd", (posterior, evidence, parts, few), titles):
        tidy(axes, letter, title)
    return figure


def _points() -> tuple[Array, Array, Array]:
    points = datasets.load("hogg2010")
    X, y, errors = units.from_table(points[points["id"] >= 5], x="x", y="y")
    assert y is not None and errors.y_err is not None
    return X, y, errors.y_err


def _posterior(axes: Axes, X: Array, y: Array, sigma: Array) -> None:
    """Contours of 68 and 95 % in the plane of intercept and slope."""
    mean, cov = np.array([0.0, 2.0]), np.diag([100.0, 0.2]) ** 2
    least = LinearRegression().fit(X, y, y_err=sigma)
    bayes = BayesianLinearRegression(prior_mean=mean, prior_cov=cov, scatter=0.0).fit(X, y, y_err=sigma)
    for center, spread, colour, label in (
        (mean, cov, GREY, "prior"),
        (least.params_, least.params_cov_, GOLD, "likelihood (least squares)"),
        (bayes.params_, bayes.params_cov_, BLUE, "posterior"),
    ):
        for probability, width in ((0.68, 2.0), (0.95, 0.9)):
            curve = _ellipse(center, spread, probability)
            axes.plot(*curve, color=colour, lw=width, label=label if probability == 0.68 else None)
    axes.set(xlabel="intercept", ylabel="slope", xlim=(-110, 150), ylim=(1.55, 2.75))
    axes.legend(frameon=False, fontsize=9, loc="upper right")


def _ellipse(center: Array, spread: Array, probability: float) -> Array:
    """The contour of a bivariate normal that holds a probability, (2, 200)."""
    angle = np.linspace(0, 2 * np.pi, 200)
    radius = np.sqrt(-2 * np.log1p(-probability))
    circle = np.array([np.cos(angle), np.sin(angle)])
    return center[:, None] + radius * np.linalg.cholesky(spread) @ circle


def _evidence(axes: Axes, X: Array, y: Array, sigma: Array) -> None:
    """Chi-square and log evidence of polynomials of degree 1 to 5."""
    degrees = np.arange(1, 6)
    z = (X[:, 0] - 150) / 100
    chi2, evidence = np.empty(5), np.empty(5)
    for i, degree in enumerate(degrees):
        A = z[:, None] ** np.arange(1, degree + 1)
        chi2[i] = LinearRegression().fit(A, y, y_err=sigma).chi2_
        model = BayesianLinearRegression(prior_cov=400.0**2, scatter=0.0)
        evidence[i] = model.fit(A, y, y_err=sigma).log_evidence_
    axes.plot(degrees, evidence - evidence.max(), "o-", color=BLUE, label="log evidence, below the best")
    axes.plot(degrees, -0.5 * (chi2 - chi2.max()), "s--", color=RED, label="log likelihood, above degree 1")
    axes.axhline(0, color=GREY, lw=0.7)
    axes.set(xlabel="degree of the polynomial", ylabel="log", xticks=degrees)
    axes.legend(frameon=False, fontsize=9, loc="lower left")


def _parts(axes: Axes, X: Array, y: Array, sigma: Array) -> None:
    """Variance of the observed y, stacked, inside and outside the data."""
    model = BayesianLinearRegression().fit(X, y, y_err=sigma)
    x = np.linspace(-150, 450, 200)
    prediction = model.predict_dist(x[:, None], X_err=9.0, y_err=25.0)
    names = {
        "noise": (GREY, "noise: error of y"),
        "input": ("#7fb0e0", "input: error of x"),
        "model": (GOLD, "model: scatter"),
        "parameter": (BLUE, "parameter: uncertain line"),
    }
    axes.stackplot(
        x,
        [prediction.variance_components[name] for name in names],
        colors=[colour for colour, _ in names.values()],
        labels=[label for _, label in names.values()],
        alpha=0.85,
    )
    axes.plot(X[:, 0], np.full(len(X), 25.0), "|", color=INK, ms=9)
    axes.text(150, 160, "data", ha="center", fontsize=9, color=INK)
    axes.set(xlabel="x", ylabel="variance of the observed y", xlim=(-150, 450), ylim=(0, 3600))
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], frameon=False, fontsize=9, loc="upper center")


def _few_rows(axes: Axes) -> None:
    """Coverage of nominal 68 % intervals with five features and few rows."""
    rows = np.array([9, 10, 14, 20, 35, 60, 100])
    axes.axhline(0.68, color=GREY, lw=1.2)
    for model, colour, marker, label in (
        (
            NormalInverseGammaRegression(prior_cov=4.0, noise_df=5.0, noise_scale=0.5),
            BLUE,
            "o",
            "prior known",
        ),
        (NormalInverseGammaRegression(), RED, "s", "prior width by evidence"),
        (NormalInverseGammaRegression(prior_cov=np.inf, noise_df=0), GOLD, "^", "flat prior"),
    ):
        seen = np.array([covered(model, n, simulations=SIMULATIONS) for n in rows])
        axes.errorbar(rows, seen[:, 0], seen[:, 1], fmt=marker + "-", color=colour, label=label)
    axes.axvline(100, color=INK, lw=0.8, ls=":")
    axes.text(97, 0.47, "n = 20 p", ha="right", fontsize=9, color=INK)
    axes.set(xlabel="rows n, five features", ylabel="fraction covered", xscale="log", ylim=(0.42, 0.72))
    axes.set_xticks(rows, [str(n) for n in rows])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=9, loc="lower center")


def covered(model: NormalInverseGammaRegression, n: int, *, simulations: int) -> tuple[float, float]:
    """Mean probability of a new true y inside its 68 % interval, and the standard error of that mean.

    Noise and slopes are drawn from the prior that is known; the probability is exact for
    each fit, so that few simulations draw a smooth curve.
    """
    rng = np.random.default_rng(1)
    inside = np.empty(simulations)
    for i in range(simulations):
        noise = 0.5 * np.sqrt(5 / rng.chisquare(5))
        constant, slopes = 2 * noise * rng.normal(), 2 * noise * rng.normal(size=5)
        X, new = rng.normal(size=(n, 5)), rng.normal(size=(20, 5))
        y = constant + X @ slopes + noise * rng.normal(size=n)
        low, high = model.fit(X, y).predict_dist(new).interval(0.68)
        truth = stats.norm(constant + new @ slopes, noise)
        inside[i] = np.mean(truth.cdf(high) - truth.cdf(low))
    return float(inside.mean()), float(inside.std() / np.sqrt(simulations))


FIGURES = {"chapter05_bayesian_regression": bayesian_regression}
