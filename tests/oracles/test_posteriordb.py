"""Posteriors whose moments are known from ten thousand independent draws: posteriordb's references.

A model is one entry in `MODELS`: its constraints, a log density of torch tensors, and what of it the
reference reports; another one needs no other change. `check` is the whole demand:
bulk and tail effective sizes of at least 4,000, R-hat below 1.01, no divergences, and
means and standard deviations within 4 standard errors, ours and the reference's together.
Of 54 numbers a correct sampler fails one with probability 0.003; seeds are fixed.

Two models run from numbers typed in here, the others from the files of posteriordb
(BSD-3; Magnusson et al. 2024), and so do the reference draws themselves.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from statml.sampling import (  # noqa: E402
    HMC,
    NUTS,
    Ensemble,
    Interval,
    Metropolis,
    Ordered,
    Positive,
    Real,
    Unconstrained,
    sample,
)
from statml.sampling.diagnostics import ess, mcse, rhat  # noqa: E402

Array = np.ndarray
ENOUGH, AGREE, SIGMAS = 4000, 1.01, 4.0


def eight_schools(p, data):
    """Effects of coaching in eight schools; theta = mu + tau * z."""
    z, mu, tau = p[..., :8], p[..., 8], p[..., 9]
    theta = mu[..., None] + tau[..., None] * z
    likelihood = -0.5 * (((data["y"] - theta) / data["sigma"]) ** 2).sum(-1)
    return likelihood - 0.5 * (z**2).sum(-1) - 0.5 * (mu / 5) ** 2 - torch.log1p((tau / 5) ** 2)


def eight_schools_quantities(p):
    return np.concatenate([p[..., 8:9] + p[..., 9:10] * p[..., :8], p[..., 8:]], axis=-1)


def gp_regression(p, data):
    """A Gaussian process with squared exponential kernel; sigma is the variance of the noise."""
    rho, alpha, sigma = p[..., 0], p[..., 1], p[..., 2]
    square = (data["x"][:, None] - data["x"]) ** 2
    K = alpha[..., None, None] ** 2 * torch.exp(-0.5 * square / rho[..., None, None] ** 2)
    K = K + sigma[..., None, None] * torch.eye(len(data["x"]), dtype=torch.float64)
    # A matrix that rounding has made indefinite, far out, must not stop the other chains.
    L, failed = torch.linalg.cholesky_ex(K)
    z = torch.linalg.solve_triangular(L, data["y"][:, None].expand(*L.shape[:-1], 1), upper=False)[..., 0]
    likelihood = -0.5 * (z**2).sum(-1) - torch.log(torch.diagonal(L, dim1=-2, dim2=-1)).sum(-1)
    prior = 24 * torch.log(rho) - 4 * rho - 0.5 * (alpha / 2) ** 2 - 0.5 * sigma**2
    return torch.where(failed > 0, -math.inf, likelihood + prior)


def kidscore(p, data):
    """Children's test scores on the mother's IQ; flat priors, half-Cauchy for the scatter."""
    sigma = p[..., 2]
    residual = data["kid_score"] - p[..., 0, None] - p[..., 1, None] * data["mom_iq"]
    prior = -torch.log1p((sigma / 2.5) ** 2)
    return _normal(residual, sigma) + prior


def gauss_mix(p, data):
    """Two normal components in increasing order."""
    mu, sigma, theta = p[..., :2], p[..., 2:4], p[..., 4]
    z = (data["y"] - mu[..., None]) / sigma[..., None]
    component = -0.5 * z**2 - torch.log(sigma)[..., None]
    mixed = torch.logaddexp(
        torch.log(theta)[..., None] + component[..., 0, :],
        torch.log1p(-theta)[..., None] + component[..., 1, :],
    )
    prior = -0.5 * ((mu / 2) ** 2).sum(-1) - 0.5 * ((sigma / 2) ** 2).sum(-1)
    return mixed.sum(-1) + prior + 4 * torch.log(theta) + 4 * torch.log1p(-theta)


def linear(p, data):
    """Linear regression on five features."""
    sigma = p[..., 5]
    residual = data["y"] - p[..., :5] @ data["X"].T
    prior = -0.5 * ((p[..., :5] / 10) ** 2).sum(-1) - 0.5 * (sigma / 10) ** 2
    return _normal(residual, sigma) + prior


def _normal(residual, sigma):
    return -0.5 * (residual**2).sum(-1) / sigma**2 - residual.shape[-1] * torch.log(sigma)


@dataclass(frozen=True)
class Model:
    """A log density, its constraints, where to start, and the reference: mean, sd and their errors."""

    log_density: Callable[[Any, dict[str, Any]], Any]
    constraints: list[Any]
    start: list[float]
    data_file: str
    draws_file: str
    moments: dict[str, tuple[float, float, float, float]]
    quantities: Callable[[Array], Array] = lambda p: p
    # Parameters that move together, for samplers that learn only widths.
    dense: bool = False
    typed: dict[str, Any] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        found = self.typed or read(self.data_file)
        return {
            name: torch.tensor(value, dtype=torch.float64) for name, value in found.items() if np.ndim(value)
        }

    def free(self) -> Unconstrained:
        data = self.data()
        return Unconstrained(lambda p: self.log_density(p, data), self.constraints)

    def starts(self, free: Unconstrained, chains: int, spread: float, seed: int) -> Array:
        rng = np.random.default_rng(seed)
        centre = free.free(np.array(self.start))
        return centre + spread * rng.normal(size=(chains, len(centre))) * np.maximum(
            0.1 * np.abs(centre), 0.1
        )


MODELS = {
    "eight_schools": Model(
        eight_schools,
        [Real(9), Positive()],
        [0.0] * 8 + [4.0, 3.0],
        "data-eight_schools",
        "eight_schools-eight_schools_noncentered",
        {
            "theta[1]": (6.1505, 5.61586, 0.0557, 0.0622),
            "theta[2]": (4.93958, 4.64558, 0.0462, 0.0412),
            "theta[3]": (3.90591, 5.28071, 0.0542, 0.0562),
            "theta[4]": (4.79602, 4.77094, 0.0475, 0.0436),
            "theta[5]": (3.61444, 4.61472, 0.0461, 0.0413),
            "theta[6]": (4.05115, 4.79625, 0.0485, 0.0452),
            "theta[7]": (6.31717, 5.00286, 0.0499, 0.0464),
            "theta[8]": (4.884, 5.31769, 0.0543, 0.0636),
            "mu": (4.41052, 3.3093, 0.033, 0.0238),
            "tau": (3.60206, 3.19848, 0.0319, 0.0455),
        },
        eight_schools_quantities,
        typed={"y": [28, 8, -3, 7, -1, 1, 18, 12], "sigma": [15, 10, 16, 11, 9, 11, 10, 18]},
    ),
    "gp_regr": Model(
        gp_regression,
        [Positive(3)],
        [6.0, 2.0, 1.5],
        "data-gp_pois_regr",
        "gp_pois_regr-gp_regr",
        {
            "rho": (6.87435, 1.26576, 0.0128, 0.00939),
            "alpha": (2.4424, 0.781833, 0.00776, 0.00692),
            "sigma": (1.82873, 0.505016, 0.00503, 0.00408),
        },
        typed={
            "x": list(range(-10, 11, 2)),
            "y": [
                *(4.75906, 1.59423, 2.99548, 5.27501, 1.66472, 2.24347),
                *(2.8914, 4.08681, 4.60588, 0.802364, 3.92136),
            ],
        },
    ),
    "kidscore_momiq": Model(
        kidscore,
        [Real(2), Positive()],
        [26.0, 0.6, 18.0],
        "data-kidiq",
        "kidiq-kidscore_momiq",
        {
            "beta[1]": (25.9165, 5.9686, 0.0608, 0.0426),
            "beta[2]": (0.608628, 0.0589819, 0.000599, 0.00042),
            "sigma": (18.2758, 0.624015, 0.00632, 0.00456),
        },
        dense=True,
    ),
    "low_dim_gauss_mix": Model(
        gauss_mix,
        [Ordered(2), Positive(2), Interval(0, 1)],
        [-2.0, 2.0, 1.0, 1.0, 0.5],
        "data-low_dim_gauss_mix",
        "low_dim_gauss_mix-low_dim_gauss_mix",
        {
            "mu[1]": (-2.73351, 0.042045, 0.000416, 0.000299),
            "mu[2]": (2.86983, 0.0546033, 0.00056, 0.000388),
            "sigma[1]": (1.02807, 0.0314375, 0.000316, 0.000231),
            "sigma[2]": (1.02382, 0.040484, 0.000415, 0.000288),
            "theta": (0.621549, 0.015481, 0.000154, 0.000108),
        },
    ),
    "sblrc": Model(
        linear,
        [Real(5), Positive()],
        [1.0] * 5 + [1.0],
        "data-sblrc",
        "sblrc-blr",
        {
            "beta[1]": (0.999647, 0.000982565, 1e-05, 7.07e-06),
            "beta[2]": (0.998732, 0.00100604, 9.88e-06, 7.29e-06),
            "beta[3]": (0.998199, 0.0010862, 1.09e-05, 7.97e-06),
            "beta[4]": (0.998844, 0.0010192, 1.04e-05, 7.36e-06),
            "beta[5]": (0.998593, 0.000978024, 9.91e-06, 7.18e-06),
            "sigma": (1.04229, 0.0767019, 0.000773, 0.000559),
        },
    ),
}


def read(name: str) -> Any:
    """One zipped JSON file of posteriordb."""
    root = os.environ.get("STATML_DATA")
    path = Path(root or "") / "textbook" / "posteriordb" / f"{name}.json.zip"
    if not root or not path.exists():
        pytest.skip(f"needs {path} under $STATML_DATA")
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(archive.namelist()[0]))


def draw(model: Model, name: str, draws: int, chains: int, seed: int) -> tuple[Array, int]:
    """Independent chains (chains, draws, quantities) of a sampler, and their divergences."""
    free = model.free()

    def numpy_log_prob(z):
        with torch.no_grad():
            return free(torch.from_numpy(np.ascontiguousarray(z))).numpy()

    gradient = {
        "nuts": NUTS(target_accept=0.9, dense=model.dense),
        "hmc": HMC(target_accept=0.9, dense=model.dense),
    }
    if name in gradient:
        start = model.starts(free, chains, 1.0, seed)
        chain = sample(free, start, sampler=gradient[name], draws=draws, rng=seed)
        runs, divergences = chain.draws, chain.divergences
    elif name == "metropolis":
        start = model.starts(free, chains, 0.1, seed)
        runs = sample(numpy_log_prob, start, sampler=Metropolis(), draws=draws, warmup=3000, rng=seed).draws
        divergences = 0
    else:
        # Four independent ensembles; the walkers of each, one after the other, are one long chain.
        walkers, move, pieces = 64, Ensemble(move=name), []
        for i in range(4):
            start = model.starts(free, walkers, 0.1, seed + i)
            chain = sample(numpy_log_prob, start, sampler=move, draws=draws, warmup=1500, rng=seed + i)
            pieces.append(np.swapaxes(chain.draws, 0, 1).reshape(-1, start.shape[1]))
        runs, divergences = np.array(pieces), 0
    with torch.no_grad():
        values = free.constrain(torch.from_numpy(np.ascontiguousarray(runs))).numpy()
    return model.quantities(values), divergences


def check(model: Model, draws: Array, divergences: int, names: list[str] | None = None) -> None:
    """Everything the issue of trust asks of draws (chains, draws, quantities)."""
    assert draws.shape[2] == len(model.moments)
    assert divergences == 0
    assert np.max(rhat(draws)) < AGREE
    assert np.min(ess(draws, kind="bulk")) >= ENOUGH
    assert np.min(ess(draws, kind="tail")) >= ENOUGH
    reference = np.array(list(model.moments.values())).T
    for kind, found, expected, error in (
        ("mean", draws.mean(axis=(0, 1)), reference[0], reference[2]),
        ("sd", draws.std(axis=(0, 1), ddof=1), reference[1], reference[3]),
    ):
        distance = (found - expected) / np.hypot(mcse(draws, kind=kind), error)
        assert np.max(np.abs(distance)) < SIGMAS, f"{kind}: {np.round(distance, 2)}"


@pytest.mark.parametrize("name", ["eight_schools", "gp_regr"])
def test_nuts_on_typed_data(name):
    check(MODELS[name], *draw(MODELS[name], "nuts", 600, 16, 1))


@pytest.mark.parametrize("what", ["mean", "sd", "chains"])
def test_check_refuses_wrong_draws(what):
    """Draws off by 6 standard errors, or 6 % too wide, or chains that disagree."""
    rng = np.random.default_rng(0)
    model = MODELS["kidscore_momiq"]
    mean, sd = np.array(list(model.moments.values())).T[:2]
    right = mean + sd * rng.normal(size=(8, 2000, 3))
    check(model, right, 0)
    wrong = {
        "mean": right + 0.08 * sd,
        "sd": mean + 1.06 * (right - mean),
        "chains": right + 0.3 * sd * np.arange(-3.5, 4)[:, None, None],
    }
    with pytest.raises(AssertionError):
        check(model, wrong[what], 0)
    with pytest.raises(AssertionError):
        check(model, right, 1)


@pytest.mark.data
@pytest.mark.parametrize("name", MODELS)
def test_moments_are_those_of_the_reference_draws(name):
    model = MODELS[name]
    chains = read(model.draws_file)
    for quantity, numbers in model.moments.items():
        x = np.array([chain[quantity] for chain in chains])
        found = (x.mean(), x.std(ddof=1), mcse(x), mcse(x, kind="sd"))
        np.testing.assert_allclose(found, numbers, rtol=6e-3)
        np.testing.assert_allclose(found[:2], numbers[:2], rtol=1e-5)


@pytest.mark.data
@pytest.mark.parametrize("name", ["eight_schools", "gp_regr"])
def test_typed_data_are_those_of_the_files(name):
    model = MODELS[name]
    table = read(model.data_file)
    for key, values in model.typed.items():
        assert table[key] == values


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("sampler", "draws", "chains"),
    [
        ("nuts", 1000, 16),
        ("hmc", 1500, 16),
        ("metropolis", 8000, 32),
        ("stretch", 6000, 4),
        ("differential", 6000, 4),
    ],
)
def test_every_sampler(name, sampler, draws, chains):
    model = MODELS[name]
    check(model, *draw(model, sampler, draws, chains, 3))
