"""The compiled filter of a sum of blocks: with numbers, and as a function whose derivatives torch can use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from statml.errors import InputError
from statml.gp.kernels import Kernel, White
from statml.gp.state_space.forms import Block, blocks, leaves, white_variance
from statml.gp.state_space.unrolled import CHUNK, MOST_STATES, compiled_filter, kept_size

Array = np.ndarray
Tensor = torch.Tensor

# Roundings of the variance of a process that may hide that of a new value given the others.
ROUNDING = 4
LOG_2PI = math.log(2 * math.pi)
# Of the complex step: so small that its square is nothing.
COMPLEX_STEP = 1e-30


class SingularError(InputError):
    """The covariance of the data is not positive definite."""

    def __init__(self) -> None:
        super().__init__(
            "the covariance of the data is singular to rounding; accepted are errors y_err > 0, "
            "or times that are far enough apart"
        )


def singular_below(variance: float) -> float:
    """What is left of a variance when all of it should be known, by rounding."""
    return ROUNDING * float(np.finfo(float).eps) * variance


def refuse_singular(smallest: float, variance: float, logdet: float) -> None:
    """Raise `SingularError` where the smallest D is rounding."""
    if not (smallest > singular_below(variance) and math.isfinite(logdet)):
        raise SingularError


@dataclass(frozen=True)
class BlockFilter:
    """A kernel as arguments of the compiled filter, with its white variance."""

    orders: tuple[int, ...]
    kinds: Array
    rows: Array
    white: float

    @classmethod
    def of(cls, kernel: Kernel, theta: Array | None = None) -> BlockFilter | None:
        """With the kernel's log hyperparameters or others; None where it is no small sum of blocks."""
        theta = kernel.theta if theta is None else theta
        parts = _sorted_blocks(kernel, theta)
        if not parts or sum(part.order for part in parts) > MOST_STATES:
            return None
        return cls(
            tuple(part.order for part in parts),
            np.array([part.kind for part in parts]),
            np.array([[part.variance, part.decay, part.frequency] for part in parts]).T.copy(),
            white_variance(kernel, torch.from_numpy(theta)).item() if has_white(kernel) else 0.0,
        )

    @property
    def lowest(self) -> float:
        """Below this the variance of a value given the others is rounding."""
        return singular_below(float(np.sum(self.rows[0])))

    def terms(self, t: Tensor, y: Tensor, noise: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """log det K and y^T K^-1 y, differentiable in all tensors; `rows` are those of `block_rows`."""
        return _BlockTerms.apply(t, y, noise, rows, self.orders, self.kinds)

    def log_likelihood(self, t: Array, y: Array, noise: Array) -> float:
        """Of a sorted series whose errors are finite, without derivatives."""
        noise = noise + self.white if self.white else noise
        kept = np.empty((0, kept_size(self.orders)))
        function = compiled_filter(self.orders)[0]
        logdet, quadratic, smallest = function(t, y, noise, self.kinds, *self.rows, kept)
        if not (smallest > self.lowest and math.isfinite(logdet)):
            raise SingularError
        return -0.5 * (logdet + quadratic + len(t) * LOG_2PI)


def has_white(kernel: Kernel) -> bool:
    """Whether a part of the kernel is `White`."""
    return any(isinstance(leaf, White) for leaf in leaves(kernel))


def block_rows(kernel: Kernel, theta: Tensor) -> Tensor:
    """Variances, decays and frequencies of the blocks, a tensor (3, blocks), differentiable in theta."""
    return _Rows.apply(theta, kernel)


class _Rows(torch.autograd.Function):
    """A few numbers of a few numbers, for which a graph of tensors would take longer than a short series."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, kernel: Kernel) -> Tensor:
        ctx.kernel, ctx.theta = kernel, theta.detach().numpy()
        return torch.from_numpy(_row_values(kernel, ctx.theta))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return torch.from_numpy(_pull_back(ctx.kernel, ctx.theta, gradients[0].numpy())), None


def _pull_back(kernel: Kernel, theta: Array, by_rows: Array) -> Array:
    """Derivatives by theta from those by the rows.

    The Jacobian is that of a complex step, f(x + ih) = f(x) + ih f'(x), exact to rounding
    (Squire & Trapp 1998).
    """
    by_theta = np.empty(len(theta))
    for j in range(len(theta)):
        moved = theta.astype(complex)
        moved[j] += 1j * COMPLEX_STEP
        by_theta[j] = np.sum(by_rows * _row_values(kernel, moved).imag) / COMPLEX_STEP
    return by_theta


def log_likelihood_gradient(
    kernel: Kernel, theta: Array, t: Array, y: Array, noise: Array
) -> tuple[float, Array, float] | None:
    """Log likelihood of a sorted series of finite errors, and its derivatives by theta and by a variance added to all.

    What `BlockFilter.terms` and torch give, without the tensors, whose overhead is that of some thousand
    points. None where the kernel is no small sum of blocks, or has scatter of its own.
    """
    found = None if has_white(kernel) else BlockFilter.of(kernel, theta)
    if found is None:
        return None
    n, blocks = len(t), len(found.orders)
    forward, backward = compiled_filter(found.orders)
    kept = np.empty((-(-n // CHUNK), kept_size(found.orders)))
    arguments = (t, y, noise, found.kinds, *found.rows, kept)
    logdet, quadratic, smallest = forward(*arguments)
    refuse_singular(smallest, float(np.sum(found.rows[0])), logdet)
    by_noise, by_rows = np.empty(n), np.empty((blocks, 3))
    backward(*arguments, -0.5, -0.5, np.empty(n), by_noise, np.empty(n), by_rows)
    value = -0.5 * (logdet + quadratic + n * LOG_2PI)
    return value, _pull_back(kernel, theta, by_rows.T), float(by_noise.sum())


def _row_values(kernel: Kernel, theta: Array) -> Array:
    parts = _sorted_blocks(kernel, theta)
    assert parts is not None
    return np.array([[part.variance, part.decay, part.frequency] for part in parts]).T.copy()


def _sorted_blocks(kernel: Kernel, theta: Array) -> list[Block] | None:
    """First-order blocks first, so that there are fewer functions to compile."""
    parts = blocks(kernel, theta)
    return None if parts is None else sorted(parts, key=lambda part: part.order)


class _BlockTerms(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, t: Tensor, y: Tensor, noise: Tensor, rows: Tensor, orders: tuple, kinds: Array
    ) -> Any:
        n = len(t)
        keep = any(ctx.needs_input_grad)
        kept = np.empty((-(-n // CHUNK) if keep else 0, kept_size(orders)))
        arrays = [as_array(value) for value in (t, y, noise)]
        q, c, w = as_array(rows)
        function, ctx.function = compiled_filter(orders)
        logdet, quadratic, smallest = function(*arrays, kinds, q, c, w, kept)
        refuse_singular(smallest, float(np.sum(q)), logdet)
        ctx.saved = (*arrays, kinds, q, c, w, kept)
        return torch.tensor(logdet, dtype=torch.float64), torch.tensor(quadratic, dtype=torch.float64)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        n, blocks = len(ctx.saved[0]), len(ctx.saved[4])
        y_bar, noise_bar, step_bar = np.empty(n), np.empty(n), np.empty(n)
        rows_bar = np.empty((blocks, 3))
        by_logdet, by_quadratic = float(gradients[0]), float(gradients[1])
        ctx.function(*ctx.saved, by_logdet, by_quadratic, y_bar, noise_bar, step_bar, rows_bar)
        # A time ends one step and begins the next.
        t_bar = -step_bar
        t_bar[1:] += step_bar[:-1]
        return (*map(torch.from_numpy, (t_bar, y_bar, noise_bar, rows_bar.T.copy())), None, None)


def as_array(value: Tensor) -> Array:
    """The numbers of a tensor on the CPU, in order."""
    return np.ascontiguousarray(value.detach().numpy())
