r"""The posterior of a correlation function's parameters by weighted draws, the dilution integrated exactly.

For given lengths the expected correlation function, (n + o f) / (n_0 + o_0 f), is linear in a = 1 / (n_0 + o_0 f):

    xi = a (n - n_0 o / o_0) + o / o_0,

so that the likelihood is normal in a, and its integral over f is a sum over one line. What is left, two lengths and perhaps a
beam, is few enough to be filled evenly (a Sobol sequence): first the whole prior, then the box that holds what counts, and in the end the
cells of that box, each as often as its weight says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, special, stats

from statml.errors import InputError
from statml.research.abundances.correlation_model import normalised
from statml.research.abundances.correlation_prior import NAMES
from statml.sampling import WeightedDraws

if TYPE_CHECKING:
    from statml.research.abundances.correlation_length import Data

Array = np.ndarray

# Points of a round, and rounds that look for the box. Points that must count in the end.
POINTS, ROUNDS, LEAST = 2**10, 2, 200
# Cells of the box for each of the two lengths, and draws from them.
CELLS, DRAWS = 32, 2500
# Logarithm of the weight, beside the best, below which a point is left outside of the next box.
NEGLIGIBLE = 14.0
# Points on the line of the dilution, over so many standard deviations to each side.
LINE, REACH = 48, 6.0
# Prior probabilities of widths are stretched as t^3: small widths are where the posterior is.
STRETCH = 3


def weighted_draws(data: Data, rng: np.random.Generator) -> WeightedDraws:
    """Draws (n, 4) in the order of `NAMES`, weighted to the posterior.

    Raises
    ------
    InputError
        Hardly any draw counts in the end.
    """
    dimensions = 2 if data.prior.beam_pc is None else 3
    low, high = np.zeros(dimensions), np.ones(dimensions)
    for last in [False] * ROUNDS + [True]:
        t = low + (high - low) * stats.qmc.Sobol(dimensions, rng=rng).random(POINTS)
        log_weight = _weigh(data, t, rng)[1]
        if not last:
            low, high = _box(t, log_weight, low, high)
    t, log_density = _from_cells(t, log_weight, low, high, rng)
    draws, log_weight = _weigh(data, t, rng)
    found = WeightedDraws(draws, log_weight - log_density, len(draws))
    if found.ess < LEAST:
        raise InputError(
            f"method is 'importance', of whose {len(draws)} draws only {found.ess:.0f} count; accepted here is method='nuts'"
        )
    return found


def _weigh(data: Data, t: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draws (n, 4) at stretched prior probabilities, and the log of the posterior's density over these."""
    u = np.zeros((len(t), len(NAMES)))
    u[:, 0], u[:, 1] = t[:, 0] ** STRETCH, t[:, 1]
    if t.shape[1] == 3:
        u[:, 3] = t[:, 2]
    draws = data.prior.draws(u)
    log_weight, draws[:, 2] = _over_dilution(data, draws, rng)
    return draws, log_weight + (STRETCH - 1) * np.log(np.maximum(t[:, 0], 1e-300))


def _from_cells(
    t: Array, log_weight: Array, low: Array, high: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draws uniform within cells, chosen by the weight of the points in and around them, and their log density."""
    place = ((t - low)[:, :2] / (high - low)[:2] * CELLS).astype(int).clip(0, CELLS - 1)
    weight, number = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
    np.add.at(weight, tuple(place.T), np.exp(log_weight - log_weight.max()))
    np.add.at(number, tuple(place.T), 1.0)
    share = ndimage.uniform_filter(weight, 3, mode="constant") / ndimage.uniform_filter(
        number, 3, mode="constant"
    ).clip(0.1)
    # No cell that may hold a part of the posterior is left out.
    share = share / share.sum() + 0.05 / share.size
    share /= share.sum()
    chosen = rng.choice(share.size, DRAWS, p=share.ravel())
    inside = rng.random((DRAWS, t.shape[1]))
    inside[:, :2] = (np.stack(np.divmod(chosen, CELLS), axis=1) + inside[:, :2]) / CELLS
    return low + (high - low) * inside, np.log(share.ravel()[chosen])


def _box(t: Array, log_weight: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """The box around the points that count, with a margin of the distance between points."""
    counts = t[log_weight > log_weight.max() - NEGLIGIBLE]
    margin = (high - low) * POINTS ** (-1 / len(low))
    return np.maximum(counts.min(axis=0) - margin, low), np.minimum(counts.max(axis=0) + margin, high)


def _over_dilution(data: Data, draws: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Log of the likelihood's mean over the prior of the dilution, and a draw of the dilution, both (n,)."""
    sigma_inj, ln_kappa_t, _, beam = draws.T[:, :, None]
    expected = data.expected
    x = normalised(expected.squared, sigma_inj**2 + beam**2, np.exp(ln_kappa_t))
    lost, ratio = x @ expected.over_0, expected.own / expected.own_0
    shape = x @ expected.over.T - lost[:, None] * ratio
    target = data.xi - ratio
    weighted = shape @ data.precision
    curvature = np.einsum("ni,ni->n", weighted, shape)
    best, width = (weighted @ target) / curvature, curvature**-0.5
    chi2 = target @ data.precision @ target - best**2 * curvature

    least, most = data.prior.limits[2]
    from_a, to_a = (1 / (lost + expected.own_0 * f) for f in (most, least))
    start = np.clip(best - REACH * width, from_a, to_a - 1e-3 * (to_a - from_a))
    end = np.clip(best + REACH * width, start + 1e-3 * (to_a - from_a), to_a)
    a = start[:, None] + (end - start)[:, None] * (np.arange(LINE) + rng.random((len(draws), 1))) / LINE
    # A uniform f has the density a^-2 in a.
    log_density = -0.5 * ((a - best[:, None]) / width[:, None]) ** 2 - 2 * np.log(a)
    log_mean = special.logsumexp(log_density, axis=1) + np.log(end - start)
    cumulated = np.cumsum(special.softmax(log_density, axis=1), axis=1)
    chosen = np.minimum((cumulated < rng.random((len(draws), 1))).sum(axis=1), LINE - 1)
    picked = np.take_along_axis(a, chosen[:, None], axis=1)[:, 0]
    return log_mean - 0.5 * chi2, (1 / picked - lost) / expected.own_0
