r"""How far metals are correlated: the posterior of injection width, correlation length and noise from a correlation function.

Separations share the same few large structures of one field, so that errors of neighbouring bins are almost the same
error: their covariance must come from simulated fields, and its inverse carries Hartlap's factor. With errors that are
taken for independent, and a mean that is taken to be known, 68 % intervals held the truth in 12 % of forty fields
(`tests/statml/research/abundances/test_correlation_length.py`).

One field of some correlation lengths says little about its correlation length: structures of its size are few, and what is
longer goes into the mean. The posterior is a factor of two or three wide, and reaches to the prior where the field is too
small: `CorrelationLength.width_over_prior` says how much was learned.

Three ways to the same posterior: weighted draws with the dilution integrated exactly (the default: a tenth of a second,
nothing to tune); NUTS (`statml.sampling`); PyMC, for those who want to go on with its model.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from astropy import units as u

from statml.compute import generator
from statml.errors import InputError, InputTypeError
from statml.research.abundances.correlation_importance import weighted_draws
from statml.research.abundances.correlation_model import Expected, Window
from statml.research.abundances.correlation_prior import NAMES, CorrelationPrior
from statml.research.abundances.dimensions import LENGTH, magnitudes
from statml.sampling import WeightedDraws
from statml.statistics import inverse_covariance

Array = np.ndarray
Method = Literal["importance", "nuts", "pymc"]

AREA = LENGTH**2
CHAINS, WARMUP, DRAWS = 4, 300, 500


@dataclass(frozen=True, eq=False)
class Data:
    """A correlation function, and what is needed to judge parameters by it."""

    xi: Array
    precision: Array
    expected: Expected
    prior: CorrelationPrior

    def chi2(self, values: Array, part: int = 2**12) -> Array:
        """Chi-square of parameters (n, 4) as `CorrelationPrior` orders them."""
        found = []
        for start in range(0, len(values), part):
            sigma_inj, ln_kappa_t, dilution, beam = values[start : start + part, :, None].transpose(1, 0, 2)
            off = self.expected(sigma_inj**2 + beam**2, np.exp(ln_kappa_t), dilution) - self.xi
            found.append(np.einsum("ni,ij,nj->n", off, self.precision, off))
        return np.concatenate(found)


@dataclass(frozen=True, eq=False, repr=False)
class CorrelationLength:
    """Posterior of the parameters of a correlation function.

    Attributes
    ----------
    weighted : WeightedDraws
        Draws (n, 4): injection width in pc, ln(kappa_t / pc^2), dilution, beam in pc.
    prior : CorrelationPrior
    chi2 : float
        Smallest of the draws.
    bins : int
        Numbers that were fitted.
    method : str
    chain : statml.sampling.Chain or arviz.InferenceData or None
        The run itself, of "nuts" or "pymc".
    """

    weighted: WeightedDraws
    prior: CorrelationPrior
    chi2: float
    bins: int
    method: str
    chain: Any = None

    def __repr__(self) -> str:
        low, middle, high = self.quantile("l_corr", [0.16, 0.5, 0.84]).to_value(u.kpc)
        return (
            f"CorrelationLength({self.method}: l_corr {middle:.2f} kpc, 68 % from {low:.2f} to {high:.2f}, "
            f"{self.width_over_prior('l_corr'):.2f} of the prior's width; chi2 {self.chi2:.1f} for {self.bins} numbers)"
        )

    def quantile(self, name: str, probability: Any) -> Any:
        """Quantiles of "l_corr", "kappa_t", "sigma_inj", "dilution" or "beam", with units."""
        column, back = _column(name)
        found = WeightedDraws(self.weighted.draws[:, column], self.weighted.log_weights, len(self.weighted))
        return back(found.quantile(probability))

    def interval(self, name: str, level: float = 0.68) -> tuple[Any, Any]:
        """Central interval of a parameter."""
        low, high = self.quantile(name, [(1 - level) / 2, (1 + level) / 2])
        return low, high

    def probability_below(self, name: str, value: Any) -> float:
        """Posterior probability that a parameter is below a value: uniform for true values, if all is well."""
        column, back = _column(name)
        draws = back(self.weighted.draws[:, column])
        return float(self.weighted.weights @ (draws <= value))

    def width_over_prior(self, name: str) -> float:
        """Width of the 68 % interval over that of the prior: 1 is nothing learned. For lengths in their logarithm."""
        column, _ = _column(name)
        found = WeightedDraws(self.weighted.draws[:, column], self.weighted.log_weights, len(self.weighted))
        low, high = found.quantile([0.16, 0.84])
        before = self.prior.quantile(column, np.array([0.16, 0.84]))
        return float((high - low) / (before[1] - before[0]))


_COLUMNS: dict[str, tuple[int, Callable[[Array], Any]]] = {
    "sigma_inj": (0, lambda x: x * LENGTH),
    "l_corr": (1, lambda x: np.exp(x / 2) * LENGTH),
    "kappa_t": (1, lambda x: np.exp(x) * AREA),
    "dilution": (2, lambda x: x),
    "beam": (3, lambda x: x * LENGTH),
}


def _column(name: str) -> tuple[int, Callable[[Array], Any]]:
    if name not in _COLUMNS:
        raise InputError(f"name is {name!r}; accepted are {', '.join(_COLUMNS)}")
    return _COLUMNS[name]


def fit_correlation_length(
    sep: Any,
    xi: Any,
    *,
    cov: Any = None,
    realisations: int | None = None,
    err: Any = None,
    window: Window | None = None,
    beam: tuple[Any, Any] | None = None,
    prior: CorrelationPrior | None = None,
    method: Method = "importance",
    rng: Any = None,
) -> CorrelationLength:
    """Fit the correlation function of metals in one window.

    Parameters
    ----------
    sep : Quantity (k,)
        Separations > 0, such as `field_correlation(...).separation`.
    xi : array (k,)
        Covariance at these separations over the variance at none, both about the window's mean, noise included:
        ``found.xi / found.variance``.
    cov : array (k, k)
        Covariance of `xi`, best from simulated fields of the same window.
    realisations : int, optional
        The number of fields that `cov` was estimated from: Hartlap's factor is applied. Without it `cov` is exact.
    err : array (k,), optional
        Independent errors instead of `cov`. Bins of one field are not independent; this is for comparison.
    window : Window, optional
        For the integral constraint. Without it the mean is taken to be known.
    beam : (Quantity, Quantity), optional
        Standard deviation of the beam and its error. Without it there is none.
    prior : CorrelationPrior, optional
        By default wide; see there.
    method : {"importance", "nuts", "pymc"}
    rng : int, Generator or None

    Returns
    -------
    CorrelationLength

    Raises
    ------
    InputError
        Shapes do not fit, separations are not positive, the covariance has no inverse or too few realisations; with
        "importance", hardly a draw counts.
    InputTypeError, WrongUnitError
        Separations without unit, or with one of another type.
    MissingExtraError
        "nuts" without torch, "pymc" without PyMC.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> sep = np.array([0.1, 0.2, 0.5, 1.0, 2.0]) * u.kpc
    >>> xi = np.array([0.70, 0.56, 0.34, 0.19, 0.06])
    >>> found = fit_correlation_length(sep, xi, err=np.full(5, 0.01), rng=0)
    >>> print(found.quantile("l_corr", 0.5).to("kpc").round(1))
    1.0 kpc
    """
    separations = magnitudes("sep", sep, LENGTH)
    values = np.asarray(xi, float)
    if separations.ndim != 1 or values.shape != separations.shape or len(values) < 3:
        raise InputError(
            f"sep has shape {separations.shape} and xi {values.shape}; accepted are equal (k,), k at least 3"
        )
    if not (np.all(separations > 0) and np.all(np.isfinite(values))):
        raise InputError(
            "sep has a value that is not positive, or xi one that is not finite; leave those bins out"
        )
    if window is not None:
        _check_window(window, separations)
    chosen = CorrelationPrior.around(separations, window) if prior is None else prior
    data = Data(
        values,
        _precision(cov, err, realisations, len(values)),
        Expected.known_mean(separations) if window is None else Expected.within(window),
        chosen if beam is None else replace(chosen, beam=beam),
    )
    return _method(method)(data, generator(rng))


def _check_window(window: Any, separations: Array) -> None:
    if not isinstance(window, Window):
        raise InputTypeError(
            f"window is {window!r}; accepted is a Window, such as Window.of_grid(weights, pixel, edges)"
        )
    low, high = window.edges[:-1], window.edges[1:]
    if len(low) != len(separations) or not np.all((separations > low) & (separations <= high)):
        raise InputError(
            f"sep has {len(separations)} values, not one in each of the {len(low)} bins of the window; accepted are "
            "a correlation function and a window of the same edges"
        )


def _precision(cov: Any, err: Any, realisations: int | None, k: int) -> Array:
    if (cov is None) == (err is None):
        raise InputError(
            f"{'neither' if cov is None else 'both'} of cov and err are given; accepted is exactly one"
        )
    if err is not None:
        errors = np.asarray(err, float)
        if errors.shape != (k,) or not np.all((errors > 0) & np.isfinite(errors)):
            raise InputError(
                f"err has shape {errors.shape} or a value not positive; accepted is ({k},) errors > 0"
            )
        return np.diag(errors**-2.0)
    matrix = np.asarray(cov, float)
    if matrix.shape != (k, k):
        raise InputError(f"cov has shape {matrix.shape}; accepted is ({k}, {k})")
    if realisations is not None:
        return inverse_covariance(matrix, realisations)
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError as error:
        raise InputError("cov is not positive definite; accepted is a covariance of full rank") from error
    return np.linalg.inv(matrix)


def _by_importance(data: Data, rng: np.random.Generator) -> CorrelationLength:
    weighted = weighted_draws(data, rng)
    least = float(data.chi2(weighted.draws[np.argsort(weighted.log_weights)[-200:]]).min())
    return CorrelationLength(weighted, data.prior, least, len(data.xi), "importance")


def _by_nuts(data: Data, rng: np.random.Generator) -> CorrelationLength:
    from statml.research.abundances.correlation_nuts import run

    chain = run(data, CHAINS, WARMUP, DRAWS, rng)
    missing = np.zeros((len(chain.flat), len(NAMES) - len(chain.names)))
    return _of_draws(data, np.concatenate([chain.flat, missing], axis=1), "nuts", chain)


def _by_pymc(data: Data, rng: np.random.Generator) -> CorrelationLength:
    from statml.research.abundances.correlation_pymc import run

    found, draws = run(data, CHAINS, WARMUP, DRAWS, rng)
    return _of_draws(data, draws, "pymc", found)


def _of_draws(data: Data, draws: Array, method: str, chain: Any) -> CorrelationLength:
    if method == "nuts" and (rhat := float(np.max(chain.rhat()))) > 1.05:
        warnings.warn(
            f"the chains do not agree (R-hat {rhat:.2f}); run them longer", RuntimeWarning, stacklevel=4
        )
    weighted = WeightedDraws(draws, np.zeros(len(draws)), len(draws))
    return CorrelationLength(weighted, data.prior, float(data.chi2(draws).min()), len(data.xi), method, chain)


_METHODS: dict[str, Callable[[Data, np.random.Generator], CorrelationLength]] = {
    "importance": _by_importance,
    "nuts": _by_nuts,
    "pymc": _by_pymc,
}


def _method(name: str) -> Callable[[Data, np.random.Generator], CorrelationLength]:
    if name not in _METHODS:
        raise InputError(f"method is {name!r}; accepted are {', '.join(map(repr, _METHODS))}")
    return _METHODS[name]
