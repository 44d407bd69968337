"""``/figure``: the last fit of a conversation drawn with its data and the uncertainty of the line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from statml.errors import InputError
from tutor.chat.events import Event, ToolCall


def draw(events: Sequence[Event], path: Path) -> ToolCall:
    """Save the last ``fit`` or ``posterior`` as a PNG and return the call that was drawn.

    Raises
    ------
    InputError
        There was none.
    """
    fits = [e for e in events if isinstance(e, ToolCall) and e.name in ("fit", "posterior") and not e.error]
    if not fits:
        raise InputError("there is nothing to draw yet; /fit x=1,2,3 y=2,4,6.1 gives a line to draw")
    call = fits[-1]
    from matplotlib.figure import Figure

    x = np.asarray(call.arguments["x"], dtype=float)
    y = np.asarray(call.arguments["y"], dtype=float)
    errors = call.arguments.get("y_err") or None
    params = np.asarray(call.result.get("coefficients") or call.result["mean"])
    cov = np.asarray(call.result["covariance"])
    grid = np.linspace(x.min(), x.max(), 200)
    powers = np.vander(grid, len(params), increasing=True)
    line, std = powers @ params, np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", powers, cov, powers), 0))
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(grid, line - std, line + std, alpha=0.3, lw=0, label="line, 68 %")
    axes.plot(grid, line)
    axes.errorbar(x, y, errors, fmt="o", ms=4, color="black", lw=1, label="data")
    axes.set(xlabel="x", ylabel="y")
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return call
