r"""Bootstrap and jackknife of any statistic, with rows or blocks of rows as what is drawn.

Both ask how much a statistic t would change with other data, and make the other data
out of the given ones: the bootstrap draws as many rows as there are, with replacement;
the jackknife leaves one out at a time. What is drawn must be (nearly) independent, so
neighbours in time or on the sky are drawn together (`statml.statistics.schemes`).

Three intervals of a bootstrap, from quantiles q of the replicates t*:

    percentile   q(a), q(1 - a)
    basic        2 t - q(1 - a), 2 t - q(a)
    BCa          q(Phi(z0 + (z0 + z_a) / (1 - A (z0 + z_a)))) and the same with 1 - a

with z0 the share of replicates below t as a normal quantile (bias) and A the skewness of the
jackknife's values over six (acceleration). BCa alone is second-order accurate.

Fits of estimators go through `refitted`; `residual_bootstrap` keeps X and draws residuals.

Sources: Efron & Tibshirani (1993), "An Introduction to the Bootstrap", ch. 11-14;
arXiv:2506.12230, chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats
from sklearn.base import clone

from statml.compute import generator
from statml.console import progress
from statml.errors import InputError, InputTypeError
from statml.plain_numbers import refuse_quantity
from statml.statistics.precision import inverse_covariance
from statml.statistics.schemes import Rows, Scheme
from statml.uncertainty.covariance import Covariance, DiagonalCovariance
from statml.uncertainty.cross_validation import take_rows
from statml.uncertainty.resampling import bootstrap as refit_bootstrap

Array = np.ndarray
Statistic = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Jackknife:
    """Values of a statistic with one unit left out at a time.

    Attributes
    ----------
    value : array (p,)
        With all rows.
    replicates : array (m, p)
        With each of m units left out.
    cov : array (p, p)
        (m - 1) / m times the sum of squares about the mean of the replicates.
    bias : array (p,)
        Estimated bias of `value`; subtract it to correct.
    """

    value: Array
    replicates: Array
    cov: Array
    bias: Array

    @property
    def std(self) -> Array:
        """Standard errors, shape (p,)."""
        return np.sqrt(np.diag(self.cov))

    def inverse_covariance(self) -> Array:
        """Inverse of `cov` with Hartlap's factor for m units, shape (p, p); see `statml.statistics.precision`."""
        return inverse_covariance(self.cov, len(self.replicates))


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Values of a statistic on resampled data.

    Attributes
    ----------
    value : array (p,)
        On the data.
    replicates : array (size, p)
        On each resampled data set.
    left_out : array (m, p) or None
        Jackknife values, which the BCa interval needs.
    """

    value: Array
    replicates: Array
    left_out: Array | None = None

    @property
    def cov(self) -> Array:
        """Covariance of the statistic, shape (p, p)."""
        return np.atleast_2d(np.cov(self.replicates, rowvar=False))

    @property
    def std(self) -> Array:
        """Standard errors, shape (p,)."""
        return self.replicates.std(axis=0, ddof=1)

    @property
    def bias(self) -> Array:
        """Estimated bias of `value`, shape (p,); subtract it to correct."""
        return self.replicates.mean(axis=0) - self.value

    def interval(
        self, level: float = 0.68, method: Literal["bca", "basic", "percentile"] = "bca"
    ) -> tuple[Array, Array]:
        """Lower and upper ends, each (p,).

        Raises
        ------
        InputError
            `level` or `method` is not accepted, or the replicates are too few for the level.
        """
        if not 0 < level < 1:
            raise InputError(f"level is {level!r}; accepted is a probability between 0 and 1")
        tails = np.array([(1 - level) / 2, (1 + level) / 2])
        if len(self.replicates) * tails[0] < 1:
            raise InputError(
                f"{len(self.replicates)} replicates have no {tails[0]:.2g} quantile; accepted are more of them, "
                "or a lower level"
            )
        if method == "bca":
            tails = self._bca_tails(tails)
        elif method not in ("basic", "percentile"):
            raise InputError(f"method is {method!r}; accepted are 'bca', 'basic' and 'percentile'")
        probabilities = np.broadcast_to(tails[:, None] if tails.ndim == 1 else tails, (2, len(self.value)))
        low, high = np.array(
            [[np.quantile(column, p) for column, p in zip(self.replicates.T, row)] for row in probabilities]
        )
        return (2 * self.value - high, 2 * self.value - low) if method == "basic" else (low, high)

    def _bca_tails(self, tails: Array) -> Array:
        """Probabilities of the quantiles that are taken instead, (2, p)."""
        if self.left_out is None:
            raise InputError(
                "method is 'bca' without jackknife values; accepted are 'basic' and 'percentile'"
            )
        size = len(self.replicates)
        below = (
            np.mean(self.replicates < self.value, axis=0) + np.mean(self.replicates == self.value, axis=0) / 2
        )
        z0 = stats.norm.ppf(np.clip(below, 0.5 / size, 1 - 0.5 / size))
        gap = self.left_out.mean(axis=0) - self.left_out
        largest = np.abs(gap).max(axis=0)
        gap = gap / np.where(
            largest > 0, largest, 1
        )  # a ratio, in any unit; 0 for a statistic that does not vary
        a = np.sum(gap**3, axis=0) / (6 * np.maximum(np.sum(gap**2, axis=0), 1) ** 1.5)
        z = z0 + stats.norm.ppf(tails)[:, None]
        return stats.norm.cdf(z0 + z / (1 - a * z))


def jackknife(
    statistic: Statistic, *data: Any, scheme: Literal["rows"] | Scheme = "rows", **errors: Any
) -> Jackknife:
    """Covariance and bias of a statistic by leaving out rows, or blocks of rows, one at a time.

    Parameters
    ----------
    statistic : callable
        Arrays of rows to one number or (p,) numbers; smooth in the data (not a median).
    *data : arrays (n, ...)
        Cut along their rows together.
    scheme : "rows", MovingBlocks, CircularBlocks or Groups
        What is left out; blocks are taken one after another, without overlap.
    **errors
        Keyword arguments of the statistic that have a row for each row of the data: arrays,
        a `Covariance` or a `CovarianceStack`; cut with the rows. Numbers stay as they are.

    Returns
    -------
    Jackknife

    Raises
    ------
    InputError
        Arguments disagree in their rows, or the statistic returns NaN.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=50)
    >>> mean = jackknife(np.mean, x)
    >>> bool(np.isclose(mean.std[0], x.std(ddof=1) / np.sqrt(50)))
    True
    >>> biased = jackknife(np.var, x)                                # divides by n
    >>> bool(np.isclose((biased.value - biased.bias)[0], x.var(ddof=1)))
    True
    """
    arrays, n = _same_rows(data)
    value = _evaluate(statistic, arrays, errors, np.arange(n), n)
    replicates = _left_out(statistic, arrays, errors, _scheme(scheme), n)
    m, spread = len(replicates), replicates - replicates.mean(axis=0)
    return Jackknife(
        value, replicates, (m - 1) / m * spread.T @ spread, (m - 1) * (replicates.mean(axis=0) - value)
    )


def bootstrap(
    statistic: Statistic,
    *data: Any,
    scheme: Literal["rows"] | Scheme = "rows",
    size: int = 1000,
    bca: bool = True,
    rng: Any = None,
    **errors: Any,
) -> Bootstrap:
    """Distribution of a statistic over data sets drawn out of the data.

    Parameters
    ----------
    statistic : callable
        Arrays of rows to one number or (p,) numbers.
    *data : arrays (n, ...)
        Rows are drawn together (pairs).
    scheme : "rows", MovingBlocks, CircularBlocks or Groups
        What is drawn.
    size : int
        Number of resampled data sets: 200 for a standard error, 1000 or more for intervals.
    bca : bool
        Also compute the jackknife values that BCa intervals need.
    rng : int, Generator or None
    **errors
        As `jackknife` takes them; a `Covariance` must be diagonal, as rows drawn twice
        would be fully correlated.

    Returns
    -------
    Bootstrap

    Raises
    ------
    InputError
        As `jackknife`, or `size` is no whole number of at least 2.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).exponential(size=60)
    >>> spread = bootstrap(np.var, x, rng=1)
    >>> low, high = spread.interval(0.9)
    >>> bool(low[0] < 1 < high[0])
    True

    Rows of a fit, with their errors:

    >>> from statml import datasets, units
    >>> from statml.regression import LinearRegression
    >>> X, y, err = units.from_table(datasets.load("hogg2010")[4:], x="x", y="y")
    >>> line = bootstrap(refitted(LinearRegression()), X, y, y_err=err.y_err, size=200, rng=0)
    >>> line.replicates.shape
    (200, 2)
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 2:
        raise InputError(f"size is {size!r}; accepted is a whole number of data sets, 2 or more")
    for name, error in errors.items():
        if isinstance(error, Covariance) and not isinstance(error, DiagonalCovariance):
            raise InputError(
                f"{name} is not diagonal, and rows drawn twice have no covariance; accepted are independent "
                "errors, or jackknife"
            )
    arrays, n = _same_rows(data)
    chosen, random = _scheme(scheme), generator(rng)
    value = _evaluate(statistic, arrays, errors, np.arange(n), n)
    replicates = np.array(
        [
            _evaluate(statistic, arrays, errors, chosen.draw(n, random), n)
            for _ in progress(range(size), "bootstrap")
        ]
    )
    return Bootstrap(value, replicates, _left_out(statistic, arrays, errors, chosen, n) if bca else None)


def residual_bootstrap(
    estimator: Any, X: Any, y: Any, *, size: int = 1000, rng: Any = None, **errors: Any
) -> Bootstrap:
    """Distribution of fitted parameters over data sets with the same X and residuals of other rows.

    Right where the model is right and the errors are independent; see
    `statml.uncertainty.bootstrap`, which does the work. BCa has no meaning here, as no
    rows are drawn: ask for ``interval(method="basic")``.

    Parameters
    ----------
    estimator : regressor with ``params_``
    X : array (n, d)
    y : array (n,)
    size : int
    rng : int, Generator or None
    **errors
        ``X_err, X_cov, y_err, y_cov, xy_cov`` as `fit` takes them.

    Returns
    -------
    Bootstrap

    Examples
    --------
    >>> from statml import datasets, units
    >>> from statml.regression import LinearRegression
    >>> X, y, err = units.from_table(datasets.load("hogg2010")[4:], x="x", y="y")
    >>> line = residual_bootstrap(LinearRegression(), X, y, y_err=err.y_err, size=200, rng=0)
    >>> low, high = line.interval(0.68, method="basic")
    >>> bool(low[1] < 2.24 < high[1])
    True
    """
    refits = refit_bootstrap(estimator, X, y, method="residuals", size=size, rng=rng, **errors)
    return Bootstrap(refits.params, refits.refits)


def refitted(estimator: Any) -> Statistic:
    """The statistic ``params_`` of an estimator, fitted to the rows it is given, with their errors.

    Examples
    --------
    >>> import numpy as np
    >>> from statml.regression import LinearRegression
    >>> x = np.arange(5.0)
    >>> refitted(LinearRegression())(x[:, None], 1 + 2 * x).round(6)
    array([1., 2.])
    """

    def params(X: Array, y: Array, **errors: Any) -> Array:
        fitted = clone(estimator).fit(X, y, **errors)
        if not hasattr(fitted, "params_"):
            raise InputTypeError(
                f"{type(estimator).__name__} has no params_; accepted are the linear models of statml.regression"
            )
        return fitted.params_

    return params


def _scheme(scheme: Any) -> Scheme:
    if isinstance(scheme, str) and scheme == "rows":
        return Rows()
    if not (hasattr(scheme, "draw") and hasattr(scheme, "left")):
        raise InputError(
            f"scheme is {scheme!r}; accepted are 'rows', MovingBlocks, CircularBlocks and Groups of "
            "statml.statistics"
        )
    return scheme


def _same_rows(data: tuple[Any, ...]) -> tuple[list[Array], int]:
    for each in data:
        refuse_quantity("data", each)
    arrays = [np.asarray(each) for each in data]
    if not arrays or any(each.ndim == 0 for each in arrays):
        raise InputError("data is missing or a single number; accepted are arrays with a row for each datum")
    n = len(arrays[0])
    if n < 2 or any(len(each) != n for each in arrays):
        raise InputError(
            f"data have {[len(each) for each in arrays]} rows; accepted are equal numbers, 2 or more"
        )
    return arrays, n


def _evaluate(statistic: Statistic, data: list[Array], errors: dict[str, Any], rows: Array, n: int) -> Array:
    value = statistic(*(each[rows] for each in data), **take_rows(errors, rows, n))
    value = np.atleast_1d(np.asarray(value, float))
    if value.ndim != 1:
        raise InputError(f"statistic returned shape {value.shape}; accepted is one number or (p,)")
    if np.isnan(value).any():
        raise InputError(
            f"statistic is NaN on {len(rows)} resampled rows; accepted is one that has a value on every data set"
        )
    return value


def _left_out(
    statistic: Statistic, data: list[Array], errors: dict[str, Any], scheme: Scheme, n: int
) -> Array:
    return np.array([_evaluate(statistic, data, errors, rows, n) for rows in scheme.left(n)])
