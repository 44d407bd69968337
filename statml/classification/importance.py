r"""How good is Laplace's approximation? Weigh its draws by the posterior.

Draws b_s ~ q, the normal approximation, get weights w_s = p(t | b_s) p(b_s) / q(b_s).
Their mean is the evidence; if q were the posterior, all would be equal. The share

    (sum w)^2 / (S sum w^2)

says how many of the S draws still count, and the shape k of the largest weights
whether even that can be trusted: above 0.7 the posterior has tails that Laplace's
draws do not reach.

References: Vehtari, Simpson, Gelman, Yao & Gabry (2024), JMLR 25, 72 (Pareto k);
Zhang & Stephens (2009), Technometrics 51, 316 (its estimate).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from statml.classification.laplace import LogPosterior, NormalApproximation

Array = np.ndarray

# Log odds held in memory at once.
_CHUNK = 4_000_000
# Laplace's 68 and 95 % intervals were seen to hold above this share (see the tests of calibration).
RELIABLE_FRACTION = 0.9
RELIABLE_K = 0.7


@dataclass(frozen=True, eq=False)
class LaplaceCheck:
    """Laplace's approximation beside the posterior itself; print it.

    Attributes
    ----------
    effective_fraction : float
        Share of its draws that count after weighting: 1 where it is exact.
    pareto_k : float
        Tail shape of the weights; above 0.7 the weighted numbers here are not to be trusted either.
    log_evidence, log_evidence_err : float
        By importance sampling, with its Monte Carlo error; to be compared with `laplace_log_evidence`.
    laplace_log_evidence : float
    params, params_err : array (p,)
        Posterior mean and standard deviation by importance sampling.
    shift : array (p,)
        Posterior mean minus mode, in posterior standard deviations.
    """

    effective_fraction: float
    pareto_k: float
    log_evidence: float
    log_evidence_err: float
    laplace_log_evidence: float
    params: Array
    params_err: Array
    shift: Array

    @property
    def reliable(self) -> bool:
        """Whether the normal approximation may be used without a word."""
        return self.effective_fraction >= RELIABLE_FRACTION and self.pareto_k < RELIABLE_K

    def __str__(self) -> str:
        lines = [
            f"Laplace's approximation: {self.effective_fraction:.0%} of its draws count, Pareto k {self.pareto_k:.2f}",
            f"  log evidence {self.laplace_log_evidence:.3f}, by importance sampling {self.log_evidence:.3f}"
            f" +- {self.log_evidence_err:.3f}",
            f"  the posterior mean lies up to {np.max(np.abs(self.shift)):.2f} standard deviations from the mode",
        ]
        if not self.reliable:
            lines.append("  POOR: the posterior is not normal; use method='mcmc'")
        return "\n".join(lines)


def check_laplace(
    posterior: LogPosterior, normal: NormalApproximation, size: int, rng: np.random.Generator
) -> LaplaceCheck:
    """Weigh `size` draws of the normal approximation by the posterior."""
    p = len(normal.mode)
    z = rng.standard_normal((size, p))
    draws = normal.mode + z @ normal.factor.T
    log_q = (
        -0.5 * np.sum(z**2, axis=1) - 0.5 * p * np.log(2 * np.pi) - float(np.linalg.slogdet(normal.factor)[1])
    )
    step = max(_CHUNK // len(posterior.rows.target), 1)
    log_p = np.concatenate([posterior.value(draws[i : i + step]) for i in range(0, size, step)])
    log_w = log_p - log_q
    total = float(special.logsumexp(log_w))
    weights = np.exp(log_w - total)
    fraction = 1 / (size * float(np.sum(weights**2)))
    mean = weights @ draws
    std = np.sqrt(weights @ (draws - mean) ** 2)
    return LaplaceCheck(
        effective_fraction=fraction,
        pareto_k=pareto_shape(log_w),
        log_evidence=total - float(np.log(size)),
        log_evidence_err=float(np.sqrt((1 / fraction - 1) / size)),
        laplace_log_evidence=normal.log_evidence,
        params=mean,
        params_err=std,
        shift=(mean - normal.mode) / std,
    )


def pareto_shape(log_weights: Array) -> float:
    """Shape k of a generalised Pareto distribution of the largest weights.

    The estimate of Zhang & Stephens (2009), with the weak prior at 1/2 of Vehtari et
    al. (2024); -inf where the weights are all the same.

    Examples
    --------
    >>> import numpy as np
    >>> heavy = -0.8 * np.log(np.random.default_rng(0).uniform(size=20_000))  # weights with tail shape 0.8
    >>> bool(abs(pareto_shape(heavy) - 0.8) < 0.15)
    True
    """
    size = len(log_weights)
    tail = int(min(0.2 * size, 3 * np.sqrt(size)))
    ordered = np.sort(log_weights - np.max(log_weights))
    excess = np.exp(ordered[-tail:]) - np.exp(ordered[-tail - 1])
    if tail < 5 or excess[-1] <= 0 or ordered[-1] - ordered[-tail] < 1e-12:
        return float("-inf")
    excess = np.maximum(excess, np.finfo(float).tiny)
    # A grid of -k / scale, each weighed by its profile likelihood.
    candidates = 30 + int(np.sqrt(tail))
    place = np.arange(1, candidates + 1) - 0.5
    quartile = excess[int(tail / 4 + 0.5) - 1]
    theta = 1 / excess[-1] + (1 - np.sqrt(candidates / place)) / (3 * quartile)
    shape = np.mean(np.log1p(-theta[:, None] * excess), axis=1)
    profile = tail * (np.log(-theta / shape) - shape - 1)
    chosen = float(special.softmax(profile) @ theta)
    k = float(np.mean(np.log1p(-chosen * excess)))
    return (tail * k + 10 * 0.5) / (tail + 10)
