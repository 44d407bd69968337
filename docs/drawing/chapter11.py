"""Clusters: stellar discs, criteria, collapse, deconvolution, a conditional density, spectra."""

from __future__ import annotations

from functools import cache

import numpy as np
from drawing.style import BLUE, GOLD, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from statml import datasets, units
from statml.decomposition import PCA
from statml.mixture import ExtremeDeconvolution, GaussianMixture

Array = np.ndarray


def clustering() -> Figure:
    """Six panels, all from bundled stars."""
    figure = Figure(figsize=(11.4, 7.0), layout="constrained")
    panels = figure.subplots(2, 3).ravel()
    drawn = (_discs, _criteria, _collapse, _deconvolution, _conditional, _spectra)
    for letter, axes, draw in zip("abcdef", panels, drawn):
        tidy(axes, letter, draw(axes))
    return figure


@cache
def _giants() -> tuple[Array, Array]:
    stars = datasets.load("gaia_xp")
    keep = (stars["teff"] > 4000) & (stars["teff"] < 5500) & (stars["logg"] < 3.6) & (stars["fe_h"] > -1)
    X, _, errors = units.from_table(stars[keep], x=["fe_h", "alpha_m"])
    assert errors.X_err is not None
    return X, errors.X_err


def _ellipses(axes: Axes, mean: Array, covariance: Array, colour: str, style: str = "-") -> None:
    values, vectors = np.linalg.eigh(covariance)
    angle = np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1]))
    for sigma in (1, 2):
        width, height = 2 * sigma * np.sqrt(values[::-1])
        axes.add_patch(
            Ellipse(
                mean,
                width,
                height,
                angle=angle,
                fill=False,
                color=colour,
                lw=2 if sigma == 1 else 1,
                ls=style,
            )
        )


def _abundances(axes: Axes) -> None:
    axes.set(xlabel="[Fe/H] [dex]", ylabel="[$\\alpha$/M] [dex]", xlim=(-1.2, 0.6), ylim=(-0.35, 0.55))


def _discs(axes: Axes) -> str:
    X, _ = _giants()
    model = GaussianMixture(3, n_init=8, random_state=0).fit(X)
    share, colours = model.predict_proba(X), np.array([[27, 79, 156], [224, 160, 48], [200, 85, 61]]) / 255
    axes.scatter(*X.T, s=7, c=share @ colours, lw=0)
    for mean, covariance, colour in zip(model.means_, model.covariances_, (BLUE, GOLD, RED)):
        _ellipses(axes, mean, covariance, colour)
    _abundances(axes)
    return "three normals, two discs"


def _criteria(axes: Axes) -> str:
    X, err = _giants()
    counts = np.arange(1, 9)
    fits = [ExtremeDeconvolution(int(k), n_init=4, random_state=0).fit(X, X_err=err) for k in counts]
    for name, colour, marker in (("aic", GOLD, "s"), ("bic", BLUE, "o"), ("icl", RED, "^")):
        values = np.array([getattr(fit, name)(X, X_err=err) for fit in fits])
        axes.plot(
            counts, values - values.min(), color=colour, marker=marker, ms=5, lw=1.8, label=name.upper()
        )
        axes.plot(counts[np.argmin(values)], 0, marker=marker, ms=13, mfc="none", color=colour)
    axes.set_yscale("symlog", linthresh=20)
    axes.set(xlabel="components K", ylabel="criterion - its best", ylim=(-6, 2000))
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    return "three criteria, three answers"


def _collapse(axes: Axes) -> str:
    X, _ = _giants()
    few = X[np.random.default_rng(2).choice(len(X), 120, replace=False)]
    model = GaussianMixture(2, random_state=0).fit(few)
    widths = np.logspace(-0.3, -4, 80)
    likelihood, posterior = [], []
    star = few[np.argmax(np.sum((few - few.mean(axis=0)) ** 2, axis=1))]
    rest, rest_cov = model.means_, model.covariances_
    model.weights_ = np.append(model.weights_ * (1 - 1 / 120), 1 / 120)
    for width in widths:
        model.means_ = np.vstack([rest, star])
        model.covariances_ = np.concatenate([rest_cov, width**2 * np.eye(2)[None]])
        likelihood.append(np.sum(model.score_samples(few)))
        posterior.append(likelihood[-1] + model.prior_.log_density(model.covariances_))
    axes.semilogx(widths, likelihood, color=RED, lw=2, label="log likelihood")
    axes.semilogx(widths, posterior, color=BLUE, lw=2, label="log posterior")
    axes.invert_xaxis()
    top = max(posterior)
    axes.set(
        xlabel="width of a component on one star [dex]", ylabel="log probability", ylim=(top - 45, top + 25)
    )
    axes.legend(frameon=False, fontsize=9, loc="center right")
    return "the likelihood has no maximum"


def _deconvolution(axes: Axes) -> str:
    X, err = _giants()
    rng = np.random.default_rng(0)
    added = rng.uniform(0.03, 0.15, X.shape)
    noisy, noisy_err = X + added * rng.normal(size=X.shape), np.hypot(added, err)
    axes.scatter(*noisy.T, s=4, color="#c3c6cb", lw=0)
    for model, kwargs, data, colour, style, label in (
        (GaussianMixture(2, random_state=0), {}, noisy, RED, "-", "mixture of the noisy values"),
        (
            ExtremeDeconvolution(2, n_init=4, random_state=0),
            {"X_err": noisy_err},
            noisy,
            BLUE,
            "-",
            "deconvolved",
        ),
        (
            ExtremeDeconvolution(2, n_init=4, random_state=0),
            {"X_err": err},
            X,
            INK,
            ":",
            "before noise was added",
        ),
    ):
        model.fit(data, **kwargs)
        rich = np.argmax(model.means_[:, 0])
        _ellipses(axes, model.means_[rich], model.covariances_[rich], colour, style)
        axes.plot([], [], color=colour, ls=style, lw=2, label=label)
    _abundances(axes)
    axes.legend(
        frameon=False, fontsize=9, loc="upper right", title="the iron-rich component", title_fontsize=9
    )
    return "taking the errors out"


def _conditional(axes: Axes) -> str:
    stars = datasets.load("gaia_xp")
    labels, _, errors = units.from_table(stars, x=["teff", "fe_h", "logg"])
    keep = (labels[:, 0] > 3800) & (labels[:, 0] < 7000)
    assert errors.X_err is not None
    labels, err = labels[keep], errors.X_err[keep]
    model = ExtremeDeconvolution(8, random_state=0).fit(labels, X_err=err)
    teff, logg = np.linspace(3900, 6900, 150), np.linspace(0.2, 5.1, 200)
    given = np.stack([teff, np.full_like(teff, -0.2), np.full_like(teff, np.nan)], axis=1)
    prediction = model.conditional(2, given)
    density = np.exp([prediction.log_prob(np.full_like(teff, value)) for value in logg])
    axes.contourf(
        teff,
        logg,
        density,
        cmap="Blues",
        levels=[0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6],
        extend="max",
        norm="log",
    )
    near = np.abs(labels[:, 1] + 0.2) < 0.15
    axes.scatter(labels[near, 0], labels[near, 2], s=4, color=INK, lw=0)
    axes.plot(teff, prediction.mean, color=RED, lw=1.5, label="mean")
    axes.set(xlabel="$T_\\mathrm{eff}$ [K]", ylabel="log g", xlim=(6900, 3900), ylim=(5.1, 0.2))
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    return "p(log g | Teff, [Fe/H] = -0.2)"


def _spectra(axes: Axes) -> str:
    stars = datasets.load("gaia_xp")
    flux, _, errors = units.from_table(stars, x="flux")
    assert errors.X_err is not None
    wavelength = stars.meta["wavelength"][28:328]
    flux, err = flux[:, 28:328], errors.X_err[:, 28:328]
    seen, new = np.split(np.random.default_rng(3).permutation(len(stars)), [2500])
    axes_of = PCA(6).fit(flux[seen])
    scores, covariance = axes_of.propagate(flux, X_err=err)
    model = ExtremeDeconvolution(8, random_state=0).fit(scores[seen], X_cov=covariance[seen])
    drawn = axes_of.inverse_transform(model.sample(25, rng=0)[0])
    axes.plot(wavelength, drawn.T, color="#8da4cd", lw=0.8)
    log_density = model.score_samples(scores[new], X_cov=covariance[new])
    odd = new[np.argmin(log_density)]
    axes.plot([], [], color="#8da4cd", lw=1, label="25 drawn")
    axes.plot(wavelength, flux[odd], color=RED, lw=1.6, label=f"oddest of {len(new):,}\nreal ones")
    axes.set(xlabel="wavelength [nm]", ylabel="flux over its median", ylim=(-0.3, 6.6))
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    return "spectra drawn, and an odd one"


FIGURES = {"chapter11_clustering": clustering}
