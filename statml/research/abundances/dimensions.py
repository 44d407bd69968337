"""Units at the door of this package: quantities in, plain floats in pc, Myr and their powers inside.

>>> from astropy import units as u
>>> magnitude("width", 0.06 * u.kpc, u.pc)
60.0
"""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u

from statml.errors import InputError, InputTypeError

Array = np.ndarray

LENGTH, TIME = u.pc, u.Myr
DIFFUSIVITY, SPEED = u.pc**2 / u.Myr, u.pc / u.Myr
RATE, FREQUENCY, WAVENUMBER = u.pc**-2 / u.Myr, u.Myr**-1, u.pc**-1


class WrongUnitError(InputError, u.UnitConversionError):
    """A quantity of another physical type; astropy's own error too, for those who catch that."""


def magnitudes(name: str, value: Any, unit: Any) -> Array:
    """Return a quantity of any shape as finite floats in `unit`.

    Raises
    ------
    InputTypeError
        `value` has no unit.
    WrongUnitError
        Its unit does not convert.
    InputError
        It is not finite.
    """
    if not isinstance(value, u.Quantity):
        said = f"an array of shape {np.shape(value)}" if np.ndim(value) else repr(value)
        raise InputTypeError(
            f"{name} is {said}, which has no unit; accepted is an astropy Quantity that converts to {unit}"
        )
    try:
        numbers = np.asarray(value.to_value(unit), dtype=float)
    except u.UnitConversionError as error:
        raise WrongUnitError(
            f"{name} is in {value.unit or 'no unit'}; accepted is a unit that converts to {unit}"
        ) from error
    if not np.isfinite(numbers).all():
        raise InputError(f"{name} is {value}; accepted are finite values")
    return numbers


def magnitude(
    name: str, value: Any, unit: Any, *, least: float | None = None, above: float | None = None
) -> float:
    """Return one quantity as a float in `unit`, at least `least` or above `above`."""
    numbers = magnitudes(name, value, unit)
    if numbers.ndim:
        raise InputError(f"{name} has shape {numbers.shape}; accepted is one value")
    number = float(numbers)
    if above is not None and not number > above:
        raise InputError(f"{name} is {value}; accepted is a value above {above:g} {unit}")
    if least is not None and not number >= least:
        raise InputError(f"{name} is {value}; accepted is a value of at least {least:g} {unit}")
    return number


def number(
    name: str, value: Any, *, least: float | None = None, above: float | None = None, finite: bool = True
) -> float:
    """Return a plain number, at least `least` or above `above`."""
    if isinstance(value, u.Quantity):
        if not value.unit.is_equivalent(u.one):
            raise WrongUnitError(f"{name} is in {value.unit}; accepted is a number without unit")
        value = value.to_value(u.one)
    try:
        result = float(value)
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"{name} is {value!r}; accepted is a number") from error
    if np.isnan(result) or (finite and not np.isfinite(result)):
        raise InputError(f"{name} is {result}; accepted is a finite number")
    if above is not None and not result > above:
        raise InputError(f"{name} is {result:g}; accepted is a number above {above:g}")
    if least is not None and not result >= least:
        raise InputError(f"{name} is {result:g}; accepted is a number of at least {least:g}")
    return result
