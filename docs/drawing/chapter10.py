"""The figure of chapter 10: axes of galaxy images, their variances, gaps in spectra."""

from __future__ import annotations

import numpy as np
from drawing.style import BLUE, GOLD, GREY, INK, RED, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from statml import datasets
from statml.decomposition import PCA, HeteroscedasticPCA

Array = np.ndarray
SIDE = 16
STAR = 7  # its gap is drawn
COUNTS = (1, 2, 3, 4, 6, 8, 12)


def components() -> Figure:
    """Four panels; a and b on the Hubble Deep Field, c and d on Gaia XP spectra."""
    figure = Figure(figsize=(9.4, 7.2), layout="constrained")
    (images, variances), (spectrum, gaps) = figure.subfigures(2, 2, wspace=0.03, hspace=0.03)
    pca = PCA(12).fit(shapes())
    _images(images, pca)
    _variances(variances.subplots(), pca)
    flux, err, wavelength = _spectra()
    _spectrum(spectrum.subplots(), flux, err, wavelength)
    _gaps(gaps.subplots(), flux, err)
    return figure


def shapes() -> Array:
    """Central 16 x 16 pixels of each galaxy, sky subtracted, divided by their mean: (359, 256)."""
    image = datasets.load("hubble_stamps")["image"].data
    inner = image[:, 8:24, 8:24] - np.median(image, axis=(1, 2))[:, None, None]
    return (inner / inner.mean(axis=(1, 2))[:, None, None]).reshape(len(image), -1)


def _images(panel: SubFigure, pca: PCA) -> None:
    axes = panel.subplots(2, 3)
    pictures = [pca.mean_, *pca.components_[:5]]
    names = ["mean", "1: size", "2: elongation", "3: elongation", "4: offset", "5: offset"]
    for ax, picture, name in zip(axes.flat, pictures, names):
        limit = np.abs(picture).max()
        if name == "mean":
            ax.imshow(picture.reshape(SIDE, SIDE), cmap="gray")
        else:
            ax.imshow(picture.reshape(SIDE, SIDE), cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.set_xlabel(name, fontsize=9, color=INK)
        ax.set(xticks=[], yticks=[])
    panel.suptitle("$\\bf{a}$   axes of 359 galaxies", x=0.02, ha="left", fontsize=11.5, color=INK)


def _variances(axes: Axes, pca: PCA) -> None:
    """Variances with their errors; pairs that the errors cannot tell apart."""
    number = np.arange(1, 13)
    for pair in ((2, 3), (4, 5)):
        axes.axvspan(pair[0] - 0.35, pair[1] + 0.35, color=GREY, alpha=0.18, lw=0)
    axes.errorbar(
        number, pca.explained_variance_, pca.explained_variance_err_, fmt="o", color=BLUE, ms=4.5, capsize=2.5
    )
    axes.text(2.55, 47, "an angle", ha="center", fontsize=9, color=INK)
    axes.text(4.55, 33, "a shift", ha="center", fontsize=9, color=INK)
    axes.set(xlabel="component", ylabel="variance", yscale="log", xticks=number, ylim=(4.5, 210))
    tidy(axes, "b", "their variances; a pair is one thing turned")


def _spectra() -> tuple[Array, Array, Array]:
    stars = datasets.load("gaia_xp")[:1000]
    kept = slice(28, 328)
    return stars["flux"].data[:, kept], stars["flux_err"].data[:, kept], stars.meta["wavelength"][kept]


def _spectrum(axes: Axes, flux: Array, err: Array, wavelength: Array) -> None:
    """One star with two gaps, filled by a model of the others."""
    hidden = np.random.default_rng(0).random(flux.shape) < 0.3
    hidden[STAR] = False
    hidden[STAR, 20:70] = hidden[STAR, 150:200] = True
    gappy = np.where(hidden, np.nan, flux)
    model = HeteroscedasticPCA(8, tol=1e-3, random_state=0).fit(gappy, X_err=err)
    mean, std = (part[0] for part in model.reconstruct(gappy[[STAR]], X_err=err[[STAR]]))
    gap = hidden[STAR]
    axes.plot(wavelength, np.where(gap, np.nan, flux[STAR]), color=INK, lw=1.3, label="observed")
    axes.plot(wavelength[gap], flux[STAR, gap], ".", color=GOLD, ms=4, label="hidden")
    average = np.where(gap, np.nanmean(gappy, axis=0), np.nan)
    axes.plot(wavelength, average, color=RED, lw=1.2, ls="--", label="mean of all stars")
    axes.plot(wavelength, np.where(gap, mean, np.nan), color=BLUE, lw=1.3, label="8 axes, $\\pm 2\\sigma$")
    axes.fill_between(wavelength, mean - 2 * std, mean + 2 * std, where=gap, color=BLUE, alpha=0.25, lw=0)
    axes.set(xlabel="wavelength [nm]", ylabel="flux / median")
    axes.legend(frameon=False, fontsize=9)
    tidy(axes, "c", "a star with gaps")


def _gaps(axes: Axes, flux: Array, err: Array) -> None:
    """How far hidden pixels are from their prediction, against the number of axes."""
    hidden = np.random.default_rng(0).random(flux.shape) < 0.3
    gappy = np.where(hidden, np.nan, flux)
    filled = np.where(hidden, np.nanmean(gappy, axis=0), flux)
    ours, usual = [], []
    for k in COUNTS:
        model = HeteroscedasticPCA(k, tol=1e-3, random_state=0).fit(gappy, X_err=err)
        ours.append(np.median(np.abs(model.reconstruct(gappy, X_err=err)[0] - flux)[hidden]))
        pca = PCA(k).fit(filled)
        usual.append(np.median(np.abs(pca.inverse_transform(pca.transform(filled)) - flux)[hidden]))
    axes.plot(COUNTS, usual, "s--", color=RED, label="gaps filled with the mean")
    axes.plot(COUNTS, ours, "o-", color=BLUE, label="gaps left out, pixels weighted")
    axes.axhline(np.median(err[hidden]), color=GREY, lw=1.2)
    axes.text(0.8, np.median(err[hidden]) * 0.8, "median error bar", fontsize=9, color=INK)
    axes.set(xlabel="components", ylabel="median |predicted - hidden| flux", yscale="log", xticks=COUNTS)
    axes.set_ylim(0.004, 0.6)
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    tidy(axes, "d", "30 % of all pixels hidden")


FIGURES = {"chapter10_principal_components": components}
