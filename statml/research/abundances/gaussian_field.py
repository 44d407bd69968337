r"""Maps with the right power spectra, and nothing else: normal random fields, as a contrast.

White noise, transformed, is multiplied at every wavenumber by a square root of the matrix P_XY(k). Two-point functions
are then those of the theory, exactly; but nothing was injected anywhere, skewness is zero, and no statement about the theory
itself can be tested with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from statml.compute import generator
from statml.errors import InputError
from statml.research.abundances.channels import Element
from statml.research.abundances.covariance import mean, power_spectrum
from statml.research.abundances.deposit import SMALLEST_GRID
from statml.research.abundances.dimensions import LENGTH, TIME, WAVENUMBER, magnitude
from statml.research.abundances.drift import check_drift
from statml.research.abundances.environment import Environment
from statml.research.abundances.fields import Fields
from statml.research.abundances.kernel import check_environment
from statml.research.abundances.nodes import as_elements

Array = np.ndarray

# Wavenumbers at which the theory is computed; the spline between them is right to 1e-6.
KNOTS = 300


def gaussian_fields(
    env: Environment,
    elements: Sequence[Element],
    *,
    box: Any,
    grid: int,
    realisations: int = 1,
    drift: str = "isotropic",
    rng: Any = None,
) -> Fields:
    """Draw normal random fields with the power spectra of elements.

    Parameters
    ----------
    env : Environment
    elements : sequence of Element
    box : Quantity
        Side of the periodic square.
    grid : int
        Cells for each side, even. What is narrower than a cell is left out.
    realisations : int
    drift : {"isotropic", "aligned", "dispersing", "epicyclic"}
    rng : int, Generator or None

    Returns
    -------
    Fields
        As of `simulate`, with a map for each element.

    Raises
    ------
    InputError
        A value is not accepted.

    Examples
    --------
    >>> from astropy import units as u
    >>> from statml.research.abundances import Environment, load_elements
    >>> fields = gaussian_fields(Environment.fiducial(), load_elements(["O", "Fe"]), box=8 * u.kpc, grid=128,
    ...                          realisations=20, rng=0)
    >>> bool(abs(fields.correlation().mean[0, 1] - 0.6) < 0.1), bool(abs(fields.skewness().mean[0]) < 0.1)
    (True, True)
    """
    check_environment(env)
    check_drift(drift)
    each = as_elements(elements)
    if not isinstance(grid, int | np.integer) or grid < SMALLEST_GRID or grid % 2:
        raise InputError(f"grid is {grid!r}; accepted is an even whole number of at least {SMALLEST_GRID}")
    if not isinstance(realisations, int | np.integer) or realisations < 1:
        raise InputError(f"realisations is {realisations!r}; accepted is a whole number of at least 1")
    side = magnitude("box", box, LENGTH, above=0)
    root, missing = _roots(each, env, side, int(grid), drift)
    means = np.array([mean(element, env) for element in each])
    maps = np.empty((realisations, 1, len(each), grid, grid), np.float32)
    for number, stream in enumerate(generator(rng).spawn(int(realisations))):
        noise = np.fft.rfft2(stream.standard_normal((len(each), grid, grid)))
        maps[number, 0] = np.fft.irfft2(np.einsum("yxij,jyx->iyx", root, noise), s=(grid, grid))
        maps[number, 0] += means[:, None, None]
    symbols = tuple(element.symbol for element in each)
    return Fields(symbols, maps, np.eye(len(each)), missing, side * LENGTH, np.zeros(1) * TIME, env)


def _roots(
    elements: list[Element], env: Environment, side: float, grid: int, drift: str
) -> tuple[Array, Array]:
    """Square roots of the powers at the modes of the half spectrum, for white noise; and the power at k = 0 over the area."""
    along, across = np.fft.fftfreq(grid, 1 / grid), np.arange(grid // 2 + 1)
    k = 2 * np.pi / side * np.hypot(along[:, None], across)
    knots = np.concatenate([[0.0], np.geomspace(np.pi / side, 1.01 * k.max(), KNOTS)])
    area = (side / env.length_unit.value) ** 2
    n = len(elements)
    power = np.empty((KNOTS + 1, n, n))
    for i in range(n):
        for j in range(i, n):
            found = power_spectrum(knots * WAVENUMBER, elements[i], elements[j], env, drift=drift)
            power[:, i, j] = power[:, j, i] = (found / env.length_unit**2).value / area
    values, vectors = np.linalg.eigh(CubicSpline(knots, power)(k))
    roots = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :] @ np.swapaxes(vectors, -1, -2)
    return grid * roots, power[0]
