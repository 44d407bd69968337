r"""What density regressors share: one network that gives p(y | x), trained on rows that have errors.

Measured y_i = true y_i + N(0, y_err_i^2), and x_i is measured too. The likelihood of a row is

    p(y_i | x_i) = E_x [ int p(y | x) N(y_i; y, y_err_i^2) dy ],    x ~ N(x_i, X_err_i^2)

an average over what the true x can be (of a flat prior). The network therefore learns
the density of the true y given the true x, and a prediction averages over the errors of
its own x in the same way. The average is over a few evenly spread points, and what is
maximised a lower bound that is tight where few are enough: in a few dimensions, or where
the errors are small beside the structure of p(y | x).

Source: arXiv:2506.12230, chapter 17.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from statml.compute import generator, spread
from statml.errors import InputError, InputTypeError
from statml.neural.settings import check_widths
from statml.neural.training import Loss, Training, isolated_random, train
from statml.uncertainty.contract import DistributionRegressor
from statml.uncertainty.covariance import DiagonalCovariance
from statml.uncertainty.distributions import PredictiveDistribution
from statml.uncertainty.measurement import feature_covariance, refuse_arguments, target_covariance
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray
# Rows that go through a network at once when predicting.
BLOCK_ROWS = 16_384
# Up to here a few points of a Sobol sequence are better than random ones.
EVEN_DIMENSIONS = 16


class ConditionalDensity(nn.Module):
    """A network for p(y | x), of standardised y and x."""

    @abstractmethod
    def log_likelihood(self, y: Tensor, x: Tensor, error: Tensor, random: torch.Generator) -> Tensor:
        """Log density of measured y, shape (m,), at x (m, d), with errors of y (m,)."""


class DensityRegressor(DistributionRegressor):
    """A regressor over a `ConditionalDensity`; a subclass says which network, and how it predicts."""

    fit_refuses: ClassVar[dict[str, str]] = {
        "xy_cov": "its likelihood takes errors of X and y as independent; accepted are X_err and y_err"
    }
    default_training: ClassVar[Training] = Training(
        epochs=300, batch_size=256, learning_rate=3e-3, validation=0.1, patience=40
    )

    hidden: Sequence[int]
    training: Training | None
    input_draws: int
    random_state: Any

    @abstractmethod
    def _network(self, d: int) -> ConditionalDensity:
        """The untrained network for d features."""

    @abstractmethod
    def _distribution(self, x: Array, error: Array, draws: int) -> PredictiveDistribution:
        """Of standardised y at standardised x (n * draws, d); rows of one prediction follow each other."""

    # -- fitting -----------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        X_err: Any = None,
        y_err: Any = None,
        X_cov: Any = None,
        y_cov: Any = None,
        xy_cov: Any = None,
    ) -> Any:
        """Train the network.

        Parameters
        ----------
        X : array (n, d)
        y : array (n,)
        X_err, X_cov : float, array (n, d) or CovarianceStack, optional
            Errors of X, averaged over in the likelihood.
        y_err : float or array (n,), optional
            Standard deviations of y, convolved with the density in the likelihood: the network
            learns the density of the true y. inf leaves a row without influence.
        y_cov : Covariance, optional
            Instead of `y_err`; accepted are diagonal ones.
        xy_cov
            Refused.

        Returns
        -------
        self

        Raises
        ------
        InputError
            A parameter or an error argument that is not accepted.
        """
        refuse_arguments(self, "fit", self.fit_refuses, xy_cov=xy_cov)
        settings = settings_for(self, self.default_training)
        X, y = self._training_data(X, y, X_err=X_err, y_err=y_err)
        n, d = X.shape
        if n < 2:
            raise InputError(f"n_samples={n} is too few to train a network; accepted are 2 or more")
        stack = feature_covariance(n, d, X_err, X_cov)
        error, keep = self._target_errors(n, y_err, y_cov)
        self.x_center_, self.x_scale_ = _location(X[keep])
        self.y_center_, self.y_scale_ = (float(part) for part in _location(y[keep]))
        self._errors_given = y_err is not None or y_cov is not None
        data = [self._scaled(X), (y - self.y_center_) / self.y_scale_, error / self.y_scale_]
        if stack is not None:
            data.append(error_factors(stack, self.x_scale_))
        rng = generator(self.random_state)
        with isolated_random(int(rng.integers(2**62))):
            network = self._network(d)
        tensors = tuple(torch.from_numpy(np.ascontiguousarray(part[keep], np.float32)) for part in data)
        loss = self._loss(stack is not None)
        self.history_ = train(network, loss, tensors, settings=settings.for_rows(int(keep.sum())), rng=rng)
        # Predictions are made in double precision on the host, wherever the network was trained.
        self.network_ = network.cpu().double().eval()
        return self

    def _loss(self, inputs_have_errors: bool) -> Loss:
        """What is minimised over the rows (x, y, errors of y, factors of the errors of x)."""
        return _Loss(self.input_draws if inputs_have_errors else 1)

    def _scaled(self, X: Array) -> Array:
        """X as the network sees it."""
        return (X - self.x_center_) / self.x_scale_

    def _target_errors(self, n: int, y_err: Any, y_cov: Any) -> tuple[Array, Array]:
        """Standard deviations of y, and which rows carry information."""
        covariance = target_covariance(n, y_err, y_cov)
        if covariance is None:
            return np.zeros(n), np.ones(n, bool)
        if not isinstance(covariance, DiagonalCovariance):
            raise InputError(
                "y_cov is not diagonal, and a network is trained row by row; accepted is y_err or a diagonal y_cov"
            )
        error = np.sqrt(covariance.variance())
        keep = np.isfinite(error)
        if keep.sum() < 2:
            raise InputError(
                "y_err is finite in fewer than two rows; accepted are finite errors of 2 rows or more"
            )
        return np.where(keep, error, 1.0), keep

    # -- predicting ----------------------------------------------------------------------

    def predict_dist(
        self, X: Any, *, X_err: Any = None, X_cov: Any = None, y_err: Any = None, y_cov: Any = None
    ) -> PredictiveDistribution:
        """Predictive distribution: of the observed y with `y_err` or `y_cov`, else of the true y.

        Where `fit` was given no errors of y, what it learned is the density of the measured y;
        a given `y_err` comes on top of it.

        Parameters
        ----------
        X : array (n, d)
        X_err, X_cov : float, array (n, d) or CovarianceStack, optional
            Errors of X: the prediction is the average over draws of the true x.
        y_err, y_cov : float, array (n,) or Covariance, optional
            Errors of the y to compare with; of correlated ones the variances count.

        Returns
        -------
        PredictiveDistribution
            With ``variance_components``: noise (given or fitted), input, model.
        """
        X = self._new_data(X, X_err=X_err, y_err=y_err)
        n, d = X.shape
        stack = feature_covariance(n, d, X_err, X_cov)
        measured = target_covariance(n, y_err, y_cov)
        error = np.zeros(n) if measured is None else np.sqrt(measured.variance())
        x, draws = self._scaled(X), 1
        if stack is not None:
            draws = int(self.input_draws)
            x = spread_inputs(x, error_factors(stack, self.x_scale_), draws)
        return self._distribution(x, error / self.y_scale_, draws)

    def _components(self, total: Array, between: Array, error: Array) -> dict[str, Array]:
        """The variance `total` (n,) in parts; `between` is that of the means of draws of x."""
        given = np.minimum(error**2, total)
        spread = np.minimum(between, total - given)
        rest = total - given - spread
        if self._errors_given:
            return {"input": spread, "noise": given, "model": rest}
        return {"input": spread, "noise": given + rest}

    def _parameters(self, x: Array) -> list[Array]:
        """What the network says at x, an array for each of its outputs, block by block."""
        with torch.no_grad():
            blocks = [
                self.network_(torch.from_numpy(x[low : low + BLOCK_ROWS]))
                for low in range(0, len(x), BLOCK_ROWS)
            ]
        return [torch.cat(list(parts)).numpy() for parts in zip(*blocks)]


def settings_for(estimator: Any, default: Training) -> Training:
    """The settings that an estimator trains with, its own parameters of the network checked.

    Raises
    ------
    InputError, InputTypeError
        `input_draws`, `hidden` or `training` is not accepted.
    """
    if not isinstance(estimator.input_draws, int | np.integer) or estimator.input_draws < 2:
        raise InputError(f"input_draws is {estimator.input_draws!r}; accepted is an int >= 2")
    check_widths(estimator.hidden)
    if estimator.training is None:
        return default
    if not isinstance(estimator.training, Training):
        raise InputTypeError(f"training is a {type(estimator.training).__name__}; accepted is a Training")
    return estimator.training


class _Loss:
    """Minus the mean log likelihood of a batch, averaged over draws of x where x has errors."""

    def __init__(self, draws: int) -> None:
        self.draws = draws

    def __call__(self, module: Any, batch: tuple[Tensor, ...], random: torch.Generator) -> Tensor:
        x, y, error, *factors = batch
        if not factors:
            return -module.log_likelihood(y, x, error, random).mean()
        drawn = (x + drawn_errors(factors[0], self.draws, random)).flatten(0, 1)
        single = module.log_likelihood(y.repeat(self.draws), drawn, error.repeat(self.draws), random)
        return -torch.logsumexp(single.unflatten(0, (self.draws, -1)), dim=0).mean() + np.log(self.draws)


def error_factors(stack: CovarianceStack, scale: Array) -> Array:
    """Errors of X / scale: standard deviations (n, d), or factors F_i with S_i = F_i F_i^T, (n, d, d)."""
    if stack.variances is not None:
        return np.sqrt(stack.variances) / scale
    values, vectors = np.linalg.eigh(stack.to_dense())
    return vectors * np.sqrt(np.maximum(values, 0))[:, None, :] / scale[:, None]


def drawn_errors(factors: Tensor, draws: int, random: torch.Generator) -> Tensor:
    """F_i e for standard normal e, shape (draws, n, d).

    In few dimensions the draws of a row fill space evenly, a set of points moved by a random
    shift, so that a mean over a few of them is nearly the integral.
    """
    shape = (draws, len(factors), factors.shape[-1])
    if draws > 1 and shape[2] <= EVEN_DIMENSIONS:
        points = torch.from_numpy(_sobol(draws, shape[2])).to(factors)
        shift = torch.rand(shape[1:], generator=random, device=factors.device, dtype=factors.dtype)
        normal = torch.special.ndtri(((points[:, None, :] + shift) % 1.0).clamp(1e-6, 1 - 1e-6))
    else:
        normal = torch.randn(shape, generator=random, device=factors.device, dtype=factors.dtype)
    return factors * normal if factors.ndim == 2 else torch.einsum("ndr,mnr->mnd", factors, normal)


def spread_inputs(x: Array, factors: Array, draws: int) -> Array:
    """x + F_i e for the same even spread of standard normals e in every row, shape (n * draws, d).

    The points come in pairs e and -e, so that what is linear in them cancels exactly.
    """
    d, normal = x.shape[1], even_normals(draws, x.shape[1])
    if factors.ndim == 2:
        return (x[:, None, :] + factors[:, None, :] * normal).reshape(-1, d)
    return (x[:, None, :] + np.einsum("ndr,mr->nmd", factors, normal)).reshape(-1, d)


def even_normals(count: int, d: int, seed: int = 0) -> Array:
    """Standard normals that fill space evenly, in pairs e and -e, of mean square 1; shape (count, d).

    Examples
    --------
    >>> float(np.mean(even_normals(8, 2) ** 2).round(6))
    1.0
    """
    half = stats.norm.ppf(np.clip(_sobol((count + 1) // 2, d, seed), 1e-6, 1 - 1e-6))
    normal = np.concatenate([half, -half])[:count]
    return normal / np.sqrt(np.mean(normal**2, axis=0))


@cache
def _sobol(count: int, d: int, seed: int | None = None) -> Array:
    """The first points of a Sobol sequence in d dimensions, shape (count, d); scrambled with a seed."""
    points = stats.qmc.Sobol(d, scramble=seed is not None, rng=np.random.default_rng(seed))
    return points.random_base2(int(np.ceil(np.log2(count))))[:count]


def _location(values: Array) -> tuple[Array, Array]:
    """Mean and standard deviation along rows; 1 where a column does not vary."""
    scale = spread(values)
    return values.mean(axis=0), np.where(scale > 0, scale, 1.0)
