r"""Kernels of one dimension, time, that are the answers of simple machines to noise.

A damped random walk forgets with exp(-t / tau). A damped oscillator driven by white
noise, of undamped angular frequency w = 2 pi / period and quality Q, has with a = 1/(2Q)

    k(t) = sigma^2 exp(-a w t) [cos(e w t) + (a / e) sin(e w t)],   e = sqrt(1 - a^2),

where for Q < 1/2 the sine and cosine become hyperbolic, and for Q = 1/2 the bracket is
1 + w t (Foreman-Mackey et al. 2017, arXiv:1703.09710, section 4). Two of them, the second
with half the period, describe a spotted star that rotates. All of them have a
state-space form, see `statml.gp.state_space`.
"""

from __future__ import annotations

import math

import torch

from statml.gp.kernels.base import Leaf, Tensor

# |1 - a^2| below which sine and cosine are summed as series: they meet their hyperbolic kin there.
NEARLY_CRITICAL = 1e-4
SERIES_TERMS = 8


class _OfTime(Leaf):
    """sigma^2 times a correlation of the time between two points."""

    one_dimensional = True
    sigma: float

    def _correlation(self, lag: Tensor, values: dict[str, Tensor]) -> Tensor:
        raise NotImplementedError

    def covariance(self, X: Tensor, Z: Tensor | None, theta: Tensor) -> Tensor:
        X = self._columns(X)
        Z = X if Z is None else self._columns(Z)
        values = self._values(theta)
        gap = X - Z[:, 0]
        # A smooth kernel is even in the gap: with slope 1 at zero its second derivative there is right.
        # For one with a cusp the slope is 0 by symmetry.
        lag = torch.where(gap >= 0, gap, -gap) if self.differentiable else gap.abs()
        return values["sigma"] ** 2 * self._correlation(lag, values)

    def variance(self, X: Tensor, theta: Tensor) -> Tensor:
        self._columns(X)
        return (self._values(theta)["sigma"] ** 2).expand(len(X))


class DRW(_OfTime):
    """Damped random walk (Ornstein-Uhlenbeck process), the light curve of a quasar.

    Parameters
    ----------
    sigma : float
        Standard deviation over long times, in units of y.
    tau : float
        Time after which the walk has forgotten, in units of x.

    Examples
    --------
    >>> DRW(sigma=2.0, tau=10.0)([0.0], [0.0, 10.0]).round(3)
    array([[4.   , 1.472]])
    """

    parameters = ("sigma", "tau")
    differentiable = False
    tau: float

    def __init__(self, sigma: float = 1.0, tau: float = 1.0) -> None:
        super().__init__(sigma=sigma, tau=tau)

    def _correlation(self, lag: Tensor, values: dict[str, Tensor]) -> Tensor:
        return torch.exp(-lag / values["tau"])


class SHO(_OfTime):
    """Stochastically driven, damped harmonic oscillator.

    Parameters
    ----------
    sigma : float
        Standard deviation, in units of y.
    period : float
        Undamped period 2 pi / w, in units of x.
    quality : float
        Q: below 1/2 the oscillator creeps, above it swings about Q times.

    Examples
    --------
    >>> SHO(sigma=1.0, period=2.0, quality=20.0)([0.0], [1.0, 2.0]).round(2)
    array([[-0.92,  0.85]])
    """

    parameters = ("sigma", "period", "quality")
    period: float
    quality: float

    def __init__(self, sigma: float = 1.0, period: float = 1.0, quality: float = 1.0) -> None:
        super().__init__(sigma=sigma, period=period, quality=quality)

    def _correlation(self, lag: Tensor, values: dict[str, Tensor]) -> Tensor:
        return damped_oscillation(2 * math.pi / values["period"] * lag, values["quality"])


class Rotation(_OfTime):
    """Two oscillators, at the period and at half of it: a star with spots.

    Parameters
    ----------
    sigma : float
        Standard deviation of the sum, in units of y.
    period : float
        Period of rotation, in units of x.
    quality0 : float
        Quality of the second oscillator, less one half.
    dquality : float
        How much better the first one is.
    fraction : float
        Variance of the second in units of that of the first.

    Examples
    --------
    >>> star = Rotation(sigma=1.0, period=10.0, quality0=2.0, dquality=1.0, fraction=0.5)
    >>> star([0.0], [0.0, 5.0, 10.0]).round(2)
    array([[ 1.  , -0.33,  0.29]])
    """

    parameters = ("sigma", "period", "quality0", "dquality", "fraction")
    period: float
    quality0: float
    dquality: float
    fraction: float

    def __init__(
        self,
        sigma: float = 1.0,
        period: float = 1.0,
        quality0: float = 1.0,
        dquality: float = 1.0,
        fraction: float = 0.5,
    ) -> None:
        super().__init__(sigma=sigma, period=period, quality0=quality0, dquality=dquality, fraction=fraction)

    def _correlation(self, lag: Tensor, values: dict[str, Tensor]) -> Tensor:
        second = 0.5 + values["quality0"]
        first = second + values["dquality"]
        # The damped oscillation, not the undamped one, has the period: w sqrt(1 - 1/(4 Q^2)) = 2 pi / P.
        angle = 2 * math.pi / values["period"] * lag
        w1 = 1 / torch.sqrt(1 - 1 / (4 * first**2))
        w2 = 2 / torch.sqrt(1 - 1 / (4 * second**2))
        share = values["fraction"] / (1 + values["fraction"])
        return (1 - share) * damped_oscillation(w1 * angle, first) + share * damped_oscillation(
            w2 * angle, second
        )


def damped_oscillation(z: Tensor, quality: Tensor) -> Tensor:
    """Correlation of a driven oscillator after z = w t >= 0, for any quality; differentiable.

    Examples
    --------
    >>> damped_oscillation(torch.tensor([0.0, 1.0]), torch.tensor(0.5)).numpy().round(4)
    array([1.    , 0.7358], dtype=float32)
    """
    a = 1 / (2 * quality)
    s = 1 - a.square()
    if s.item() > NEARLY_CRITICAL:
        e = torch.sqrt(s)
        return torch.exp(-a * z) * (torch.cos(e * z) + a / e * torch.sin(e * z))
    if s.item() < -NEARLY_CRITICAL:
        e = torch.sqrt(-s)
        # exp(-a z) cosh(e z) would be 0 times inf for long times; a - e = 1 / (a + e) keeps its digits.
        slow, gap = torch.exp(-z / (a + e)), torch.expm1(-2 * e * z)
        return slow * (1 + gap / 2 - a * gap / (2 * e))
    u = -s * z.square()
    cosine, sine = torch.zeros_like(z), torch.zeros_like(z)
    for k in reversed(range(SERIES_TERMS)):
        cosine = 1 / math.factorial(2 * k) + u * cosine
        sine = 1 / math.factorial(2 * k + 1) + u * sine
    return torch.exp(-a * z) * (cosine + a * z * sine)
