"""Generalised least squares of a million rows beside what one would write by hand.

No library holds a covariance of a million rows: statsmodels GLS wants the n x n
matrix, scikit-learn has no errors at all. So the peers are the ways to get there
with their parts, all of them batched or blocked as an expert would:

blocks      plates of ten stars, one dense 10 x 10 covariance each
            whiten by the inverse Cholesky factors (numpy, batched; or a scipy BSR
            matrix), then lstsq or scikit-learn; or the normal equations A^T C^-1 A
low rank    independent errors and five common modes
            whiten by a thin SVD, then lstsq or scikit-learn; the normal equations
            by Woodbury's formula; or the modes as columns of a larger lstsq

The normal equations square the condition of the design and lose twice the digits;
they are here because they are fast. What is timed goes from arrays to coefficients
and, for ours and the normal equations, standard errors. All answers are equal to
`SAME` before anything is timed, and equal to statsmodels GLS where that fits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import statsmodels.api as sm
from scipy import linalg, sparse
from sklearn import linear_model

from benchmarks.gpu import weighted_on_gpu
from benchmarks.measurement import Answer, Competitor, machine
from benchmarks.regression import compare, same, simulate
from statml.regression import LinearRegression
from statml.uncertainty import Covariance

Array = np.ndarray

BLOCK = 10
MODES = 5
# Rows for which statsmodels GLS may hold its matrix.
SMALL = 600


def benchmark(sizes: list[int], features: list[int], repeats: int) -> dict[str, Any]:
    """Compare answers, then measure, for every problem, number of features and size.

    Parameters
    ----------
    sizes : list of int
        Numbers of rows, growing, multiples of `BLOCK`; the last one is the headline.
    features : list of int
        Numbers of columns.
    repeats : int
        Timed fits of each competitor.

    Raises
    ------
    DisagreementError
        A peer's answer is not ours.
    """
    where = machine()
    for p in features:
        check_small(p)
    return {
        "family": "gls",
        "n_features": " and ".join(map(str, features)),
        "repeats": repeats,
        "machine": where,
        "measurements": [
            compare(f"{name}, p = {p}", competitors, same, n, repeats)
            for p in features
            for n in sizes
            for name, competitors in problems(n, p).items()
        ],
        "gpu": weighted_on_gpu(),
    }


def errors(n: int, err: Array) -> tuple[Array, Array]:
    """Blocks (n / BLOCK, BLOCK, BLOCK) of correlated errors, and common modes (n, MODES)."""
    rng = np.random.default_rng(20250613)
    roots = rng.normal(size=(n // BLOCK, BLOCK, BLOCK + 3))
    scale = err.reshape(-1, BLOCK)
    blocks = roots @ roots.transpose(0, 2, 1) / BLOCK + 0.1 * np.eye(BLOCK)
    return blocks * scale[:, :, None] * scale[:, None, :], 0.3 * rng.normal(size=(n, MODES))


def problems(n: int, p: int) -> dict[str, list[Competitor]]:
    """The competitors of each problem, ours first."""
    X, y, err = simulate(n, p)
    blocks, modes = errors(n, err)
    return {"blocks of 10": _blocks(X, y, blocks), "low rank": _low_rank(X, y, err**2, modes)}


def check_small(p: int) -> None:
    """Every competitor against statsmodels GLS, which holds the whole matrix.

    Raises
    ------
    DisagreementError
        An answer is another one.
    """
    X, y, err = simulate(SMALL, p)
    blocks, modes = errors(SMALL, err)
    matrices = {
        "blocks of 10": linalg.block_diag(*blocks),
        "low rank": np.diag(err**2) + modes @ modes.T,
    }
    for name, competitors in problems(SMALL, p).items():
        result = sm.GLS(y, sm.add_constant(X), sigma=matrices[name]).fit(cov_type="fixed scale")
        theirs = Answer(np.asarray(result.params), np.asarray(result.bse))
        for each in competitors:
            same(theirs, each.fit())


def _blocks(X: Array, y: Array, blocks: Array) -> list[Competitor]:
    n, m = len(y), len(blocks)

    def ours() -> Answer:
        return _answer(LinearRegression().fit(X, y, y_cov=Covariance.block(blocks)))

    def columns() -> Array:
        return np.column_stack([np.ones(n), X, y])

    def whitened() -> Array:
        inverse = np.linalg.inv(np.linalg.cholesky(blocks))
        return (inverse @ columns().reshape(m, BLOCK, -1)).reshape(n, -1)

    def normal_equations() -> Answer:
        data = columns()
        weighted = (np.linalg.inv(blocks) @ data[:, :-1].reshape(m, BLOCK, -1)).reshape(n, -1)
        return _normal(weighted.T @ data)

    def bsr() -> Answer:
        data = columns()
        places = np.arange(m), np.arange(m + 1)
        precision = sparse.bsr_array((np.linalg.inv(blocks), *places), shape=(n, n))
        return _normal((precision @ data[:, :-1]).T @ data)

    return [
        Competitor("statml LinearRegression(y_cov)", True, ours),
        Competitor("numpy whitening, lstsq", False, lambda: _lstsq(whitened())),
        Competitor("scikit-learn on whitened rows", False, lambda: _sklearn(whitened())),
        Competitor("numpy normal equations", False, normal_equations),
        Competitor("scipy BSR, normal equations", False, bsr),
    ]


def _low_rank(X: Array, y: Array, variance: Array, modes: Array) -> list[Competitor]:
    n = len(y)

    def ours() -> Answer:
        return _answer(LinearRegression().fit(X, y, y_cov=Covariance.low_rank(variance, modes)))

    def columns() -> Array:
        return np.column_stack([np.ones(n), X, y])

    def whitened() -> Array:
        std = np.sqrt(variance)[:, None]
        left, singular, _ = linalg.svd(modes / std, full_matrices=False)
        data = columns() / std
        return data - left @ ((1 - (1 + singular**2) ** -0.5)[:, None] * (left.T @ data))

    def woodbury() -> Answer:
        data = columns()
        scaled = data[:, :-1] / variance[:, None]
        shared = modes.T @ scaled
        capacitance = np.eye(MODES) + modes.T @ (modes / variance[:, None])
        projected = (modes / variance[:, None]).T @ data
        return _normal(scaled.T @ data - shared.T @ np.linalg.solve(capacitance, projected))

    def augmented() -> Answer:
        std = np.sqrt(variance)[:, None]
        data = np.column_stack([modes, columns()])
        data /= std
        prior = np.eye(MODES, data.shape[1])
        params = np.linalg.lstsq(*_split(np.concatenate([data, prior])), rcond=None)[0]
        return Answer(params[MODES:], None)

    return [
        Competitor("statml LinearRegression(y_cov)", True, ours),
        Competitor("numpy whitening, lstsq", False, lambda: _lstsq(whitened())),
        Competitor("scikit-learn on whitened rows", False, lambda: _sklearn(whitened())),
        Competitor("numpy Woodbury", False, woodbury),
        Competitor("numpy lstsq, modes as columns", False, augmented),
    ]


def _answer(model: LinearRegression) -> Answer:
    return Answer(model.params_, np.sqrt(np.diag(model.params_cov_)))


def _split(data: Array) -> tuple[Array, Array]:
    return data[:, :-1], data[:, -1]


def _lstsq(data: Array) -> Answer:
    return Answer(np.linalg.lstsq(*_split(data), rcond=None)[0], None)


def _sklearn(data: Array) -> Answer:
    return Answer(linear_model.LinearRegression(fit_intercept=False).fit(*_split(data)).coef_, None)


def _normal(equations: Array) -> Answer:
    """Solve [A^T C^-1 A | A^T C^-1 y]."""
    factor = linalg.cho_factor(equations[:, :-1])
    inverse = linalg.cho_solve(factor, np.eye(len(equations)))
    return Answer(linalg.cho_solve(factor, equations[:, -1]), np.sqrt(np.diag(inverse)))
