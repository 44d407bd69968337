"""What is believed of a correlation function's parameters before it is seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy import units as u
from scipy import stats

from statml.errors import InputError
from statml.research.abundances.correlation_model import Window
from statml.research.abundances.dimensions import LENGTH, magnitude

Array = np.ndarray

NAMES = ("sigma_inj", "ln_kappa_t", "dilution", "beam")
MOST_DILUTION = 20.0


@dataclass(frozen=True, eq=False)
class CorrelationPrior:
    """Independent priors.

    Parameters
    ----------
    sigma_inj : (Quantity, Quantity)
        Injection width, uniform between these.
    l_corr : (Quantity, Quantity)
        Correlation length sqrt(kappa t_star), uniform in the logarithm.
    dilution : (float, float)
        Total over intrinsic variance, uniform.
    beam : (Quantity, Quantity), optional
        Standard deviation of the beam and its error: a normal distribution, cut at zero. Without it there is no beam.

    Attributes
    ----------
    limits : array (3, 2)
        Of the first three of `NAMES`, in pc.
    beam_pc : list of float, or None

    Raises
    ------
    InputError, InputTypeError, WrongUnitError

    Examples
    --------
    >>> from astropy import units as u
    >>> prior = CorrelationPrior((0, 200) * u.pc, (0.1, 10) * u.kpc)
    >>> prior.quantile(0, 0.5).round(1), round(float(np.exp(prior.quantile(1, 0.5) / 2)))
    (np.float64(100.0), 1000)
    """

    sigma_inj: Any
    l_corr: Any
    dilution: tuple[float, float] = (1.0, MOST_DILUTION)
    beam: Any = None
    limits: Array = field(init=False, repr=False)
    beam_pc: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        widths = [magnitude("sigma_inj", each, LENGTH, least=0) for each in self.sigma_inj]
        lengths = [magnitude("l_corr", each, LENGTH, above=0) for each in self.l_corr]
        dilution = [float(each) for each in self.dilution]
        beam = None if self.beam is None else [magnitude("beam", each, LENGTH, least=0) for each in self.beam]
        for name, limits in (("sigma_inj", widths), ("l_corr", lengths), ("dilution", dilution)):
            if len(limits) != 2 or not limits[0] < limits[1]:
                raise InputError(f"{name} is {limits}; accepted are two limits, the lower one first")
        if dilution[0] < 1:
            raise InputError(
                f"dilution starts at {dilution[0]:g}; accepted is 1 or more, total over intrinsic variance"
            )
        if beam is not None and (len(beam) != 2 or not beam[1] > 0):
            raise InputError(f"beam is {self.beam}; accepted are a standard deviation and its error, > 0")
        ln_kappa_t = [2 * np.log(each) for each in lengths]
        object.__setattr__(self, "limits", np.array([widths, ln_kappa_t, dilution]))
        object.__setattr__(self, "beam_pc", beam)

    @classmethod
    def around(cls, separations: Array, window: Window | None) -> CorrelationPrior:
        """Wide priors: widths up to the longest separation (pc), lengths from the shortest to the largest in the window."""
        longest = separations.max() if window is None else window.separation.max()
        return cls(
            (0 * u.pc, separations.max() * LENGTH),
            (separations.min() * LENGTH, max(longest, separations.max()) * LENGTH),
        )

    def quantile(self, column: int, probability: Any) -> Any:
        """Quantiles of the parameter of this number in `NAMES`."""
        p = np.asarray(probability, float)
        if column < 3:
            low, high = self.limits[column]
            return low + (high - low) * p
        if self.beam_pc is None:
            return np.zeros_like(p)
        mean, error = self.beam_pc
        return stats.truncnorm.ppf(p, -mean / error, np.inf, loc=mean, scale=error)

    def draws(self, uniform: Array) -> Array:
        """From uniform numbers (n, 4) to parameters (n, 4)."""
        return np.stack([self.quantile(column, uniform[:, column]) for column in range(len(NAMES))], axis=1)
