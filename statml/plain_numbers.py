"""What an estimator calls on its arguments, because NumPy drops a unit without a word."""

from __future__ import annotations

from typing import Any

from statml.errors import InputTypeError


def refuse_quantity(name: str, value: Any) -> None:
    """Raise if `value` carries a unit.

    Parameters
    ----------
    name : str
        The parameter's name, for the message.
    value : object
        Anything; a unit is recognised by an attribute ``unit`` that is not None (astropy Quantity and Column).

    Raises
    ------
    InputTypeError
        Naming `QuantityEstimator`.
    """
    if isinstance(value, list | tuple) and value:
        value = value[0]
    unit = getattr(value, "unit", None)
    if unit is not None:
        raise InputTypeError(
            f"{name} carries the unit {str(unit) or 'dimensionless'}, this estimator takes plain numbers:"
            " wrap it as statml.units.QuantityEstimator(estimator), or pass the values"
        )
