r"""Regression by a multilayer perceptron that says how much its answers scatter.

    h_0 = x,   h_l = silu(W_l h_{l-1} + b_l),   m(x) = w . h_L + b,   s(x) = softplus(u . h_L + c)

Mean and scatter are two linear functions of the same last layer. See `statml.neural.label_network` for
the likelihood.

Source: arXiv:2506.12230, chapter 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch

from statml.errors import InputError
from statml.neural.conditional_density import BLOCK_ROWS, DensityRegressor
from statml.neural.label_network import BetaLoss, LabelNetwork, Tails, label_distribution
from statml.neural.training import Loss, Training
from statml.uncertainty.mixtures import GaussianMixture
from statml.uncertainty.parametric import Gaussian

Array = np.ndarray
LIKELIHOODS = ("gaussian", "student_t")
# Degrees of freedom of Student-t scatter: a finite variance, and tails a hundred times those of a normal at 4 sigma.
STUDENT_DF = 4.0


class NetworkSettings:
    """The parameters that networks of one label and of several share, and their checks."""

    hidden: Sequence[int]
    likelihood: str
    beta: float
    dropout: float
    draws: int
    least_scatter: float
    input_limit: float | None

    def _check_network(self) -> None:
        if self.likelihood not in LIKELIHOODS:
            raise InputError(f"likelihood is {self.likelihood!r}; accepted are {', '.join(LIKELIHOODS)}")
        for name in ("beta", "dropout"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 <= value <= 1) or (name == "dropout" and value == 1):
                raise InputError(f"{name} is {value!r}; accepted are values from 0 to 1")
        if not isinstance(self.draws, int | np.integer) or self.draws < 0:
            raise InputError(f"draws is {self.draws!r}; accepted is an int >= 0")
        if not self.least_scatter > 0:
            raise InputError(f"least_scatter is {self.least_scatter!r}; accepted are values > 0")
        if self.input_limit is not None and not self.input_limit > 0:
            raise InputError(f"input_limit is {self.input_limit!r}; accepted is None or a value > 0")

    def _label_network(self, d: int, k: int) -> LabelNetwork:
        self._check_network()
        df = STUDENT_DF if self.likelihood == "student_t" else None
        return LabelNetwork(
            d, k, tuple(self.hidden), float(self.dropout), Tails.of(df), float(self.least_scatter)
        )

    def _limited(self, scaled: Array) -> Array:
        return scaled if self.input_limit is None else np.clip(scaled, -self.input_limit, self.input_limit)

    def _moments(self, network: LabelNetwork, x: Array, draws: int) -> tuple[Array, Array]:
        """Means and scatters, each (networks, n, draws, k), at x of shape (n * draws, d)."""
        means, scatters = [], []
        with torch.no_grad(), network.masks(int(self.draws) if self.dropout > 0 else 0) as networks:
            for one in networks:
                blocks = [
                    one(torch.from_numpy(x[low : low + BLOCK_ROWS])) for low in range(0, len(x), BLOCK_ROWS)
                ]
                mean, scatter = (torch.cat(parts).numpy() for parts in zip(*blocks))
                means.append(mean.reshape(-1, draws, mean.shape[1]))
                scatters.append(scatter.reshape(means[-1].shape))
        return np.stack(means), np.stack(scatters)


class MLPRegressor(NetworkSettings, DensityRegressor):
    """A network for the mean and the scatter of y.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the layers.
    likelihood : {"gaussian", "student_t"}
        Shape of the scatter; Student's t (with 4 degrees of freedom) does not let outliers pull.
    beta : float
        Weight of a row: its variance to this power. 0 is maximum likelihood, 1 fits means as least squares does.
    dropout : float
        Fraction of the units that are left out at random, after every layer. In a prediction too: each of `draws` masks
        is a network, and what they disagree about is the ``parameter`` part of the variance.
    draws : int
        Masks of a prediction. 0 uses the whole network, dropout being for training only; then, as without dropout, there is
        no ``parameter`` part.
    training : Training, optional
        By default at most 200 epochs, a tenth of the rows for validation, patience of 30.
    least_scatter : float
        Floor of the scatter, in units of the standard deviation of y.
    input_limit : float, optional
        Standardised features are limited to this, so that one wild pixel does not rule the answer.
    input_draws : int
        Draws of x in a prediction from features with errors.
    random_state : int, Generator or None

    Attributes
    ----------
    network_ : torch.nn.Module
        Of standardised x and y; `x_center_`, `x_scale_`, `y_center_`, `y_scale_` standardise.
    history_ : History

    Notes
    -----
    Errors of X in `fit` are drawn anew at every step. That makes the network insensitive to noise of this size, and its
    scatter includes what such noise does to y; it does not remove the attenuation of a slope by noise, for
    which there is `statml.regression.ErrorsInVariables`.

    One network knows nothing of its own uncertainty: see `DeepEnsemble`, `LastLayerLaplace`, or use dropout.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (1000, 1))
    >>> y = np.sin(3 * X[:, 0]) + (0.1 + 0.2 * (X[:, 0] > 0)) * rng.normal(size=1000)
    >>> network = MLPRegressor((32, 32), training=Training(epochs=60, learning_rate=0.01), random_state=0).fit(X, y)
    >>> network.predict_dist([[-0.5], [0.5]]).std.round(1)
    array([0.1, 0.3])
    """

    default_training: ClassVar[Training] = Training(
        epochs=200, learning_rate=3e-3, schedule="one_cycle", validation=0.1, patience=30
    )

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

    def _network(self, d: int) -> LabelNetwork:
        return self._label_network(d, 1)

    def _loss(self, inputs_have_errors: bool) -> Loss:
        return BetaLoss(float(self.beta))

    def _scaled(self, X: Array) -> Array:
        return self._limited(super()._scaled(X))

    def _distribution(self, x: Array, error: Array, draws: int) -> Gaussian | GaussianMixture:
        network = cast(LabelNetwork, self.network_)
        means, scatters = (part[..., 0] * self.y_scale_ for part in self._moments(network, x, draws))
        means, error = self.y_center_ + means, self.y_scale_ * error
        return label_distribution(means, scatters, network.tails, error, errors_given=self._errors_given)
