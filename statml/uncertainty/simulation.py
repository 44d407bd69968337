r"""Simulation-based calibration: does a posterior mean what it says?

Draw a parameter from its prior and data from the parameter, fit, and ask where the
true value lies in its posterior. For a correct posterior that rank

    u = P(theta < theta_true | data)

is uniform between 0 and 1, for every parameter, whatever the data. A posterior too
narrow piles the ranks up at both ends, one too wide in the middle, a biased one on
a side. The test is a chi-square test over equal bins, its error rate shared by all
parameters (Bonferroni).

References: Talts et al. (2018), arXiv:1804.06788; Cook, Gelman & Rubin (2006).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from statml.compute import generator
from statml.errors import InputError

Array = np.ndarray
# Chance that a correct posterior is flagged, all parameters together.
ALPHA = 1e-3
BINS = 20


def rank_uniformity(ranks: Any, *, bins: int = BINS) -> Any:
    """P value of the chi-square test that ranks are uniform between 0 and 1.

    Parameters
    ----------
    ranks : array (S,) or (S, k)
        Of S simulations, for one or k parameters.
    bins : int
        Equal bins; at least 5 simulations must be expected in each.

    Returns
    -------
    float or array (k,)

    Raises
    ------
    InputError
        A rank outside [0, 1] or NaN, or too few simulations.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> rank_uniformity(rng.uniform(size=2000)) > 1e-3
    True
    >>> rank_uniformity(rng.beta(0.8, 0.8, size=2000)) > 1e-3
    False
    """
    ranks = np.asarray(ranks, float)
    if ranks.ndim not in (1, 2) or not np.all((ranks >= 0) & (ranks <= 1)):
        raise InputError("ranks holds a value outside [0, 1], or is not (S,) or (S, k); accepted are ranks")
    if bins < 2 or len(ranks) < 5 * bins:
        raise InputError(f"{len(ranks)} simulations in bins={bins}; accepted are at least 5 for each bin")
    columns = ranks.reshape(len(ranks), -1).T
    counts = [np.histogram(column, bins=bins, range=(0, 1))[0] for column in columns]
    p_values = np.array([stats.chisquare(count).pvalue for count in counts])
    return float(p_values[0]) if ranks.ndim == 1 else p_values


def rank_among(truth: Any, draws: Any, *, rng: Any = None) -> Array:
    """Ranks of true values among posterior draws, made continuous by a uniform random number.

    Parameters
    ----------
    truth : array (k,)
    draws : array (L, k)
        Nearly independent draws; thin a Markov chain to its effective size first, as
        correlated draws make the ranks of a correct posterior look too wide.
    rng : int, Generator or None
        Breaks ties, the gap between two draws included.

    Returns
    -------
    array (k,)
        Between 0 and 1, uniform for a correct posterior.

    Examples
    --------
    >>> import numpy as np
    >>> draws = np.arange(99.0)[:, None]
    >>> bool(0.5 <= rank_among([49.5], draws, rng=0)[0] <= 0.51)
    True
    """
    truth, draws = np.atleast_1d(np.asarray(truth, float)), np.asarray(draws, float)
    if draws.ndim != 2 or draws.shape[1:] != truth.shape or np.isnan(draws).any() or np.isnan(truth).any():
        raise InputError(
            f"truth has shape {truth.shape} and draws {draws.shape}; accepted are (k,) and (L, k) without NaN"
        )
    below = np.sum(draws < truth, axis=0)
    ties = np.sum(draws == truth, axis=0) + 1
    return (below + ties * generator(rng).uniform(size=len(truth))) / (len(draws) + 1)


@dataclass(frozen=True, eq=False)
class SimulationReport:
    """Ranks of the truth in S simulated posteriors; print it.

    Attributes
    ----------
    names : tuple of str
        The k parameters.
    ranks : array (S, k)
    p_values : array (k,)
        Of uniformity, one for each parameter.
    alpha : float
        Chance that a correct posterior is flagged, all parameters together.
    """

    names: tuple[str, ...]
    ranks: Array
    p_values: Array
    alpha: float

    @property
    def misses(self) -> list[str]:
        """Parameters whose ranks are not uniform, and how, one sentence each."""
        found = []
        for name, u, p in zip(self.names, self.ranks.T, self.p_values):
            if p < self.alpha / len(self.names):
                # a uniform u has mean 1/2 and variance 1/12
                shape = f"mean {u.mean():.3f} (0.500), spread {u.std() * np.sqrt(12):.3f} (1.000)"
                found.append(f"the ranks of {name} are not uniform (p = {p:.1e}): {shape}")
        return found

    @property
    def calibrated(self) -> bool:
        """No parameter with p below alpha / k."""
        return not self.misses

    def __str__(self) -> str:
        lines = [f"simulation-based calibration: {len(self.ranks)} simulations, {len(self.names)} parameters"]
        lines += [f"  {name:12s} p = {p:.3g}" for name, p in zip(self.names, self.p_values)]
        lines += [f"  MISCALIBRATED: {miss}" for miss in self.misses]
        return "\n".join(lines)


def simulation_report(
    ranks: Any, names: Sequence[str] | None = None, *, bins: int = BINS, alpha: float = ALPHA
) -> SimulationReport:
    """Test the ranks of true values in their simulated posteriors.

    Parameters
    ----------
    ranks : array (S, k)
        For S simulations and k parameters; from a posterior's cdf, or `rank_among` its draws.
    names : sequence of str, optional
        Of the parameters.
    bins, alpha
        Equal bins of the test, and its error rate for all parameters together.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import stats
    >>> rng = np.random.default_rng(1)
    >>> truth = rng.normal(size=2000)                    # prior N(0, 1), one datum of error 1
    >>> y = truth + rng.normal(size=2000)
    >>> def ranks(error):
    ...     variance = 1 / (1 + 1 / error**2)
    ...     return stats.norm.cdf(truth, variance * y / error**2, np.sqrt(variance))[:, None]
    >>> simulation_report(ranks(1.0)).calibrated, simulation_report(ranks(0.7)).calibrated
    (True, False)
    """
    ranks = np.asarray(ranks, float)
    ranks = ranks[:, None] if ranks.ndim == 1 else ranks
    p_values = rank_uniformity(ranks, bins=bins)
    chosen = tuple(names) if names is not None else tuple(f"theta[{j}]" for j in range(ranks.shape[1]))
    if len(chosen) != ranks.shape[1]:
        raise InputError(
            f"names has {len(chosen)} entries; accepted are {ranks.shape[1]}, one for a parameter"
        )
    return SimulationReport(chosen, ranks, p_values, alpha)
