"""Lines with errors in both coordinates beside odrpack and hyperfit.

Three problems on one simulated line, errors of different size from point to point:

York          errors of x and y independent     odrpack, explicit, with its Jacobians
correlated    correlation of -0.5 to 0.5        odrpack, implicit, one 2 x 2 weight a point
scatter       errors and intrinsic scatter      hyperfit (for few points: it samples a simplex)

What is timed goes from arrays to the line and, where the library has it, its
covariance. odrpack stops where chi2 changes by less than about 1e-8 of itself, so
the answers are compared in standard errors (`CLOSE`). hyperfit's tolerance of 1e-6
is its default. York's closed-form errors, which odrpack gives, are compared as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hyperfit.linfit import LinFit
from odrpack import odr_fit

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
from statml.regression import ErrorsInVariables, Orthogonal

Array = np.ndarray

CLOSE = 1e-2
# The largest n a peer is given: beyond, one fit takes a minute.
LARGEST = {"York": 1_000_000, "correlated": 100_000, "scatter": 1_000}


def benchmark(sizes: list[int], repeats: int) -> dict[str, Any]:
    """Compare answers, then measure, for every problem and size.

    Parameters
    ----------
    sizes : list of int
        Numbers of rows, growing.
    repeats : int
        Timed fits of each competitor.

    Returns
    -------
    dict
        Plain numbers for JSON, in the form of `benchmarks.regression.benchmark`.

    Raises
    ------
    DisagreementError
        A peer's line is not ours.
    """
    where = machine()
    measurements = [
        _measurement(problem, build(*simulate(n, problem)), n, repeats)
        for n in sizes
        for problem, build in PROBLEMS.items()
        if n <= LARGEST[problem]
    ]
    return {
        "family": "errors_in_variables",
        "n_features": 1,
        "repeats": repeats,
        "machine": where,
        "measurements": measurements,
        "gpu": "not measured",
    }


def simulate(n: int, problem: str) -> tuple[Array, Array, Array, Array, Array]:
    """x, y, their errors and their covariance, each (n,), the same for the same arguments."""
    rng = np.random.default_rng(20250612)
    xi, sx, sy = rng.normal(size=n), rng.uniform(0.2, 0.5, n), rng.uniform(0.2, 0.5, n)
    rho = rng.uniform(-0.5, 0.5, n) if problem == "correlated" else np.zeros(n)
    off = 0.3 * rng.normal(size=n) if problem == "scatter" else np.zeros(n)
    u, v = rng.normal(size=(2, n))
    x = xi - 2 / np.sqrt(5) * off + sx * u
    y = 1 + 2 * xi + off / np.sqrt(5) + sy * (rho * u + np.sqrt(1 - rho**2) * v)
    return x, y, sx, sy, rho * sx * sy


def york(x: Array, y: Array, sx: Array, sy: Array, c: Array) -> list[Competitor]:
    """Independent errors."""

    def ours() -> Answer:
        line = ErrorsInVariables("york").fit(x[:, None], y, X_err=sx[:, None], y_err=sy)
        return Answer(line.params_, np.sqrt(np.diag(line.closed_form_cov_)))

    def odrpack() -> Answer:
        found = odr_fit(
            lambda x, b: b[0] + b[1] * x,
            x,
            y,
            np.polyfit(x, y, 1)[::-1],
            weight_x=sx**-2,
            weight_y=sy**-2,
            jac_beta=lambda x, b: np.array([np.ones_like(x), x]),
            jac_x=lambda x, b: np.full_like(x, b[1]),
        )
        return Answer(found.beta, np.sqrt(np.diag(found.cov_beta)))

    return [
        Competitor("statml ErrorsInVariables('york')", True, ours),
        Competitor("odrpack explicit", False, odrpack),
    ]


def correlated(x: Array, y: Array, sx: Array, sy: Array, c: Array) -> list[Competitor]:
    """Errors of x and y correlated, differently in every point."""

    def ours() -> Answer:
        line = ErrorsInVariables("york").fit(x[:, None], y, X_err=sx[:, None], y_err=sy, xy_cov=c[:, None])
        return Answer(line.params_, np.sqrt(np.diag(line.closed_form_cov_)))

    def odrpack() -> Answer:
        ones, det = np.ones(len(x)), sx**2 * sy**2 - c**2
        found = odr_fit(
            lambda z, b: z[1] - b[0] - b[1] * z[0],
            np.array([x, y]),
            np.zeros(len(x)),
            np.polyfit(x, y, 1)[::-1],
            weight_x=np.array([[sy**2, -c], [-c, sx**2]]) / det,
            task="implicit-ODR",
            jac_beta=lambda z, b: np.array([-ones, -z[0]]),
            jac_x=lambda z, b: np.array([-b[1] * ones, ones]),
            maxit=1000,
        )
        return Answer(found.beta, None)

    return [
        Competitor("statml ErrorsInVariables('york', xy_cov)", True, ours),
        Competitor("odrpack implicit", False, odrpack),
    ]


def scatter(x: Array, y: Array, sx: Array, sy: Array, c: Array) -> list[Competitor]:
    """Scatter along the normal, by maximum likelihood."""

    def ours() -> Answer:
        line = ErrorsInVariables(Orthogonal(scatter=True)).fit(x[:, None], y, X_err=sx[:, None], y_err=sy)
        return Answer(line.params_, np.sqrt(np.diag(line.params_cov_)))

    def hyperfit() -> Answer:
        np.random.seed(0)  # noqa: NPY002 - its search uses the global generator
        peer = LinFit(np.array([x, y]), np.array([[sx**2, c], [c, sy**2]]))
        slope, intercept = peer.optimize([(-5.0, 5.0), (-5.0, 5.0), (1e-6, 2.0)])[0]
        return Answer(np.array([intercept, slope]), None)

    return [
        Competitor("statml Orthogonal(scatter=True)", True, ours),
        Competitor("hyperfit optimize", False, hyperfit),
    ]


PROBLEMS: dict[str, Callable[..., list[Competitor]]] = {
    "York": york,
    "correlated": correlated,
    "scatter": scatter,
}


def close(ours: Answer, theirs: Answer) -> dict[str, float]:
    """Difference of the lines in standard errors; of the errors, where the peer has any, relatively."""
    assert ours.errors is not None
    found = {"params": float(np.max(np.abs(ours.params - theirs.params) / ours.errors))}
    if theirs.errors is not None:
        found["errors"] = largest_difference(ours.errors, theirs.errors)
    for name, difference in found.items():
        if not difference <= CLOSE:
            raise DisagreementError(f"{name} differ by {difference:.2g}, accepted is {CLOSE:g}")
    return found


def _measurement(problem: str, competitors: list[Competitor], n: int, repeats: int) -> dict[str, Any]:
    ours = competitors[0].fit()
    differences = {peer.label: close(ours, peer.fit()) for peer in competitors[1:]}
    costs = measure(competitors, repeats, console.progress(range(repeats), f"{problem} n={n:,}"))
    ratio, peer = ratio_to_fastest_peer(competitors, costs)
    return {
        "problem": problem,
        "n": n,
        "ratio": ratio,
        "fastest_peer": peer,
        "tolerance": CLOSE,
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
