"""Figures of the results of `statml.statistics`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from statml.statistics.overdensity import OverdensitySearch

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
