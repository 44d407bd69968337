r"""What Hamiltonian samplers learn in their warm-up: step length and mass matrix.

The step length follows the acceptance by dual averaging (Nesterov 2009; Hoffman &
Gelman 2014): with H_t = target - acceptance,

    log eps_t = mu - sqrt(t) / gamma * sum_s H_s / (t + t0),

and after the warm-up it is the average of log eps_t with weights t^-kappa. The
inverse mass matrix is the covariance of the draws of a window; windows double,
between a first stretch that finds the typical set and a last one that settles the
step length, as in Stan. Unlike there the first stretch has short windows of its own,
which learn widths alone: where the parameters' units differ by powers of ten, the
first hundred trajectories would else cost more than all others.

All chains are in one place here: one step length and one mass matrix, learned from
all chains together, and from then on the same for all. After the warm-up nothing
changes, so the chains are independent given what they learned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

GAMMA, T0, KAPPA = 0.05, 10.0, 0.75
# Stretches of a warm-up in which only the step length is adapted, and the first window, in steps.
FIRST, LAST, WINDOW = 75, 50, 25
# Steps after which the first stretch looks at the widths of the parameters.
EARLY = (9, 24, 49)
# A covariance from few draws is shrunk to this multiple of the unit matrix.
SHRUNK_TO, SHRUNK_COUNT = 1e-3, 5


@dataclass(frozen=True, eq=False)
class DualAveraging:
    """The step length as it is steered."""

    mu: float
    count: int
    error: float
    log_step: float
    log_average: float

    @classmethod
    def begin(cls, step: float) -> DualAveraging:
        """From a first step length; longer ones are tried first."""
        return cls(np.log(10 * step), 0, 0.0, np.log(step), 0.0)

    def after(self, acceptance: float, wanted: float) -> DualAveraging:
        """With one more mean acceptance."""
        count = self.count + 1
        share = 1 / (count + T0)
        error = (1 - share) * self.error + share * (wanted - acceptance)
        log_step = self.mu - np.sqrt(count) / GAMMA * error
        weight = count**-KAPPA
        average = weight * log_step + (1 - weight) * self.log_average
        return DualAveraging(self.mu, count, error, float(log_step), float(average))


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and scatter of points seen (Welford 1962, by batches)."""

    count: int
    mean: Array  # (k,)
    scatter: Array  # (k,) of each parameter, or (k, k)

    @classmethod
    def begin(cls, k: int, dense: bool) -> Moments:
        """Nothing seen yet."""
        return cls(0, np.zeros(k), np.zeros((k, k) if dense else k))

    def with_points(self, points: Array) -> Moments:
        """With points (m, k)."""
        m, count = len(points), self.count + len(points)
        batch = points.mean(axis=0)
        centred, shift = points - batch, batch - self.mean
        between = self.count * m / count
        if self.scatter.ndim == 1:
            scatter = self.scatter + np.sum(centred**2, axis=0) + between * shift**2
        else:
            scatter = self.scatter + centred.T @ centred + between * np.outer(shift, shift)
        return Moments(count, self.mean + shift * (m / count), scatter)

    def widths(self) -> Array:
        """Standard deviations alone, (k,), or as a diagonal matrix (k, k)."""
        variance = self.scatter if self.scatter.ndim == 1 else np.diagonal(self.scatter)
        single = Moments(self.count, self.mean, variance).axes()
        return single if self.scatter.ndim == 1 else np.diag(single)

    def axes(self) -> Array:
        """Standard deviations (k,), or a Cholesky factor (k, k) of the covariance, shrunk as in Stan."""
        cov = self.scatter / max(self.count - 1, 1)
        weight = self.count / (self.count + SHRUNK_COUNT)
        if cov.ndim == 1:
            return np.sqrt(weight * cov + (1 - weight) * SHRUNK_TO)
        return np.linalg.cholesky(weight * cov + (1 - weight) * SHRUNK_TO * np.eye(len(cov)))


def window_ends(warmup: int) -> tuple[int, list[int]]:
    """The step at which the first window begins, and those after which a window ends.

    Examples
    --------
    >>> window_ends(1000)
    (75, [99, 149, 249, 449, 949])
    >>> window_ends(100)
    (15, [89])
    >>> window_ends(10)
    (10, [])
    """
    first, last, window = FIRST, LAST, WINDOW
    if warmup < 20:
        return warmup, []
    if warmup < first + last + window:
        first, last = int(0.15 * warmup), int(0.1 * warmup)
        window = warmup - first - last
    ends, end, stop = [], first, warmup - last
    while end < stop:
        end += window
        window *= 2
        if end + window > stop:  # no room for another one twice as long
            end = stop
        ends.append(end - 1)
    return first, ends
