"""Gaussian processes of time beside celerite2: the same kernel, equal likelihoods, one thread.

value               log likelihood of one series            celerite2.GaussianProcess
value and gradient  by hyperparameters, values, errors      celerite2.backprop, its reverse passes
batch               a thousand series of one kernel         a loop over celerite2.GaussianProcess

with one oscillator (`SHO`, two states) and with two (`Rotation`, four). celerite2 has its gradients
in C++ for JAX, Theano and PyMC; here its functions are called directly on NumPy arrays, its best case. They
end at the matrices of the solver (c, a, U, V), ours at the logs of the hyperparameters, with the derivatives
by times included. The derivatives by values and by variances, which both have, are compared. What numba
compiles is compiled before anything is timed, and printed apart.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import report
from benchmarks.measurement import Answer, Competitor, DisagreementError, machine
from benchmarks.regression import compare
from statml.gp import SHO, Kernel, Rotation, StateSpaceGP
from statml.gp.state_space.block_filter import LOG_2PI
from statml.gp.state_space.likelihood import Sampling, Terms

Array = np.ndarray

# Largest relative difference of the log likelihood, and of its derivatives beside the largest of them.
SAME = 1e-8
CURVES = 1000
# Compiles both kernels in a process with an empty cache.
COLD = """
import time
import numpy as np
from benchmarks.state_space import KERNELS, _gradient, series
start = time.perf_counter()
for kernel, _ in KERNELS.values():
    _gradient(kernel, *series(300)).fit()
print(time.perf_counter() - start)
"""


def _sho() -> Any:
    from celerite2 import terms

    return terms.SHOTerm(sigma=1.2, rho=3.0, Q=2.0)


def _rotation() -> Any:
    from celerite2 import terms

    return terms.RotationTerm(sigma=1.2, period=3.0, Q0=2.0, dQ=0.5, f=0.5)


KERNELS: dict[str, tuple[Kernel, Callable[[], Any]]] = {
    "2 states": (SHO(1.2, 3.0, 2.0), _sho),
    "4 states": (Rotation(1.2, 3.0, 2.0, 0.5, 0.5), _rotation),
}


def benchmark(sizes: list[int], lengths: list[int], repeats: int, curves: int = CURVES) -> dict[str, Any]:
    """Compare answers, then measure, for both kernels and every size.

    Parameters
    ----------
    sizes : list of int
        Lengths of one series, growing.
    lengths : list of int
        Mean lengths of the series of a batch.
    repeats : int
        Timed calls of each competitor.
    curves : int
        Series of a batch.

    Raises
    ------
    DisagreementError
        celerite2's likelihood or its derivatives are not ours.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        where = machine()
        measurements = []
        for name, (kernel, term) in KERNELS.items():
            for n in sizes:
                t, y, err = series(n)
                value = [_value(kernel, t, y, err), _peer_value(term(), t, y, err)]
                measurements.append(compare(f"value, {name}", value, same, n, repeats))
                both = [_gradient(kernel, t, y, err), _peer_gradient(term(), t, y, err)]
                measurements.append(compare(f"gradient, {name}", both, same, n, repeats))
            for n in lengths:
                some = batch(curves, n)
                each = [_batch(kernel, some), _peer_batch(term(), some)]
                measurements.append(compare(f"batch, {name}", each, same, n, repeats))
    finally:
        torch.set_num_threads(threads)
    return {
        "family": "state_space",
        "n_features": 1,
        "repeats": repeats,
        "curves": curves,
        "machine": where,
        "compilation_s": compilation(),
        "measurements": measurements,
        "gpu": "not measured",
    }


def series(n: int) -> tuple[Array, Array, Array]:
    """Uneven times, ten in a unit, noise, and errors."""
    rng = np.random.default_rng(20250614)
    return np.sort(rng.uniform(0, n / 10, n)), rng.normal(size=n), rng.uniform(0.3, 0.5, n)


def batch(count: int, length: int) -> list[tuple[Array, Array, Array]]:
    """Series of unequal lengths, half to one and a half times `length`."""
    rng = np.random.default_rng(20250614)
    lengths = rng.integers(length // 2, length + length // 2 + 1, count)
    return [series(int(n)) for n in lengths]


def compilation() -> float:
    """Seconds to compile value and gradient of both kernels, with nothing in numba's cache."""
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [sys.executable, "-c", COLD],
            env={**os.environ, "NUMBA_CACHE_DIR": folder},
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
    return float(run.stdout)


def same(ours: Answer, theirs: Answer) -> dict[str, float]:
    """Relative differences of log likelihoods, and of derivatives beside their largest."""
    found = {"log_likelihood": float(np.max(np.abs(ours.params / theirs.params - 1)))}
    if ours.errors is not None and theirs.errors is not None:
        gap = np.abs(ours.errors - theirs.errors).max(axis=1)
        found["derivatives"] = float(np.max(gap / np.abs(theirs.errors).max(axis=1)))
    for name, difference in found.items():
        if not difference <= SAME:
            raise DisagreementError(f"{name} differ by {difference:.2g}, accepted is {SAME:g}")
    return found


def _value(kernel: Kernel, t: Array, y: Array, err: Array) -> Competitor:
    gp = StateSpaceGP(kernel)
    return Competitor(
        "statml StateSpaceGP", True, lambda: Answer(np.array([gp.log_likelihood(t, y, err)]), None)
    )


def _peer_value(term: Any, t: Array, y: Array, err: Array) -> Competitor:
    import celerite2

    def fit() -> Answer:
        gp = celerite2.GaussianProcess(term)
        gp.compute(t, yerr=err)
        return Answer(np.array([gp.log_likelihood(y)]), None)

    return Competitor("celerite2 GaussianProcess", False, fit)


def _gradient(kernel: Kernel, t: Array, y: Array, err: Array) -> Competitor:
    def fit() -> Answer:
        theta = torch.tensor(kernel.theta, requires_grad=True)
        times, values, noise = (torch.tensor(x, requires_grad=True) for x in (t, y, err**2))
        logdet, quadratic = Terms(kernel, theta, Sampling(times))(values, noise)
        value = -0.5 * (logdet + quadratic + len(t) * LOG_2PI)
        value.backward()
        assert values.grad is not None and noise.grad is not None
        return Answer(np.array([value.item()]), np.array([values.grad.numpy(), noise.grad.numpy()]))

    return Competitor("statml StateSpaceGP", True, fit)


def _peer_gradient(term: Any, t: Array, y: Array, err: Array) -> Competitor:
    from celerite2 import backprop

    n, column = len(t), np.ascontiguousarray(y[:, None])

    def fit() -> Answer:
        c, a, U, V = term.get_celerite_matrices(t, err**2)
        J = len(c)
        d, W, S = backprop.factor_fwd(t, c, a, U, V, np.empty(n), np.empty((n, J)), np.empty((n, J, J)))
        Z, F = backprop.solve_lower_fwd(t, c, U, W, column, np.empty((n, 1)), np.empty((n, J, 1)))
        z = Z[:, 0]
        value = -0.5 * (np.sum(z**2 / d) + np.sum(np.log(d)) + n * LOG_2PI)
        by_z, by_d = -Z / d[:, None], 0.5 * (z / d) ** 2 - 0.5 / d
        room = [np.empty(n), np.empty(J), np.empty((n, J)), np.empty((n, J))]
        by_y, by_W = (
            backprop.solve_lower_rev(t, c, U, W, column, Z, F, by_z, *room, np.empty((n, 1)))[i]
            for i in (4, 3)
        )
        room = [np.empty(n), np.empty(J), np.empty(n), np.empty((n, J)), np.empty((n, J))]
        by_a = backprop.factor_rev(t, c, a, U, V, d, W, S, by_d, by_W, *room)[2]
        return Answer(np.array([value]), np.array([by_y[:, 0], by_a]))

    return Competitor("celerite2 backprop", False, fit)


def _batch(kernel: Kernel, curves: list[tuple[Array, Array, Array]]) -> Competitor:
    gp = StateSpaceGP(kernel)
    return Competitor("statml StateSpaceGP", True, lambda: Answer(gp.log_likelihood_batch(curves), None))


def _peer_batch(term: Any, curves: list[tuple[Array, Array, Array]]) -> Competitor:
    import celerite2

    def fit() -> Answer:
        values = []
        for t, y, err in curves:
            gp = celerite2.GaussianProcess(term)
            gp.compute(t, yerr=err)
            values.append(gp.log_likelihood(y))
        return Answer(np.array(values), None)

    return Competitor("celerite2 GaussianProcess", False, fit)


def tables(record: dict[str, Any]) -> str:
    """Ratios of every problem and size, then seconds against n, then compilation."""
    where = record["machine"]
    lines = [
        f"state_space: median of {record['repeats']} interleaved calls, one thread",
        f"{where['cpu']}, {where['cores']} cores, load before {where['load_before']}, {where['date']}",
    ]
    if where["load_before"] > report.BUSY:
        lines.append(
            "THE MACHINE WAS BUSY: the ratios are of interleaved calls, the seconds are not for the record"
        )
    sizes = sorted({entry["n"] for entry in record["measurements"]})
    lines += ["", "ours / celerite2", f"  {'n':26s}" + "".join(f"{n:>11,}" for n in sizes)]
    for problem in dict.fromkeys(entry["problem"] for entry in record["measurements"]):
        ratios = {e["n"]: e["ratio"] for e in record["measurements"] if e["problem"] == problem}
        cells = [f"{ratios[n]:11.3f}" if n in ratios else " " * 11 for n in sizes]
        lines.append(f"  {problem:26s}" + "".join(cells))
    lines += [
        "",
        "nanoseconds for each point (a batch: of all its points)",
        f"  {'n':52s}" + "".join(f"{n:>11,}" for n in sizes),
    ]
    for problem, label, points in report.curves(record["measurements"]):
        count = record["curves"] if problem.startswith("batch") else 1
        cost = {n: seconds / n / count * 1e9 for n, seconds in points}
        cells = [f"{cost[n]:11.1f}" if n in cost else " " * 11 for n in sizes]
        lines.append(f"  {problem + '  ' + label:52s}" + "".join(cells))
    worst = max(max(d.values()) for e in record["measurements"] for d in e["differences"].values())
    lines += [
        "",
        f"largest relative difference of any answer: {worst:.1e}",
        f"compilation of both kernels, value and gradient, once and then cached: {record['compilation_s']:.1f} s",
        f"GPU: {record['gpu']}",
    ]
    return "\n".join(lines)


def draw(record: dict[str, Any], path: Path) -> None:
    """Seconds against n: one panel for each kernel and for batches."""
    from matplotlib.figure import Figure

    every = report.curves(record["measurements"])
    figure = Figure(figsize=(9.4, 4.0), layout="constrained")
    panels = figure.subplots(1, len(KERNELS), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, KERNELS):
        for problem, label, points in every:
            what, states = problem.split(", ")
            if states != name:
                continue
            n, seconds = np.array(points).T
            axes.loglog(
                n if what != "batch" else n * record["curves"],
                seconds,
                color=report.COLOURS[label.split()[0]],
                ls={"value": "-", "gradient": "--", "batch": ":"}[what],
                marker={"value": "o", "gradient": "s", "batch": "^"}[what],
                ms=4.5,
                label=f"{label.split()[0]}, {what}",
            )
        fastest = min(points[-1][1] for problem, _, points in every if problem == f"value, {name}")
        sizes = np.array(
            sorted({n for problem, _, points in every if problem == f"value, {name}" for n, _ in points})
        )
        axes.loglog(sizes, fastest / 2.5 * sizes / sizes[-1], color="0.6", lw=0.8, label="proportional to n")
        axes.set_title(name, fontsize=11)
        axes.set_xlabel("points n (of all series of a batch)")
        axes.grid(alpha=0.25, lw=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("median time of one call [s]")
    panels[-1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1))
    figure.savefig(path, dpi=150)
