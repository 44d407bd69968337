r"""The tail of importance weights: is their sum worth anything?

The largest weights follow, nearly whatever they are weights of, a generalised Pareto
distribution with a shape k. Moments of order above 1/k do not exist: with k above 1/2 the
variance of an importance estimate is infinite, with k above 0.7 no practical number of
draws tames it. k is estimated as a posterior mean over a profile likelihood, with a weak
prior towards 1/2 for short tails; replacing the largest weights by quantiles of the
fitted tail (smoothing) reduces the noise they bring.

Sources: Zhang & Stephens (2009), Technometrics 51, 316; Vehtari, Simpson, Gelman, Yao &
Gabry (2024), JMLR 25, 72.
"""

from __future__ import annotations

import numpy as np
from scipy import special

Array = np.ndarray

# Above this k a weighted mean is not to be trusted, however many draws.
RELIABLE_K = 0.7
# Prior of k: so many tail values' worth at one half.
PRIOR_COUNT, PRIOR_K = 10, 0.5


def smoothed_log_weights(log_weights: Array) -> tuple[Array, float]:
    """Log weights (n,), normalised to a sum of 1, with their tail smoothed; and its shape k.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> heavy = -0.9 * np.log(rng.random(5000))     # Pareto weights with k = 0.9
    >>> bool(0.7 < smoothed_log_weights(heavy)[1] < 1.1)
    True
    """
    log_weights = log_weights - log_weights.max()
    n = len(log_weights)
    order = np.argsort(log_weights, kind="stable")
    length = int(np.ceil(min(n / 5, 3 * np.sqrt(n))))
    cutoff = max(log_weights[order[max(n - length - 1, 0)]], np.log(np.finfo(float).tiny))
    tail = order[log_weights[order] > cutoff]
    if len(tail) <= 4:
        # Nothing varies, or nearly nothing: no tail to speak of, unless one weight is all there is.
        k = float("inf") if len(tail) else float("-inf")
        return log_weights - special.logsumexp(log_weights), k
    excess = np.exp(log_weights[tail]) - np.exp(cutoff)
    k, sigma = fit_pareto(excess)
    result = log_weights.copy()
    if np.isfinite(k):
        middle = (np.arange(len(tail)) + 0.5) / len(tail)
        result[tail] = np.minimum(np.log(_quantile(middle, k, sigma) + np.exp(cutoff)), 0.0)
    return result - special.logsumexp(result), k


def fit_pareto(ordered: Array) -> tuple[float, float]:
    """Shape k and scale of a generalised Pareto distribution from increasing positive values.

    In b = -k / sigma the shape has a closed form, k(b) = mean(log(1 - b x)), so b alone
    is integrated over, on the grid of Zhang & Stephens.
    """
    n = len(ordered)
    points = 30 + int(np.sqrt(n))
    place = np.arange(1, points + 1) - 0.5
    quartile = ordered[int(n / 4 + 0.5) - 1]
    b = 1 / ordered[-1] + (1 - np.sqrt(points / place)) / (3 * quartile)
    shape = np.mean(np.log1p(-b[:, None] * ordered), axis=1)
    log_likelihood = n * (np.log(-b / shape) - shape - 1)
    weight = special.softmax(log_likelihood)
    weight = np.where(weight < 10 * np.finfo(float).eps, 0.0, weight)
    best = float(np.sum(b * weight) / weight.sum())
    k = float(np.mean(np.log1p(-best * ordered)))
    sigma = -k / best
    return (k * n + PRIOR_COUNT * PRIOR_K) / (n + PRIOR_COUNT), sigma


def _quantile(probability: Array, k: float, sigma: float) -> Array:
    if abs(k) < 1e-12:
        return -sigma * np.log1p(-probability)
    return sigma * np.expm1(-k * np.log1p(-probability)) / k
