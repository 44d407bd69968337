"""Posteriors whose moments are known from ten thousand independent draws: posteriordb's references.

The models are in `benchmarks/posteriors.py`, one entry each; another model needs an entry there
and its moments here. `check` is the whole demand: bulk and tail effective sizes of at least 4,000,
R-hat below 1.01, no divergences, and means and standard deviations within 4 standard
errors, ours and the reference's together. Of 54 numbers a correct sampler fails one with
probability 0.003; seeds are fixed.

Two models run from numbers typed in, the others from the files of posteriordb, and so do the
reference draws themselves.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from statml.errors import DataNotFoundError  # noqa: E402
from statml.sampling import HMC, NUTS, Ensemble, Metropolis, sample  # noqa: E402
from statml.sampling.diagnostics import ess, mcse, rhat  # noqa: E402

Array = np.ndarray
ENOUGH, AGREE, SIGMAS = 4000, 1.01, 4.0


def _load_posteriors() -> Any:
    """The module by its path: the benchmarks are not installed."""
    path = Path(__file__).parents[2] / "benchmarks" / "posteriors.py"
    spec = importlib.util.spec_from_file_location("posteriors", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["posteriors"] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


posteriors = _load_posteriors()
MODELS = posteriors.MODELS
# Mean, sd, and the Monte Carlo errors of both, of 10 chains of 1000 draws.
MOMENTS = {
    "eight_schools": {
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
    "gp_regr": {
        "rho": (6.87435, 1.26576, 0.0128, 0.00939),
        "alpha": (2.4424, 0.781833, 0.00776, 0.00692),
        "sigma": (1.82873, 0.505016, 0.00503, 0.00408),
    },
    "kidscore_momiq": {
        "beta[1]": (25.9165, 5.9686, 0.0608, 0.0426),
        "beta[2]": (0.608628, 0.0589819, 0.000599, 0.00042),
        "sigma": (18.2758, 0.624015, 0.00632, 0.00456),
    },
    "low_dim_gauss_mix": {
        "mu[1]": (-2.73351, 0.042045, 0.000416, 0.000299),
        "mu[2]": (2.86983, 0.0546033, 0.00056, 0.000388),
        "sigma[1]": (1.02807, 0.0314375, 0.000316, 0.000231),
        "sigma[2]": (1.02382, 0.040484, 0.000415, 0.000288),
        "theta": (0.621549, 0.015481, 0.000154, 0.000108),
    },
    "sblrc": {
        "beta[1]": (0.999647, 0.000982565, 1e-05, 7.07e-06),
        "beta[2]": (0.998732, 0.00100604, 9.88e-06, 7.29e-06),
        "beta[3]": (0.998199, 0.0010862, 1.09e-05, 7.97e-06),
        "beta[4]": (0.998844, 0.0010192, 1.04e-05, 7.36e-06),
        "beta[5]": (0.998593, 0.000978024, 9.91e-06, 7.18e-06),
        "sigma": (1.04229, 0.0767019, 0.000773, 0.000559),
    },
}


def read(name: str) -> Any:
    try:
        return posteriors.read(name)
    except DataNotFoundError as error:
        pytest.skip(str(error))


def draw(
    name_of_model: str, name: str, draws: int, chains: int, seed: int, warmup: int | None = None
) -> tuple[Array, int]:
    """Independent chains (chains, draws, quantities) of a sampler, and their divergences."""
    model = MODELS[name_of_model]
    try:
        free = model.free()
    except DataNotFoundError as error:
        pytest.skip(str(error))

    def numpy_log_prob(z):
        with torch.no_grad():
            return free(torch.from_numpy(np.ascontiguousarray(z))).numpy()

    gradient = {
        "nuts": NUTS(target_accept=0.95, dense=model.dense),
        "hmc": HMC(target_accept=0.95, dense=model.dense),
    }
    if name in gradient:
        start = model.starts(free, chains, 1.0, seed)
        chain = sample(free, start, sampler=gradient[name], draws=draws, warmup=warmup, rng=seed)
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
    return model.reported(free, runs), divergences


def check(name: str, draws: Array, divergences: int) -> None:
    """Everything the issue of trust asks of draws (chains, draws, quantities)."""
    assert draws.shape[2] == len(MOMENTS[name])
    assert divergences == 0
    assert np.max(rhat(draws)) < AGREE
    assert np.min(ess(draws, kind="bulk")) >= ENOUGH
    assert np.min(ess(draws, kind="tail")) >= ENOUGH
    reference = np.array(list(MOMENTS[name].values())).T
    for kind, found, expected, error in (
        ("mean", draws.mean(axis=(0, 1)), reference[0], reference[2]),
        ("sd", draws.std(axis=(0, 1), ddof=1), reference[1], reference[3]),
    ):
        distance = (found - expected) / np.hypot(mcse(draws, kind=kind), error)
        assert np.max(np.abs(distance)) < SIGMAS, f"{kind}: {np.round(distance, 2)}"


@pytest.mark.parametrize("name", ["eight_schools", pytest.param("gp_regr", marks=pytest.mark.slow)])
def test_nuts_on_typed_data(name):
    check(name, *draw(name, "nuts", 500, 16, 1, warmup=300))


@pytest.mark.parametrize("what", ["mean", "sd", "chains"])
def test_check_refuses_wrong_draws(what):
    """Draws off by 6 standard errors, or 6 % too wide, or chains that disagree."""
    rng = np.random.default_rng(0)
    name = "kidscore_momiq"
    mean, sd = np.array(list(MOMENTS[name].values())).T[:2]
    right = mean + sd * rng.normal(size=(8, 2000, 3))
    check(name, right, 0)
    wrong = {
        "mean": right + 0.08 * sd,
        "sd": mean + 1.06 * (right - mean),
        "chains": right + 0.3 * sd * np.arange(-3.5, 4)[:, None, None],
    }
    with pytest.raises(AssertionError):
        check(name, wrong[what], 0)
    with pytest.raises(AssertionError):
        check(name, right, 1)


@pytest.mark.data
@pytest.mark.parametrize("name", MODELS)
def test_moments_are_those_of_the_reference_draws(name):
    model = MODELS[name]
    chains = read(model.draws_file)
    for quantity, numbers in MOMENTS[name].items():
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
    check(name, *draw(name, sampler, draws, chains, 3))
