"""Standard errors of a mixture's parameters, from the curvature of its log posterior.

The first derivative of a log likelihood with hidden variables is the expected derivative
of the complete one (Fisher's identity; Louis 1982, J. R. Stat. Soc. B 44, 226), so the moments of
one expectation step give it exactly:

    d/d m_j = V_j^-1 f_j,      d/d V_j = V_j^-1 (F_j - N_j V_j) V_j^-1 / 2,
    d/d eta_j = N_j - N weights_j,     weights = softmax(eta), eta_K = 0.

The observed information is minus its derivative, taken by central differences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statml.errors import InputError
from statml.mixture.components import Components
from statml.mixture.expectation import expectation
from statml.mixture.measurements import Measurements
from statml.mixture.prior import CovariancePrior

Array = np.ndarray

STEP = 1e-4


@dataclass(frozen=True)
class ComponentErrors:
    """Standard errors: `weights` (K,), `means` (K, d), `covariances` (K, d, d); and `cov`, of all parameters.

    `cov` (p, p) is the inverse observed information of the log ratios of the first K - 1 weights
    to the last, then of each component's mean and of its covariance's upper triangle, row by row.
    """

    weights: Array
    means: Array
    covariances: Array
    cov: Array


def component_errors(components: Components, data: Measurements, prior: CovariancePrior) -> ComponentErrors:
    """Standard errors at a maximum of the log posterior.

    Raises
    ------
    InputError
        The curvature is not that of a maximum.
    """
    k, d = components.means.shape
    upper = np.triu_indices(d)
    center, steps = _pack(components), STEP * _sizes(components)
    information = np.empty((len(center), len(center)))
    for row in range(len(center)):
        change = np.zeros_like(center)
        change[row] = steps[row]
        ahead = score(_unpack(center + change, k, d), data, prior)
        behind = score(_unpack(center - change, k, d), data, prior)
        information[row] = (behind - ahead) / (2 * steps[row])
    information = 0.5 * (information + information.T)
    scaled = information * np.outer(steps, steps) / STEP**2
    if not np.linalg.eigvalsh(scaled)[0] > 0:
        raise InputError(
            "the log posterior of the mixture has no maximum here, so there are no standard errors; accepted is a "
            "converged fit on the same X (lower tol, raise max_iter), with components the data support"
        )
    cov = np.linalg.inv(scaled) * np.outer(steps, steps) / STEP**2
    errors = np.sqrt(np.diag(cov))[k - 1 :].reshape(k, -1)
    slopes = (np.diag(components.weights) - np.outer(components.weights, components.weights))[:, : k - 1]
    covariances = np.zeros((k, d, d))
    covariances[:, upper[0], upper[1]] = covariances[:, upper[1], upper[0]] = errors[:, d:]
    return ComponentErrors(
        np.sqrt(np.einsum("ij,jk,ik->i", slopes, cov[: k - 1, : k - 1], slopes)),
        errors[:, :d],
        covariances,
        cov,
    )


def score(components: Components, data: Measurements, prior: CovariancePrior) -> Array:
    """Derivative of the log posterior by the packed parameters."""
    d = components.n_features
    moments, _ = expectation(components, data)
    precision = np.linalg.inv(components.covariances)
    by_mean = np.einsum("kab,kb->ka", precision, moments.first)
    excess = moments.second - moments.weight[:, None, None] * components.covariances
    by_cov = 0.5 * precision @ excess @ precision + prior.score(components.covariances)
    rows, columns = np.triu_indices(d)
    by_cov = by_cov[:, rows, columns] * np.where(rows == columns, 1, 2)
    by_weight = (moments.weight - data.total_weight * components.weights)[:-1]
    return np.concatenate([by_weight, np.concatenate([by_mean, by_cov], axis=1).ravel()])


def _pack(components: Components) -> Array:
    ratio = np.log(components.weights[:-1] / components.weights[-1])
    rows, columns = np.triu_indices(components.n_features)
    return np.concatenate(
        [ratio, np.concatenate([components.means, components.covariances[:, rows, columns]], axis=1).ravel()]
    )


def _sizes(components: Components) -> Array:
    """The natural size of a change of each packed parameter."""
    std = np.sqrt(np.diagonal(components.covariances, axis1=1, axis2=2))
    rows, columns = np.triu_indices(components.n_features)
    each = np.concatenate([std, std[:, rows] * std[:, columns]], axis=1)
    return np.concatenate([np.ones(len(components) - 1), each.ravel()])


def _unpack(packed: Array, k: int, d: int) -> Components:
    ratio = np.append(packed[: k - 1], 0.0)
    weights = np.exp(ratio - np.max(ratio))
    each = packed[k - 1 :].reshape(k, -1)
    rows, columns = np.triu_indices(d)
    covariances = np.zeros((k, d, d))
    covariances[:, rows, columns] = covariances[:, columns, rows] = each[:, d:]
    return Components(weights / np.sum(weights), each[:, :d], covariances)
