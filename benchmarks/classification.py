"""Logistic and softmax regression beside statsmodels and scikit-learn.

Two problems on one simulated design (Gaussian features correlated through three
shared modes, of unit spread; classes drawn from a softmax of linear scores):

two classes    statsmodels Logit (newton), scikit-learn LogisticRegression (newton-cholesky, lbfgs)
four classes   statsmodels MNLogit (newton), scikit-learn LogisticRegression (the same solvers)

All fit the unpenalised maximum with tolerances tight enough for one answer; what is
timed goes from arrays to coefficients and, where the library has them, standard errors.
scikit-learn has none, so it does less; its coefficients of four classes are those against
their mean, compared as differences to the first class. Coefficients are compared in
units of their standard errors, lbfgs within `LOOSE`, the others within `SAME`; standard
errors relatively.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import statsmodels.api as sm
from sklearn import linear_model

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
from statml.classification import LogisticRegression, SoftmaxRegression

Array = np.ndarray

SAME, LOOSE = 1e-5, 2e-2
SHARED_MODES = 3
# Above this statsmodels' MNLogit takes minutes and tens of GB.
LARGEST_MNLOGIT = 100_000


def benchmark(sizes: list[int], n_features: int, repeats: int) -> dict[str, Any]:
    """Compare answers, then measure, for both problems and every size.

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
    measurements = []
    for n in sizes:
        for name, k in (("two classes", 2), ("four classes", 4)):
            X, y = simulate(n, n_features, k)
            measurements.append(_measurement(name, competitors(X, y, k), n, repeats))
    return {
        "family": "classification",
        "n_features": n_features,
        "repeats": repeats,
        "machine": where,
        "measurements": measurements,
        "gpu": "not measured",
    }


def simulate(n: int, n_features: int, k: int) -> tuple[Array, Array]:
    """X (n, d) and classes (n,), the same for the same arguments."""
    rng = np.random.default_rng(20250612)
    X = rng.normal(size=(n, n_features))
    X += rng.normal(size=(n, SHARED_MODES)) @ rng.normal(size=(SHARED_MODES, n_features))
    X /= X.std(axis=0)
    scores = X @ rng.normal(0.0, 0.4, size=(n_features, k))
    return X, np.argmax(scores + rng.gumbel(size=(n, k)), axis=1)


def competitors(X: Array, y: Array, k: int) -> list[Competitor]:
    """Those of one problem, ours first."""
    design = sm.add_constant(X)
    ours = "LogisticRegression" if k == 2 else "SoftmaxRegression"
    found = [Competitor(f"statml {ours}", True, lambda: _ours(X, y, k))]
    if k == 2 or len(y) <= LARGEST_MNLOGIT:
        name = "Logit" if k == 2 else "MNLogit"
        found.append(Competitor(f"statsmodels {name} (newton)", False, lambda: _statsmodels(design, y, k)))
    return [
        *found,
        _sklearn_competitor(X, y, k, "newton-cholesky", 1e-8),
        _sklearn_competitor(X, y, k, "lbfgs", 1e-7),
    ]


def compare(ours: Answer, theirs: Answer, tolerance: float) -> dict[str, float]:
    """Largest differences: of parameters in standard errors, of standard errors relatively."""
    assert ours.errors is not None
    found = {"params": float(np.max(np.abs(ours.params - theirs.params) / ours.errors))}
    if theirs.errors is not None:
        found["errors"] = largest_difference(ours.errors, theirs.errors)
    for name, difference in found.items():
        if not difference <= tolerance:
            raise DisagreementError(f"{name} differ by {difference:.2g}, accepted is {tolerance:g}")
    return found


def _measurement(problem: str, each_of: list[Competitor], n: int, repeats: int) -> dict[str, Any]:
    ours = each_of[0].fit()
    differences = {
        peer.label: compare(ours, peer.fit(), LOOSE if "lbfgs" in peer.label else SAME)
        for peer in each_of[1:]
    }
    costs = measure(each_of, repeats, console.progress(range(repeats), f"{problem} n={n:,}"))
    ratio, peer = ratio_to_fastest_peer(each_of, costs)
    return {
        "problem": problem,
        "n": n,
        "ratio": ratio,
        "fastest_peer": peer,
        "tolerance": SAME,
        "differences": differences,
        "costs": [
            {
                "label": each.label,
                "ours": each.ours,
                "median_s": costs[each.label].median,
                "seconds": list(costs[each.label].seconds),
                "peak_bytes": costs[each.label].peak_bytes,
            }
            for each in each_of
        ],
    }


def _ours(X: Array, y: Array, k: int) -> Answer:
    model = (LogisticRegression() if k == 2 else SoftmaxRegression()).fit(X, y)
    return Answer(np.ravel(model.params_), np.sqrt(np.diag(model.params_cov_)))


def _statsmodels(design: Array, y: Array, k: int) -> Answer:
    model = sm.Logit(y, design) if k == 2 else sm.MNLogit(y, design)
    result = model.fit(method="newton", disp=0, tol=1e-8, maxiter=100)
    return Answer(np.asarray(result.params).T.ravel(), np.asarray(result.bse).T.ravel())


def _sklearn_competitor(X: Array, y: Array, k: int, solver: str, tolerance: float) -> Competitor:
    label = f"scikit-learn LogisticRegression ({solver})"
    return Competitor(label, False, lambda: _sklearn(X, y, k, solver, tolerance))


def _sklearn(X: Array, y: Array, k: int, solver: str, tolerance: float) -> Answer:
    model = linear_model.LogisticRegression(C=np.inf, solver=solver, tol=tolerance, max_iter=10_000).fit(X, y)
    params = np.column_stack([model.intercept_, model.coef_])
    return Answer((params if k == 2 else params[1:] - params[0]).ravel(), None)
