r"""How much would the fit change with other data? Jackknife and bootstrap of fitted parameters.

Both fit an estimator again on rows that differ from the given ones, and take the
spread of ``params_`` as its error, whatever the errors of the data were said to be:

    jackknife   leave out one row at a time;   cov = (n - 1) / n  sum_i (t_-i - t_mean)(...)^T
    bootstrap   draw n rows with replacement (pairs), or put shuffled residuals on the
                fitted line (residuals);       cov = covariance of the refits

The errors of the data are cut along with their rows. A standard error that disagrees
with ``params_cov_`` says that the errors or the model are wrong, not which.

Sources: Hogg, Bovy & Lang (2010), arXiv:1008.4686, section 4; Efron & Tibshirani (1993),
"An Introduction to the Bootstrap", ch. 6, 9 and 11.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.base import clone

from statml.compute import generator
from statml.errors import InputError, InputTypeError
from statml.uncertainty.covariance import Covariance, DiagonalCovariance
from statml.uncertainty.cross_validation import FIT_ERRORS, take_rows
from statml.uncertainty.measurement import refuse_quantities

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Refits:
    """Parameters of the fit to all rows, of every refit, and what their spread says.

    Attributes
    ----------
    params : array (p,)
        ``params_`` of the fit to all rows, intercept first.
    refits : array (size, p)
        ``params_`` of each refit.
    cov : array (p, p)
        Covariance of the parameters.
    bias : array (p,)
        Estimated bias of the parameters, in their units; subtract it to correct.
    """

    params: Array
    refits: Array
    cov: Array
    bias: Array

    @property
    def std(self) -> Array:
        """Standard errors of the parameters, shape (p,)."""
        return np.sqrt(np.diag(self.cov))

    def interval(self, level: float = 0.68) -> tuple[Array, Array]:
        """Central percentiles of the refits, (lower, upper), each (p,); for the bootstrap.

        Raises
        ------
        InputError
            `level` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise InputError(f"level is {level!r}; accepted is a probability between 0 and 1")
        low, high = np.quantile(self.refits, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high


def jackknife(estimator: Any, X: Any, y: Any, **errors: Any) -> Refits:
    """Standard errors by leaving out one row at a time.

    Parameters
    ----------
    estimator : regressor with ``params_``
        For example `statml.regression.LinearRegression`; it is cloned, never changed.
    X : array (n, d)
    y : array (n,)
    **errors
        ``X_err, X_cov, y_err, y_cov, xy_cov`` as `fit` takes them; cut with the rows.

    Returns
    -------
    Refits
        With n refits.

    Raises
    ------
    InputError
        There are fewer than two rows, or too few for a refit.
    InputTypeError
        An argument is not one of the errors, or the estimator has no ``params_``.

    Examples
    --------
    >>> from statml import datasets, units
    >>> from statml.regression import LinearRegression
    >>> X, y, err = units.from_table(datasets.load("hogg2010")[4:], x="x", y="y")
    >>> line = jackknife(LinearRegression(), X, y, y_err=err.y_err)
    >>> line.std.round(2)
    array([29.27,  0.17])
    """
    X, y, errors = _rows(X, y, errors)
    n = len(y)
    if n < 2:
        raise InputError(f"y has {n} values; accepted are 2 or more, as one is left out")
    params = _params(estimator, X, y, errors)
    everyone = np.arange(n)
    refits = np.array([_refit(estimator, X, y, errors, np.delete(everyone, i)) for i in everyone])
    spread = refits - refits.mean(axis=0)
    return Refits(params, refits, (n - 1) / n * spread.T @ spread, (n - 1) * (refits.mean(axis=0) - params))


def bootstrap(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    method: Literal["pairs", "residuals"] = "pairs",
    size: int = 500,
    rng: Any = None,
    **errors: Any,
) -> Refits:
    """Standard errors and percentile intervals from data sets drawn out of the data.

    Parameters
    ----------
    estimator : regressor with ``params_``
    X : array (n, d)
    y : array (n,)
    method : {"pairs", "residuals"}
        "pairs" draws rows, errors with them: right whatever scatters y, and for x that
        were drawn too. "residuals" keeps X and puts residuals of other rows on the
        fitted line, in units of each row's own error; it needs independent errors and
        a model that is right. They are first centred and inflated by sqrt(n / (n - p)).
    size : int
        Number of refits.
    rng : int, Generator or None
    **errors
        ``X_err, X_cov, y_err, y_cov, xy_cov`` as `fit` takes them.

    Returns
    -------
    Refits

    Raises
    ------
    InputError
        Errors of y that are correlated, or infinite for "residuals"; fewer than two refits.

    Examples
    --------
    >>> from statml import datasets, units
    >>> from statml.regression import LinearRegression
    >>> X, y, err = units.from_table(datasets.load("hogg2010")[4:], x="x", y="y")
    >>> line = bootstrap(LinearRegression(), X, y, y_err=err.y_err, rng=0)
    >>> bool(0.1 < line.std[1] < 0.2)
    True
    """
    if method not in ("pairs", "residuals"):
        raise InputError(f"method is {method!r}; accepted are 'pairs' and 'residuals'")
    if not isinstance(size, int | np.integer) or size < 2:
        raise InputError(f"size is {size!r}; accepted is a whole number of refits, 2 or more")
    X, y, errors = _rows(X, y, errors)
    _refuse_correlated(errors.get("y_cov"))
    rng, n = generator(rng), len(y)
    params = _params(estimator, X, y, errors)
    if method == "pairs":
        refits = np.array([_refit(estimator, X, y, errors, rng.integers(n, size=n)) for _ in range(size)])
    else:
        fitted, std = _fitted_values(estimator, X, y, errors)
        standard = (y - fitted) / std * np.sqrt(n / max(n - len(params), 1))
        # Weighted residuals need not have the mean zero, and would shift every refit.
        standard -= standard.mean()
        refits = np.array(
            [
                _params(estimator, X, fitted + std * standard[rng.integers(n, size=n)], errors)
                for _ in range(size)
            ]
        )
    return Refits(params, refits, np.atleast_2d(np.cov(refits, rowvar=False)), refits.mean(axis=0) - params)


def _rows(X: Any, y: Any, errors: dict[str, Any]) -> tuple[Array, Array, dict[str, Any]]:
    unknown = sorted(set(errors) - set(FIT_ERRORS))
    if unknown:
        raise InputTypeError(f"{unknown[0]} is not an error argument; accepted are {', '.join(FIT_ERRORS)}")
    refuse_quantities(X=X, y=y)
    X, y = np.asarray(X, float), np.asarray(y, float)
    if y.ndim != 1 or len(X) != len(y):
        raise InputError(f"X has {len(X)} rows and y the shape {y.shape}; accepted is one y for each row")
    return X, y, {name: value for name, value in errors.items() if value is not None}


def _refuse_correlated(covariance: Any) -> None:
    # Drawn twice, a row would be fully correlated with itself.
    if isinstance(covariance, Covariance) and not isinstance(covariance, DiagonalCovariance):
        raise InputError(
            "y_cov is not diagonal, and rows drawn one by one lose their correlations; accepted are "
            "independent errors, or jackknife"
        )


def _refit(estimator: Any, X: Array, y: Array, errors: dict[str, Any], rows: Array) -> Array:
    return _params(estimator, X[rows], y[rows], take_rows(errors, rows, len(y)))


def _params(estimator: Any, X: Array, y: Array, errors: dict[str, Any]) -> Array:
    fitted = clone(estimator).fit(X, y, **errors)
    if not hasattr(fitted, "params_"):
        raise InputTypeError(
            f"{type(estimator).__name__} has no params_; accepted are the linear models of statml.regression"
        )
    return fitted.params_


def _fitted_values(estimator: Any, X: Array, y: Array, errors: dict[str, Any]) -> tuple[Array, Array]:
    """Predicted means and the standard deviation of each residual, up to one factor, both (n,)."""
    fitted = clone(estimator).fit(X, y, **errors).predict(X)
    if "y_cov" in errors:
        std = errors["y_cov"].std()
    else:
        std = np.broadcast_to(np.asarray(errors.get("y_err", 1.0), float), y.shape)
    if not np.all(np.isfinite(std)):
        raise InputError("y_err is infinite for some rows, which have no residual; leave those rows out")
    return fitted, std
