r"""Conditional flows in one dimension: p(y | x) of any shape, its distribution function in closed form.

    z = S((y - shift(x)) exp(-log_scale(x)); x),    p(y | x) = N(z; 0, 1) dz/dy

with S a monotone rational-quadratic spline whose knots follow x. For every x the whole
map is one spline, so density, distribution function and quantiles are exact
(`statml.uncertainty.TransformedNormal`). A mixture needs enough components for the
shape, a spline bends where the data ask for it.

References: Durkan et al. (2019), arXiv:1906.04032; Winkler et al. (2019),
arXiv:1912.00042, for flows with a context; arXiv:2506.12230, chapter 17.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from statml.neural.conditional_density import ConditionalDensity, DensityRegressor
from statml.neural.flows import Affine, Autoregressive, Flow, Spline, monotone_flow
from statml.neural.training import Training
from statml.uncertainty.tabulation import averaged, plus_noise
from statml.uncertainty.transformed import TransformedNormal

Array = np.ndarray
# Draws of the error of y in the likelihood, one from each of as many parts of equal probability.
NOISE_DRAWS = 16


class FlowDensityNetwork(ConditionalDensity):
    """A flow of one column given standardised x; its output are the knots (y, z, dz/dy), each (n, K + 1)."""

    def __init__(self, d: int, bins: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.flow: Flow = monotone_flow(context=d, bins=bins, hidden=hidden)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        linear, bend = self._maps()
        nothing = x.new_zeros(len(x), 1)
        affine, spline = linear.family, bend.family
        assert isinstance(affine, Affine) and isinstance(spline, Spline)
        shift, log_scale = affine.shift_and_log_scale(linear.conditioner(nothing, x)[:, 0])
        knots = spline.knots(bend.conditioner(nothing, x)[:, 0])
        scale = torch.exp(log_scale)[:, None]
        return shift[:, None] + scale * knots.x, knots.y, knots.slope / scale

    def log_likelihood(self, y: Tensor, x: Tensor, error: Tensor, random: torch.Generator) -> Tensor:
        if not bool((error > 0).any()):
            return self.flow.log_prob(y[:, None], x)
        # One draw of the error from each of equal parts: p(y) is the mean of p(y - e).
        place = torch.arange(NOISE_DRAWS, device=y.device)[:, None]
        within = torch.rand(NOISE_DRAWS, len(y), generator=random, device=y.device, dtype=y.dtype)
        normal = torch.special.ndtri(((place + within) / NOISE_DRAWS).clamp(1e-6, 1 - 1e-6))
        single = self._log_prob_at(y - error * normal, x)
        return torch.logsumexp(single, dim=0) - math.log(NOISE_DRAWS)

    def _maps(self) -> tuple[Autoregressive, Autoregressive]:
        """The shift and scale, and the spline."""
        linear, bend = self.flow.transforms
        return cast(Autoregressive, linear), cast(Autoregressive, bend)

    def _log_prob_at(self, y: Tensor, x: Tensor) -> Tensor:
        """Log densities of several y, shape (m, n), at each x: the networks run once."""
        linear, bend = self._maps()
        nothing = x.new_zeros(len(x), 1)
        u, log_slope = linear.family.forward(y, linear.conditioner(nothing, x)[:, 0])
        z, more = bend.family.forward(u, bend.conditioner(nothing, x)[:, 0])
        return -0.5 * z**2 - 0.5 * math.log(2 * math.pi) + log_slope + more


class ConditionalFlow(DensityRegressor):
    """A density of y given x by a normalizing flow.

    Parameters
    ----------
    bins : int
        Bins of the spline.
    hidden : sequence of int
        Widths of the layers of both networks.
    training : Training, optional
        By default at most 300 epochs, a tenth of the rows for validation, patience of 40.
    input_draws : int
        Draws of x where X has errors, in the likelihood and in predictions.
    random_state : int, Generator or None

    Attributes
    ----------
    network_ : torch.nn.Module
        Of standardised x and y; ``network_.flow`` is the `Flow`.
        `x_center_`, `x_scale_`, `y_center_`, `y_scale_` standardise.
    history_ : History

    Notes
    -----
    Without errors a prediction is exact. `y_err` is convolved in and errors of X averaged
    over numerically, see `statml.uncertainty.tabulation`. One network does not know
    how uncertain it is: the parameter variance is 0, which an ensemble mends.

    Examples
    --------
    >>> from statml.neural import Training
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(0, 1, (1000, 1))
    >>> y = X[:, 0] + rng.exponential(0.5, 1000)
    >>> flow = ConditionalFlow(training=Training(epochs=40, learning_rate=0.01), random_state=0).fit(X, y)
    >>> prediction = flow.predict_dist([[0.55]])
    >>> prediction.ppf(0.5).round(1)  # exactly 0.55 + 0.5 log 2 = 0.90
    array([0.9])
    >>> bool(prediction.cdf(0.5)[0] < 0.05)  # and nothing below 0.55
    True
    """

    def __init__(
        self,
        *,
        bins: int = 12,
        hidden: Sequence[int] = (64, 64),
        training: Training | None = None,
        input_draws: int = 16,
        random_state: Any = None,
    ) -> None:
        self.bins = bins
        self.hidden = hidden
        self.training = training
        self.input_draws = input_draws
        self.random_state = random_state

    def _network(self, d: int) -> FlowDensityNetwork:
        return FlowDensityNetwork(d, self.bins, tuple(self.hidden))

    def _distribution(self, x: Array, error: Array, draws: int) -> TransformedNormal:
        y, z, slope = self._parameters(x)
        prediction = TransformedNormal(self.y_center_ + self.y_scale_ * y, z, slope / self.y_scale_)
        between = np.zeros(len(error))
        if draws > 1:
            between = prediction.mean.reshape(-1, draws).var(axis=1)
            prediction = averaged(prediction, draws)
        error = self.y_scale_ * error
        prediction = plus_noise(prediction, error)
        parts = self._components(prediction.std**2, between, error)
        return TransformedNormal(prediction.y, prediction.z, prediction.slope, variance_components=parts)
