"""Kelly's regression beside the same model in PyMC: effective samples a second.

One simulated data set, one feature, three components, errors of x and y that differ
from row to row (reliability 0.7), intrinsic scatter. Three samplers of one posterior:

statml          our sampler, Gibbs steps and proposals of whole states, four chains at once
PyMC marginal   NUTS, the true covariates integrated out (11 parameters)
PyMC latent     NUTS, the true covariates as variables, as the model is usually written

First their answers: posterior means of slope, intercept and scatter agree within four
joint Monte Carlo errors. Then the rate: the smaller of the bulk effective sample sizes
of slope and scatter, counted by ArviZ for all three, over the seconds of warm-up and
sampling. Compilation is left out. Each sampler has one core and runs one chain after
the other, or all at once in one thread; so no rate depends on how chains are spread.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measurement import DisagreementError, machine
from statml.regression import ErrorsInVariables, Kelly
from statml.sampling.diagnostics import mcse

Array = np.ndarray

COMPONENTS = 3
TARGET = 20.0
AGREE = 4.0
QUANTITIES = ("intercept", "slope", "scatter")
COLOURS = {"statml": "#1b4f9c", "PyMC marginal": "#c8553d", "PyMC latent": "#e0a030"}


@dataclass(frozen=True)
class Length:
    """Chains, iterations of warm-up and draws of each."""

    chains: int
    warmup: int
    draws: int


OURS = Length(4, 500, 2000)
MARGINAL = Length(2, 500, 500)
LATENT = Length(2, 500, 1000)


def benchmark(n: int, ours: Length, marginal: Length, latent: Length) -> dict[str, Any]:
    """Sample, compare the answers, then the rates.

    Returns
    -------
    dict
        Plain numbers for JSON.

    Raises
    ------
    DisagreementError
        Posterior means differ by more than `AGREE` joint Monte Carlo errors.
    """
    where = machine()
    X, y, errors = simulate(n)
    line, seconds = _ours(X, y, errors, ours)
    found = {"statml": (_draws(line.posterior_), seconds)}
    for label, length in (("PyMC marginal", marginal), ("PyMC latent", latent)):
        found[label] = _nuts(line.to_pymc(marginal=label == "PyMC marginal"), length)
    rows = [_row(label, *found[label]) for label in found]
    _compare({label: draws for label, (draws, _) in found.items()})
    where["libraries"] |= {name: version(name) for name in ("pymc", "pytensor", "arviz")}
    return {
        "family": "kelly",
        "n": n,
        "n_features": 1,
        "n_components": COMPONENTS,
        "data_tier": "synthetic",
        "target": TARGET,
        "machine": where,
        "lengths": {label: vars(length) for label, length in zip(found, (ours, marginal, latent))},
        "measurements": rows,
        "ratios": {row["label"]: rows[0]["ess_per_s"] / row["ess_per_s"] for row in rows[1:]},
    }


def simulate(n: int, seed: int = 0) -> tuple[Array, Array, dict[str, Array]]:
    """x (n, 1), y (n,) and their errors: slope 2, intercept 1, scatter 0.5."""
    rng = np.random.default_rng(seed)
    component = rng.choice(3, size=n, p=[0.5, 0.3, 0.2])
    xi = np.array([-1.5, 0.5, 2.5])[component] + np.array([0.6, 0.4, 0.8])[component] * rng.normal(size=n)
    x_err = np.sqrt(0.3 / 0.7) * xi.std() * rng.uniform(0.7, 1.3, n)
    y_err = rng.uniform(0.3, 0.7, n)
    y = 1 + 2 * xi + 0.5 * rng.normal(size=n) + y_err * rng.normal(size=n)
    return (xi + x_err * rng.normal(size=n))[:, None], y, {"X_err": x_err[:, None], "y_err": y_err}


def _ours(X: Array, y: Array, errors: dict[str, Array], length: Length) -> tuple[Any, float]:
    method = Kelly(COMPONENTS, chains=length.chains, warmup=length.warmup, draws=length.draws)
    estimator = ErrorsInVariables(method, random_state=1)
    start = time.perf_counter()
    estimator.fit(X, y, **errors)
    return estimator, time.perf_counter() - start


def _nuts(model: Any, length: Length) -> tuple[dict[str, Array], float]:
    import pymc as pm

    with model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trace = pm.sample(
            tune=length.warmup,
            draws=length.draws,
            chains=length.chains,
            cores=1,
            random_seed=1,
            progressbar=False,
            compute_convergence_checks=False,
        )
    posterior = {name: trace.posterior[name].values for name in ("params", "scatter")}
    # PyMC's own clock: warm-up and sampling, without compilation.
    return _draws(posterior), float(trace.posterior.attrs["sampling_time"])


def _draws(posterior: dict[str, Array]) -> dict[str, Array]:
    params = posterior["params"]
    return {"intercept": params[..., 0], "slope": params[..., 1], "scatter": posterior["scatter"]}


def _row(label: str, draws: dict[str, Array], seconds: float) -> dict[str, Any]:
    import arviz as az

    ess = {name: float(az.ess(values, method="bulk")) for name, values in draws.items()}
    least = min(ess["slope"], ess["scatter"])
    return {
        "label": label,
        "seconds": seconds,
        "ess": ess,
        "rhat": {name: float(az.rhat(values)) for name, values in draws.items()},
        "ess_per_s": least / seconds,
        "mean": {name: float(values.mean()) for name, values in draws.items()},
        "std": {name: float(values.std()) for name, values in draws.items()},
        "mcse": {name: float(mcse(values)) for name, values in draws.items()},
    }


def _compare(found: dict[str, dict[str, Array]]) -> None:
    ours = found["statml"]
    for label, draws in found.items():
        for name in QUANTITIES:
            gap = abs(float(draws[name].mean() - ours[name].mean()))
            error = float(np.hypot(mcse(draws[name]), mcse(ours[name])))
            if gap > AGREE * error:
                raise DisagreementError(
                    f"{name} of {label} differs from ours by {gap / error:.1f} Monte Carlo errors"
                )


def tables(record: dict[str, Any]) -> str:
    """The measurements as text."""
    where = record["machine"]
    lines = [
        f"kelly: n = {record['n']:,}, one feature, {record['n_components']} components, synthetic data",
        f"{where['cpu']}, one core each, load before {where['load_before']}, {where['date']}",
        f"  {'':16s}{'seconds':>9s}{'ESS slope':>11s}{'ESS scatter':>13s}{'ESS/s':>9s}   slope",
    ]
    for row in record["measurements"]:
        ess, slope = row["ess"], f"{row['mean']['slope']:.4f} +- {row['std']['slope']:.4f}"
        lines.append(
            f"  {row['label']:16s}{row['seconds']:9.1f}{ess['slope']:11.0f}{ess['scatter']:13.0f}"
            f"{row['ess_per_s']:9.3g}   {slope}"
        )
    lines += [
        f"ours / {label}: {ratio:.1f} x (target {record['target']:.0f})"
        for label, ratio in record["ratios"].items()
    ]
    return "\n".join(lines)


def draw(record: dict[str, Any], path: Path) -> None:
    """Bars of effective samples a second, on a logarithmic scale."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    axes = figure.subplots()
    rows = record["measurements"][::-1]
    rates = [row["ess_per_s"] for row in rows]
    axes.barh(
        [row["label"] for row in rows], rates, color=[COLOURS[row["label"]] for row in rows], height=0.6
    )
    for place, (row, rate) in enumerate(zip(rows, rates)):
        ratio = record["ratios"].get(row["label"])
        note = f"{rate:.3g}" if ratio is None else f"{rate:.3g}   ({ratio:.0f} x slower)"
        axes.text(rate * 1.1, place, note, va="center", fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(min(rates) / 3, max(rates) * 12)
    axes.set_xlabel("effective samples a second (slope or scatter, the fewer)")
    axes.set_title(f"n = {record['n']:,} rows, {record['n_components']} components, one core", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
