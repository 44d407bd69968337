r"""A Bayesian last layer: the network's last hidden layer as features of a linear model with a posterior.

    m(x) = w . phi(x) + b,    w ~ N(0, tau^2 I),    y_i = m(x_i) + N(0, s(x_i)^2 + y_err_i^2)

Given the features phi and the scatter s of a trained network, the mean is linear in w, and its posterior is the
closed form of `BayesianLinearRegression`, the width tau of the prior chosen by the evidence (MacKay 1992). The
predictive variance gains phi^T S_w phi, which grows where features leave the range they had in
training. The layers below stay as they are: what they do not know, this does not show.

Source: MacKay (1992), Neural Computation 4, 448; Kristiadi, Hein & Hennig (2020), arXiv:2002.10118;
arXiv:2506.12230, chapter 16.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import MetaEstimatorMixin, clone

from statml.errors import InputError, InputTypeError
from statml.neural.conditional_density import error_factors, spread_inputs
from statml.neural.label_network import label_distribution
from statml.neural.mlp import MLPRegressor
from statml.regression.bayesian import BayesianLinearRegression
from statml.uncertainty.contract import DistributionRegressor
from statml.uncertainty.measurement import feature_covariance, target_covariance
from statml.uncertainty.mixtures import GaussianMixture
from statml.uncertainty.parametric import Gaussian

Array = np.ndarray


class LastLayerLaplace(MetaEstimatorMixin, DistributionRegressor):
    """A network whose last layer has a posterior, so that one network knows how sure it is.

    Parameters
    ----------
    estimator : MLPRegressor, optional
        With normal scatter and without dropout; by default one with its defaults.

    Attributes
    ----------
    estimator_ : MLPRegressor
        Trained.
    line_ : BayesianLinearRegression
        The last layer: y on the last hidden layer.

    Examples
    --------
    >>> from statml.neural import Training
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (300, 1))
    >>> y = X[:, 0] ** 2 + 0.1 * rng.normal(size=300)
    >>> network = MLPRegressor((32,), training=Training(epochs=50, learning_rate=0.01), random_state=0)
    >>> laplace = LastLayerLaplace(network).fit(X, y)
    >>> inside, outside = laplace.predict_dist([[0.0], [3.0]]).variance_components["parameter"]
    >>> bool(outside > 10 * inside)
    True
    """

    def __init__(self, estimator: MLPRegressor | None = None) -> None:
        self.estimator = estimator

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
    ) -> LastLayerLaplace:
        """Train the network, then find the posterior of its last layer; arguments as in `MLPRegressor.fit`.

        Raises
        ------
        InputError, InputTypeError
            The estimator is none that is accepted, or what it raises.
        """
        network = MLPRegressor() if self.estimator is None else self.estimator
        if not isinstance(network, MLPRegressor):
            raise InputTypeError(f"estimator is a {type(network).__name__}; accepted is an MLPRegressor")
        network = clone(network)
        if network.dropout > 0 or network.likelihood != "gaussian":
            raise InputError(
                f"estimator has dropout={network.dropout!r} and likelihood={network.likelihood!r}; accepted are "
                "dropout=0 and 'gaussian', as the posterior of the last layer is for one network with normal scatter"
            )
        X, y = self._training_data(X, y, X_err=X_err, y_err=y_err)
        network.fit(X, y, X_err=X_err, y_err=y_err, X_cov=X_cov, y_cov=y_cov, xy_cov=xy_cov)
        self.estimator_ = network
        features, _, scatter = self._outputs(network._scaled(X))
        covariance = target_covariance(len(y), y_err, y_cov)
        total = scatter**2 + (0.0 if covariance is None else covariance.variance())
        # The scatter is the network's; what is left to find are the weights and the width of their prior.
        self.line_ = BayesianLinearRegression(scatter=0.0).fit(features, y, y_err=np.sqrt(total))
        return self

    def predict_dist(
        self, X: Any, *, X_err: Any = None, X_cov: Any = None, y_err: Any = None, y_cov: Any = None
    ) -> Gaussian | GaussianMixture:
        """Predictive distribution with the uncertainty of the last layer; arguments as in `MLPRegressor`."""
        X = self._new_data(X, X_err=X_err, y_err=y_err)
        n, d = X.shape
        network = self.estimator_
        stack = feature_covariance(n, d, X_err, X_cov)
        measured = target_covariance(n, y_err, y_cov)
        error = np.zeros(n) if measured is None else np.sqrt(measured.variance())
        x, draws = network._scaled(X), 1
        if stack is not None:
            draws = int(network.input_draws)
            x = spread_inputs(x, error_factors(stack, network.x_scale_), draws)
        features, _, scatter = self._outputs(x)
        line = self.line_.predict_dist(features)
        own = line.variance_components["parameter"]
        plain = label_distribution(
            line.mean.reshape(1, n, draws),
            scatter.reshape(1, n, draws),
            network.network_.tails,  # type: ignore[arg-type]
            error,
            errors_given=network._errors_given,
        )
        parts = plain.variance_components | {"parameter": own.reshape(n, draws).mean(axis=1)}
        if isinstance(plain, Gaussian):
            return Gaussian(
                plain.mean, np.sqrt(np.sum(list(parts.values()), axis=0)), variance_components=parts
            )
        stds = np.sqrt(plain.stds**2 + own.reshape(n, draws))
        return GaussianMixture(plain.weights, plain.means, stds, variance_components=parts)

    def _outputs(self, x: Array) -> tuple[Array, Array, Array]:
        """Last hidden layer, mean and scatter at standardised x, in the units of y."""
        network: Any = self.estimator_.network_
        with torch.no_grad():
            features = network.features(torch.from_numpy(x))
            mean, scatter = (part[:, 0].numpy() for part in network(torch.from_numpy(x)))
        scale = self.estimator_.y_scale_
        return features.numpy(), self.estimator_.y_center_ + scale * mean, scale * scatter
