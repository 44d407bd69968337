r"""Sums and averages of predictions of any shape, tabulated again as a normal seen through a map.

Measured y = true y + noise: the distribution function of the sum is

    F(y) = sum_g m_g e / (b_g - a_g) [H((y - a_g) / e) - H((y - b_g) / e)],   H(x) = x Phi(x) + phi(x)

for slices [a_g, b_g] of the true y, each of probability m_g spread evenly over it, and a
normal error of standard deviation e. It holds for any e, because a slice that is much
wider than e keeps its edges and one much narrower is a point. Probabilities come out to
0.01 for densities with peaks and gaps of a factor sixty, and to 5e-4 for smooth ones.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from statml.uncertainty.transformed import TransformedNormal

Array = np.ndarray
# Half of the slices are even in the standard normal, to resolve peaks, half in y, to resolve gaps.
SLICES = 48
KNOTS = 36
# The outermost slices hold the tails as well.
REACH = 5.0
# Numbers that are held at once.
BLOCK = 4_000_000


def plus_noise(prediction: TransformedNormal, std: Array) -> TransformedNormal:
    """The distribution of y + e with e ~ N(0, std^2), std of shape (n,) and >= 0.

    Examples
    --------
    >>> normal = TransformedNormal([[-1.0, 1.0]], [[-1.0, 1.0]], [[1.0, 1.0]])
    >>> plus_noise(normal, np.array([0.75])).std.round(2)
    array([1.25])
    """
    noisy = std > 0
    if not np.any(noisy):
        return prediction
    k = prediction.y.shape[1]
    step = max(1, BLOCK // ((2 * KNOTS + k) * (2 * SLICES + k)))
    chosen = np.flatnonzero(noisy)
    parts = [
        _summed(prediction[chosen[low : low + step]], std[chosen[low : low + step]])
        for low in range(0, len(chosen), step)
    ]
    if not np.all(noisy):
        parts.append(prediction[np.flatnonzero(~noisy)])
    place = np.argsort(np.concatenate([chosen, np.flatnonzero(~noisy)]))
    joined = TransformedNormal._join([TransformedNormal(part.y, part.z, part.slope) for part in parts])
    return joined[place]


def averaged(prediction: TransformedNormal, draws: int) -> TransformedNormal:
    """The mixture of predictions: rows i * draws ... (i + 1) * draws - 1 become row i, with equal weights."""
    n = len(prediction) // draws
    quantiles = prediction.from_normal(np.linspace(-4.5, 4.5, KNOTS)[:, None])
    pool = np.sort(quantiles.T.reshape(n, -1), axis=1)
    y = pool[:, np.linspace(0, pool.shape[1] - 1, 2 * KNOTS).astype(int)]
    y = _apart(np.hstack([y, np.linspace(pool[:, 0], pool[:, -1], KNOTS + 2)[1:-1].T]))
    z, slope = prediction.to_normal(np.repeat(y, draws, axis=0).T)

    def mean(values: Array) -> Array:
        return values.T.reshape(n, draws, -1).mean(axis=1)

    density = mean(np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) * slope)
    return _from_probabilities(y, mean(special.ndtr(z)), mean(special.ndtr(-z)), density)


def _summed(prediction: TransformedNormal, std: Array) -> TransformedNormal:
    edges = prediction.from_normal(np.linspace(-REACH, REACH, SLICES)[:, None]).T
    even = np.linspace(edges[:, 0], edges[:, -1], SLICES + 2)[1:-1].T
    edges = _apart(np.hstack([edges, even, np.clip(prediction.y, edges[:, :1], edges[:, -1:])]))
    levels = prediction.cdf(edges.T).T
    levels[:, 0], levels[:, -1] = 0.0, 1.0
    mass = np.maximum(np.diff(levels, axis=1), 0.0)
    # Knots where the quantiles of the sum lie about, and evenly between its ends.
    center, spread = prediction.mean, prediction.std
    stretch = np.sqrt(1 + (std / spread) ** 2)
    own = prediction.from_normal(np.linspace(-4.5, 4.5, KNOTS)[:, None]).T
    own = center[:, None] + (own - center[:, None]) * stretch[:, None]
    low, high = own[:, 0], own[:, -1]
    even = np.linspace(low, high, KNOTS + 2)[1:-1].T
    y = _apart(np.hstack([own, even, np.clip(prediction.y, own[:, :1], own[:, -1:])]))
    gap = (y[:, :, None] - edges[:, None, :]) / std[:, None, None]
    phi, tail = _density(gap), special.ndtr(-np.abs(gap))
    under, over = np.where(gap < 0, tail, 1 - tail), np.where(gap < 0, 1 - tail, tail)
    rate = mass / np.diff(edges)
    below = -np.diff(gap * under + phi, axis=-1)
    above = np.diff(phi - gap * over, axis=-1)
    cdf = std[:, None] * np.einsum("njg,ng->nj", below, rate)
    rest = std[:, None] * np.einsum("njg,ng->nj", above, rate)
    density = np.einsum("njg,ng->nj", -np.diff(under, axis=-1), rate)
    return _from_probabilities(y, cdf, rest, density)


def _from_probabilities(y: Array, cdf: Array, rest: Array, density: Array) -> TransformedNormal:
    """The map whose values at y have these probabilities below and above, and this density."""
    tiny = np.finfo(float).tiny
    z = np.where(cdf < 0.5, special.ndtri(np.maximum(cdf, tiny)), -special.ndtri(np.maximum(rest, tiny)))
    z = _apart(np.clip(z, -30, 30))
    slope = density / np.maximum(_density(z), tiny)
    # Where nothing is left of a density but rounding, the chord says what the slope can be.
    chord = np.diff(z) / np.diff(y)
    near = np.maximum(np.hstack([chord[:, :1], chord]), np.hstack([chord, chord[:, -1:]]))
    return TransformedNormal(y, z, np.clip(slope, 1e-6 * near, 1e3 * near))


def _apart(values: Array) -> Array:
    """Sorted along rows, and no two equal."""
    values = np.sort(values, axis=1)
    least = 1e-10 * (values[:, -1:] - values[:, :1]) + np.finfo(float).tiny
    return np.maximum.accumulate(values - least * np.arange(values.shape[1]), axis=1) + least * np.arange(
        values.shape[1]
    )


def _density(z: Array) -> Array:
    return np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
