"""Correlations of n elements in closed form, beside the same formula without our savings, quadrature, and torch.

matrix         correlations of n elements from single delays; peers are the formula between all 3 n products
               (numpy), and the integral over ages done numerically (scipy)
gradient       the matrix and its derivatives with respect to six parameters; peers are central differences,
               and torch in forward mode
whole curves   correlations from curves of production; the peer is the formula between all 600 intervals
               (needs $STATML_DATA)

One thread. What is timed goes from elements and an environment to the answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import integrate

from benchmarks import report
from benchmarks.measurement import Answer, Competitor, DisagreementError, machine
from benchmarks.regression import compare
from statml.errors import DataNotFoundError
from statml.research.abundances import (
    Channel,
    Element,
    Environment,
    correlation_gradient,
    correlation_matrix,
    load_elements,
)
from statml.research.abundances.correlation import as_correlation

Array = np.ndarray
SAME = {"matrix": 1e-9, "gradient": 1e-6, "whole curves": 1e-9}
# Milliseconds for 42 elements on one core; the gradient at most ten times a matrix.
TARGETS = {"matrix": 5.0, "whole curves": 50.0}
GRADIENT_TARGET = 10.0


def benchmark(sizes: list[int], repeats: int) -> dict[str, Any]:
    """Compare answers, then measure, for every problem and number of elements.

    Parameters
    ----------
    sizes : list of int
        Numbers of elements, at most 42; the last is the headline.
    repeats : int

    Raises
    ------
    DisagreementError
        A peer's correlations are not ours.
    """
    where = machine()
    measurements = [
        compare(problem, competitors, _check(problem), n, repeats)
        for n in sizes
        for problem, competitors in problems(n).items()
    ]
    return {
        "family": "abundances",
        "n_features": 3,
        "repeats": repeats,
        "machine": where,
        "measurements": measurements,
        "gpu": "not measured",
        "targets": targets(measurements),
    }


def targets(measurements: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Our median milliseconds at the largest n beside what they should be; the gradient in matrices."""
    largest = max(entry["n"] for entry in measurements)
    ours = {
        entry["problem"]: 1e3 * entry["costs"][0]["median_s"]
        for entry in measurements
        if entry["n"] == largest
    }
    found = {name: {"ms": ours[name], "target": TARGETS[name]} for name in TARGETS if name in ours}
    return found | {
        "gradient / matrix": {"ratio": ours["gradient"] / ours["matrix"], "target": GRADIENT_TARGET}
    }


def tables(record: dict[str, Any]) -> str:
    """The usual tables, then our times beside their targets."""
    lines = [report.tables(record), "", "targets, largest n"]
    for name, row in record["targets"].items():
        value, unit = (row["ms"], " ms") if "ms" in row else (row["ratio"], "")
        lines.append(f"  {name:20s}{value:8.2f}{unit}  (at most {row['target']:g}{unit})")
    return "\n".join(lines)


def problems(n: int) -> dict[str, list[Competitor]]:
    """The competitors of each problem, ours first."""
    elements, env = load_elements()[:n], Environment.fiducial()
    found = {
        "matrix": [
            Competitor(
                "statml correlation_matrix", True, lambda: _answer(correlation_matrix(elements, env).values)
            ),
            Competitor("numpy between all products", False, lambda: _answer(_all_products(elements, env))),
            Competitor("scipy quadrature over ages", False, lambda: _answer(_quadrature(elements, env))),
        ],
        "gradient": [
            Competitor(
                "statml correlation_gradient",
                True,
                lambda: _answer(correlation_gradient(elements, env).values),
            ),
            Competitor("numpy central differences", False, lambda: _answer(_differences(elements, env))),
            Competitor("torch forward mode", False, lambda: _answer(_torch_gradient(elements, env))),
        ],
    }
    try:
        for element in elements:
            _ = element.production
    except DataNotFoundError:
        return found
    found["whole curves"] = [
        Competitor(
            "statml correlation_matrix",
            True,
            lambda: _answer(correlation_matrix(elements, env, "full").values),
        ),
        Competitor("numpy between all intervals", False, lambda: _answer(_all_intervals(elements, env))),
    ]
    return found


def _answer(values: Array) -> Answer:
    return Answer(values.ravel(), None)


def _check(problem: str) -> Any:
    def same(ours: Answer, theirs: Answer) -> dict[str, float]:
        difference = float(np.abs(ours.params - theirs.params).max())
        if not difference < SAME[problem]:
            raise DisagreementError(
                f"{problem}: params differ by {difference:.1e}; accepted is less than {SAME[problem]:.0e}"
            )
        return {"params": difference}

    return same


def _products(elements: list[Element]) -> tuple[Array, Array, Array]:
    """Fractions (n, 3), delays in Myr and squared widths in pc2 of all products (3 n,)."""
    rows = [(f, t, c.width.value**2) for e in elements for c, f, t in _padded(e)]
    fractions, delays, widths2 = np.array(rows).T
    return fractions.reshape(len(elements), 3), delays, widths2


def _padded(element: Element) -> list[tuple[Channel, float, float]]:
    have = {channel: (fraction, delay) for channel, fraction, delay in element.contributions}
    return [(channel, *have.get(channel, (0.0, 1.0))) for channel in element.fractions]


def _formula(delays: Array, widths2: Array, env: Environment, apart: Array | float = 0.0) -> Array:
    """ln((S_max + d^2) / (S_min + d^2)) between all products, in pc and Myr."""
    kappa, t_star = env.kappa.value, env.t_star.value
    speed = env.drift.to_value("pc / Myr")
    x, y = delays[:, None], delays[None, :]
    moved = (speed * (x - y)) ** 2
    base = widths2[:, None] + widths2[None, :] + 2 * kappa * np.abs(x - y)
    span = 4 * kappa * np.maximum(t_star - np.maximum(x, y), 0)
    low = base + np.minimum(apart, span)
    return np.log((base + span + moved) / (low + moved))


def _all_products(elements: list[Element], env: Environment) -> Array:
    fractions, delays, widths2 = _products(elements)
    n = len(elements)
    between = _formula(delays, widths2, env).reshape(n, 3, n, 3)
    return as_correlation(np.einsum("ia,iajb,jb->ij", fractions, between, fractions))


def _quadrature(elements: list[Element], env: Environment) -> Array:
    fractions, delays, widths2 = _products(elements)
    kappa, t_star, speed = env.kappa.value, env.t_star.value, env.drift.to_value("pc / Myr")
    products, inverse = np.unique(np.array([delays, widths2]), axis=1, return_inverse=True)
    m = products.shape[1]
    between = np.zeros((m, m))
    for i in range(m):
        for j in range(i + 1):
            x, y = products[0, i], products[0, j]
            base = products[1, i] + products[1, j] + 2 * kappa * abs(x - y) + (speed * (x - y)) ** 2
            ages = t_star - max(x, y)
            value = integrate.quad(
                lambda age, base=base: 4 * kappa / (base + 4 * kappa * age),
                0,
                ages,
                epsabs=0,
                epsrel=1e-11,
                limit=200,
            )[0]
            between[i, j] = between[j, i] = value
    every = between[np.ix_(inverse.ravel(), inverse.ravel())]
    n = len(elements)
    return as_correlation(np.einsum("ia,iajb,jb->ij", fractions, every.reshape(n, 3, n, 3), fractions))


def _differences(elements: list[Element], env: Environment) -> Array:
    step, n = 1e-5, len(elements)
    found = []
    for name in ("kappa", "l_corr", "drift", "ccsn", "agb", "snia"):
        ends = []
        for sign in (-1, 1):
            factor = np.exp(sign * step)
            if name in ("kappa", "l_corr", "drift"):
                ends.append(_all_products(elements, env.replace(**{name: getattr(env, name) * factor})))
            else:
                fractions, delays, widths2 = _products(elements)
                wider = widths2.reshape(n, 3).copy()
                wider[:, ("ccsn", "agb", "snia").index(name)] *= factor**2
                between = _formula(delays, wider.ravel(), env).reshape(n, 3, n, 3)
                ends.append(as_correlation(np.einsum("ia,iajb,jb->ij", fractions, between, fractions)))
        found.append((ends[1] - ends[0]) / (2 * step))
    return np.array(found)


def _torch_gradient(elements: list[Element], env: Environment) -> Array:
    import torch

    fractions, delays, widths2 = (torch.as_tensor(each) for each in _products(elements))
    n = len(elements)
    start = torch.tensor(
        [env.kappa.value, env.l_corr.value, env.drift.to_value("pc / Myr")], dtype=torch.float64
    )
    apart = (delays[:, None] - delays[None, :]).abs()
    latest = torch.maximum(delays[:, None], delays[None, :])

    def rho(logs: Any) -> Any:
        kappa, l_corr, speed = start * torch.exp(logs[:3])
        wider = (widths2.reshape(n, 3) * torch.exp(2 * logs[3:])).reshape(-1)
        low = wider[:, None] + wider[None, :] + 2 * kappa * apart + (speed * apart) ** 2
        high = low + 4 * torch.clamp(l_corr**2 - kappa * latest, min=0)
        between = torch.log(high / low).reshape(n, 3, n, 3)
        cov = torch.einsum("ia,iajb,jb->ij", fractions, between, fractions)
        std = torch.sqrt(torch.diagonal(cov))
        return cov / torch.outer(std, std)

    return torch.func.jacfwd(rho)(torch.zeros(6, dtype=torch.float64)).permute(2, 0, 1).numpy()


def _all_intervals(elements: list[Element], env: Environment) -> Array:
    edges = elements[0].production.edges.value  # type: ignore[union-attr]
    channels = list(elements[0].production.made)  # type: ignore[union-attr]
    weights = np.array([np.concatenate([e.production.made[c] for c in e.production.made]) for e in elements])  # type: ignore[union-attr]
    delays = np.tile((edges[1:] + edges[:-1]) / 2, len(channels))
    spread = np.tile(np.diff(edges), len(channels))
    widths2 = np.repeat([c.width.value**2 for c in channels], len(edges) - 1)
    apart = np.where(delays[:, None] == delays[None, :], 2 * env.kappa.value * spread[:, None] / 3, 0.0)
    return as_correlation(weights @ _formula(delays, widths2, env, apart) @ weights.T)
