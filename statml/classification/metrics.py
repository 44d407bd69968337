r"""How good are class predictions, each number with its interval.

From the confusion matrix: accuracy, balanced accuracy, and for one class

    completeness = TP / (TP + FN)      the share of the class that was found (recall)
    purity       = TP / (TP + FP)      the share of what was found that is of the class (precision)
    F1           = 2 TP / (2 TP + FP + FN)

From the probabilities: the area under the ROC curve (the chance that a member of the class
gets a higher probability than another object), average precision, the log loss and the Brier
score. Proportions have Wilson's interval, the area DeLong's, mean scores Student's, average
precision the bootstrap's. `statml.classification.reliability` asks whether the
probabilities are right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special, stats

from statml.classification.intervals import (
    LEVEL,
    RESAMPLES,
    Estimate,
    average,
    bootstrap,
    check_level,
    mean_score,
    proportion,
)
from statml.errors import InputError
from statml.uncertainty.empirical import Categorical

Array = np.ndarray


def confusion_matrix(prediction: Any, y: Any, *, classes: Any = None) -> Array:
    """How many of each true class (rows) were given each class (columns), shape (k, k).

    Parameters
    ----------
    prediction : Categorical or array (n,)
        Probabilities, of which the most probable class counts, or the given classes.
    y : array (n,)
        True classes.
    classes : array (k,), optional
        Order of rows and columns; by default that of the prediction, or sorted.

    Raises
    ------
    InputError
        Lengths differ, or a class is not among `classes`.

    Examples
    --------
    >>> confusion_matrix(["a", "b", "b", "b"], ["a", "a", "b", "b"])
    array([[1, 1],
           [0, 2]])
    """
    given, y = _given(prediction, y)
    if classes is None:
        classes = (
            prediction.classes if isinstance(prediction, Categorical) else np.unique(np.append(given, y))
        )
    classes = np.asarray(classes)
    k = len(classes)
    rows, columns = _positions("y", y, classes), _positions("prediction", given, classes)
    return np.bincount(rows * k + columns, minlength=k * k).reshape(k, k)


def accuracy(prediction: Any, y: Any, *, level: float = LEVEL) -> Estimate:
    """Share of right classes, with Wilson's interval; arguments as in `confusion_matrix`."""
    given, y = _given(prediction, y)
    return proportion(int(np.sum(given == y)), len(y), level=level)


def balanced_accuracy(prediction: Any, y: Any, *, level: float = LEVEL) -> Estimate:
    """Mean completeness over the classes in y; the limits of all classes are combined in quadrature."""
    given, y = _given(prediction, y)
    parts = [
        proportion(int(np.sum(given[y == label] == label)), int(np.sum(y == label)), level=level)
        for label in np.unique(y)
    ]
    return average(parts, level)


def completeness(prediction: Any, y: Any, *, label: Any = None, level: float = LEVEL) -> Estimate:
    """Share of a class that was found (recall), with Wilson's interval.

    Parameters
    ----------
    prediction : Categorical or array (n,)
    y : array (n,)
    label : class, optional
        By default the second of two.
    level : float

    Examples
    --------
    >>> print(completeness([1, 1, 0, 1], [1, 1, 1, 0], label=1))
    0.667 [0.387, 0.864]
    """
    right, _, missed = _counts(prediction, y, label)
    return proportion(right, right + missed, level=level)


def purity(prediction: Any, y: Any, *, label: Any = None, level: float = LEVEL) -> Estimate:
    """Share of a class among what was given that class (precision); arguments as in `completeness`."""
    right, wrong, _ = _counts(prediction, y, label)
    return proportion(right, right + wrong, level=level)


def f1_score(prediction: Any, y: Any, *, label: Any = None, level: float = LEVEL) -> Estimate:
    """Harmonic mean of completeness and purity; arguments as in `completeness`.

    Notes
    -----
    F1 = 2 J / (1 + J) with J = TP / (TP + FP + FN), a binomial proportion given its
    denominator; the interval is that of J, transformed.
    """
    right, wrong, missed = _counts(prediction, y, label)
    jaccard = proportion(right, right + wrong + missed, level=level)
    value, low, high = (2 * j / (1 + j) for j in (jaccard.value, jaccard.low, jaccard.high))
    return Estimate(value, low, high, level)


def roc_auc(prediction: Categorical, y: Any, *, label: Any = None, level: float = LEVEL) -> Estimate:
    """Area under the ROC curve: the chance that one of the class ranks above one that is not.

    Parameters
    ----------
    prediction : Categorical
    y : array (n,)
    label : class, optional
        By default the second of two.
    level : float

    Notes
    -----
    The variance is DeLong's, the interval is taken on the logit of the area so that it stays between 0 and 1.
    Where the ranks are perfect that variance is 0, and the lower limit is Wilson's for
    as many successes as the smaller group has members.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44, 837.
    """
    check_level(level)
    score, is_label = scores_of(prediction, y, label)
    inside, outside = score[is_label], score[~is_label]
    m, n = len(inside), len(outside)
    if min(m, n) == 0:
        return Estimate(np.nan, 0.0, 1.0, level)
    ranks = stats.rankdata(np.concatenate([inside, outside]))
    above = (ranks[:m] - stats.rankdata(inside)) / n
    below = 1 - (ranks[m:] - stats.rankdata(outside)) / m
    area = float(np.mean(above))
    variance = sum(float(np.var(part, ddof=1)) / len(part) for part in (above, below) if len(part) > 1)
    if not 0 < area < 1 or variance == 0:
        edge = proportion(min(m, n), min(m, n), level=level).low
        return Estimate(area, min(area, edge), max(area, 1 - edge), level)
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt(variance) / (area * (1 - area))
    center = special.logit(area)
    return Estimate(area, float(special.expit(center - half)), float(special.expit(center + half)), level)


def average_precision(
    prediction: Categorical,
    y: Any,
    *,
    label: Any = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    rng: Any = 0,
) -> Estimate:
    """Purity averaged over the completeness reached as the threshold falls, with the bootstrap's interval.

    Parameters
    ----------
    prediction : Categorical
    y : array (n,)
    label : class, optional
        By default the second of two.
    level : float
    resamples : int
        Of the bootstrap.
    rng : int, Generator or None
        Of the bootstrap; the same resamples every time by default.
    """
    score, is_label = scores_of(prediction, y, label)
    order = np.argsort(-score, kind="stable")
    hit = is_label[order].astype(float)
    # Equal scores are one threshold: its last row.
    last = np.append(np.diff(score[order]) != 0, True)

    def precision(weights: Array) -> float:
        found = np.cumsum(weights[order] * hit)[last]
        kept = np.cumsum(weights[order])[last]
        if found[-1] == 0:
            return np.nan
        steps = np.diff(found, prepend=0.0)
        return float(np.sum(steps * found / np.maximum(kept, 1e-300)) / found[-1])

    return bootstrap(precision, len(score), level=level, resamples=resamples, rng=rng)


def log_loss(prediction: Categorical, y: Any, *, level: float = LEVEL) -> Estimate:
    """Mean of -log p(true class), in nats, with Student's interval."""
    return mean_score(-_categorical(prediction).log_prob(_checked(prediction, y)), level=level)


def brier_score(prediction: Categorical, y: Any, *, level: float = LEVEL) -> Estimate:
    """Mean squared distance of the probabilities from 1 and 0, summed over classes, with Student's interval."""
    return mean_score(_categorical(prediction).brier(_checked(prediction, y)), level=level)


def scores_of(prediction: Categorical, y: Any, label: Any = None) -> tuple[Array, Array]:
    """Probability of one class, and whether each row is of it; both (n,).

    Raises
    ------
    InputError
        There is no such class, or none is named out of more than two.
    """
    y = _checked(prediction, y)
    chosen = _label(prediction.classes, label)
    column = int(np.flatnonzero(prediction.classes == chosen)[0])
    prediction.log_prob(y)  # refuses classes that were not predicted
    return prediction.proba[:, column], y == chosen


def _counts(prediction: Any, y: Any, label: Any) -> tuple[int, int, int]:
    """True positives, false positives, false negatives of a class."""
    given, y = _given(prediction, y)
    classes = prediction.classes if isinstance(prediction, Categorical) else np.unique(np.append(given, y))
    chosen = _label(classes, label)
    found, is_label = given == chosen, y == chosen
    return int(np.sum(found & is_label)), int(np.sum(found & ~is_label)), int(np.sum(~found & is_label))


def _label(classes: Array, label: Any) -> Any:
    if label is None and len(classes) == 2:
        return classes[1]
    if label is None or not np.any(classes == label):
        raise InputError(f"label is {label!r}; accepted are {', '.join(map(str, classes))}")
    return label


def _given(prediction: Any, y: Any) -> tuple[Array, Array]:
    given = prediction.mode if isinstance(prediction, Categorical) else np.asarray(prediction)
    return given, _checked(given, y)


def _checked(prediction: Any, y: Any) -> Array:
    y = np.asarray(y)
    if y.shape != (len(prediction),) or len(y) == 0:
        raise InputError(
            f"y has shape {y.shape}; accepted is ({len(prediction)},), one class for each prediction"
        )
    return y


def _categorical(prediction: Any) -> Categorical:
    if not isinstance(prediction, Categorical):
        raise InputError(
            f"prediction is a {type(prediction).__name__}; accepted is a Categorical, as predict_dist gives it"
        )
    return prediction


def _positions(name: str, values: Array, classes: Array) -> Array:
    order = np.argsort(classes)
    place = order[np.clip(np.searchsorted(classes, values, sorter=order), 0, len(classes) - 1)]
    if np.any(classes[place] != values):
        raise InputError(f"{name} contains classes other than {', '.join(map(str, classes))}")
    return place
