"""The figures of these pages, drawn from bundled data: ``python docs/figures.py [name ...]``.

Every module of ``docs/drawing`` has a dictionary ``FIGURES`` of functions that each
draw one figure; it is saved as ``docs/figures/NAME.png``.
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from matplotlib.figure import Figure

from statml.errors import InputError

PAGES = Path(__file__).parent
FOLDER = PAGES / "figures"


def every_figure() -> dict[str, Callable[[], Figure]]:
    """Name and function of each figure, over all modules of ``docs/drawing``."""
    found: dict[str, Callable[[], Figure]] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules([str(PAGES / "drawing")])):
        found |= getattr(import_module(f"drawing.{module}"), "FIGURES", {})
    return found


def main(names: list[str]) -> None:
    """Draw and save the named figures, or all."""
    figures = every_figure()
    for name in names or figures:
        if name not in figures:
            raise InputError(f"name is {name!r}; accepted are {', '.join(figures)}")
        FOLDER.mkdir(exist_ok=True)
        figures[name]().savefig(FOLDER / f"{name}.png", dpi=150)
        print(FOLDER / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
