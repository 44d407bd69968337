"""From the sky to the plane of a disc, and abundances without their radial gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u

from statml.errors import InputError
from statml.regression import LinearRegression
from statml.research.abundances.dimensions import LENGTH, magnitude, magnitudes

Array = np.ndarray


def deproject(
    ra: Any, dec: Any, *, centre: tuple[Any, Any], position_angle: Any, inclination: Any, distance: Any
) -> tuple[u.Quantity, u.Quantity]:
    """Places in the plane of a thin disc.

    Parameters
    ----------
    ra, dec : Quantity (n,)
    centre : (Quantity, Quantity)
        Right ascension and declination of the galaxy.
    position_angle : Quantity
        Of the receding or approaching major axis, from north through east.
    inclination : Quantity
        0 is face-on; below 90 degrees.
    distance : Quantity

    Returns
    -------
    x, y : Quantity (n,)
        In kpc, along the major axis and across it.

    Raises
    ------
    InputError, InputTypeError, WrongUnitError

    Examples
    --------
    A region one arcminute north of the centre of a galaxy whose major axis points north, and one east of it:

    >>> from astropy import units as u
    >>> x, y = deproject([150, 150 + 1 / 60] * u.deg, [1 / 60, 0] * u.deg, centre=(150 * u.deg, 0 * u.deg),
    ...                  position_angle=0 * u.deg, inclination=60 * u.deg, distance=10 * u.Mpc)
    >>> print(x.round(2), y.round(2))
    [2.91 0.  ] kpc [0.   5.82] kpc
    """
    alpha, delta = magnitudes("ra", ra, u.rad), magnitudes("dec", dec, u.rad)
    if alpha.shape != delta.shape:
        raise InputError(f"ra has shape {alpha.shape} and dec {delta.shape}; accepted are equal shapes")
    alpha0, delta0 = (magnitude(f"centre[{i}]", each, u.rad) for i, each in enumerate(centre))
    angle = magnitude("position_angle", position_angle, u.rad)
    tilt = magnitude("inclination", inclination, u.rad, least=0)
    if not np.cos(tilt) > 1e-6:
        raise InputError(f"inclination is {inclination}; accepted is less than 90 degrees")
    length = magnitude("distance", distance, u.kpc, above=0)
    # Gnomonic projection: exact for a plane that touches the sky at the centre.
    nearness = np.sin(delta) * np.sin(delta0) + np.cos(delta) * np.cos(delta0) * np.cos(alpha - alpha0)
    if np.any(nearness <= 0):
        raise InputError(
            "ra and dec have a place more than 90 degrees from centre; accepted are places of one galaxy"
        )
    east = np.cos(delta) * np.sin(alpha - alpha0) / nearness
    north = (
        np.sin(delta) * np.cos(delta0) - np.cos(delta) * np.sin(delta0) * np.cos(alpha - alpha0)
    ) / nearness
    along = north * np.cos(angle) + east * np.sin(angle)
    across = (east * np.cos(angle) - north * np.sin(angle)) / np.cos(tilt)
    return length * along * u.kpc, length * across * u.kpc


@dataclass(frozen=True, eq=False)
class Gradient:
    """A radial gradient, and what is left without it.

    Attributes
    ----------
    slope, slope_err : Quantity
        In dex (or whatever was given) for each kpc.
    at_centre : float
    residual : array (n,)
    """

    slope: u.Quantity
    slope_err: u.Quantity
    at_centre: float
    residual: Array


def remove_gradient(x: Any, y: Any, z: Any, err: Any = None) -> Gradient:
    """Fit and take away a linear gradient with the distance from the centre.

    Parameters
    ----------
    x, y : Quantity (n,)
        Places in the plane of the disc, the centre at 0.
    z : array (n,)
        Abundances.
    err : array (n,), optional
        Standard errors.

    Returns
    -------
    Gradient
        The error of the slope takes residuals for independent, which correlated abundances are not: it
        is too small by a factor that only simulated fields tell.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> x = np.array([1.0, 2.0, 4.0, 8.0]) * u.kpc
    >>> found = remove_gradient(x, 0 * x, 8.8 - 0.03 * x.value)
    >>> print(found.slope.round(3), np.abs(found.residual).max() < 1e-12)
    -0.03 1 / kpc True
    """
    radius = np.hypot(magnitudes("x", x, LENGTH), magnitudes("y", y, LENGTH)) / 1000
    values = np.asarray(z, float)
    if values.shape != radius.shape or radius.ndim != 1:
        raise InputError(f"x and y have shape {radius.shape} and z {values.shape}; accepted are equal (n,)")
    line = LinearRegression().fit(radius[:, None], values, y_err=err)
    return Gradient(
        line.coef_[0] / u.kpc,
        line.coef_err_[0] / u.kpc,
        float(line.intercept_),
        values - line.predict(radius[:, None]),
    )
