"""Linear regression beside statsmodels and scikit-learn.

Three problems on one simulated design (a Gaussian one; features correlated
through three shared modes, of unit spread):

OLS    no errors of y          statsmodels OLS (pinv, qr), scikit-learn LinearRegression
WLS    errors of y as weights  statsmodels WLS (pinv, qr), scikit-learn with sample_weight
Bayes  evidence-fitted prior   scikit-learn BayesianRidge

What is timed goes from arrays to coefficients and, where the library has them,
standard errors. statsmodels wants a column of ones; it is made before the clock
starts. scikit-learn's LinearRegression has no standard errors, so it does less.

OLS and WLS are the same estimate everywhere: equal to `SAME`. BayesianRidge has
a flat prior of the intercept and weak Gamma priors of both precisions, ours a
prior of width 10 std(y) and none; it also stops its iteration at 1e-3. So the
coefficients are compared in units of their posterior standard deviations
(`CLOSE`), and those standard deviations relatively (`CLOSE`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import statsmodels.api as sm
from sklearn import linear_model

from benchmarks.gpu import weighted_on_gpu
from benchmarks.measurement import (
    Answer,
    Competitor,
    DisagreementError,
    largest_difference,
    machine,
    measure,
    ratio_to_fastest_peer,
)
from statml import console
from statml.regression import BayesianLinearRegression, LinearRegression

Array = np.ndarray

SAME = 1e-8
CLOSE = 1e-2
SHARED_MODES = 3
Check = Callable[[Answer, Answer], dict[str, float]]


def benchmark(sizes: list[int], n_features: int, repeats: int) -> dict[str, Any]:
    """Compare answers, then measure, for every problem and size.

    Parameters
    ----------
    sizes : list of int
        Numbers of rows, growing; the last one is the headline.
    n_features : int
    repeats : int
        Timed fits of each competitor.

    Returns
    -------
    dict
        Plain numbers for JSON: ``machine``, ``measurements`` (one for each problem and size).

    Raises
    ------
    DisagreementError
        A peer's answer is not ours.
    """
    where = machine()
    measurements = [
        compare(problem, competitors, check, n, repeats)
        for n in sizes
        for problem, (competitors, check) in problems(*simulate(n, n_features)).items()
    ]
    return {
        "family": "regression",
        "n_features": n_features,
        "repeats": repeats,
        "machine": where,
        "measurements": measurements,
        "gpu": weighted_on_gpu(),
    }


def simulate(n: int, n_features: int) -> tuple[Array, Array, Array]:
    """X (n, d), y (n,) and its errors (n,), the same for the same arguments."""
    rng = np.random.default_rng(20250612)
    X = rng.normal(size=(n, n_features))
    X += rng.normal(size=(n, SHARED_MODES)) @ rng.normal(size=(SHARED_MODES, n_features))
    X /= X.std(axis=0)
    err = np.exp(rng.normal(0.0, 0.3, n))
    y = 3.0 + X @ rng.normal(1.0, 0.2, n_features) + err * rng.normal(size=n)
    return X, y, err


def problems(X: Array, y: Array, err: Array) -> dict[str, tuple[list[Competitor], Check]]:
    """The competitors of each problem, ours first, and how their answers are compared."""
    design = sm.add_constant(X)
    weights = 1 / err**2
    return {
        "OLS": (
            [
                Competitor("statml LinearRegression", True, lambda: _ours(LinearRegression().fit(X, y))),
                *(_statsmodels("OLS", method, lambda: sm.OLS(y, design)) for method in ("pinv", "qr")),
                Competitor(
                    "scikit-learn LinearRegression",
                    False,
                    lambda: _sklearn(linear_model.LinearRegression().fit(X, y)),
                ),
            ],
            same,
        ),
        "WLS": (
            [
                Competitor(
                    "statml LinearRegression(y_err)",
                    True,
                    lambda: _ours(LinearRegression(absolute_errors=False).fit(X, y, y_err=err)),
                ),
                *(
                    _statsmodels("WLS", method, lambda: sm.WLS(y, design, weights))
                    for method in ("pinv", "qr")
                ),
                Competitor(
                    "scikit-learn LinearRegression(sample_weight)",
                    False,
                    lambda: _sklearn(linear_model.LinearRegression().fit(X, y, sample_weight=weights)),
                ),
            ],
            same,
        ),
        "Bayes": (
            [
                Competitor(
                    "statml BayesianLinearRegression",
                    True,
                    lambda: _ours(BayesianLinearRegression().fit(X, y)),
                ),
                Competitor(
                    "scikit-learn BayesianRidge",
                    False,
                    lambda: _bayesian_ridge(linear_model.BayesianRidge().fit(X, y)),
                ),
            ],
            close,
        ),
    }


def same(ours: Answer, theirs: Answer) -> dict[str, float]:
    """Largest relative differences of one estimate computed twice."""
    found = {"params": largest_difference(ours.params, theirs.params)}
    if theirs.errors is not None:
        assert ours.errors is not None
        found["errors"] = largest_difference(ours.errors, theirs.errors)
    return _accept(found, SAME)


def close(ours: Answer, theirs: Answer) -> dict[str, float]:
    """Differences of the slopes of two Bayesian models in posterior standard deviations, and of those."""
    assert ours.errors is not None and theirs.errors is not None
    slopes, errors = slice(1, None), theirs.errors[1:]
    gap = float(np.max(np.abs(ours.params[slopes] - theirs.params[slopes]) / errors))
    return _accept({"params": gap, "errors": largest_difference(ours.errors[slopes], errors)}, CLOSE)


def _accept(differences: dict[str, float], tolerance: float) -> dict[str, float]:
    for name, difference in differences.items():
        if not difference <= tolerance:
            raise DisagreementError(f"{name} differ by {difference:.2g}, accepted is {tolerance:g}")
    return differences


def compare(
    problem: str, competitors: list[Competitor], check: Check, n: int, repeats: int
) -> dict[str, Any]:
    """Check every peer's answer against ours, which is the first, then measure."""
    ours = competitors[0].fit()
    differences = {peer.label: check(ours, peer.fit()) for peer in competitors[1:]}
    turns = console.progress(range(repeats), f"{problem} n={n:,}")
    costs = measure(competitors, repeats, turns)
    ratio, peer = ratio_to_fastest_peer(competitors, costs)
    return {
        "problem": problem,
        "n": n,
        "ratio": ratio,
        "fastest_peer": peer,
        "tolerance": SAME if check is same else CLOSE,
        "differences": differences,
        "costs": [
            {
                "label": each.label,
                "ours": each.ours,
                "median_s": costs[each.label].median,
                "seconds": list(costs[each.label].seconds),
                "peak_bytes": costs[each.label].peak_bytes,
            }
            for each in competitors
        ],
    }


def _statsmodels(kind: str, method: str, model: Callable[[], Any]) -> Competitor:
    def fit() -> Answer:
        result = model().fit(method=method)
        return Answer(np.asarray(result.params), np.asarray(result.bse))

    return Competitor(f"statsmodels {kind} ({method})", False, fit)


def _ours(model: LinearRegression | BayesianLinearRegression) -> Answer:
    return Answer(model.params_, np.sqrt(np.diag(model.params_cov_)))


def _sklearn(model: linear_model.LinearRegression) -> Answer:
    return Answer(np.concatenate([[model.intercept_], model.coef_]), None)


def _bayesian_ridge(model: linear_model.BayesianRidge) -> Answer:
    # It has no error of the intercept; NaN keeps the slopes in their places.
    errors = np.concatenate([[np.nan], np.sqrt(np.diag(model.sigma_))])
    return Answer(np.concatenate([[model.intercept_], model.coef_]), errors)
