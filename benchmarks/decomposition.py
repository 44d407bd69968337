"""Principal components beside scikit-learn, and what noisy pixels with gaps cost.

leading axes    50 of d columns
all axes        every one

scikit-learn chooses its route itself (for these shapes the eigenvectors of the covariance
matrix, as ours). Equal answers: variances to `SAME`, axes to `AXES` in every entry. Ours
gives errors of the variances as well: by default from the fourth moments of the scores of
20,000 rows; ``variance_errors="normal"`` costs nothing. Heteroscedastic PCA has no
peer that is kept up; one step of it is timed against rows, columns and axes.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from sklearn import decomposition

from benchmarks import report
from benchmarks.measurement import Answer, Competitor, DisagreementError, largest_difference, machine
from benchmarks.regression import SAME, compare
from statml.decomposition import PCA, HeteroscedasticPCA

Array = np.ndarray
AXES = 1e-6
GAPS = 0.3


def benchmark(sizes: list[int], n_features: int, repeats: int) -> dict[str, Any]:
    """Compare answers, then measure.

    Parameters
    ----------
    sizes : list of int
        Numbers of rows, growing; the last one is the headline.
    n_features : int
    repeats : int
        Timed fits of each competitor.

    Raises
    ------
    DisagreementError
        A peer's answer is not ours.
    """
    where = machine()
    measurements = []
    for n in sizes:
        X = simulate(n, n_features)
        for problem, k in (("leading axes", min(50, n_features // 2)), ("all axes", None)):
            entry = compare(problem, competitors(X, k), equal, n, repeats)
            measurements.append(entry | {"tolerance": SAME})
        del X
    return {
        "family": "decomposition",
        "n_features": n_features,
        "repeats": repeats,
        "machine": where,
        "measurements": measurements,
        "growth": growth(sizes[0] // 10, repeats),
        "gpu": "not measured",
    }


def simulate(n: int, d: int) -> Array:
    """Rows of decaying variances around a mean that is not zero, (n, d), the same for the same arguments."""
    rng = np.random.default_rng(20250616)
    X = rng.standard_normal((n, d))
    X *= np.geomspace(5.0, 0.5, d)
    X += 1.0
    return X


def competitors(X: Array, k: int | None) -> list[Competitor]:
    """Ours first."""

    def fit(model: Any) -> Answer:
        model.fit(X)
        return Answer(model.explained_variance_, model.components_)

    return [
        Competitor("statml PCA", True, lambda: fit(PCA(k))),
        Competitor("statml PCA (normal errors)", True, lambda: fit(PCA(k, variance_errors="normal"))),
        Competitor("scikit-learn PCA", False, lambda: fit(decomposition.PCA(k))),
    ]


def equal(ours: Answer, theirs: Answer) -> dict[str, float]:
    """Relative difference of the variances, largest absolute one of the axes."""
    assert ours.errors is not None and theirs.errors is not None
    found = {
        "variances": largest_difference(ours.params, theirs.params),
        "axes": float(np.max(np.abs(ours.errors - theirs.errors))),
    }
    if not (found["variances"] <= SAME and found["axes"] <= AXES):
        raise DisagreementError(f"variances differ by {found['variances']:.2g}, axes by {found['axes']:.2g}")
    return found


def growth(n: int, repeats: int) -> list[dict[str, Any]]:
    """Seconds of one EM step of heteroscedastic PCA, doubling rows, columns and axes in turn."""
    found = []
    shapes = [(n, 100, 5), (2 * n, 100, 5), (4 * n, 100, 5)]
    shapes += [(n, 200, 5), (n, 400, 5), (n, 100, 10), (n, 100, 20)]
    for rows, columns, axes in shapes:
        rng = np.random.default_rng(0)
        X = rng.normal(size=(rows, axes)) @ rng.normal(size=(axes, columns)) + rng.normal(
            size=(rows, columns)
        )
        X[rng.random(X.shape) < GAPS] = np.nan
        seconds = [_step(X, axes) for _ in range(repeats)]
        found.append({"n": rows, "d": columns, "k": axes, "seconds_per_step": float(np.median(seconds))})
    return found


def _step(X: Array, k: int) -> float:
    """Seconds of a step: a fit of six steps less one of two."""
    times = []
    for steps in (2, 6):
        start = time.perf_counter()
        _fit(X, k, steps)
        times.append(time.perf_counter() - start)
    return (times[1] - times[0]) / 4


def _fit(X: Array, k: int, steps: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it has not converged
        HeteroscedasticPCA(k, tol=0.0, max_iter=steps, random_state=0).fit(X, X_err=0.5)


def tables(record: dict[str, Any]) -> str:
    """The measurements as text, then the cost of a step."""
    lines = [
        report.tables(record),
        "",
        "HeteroscedasticPCA, 30 % of the pixels missing: seconds for a step of EM",
    ]
    lines += [
        f"  n = {each['n']:>7,}  d = {each['d']:>4}  k = {each['k']:>3}  {each['seconds_per_step']:9.4f} s"
        for each in record["growth"]
    ]
    return "\n".join(lines)
