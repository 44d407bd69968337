"""A table of a chain: what the parameters are, and how far that can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from statml.sampling import diagnostics

if TYPE_CHECKING:
    from statml.sampling.chain import Chain

QUANTILES = (0.05, 0.5, 0.95)


def summary(chain: Chain) -> Any:
    """One row for each parameter, an astropy Table.

    For dependent walkers R-hat is NaN, and errors and effective sizes come from the
    ensemble's autocorrelation time.
    """
    from astropy.table import Table

    table = Table()
    table["name"] = list(chain.names)
    table["mean"] = chain.flat.mean(axis=0)
    table["sd"] = chain.flat.std(axis=0, ddof=1)
    if chain.dependent:
        size = chain.ess()
        table["mcse_mean"] = table["sd"] / np.sqrt(size)
        # Of a normal; the ensemble has no chains whose spread could tell.
        table["mcse_sd"] = table["sd"] / np.sqrt(2 * size)
    else:
        table["mcse_mean"] = diagnostics.mcse(chain.draws)
        table["mcse_sd"] = diagnostics.mcse(chain.draws, kind="sd")
    for probability in QUANTILES:
        table[f"q{100 * probability:02.0f}"] = np.quantile(chain.flat, probability, axis=0)
    table["ess_bulk"] = chain.ess("bulk")
    table["ess_tail"] = chain.ess("tail")
    table["rhat"] = np.full(len(chain.names), np.nan) if chain.dependent else diagnostics.rhat(chain.draws)
    for name in table.colnames[1:]:
        table[name].info.format = ".0f" if name.startswith("ess") else ".4g"
    table.meta = {"sampler": chain.sampler, "divergences": chain.divergences, "dependent": chain.dependent}
    return table
