r"""Independent draws: by inverting a cumulative distribution, by rejection, by weighting.

Inverse CDF: u uniform, x = F^-1(u). Exact, in one dimension.

Rejection: draw x from q, keep it with probability p(x) / (M q(x)), where M bounds p / q
everywhere. What is kept is from p, and 1 of M draws is kept if both are normalised.

Importance: keep all, with weights w = p / q. Their mean estimates the integral of p; the
worth of n draws is (sum w)^2 / sum w^2, and whether that can be believed says the tail
of the weights (`statml.sampling.pareto`).

A proposal is anything with ``rvs(size=, random_state=)`` and ``logpdf(x)``: a frozen
distribution of scipy.stats, of one or many dimensions, or a class of yours.

Source: arXiv:2506.12230, chapter 12; von Neumann (1951); Kahn & Marshall (1953).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from statml.compute import generator
from statml.errors import InputError, InputTypeError
from statml.sampling.evidence import LogEvidence
from statml.sampling.weighted import WeightedDraws

Array = np.ndarray

# Draws of the proposal in one go, and how many may be spent on one that is hardly ever kept.
BATCH, MOST_PROPOSALS = 100_000, 100_000_000
# Rounding allowed above a bound that is exactly attained.
ROUNDING = 1e-9


class Proposal(Protocol):
    """What can be drawn from, and has a density."""

    def rvs(self, *, size: int, random_state: np.random.Generator) -> Array:
        """Draws (size,) or (size, parameters)."""

    def logpdf(self, x: Array) -> Array:
        """Log density of draws, normalised."""


def inverse_cdf(
    cdf: Callable[[Array], Any], bounds: tuple[float, float], size: int, *, rng: Any = None
) -> WeightedDraws:
    """Independent draws from a cumulative distribution, which is inverted by bisection.

    Parameters
    ----------
    cdf : callable
        (n,) to (n,), from 0 to 1 between the bounds without falling.
    bounds : (float, float)
        Where the distribution lives.
    size : int
    rng : int, Generator or None

    Returns
    -------
    WeightedDraws
        With equal weights.

    Raises
    ------
    InputError
        `cdf` is not 0 and 1 at the bounds.

    Examples
    --------
    >>> import numpy as np
    >>> draws = inverse_cdf(lambda x: x**2, (0, 1), 10_000, rng=0).draws     # density 2 x
    >>> bool(abs(draws.mean() - 2 / 3) < 0.01)
    True
    """
    low, high = (float(bound) for bound in bounds)
    ends = np.asarray(cdf(np.array([low, high])), float)
    if not (low < high and np.all(np.isfinite([low, high])) and np.allclose(ends, [0, 1], atol=1e-9)):
        raise InputError(
            f"cdf is {ends.tolist()} at bounds {(low, high)}; accepted is a distribution that is 0 and 1 there"
        )
    u = generator(rng).random(_size(size))
    below, above = np.full(size, low), np.full(size, high)
    # Until no number lies between, as bounds may be many times wider than the distribution.
    while np.any((below < (middle := 0.5 * below + 0.5 * above)) & (middle < above)):
        under = np.asarray(cdf(middle)) < u
        below, above = np.where(under, middle, below), np.where(under, above, middle)
    return WeightedDraws(0.5 * below + 0.5 * above, np.zeros(size), size, LogEvidence(0.0, 0.0))


def rejection(
    log_density: Callable[[Array], Any], proposal: Proposal, log_bound: float, size: int, *, rng: Any = None
) -> WeightedDraws:
    """Independent draws from a density, by keeping some of a proposal's.

    Parameters
    ----------
    log_density : callable
        Draws (n,) or (n, parameters) to (n,); need not be normalised.
    proposal : Proposal
        With tails at least as heavy; see the module.
    log_bound : float
        log M, at least the largest log_density - proposal.logpdf.
    size : int
        Draws to keep.
    rng : int, Generator or None

    Returns
    -------
    WeightedDraws
        With equal weights; `acceptance`, and the log of the integral of the density.

    Raises
    ------
    InputError
        A draw shows that the bound does not hold, or hardly any is kept.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import stats
    >>> kept = rejection(lambda x: -0.5 * x**2, stats.cauchy(), np.log(2 * np.pi) - 0.5, 20_000, rng=0)
    >>> bool(abs(kept.draws.std() - 1) < 0.02), bool(abs(kept.log_evidence.value - np.log(2 * np.pi) / 2) < 0.02)
    (True, True)
    """
    random, size = generator(rng), _size(size)
    if not np.isfinite(log_bound):
        raise InputError(f"log_bound is {log_bound!r}; accepted is a finite number")
    kept: list[Array] = []
    found = spent = 0
    while found < size:
        x, log_ratio = _proposed(log_density, proposal, min(BATCH, 2 * size + 100), random)
        worst = int(np.argmax(log_ratio))
        if log_ratio[worst] > log_bound + ROUNDING:
            raise InputError(
                f"log_bound is {log_bound:g} and at x = {x[worst]} the log ratio of the densities is "
                f"{log_ratio[worst]:g}; accepted is a bound that holds everywhere"
            )
        keep = np.flatnonzero(-random.standard_exponential(len(x)) < log_ratio - log_bound)
        if found + len(keep) >= size:  # count only up to the last one needed
            keep = keep[: size - found]
            spent += int(keep[-1]) + 1
        else:
            spent += len(x)
        kept.append(x[keep])
        found += len(keep)
        if spent > MOST_PROPOSALS and found < size:
            raise InputError(
                f"of {spent} draws of the proposal {found} were kept; accepted is a proposal closer to the density"
            )
    # The number of trials until `size` successes: size - 1 over trials - 1 has no bias.
    rate = max(size - 1, 1) / max(spent - 1, 1)
    evidence = LogEvidence(float(log_bound + np.log(rate)), float(np.sqrt(max(1 - rate, 0.0) / size)))
    return WeightedDraws(np.concatenate(kept), np.zeros(size), spent, evidence)


def importance(
    log_density: Callable[[Array], Any], proposal: Proposal, size: int, *, rng: Any = None
) -> WeightedDraws:
    """Draws of a proposal, weighted by the density over that of the proposal.

    Parameters
    ----------
    log_density : callable
        Draws (n,) or (n, parameters) to (n,); need not be normalised.
    proposal : Proposal
        With tails at least as heavy; see the module.
    size : int
    rng : int, Generator or None

    Returns
    -------
    WeightedDraws
        Look at its `ess` and `pareto_k`; its evidence is the log of the mean weight.

    Raises
    ------
    InputError
        The density is NaN or infinite somewhere, or zero at every draw.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import stats
    >>> weighted = importance(lambda x: -0.5 * x**2, stats.t(3), 20_000, rng=0)
    >>> bool(abs(weighted.std - 1) < 0.03), weighted.reliable
    (True, True)
    >>> importance(stats.t(3).logpdf, stats.norm(0, 0.5), 20_000, rng=0).reliable
    False
    """
    x, log_ratio = _proposed(log_density, proposal, _size(size), generator(rng))
    if not np.any(log_ratio > -np.inf):
        raise InputError(
            "log_density is -inf at every draw of the proposal; accepted is a proposal that reaches where the "
            "density is"
        )
    top = log_ratio.max()
    weight = np.exp(log_ratio - top)
    mean = weight.mean()
    evidence = LogEvidence(
        float(top + np.log(mean)), float(weight.std(ddof=1) / np.sqrt(size) / mean) if size > 1 else np.inf
    )
    return WeightedDraws(x, log_ratio, size, evidence)


def _size(size: Any) -> int:
    if not isinstance(size, int | np.integer) or size < 1:
        raise InputError(f"size is {size!r}; accepted is a whole number of at least 1")
    return int(size)


def _proposed(
    log_density: Callable[[Array], Any], proposal: Proposal, size: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draws of the proposal, and the log ratios of the densities there."""
    for name in ("rvs", "logpdf"):
        if not callable(getattr(proposal, name, None)):
            raise InputTypeError(
                f"proposal is a {type(proposal).__name__} without {name}; accepted is a frozen distribution of "
                "scipy.stats, or an object with rvs(size=, random_state=) and logpdf(x)"
            )
    x = np.asarray(proposal.rvs(size=size, random_state=rng), float)
    x = x.reshape(size, -1) if x.ndim > 1 or (size == 1 and x.ndim == 1 and x.size > 1) else x.reshape(size)
    with np.errstate(divide="ignore"):
        value = np.asarray(log_density(x), float)
    if value.shape != (size,):
        raise InputError(
            f"log_density returned shape {value.shape} for draws of shape {x.shape}; accepted is ({size},)"
        )
    bad = np.flatnonzero(np.isnan(value) | (value == np.inf))
    if len(bad):
        raise InputError(
            f"log_density is {value[bad[0]]} at {x[bad[0]]}; accepted are finite numbers, and -inf where the "
            "density is zero"
        )
    return x, value - np.asarray(proposal.logpdf(x), float).reshape(size)
