r"""Separation: when a likelihood of classes has no maximum, found by linear programmes.

If some direction b gives every row at least as high a score for its own class as for any
other, and one row a higher one, the likelihood grows along b for ever: the maximum
lies at infinity (Albert & Anderson 1984). The separation is complete where every row gains,
quasi-complete where some stay undecided. With margins M b (one row for each observation and each
other class) this is a question to linear programming (Konis 2007):

    complete:        M b >= 1                    has a solution
    quasi-complete:  M b >= 0, sum(M b) = n      has a solution

The solution with the smallest sum of |b_j|, columns measured in their standard deviations,
ranks the columns; the fewest of them that still separate the classes are named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize

from statml.compute import spread

Array = np.ndarray

# Rows the programme starts with and takes in at once: violated ones join until none is left.
ROWS_AT_ONCE = 2000
# Margins above minus this, where their mean is 1, count as not negative.
MARGIN_TOLERANCE = 1e-7


@dataclass(frozen=True)
class Separation:
    """How classes are separated, and by which of the columns of X (their numbers)."""

    kind: Literal["completely", "quasi-completely"]
    columns: tuple[int, ...]


class SeparationWarning(UserWarning):
    """Classes are separated, so their likelihood has no maximum."""


def find_separation(X: Array, codes: Array, *, intercept: bool) -> Separation | None:
    """Whether a hyperplane separates the classes, and how.

    Parameters
    ----------
    X : array (n, d)
    codes : array (n,)
        Classes 0 to k - 1.
    intercept : bool
        Whether the model has a constant for each class.

    Returns
    -------
    Separation or None

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 3.0], [2.0, 1.0], [3.0, 2.0], [4.0, 1.5]])
    >>> find_separation(X, np.array([0, 0, 1, 1]), intercept=True)
    Separation(kind='completely', columns=(0,))
    """
    width = spread(X)
    columns = X / np.where(width > 0, width, 1)
    if intercept:
        columns = np.column_stack([np.ones(len(X)), columns - columns.mean(axis=0)])
    for kind in ("completely", "quasi-completely"):
        complete = kind == "completely"
        direction = _direction(columns, codes, intercept, complete=complete)
        if direction is not None:
            first = int(intercept)
            shares = np.max(np.abs(direction), axis=0)[first:]
            involved = _fewest(
                columns, codes, intercept, np.argsort(-shares, kind="stable"), complete=complete
            )
            return Separation(kind, tuple(sorted(involved.tolist())))  # type: ignore[arg-type]
    return None


def _fewest(columns: Array, codes: Array, intercept: bool, order: Array, *, complete: bool) -> Array:
    """The shortest beginning of `order` (columns of X, by weight) that separates as well as all do."""
    low, high = 0, len(order)
    first = int(intercept)
    while high - low > 1:
        middle = (low + high) // 2
        chosen = np.concatenate([np.arange(first), first + order[:middle]])
        if _direction(columns[:, chosen], codes, intercept, complete=complete) is None:
            low = middle
        else:
            high = middle
    return order[:high]


def _direction(columns: Array, codes: Array, intercept: bool, *, complete: bool) -> Array | None:
    """A direction all rows agree with, (k - 1, p), class 0 scoring 0; None where there is none."""
    k = int(codes.max()) + 1
    free = np.zeros((k - 1, columns.shape[1]), bool)
    free[:, 0] = intercept
    rows = np.arange(len(codes)) if len(codes) <= ROWS_AT_ONCE else _spread_over_classes(codes)
    while True:
        direction = _smallest(_margins(columns[rows], codes[rows], k), free.ravel(), complete=complete)
        if direction is None:
            return None  # not even these rows can be separated
        direction = direction.reshape(k - 1, -1)
        everywhere = _smallest_margin(columns, codes, direction)
        violated = np.flatnonzero(everywhere < (1 if complete else 0) - MARGIN_TOLERANCE)
        new = np.setdiff1d(violated[np.argsort(everywhere[violated])][:ROWS_AT_ONCE], rows)
        if len(new) == 0:
            return direction
        rows = np.concatenate([rows, new])


def _spread_over_classes(codes: Array) -> Array:
    """Some rows of every class, evenly spaced."""
    share = max(ROWS_AT_ONCE // (int(codes.max()) + 1), 1)
    chosen = []
    for code in range(int(codes.max()) + 1):
        members = np.flatnonzero(codes == code)
        chosen.append(members[:: max(len(members) // share, 1)])
    return np.concatenate(chosen)


def _margins(columns: Array, codes: Array, k: int) -> Array:
    """M: the score of a row's own class minus that of each other, class 0 scoring 0; ((k - 1) n, (k - 1) p)."""
    p = columns.shape[1]
    blocks = []
    for other in range(k):
        rows = np.flatnonzero(codes != other)
        block = np.zeros((len(rows), k, p))
        block[np.arange(len(rows)), codes[rows]] = columns[rows]
        block[:, other] -= columns[rows]
        blocks.append(block[:, 1:].reshape(len(rows), (k - 1) * p))
    return np.concatenate(blocks)


def _smallest_margin(columns: Array, codes: Array, direction: Array) -> Array:
    """The smallest margin of each row, shape (n,)."""
    scores = np.column_stack([np.zeros(len(columns)), columns @ direction.T])
    own = scores[np.arange(len(codes)), codes]
    scores[np.arange(len(codes)), codes] = -np.inf
    return own - scores.max(axis=1)


def _smallest(margins: Array, free: Array, *, complete: bool) -> Array | None:
    """Minimise sum |b_j| (free ones aside) subject to the margins; b = u - v with u, v >= 0."""
    cost = np.concatenate([~free, ~free]).astype(float) + 1e-6
    both = np.column_stack([margins, -margins])
    equal = {} if complete else {"A_eq": both.sum(axis=0)[None] / len(both), "b_eq": [1.0]}
    answer = optimize.linprog(
        cost,
        A_ub=-both,
        b_ub=np.full(len(both), -1.0 if complete else 0.0),
        bounds=(0, None),
        method="highs",
        **equal,
    )
    if answer.status != 0:
        return None
    p = margins.shape[1]
    return answer.x[:p] - answer.x[p:]


def separation_sentence(found: Separation, names: list[str], classes: Array) -> str:
    """One sentence: which classes, how, by which columns, what was done, and what to do."""
    shown = ", ".join(names[j] for j in found.columns[:6]) + (", ..." if len(found.columns) > 6 else "")
    labels = ", ".join(map(str, classes[:6])) + (", ..." if len(classes) > 6 else "")
    bayes = ", or use BayesianLogisticRegression" if len(classes) == 2 else ""
    return (
        f"the classes {labels} are {found.kind} separated by {shown or 'the constant'}, so the likelihood has no "
        "maximum and its coefficients would grow without bound; fitted is a weak penalty instead: choose one "
        f"(alpha > 0){bayes}"
    )
