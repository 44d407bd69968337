r"""What a telescope sees of a correlation: noise in stars, a beam and uncertain line ratios in gas.

Errors of s_X dex add (mean_X s_X ln 10)^2 to the variance of X and nothing to covariances,

    rho_obs = rho / sqrt(phi_X phi_Y),   phi_X = 1 + (mean_X^2 / var_X) (s_X ln 10)^2.

A beam of Gaussian standard deviation s smooths the field: sigma_c^2 -> sigma_c^2 + s^2, s = FWHM / sqrt(8 ln
2). A cloud in which young stars mix before they form does the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from astropy import units as u

from statml.errors import InputError, InputTypeError
from statml.research.abundances.channels import Channel, Element
from statml.research.abundances.correlation import CorrelationMatrix, correlation_matrix
from statml.research.abundances.dimensions import LENGTH, magnitude, number
from statml.research.abundances.environment import Environment

Array = np.ndarray

FWHM_PER_SIGMA = float(np.sqrt(8 * np.log(2)))
# Of the released analysis: a beam of 20 pc, and intrinsic variance half of the total.
BEAM_FWHM = 20 * u.pc
DILUTION = 2.0


def observe_stars(
    matrix: CorrelationMatrix, sigma_dex: float | Sequence[float] | Mapping[str, float]
) -> CorrelationMatrix:
    """Correlations between abundances of stars that are measured with errors.

    Parameters
    ----------
    matrix : CorrelationMatrix
        Of the true abundances.
    sigma_dex : float, array (n,) or dict
        Standard errors of log10 abundance; a dictionary has one for each symbol.

    Returns
    -------
    CorrelationMatrix
        With the noise in `variance`; the diagonal of `values` stays 1.

    Examples
    --------
    >>> from statml.research.abundances import Environment, correlation_matrix, load_elements
    >>> rho = correlation_matrix(load_elements(["O", "Mg"]), Environment.fiducial())
    >>> round(rho["O", "Mg"], 3), round(observe_stars(rho, 0.01)["O", "Mg"], 3)
    (0.77, 0.657)
    """
    errors = _errors(matrix, sigma_dex)
    phi = 1 + matrix.mean**2 / matrix.variance * (errors * np.log(10)) ** 2
    values = matrix.values / np.sqrt(np.outer(phi, phi))
    np.fill_diagonal(values, 1.0)
    return replace(matrix, values=values, variance=matrix.variance * phi)


def _errors(matrix: CorrelationMatrix, sigma_dex: Any) -> Array:
    if not isinstance(matrix, CorrelationMatrix):
        raise InputTypeError(
            f"matrix is a {type(matrix).__name__}; accepted is what correlation_matrix returns"
        )
    if isinstance(sigma_dex, Mapping):
        missing = [symbol for symbol in matrix.symbols if symbol not in sigma_dex]
        if missing:
            raise InputError(
                f"sigma_dex lacks {', '.join(missing)}; accepted is an error for every element of the matrix"
            )
        sigma_dex = [sigma_dex[symbol] for symbol in matrix.symbols]
    if isinstance(sigma_dex, u.Quantity):
        sigma_dex = sigma_dex.to_value(u.dex)
    errors = np.asarray(sigma_dex, dtype=float)
    n = len(matrix.symbols)
    if errors.ndim and errors.shape != (n,):
        raise InputError(
            f"sigma_dex has shape {errors.shape}; accepted is one number or one for each of {n} elements"
        )
    if not (np.isfinite(errors) & (errors >= 0)).all():
        raise InputError(
            "sigma_dex has a value that is negative or not finite; accepted are standard errors in dex"
        )
    return np.broadcast_to(errors, n)


def observe_gas(
    elements: Sequence[Element],
    env: Environment,
    beam_fwhm: Any = BEAM_FWHM,
    dilution: float = DILUTION,
    *,
    cloud: Any = 0 * u.pc,
    delays: str = "median",
    drift: str = "isotropic",
) -> CorrelationMatrix:
    """Correlations of the gas as seen with a beam, diluted by noise that the elements do not share.

    Parameters
    ----------
    elements, env, delays, drift
        As of `correlation_matrix`.
    beam_fwhm : Quantity
        Full width of the beam at half maximum, in the galaxy's plane.
    dilution : float
        Total over intrinsic variance, at least 1.
    cloud : Quantity
        Standard deviation of a further Gaussian, such as that of clouds in which stars mix.

    Returns
    -------
    CorrelationMatrix

    Examples
    --------
    >>> from statml.research.abundances import Environment, load_elements
    >>> round(observe_gas(load_elements(["O", "N"]), Environment.fiducial(), dilution=1)["O", "N"], 3)
    0.647
    """
    beam = magnitude("beam_fwhm", beam_fwhm, LENGTH, least=0) / FWHM_PER_SIGMA
    mixed = magnitude("cloud", cloud, LENGTH, least=0)
    dilution = number("dilution", dilution, least=1)
    seen = correlation_matrix(
        [through_beam(each, np.hypot(beam, mixed) * LENGTH) for each in elements], env, delays, drift
    )
    values = seen.values / dilution
    np.fill_diagonal(values, 1.0)
    return replace(seen, values=values, variance=seen.variance * dilution)


def through_beam(element: Element, sigma: Any) -> Element:
    """The element as seen through a Gaussian of standard deviation `sigma`: every channel's width is larger.

    Examples
    --------
    >>> from astropy import units as u
    >>> from statml.research.abundances import load_elements
    >>> [round(float(c.width.value), 1) for c in through_beam(*load_elements(["O"]), 10 * u.pc).fractions]
    [60.8, 10.2, 60.8]
    """
    smoothing = magnitude("sigma", sigma, LENGTH, least=0)
    wider: dict[Channel, Channel] = {
        c: replace(c, width=np.hypot(c.width.value, smoothing) * LENGTH) for c in element.fractions
    }
    return element.with_channels(wider)
