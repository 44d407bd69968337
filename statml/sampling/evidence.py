r"""The evidence from tempered draws: how well do model and prior together expect the data?

With the densities p_beta ~ prior * L^beta between prior (beta = 0) and posterior
(beta = 1) the evidence Z = int prior * L follows in two ways from the same draws.

Thermodynamic integration: d log Z(beta) / d beta = E_beta[log L], so

    log Z = int_0^1 E_beta[log L] d beta,

by the trapezium rule with the correction -(step^2 / 12) * (difference of the variances),
as the variance of log L is the slope of the integrand (Friel, Hurn & Wyse 2014).

Stepping stone: each ratio of neighbouring constants is a mean under the flatter one,

    log Z = sum_j log E_{beta_j}[L^(beta_{j+1} - beta_j)]   (Xie et al. 2011).

Errors are by jackknife over blocks of draws, in which all temperatures are left out
together, since swaps make them depend on each other. That of the integral has a
second part, from what it changes when every other temperature is left out.

Sources: Gelman & Meng (1998); Xie et al. (2011), Syst. Biol. 60, 150; Friel, Hurn &
Wyse (2014), Stat. Comput. 24, 709.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from statml.errors import InputError

Array = np.ndarray

# Blocks of draws that a jackknife leaves out, one after the other.
BLOCKS = 20
# Without every other temperature the error is about 2^4 times as large; this allows for less.
DISCRETISATION = 1 / 3


class LogEvidence(NamedTuple):
    """Logarithm of an evidence, and its standard error."""

    value: float
    error: float


def thermodynamic(log_likelihood: Array, temperatures: Array, dependent: bool) -> LogEvidence:
    """By integration over temperature.

    Parameters
    ----------
    log_likelihood : array (chains, draws, temperatures)
    temperatures : array
        From 1 to infinity.
    dependent : bool
        The chains are walkers of one ensemble.

    Raises
    ------
    InputError
        The ladder does not end at an infinite temperature, or there are too few draws.
    """
    values, beta = _ordered(log_likelihood, temperatures)
    centre = values.mean(axis=(0, 1))
    units = _blocks(values - centre, dependent)
    sums = np.array([(u.shape[0], *u.sum(axis=0), *(u**2).sum(axis=0)) for u in units])

    def integral(total: Array) -> float:
        mean, square = np.split(total[1:] / total[0], 2)
        return _corrected_trapezium(beta, mean + centre, square - mean**2)

    value, error = _jackknife(sums, integral)
    total = sums.sum(axis=0)
    mean, square = np.split(total[1:] / total[0], 2)
    kept = np.unique(np.append(np.arange(0, len(beta), 2), len(beta) - 1))
    coarse = _corrected_trapezium(beta[kept], (mean + centre)[kept], (square - mean**2)[kept])
    return LogEvidence(value, float(np.hypot(error, DISCRETISATION * (value - coarse))))


def stepping_stone(log_likelihood: Array, temperatures: Array, dependent: bool) -> LogEvidence:
    """By steps from temperature to temperature; arguments as `thermodynamic`."""
    values, beta = _ordered(log_likelihood, temperatures)
    powers = np.diff(beta) * values[:, :, :-1]
    top = powers.max(axis=(0, 1))
    units = _blocks(np.exp(powers - top), dependent)
    sums = np.array([(u.shape[0], *u.sum(axis=0)) for u in units])
    return LogEvidence(*_jackknife(sums, lambda total: float(np.sum(np.log(total[1:] / total[0]) + top))))


def _ordered(log_likelihood: Array, temperatures: Array) -> tuple[Array, Array]:
    """Values and inverse temperatures, from the prior to the posterior."""
    beta = 1 / np.asarray(temperatures, float)
    order = np.argsort(beta)
    if len(beta) < 3 or beta[order[0]] != 0 or beta[order[-1]] != 1:
        raise InputError(
            f"temperatures are {np.asarray(temperatures).tolist()}; accepted for an evidence are at least three, "
            "from 1 to infinity"
        )
    if log_likelihood.shape[1] < BLOCKS:
        raise InputError(f"there are {log_likelihood.shape[1]} draws; accepted are at least {BLOCKS}")
    return log_likelihood[:, :, order], beta[order]


def _corrected_trapezium(beta: Array, mean: Array, variance: Array) -> float:
    step = np.diff(beta)
    return float(np.sum(step * (mean[1:] + mean[:-1]) / 2 - step**2 / 12 * np.diff(variance)))


def _blocks(values: Array, dependent: bool) -> list[Array]:
    """Blocks (size, temperatures) that are nearly independent: of chains, and of times as long as may be."""
    chains = len(values)
    if dependent:
        return [x.reshape(-1, values.shape[2]) for x in np.array_split(values, BLOCKS, axis=1)]
    times = max(-(-BLOCKS // chains), 1)
    return [x for chain in values for x in np.array_split(chain, times, axis=0)]


def _jackknife(sums: Array, estimate: Callable[[Array], float]) -> tuple[float, float]:
    """The estimate from all sums, and its standard error."""
    total = sums.sum(axis=0)
    without = np.array([estimate(total - each) for each in sums])
    n = len(sums)
    return estimate(total), float(np.sqrt((n - 1) / n * np.sum((without - without.mean()) ** 2)))
