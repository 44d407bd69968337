r"""When, how widely, how rarely and where are r-process elements made? From one row of correlations.

The unknown element has one channel with a delay, a width, a kick and a mean number of events per cluster (an
effective number n / (1 + eps^2), for the scatter of yields only enters so). Its correlations with elements of
known channels follow, so from observed ones a posterior,

    z_obs = z(delay, width, kick, events) + discrepancy + sampling noise,     z = atanh(rho).

The discrepancy is what the theory gets wrong about known elements (`statml.research.abundances.discrepancy`).
Without it the answer means nothing: it would be narrow, and wrong for elements of which one knows better
(`statml.research.abundances.trials`).

The posterior is evaluated on a grid of four dimensions. The likelihood costs microseconds, the grid is exact
to its spacing, and it shows by itself where a posterior leans against the end of a prior, which for chains
would be one more thing to diagnose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy import units as u
from scipy import linalg

from statml.errors import InputError, InputTypeError
from statml.research.abundances.channels import Element, load_elements
from statml.research.abundances.correlation import correlation_matrix
from statml.research.abundances.dimensions import LENGTH, SPEED, TIME, magnitude, number
from statml.research.abundances.discrepancy import (
    Discrepancy,
    fisher_z,
    learn_discrepancy,
    sampling_covariance,
)
from statml.research.abundances.drift import check_drift
from statml.research.abundances.environment import Environment
from statml.research.abundances.observation import observe_stars
from statml.research.abundances.samples import Sample
from statml.research.abundances.unknown_element import unknown_correlations

Array = np.ndarray

PARAMETERS = ("delay", "width", "kick", "events")
# Stars behind the 30 elements of Mead et al. (2025), abstract of arXiv:2504.18532.
MEAD_STARS = 79
# A density at the end of a prior, over its maximum, from which a posterior is a limit.
PILED = 0.3
# Width of an interval over that of the prior, from which it says nothing.
UNINFORMATIVE = 0.8


@dataclass(frozen=True)
class Priors:
    """Ranges in which the logarithms of the parameters are uniform.

    Parameters
    ----------
    delay, width, kick : pair of Quantity
    events : pair of float
        Mean number for a cluster of mean mass.
    points : tuple of int
        Of the grid, for delay, width, kick and events.

    Examples
    --------
    >>> Priors().grid()["events"].shape
    (16,)
    """

    delay: Any = field(default_factory=lambda: (1, 2500) * u.Myr)
    width: Any = field(default_factory=lambda: (1, 400) * u.pc)
    kick: Any = field(default_factory=lambda: (0.1, 100) * u.km / u.s)
    events: tuple[float, float] = (1e-4, 10.0)
    points: tuple[int, int, int, int] = (40, 24, 12, 16)

    def grid(self) -> dict[str, Array]:
        """Points of each parameter, midpoints of equal cells of its logarithm, in Myr, pc, pc / Myr."""
        ends = {
            name: [
                magnitude(f"{name}[{i}]", value, unit, above=0) for i, value in enumerate(getattr(self, name))
            ]
            for name, unit in (("delay", TIME), ("width", LENGTH), ("kick", SPEED))
        }
        ends["events"] = [number("events", value, above=0) for value in self.events]
        for name, (low, high) in ends.items():
            if not low < high:
                raise InputError(
                    f"{name} of the priors is from {low:g} to {high:g}; accepted is a range that grows"
                )
        if len(self.points) != 4 or min(self.points) < 4:
            raise InputError(f"points is {self.points!r}; accepted are four numbers of at least 4")
        found = {}
        for name, count in zip(PARAMETERS, self.points):
            low, high = np.log(ends[name])
            found[name] = np.exp(low + (np.arange(count) + 0.5) * (high - low) / count)
        return found


UNITS = {"delay": TIME, "width": LENGTH, "kick": u.km / u.s, "events": u.one}


@dataclass(frozen=True, eq=False)
class RProcessPosterior:
    """What a row of correlations says about the channel of an element.

    Attributes
    ----------
    symbol : str
    partners : tuple of str
        The known elements of the row.
    grid : dict of arrays
        Points of delay (Myr), width (pc), kick (km/s) and events.
    probability : array (delay, width, kick, events)
        Of each cell; sums to 1.
    discrepancy : Discrepancy
    chi2 : float
        Smallest sum of squares, of sampling noise and discrepancy, over the grid; its degrees of freedom are at least
        ``len(partners) - 4``.
    chi2_alone : float
        The same with sampling noise only: how badly the theory would do without a discrepancy.
    """

    symbol: str
    partners: tuple[str, ...]
    grid: dict[str, Array]
    probability: Array
    discrepancy: Discrepancy
    chi2: float
    chi2_alone: float

    def marginal(self, parameter: str) -> Array:
        """Probability of each cell of one parameter."""
        axis = self._axis(parameter)
        return self.probability.sum(axis=tuple(i for i in range(4) if i != axis))

    def joint(self, first: str, second: str) -> Array:
        """Probability of the cells of two parameters, (first, second)."""
        a, b = self._axis(first), self._axis(second)
        both = self.probability.sum(axis=tuple(i for i in range(4) if i not in (a, b)))
        return both if a < b else both.T

    def _axis(self, parameter: str) -> int:
        if parameter not in PARAMETERS:
            raise InputError(f"parameter is {parameter!r}; accepted are {', '.join(PARAMETERS)}")
        return PARAMETERS.index(parameter)

    def quantile(self, parameter: str, probability: float) -> float:
        """Quantile of a parameter, in Myr, pc or km/s; the density is flat within a cell of the logarithm."""
        points, mass = np.log(self.grid[parameter]), self.marginal(parameter)
        half = (points[1] - points[0]) / 2
        edges = np.append(points - half, points[-1] + half)
        return float(np.exp(np.interp(probability, np.append(0, np.cumsum(mass)), edges)))

    def interval(self, parameter: str, level: float = 0.68) -> u.Quantity:
        """Central interval of a parameter."""
        ends = [self.quantile(parameter, q) for q in (0.5 - level / 2, 0.5 + level / 2)]
        return ends * UNITS[parameter]

    def piled(self, parameter: str) -> str:
        """Ends of the prior against which the posterior leans: "", "lower", "upper" or "both"."""
        mass = self.marginal(parameter)
        ends = [
            name for name, value in (("lower", mass[0]), ("upper", mass[-1])) if value > PILED * mass.max()
        ]
        return "both" if len(ends) == 2 else "".join(ends)

    def statement(self, parameter: str) -> str:
        """One line: an interval where there is one, a limit where the posterior leans against an end, or nothing.

        Limits are at 95 %.
        """
        unit = "" if UNITS[parameter] == u.one else f" {UNITS[parameter]}"
        piled = self.piled(parameter)
        if piled == "both" or (not piled and self.shrinkage(parameter) > UNINFORMATIVE):
            return "unconstrained"
        if piled:
            sign, q = ("<", 0.95) if piled == "lower" else (">", 0.05)
            return f"{sign} {self.quantile(parameter, q):.3g}{unit} (95 %)"
        low, high = self.interval(parameter).value
        return f"{self.quantile(parameter, 0.5):.3g}{unit} ({low:.3g} to {high:.3g})"

    def shrinkage(self, parameter: str) -> float:
        """Width of the 68 % interval over that of the prior, in the logarithm: 1 where nothing was learned."""
        low, high = np.log(self.interval(parameter).value)
        points = np.log(self.grid[parameter])
        return float((high - low) / (0.68 * len(points) * (points[1] - points[0])))


def infer_r_process(
    sample: Sample,
    symbol: str = "Eu",
    *,
    env: Environment | None = None,
    stars: int = MEAD_STARS,
    priors: Priors | None = None,
    elements: Sequence[Element] | None = None,
    delays: str = "median",
    drift: str = "isotropic",
    discrepancy: str = "learned",
) -> RProcessPosterior:
    """Infer the channel of an element from its observed correlations with elements of known channels.

    Parameters
    ----------
    sample : Sample
        Observed correlations, the row of `symbol` among them; the others teach the discrepancy.
    symbol : str
        The element whose channel is unknown; what is known of it otherwise is not used.
    env : Environment, optional
        By default the fiducial one.
    stars : int
        Number of stars behind the correlations.
    priors : Priors, optional
    elements : sequence of Element, optional
        The known ones, by default those of `load_elements`; only elements of the sample are used.
    delays, drift
        As of `correlation_matrix`, for the known elements.
    discrepancy : {"learned", "none"}
        "none" is there to show what comes of it.

    Returns
    -------
    RProcessPosterior

    Raises
    ------
    InputError, InputTypeError

    Examples
    --------
    >>> from statml.research.abundances.samples import Sample
    >>> from statml.research.abundances import Environment, correlation_matrix, load_elements
    >>> rho = correlation_matrix(load_elements(["O", "Mg", "Si", "Fe", "Ni", "Ba", "Y"]), Environment.fiducial())
    >>> made_up = Sample("theory itself", rho.symbols, rho.values, {})
    >>> posterior = infer_r_process(made_up, "Mg", stars=10_000)
    >>> posterior.partners
    ('O', 'Si', 'Fe', 'Ni', 'Y', 'Ba')
    """
    env = Environment.fiducial() if env is None else env
    priors = Priors() if priors is None else priors
    check_drift(drift)
    if discrepancy not in ("learned", "none"):
        raise InputError(f"discrepancy is {discrepancy!r}; accepted are 'learned' and 'none'")
    if not isinstance(sample, Sample):
        raise InputTypeError(
            f"sample is a {type(sample).__name__}; accepted is a Sample, such as load_sample('mead25')"
        )
    if symbol not in sample.symbols:
        raise InputError(f"symbol is {symbol!r}; accepted are {', '.join(sample.symbols)}")
    if not isinstance(stars, int | np.integer) or stars < 10:
        raise InputError(f"stars is {stars!r}; accepted is a whole number of at least 10")
    known = [
        e
        for e in (load_elements() if elements is None else elements)
        if e.symbol in sample.symbols and e.symbol != symbol
    ]
    partners = [element.symbol for element in known]
    part = sample.select([*partners, symbol])
    row, others = part.values[-1, :-1], part.values[:-1, :-1]
    if not np.isfinite(row).all():
        raise InputError(
            f"sample has no correlation of {symbol} with {', '.join(np.array(partners)[~np.isfinite(row)])}; accepted are whole rows"
        )
    theory = correlation_matrix(known, env, delays, drift)
    seen = observe_stars(theory, part.sigma_dex) if part.sigma_dex else theory
    left = learn_discrepancy(others, seen.values)
    if discrepancy == "none":
        left = Discrepancy(0 * row, np.zeros_like(others), 0.0, 0.0)
    grid = priors.grid()
    noise = part.sigma_dex.get(symbol, 0.0)
    rho = unknown_correlations(known, env, grid, delays=delays, drift=drift, sigma_dex=noise)
    z = fisher_z(rho * np.sqrt(theory.variance / seen.variance))
    sampling = sampling_covariance(row, others, stars)
    chi2 = _chi2(fisher_z(row) - left.mean - z, sampling + left.cov)
    probability = np.exp(-0.5 * (chi2 - chi2.min()))
    shown = grid | {"kick": (grid["kick"] * SPEED).to_value(u.km / u.s)}
    return RProcessPosterior(
        symbol,
        tuple(partners),
        shown,
        probability / probability.sum(),
        left,
        float(chi2.min()),
        float(_chi2(fisher_z(row) - z, sampling).min()),
    )


def _chi2(residual: Array, cov: Array) -> Array:
    factor = linalg.cholesky(cov, lower=True)
    flat = residual.reshape(-1, residual.shape[-1])
    white = linalg.solve_triangular(factor, flat.T, lower=True)
    return (white**2).sum(0).reshape(residual.shape[:-1])
