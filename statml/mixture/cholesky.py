"""Cholesky factors of very many small matrices at once, column by column.

A matrix T of n objects is a list of m arrays: ``columns[k]`` holds column k from the
diagonal down, shape (m - k + 1, n). Objects lie along the last axis, so each step is
one operation over long contiguous rows, where a loop over matrices (or LAPACK called on
each) spends its time on everything but arithmetic. The last row of each column is one
entry of a right-hand side z that rides along: it leaves as y = L^-1 z.

The functions are written with operators alone; they take NumPy arrays and torch tensors.
"""

from __future__ import annotations

from typing import Any

# Diagonal entries multiplied before one logarithm is taken: few enough not to underflow.
FACTORS_OF_A_LOG = 8


def factorise(columns: list[Any], xp: Any) -> None:
    """Overwrite T with its lower Cholesky factor L, and the right-hand side z with L^-1 z."""
    for k, column in enumerate(columns):
        root = xp.sqrt(column[0])
        column[1:] *= 1.0 / root
        column[0] = root
        for other in range(k + 1, len(columns)):
            columns[other] -= column[other - k] * column[other - k :]


def half_log_determinant(columns: list[Any], xp: Any) -> Any:
    """log det L, shape (n,)."""
    total: Any = 0.0
    for first in range(0, len(columns), FACTORS_OF_A_LOG):
        product = columns[first][0]
        for column in columns[first + 1 : first + FACTORS_OF_A_LOG]:
            product = product * column[0]
        total = total + xp.log(product)
    return total


def squared_length(columns: list[Any]) -> Any:
    """z^T T^-1 z = |y|^2, shape (n,)."""
    total = columns[0][-1] ** 2
    for column in columns[1:]:
        total = total + column[-1] ** 2
    return total


def inverse_rows(columns: list[Any], xp: Any) -> list[Any]:
    """L^-1, row by row: entry k has shape (k + 1, n)."""
    rows: list[Any] = []
    for k, column in enumerate(columns):
        row = xp.zeros_like(columns[0][: k + 1])
        for other in range(k):
            row[: other + 1] -= columns[other][k - other] * rows[other]
        row[k] = 1.0
        row *= 1.0 / column[0]
        rows.append(row)
    return rows


def solved_rows(columns: list[Any], right: Any) -> list[Any]:
    """L^-1 R for right-hand sides R of shape (m, d, n): m rows of shape (d, n)."""
    rows: list[Any] = []
    for k, column in enumerate(columns):
        row = right[k] + 0.0  # a copy
        for other in range(k):
            row -= columns[other][k - other] * rows[other]
        row *= 1.0 / column[0]
        rows.append(row)
    return rows


def packed_sum(rows: list[Any], weights: Any, xp: Any) -> Any:
    """sum_i w_i M_i^T M_i of matrices given by rows, (d, d) with d the length of the last row."""
    d = rows[-1].shape[0]
    total = xp.zeros((d, d), dtype=rows[-1].dtype, device=rows[-1].device)
    for row in rows:
        width = row.shape[0]
        total[:width, :width] += (row * weights) @ row.T
    return total


def transposed_times(rows: list[Any], columns: list[Any]) -> Any:
    """M_i^T y_i, (d, n): with M = L^-1 it is T^-1 z."""
    total = rows[-1] * columns[-1][-1]
    for row, column in zip(rows[:-1], columns[:-1]):
        total[: row.shape[0]] += row * column[-1]
    return total
