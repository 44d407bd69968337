"""Moves that EM cannot make: merge two components, split a third.

EM climbs to the nearest maximum. Where two components share one clump and one spans
two, no small step helps; merging the pair and splitting the third may. Pairs are ranked by how
alike their responsibilities are, splits by how badly a component describes the rows it
is responsible for; a proposal is kept where EM from it ends higher, so the log posterior
never falls. Source: Ueda et al. (2000, Neural Comput. 12, 2109); Bovy, Hogg & Roweis (2011), sec. 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from statml.mixture.components import Components
from statml.mixture.em import Fit
from statml.mixture.expectation import log_joint, responsibilities
from statml.mixture.measurements import Measurements

Array = np.ndarray

# How far the halves of a split component start from its mean, in its standard deviations.
HALF_STEP = 0.7


def improve(
    fit: Fit, data: Measurements, climb: Callable[[Components], Fit], weights: Array, candidates: int
) -> Fit:
    """Try `candidates` moves, start again after each that helped, stop when none does."""
    if len(fit.components) < 3:
        return fit
    improved = True
    while improved:
        improved = False
        for first, second, third in _moves(fit.components, data, weights)[:candidates]:
            found = climb(moved(fit.components, first, second, third))
            if (
                not found.collapsed
                and found.log_posterior > fit.log_posterior + 1e-6 * data.total_weight**0.5
            ):
                # What was kept: the way up from where the move overtook.
                history = np.concatenate([fit.history, found.history[found.history > fit.log_posterior]])
                fit, improved = replace(found, history=history), True
                break
    return fit


def _moves(components: Components, data: Measurements, weights: Array) -> list[tuple[int, int, int]]:
    """(merge, merge, split), the most promising first."""
    joint = log_joint(components, data)
    share = responsibilities(joint) * weights[:, None]
    norm = np.sqrt(np.sum(share**2, axis=0)) + 1e-300
    alike = (share / norm).T @ (share / norm)
    pairs = np.argsort(-alike[np.triu_indices(len(components), 1)], kind="stable")
    rows, columns = np.triu_indices(len(components), 1)
    misfit = _misfit(joint - np.log(components.weights), share)
    splits = np.argsort(-misfit, kind="stable")
    ranked = [
        (place_pair + place_split, (int(rows[pair]), int(columns[pair]), int(split)))
        for place_pair, pair in enumerate(pairs)
        for place_split, split in enumerate(splits)
        if split not in (rows[pair], columns[pair])
    ]
    return [move for _, move in sorted(ranked)]


def _misfit(log_density: Array, share: Array) -> Array:
    """Divergence of each component from the rows it answers for, sum_i f_i log(f_i / p_i), f_i their shares.

    Each row's density stands against the others of the same component; what the shape of
    the density has in common with all rows cancels only up to a constant, which ranks nothing.
    """
    total = np.sum(share, axis=0) + 1e-300
    f = share / total
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(f > 0, f * (np.log(f) - log_density), 0.0)
    return np.sum(terms, axis=0)


def moved(components: Components, first: int, second: int, third: int) -> Components:
    """The mixture with two components merged by their moments, and a third split along its longest axis."""
    weights, means = components.weights.copy(), components.means.copy()
    covariances = components.covariances.copy()
    together = weights[first] + weights[second]
    part = np.array([weights[first], weights[second]]) / together
    pair = [first, second]
    center = part @ means[pair]
    gap = means[pair] - center
    merged = np.tensordot(part, covariances[pair] + gap[:, :, None] * gap[:, None, :], 1)
    values, vectors = np.linalg.eigh(covariances[third])
    step = HALF_STEP * np.sqrt(values[-1]) * vectors[:, -1]
    half = covariances[third] - np.outer(step, step)
    weights[first], means[first], covariances[first] = together, center, merged
    weights[second] = weights[third] = 0.5 * weights[third]
    means[second], means[third] = means[third] + step, means[third] - step
    covariances[second] = covariances[third] = half
    return Components(weights, means, covariances)
