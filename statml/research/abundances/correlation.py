"""Correlations of many elements at one place and time: the matrix of the paper, and its derivatives.

    rho_XY = Cov_XY(0) / sqrt(Cov_XX(0) Cov_YY(0))

The rate of clusters and the scatter of their masses cancel unless some channel is rare.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from statml.errors import InputError, InputTypeError
from statml.research.abundances.channels import Element
from statml.research.abundances.covariance import (
    means,
    node_pairs,
    nodes_of,
)
from statml.research.abundances.environment import Environment
from statml.research.abundances.kernel import check_environment
from statml.research.abundances.nodes import Nodes, as_elements

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class CorrelationMatrix:
    """Correlations of n elements, with the means and variances that noise is measured against.

    Attributes
    ----------
    symbols : tuple of str
    values : array (n, n)
    mean, variance : arrays (n,)
        In m / L0^2 and its square.

    Examples
    --------
    >>> from statml.research.abundances import Environment, correlation_matrix, load_elements
    >>> rho = correlation_matrix(load_elements(["O", "Mg", "Ba"]), Environment.fiducial())
    >>> round(rho["O", "Mg"], 4), rho.select(["Ba", "O"]).values.round(3).tolist()
    (0.7699, [[1.0, 0.172], [0.172, 1.0]])
    """

    symbols: tuple[str, ...]
    values: Array
    mean: Array
    variance: Array

    def __getitem__(self, pair: tuple[str, str]) -> float:
        if not (isinstance(pair, tuple) and len(pair) == 2):
            raise InputTypeError(
                f"the index is {pair!r}; accepted is a pair of symbols, as in rho['O', 'Mg']"
            )
        i, j = self._index(pair)
        return float(self.values[i, j])

    def _index(self, symbols: Iterable[str]) -> list[int]:
        found = []
        for symbol in symbols:
            if symbol not in self.symbols:
                raise InputError(f"symbol is {symbol!r}; accepted are {', '.join(self.symbols)}")
            found.append(self.symbols.index(symbol))
        return found

    def select(self, symbols: Sequence[str]) -> CorrelationMatrix:
        """Return the matrix of these elements, in this order."""
        index = self._index(symbols)
        return CorrelationMatrix(
            tuple(symbols), self.values[np.ix_(index, index)], self.mean[index], self.variance[index]
        )

    @property
    def scatter_dex(self) -> Array:
        """Scatter of the logarithms of the abundances, in dex."""
        return np.sqrt(self.variance) / self.mean / np.log(10)

    @property
    def eigenvalues(self) -> Array:
        """Of the matrix, the largest first."""
        return np.linalg.eigvalsh(self.values)[::-1]

    @property
    def participation_ratio(self) -> float:
        """How many independent directions the scatter has: (sum of eigenvalues)^2 / sum of their squares."""
        found = self.eigenvalues
        return float(found.sum() ** 2 / (found**2).sum())


def correlation_matrix(
    elements: Sequence[Element],
    env: Environment,
    delays: str = "median",
    drift: str = "isotropic",
) -> CorrelationMatrix:
    """Correlations between the abundances of elements, at one place and time.

    Parameters
    ----------
    elements : sequence of Element
        Such as `load_elements`.
    env : Environment
    delays : {"median", "full"}
        Whether a channel makes an element at once, after its delay, or over its whole curve of production. Elements
        of `load_elements` have their curves from the data set ``nucleosynthesis_curves``.
    drift : {"isotropic", "aligned", "dispersing", "epicyclic"}
        How clusters move (`statml.research.abundances.drift`); "aligned" is the released form.

    Returns
    -------
    CorrelationMatrix
        With ``.symbols`` and ``.values`` (n, n).

    Warns
    -----
    UserWarning
        A channel's delay is beyond `env.t_star`: it contributes nothing.

    Raises
    ------
    InputError, InputTypeError
    DataNotFoundError
        ``delays="full"`` without the table of curves.

    Examples
    --------
    >>> from statml.research.abundances import Environment, load_elements
    >>> rho = correlation_matrix(load_elements(), Environment.fiducial())
    >>> rho.values.shape, round(rho["O", "Fe"], 4), round(rho.participation_ratio, 2)
    ((42, 42), 0.5864, 2.72)
    """
    found, env = as_elements(elements), check_environment(env)
    nodes = nodes_of(found, env, delays)
    cov = nodes.weights @ node_pairs(nodes, env, drift).covariance() @ nodes.weights.T
    return as_matrix(found, nodes, env, cov)


def as_matrix(elements: list[Element], nodes: Nodes, env: Environment, cov: Array) -> CorrelationMatrix:
    """The correlations of elements from their covariances."""
    variance = np.diag(cov).copy()
    if not (variance > 0).all():
        silent = [element.symbol for element, v in zip(elements, variance) if not v > 0]
        raise InputError(f"elements has {', '.join(silent)}, of which no channel contributes before t_star")
    symbols = tuple(element.symbol for element in elements)
    return CorrelationMatrix(symbols, as_correlation(cov), means(nodes, env), variance)


def as_correlation(cov: Array) -> Array:
    """A covariance over its standard deviations, symmetric, with ones on the diagonal."""
    std = np.sqrt(np.diag(cov))
    found = (cov + cov.T) / 2 / np.outer(std, std)
    np.fill_diagonal(found, 1.0)
    return found
