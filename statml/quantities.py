"""`QuantityEstimator`: an estimator fitted and questioned in units (public as ``statml.units``).

Every number is converted once, on its way in, to the unit seen by `fit`; results get that unit on their way
out. Values and their errors convert differently where a unit is logarithmic: a magnitude mag(AB) has an error in
mag, so errors go through `scale_of`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from statml.errors import InputError, InputTypeError
from statml.uncertainty.covariance import Covariance
from statml.uncertainty.stack import CovarianceStack

__all__ = ["QuantityDistribution", "QuantityEstimator"]


def floats(column: Any, what: str) -> np.ndarray:
    """Return the numbers of a column without unit and mask, masked entries as NaN."""
    values = np.ma.asarray(getattr(column, "value", column))
    mask = getattr(column, "mask", None)  # Column, MaskedColumn, Quantity, Masked(Quantity)
    if values.dtype.kind not in "fiub":
        raise InputTypeError(f"{what} holds {values.dtype}, numbers are needed")
    plain = np.array(getattr(values, "data", values), dtype=float)
    plain[np.ma.getmaskarray(values)] = np.nan
    if mask is not None:
        plain[np.broadcast_to(mask, plain.shape)] = np.nan
    return plain


def scale_of(unit: Any) -> Any:
    """Return the unit of differences in `unit`: mag for mag(AB), dex for dex(cm/s2), else itself."""
    return getattr(unit, "function_unit", unit)


def convert(values: np.ndarray, unit: Any, target: Any, name: str) -> np.ndarray:
    """Return `values`, given in `unit`, as floats in `target`; an `InputError` names what does not convert."""
    from astropy.units import UnitConversionError, UnitTypeError

    try:
        return np.asarray(unit.to(target, values), dtype=float)
    except (UnitConversionError, UnitTypeError) as error:
        raise InputError(
            f"{name} is in {_spell(unit)}, which does not convert to {_spell(target)}"
        ) from error


def _spell(unit: Any) -> str:
    name = str(unit) or "dimensionless"
    return name if unit.physical_type == "unknown" else f"{name} ({unit.physical_type})"


def _plain(name: str, value: Any, target: Any) -> Any:
    """Return `value` in `target` as a float array; `target` None means that no unit is expected."""
    unit = getattr(value, "unit", None)
    if target is None:
        if unit is None:
            return value
        raise InputError(
            f"{name} is in {_spell(unit)}, but the estimator was fitted on numbers without a unit"
        )
    if unit is None:
        raise InputError(f"{name} carries no unit; give it one that converts to {_spell(target)}")
    return convert(floats(value, name), unit, target, name)


def _matrix(name: str, value: Any, targets: tuple[Any, ...] | None, *, errors: bool = False) -> Any:
    """Return features (or their errors) as floats in `targets`, one unit per feature."""
    columns = _table_columns(value)
    if targets is None:
        if columns is not None:
            raise InputError(f"{name} is a table, but the estimator was fitted on numbers without a unit")
        return _plain(name, value, None)
    wanted = [scale_of(unit) if errors else unit for unit in targets]
    if columns is None:
        if errors and np.ndim(value) == 0 and any(unit != wanted[0] for unit in wanted):
            raise InputError(
                f"{name} is one number, but the features are in {', '.join(map(str, wanted))};"
                " accepted is a table with a column for each feature"
            )
        if getattr(value, "unit", None) is None or np.ndim(value) != 2 or all(u == wanted[0] for u in wanted):
            return _plain(name, value, wanted[0])
        if value.shape[1] != len(wanted):
            raise InputError(
                f"{name} has {value.shape[1]} features, the estimator was fitted on {len(wanted)}"
            )
        columns = [(name, value[:, i]) for i in range(len(wanted))]
    if len(columns) != len(wanted):
        raise InputError(f"{name} has {len(columns)} features, the estimator was fitted on {len(wanted)}")
    from astropy.units import dimensionless_unscaled

    plain = []
    for (label, column), unit in zip(columns, wanted, strict=True):
        given = getattr(column, "unit", None) or dimensionless_unscaled
        plain.append(convert(floats(column, label), given, unit, label))
    return np.column_stack(plain)


def _covariance(name: str, value: Any, target: Any) -> Any:
    """Return what `y_cov` or `X_cov` is to an estimator; `target` is a squared unit, or None for plain numbers."""
    if target is not None and isinstance(value, Covariance | CovarianceStack):
        raise InputError(
            f"{name} is a {type(value).__name__} without a unit; accepted is {name}.to_dense() as a Quantity"
            f" that converts to {_spell(target)}"
        )
    plain = _plain(name, value, target)
    if target is None:
        return plain
    if name == "X_cov":
        return CovarianceStack.dense(plain)
    if plain.ndim != 2 or plain.shape[0] != plain.shape[1]:
        raise InputError(f"{name} has shape {plain.shape}; accepted is a square matrix, (n, n)")
    try:
        # Kept diagonal, independent errors reach the methods that take no others.
        independent = np.array_equal(plain, np.diag(np.diag(plain)))
        return Covariance.diagonal(np.diag(plain)) if independent else Covariance.dense(plain)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _table_columns(value: Any) -> list[tuple[str, Any]] | None:
    """Return the features of an astropy table, vector columns spread out; None if `value` is no table."""
    if not hasattr(value, "colnames"):
        return None
    columns = []
    for name in value.colnames:
        column = value[name]
        if column.ndim == 1:
            columns.append((f"column {name!r}", column))
        else:
            columns += [(f"column {name!r}", column[:, i]) for i in range(column.shape[1])]
    return columns


def _feature_units(X: Any) -> tuple[Any, ...] | None:
    """Return one unit per feature, None if X is a plain array."""
    columns = _table_columns(X)
    if columns is not None:
        from astropy.units import dimensionless_unscaled

        return tuple(getattr(column, "unit", None) or dimensionless_unscaled for _, column in columns)
    unit = getattr(X, "unit", None)
    if unit is None:
        return None
    return (unit,) * (X.shape[1] if X.ndim == 2 else 1)


# --- the estimator ---


def _wrapped_has(attribute: str) -> Any:
    def check(self: QuantityEstimator) -> bool:
        getattr(getattr(self, "estimator_", self.estimator), attribute)  # its AttributeError is the right one
        return True

    return check


class QuantityEstimator(MetaEstimatorMixin, BaseEstimator):
    """Give an estimator units: fit with quantities, predict from any that convert, get quantities back.

    Parameters
    ----------
    estimator : estimator
        Any regressor or classifier; one with ``predict_dist`` answers with a distribution, in the units of y if
        y has any.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone. Its coefficients are numbers in ``y_unit_`` per ``X_units_``.
    X_units_ : tuple of astropy units, one per feature, or None
    y_unit_ : astropy unit or None
        None where `fit` was given plain numbers; then later calls take and give plain numbers too.

    Notes
    -----
    `X` is a Quantity (one unit for all features) or an astropy table (a unit per column; a column without one is
    dimensionless). ``X_err`` takes the same forms. ``X_cov`` is a Quantity and needs features of one unit.
    Covariances in units are full arrays, which the estimator gets as `Covariance` and `CovarianceStack`: block and
    low-rank forms exist for plain numbers only.
    What was fitted with a unit is only accepted with a unit. A target in a logarithmic unit such as mag(AB) has
    errors, and gives standard deviations, in mag.

    Examples
    --------
    >>> import astropy.units as u
    >>> from statml.units import QuantityEstimator
    >>> from sklearn.linear_model import LinearRegression
    >>> time = [[0.0], [1.0], [2.0]] * u.hour
    >>> model = QuantityEstimator(LinearRegression()).fit(time, [0.0, 60.0, 120.0] * u.km)
    >>> model.predict([[30.0]] * u.min).round(6)
    <Quantity [30.] km>
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        X_err: Any = None,
        y_err: Any = None,
        X_cov: Any = None,
        y_cov: Any = None,
        xy_cov: Any = None,
    ) -> QuantityEstimator:
        """Remember the units of `X` and `y` and fit a clone of `estimator` on the numbers.

        Parameters
        ----------
        X : Quantity of shape (n, d), astropy table with n rows, or array
        y : Quantity of shape (n,) or array
        X_err, X_cov : like X; Quantity of shape (n, d, d) in the square of X's unit
        y_err, y_cov : Quantity of shape (n,); Quantity of shape (n, n) in the square of y's unit
        xy_cov : Quantity of shape (n, d) in X's unit times y's

        Raises
        ------
        InputError
            If an error does not convert to the unit of its value, or only one of the two carries a unit.
        """
        self.X_units_ = _feature_units(X)
        self.y_unit_ = getattr(y, "unit", None)
        errors = self._plain_errors(X_err=X_err, y_err=y_err, X_cov=X_cov, y_cov=y_cov)
        if xy_cov is not None:
            x_unit, y_unit = self._common_feature_unit("xy_cov"), scale_of(self.y_unit_)
            known = [unit for unit in (x_unit, y_unit) if unit is not None]
            errors["xy_cov"] = _plain("xy_cov", xy_cov, np.prod(known) if known else None)
        self.estimator_ = clone(self.estimator)
        plain_X = _matrix("X", X, self.X_units_)
        self.estimator_.fit(plain_X, _plain("y", y, self.y_unit_), **errors)
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return predictions in the unit of the fitted `y`.

        Parameters
        ----------
        X : like the fitted X, in any units that convert to its units
        return_std : bool
            Also return standard deviations.

        Returns
        -------
        Quantity of shape (n,), or a pair of them
        """
        check_is_fitted(self, "estimator_")
        plain = _matrix("X", X, self.X_units_)
        if return_std:
            mean, std = self.estimator_.predict(plain, return_std=True)
            return _attach(mean, self.y_unit_), _attach(std, scale_of(self.y_unit_))
        return _attach(self.estimator_.predict(plain), self.y_unit_)

    @available_if(_wrapped_has("predict_dist"))
    def predict_dist(
        self, X: Any, *, X_err: Any = None, X_cov: Any = None, y_err: Any = None, y_cov: Any = None
    ) -> Any:
        """Return the predictive distribution in the unit of the fitted `y`, a `Categorical` for classes.

        Parameters and errors as for `fit`; any unit that converts is accepted.
        """
        check_is_fitted(self, "estimator_")
        errors = self._plain_errors(X_err=X_err, y_err=y_err, X_cov=X_cov, y_cov=y_cov)
        plain = _matrix("X", X, self.X_units_)
        distribution = self.estimator_.predict_dist(plain, **errors)
        if hasattr(distribution, "classes"):
            return distribution  # class probabilities have no unit
        return QuantityDistribution(distribution, self.y_unit_)

    @available_if(_wrapped_has("predict_proba"))
    def predict_proba(self, X: Any) -> Any:
        """Return the class probabilities of a wrapped classifier, shape (n, k)."""
        check_is_fitted(self, "estimator_")
        return self.estimator_.predict_proba(_matrix("X", X, self.X_units_))

    @property
    def classes_(self) -> Any:
        """Return the classes of a wrapped classifier."""
        return self.estimator_.classes_

    @available_if(_wrapped_has("score"))
    def score(self, X: Any, y: Any) -> float:
        """Return the wrapped estimator's score on the converted numbers."""
        check_is_fitted(self, "estimator_")
        return self.estimator_.score(_matrix("X", X, self.X_units_), _plain("y", y, self.y_unit_))

    @property
    def n_features_in_(self) -> int:
        """Number of features seen by `fit`."""
        check_is_fitted(self, "estimator_")
        return self.estimator_.n_features_in_

    def __sklearn_tags__(self) -> Any:
        return get_tags(self.estimator)

    def _plain_errors(self, *, X_err: Any, y_err: Any, X_cov: Any, y_cov: Any) -> dict[str, Any]:
        """Convert the errors that were given; the others are not passed on, so any estimator will do."""
        errors: dict[str, Any] = {}
        y_unit = scale_of(self.y_unit_)
        if X_err is not None:
            errors["X_err"] = _matrix("X_err", X_err, self.X_units_, errors=True)
        if y_err is not None:
            errors["y_err"] = _plain("y_err", y_err, y_unit)
        if X_cov is not None:
            unit = self._common_feature_unit("X_cov")
            errors["X_cov"] = _covariance("X_cov", X_cov, None if unit is None else unit**2)
        if y_cov is not None:
            errors["y_cov"] = _covariance("y_cov", y_cov, None if y_unit is None else y_unit**2)
        return errors

    def _common_feature_unit(self, name: str) -> Any:
        if self.X_units_ is None:
            return None
        units = [scale_of(unit) for unit in self.X_units_]
        if any(unit != units[0] for unit in units):
            raise InputError(f"{name} needs features of one unit, these have {', '.join(map(str, units))}")
        return units[0]


def _attach(values: Any, unit: Any) -> Any:
    """Return `values` in `unit`, or as they are if there is none."""
    if unit is None:
        return values
    from astropy.units import Quantity

    return Quantity(values, unit, subok=True)


class QuantityDistribution:
    """A predictive distribution whose numbers carry units.

    Parameters
    ----------
    distribution : PredictiveDistribution
        The distribution of the plain numbers.
    unit : astropy unit or None
        Their unit.
    """

    def __init__(self, distribution: Any, unit: Any) -> None:
        self.distribution = distribution
        self.unit = unit

    def __repr__(self) -> str:
        return f"QuantityDistribution({self.distribution!r}, unit={str(self.unit)!r})"

    def __len__(self) -> int:
        return len(self.distribution)

    def __getitem__(self, index: Any) -> QuantityDistribution:
        return QuantityDistribution(self.distribution[index], self.unit)

    @property
    def mean(self) -> Any:
        """Mean, Quantity of shape (n,)."""
        return _attach(self.distribution.mean, self.unit)

    @property
    def std(self) -> Any:
        """Standard deviation, Quantity of shape (n,)."""
        return _attach(self.distribution.std, scale_of(self.unit))

    @property
    def cov(self) -> Any:
        """Joint covariance, Quantity of shape (n, n) in the squared unit, or None where there is none.

        A full array, as a Quantity can only wrap one; ``distribution.cov`` is the `Covariance` in its cheap form,
        and what this property is where there is no unit.
        """
        cov = self.distribution.cov
        return cov if cov is None or self.unit is None else self._squared(cov.to_dense())

    @property
    def variance_components(self) -> dict[str, Any]:
        """Parts of the variance by name, Quantities of shape (n,) in the squared unit."""
        return {name: self._squared(part) for name, part in self.distribution.variance_components.items()}

    def interval(self, level: float = 0.68) -> tuple[Any, Any]:
        """Return the lower and upper ends of the central interval of probability `level`."""
        low, high = self.distribution.interval(level)
        return _attach(low, self.unit), _attach(high, self.unit)

    def sample(self, size: int = 1, *, rng: Any = None) -> Any:
        """Draw `size` samples, Quantity of shape (size, n)."""
        return _attach(self.distribution.sample(size, rng=rng), self.unit)

    def ppf(self, probability: Any) -> Any:
        """Return quantiles, Quantity of shape (n,)."""
        return _attach(self.distribution.ppf(probability), self.unit)

    def log_prob(self, y: Any) -> np.ndarray:
        """Return the log density at `y`, per unit of the fitted y: shape (n,), without a unit."""
        return self.distribution.log_prob(_plain("y", y, self.unit))

    def joint_log_prob(self, y: Any) -> float:
        """Return the log density of all of `y` at once, per unit of the fitted y."""
        return self.distribution.joint_log_prob(_plain("y", y, self.unit))

    def cdf(self, y: Any) -> np.ndarray:
        """Return the probability below `y`, shape (n,)."""
        return self.distribution.cdf(_plain("y", y, self.unit))

    def crps(self, y: Any) -> Any:
        """Return the continuous ranked probability score of `y`, Quantity of shape (n,)."""
        return _attach(self.distribution.crps(_plain("y", y, self.unit)), scale_of(self.unit))

    def _squared(self, values: Any) -> Any:
        return _attach(values, None if self.unit is None else scale_of(self.unit) ** 2)
