"""Five posteriors of posteriordb: torch log densities with their constraints, and the same models in PyMC.

A model is one entry in `MODELS`; another one needs no other change. Two of them carry
their data, the others read the files of posteriordb (BSD-3; Magnusson et al. 2024) under
``$STATML_DATA/textbook/posteriordb``. The tests of samplers compare draws with the
reference draws kept there, the benchmarks time ours beside PyMC's.
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
import torch

from statml.errors import DataNotFoundError
from statml.sampling import Interval, Ordered, Positive, Real, Unconstrained

Array = np.ndarray


def eight_schools(p: Any, data: dict[str, Any]) -> Any:
    """Effects of coaching in eight schools; theta = mu + tau * z."""
    z, mu, tau = p[..., :8], p[..., 8], p[..., 9]
    theta = mu[..., None] + tau[..., None] * z
    likelihood = -0.5 * (((data["y"] - theta) / data["sigma"]) ** 2).sum(-1)
    return likelihood - 0.5 * (z**2).sum(-1) - 0.5 * (mu / 5) ** 2 - torch.log1p((tau / 5) ** 2)


def eight_schools_quantities(p: Array) -> Array:
    """theta, mu and tau."""
    return np.concatenate([p[..., 8:9] + p[..., 9:10] * p[..., :8], p[..., 8:]], axis=-1)


def gp_regression(p: Any, data: dict[str, Any]) -> Any:
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


def kidscore(p: Any, data: dict[str, Any]) -> Any:
    """Children's test scores on the mother's IQ; flat priors, half-Cauchy for the scatter."""
    sigma = p[..., 2]
    residual = data["kid_score"] - p[..., 0, None] - p[..., 1, None] * data["mom_iq"]
    prior = -torch.log1p((sigma / 2.5) ** 2)
    return _normal(residual, sigma) + prior


def gauss_mix(p: Any, data: dict[str, Any]) -> Any:
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


def linear(p: Any, data: dict[str, Any]) -> Any:
    """Linear regression on five features."""
    sigma = p[..., 5]
    residual = data["y"] - p[..., :5] @ data["X"].T
    prior = -0.5 * ((p[..., :5] / 10) ** 2).sum(-1) - 0.5 * (sigma / 10) ** 2
    return _normal(residual, sigma) + prior


def _normal(residual: Any, sigma: Any) -> Any:
    return -0.5 * (residual**2).sum(-1) / sigma**2 - residual.shape[-1] * torch.log(sigma)


@dataclass(frozen=True)
class Model:
    """A log density of torch tensors, its constraints, and where to start."""

    log_density: Callable[[Any, dict[str, Any]], Any]
    constraints: list[Any]
    start: list[float]
    data_file: str
    draws_file: str
    pymc: Callable[[Any, dict[str, Any]], None]
    # What the reference reports, and what PyMC calls it.
    names: list[str]
    pymc_names: list[str]
    quantities: Callable[[Array], Array] = lambda p: p
    # Parameters that move together, for samplers that learn only widths unless told otherwise.
    dense: bool = False
    typed: dict[str, Any] = field(default_factory=dict)

    def data(self) -> dict[str, Array]:
        """The arrays of the model."""
        found = self.typed or read(self.data_file)
        return {name: np.array(value, float) for name, value in found.items() if np.ndim(value)}

    def free(self) -> Unconstrained:
        """The log density of free parameters."""
        data = {name: torch.from_numpy(value) for name, value in self.data().items()}
        return Unconstrained(lambda p: self.log_density(p, data), self.constraints)

    def starts(self, free: Unconstrained, chains: int, spread: float, seed: int) -> Array:
        """Points (chains, parameters) around the start."""
        rng = np.random.default_rng(seed)
        centre = free.free(np.array(self.start))
        width = np.maximum(0.1 * np.abs(centre), 0.1)
        return centre + spread * width * rng.normal(size=(chains, len(centre)))

    def reported(self, free: Unconstrained, draws: Array) -> Array:
        """What the reference reports, (chains, draws, quantities), of draws of free parameters."""
        return self.quantities(np.asarray(free.constrain(draws)))


def read(name: str) -> Any:
    """One zipped JSON file of posteriordb.

    Raises
    ------
    DataNotFoundError
        It is not there.
    """
    root = os.environ.get("STATML_DATA", "")
    path = Path(root) / "textbook" / "posteriordb" / f"{name}.json.zip"
    if not root or not path.exists():
        raise DataNotFoundError(f"needs {path} under $STATML_DATA")
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(archive.namelist()[0]))


# -- the same in PyMC ----------------------------------------------------------------------------


def _pymc_eight_schools(pm: Any, data: dict[str, Any]) -> None:
    mu, tau = pm.Normal("mu", 0, 5), pm.HalfCauchy("tau", 5)
    theta = pm.Deterministic("theta", mu + tau * pm.Normal("z", 0, 1, shape=8))
    pm.Normal("y", theta, data["sigma"], observed=data["y"])


def _pymc_gp(pm: Any, data: dict[str, Any]) -> None:
    rho, alpha, sigma = pm.Gamma("rho", 25, 4), pm.HalfNormal("alpha", 2), pm.HalfNormal("sigma", 1)
    square = (data["x"][:, None] - data["x"]) ** 2
    cov = alpha**2 * pm.math.exp(-0.5 * square / rho**2) + sigma * np.eye(len(data["x"]))
    pm.MvNormal("y", np.zeros(len(data["x"])), cov=cov, observed=data["y"])


def _pymc_kidscore(pm: Any, data: dict[str, Any]) -> None:
    beta, sigma = pm.Flat("beta", shape=2, initval=np.array([26.0, 0.6])), pm.HalfCauchy("sigma", 2.5)
    pm.Normal("score", beta[0] + beta[1] * data["mom_iq"], sigma, observed=data["kid_score"])


def _pymc_mix(pm: Any, data: dict[str, Any]) -> None:
    ordered = pm.distributions.transforms.ordered
    mu = pm.Normal("mu", 0, 2, shape=2, transform=ordered, initval=np.array([-2.0, 2.0]))
    sigma, theta = pm.HalfNormal("sigma", 2, shape=2), pm.Beta("theta", 5, 5)
    pm.NormalMixture("y", pm.math.stack([theta, 1 - theta]), mu, sigma=sigma, observed=data["y"])


def _pymc_linear(pm: Any, data: dict[str, Any]) -> None:
    beta, sigma = pm.Normal("beta", 0, 10, shape=5), pm.HalfNormal("sigma", 10)
    pm.Normal("y", pm.math.dot(data["X"], beta), sigma, observed=data["y"])


def _indexed(name: str, size: int) -> list[str]:
    return [f"{name}[{j}]" for j in range(1, size + 1)]


MODELS = {
    "eight_schools": Model(
        eight_schools,
        [Real(9), Positive()],
        [0.0] * 8 + [4.0, 3.0],
        "data-eight_schools",
        "eight_schools-eight_schools_noncentered",
        _pymc_eight_schools,
        [*_indexed("theta", 8), "mu", "tau"],
        ["theta", "mu", "tau"],
        eight_schools_quantities,
        typed={"y": [28, 8, -3, 7, -1, 1, 18, 12], "sigma": [15, 10, 16, 11, 9, 11, 10, 18]},
    ),
    "gp_regr": Model(
        gp_regression,
        [Positive(3)],
        [6.0, 2.0, 1.5],
        "data-gp_pois_regr",
        "gp_pois_regr-gp_regr",
        _pymc_gp,
        ["rho", "alpha", "sigma"],
        ["rho", "alpha", "sigma"],
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
        _pymc_kidscore,
        [*_indexed("beta", 2), "sigma"],
        ["beta", "sigma"],
        dense=True,
    ),
    "low_dim_gauss_mix": Model(
        gauss_mix,
        [Ordered(2), Positive(2), Interval(0, 1)],
        [-2.0, 2.0, 1.0, 1.0, 0.5],
        "data-low_dim_gauss_mix",
        "low_dim_gauss_mix-low_dim_gauss_mix",
        _pymc_mix,
        [*_indexed("mu", 2), *_indexed("sigma", 2), "theta"],
        ["mu", "sigma", "theta"],
    ),
    "sblrc": Model(
        linear,
        [Real(5), Positive()],
        [1.0] * 5 + [1.0],
        "data-sblrc",
        "sblrc-blr",
        _pymc_linear,
        [*_indexed("beta", 5), "sigma"],
        ["beta", "sigma"],
        dense=True,
    ),
}
