"""Robust regression beside general maximisers of the same likelihoods.

Student t    no errors of y, nu and scale fitted    statsmodels TLinearModel (BFGS)
mixture      errors of y; Hogg, Bovy & Lang (2010)   scipy minimize (BFGS)

What is timed goes from arrays to coefficients and standard errors. The peers climb from
*one* start, a good one (least squares; for the mixture the true outliers), with numerical
derivatives; ours takes several starts, since both likelihoods may have several maxima, and
reports the row weights too. So this compares a search with a climb, and equal answers are
equal maxima. They agree to `CLOSE` standard errors (`benchmarks.regression`). The same
mixture by MCMC is no peer: a posterior mean is not a maximum.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import statsmodels.api as sm
from scipy import optimize, special
from statsmodels.miscmodels.tmodel import TLinearModel
from statsmodels.tools.numdiff import approx_hess

from benchmarks.measurement import Answer, Competitor, machine
from benchmarks.regression import close, compare
from statml.regression import LinearRegression, RobustRegression

Array = np.ndarray

FRACTION, MEAN, SPREAD = 0.1, 10.0, 20.0


def benchmark(sizes: list[int], n_features: int, repeats: int) -> dict[str, Any]:
    """Compare answers, then measure, for both likelihoods and every size.

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
    return {
        "family": "robust",
        "n_features": n_features,
        "repeats": repeats,
        "machine": where,
        "measurements": [
            compare(problem, competitors, close, n, repeats)
            for n in sizes
            for problem, competitors in problems(n, n_features).items()
        ],
        "gpu": "not measured: these fits run on the CPU",
    }


def simulate(n: int, n_features: int) -> tuple[Array, Array, Array, Array]:
    """X (n, d), y with Student-t noise, y with outliers, and the errors of the latter, each (n,)."""
    rng = np.random.default_rng(20250614)
    X, err = rng.normal(size=(n, n_features)), np.exp(rng.normal(0.0, 0.3, n))
    line = 3.0 + X @ rng.normal(1.0, 0.2, n_features)
    bad = MEAN + np.hypot(err, SPREAD) * rng.normal(size=n)
    heavy = line + rng.standard_t(4, n)
    return X, heavy, np.where(rng.random(n) < FRACTION, bad, line + err * rng.normal(size=n)), err


def problems(n: int, n_features: int) -> dict[str, list[Competitor]]:
    """The competitors of each problem, ours first."""
    X, heavy, contaminated, err = simulate(n, n_features)
    design = sm.add_constant(X)

    def student() -> Answer:
        return _ours(RobustRegression(random_state=0).fit(X, heavy))

    def mixture() -> Answer:
        return _ours(RobustRegression(method="mixture", random_state=0).fit(X, contaminated, y_err=err))

    return {
        "Student t": [
            Competitor("statml RobustRegression", True, student),
            Competitor("statsmodels TLinearModel (bfgs)", False, lambda: _statsmodels(design, heavy)),
        ],
        "mixture": [
            Competitor("statml RobustRegression(mixture)", True, mixture),
            Competitor("scipy minimize (bfgs)", False, lambda: _scipy(design, contaminated, err)),
        ],
    }


def _ours(model: RobustRegression) -> Answer:
    return Answer(model.params_, np.sqrt(np.diag(model.params_cov_)))


def _statsmodels(design: Array, y: Array) -> Answer:
    ordinary = sm.OLS(y, design).fit()
    start = np.concatenate([ordinary.params, [5.0, np.sqrt(ordinary.scale)]])
    with contextlib.redirect_stdout(io.StringIO()):  # it announces itself
        model = TLinearModel(y, design)
    result = model.fit(start_params=start, method="bfgs", maxiter=500, disp=0)
    p = design.shape[1]
    return Answer(np.asarray(result.params)[:p], np.asarray(result.bse)[:p])


def _scipy(design: Array, y: Array, err: Array) -> Answer:
    p = design.shape[1]
    variance = err**2

    def loss(theta: Array) -> float:
        """Mean of minus the log density; theta is the line, logit P, Y, log V."""
        fraction, bad = special.expit(theta[p]), variance + np.exp(theta[p + 2])
        good = np.log1p(-fraction) - 0.5 * (np.log(variance) + (y - design @ theta[:p]) ** 2 / variance)
        outlier = np.log(fraction) - 0.5 * (np.log(bad) + (y - theta[p + 1]) ** 2 / bad)
        return -float(np.mean(np.logaddexp(good, outlier)))

    line = LinearRegression().fit(design[:, 1:], y, y_err=err).params_
    start = np.concatenate([line, [special.logit(FRACTION), MEAN, 2 * np.log(SPREAD)]])
    found = optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-7})
    covariance = np.linalg.inv(approx_hess(found.x, loss) * len(y))
    return Answer(found.x[:p], np.sqrt(np.diag(covariance))[:p])
