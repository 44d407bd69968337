"""Samplers beside emcee and PyMC: effective draws per second, where all draw from the same distribution.

Ensembles (emcee's stretch and differential-evolution moves beside ours; 64 walkers, a
least-squares problem of five parameters with more and more rows, so that one call of the
vectorised log density costs from a few to some thousand microseconds; and a scalar Python
function), three times in turns, the median counts. Effective draws are walkers * steps / tau, with
emcee's own estimate of tau for both.

NUTS (PyMC's on its compiled models, ours on torch) on the five posteriors of
`benchmarks.posteriors`, 1000 steps of warm-up and 1000 draws. Effective draws are the
smallest bulk size over the parameters that the reference reports. The warm-up counts; compiling
does not: PyMC's time is what it says the sampling took, with as many processes as there
are cores.

Means are compared first, in units of their Monte Carlo errors: nothing is timed of samplers
that disagree by more than `AGREE`.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.measurement import DisagreementError, machine
from statml import console
from statml.sampling import NUTS, Ensemble, sample
from statml.sampling.diagnostics import ess

Array = np.ndarray

# Largest accepted distance of two means, in Monte Carlo errors of their difference.
AGREE = 5.0
WALKERS, PARAMETERS = 64, 5
# Cost of one call of half the walkers up to which three times emcee's pace is wanted, in microseconds.
CHEAP = 50.0
WARMUP, DRAWS = 1000, 1000
REPEATS = 3


@dataclass(frozen=True)
class Yield:
    """What one sampler got out of its time: effective draws, seconds, and means with their errors."""

    label: str
    ours: bool
    effective: float
    seconds: float
    mean: Array
    error: Array

    @property
    def pace(self) -> float:
        """Effective draws per second."""
        return self.effective / self.seconds


def benchmark(quick: bool) -> dict[str, Any]:
    """Compare answers, then paces.

    Parameters
    ----------
    quick : bool
        Short ensembles, and NUTS on the two posteriors that carry their data.

    Returns
    -------
    dict
        Plain numbers for JSON: ``machine`` and ``efficiencies``.

    Raises
    ------
    DisagreementError
        Two samplers draw from different distributions.
    """
    where = machine()
    found = ensembles(3_000 if quick else 20_000, [1, 100, 3000] if quick else [1, 100, 1000, 1900, 10_000])
    names = ["eight_schools", "gp_regr"] if quick else None
    found += no_u_turn(names, [4] if quick else [64, 4])
    return {"family": "sampling", "machine": where, "efficiencies": found, "gpu": "not measured"}


# -- ensembles ---------------------------------------------------------------------------------------


def ensembles(steps: int, sizes: list[int]) -> list[dict[str, Any]]:
    """Both moves on log densities of growing cost, then on a scalar function."""
    found = []
    for size in console.progress(sizes, "ensembles"):
        log_prob = normal_of_cost(size)
        cost = call_cost(log_prob)
        # Few enough steps that the costliest take a minute.
        number = int(np.clip(steps * 200 / (200 + cost), 1500, steps))
        for move in ("stretch", "differential"):
            each = _in_turns(log_prob, move, number, True)
            wanted = 3.0 if cost <= CHEAP else None
            found.append(_entry(f"{move} move, a call of 32 walkers takes {cost:.0f} us", each, wanted))

    def scalar(x: Array) -> float:
        return -0.5 * sum(value * value for value in x.tolist())

    each = _in_turns(scalar, "stretch", min(steps, 2000), False)
    found.append(_entry("stretch move, a scalar Python function", each, None))
    return found


def _in_turns(log_prob: Callable[[Any], Any], move: str, steps: int, vectorized: bool) -> list[Yield]:
    """Ours and emcee's run of median pace."""
    kinds = ("statml", "emcee")
    runs = [[_ensemble(kind, log_prob, move, steps, vectorized) for kind in kinds] for _ in range(REPEATS)]
    return [sorted(each, key=lambda run: run.pace)[REPEATS // 2] for each in zip(*runs)]


def normal_of_cost(size: int) -> Callable[[Array], Array]:
    """A correlated normal density in five dimensions, as a sum of squares of `size` residuals."""
    rng = np.random.default_rng(1)
    factor = rng.normal(size=(PARAMETERS, PARAMETERS))
    precision = np.linalg.inv(factor @ factor.T + 0.1 * np.eye(PARAMETERS))
    design, _ = np.linalg.qr(rng.normal(size=(max(size, PARAMETERS), PARAMETERS)))
    design = design @ np.linalg.cholesky(precision).T

    def log_prob(x: Array) -> Array:
        residual = x @ design.T
        return -0.5 * np.einsum("ij,ij->i", residual, residual)

    return log_prob


def call_cost(log_prob: Callable[[Array], Array]) -> float:
    """Median microseconds of one call with half the walkers."""
    points = np.random.default_rng(0).normal(size=(WALKERS // 2, PARAMETERS))
    times = []
    for _ in range(300):
        start = time.perf_counter()
        log_prob(points)
        times.append(time.perf_counter() - start)
    return 1e6 * float(np.median(times))


def _ensemble(kind: str, log_prob: Callable[[Any], Any], move: str, steps: int, vectorized: bool) -> Yield:
    import emcee

    start = np.random.default_rng(2).normal(size=(WALKERS, PARAMETERS))
    burn = steps // 5
    if kind == "statml":
        sampler = Ensemble(move=move)
        first = sample(log_prob, start, sampler=sampler, draws=burn, vectorized=vectorized, rng=3)
        begin = time.perf_counter()
        chain = sample(
            log_prob, first.draws[:, -1], sampler=sampler, draws=steps, vectorized=vectorized, rng=4
        )
        seconds = time.perf_counter() - begin
        draws = np.swapaxes(chain.draws, 0, 1)
    else:
        moves = {"stretch": emcee.moves.StretchMove(), "differential": emcee.moves.DEMove()}
        peer = emcee.EnsembleSampler(WALKERS, PARAMETERS, log_prob, vectorize=vectorized, moves=moves[move])
        peer.random_state = np.random.RandomState(5).get_state()
        state = peer.run_mcmc(start, burn)
        peer.reset()
        begin = time.perf_counter()
        peer.run_mcmc(state, steps)
        seconds = time.perf_counter() - begin
        draws = peer.get_chain()
    logging.getLogger("emcee").setLevel(logging.ERROR)  # short chains of a quick look
    tau = emcee.autocorr.integrated_time(draws, quiet=True)
    effective = draws.shape[0] * draws.shape[1] / tau
    flat = draws.reshape(-1, PARAMETERS)
    return Yield(
        f"{kind} {move}",
        kind == "statml",
        float(effective.min()),
        seconds,
        flat.mean(axis=0),
        flat.std(axis=0) / np.sqrt(effective),
    )


# -- NUTS ----------------------------------------------------------------------------------------------


def no_u_turn(names: list[str] | None, chains: list[int]) -> list[dict[str, Any]]:
    """Ours beside PyMC's, for every posterior and number of chains."""
    from benchmarks.posteriors import MODELS

    found = []
    for name in console.progress(names or list(MODELS), "NUTS"):
        for number in chains:
            each = [_ours(MODELS[name], number), _pymc(MODELS[name], number)]
            found.append(_entry(f"NUTS on {name}, {number} chains", each, 1.0 if number >= 64 else None))
    return found


def _ours(model: Any, chains: int) -> Yield:
    free = model.free()
    start = model.starts(free, chains, 1.0, 1)
    begin = time.perf_counter()
    chain = sample(free, start, sampler=NUTS(), draws=DRAWS, warmup=WARMUP, rng=2)
    return _nuts_yield("statml NUTS", True, model.reported(free, chain.draws), time.perf_counter() - begin)


def _pymc(model: Any, chains: int) -> Yield:
    import pymc as pm

    logging.getLogger("pymc").setLevel(logging.ERROR)
    with warnings.catch_warnings(), pm.Model():
        warnings.simplefilter("ignore")
        model.pymc(pm, model.data())
        trace = pm.sample(
            DRAWS,
            tune=WARMUP,
            chains=chains,
            progressbar=False,
            random_seed=3,
            compute_convergence_checks=False,
        )
    columns = [np.atleast_3d(trace.posterior[name].values) for name in model.pymc_names]
    draws = np.concatenate(columns, axis=2)
    return _nuts_yield("PyMC NUTS", False, draws, float(trace.posterior.attrs["sampling_time"]))


def _nuts_yield(label: str, ours: bool, draws: Array, seconds: float) -> Yield:
    flat = draws.reshape(-1, draws.shape[2])
    sizes = ess(draws, kind="mean")
    return Yield(
        label,
        ours,
        float(np.min(ess(draws, kind="bulk"))),
        seconds,
        flat.mean(axis=0),
        flat.std(axis=0) / np.sqrt(sizes),
    )


def _entry(problem: str, found: list[Yield], wanted: float | None) -> dict[str, Any]:
    ours, peer = found
    distance = float(np.max(np.abs(ours.mean - peer.mean) / np.hypot(ours.error, peer.error)))
    if not distance <= AGREE:
        raise DisagreementError(f"{problem}: means differ by {distance:.1f} Monte Carlo errors")
    costs = []
    for each in found:
        plain = asdict(each) | {"pace": each.pace}
        costs.append({name: plain[name] for name in ("label", "ours", "effective", "seconds", "pace")})
    return {
        "problem": problem,
        "ratio": ours.pace / peer.pace,
        "wanted": wanted,
        "difference": distance,
        "costs": costs,
    }


def tables(record: dict[str, Any]) -> str:
    """The record as text."""
    where = record["machine"]
    lines = [
        f"sampling: {where['cpu']}, {where['cores']} cores, load before {where['load_before']}, {where['date']}",
        f"{'effective draws per second':58s}{'statml':>10s}{'peer':>10s}{'ratio':>8s}{'wanted':>8s}",
    ]
    for entry in record["efficiencies"]:
        paces = "".join(f"{cost['pace']:10.0f}" for cost in entry["costs"])
        wanted = "-" if entry["wanted"] is None else f"{entry['wanted']:.1f}"
        lines.append(f"{entry['problem']:58s}{paces}{entry['ratio']:8.2f}{wanted:>8s}")
    return "\n".join([*lines, f"GPU: {record['gpu']}"])


def draw(record: dict[str, Any], path: Any) -> None:
    """Ratios of paces, one bar for each problem."""
    from matplotlib.figure import Figure

    entries = record["efficiencies"][::-1]
    figure = Figure(figsize=(8.5, 0.34 * len(entries) + 1.2), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(entries))
    axes.barh(place, [entry["ratio"] for entry in entries], color="#1b4f9c", height=0.6)
    for y, entry in zip(place, entries):
        if entry["wanted"] is not None:
            axes.plot([entry["wanted"]] * 2, [y - 0.42, y + 0.42], color="#c8553d", lw=2)
    axes.axvline(1, color="0.3", lw=0.8)
    axes.set_yticks(place, [entry["problem"] for entry in entries], fontsize=8)
    axes.set_xscale("log")
    # named one by one: the powers of ten a logarithmic axis writes by itself overlap over one decade
    axes.set_xticks([0.1, 0.2, 0.5, 1, 2, 5, 10], ["0.1", "0.2", "0.5", "1", "2", "5", "10"], fontsize=9)
    axes.set_xticks([], minor=True)
    axes.margins(y=0.01)
    axes.set_xlabel("our effective draws per second / the peer's (red: wanted)", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
