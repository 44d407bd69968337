r"""Least squares by orthogonal transformations: blocked QR, scaled rank, refinement.

The design is never squared into normal equations. Blocks of rows are reduced to
small triangles, the triangles to one (TSQR; Demmel et al. 2012):

    W [A y] = Q [R z; 0 rho],   minimise |W (A x - y)|^2  ->  R x = z,  chi2 = rho^2

Rank and condition are judged on R with columns of unit length, so that they do
not depend on the units of the features. Where that condition number is large,
the solution is refined (Björck 1967) with residuals computed in twice the
working precision by error-free transformations (Ogita, Rump & Oishi 2005).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import linalg

from statml.compute import Namespace, namespace
from statml.errors import InputError

Array = np.ndarray

# Above this condition number QR alone may lose more than six of sixteen digits.
REFINE_ABOVE = 1e4
# Above this value of kappa^2 tan(theta) large residuals do the same to the parameters.
REFINE_RESIDUALS_ABOVE = 1e5
MAX_REFINEMENTS = 10
# Singular values below this share of the largest, per column, are rounding (measured up to n = 1e6).
RANK_TOLERANCE = 32 * np.finfo(float).eps


@dataclass(frozen=True)
class Triangle:
    """A design and its target, reduced: R (p, p), z (p,), the norm rho of what is left, n rows."""

    R: Array
    z: Array
    rho: float
    n: int

    @property
    def column_norms(self) -> Array:
        """Length of each column of the (weighted) design."""
        return np.linalg.norm(self.R, axis=0)


@dataclass(frozen=True)
class Solution:
    """Least-squares parameters x (p,), inverse factor with (A^T C^-1 A)^-1 = F F^T, chi2.

    `residual_condition` is kappa^2 tan(theta), theta the angle between y and the
    column space: how rounding of the design reaches x through the residuals
    (Björck 1996, section 1.4).
    """

    params: Array
    factor: Array
    chi2: float
    condition: float
    residual_condition: float
    refinements: int

    @property
    def worth_refining(self) -> bool:
        """Whether rounding may have cost more than about six of sixteen digits."""
        return self.condition >= REFINE_ABOVE or self.residual_condition >= REFINE_RESIDUALS_ABOVE


def reduce_rows(
    X: Array,
    y: Array,
    *,
    intercept: bool,
    weights: Array | None,
    device: Namespace,
    modes: Array | None = None,
) -> Triangle:
    """Reduce ``diag(weights) [1, X | y]`` to a triangle, a block of rows at a time.

    Parameters
    ----------
    X : array (n, d)
    y : array (n,)
    intercept : bool
        Put a column of ones first.
    weights : array (n,) or None
        1 / standard deviation of each row; None for ones.
    device : Namespace
        Where the blocks are weighted and factorised; only triangles come back.
    modes : array (n, k), optional
        Errors U c with c ~ N(0, 1) that the rows share, on top of independent ones.
    """
    n, d = X.shape
    shared = 0 if modes is None else modes.shape[1]
    first = shared + intercept
    columns = first + d + 1

    def blocks() -> Iterator[Any]:
        step = device.block_rows(columns)
        for start in range(0, n, step):
            rows = slice(start, start + step)
            block = device.empty((len(y[rows]), columns))
            if modes is not None:
                block[:, :shared] = device.asarray(modes[rows])
            if intercept:
                block[:, shared] = 1
            block[:, first:-1] = device.asarray(X[rows])
            block[:, -1] = device.asarray(y[rows])
            if weights is not None:
                block *= device.asarray(weights[rows])[:, None]
            yield block

    return reduce_blocks(blocks(), n, columns, device=device, shared=shared)


def reduce_blocks(
    blocks: Iterable[Any], n: int, columns: int, *, device: Namespace, shared: int = 0
) -> Triangle:
    """Reduce whitened blocks ``[U, A | y]`` of together n rows to the triangle of the parameters of A.

    Parameters
    ----------
    blocks : iterable of arrays (rows, columns) on the device
        May be overwritten.
    shared : int
        Leading columns that belong to amplitudes c ~ N(0, 1) of common errors.

    Notes
    -----
    With C = N + U U^T the amplitudes are parameters with a prior. Their k unit rows
    are stacked below the data, and the triangle that is left once they are eliminated
    is that of C^-1/2 [A y]: R^T R = A^T N^-1 A - A^T N^-1 U (1 + U^T N^-1 U)^-1 U^T N^-1 A
    (Woodbury). So n rows are read once and never whitened, and modes however large
    cost no digits.
    """
    with device.one_thread():
        triangles = [device.to_numpy(device.qr_r(block)) for block in blocks]
        stacked = np.concatenate([*triangles, np.eye(shared, columns)])
        final = namespace("cpu").qr_r(stacked)
    reduced = np.zeros((columns, columns))
    reduced[: len(final)] = final
    R = reduced[shared:, shared:]
    return Triangle(R[:-1, :-1], R[:-1, -1], abs(float(R[-1, -1])), n)


def solve(triangle: Triangle, names: list[str]) -> Solution:
    """Solve a reduced problem; `names` are the parameters, for the error message.

    Raises
    ------
    InputError
        The columns are linearly dependent to working precision.
    """
    norms = triangle.column_norms
    scaled = triangle.R / np.where(norms > 0, norms, 1)
    singular = np.linalg.svd(scaled, compute_uv=False)
    smallest = singular[-1]
    if smallest <= RANK_TOLERANCE * len(norms) * singular[0]:
        raise InputError(_dependence(scaled, names))
    inverse = linalg.solve_triangular(scaled, np.eye(len(norms))) / norms[:, None]
    condition = float(singular[0] / smallest)
    explained = float(np.linalg.norm(triangle.z))
    tangent = triangle.rho / explained if explained > 0 else 0.0
    return Solution(inverse @ triangle.z, inverse, triangle.rho**2, condition, condition**2 * tangent, 0)


def _dependence(scaled: Array, names: list[str]) -> str:
    """Name the columns that take part in the linear dependence."""
    direction = np.linalg.svd(scaled)[2][-1]
    involved = [
        name for name, share in zip(names, np.abs(direction)) if share > 1e-3 * np.max(np.abs(direction))
    ]
    shown = ", ".join(involved[:6]) + (", ..." if len(involved) > 6 else "")
    return (
        f"X has linearly dependent columns ({shown}): their coefficients are not determined; "
        "drop one of them, or use BayesianLinearRegression, whose prior decides"
    )


def refine(solution: Solution, A: Array, y: Array) -> Solution:
    """Iterative refinement of an ill-conditioned solution; `A`, `y` are already whitened.

    Notes
    -----
    Solves the augmented system  r + A x = y,  A^T r = 0  for corrections of both
    r and x, with its residuals in double-double arithmetic.
    """
    scale = np.linalg.norm(A, axis=0)
    # Powers of two, so that scaling itself is exact.
    scale = 2.0 ** np.round(np.log2(scale))
    design = A / scale
    Q, R = linalg.qr(design, mode="economic")
    x = solution.params * scale
    r = y - design @ x
    best, best_size = x, np.inf
    steps = 0
    for _ in range(MAX_REFINEMENTS):
        residual, projection = _augmented_residuals(design, x, r, y)
        transposed = linalg.solve_triangular(R, projection, trans="T")
        dx = linalg.solve_triangular(R, Q.T @ residual - transposed)
        size = float(np.max(np.abs(dx) / np.maximum(np.abs(x), np.finfo(float).tiny)))
        if not size < best_size:
            break
        r = r + residual - Q @ (Q.T @ residual) + Q @ transposed
        x = x + dx
        best, best_size = x, size
        steps += 1
        if size < 4 * np.finfo(float).eps:
            break
    inverse = linalg.solve_triangular(R, np.eye(len(x))) / scale[:, None]
    exact_r = _dot2(design, best, y)
    return replace(
        solution, params=best / scale, factor=inverse, chi2=float(exact_r @ exact_r), refinements=steps
    )


def _augmented_residuals(A: Array, x: Array, r: Array, y: Array) -> tuple[Array, Array]:
    """y - r - A x and -A^T r, both accurate to working precision."""
    products = (_two_product(column, -r) for column in A.T)
    projection = np.array([math.fsum(np.concatenate(product)) for product in products])
    return _dot2(A, x, y, r), projection


def _dot2(A: Array, x: Array, *start: Array) -> Array:
    """start[0] - start[1] - ... - A x in twice the working precision, rounded once."""
    total, error = start[0].astype(float), np.zeros(len(start[0]))
    for term in start[1:]:
        total, rounding = _two_sum(total, -term)
        error = error + rounding
    for column, value in zip(A.T, x):
        product, product_error = _two_product(column, -value)
        total, rounding = _two_sum(total, product)
        error = error + rounding + product_error
    return total + error


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _two_product(a: Any, b: Any) -> tuple[Array, Array]:
    product = a * b
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    return product, a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)


def _split(a: Any) -> tuple[Any, Any]:
    factor = 134217729.0 * a  # 2^27 + 1 halves the 53 bits of a double
    high = factor - (factor - a)
    return high, a - high
