r"""The multinomial likelihood of k classes and its Newton steps.

Class 0 is the reference: eta_0 = 0 and eta_c = a^T x_c for the others, with probabilities
softmax(eta). Gradient and information are

    g_c = sum_i (t_ic - p_ic) a_i,    H_cd = sum_i p_ic (delta_cd - p_id) a_i a_i^T

H has (k - 1) p rows; orthogonal transformations of W^{1/2} A would cost (k - 1)^2 times what
forming it costs. So the design is made orthonormal once, A = Q R, and Newton works
on the coordinates z_c = R x_c: there the condition number of H comes from the
probabilities alone, and forming H is safe.

Source: Ting, "Statistical Machine Learning for Astronomy" (arXiv:2506.12230), ch. 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from statml.classification.newton import SingularInformationError, Step, triangular_step
from statml.compute import namespace
from statml.regression.least_squares import reduce_rows

Array = np.ndarray

# Rows whose weighted copies fit the cache.
BLOCK_ROWS = 4096
# Below this, relative to the largest, an eigenvalue of the information is rounding.
SINGULAR = 1e-14


@dataclass(frozen=True)
class OrthonormalDesign:
    """A = Q R: Q of shape (n, p) with orthonormal columns, and the inverse of R, (p, p)."""

    Q: Array
    inverse: Array

    @classmethod
    def of(cls, X: Array, *, intercept: bool, penalty: Array | None) -> OrthonormalDesign:
        """Make A = [1, X] orthonormal, together with rows that stand for a penalty.

        Parameters
        ----------
        X : array (n, d)
        intercept : bool
        penalty : array (p,) or None
            Precision of each column's coefficients; makes dependent columns independent.

        Raises
        ------
        SingularInformationError
            Columns are linearly dependent and nothing penalises them.
        """
        R = reduce_rows(X, np.zeros(len(X)), intercept=intercept, weights=None, device=namespace("cpu")).R
        if penalty is not None:
            R = linalg.qr(np.vstack([R, np.diag(np.sqrt(penalty))]), mode="r")[0][: len(R)]
        inverse = triangular_step(R, np.zeros(len(R))).factor
        with namespace("cpu").one_thread():
            Q = X @ inverse[int(intercept) :]
        if intercept:
            Q += inverse[0]
        return cls(Q, inverse)


class MultinomialLikelihood:
    """The log posterior of coordinates z, shape ((k - 1) p,), of all classes but the first.

    Parameters
    ----------
    X : array (n, d)
    codes : array (n,)
        Classes 0 to k - 1.
    k : int
    intercept : bool
        Put a column of ones first.
    penalty : array (p,), optional
        Penalty sum_c penalty_j (x_cj - mean over classes)^2 of the coefficients of each column.
    """

    def __init__(
        self, X: Array, codes: Array, k: int, *, intercept: bool, penalty: Array | None = None
    ) -> None:
        design = OrthonormalDesign.of(X, intercept=intercept, penalty=penalty)
        self.inverse = design.inverse
        self.precision: Array | None = None
        if penalty is not None:
            of_classes = 2 * (np.eye(k - 1) - 1 / k)
            self.precision = np.kron(of_classes, self.inverse.T @ (penalty[:, None] * self.inverse))
        self._set_rows(design.Q, codes, k)

    def _set_rows(self, Q: Array, codes: Array, k: int) -> None:
        self.design, self.codes, self.k = Q, codes, k
        self.n, self.columns = Q.shape
        self.size = (k - 1) * self.columns

    def coefficients(self, params: Array) -> Array:
        """x = R^-1 z of each class but the first, shape (k - 1, p)."""
        return params.reshape(self.k - 1, -1) @ self.inverse.T

    @property
    def has_prior(self) -> bool:
        """Whether there is a penalty."""
        return self.precision is not None

    def scores(self, params: Array) -> Array:
        """eta, shape (n, k), 0 for the first class."""
        eta = np.zeros((self.n, self.k))
        eta[:, 1:] = self.design @ params.reshape(self.k - 1, -1).T
        return eta

    def log_likelihood(self, params: Array) -> float:
        """Without the prior."""
        eta = self.scores(params)
        own = eta[np.arange(self.n), self.codes]
        return float(np.sum(own - softmax(eta)[1]))

    def log_posterior(self, params: Array) -> float:
        """Log likelihood minus the penalty."""
        value = self.log_likelihood(params)
        return value if self.precision is None else value - 0.5 * float(params @ self.precision @ params)

    def step(self, params: Array) -> Step:
        """The Newton step at `params`.

        Raises
        ------
        SingularInformationError
            The information does not determine every parameter.
        """
        proba = softmax(self.scores(params))[0]
        information = self._information(proba[:, 1:])
        proba[np.arange(self.n), self.codes] -= 1
        gradient = -(proba[:, 1:].T @ self.design).ravel()
        if self.precision is not None:
            information += self.precision
            gradient -= self.precision @ params
        return triangular_step(_triangle(information), gradient)

    def every(self, stride: int) -> MultinomialLikelihood:
        """That of every `stride`-th row, without a prior."""
        some = MultinomialLikelihood.__new__(MultinomialLikelihood)
        some.inverse, some.precision = self.inverse, None
        some._set_rows(self.design[::stride].copy(), self.codes[::stride], self.k)
        return some

    def _information(self, proba: Array) -> Array:
        """H for the probabilities of all classes but the first, (n, k - 1)."""
        p, others = self.columns, self.k - 1
        blocks = np.zeros((others, others, p, p))
        for start in range(0, self.n, BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            Q, pi = self.design[rows], proba[rows]
            for c in range(others):
                for d in range(c, others):
                    weight = pi[:, c] * ((c == d) - pi[:, d])
                    blocks[c, d] += (Q * weight[:, None]).T @ Q
        for c in range(others):
            for d in range(c):
                blocks[c, d] = blocks[d, c].T
        return blocks.transpose(0, 2, 1, 3).reshape(self.size, self.size)


def softmax(eta: Array) -> tuple[Array, Array]:
    """Probabilities (n, k) and the log of what divided them, log sum exp(eta), shape (n,)."""
    largest = eta.max(axis=1, keepdims=True)
    proba = np.exp(eta - largest)
    total = proba.sum(axis=1, keepdims=True)
    proba /= total
    return proba, (largest + np.log(total))[:, 0]


def _triangle(information: Array) -> Array:
    """R with H = R^T R.

    Raises
    ------
    SingularInformationError
        H is singular to working precision.
    """
    scale = np.sqrt(np.clip(np.diag(information), 1e-300, None))
    correlation = information / np.outer(scale, scale)
    values, vectors = np.linalg.eigh(correlation)
    if not values[0] > SINGULAR * len(values) * values[-1]:
        raise SingularInformationError(vectors[:, 0] / scale)
    return linalg.cholesky(correlation, lower=False) * scale
