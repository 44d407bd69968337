"""Colours and finish shared by the figures of these pages."""

from __future__ import annotations

from matplotlib.axes import Axes

INK, BLUE, RED, GREY, GOLD = "#22252b", "#1b4f9c", "#c8553d", "#8a8f98", "#e0a030"


def tidy(axes: Axes, letter: str, title: str) -> None:
    """Title with a bold letter, two spines, small tick labels."""
    axes.set_title(f"$\\bf{{{letter}}}$   {title}", loc="left", fontsize=11.5, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
