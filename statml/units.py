"""Units at the door: astropy tables and quantities in, quantities out; everything inside is plain floats.

The estimators of this package work on float arrays without units. Three ways lead in:

* `from_table` turns columns of an astropy table, with their error columns, into arrays ``X, y, errors``;
* `QuantityEstimator` wraps any estimator, remembers the units it was fitted with, converts what comes later
  and answers in units;
* `refuse_quantity` is what an estimator calls on its arguments, because NumPy drops units without a word:
  fitting km/s and predicting from m/s would be wrong by a thousand and look fine.

>>> from statml import datasets, units
>>> stars = datasets.load("gaia_xp")
>>> X, y, err = units.from_table(stars, x="flux", y="teff")
>>> X.shape, y.shape, err.X_err.shape, err.y_err.shape
((4000, 343), (4000,), (4000, 343), (4000,))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from statml.errors import InputError, InputTypeError
from statml.plain_numbers import refuse_quantity
from statml.quantities import QuantityDistribution, QuantityEstimator, convert, floats, scale_of

__all__ = ["Errors", "QuantityDistribution", "QuantityEstimator", "from_table", "refuse_quantity"]


@dataclass(frozen=True, eq=False)
class Errors:
    """The measurement errors that belong to ``X`` and ``y``; unpack it with ``fit(X, y, **errors)``.

    Attributes
    ----------
    X_err : ndarray of shape (n, d) or None
    y_err : ndarray of shape (n,) or None
        Standard errors in the units of the values; None where the table has no error columns.

    Examples
    --------
    >>> err = Errors(X_err=None, y_err=np.array([0.1, 0.2, 0.1]))
    >>> dict(**err.rows([0, 2]))
    {'X_err': None, 'y_err': array([0.1, 0.1])}
    """

    X_err: np.ndarray | None = None
    y_err: np.ndarray | None = None

    def keys(self) -> Iterator[str]:
        """Iterate over the names, as ``**errors`` needs it."""
        return iter(("X_err", "y_err"))

    def __getitem__(self, key: str) -> np.ndarray | None:
        if key not in self.keys():
            raise KeyError(key)
        return getattr(self, key)

    def rows(self, index: Any) -> Errors:
        """Return the errors of the rows `index` (anything that indexes an array: slice, mask, numbers)."""
        return Errors(*(None if error is None else error[index] for error in (self.X_err, self.y_err)))


def from_table(
    table: Any,
    *,
    x: str | Sequence[str],
    y: str | None = None,
    err_suffixes: Sequence[str] = ("_err", "_error", "e_"),
) -> tuple[np.ndarray, np.ndarray | None, Errors]:
    """Take features, target and their errors out of an astropy table, as float arrays.

    Parameters
    ----------
    table : astropy.table.Table or QTable
        One row per object.
    x : str or sequence of str
        Feature columns. A vector column of shape (n, d) gives d features.
    y : str, optional
        Target column, one number per row. Without it `y` is None.
    err_suffixes : sequence of str
        How error columns are named after their column: ``"_err"`` finds ``teff_err``; an entry ending in an
        underscore is a prefix, ``"e_"`` finds ``e_teff``. The first that exists is taken.

    Returns
    -------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,) or None
    errors : Errors
        ``errors.X_err`` (n, d) and ``errors.y_err`` (n,), or None where the table has no error column.
        Errors are converted to the unit of their value; an error column without a unit is taken to be in it.

    Raises
    ------
    InputTypeError
        If `table` is no table, or a column does not hold numbers.
    InputError
        If a column does not exist, has the wrong shape, has an error in a unit that does not convert, or if some
        features have an error column and others have none.

    Notes
    -----
    Masked values become NaN, which most estimators refuse: drop those rows or use a method that allows them.

    Examples
    --------
    >>> from astropy.table import Table
    >>> table = Table({"colour": [0.5, 0.7], "colour_err": [0.02, 0.03], "teff": [5900.0, 5300.0]})
    >>> X, y, err = from_table(table, x="colour", y="teff")
    >>> X.shape, err.X_err.ravel(), err.y_err
    ((2, 1), array([0.02, 0.03]), None)
    """
    if not hasattr(table, "colnames"):
        raise InputTypeError(f"table must be an astropy Table or QTable, not {type(table).__name__}")
    names = [x] if isinstance(x, str) else list(x)
    if not names:
        raise InputError("x is empty; name at least one column")

    features, feature_errors, without = [], [], []
    for name in names:
        values, errors = _column_with_error(table, name, "x", err_suffixes)
        if values.ndim > 2:
            raise InputError(f"x: column {name!r} has shape {values.shape}, accepted are (n,) and (n, d)")
        features.append(values.reshape(len(table), -1))
        if errors is None:
            without.append(name)
        else:
            feature_errors.append(errors.reshape(len(table), -1))
    if feature_errors and without:
        raise InputError(
            f"x: no error column for {', '.join(without)}, but the other features have one;"
            f" add a column {without[0]}_err (0 where the values are exact)"
        )
    X_err = np.hstack(feature_errors) if feature_errors else None

    y_values, y_err = (None, None) if y is None else _column_with_error(table, y, "y", err_suffixes)
    if y_values is not None and y_values.ndim != 1:
        raise InputError(f"y: column {y!r} has shape {y_values.shape}, accepted is one number per row")
    return np.hstack(features), y_values, Errors(X_err, y_err)


def _column_with_error(
    table: Any, name: str, role: str, err_suffixes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray | None]:
    if name not in table.colnames:
        raise InputError(f"{role}={name!r} is not a column of the table; it has {', '.join(table.colnames)}")
    unit = getattr(table[name], "unit", None)
    values = floats(table[name], f"{role}={name!r}")
    for affix in err_suffixes:
        error_name = affix + name if affix.endswith("_") else name + affix
        if error_name in table.colnames:
            break
    else:
        return values, None
    error_unit = getattr(table[error_name], "unit", None)
    errors = floats(table[error_name], f"error column {error_name!r}")
    if errors.shape != values.shape:
        raise InputError(f"error column {error_name!r} has shape {errors.shape}, {name!r} has {values.shape}")
    if unit is not None and error_unit is not None:
        errors = convert(errors, error_unit, scale_of(unit), f"error column {error_name!r}")
    return values, errors
