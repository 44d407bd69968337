"""Several labels from one network: what helps to predict one of them, the others can use.

The labels share all layers but the last, y_j = m_j(x) + s_j(x) t_j + e_j with independent scatters; see
`statml.neural.label_network`. The answer is one distribution for each label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from statml.compute import generator, spread
from statml.errors import InputError
from statml.neural.conditional_density import error_factors, settings_for, spread_inputs
from statml.neural.label_network import BetaLoss, label_distribution
from statml.neural.mlp import MLPRegressor, NetworkSettings
from statml.neural.training import Training, isolated_random, train
from statml.uncertainty.contract import one_sentence
from statml.uncertainty.distributions import PredictiveDistribution
from statml.uncertainty.measurement import feature_covariance, refuse_quantities, target_covariance

Array = np.ndarray


class JointMLPRegressor(NetworkSettings, MultiOutputMixin, RegressorMixin, BaseEstimator):
    """One network for the means and the scatters of k labels.

    Parameters are those of `MLPRegressor`.

    Attributes
    ----------
    network_ : torch.nn.Module
        Of standardised x and y; `x_center_`, `x_scale_`, `y_center_`, `y_scale_` standardise.
    history_ : History

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (500, 2))
    >>> Y = X @ [[1.0, 2.0], [3.0, 4.0]] + [0.1, 0.5] * rng.normal(size=(500, 2))
    >>> model = JointMLPRegressor((32,), training=Training(epochs=60, learning_rate=0.01), random_state=0)
    >>> [round(float(label.std.mean()), 1) for label in model.fit(X, Y).predict_dist(X)]
    [0.1, 0.5]
    """

    def __init__(
        self,
        hidden: Sequence[int] = (256, 128),
        *,
        likelihood: Literal["gaussian", "student_t"] = "gaussian",
        beta: float = 0.5,
        dropout: float = 0.0,
        draws: int = 30,
        training: Training | None = None,
        least_scatter: float = 1e-3,
        input_limit: float | None = 10.0,
        input_draws: int = 16,
        random_state: Any = None,
    ) -> None:
        self.hidden = hidden
        self.likelihood = likelihood
        self.beta = beta
        self.dropout = dropout
        self.draws = draws
        self.training = training
        self.least_scatter = least_scatter
        self.input_limit = input_limit
        self.input_draws = input_draws
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any, *, X_err: Any = None, X_cov: Any = None, y_err: Any = None
    ) -> JointMLPRegressor:
        """Train the network.

        Parameters
        ----------
        X : array (n, d)
        y : array (n, k), or (n,)
        X_err, X_cov : float, array (n, d) or CovarianceStack, optional
            Errors of X, drawn anew at every step.
        y_err : float, array (n, k), or (n,) with such a y, optional
            Standard deviations of y; inf for a label that was not measured (give it any finite y).

        Returns
        -------
        self

        Raises
        ------
        InputError
            A parameter or an error argument that is not accepted.
        """
        settings = settings_for(self, MLPRegressor.default_training)
        refuse_quantities(X=X, y=y, X_err=X_err, y_err=y_err)
        with one_sentence():
            X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        if len(X) < 2:
            raise InputError(f"n_samples={len(X)} is too few to train a network; accepted are 2 or more")
        self._one_label, self._errors_given = y.ndim == 1, y_err is not None
        Y = np.asarray(y, float).reshape(len(X), -1)
        stack = feature_covariance(len(X), X.shape[1], X_err, X_cov)
        error = self._label_errors(Y.shape, y_err)
        # A label without information is given an error that outweighs everything, after its mean is taken.
        measured = np.isfinite(error)
        if not np.all(measured.sum(axis=0) >= 2):
            raise InputError(
                "y_err is finite in fewer than two rows of a label; accepted are 2 finite ones or more"
            )
        self.x_center_, self.x_scale_ = X.mean(axis=0), _positive(spread(X))
        known = np.where(measured, Y, np.nan)
        self.y_center_, self.y_scale_ = np.nanmean(known, axis=0), _positive(np.nanstd(known, axis=0))
        scaled = np.where(measured, (Y - self.y_center_) / self.y_scale_, 0.0)
        data = [self._scaled(X), scaled, np.where(measured, error / self.y_scale_, np.inf)]
        if stack is not None:
            data.append(error_factors(stack, self.x_scale_))
        rng = generator(self.random_state)
        with isolated_random(int(rng.integers(2**62))):
            network = self._label_network(X.shape[1], Y.shape[1])
        tensors = tuple(torch.from_numpy(np.ascontiguousarray(part, np.float32)) for part in data)
        loss = BetaLoss(float(self.beta))
        self.history_ = train(network, loss, tensors, settings=settings.for_rows(len(X)), rng=rng)
        self.network_ = network.cpu().double().eval()
        return self

    def predict_dist(
        self, X: Any, *, X_err: Any = None, X_cov: Any = None, y_err: Any = None
    ) -> tuple[PredictiveDistribution, ...]:
        """One predictive distribution for each label: of the observed y with `y_err`, else of the true y.

        Parameters
        ----------
        X : array (n, d)
        X_err, X_cov : float, array (n, d) or CovarianceStack, optional
            Errors of X: the prediction is the average over draws of the true x.
        y_err : float or array (n, k), optional
            Errors of the y to compare with.
        """
        check_is_fitted(self)
        refuse_quantities(X=X, X_err=X_err, y_err=y_err)
        with one_sentence():
            X = validate_data(self, X, reset=False, dtype=np.float64)
        k = len(self.y_center_)
        stack = feature_covariance(len(X), X.shape[1], X_err, X_cov)
        error = np.zeros((len(X), k)) if y_err is None else self._label_errors((len(X), k), y_err)
        x, draws = self._scaled(X), 1
        if stack is not None:
            draws = int(self.input_draws)
            x = spread_inputs(x, error_factors(stack, self.x_scale_), draws)
        means, scatters = self._moments(self.network_, x, draws)
        return tuple(
            label_distribution(
                self.y_center_[j] + self.y_scale_[j] * means[..., j],
                self.y_scale_[j] * scatters[..., j],
                self.network_.tails,
                error[:, j],
                errors_given=self._errors_given,
            )
            for j in range(k)
        )

    def predict(self, X: Any) -> Array:
        """Predictive means, shape (n, k), or (n,) where `fit` had such a y."""
        means = np.column_stack([label.mean for label in self.predict_dist(X)])
        return means[:, 0] if self._one_label else means

    def _scaled(self, X: Array) -> Array:
        return self._limited((X - self.x_center_) / self.x_scale_)

    def _label_errors(self, shape: tuple[int, int], y_err: Any) -> Array:
        if y_err is None:
            return np.zeros(shape)
        given = np.asarray(y_err, float)
        if given.ndim and given.reshape(len(given), -1).shape != shape:
            raise InputError(f"y_err has shape {given.shape}; accepted is a number or {shape}, as y has")
        flat = np.broadcast_to(given.reshape(shape) if given.ndim else given, shape).ravel()
        covariance = target_covariance(len(flat), flat, None)
        assert covariance is not None
        return np.sqrt(covariance.variance()).reshape(shape)


def _positive(scale: Array) -> Array:
    return np.where(scale > 0, scale, 1.0)
