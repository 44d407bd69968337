"""Mixtures beside astroML and scikit-learn: the same steps of EM from the same start.

extreme deconvolution    correlated errors of every row    astroML XDGMM
Gaussian mixture         exact rows                        scikit-learn GaussianMixture

All maximise the likelihood (no prior, no extrapolation) for `STEPS` steps, the log likelihood
of each computed on the way; what is timed goes from arrays to parameters, ours with its
checks of the input and one normal fitted to everything. Weights, means, covariances and
log likelihoods are compared first. Above `LONGEST` rows astroML would take the better part of
an hour, so it makes one step, once, and its time is multiplied by `STEPS`: the record says so in the
label. The comparison is then of that one step.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import mixture
from sklearn.exceptions import ConvergenceWarning

from benchmarks.measurement import Answer, Competitor, DisagreementError, machine, peak_memory
from benchmarks.regression import compare
from statml.mixture import ExtremeDeconvolution, GaussianMixture
from statml.mixture.components import Components
from statml.uncertainty import CovarianceStack

Array = np.ndarray

STEPS = 5
LONGEST = 10_000
# Largest difference of any parameter, or of the log likelihood relatively.
SAME = 1e-8


def benchmark(sizes: list[int], n_features: int, n_components: int, repeats: int) -> dict[str, Any]:
    """Compare answers, then measure, for both problems and every size.

    Parameters
    ----------
    sizes : list of int
        Numbers of rows, growing; the last one is the headline.
    n_features, n_components : int
    repeats : int
        Timed fits of each competitor; one beyond `LONGEST` rows.

    Raises
    ------
    DisagreementError
        A peer's parameters or log likelihood are not ours.
    """
    where = machine()
    measurements = []
    for n in sizes:
        X, matrices, start = simulate(n, n_features, n_components)
        deconvolution = [_deconvolution(X, matrices, start, STEPS), _astroml(X, matrices, start, STEPS)]
        if n <= LONGEST:
            measurements.append(compare("extreme deconvolution", deconvolution, same, n, repeats))
        else:
            measurements.append(_one_step(X, matrices, start, repeats))
        exact = [_mixture(X, start, STEPS), _sklearn(X, start, STEPS)]
        measurements.append(compare("Gaussian mixture", exact, same, n, repeats))
    return {
        "family": "mixture",
        "n_features": n_features,
        "repeats": repeats,
        "n_components": n_components,
        "steps": STEPS,
        "machine": where,
        "measurements": measurements,
        "gpu": "not measured",
    }


def simulate(n: int, d: int, k: int) -> tuple[Array, Array, Components]:
    """Noisy rows (n, d), their covariances (n, d, d), and a start near the truth."""
    rng = np.random.default_rng(20250614)
    A = 0.5 * rng.normal(size=(k, d, d))
    truth = Components(
        np.full(k, 1 / k), rng.normal(0, 3, (k, d)), A @ A.transpose(0, 2, 1) + 0.1 * np.eye(d)
    )
    F = 0.4 * rng.normal(size=(n, d, d))
    X = truth.sample(n, rng)[0] + np.einsum("nab,nb->na", F, rng.normal(size=(n, d)))
    start = Components(truth.weights, truth.means + 0.3 * rng.normal(size=(k, d)), 2 * truth.covariances)
    return X, F @ F.transpose(0, 2, 1), start


def same(ours: Answer, theirs: Answer) -> dict[str, float]:
    """Largest difference of the parameters, and of the log likelihood (the last of them) relatively."""
    gap = np.abs(ours.params - theirs.params)
    found = {
        "params": float(np.max(gap[:-1])),
        "log_likelihood": float(gap[-1] / abs(theirs.params[-1])),
    }
    for name, difference in found.items():
        if not difference <= SAME:
            raise DisagreementError(f"{name} differ by {difference:.2g}, accepted is {SAME:g}")
    return found


def _one_step(X: Array, matrices: Array, start: Components, repeats: int) -> dict[str, Any]:
    """Our `STEPS` steps beside one of astroML, taken once and counted `STEPS` times."""
    one = {
        each.ours: each for each in (_deconvolution(X, matrices, start, 1), _astroml(X, matrices, start, 1))
    }
    theirs, seconds, peak = _once(one[False].fit)
    difference = same(one[True].fit(), theirs)
    ours = _deconvolution(X, matrices, start, STEPS)
    runs = [_once(ours.fit) for _ in range(repeats)]
    label = f"astroML XDGMM (1 step x {STEPS})"
    mine, their_seconds = [run[1] for run in runs], STEPS * seconds
    costs = [
        {"label": ours.label, "ours": True, "seconds": mine, "peak_bytes": runs[0][2]},
        {"label": label, "ours": False, "seconds": [their_seconds], "peak_bytes": peak},
    ]
    medians = [float(np.median(mine)), their_seconds]
    return {
        "problem": "extreme deconvolution",
        "n": len(X),
        "ratio": medians[0] / medians[1],
        "fastest_peer": label,
        "tolerance": SAME,
        "differences": {label: difference},
        "costs": [cost | {"median_s": median} for cost, median in zip(costs, medians)],
    }


def _once(fit: Callable[[], Answer]) -> tuple[Answer, float, int | None]:
    """The answer of one fit, its seconds and its peak memory."""
    kept: list[Any] = []

    def work() -> None:
        begin = time.perf_counter()
        kept.append(fit())
        kept.append(time.perf_counter() - begin)

    peak = peak_memory(work)
    return kept[0], kept[1], peak


def _answer(weights: Array, means: Array, covariances: Array, log_likelihood: float) -> Answer:
    order = np.argsort(means[:, 0])
    parts = [weights[order], means[order].ravel(), covariances[order].ravel(), np.array([log_likelihood])]
    return Answer(np.concatenate(parts), None)


def _options(start: Components, steps: int) -> dict[str, Any]:
    return {
        "prior_strength": 0,
        "accelerate": False,
        "tol": 0,
        "max_iter": steps,
        "weights_init": start.weights,
        "means_init": start.means,
        "covariances_init": start.covariances,
    }


def _fitted(model: Any, *args: Any, **errors: Any) -> Answer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # so many steps and no more was asked for
        model.fit(*args, **errors)
    return _answer(model.weights_, model.means_, model.covariances_, model.log_likelihood_)


def _deconvolution(X: Array, matrices: Array, start: Components, steps: int) -> Competitor:
    def fit() -> Answer:
        model = ExtremeDeconvolution(len(start), **_options(start, steps))
        return _fitted(model, X, X_cov=CovarianceStack.dense(matrices))

    return Competitor("statml ExtremeDeconvolution", True, fit)


def _mixture(X: Array, start: Components, steps: int) -> Competitor:
    model = GaussianMixture(len(start), **_options(start, steps))
    return Competitor("statml GaussianMixture", True, lambda: _fitted(model, X))


def _astroml(X: Array, matrices: Array, start: Components, steps: int) -> Competitor:
    from astroML.density_estimation import XDGMM

    def fit() -> Answer:
        # Its own loop, from our start: XDGMM.fit would begin with a mixture that ignores the errors.
        model = XDGMM(len(start))
        model.alpha, model.mu, model.V = start.weights, start.means, start.covariances
        for _ in range(steps):
            model._EMstep(X, matrices)
            log_likelihood = model.logL(X, matrices)
        return _answer(model.alpha, model.mu, model.V, float(log_likelihood))

    return Competitor("astroML XDGMM", False, fit)


def _sklearn(X: Array, start: Components, steps: int) -> Competitor:
    def fit() -> Answer:
        model = mixture.GaussianMixture(
            len(start),
            tol=0,
            reg_covar=0,
            max_iter=steps,
            weights_init=start.weights,
            means_init=start.means,
            precisions_init=np.linalg.inv(start.covariances),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X)
        return _answer(model.weights_, model.means_, model.covariances_, float(model.score(X) * len(X)))

    return Competitor("scikit-learn GaussianMixture", False, fit)
