"""What an estimator calls on its arguments, because NumPy drops units and masks without a word."""

from __future__ import annotations

from typing import Any

import numpy as np

from statml.errors import InputError, InputTypeError


def refuse_quantity(name: str, value: Any) -> None:
    """Raise if `value` carries a unit, or if some of it is masked.

    Parameters
    ----------
    name : str
        The parameter's name, for the message.
    value : object
        Anything; a unit is recognised by an attribute ``unit`` that is not None (astropy Quantity and Column),
        a mask by one ``mask`` (NumPy's masked arrays, astropy's MaskedColumn).

    Raises
    ------
    InputTypeError
        Naming `QuantityEstimator`.
    InputError
        Of masked values: under the mask may stand -9999.
    """
    if isinstance(value, list | tuple) and value:
        value = value[0]
    unit = getattr(value, "unit", None)
    if unit is not None:
        raise InputTypeError(
            f"{name} carries the unit {str(unit) or 'dimensionless'}, this estimator takes plain numbers:"
            " wrap it as statml.units.QuantityEstimator(estimator), or pass the values"
        )
    mask = getattr(value, "mask", None)  # of pandas it is a method
    masked = 0 if mask is None or callable(mask) else np.count_nonzero(mask)
    if masked:
        raise InputError(
            f"{name} has {masked} masked values, and what stands under a mask is no data; accepted are arrays "
            "without: leave those rows out, or .filled(np.nan) where missing values are taken"
        )
