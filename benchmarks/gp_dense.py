"""Dense Gaussian processes beside scikit-learn and gpytorch (exact, by Cholesky).

evidence and gradient    log p(y) and its derivatives by every log hyperparameter
prediction               from data to mean and standard deviation at new points

One kernel, an RBF with a length scale for each feature, and noise, at the same
hyperparameters; double precision everywhere. Values, gradients and predictions are
compared first, each in units of the largest number beside it. gpytorch's conjugate
gradients and its caches between calls are switched off: what is timed starts from arrays.
"""

from __future__ import annotations

from typing import Any

import gpytorch
import numpy as np
import torch
from sklearn.gaussian_process import GaussianProcessRegressor as Peer
from sklearn.gaussian_process import kernels as sk

from benchmarks.measurement import Answer, Competitor, DisagreementError, machine
from benchmarks.regression import compare
from statml.gp import RBF, GaussianProcessRegressor
from statml.gp.marginal_likelihood import Observations, evidence_and_gradient
from statml.gp.mean_function import MeanFunction

Array = np.ndarray

# Largest difference of any number, in units of the largest beside it.
SAME = 1e-8
NEW_POINTS = 1_000
LENGTHS, SIGMA, NOISE = (0.8, 1.5, 3.0), 1.3, 0.2


def benchmark(sizes: list[int], repeats: int) -> dict[str, Any]:
    """Compare answers, then measure, for both problems and every size.

    Parameters
    ----------
    sizes : list of int
        Numbers of training points, growing; the last one is the headline.
    repeats : int
        Timed calls of each competitor.

    Raises
    ------
    DisagreementError
        A peer's evidence, gradient or prediction is not ours.
    """
    where = machine()
    measurements = []
    for n in sizes:
        X, y, new = simulate(n)
        evidences = [_our_evidence(X, y), _sklearn_evidence(X, y), _gpytorch_evidence(X, y)]
        measurements.append(_compared("evidence and gradient", evidences, n, repeats))
        predictions = [
            _our_prediction(X, y, new),
            _sklearn_prediction(X, y, new),
            _gpytorch_prediction(X, y, new),
        ]
        measurements.append(_compared("prediction", predictions, n, repeats))
    return {
        "family": "gp_dense",
        "n_features": len(LENGTHS),
        "repeats": repeats,
        "new_points": NEW_POINTS,
        "machine": where,
        "measurements": measurements,
        "gpu": "not measured",
    }


def simulate(n: int) -> tuple[Array, Array, Array]:
    """Training points (n, 3) with y (n,), and new points."""
    rng = np.random.default_rng(20250614)
    X = rng.uniform(0, 3, (n, 3))
    y = np.sin(3 * X[:, 0]) + X[:, 1] + NOISE * rng.normal(size=n)
    return X, y - y.mean(), rng.uniform(0, 3, (NEW_POINTS, 3))


def same(ours: Answer, theirs: Answer) -> dict[str, float]:
    """Largest difference of the numbers in `params`, and in `errors`, in units of the largest of them."""
    assert ours.errors is not None and theirs.errors is not None
    found = {
        name: float(np.max(np.abs(a - b)) / np.max(np.abs(b)))
        for name, a, b in (("first", ours.params, theirs.params), ("second", ours.errors, theirs.errors))
    }
    for name, difference in found.items():
        if not difference <= SAME:
            raise DisagreementError(f"the {name} numbers differ by {difference:.2g}, accepted is {SAME:g}")
    return found


def _compared(problem: str, competitors: list[Competitor], n: int, repeats: int) -> dict[str, Any]:
    return compare(problem, competitors, same, n, repeats) | {"tolerance": SAME}


# -- log evidence, and its gradient by log lengths, log sigma, log noise ------------------------


def _our_evidence(X: Array, y: Array) -> Competitor:
    kernel = RBF(LENGTHS, SIGMA)

    def fit() -> Answer:
        nothing = torch.zeros(len(y), dtype=torch.float64)
        mean = MeanFunction.chosen("zero", None, X, y)
        data = Observations(torch.from_numpy(X), torch.from_numpy(y), nothing, mean)
        value, gradient = evidence_and_gradient(kernel, data, kernel.theta, float(np.log(NOISE)))
        return Answer(np.array([value]), gradient)

    return Competitor("statml", True, fit)


def _sklearn_kernel() -> Any:
    return sk.ConstantKernel(SIGMA**2) * sk.RBF(LENGTHS) + sk.WhiteKernel(NOISE**2)


def _sklearn_evidence(X: Array, y: Array) -> Competitor:
    model = Peer(_sklearn_kernel(), alpha=0.0, optimizer=None)
    # What its fit leaves behind for the evidence, without paying for a factorisation here.
    model.X_train_, model.y_train_, model.kernel_ = X, y, model.kernel

    def fit() -> Answer:
        value, gradient = model.log_marginal_likelihood(model.kernel_.theta, eval_gradient=True)
        # Theirs are by log sigma^2, log lengths, log noise^2.
        return Answer(np.array([value]), np.r_[gradient[1:4], 2 * gradient[0], 2 * gradient[4]])

    return Competitor("scikit-learn", False, fit)


class _Exact(gpytorch.models.ExactGP):  # type: ignore[misc]
    """A zero mean and an RBF, at our hyperparameters."""

    def __init__(self, X: torch.Tensor, y: torch.Tensor, likelihood: Any) -> None:
        super().__init__(X, y, likelihood)
        self.mean_module = gpytorch.means.ZeroMean()
        self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel(ard_num_dims=3))
        self.double()
        self.covar_module.outputscale = _double(SIGMA**2)
        self.covar_module.base_kernel.lengthscale = _double(LENGTHS)
        likelihood.noise = _double(NOISE**2)

    def forward(self, X: torch.Tensor) -> Any:
        return gpytorch.distributions.MultivariateNormal(self.mean_module(X), self.covar_module(X))


def _double(value: Any) -> torch.Tensor:
    """A tensor in double precision: a plain number would pass through a single one."""
    return torch.tensor(value, dtype=torch.float64)


def _gpytorch_model(X: Array, y: Array) -> tuple[_Exact, Any]:
    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    return _Exact(torch.from_numpy(X), torch.from_numpy(y), likelihood), likelihood


def _by_cholesky() -> Any:
    """gpytorch without conjugate gradients, whatever the size."""
    return gpytorch.settings.fast_computations(covar_root_decomposition=False, log_prob=False, solves=False)


def _gpytorch_evidence(X: Array, y: Array) -> Competitor:
    def fit() -> Answer:
        model, likelihood = _gpytorch_model(X, y)
        model.train()
        likelihood.train()
        with _by_cholesky():
            value = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)(
                model(*model.train_inputs), model.train_targets
            )
            (value * len(y)).backward()
        gradient = [
            _by_log(
                model.covar_module.base_kernel.raw_lengthscale, model.covar_module.base_kernel.lengthscale
            ),
            2 * _by_log(model.covar_module.raw_outputscale, model.covar_module.outputscale),
            2 * _by_log(likelihood.noise_covar.raw_noise, likelihood.noise),
        ]
        return Answer(np.array([float(value.detach()) * len(y)]), np.concatenate(gradient))

    return Competitor("gpytorch", False, fit)


def _by_log(raw: torch.Tensor, value: torch.Tensor) -> Array:
    """A gradient by the log of a parameter that gpytorch keeps as softplus(raw)."""
    assert raw.grad is not None
    return (raw.grad / torch.sigmoid(raw) * value).detach().numpy().ravel()


# -- mean and standard deviation at new points -------------------------------------------------


def _our_prediction(X: Array, y: Array, new: Array) -> Competitor:
    def fit() -> Answer:
        model = GaussianProcessRegressor(RBF(LENGTHS, SIGMA), mean="zero", scatter=0.0, optimise=False)
        prediction = model.fit(X, y, y_err=NOISE).predict_dist(new)
        return Answer(prediction.mean, prediction.std)

    return Competitor("statml", True, fit)


def _sklearn_prediction(X: Array, y: Array, new: Array) -> Competitor:
    kernel = sk.ConstantKernel(SIGMA**2) * sk.RBF(LENGTHS)

    def fit() -> Answer:
        return Answer(*Peer(kernel, alpha=NOISE**2, optimizer=None).fit(X, y).predict(new, return_std=True))

    return Competitor("scikit-learn", False, fit)


def _gpytorch_prediction(X: Array, y: Array, new: Array) -> Competitor:
    def fit() -> Answer:
        model, likelihood = _gpytorch_model(X, y)
        model.eval()
        likelihood.eval()
        with torch.no_grad(), _by_cholesky(), gpytorch.settings.fast_pred_var(False):
            found = model(torch.from_numpy(new))
            return Answer(found.mean.numpy(), found.stddev.numpy())

    return Competitor("gpytorch", False, fit)
