r"""Predicted against observed correlations of stars, beside what one could say without the theory.

A prediction is scored by the correlation r of its pairs with the observed ones, the same of their ranks, the
root mean square of the differences and their mean (bias). Pairs share elements, so errors come from leaving
out an element with all its pairs (jackknife), and the probability of r by chance from exchanging the names of
elements (Mantel 1967, Cancer Res. 27, 209). Two baselines know which channels make an element, but nothing of
diffusion, delays or widths:

    cosine        f_X . f_Y / |f_X| |f_Y|, with f the fractions of channels
    same family   1 if the largest channel is the same, else 0

One prediction is better than another where the jackknife of the difference says so by 2 standard errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from statml.compute import generator
from statml.errors import InputError
from statml.research.abundances.channels import CHANNELS, Element, load_elements
from statml.research.abundances.correlation import correlation_matrix
from statml.research.abundances.environment import Environment
from statml.research.abundances.observation import observe_stars
from statml.research.abundances.samples import Sample

Array = np.ndarray

PERMUTATIONS = 999
# Standard errors of the difference from which one prediction is called better.
BETTER = 2.0

THEORIES: dict[str, dict[str, str]] = {
    "released kernel": {"drift": "aligned"},
    "isotropic": {},
    "dispersing": {"drift": "dispersing"},
    "epicyclic": {"drift": "epicyclic"},
    "full delays": {"delays": "full"},
}
BASELINES = ("cosine", "same family")


@dataclass(frozen=True)
class Score:
    """How well a prediction agrees with a sample.

    Attributes
    ----------
    sample, prediction : str
    pairs : int
    r, rank : float
        Correlation of values and of ranks over the pairs.
    rms, bias : float
        Root mean square of predicted minus observed, and its mean.
    r_err, rank_err, rms_err, bias_err : float
        Standard errors, by leaving out one element at a time.
    p : float
        Share of exchanges of names whose r is as large.
    """

    sample: str
    prediction: str
    pairs: int
    r: float
    rank: float
    rms: float
    bias: float
    r_err: float
    rank_err: float
    rms_err: float
    bias_err: float
    p: float


def predictions(sample: Sample, env: Environment | None = None) -> tuple[Sample, dict[str, Array]]:
    """Every theory and baseline for the elements of a sample that have channels.

    Parameters
    ----------
    sample : Sample
    env : Environment, optional
        By default the fiducial one.

    Returns
    -------
    sample : Sample
        Its part of which the channels are known.
    predicted : dict of arrays (n, n)
        Theories as seen with the sample's errors, then the baselines.
    """
    env = Environment.fiducial() if env is None else env
    known = {element.symbol: element for element in load_elements()}
    symbols = [symbol for symbol in sample.symbols if symbol in known]
    if len(symbols) < 4:
        raise InputError(f"sample has {len(symbols)} elements of known channels; accepted are at least 4")
    elements = [known[symbol] for symbol in symbols]
    found = {}
    for name, options in THEORIES.items():
        rho = correlation_matrix(elements, env, **options)
        found[name] = (observe_stars(rho, sample.sigma_dex) if sample.sigma_dex else rho).values
    return sample.select(symbols), found | baselines(elements)


def baselines(elements: Sequence[Element]) -> dict[str, Array]:
    """What the fractions of channels alone suggest."""
    shares = np.array([[element.fractions.get(channel, 0.0) for channel in CHANNELS] for element in elements])
    unit = shares / np.linalg.norm(shares, axis=1, keepdims=True)
    family = shares.argmax(axis=1)
    return {"cosine": unit @ unit.T, "same family": (family[:, None] == family[None, :]).astype(float)}


def score(sample: Sample, prediction: str, predicted: Array, *, rng: Any = 0) -> Score:
    """Score one prediction, with errors and a permutation test."""
    value = _statistics(sample.values, predicted)
    replicates = np.array(
        [_statistics(*_without(i, sample.values, predicted)) for i in range(len(predicted))]
    )
    r, rank, rms, bias = value
    r_err, rank_err, rms_err, bias_err = jackknife_error(replicates)
    pairs = len(_pairs(sample.values, predicted)[0])
    p = _permutation(sample.values, predicted, r, rng)
    return Score(sample.name, prediction, pairs, r, rank, rms, bias, r_err, rank_err, rms_err, bias_err, p)


def scores(sample: Sample, env: Environment | None = None, *, rng: Any = 0) -> list[Score]:
    """Score every theory and baseline on one sample."""
    known, found = predictions(sample, env)
    return [score(known, name, predicted, rng=rng) for name, predicted in found.items()]


def without_each(sample: Sample, predicted: Array) -> dict[str, float]:
    """Correlation r with each element left out: does the score hang on one of them?

    Examples
    --------
    >>> import numpy as np
    >>> rho = np.corrcoef(np.random.default_rng(1).normal(size=(5, 9)))
    >>> left_out = without_each(Sample("made up", tuple("abcde"), rho, {}), rho)
    >>> {symbol: round(r, 6) for symbol, r in left_out.items()}
    {'a': 1.0, 'b': 1.0, 'c': 1.0, 'd': 1.0, 'e': 1.0}
    """
    return {
        symbol: _statistics(*_without(i, sample.values, predicted))[0]
        for i, symbol in enumerate(sample.symbols)
    }


@dataclass(frozen=True)
class Difference:
    """First minus second prediction: of r and of rms, each with its jackknife error."""

    first: str
    second: str
    r: float
    r_err: float
    rms: float
    rms_err: float

    @property
    def verdict(self) -> str:
        """Which is better by r and by rms, where the difference is beyond 2 standard errors."""

        def say(value: float, error: float, sign: int) -> str:
            if not abs(value) > BETTER * error:
                return "no difference beyond 2 standard errors"
            return f"{self.first if sign * value > 0 else self.second} is better"

        return f"r: {say(self.r, self.r_err, 1)}; rms: {say(self.rms, self.rms_err, -1)}"


def difference(sample: Sample, first: str, second: str, predicted: dict[str, Array]) -> Difference:
    """Compare two predictions on the same pairs, elements left out of both at once.

    Examples
    --------
    >>> import numpy as np
    >>> truth = np.corrcoef(np.random.default_rng(1).normal(size=(8, 12)))
    >>> sample = Sample("made up", tuple("abcdefgh"), truth, {})
    >>> noise = np.random.default_rng(2).normal(size=(8, 8))
    >>> difference(sample, "truth", "noise", {"truth": truth, "noise": noise + noise.T}).verdict
    'r: no difference beyond 2 standard errors; rms: truth is better'
    """

    def both(observed: Array, a: Array, b: Array) -> Array:
        return np.subtract(_statistics(observed, a), _statistics(observed, b))

    a, b = predicted[first], predicted[second]
    value = both(sample.values, a, b)
    error = jackknife_error(np.array([both(*_without(i, sample.values, a, b)) for i in range(len(a))]))
    return Difference(first, second, value[0], error[0], value[2], error[2])


def jackknife_error(replicates: Array) -> Array:
    """Standard errors from values (m, ...) with each of m elements left out."""
    m = len(replicates)
    return np.sqrt((m - 1) / m * ((replicates - replicates.mean(0)) ** 2).sum(0))


def _pairs(observed: Array, predicted: Array) -> tuple[Array, Array]:
    upper = np.triu_indices(len(observed), 1)
    known = np.isfinite(observed[upper])
    return observed[upper][known], predicted[upper][known]


def _statistics(observed: Array, predicted: Array) -> tuple[float, float, float, float]:
    seen, said = _pairs(observed, predicted)
    error = said - seen
    return (
        float(np.corrcoef(seen, said)[0, 1]),
        float(stats.spearmanr(seen, said).statistic),
        float(np.sqrt(np.mean(error**2))),
        float(error.mean()),
    )


def _without(i: int, *matrices: Array) -> list[Array]:
    return [np.delete(np.delete(matrix, i, 0), i, 1) for matrix in matrices]


def _permutation(observed: Array, predicted: Array, r: float, rng: Any) -> float:
    random = generator(rng)
    orders = np.array([random.permutation(len(predicted)) for _ in range(PERMUTATIONS)])
    i, j = np.triu_indices(len(observed), 1)
    known = np.isfinite(observed[i, j])
    seen = stats.zscore(observed[i, j][known])
    said = predicted[orders[:, i[known]], orders[:, j[known]]]
    larger = np.sum(stats.zscore(said, axis=1) @ seen / seen.size >= r - 1e-12)
    return float(1 + larger) / (1 + PERMUTATIONS)
