"""Looking at chains: traces, and rank plots, in which chains that agree look alike.

Rank all draws of a parameter over all chains; if the chains sample one distribution the
ranks of each are uniform, and its histogram is flat within the noise (Vehtari et al. 2021).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from statml.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from statml.sampling.chain import Chain

BINS = 20
MOST_PARAMETERS, MOST_CHAINS = 12, 16


def trace_and_ranks(chain: Chain) -> Figure:
    """One row for each of the first parameters: traces of the chains, and the ranks of each chain.

    Raises
    ------
    InputError
        Fewer than 20 draws.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    if chain.draws.shape[1] < BINS:
        raise InputError(f"the chain has {chain.draws.shape[1]} draws; accepted are at least {BINS}")
    shown = chain.names[:MOST_PARAMETERS]
    figure = Figure(figsize=(9, 1.9 * len(shown) + 0.5), layout="constrained")
    panels = figure.subplots(len(shown), 2, squeeze=False, width_ratios=[2, 1])
    chains, draws = chain.draws.shape[:2]
    colours = colormaps["viridis"](np.linspace(0, 0.9, min(chains, MOST_CHAINS)))
    expected = draws / BINS
    for (left, right), name in zip(panels, shown):
        values = chain[name]
        ranks = stats.rankdata(values).reshape(values.shape) / values.size
        for trace, rank, colour in zip(values, ranks, colours):
            left.plot(trace, color=colour, lw=0.5, alpha=0.8)
            counts, edges = np.histogram(rank, bins=BINS, range=(0, 1))
            right.stairs(counts / expected, edges, color=colour, lw=0.9)
        left.set_ylabel(name)
        left.set_xlim(0, draws - 1)
        band = 3 / np.sqrt(expected)
        right.axhspan(1 - band, 1 + band, color="0.9", zorder=0)
        right.set_xlim(0, 1)
        right.set_ylabel("draws / expected", fontsize=8)
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=8)
    panels[-1, 0].set_xlabel("draw")
    panels[-1, 1].set_xlabel("rank among all chains")
    if chain.dependent:
        panels[0, 1].set_title("walkers depend on each other", fontsize=8, loc="left")
    return figure
