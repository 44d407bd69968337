"""Figures of the results of `statml.statistics`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from statml.statistics.field import FieldCorrelation
    from statml.statistics.overdensity import OverdensitySearch
    from statml.statistics.two_point import TwoPoint

INK, BLUE, RED, GREY = "#22252b", "#1b4f9c", "#c8553d", "#8a8f98"


def overdensity_figure(search: OverdensitySearch, alpha: float) -> Figure:
    """Two panels: the first two coordinates with detections circled, and the look-elsewhere effect."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    field, chance = figure.subplots(1, 2)
    shown = -np.log10(search.p_local.min(axis=1))
    order = np.argsort(shown)
    dots = field.scatter(*search.centres[order, :2].T, c=shown[order], s=5, cmap="viridis")
    figure.colorbar(dots, ax=field, label="$-\\log_{10}\\, p_{local}$")
    for found in search.detections(alpha):
        field.add_patch(Circle(tuple(found.position[:2]), found.radius, fill=False, color=RED, lw=1.6))
    field.set(aspect="equal", title="field")
    null = -np.log10(search.null_smallest)
    chance.hist(null, bins=min(40, len(null) // 5 + 2), color=GREY, alpha=0.6, label="null fields")
    chance.axvline(shown.max(), color=RED, lw=2, label=f"this field: p_global = {search.p_global:.2g}")
    chance.set(
        xlabel="$-\\log_{10}$ of the smallest p_local",
        ylabel="fields",
        title=f"{search.trials:.0f} effective trials",
    )
    chance.legend(frameon=False)
    for axes in (field, chance):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def two_point_figure(found: TwoPoint) -> Figure:
    """xi with its errors, and the correlation of its errors where there is a covariance."""
    from matplotlib.figure import Figure

    panels = 1 if found.cov is None else 2
    figure = Figure(figsize=(4.8 * panels, 4.0), layout="constrained")
    axes, *rest = figure.subplots(1, panels, squeeze=False)[0]
    error = found.poisson_std if found.cov is None else found.std
    axes.errorbar(found.separation, found.xi, error, fmt="o", color=BLUE, ms=4, lw=1.2)
    axes.axhline(0, color=GREY, lw=0.8)
    axes.set(xlabel="separation", ylabel="$\\xi$", title="Poisson errors" if found.cov is None else "")
    axes.spines[["top", "right"]].set_visible(False)
    for other in rest:
        scale = found.std[:, None] * found.std
        image = other.imshow(found.cov / scale, vmin=-1, vmax=1, cmap="RdBu_r", origin="lower")
        other.set(xlabel="bin", ylabel="bin", title="correlation of the errors")
        figure.colorbar(image, ax=other)
    return figure


def field_figure(found: FieldCorrelation) -> Figure:
    """xi against separation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 4.0), layout="constrained")
    axes = figure.subplots()
    error = None if found.cov is None else found.std
    axes.errorbar(found.separation, found.xi, error, fmt="o-", color=BLUE, ms=4, lw=1.2)
    axes.axhline(0, color=GREY, lw=0.8)
    axes.set(xlabel="separation", ylabel="$\\xi$")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
