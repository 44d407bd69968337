r"""Are class probabilities right? Of objects given probability p, a fraction p must be of the class.

The rows are sorted by probability (or by any other quantity) and cut into bins that
hold equal shares of the binomial variance sum p (1 - p): bins of equal power, narrow where
predictions are unsure. Then

    chi2 = sum_bins (members - sum p)^2 / sum p (1 - p)

follows the chi-square distribution with one degree of freedom for each bin, if the
probabilities are right and the rows were not used in the fit. The expected calibration error,
sum_bins |members - sum p| / n, is never zero; what it would be for right probabilities, the consistency
band (Bröcker & Smith 2007), is what it must be compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from statml.classification.intervals import LEVEL, Estimate, bootstrap, check_level
from statml.classification.metrics import scores_of
from statml.errors import InputError
from statml.uncertainty.empirical import Categorical

Array = np.ndarray

# Bins hold a binomial variance of at least 5, so that counts in them are close to normal.
LEAST_VARIANCE, MOST_BINS = 5.0, 20
BAND_LEVEL = 0.99


@dataclass(frozen=True, eq=False)
class Reliability:
    """Predicted and observed fractions of a class in bins.

    Attributes
    ----------
    predicted, observed : arrays (bins,)
        Mean probability and fraction of members in each bin.
    error : array (bins,)
        Standard deviation of `observed` if the probabilities are right.
    count : array (bins,)
        Rows in each bin.
    pvalue : float
        Of right probabilities, by the chi-square test.
    calibration_error : float
        Expected calibration error.
    calibration_error_band : (float, float)
        Median and 99 % quantile of it if the probabilities are right.
    """

    predicted: Array
    observed: Array
    error: Array
    count: Array
    pvalue: float
    calibration_error: float
    calibration_error_band: tuple[float, float]


def reliability(prediction: Categorical, y: Any, *, label: Any = None, by: Any = None) -> Reliability:
    """Reliability diagram and its test, on rows that were not used in the fit.

    Parameters
    ----------
    prediction : Categorical
    y : array (n,)
        True classes.
    label : class or "top", optional
        The class whose probability is tested; by default the second of two. "top": whether
        the most probable class is right as often as it says.
    by : array (n,), optional
        Sort by this instead of by probability: a feature, to see whether the probabilities are right all along it.

    Returns
    -------
    Reliability

    Raises
    ------
    InputError
        Fewer than 20 rows, or no such class.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> p = rng.uniform(size=2000)
    >>> y = rng.uniform(size=2000) < p
    >>> right = Categorical(np.column_stack([1 - p, p]), [False, True])
    >>> sure = Categorical(np.column_stack([1 - p, p]) ** 2 / ((1 - p) ** 2 + p**2)[:, None], [False, True])
    >>> reliability(right, y).pvalue > 0.001, reliability(sure, y).pvalue > 0.001
    (True, False)
    """
    if label == "top" and not np.any(prediction.classes == "top"):
        y = np.asarray(y)
        prediction.log_prob(y)
        p, member = prediction.confidence, prediction.mode == y
    else:
        p, member = scores_of(prediction, y, label)
    if len(p) < 20:
        raise InputError(f"y has {len(p)} values; a calibration test needs at least 20")
    key = p if by is None else np.asarray(by, float)
    if key.shape != p.shape or np.any(np.isnan(key)):
        raise InputError(
            f"by has shape {key.shape} or holds NaN; accepted is one number for each of {len(p)} rows"
        )
    return _binned(p, member, np.argsort(key, kind="stable"))


def _binned(p: Array, member: Array, order: Array) -> Reliability:
    p, member = p[order], member[order].astype(float)
    variance = p * (1 - p)
    total = float(variance.sum())
    bins = int(np.clip(total / LEAST_VARIANCE, 1, MOST_BINS))
    # The middle of a row's own variance decides its bin.
    place = np.minimum((np.cumsum(variance) - variance / 2) / max(total, 1e-300) * bins, bins - 1).astype(int)
    count, predicted, observed, spread = (
        np.bincount(place, weights, minlength=bins) for weights in (np.ones_like(p), p, member, variance)
    )
    filled = count > 0
    count, predicted, observed, spread = count[filled], predicted[filled], observed[filled], spread[filled]
    gap = observed - predicted
    # Certain predictions have no variance: one miss is a contradiction.
    pulls = np.abs(gap) / np.sqrt(np.maximum(spread, 1e-12))
    band = _band(np.sqrt(spread) / len(p))
    return Reliability(
        predicted=predicted / count,
        observed=observed / count,
        error=np.sqrt(spread) / count,
        count=count.astype(int),
        pvalue=float(stats.chi2.sf(np.sum(pulls**2), len(pulls))),
        calibration_error=float(np.sum(np.abs(gap)) / len(p)),
        calibration_error_band=band,
    )


def _band(spread: Array) -> tuple[float, float]:
    """Median and upper quantile of sum |normal| with these standard deviations; 5,000 fixed draws."""
    draws = np.abs(np.random.default_rng(0).standard_normal((5000, len(spread)))) @ spread
    median, high = np.quantile(draws, [0.5, BAND_LEVEL])
    return float(median), float(high)


@dataclass(frozen=True)
class BrierDecomposition:
    """Brier score = reliability - resolution + uncertainty + within, summed over classes (Murphy 1973).

    Attributes
    ----------
    reliability : Estimate
        Mean squared distance of predicted from observed fractions in bins; 0 is best. Its
        value for right probabilities is not 0 but that of the scatter of the bins.
    resolution : Estimate
        Variance of the observed fractions between bins; as large as `uncertainty` is best.
    uncertainty : Estimate
        Variance of the classes themselves: the score of a prediction that knows their fractions only.
    within : float
        What remains because probabilities differ within a bin; the four add up to the score.
    """

    reliability: Estimate
    resolution: Estimate
    uncertainty: Estimate
    within: float


def brier_decomposition(
    prediction: Categorical,
    y: Any,
    *,
    bins: int = 10,
    level: float = LEVEL,
    resamples: int = 200,
    rng: Any = 0,
) -> BrierDecomposition:
    """Split the Brier score into what is wrong, what is known, and what there is to know.

    Parameters
    ----------
    prediction : Categorical
    y : array (n,)
    bins : int
        Of equal numbers of rows, for each class.
    level : float
    resamples : int
        Of the bootstrap that gives the intervals.
    rng : int, Generator or None

    Returns
    -------
    BrierDecomposition
    """
    check_level(level)
    if bins < 1:
        raise InputError(f"bins is {bins}; accepted are whole numbers >= 1")
    score = float(np.mean(prediction.brier(y)))
    y = np.asarray(y)
    parts = []
    for column, label in enumerate(prediction.classes):
        p, member = prediction.proba[:, column], (y == label).astype(float)
        rank = np.argsort(np.argsort(p, kind="stable"), kind="stable")
        parts.append((p, member, rank * bins // len(p)))

    def split(weights: Array) -> Array:
        total = np.zeros(3)
        for p, member, place in parts:
            count = np.bincount(place, weights, minlength=bins)
            safe = np.maximum(count, 1e-300)
            predicted = np.bincount(place, weights * p, minlength=bins) / safe
            observed = np.bincount(place, weights * member, minlength=bins) / safe
            base = np.sum(weights * member) / weights.sum()
            total += [
                np.sum(count * (predicted - observed) ** 2) / weights.sum(),
                np.sum(count * (observed - base) ** 2) / weights.sum(),
                base * (1 - base),
            ]
        return total

    wrong, known, there = (
        bootstrap(lambda w, i=i: float(split(w)[i]), len(y), level=level, resamples=resamples, rng=rng)  # type: ignore[misc]
        for i in range(3)
    )
    return BrierDecomposition(wrong, known, there, score - (wrong.value - known.value + there.value))
