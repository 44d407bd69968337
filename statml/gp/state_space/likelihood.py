r"""log det K and y^T K^-1 y of a process observed with independent noise, in O(n), with derivatives.

Sums of first- and second-order blocks go through the compiled filter of
`statml.gp.state_space.unrolled`; everything else (Matern 5/2, products, bands, exposures) through
the matrices of a `Chain`. On a CUDA device, where steps that wait for each other are slow, the chain
is filtered by a parallel scan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from statml.errors import InputError
from statml.gp.kernels import Kernel, White
from statml.gp.state_space.chain import Chain, chain, exposed_chain
from statml.gp.state_space.forms import Block, Form, blocks, form, leaves
from statml.gp.state_space.recursion import filter_backward, filter_forward
from statml.gp.state_space.scan import scan_terms
from statml.gp.state_space.unrolled import CHUNK, MOST_STATES, compiled_filter, kept_size

Array = np.ndarray
Tensor = torch.Tensor
# Roundings of the variance of a process that may hide that of a new value given the others.
ROUNDING = 4
LOG_2PI = math.log(2 * math.pi)


class SingularError(InputError):
    """The covariance of the data is not positive definite."""

    def __init__(self) -> None:
        super().__init__(
            "the covariance of the data is singular to rounding; accepted are errors y_err > 0, "
            "or times that are far enough apart"
        )


@dataclass(frozen=True)
class Sampling:
    """When and how values were taken: sorted times (n,), and where there are any, exposures and bands."""

    t: Tensor
    exposure: Tensor | None = None
    bands: Tensor | None = None


class Terms:
    """The two terms of the likelihood as functions of values and noise, at fixed hyperparameters.

    Parameters
    ----------
    kernel : Kernel
    theta : tensor (k,)
        Log hyperparameters.
    sampling : Sampling
    factor : tensor (b, r), optional
        L, where the covariance between bands is L L^T.
    scan : bool
        Filter by a parallel scan.
    """

    def __init__(
        self,
        kernel: Kernel,
        theta: Tensor,
        sampling: Sampling,
        factor: Tensor | None = None,
        *,
        scan: bool = False,
    ) -> None:
        self.scan = scan
        self.t = sampling.t
        parts = blocks(kernel, theta)
        plain = sampling.exposure is None and sampling.bands is None and not scan
        self.chain: Chain | None = None
        self.blocks: list[Block] = []
        self.white: Tensor | None
        if plain and parts and sum(part.order for part in parts) <= MOST_STATES:
            # first-order blocks first, so that there are fewer functions to compile
            self.blocks = sorted(parts, key=lambda part: part.order)
            self.white = _white(kernel, theta) if _may_be_white(kernel) else None
        else:
            found = form(kernel, theta)
            self.white = found.white
            self.chain = build_chain(found, sampling, factor)

    def __call__(self, y: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """log det K and y^T K^-1 y, () each.

        Parameters
        ----------
        y, noise : tensors (n,)
            Values, and variances of their errors; an infinite one takes the value away.

        Raises
        ------
        SingularError
            K is not positive definite.
        """
        noise = noise if self.white is None else noise + self.white
        if self.chain is not None:
            m = len(self.chain.A)
            y = torch.zeros(m, dtype=y.dtype, device=y.device).index_put((self.chain.at,), y)
            noise = torch.full((m,), math.inf, dtype=y.dtype, device=y.device).index_put(
                (self.chain.at,), noise
            )
            if self.scan:
                logdet, quadratic, smallest = scan_terms(y, noise, self.chain.A, self.chain.Q, self.chain.h)
                variance = torch.diagonal(self.chain.Q[0]).max()
                _refuse_singular(smallest.item(), variance.item(), logdet.item())
                return logdet, quadratic
            return _ChainTerms.apply(y, noise, self.chain.A, self.chain.Q, self.chain.h)
        t = self.t
        if not math.isfinite(noise.sum().item()):
            finite = torch.isfinite(noise)
            t, y, noise = t[finite], y[finite], noise[finite]
        rows = torch.stack([torch.stack([b.variance, b.decay, b.frequency]) for b in self.blocks])
        orders = tuple(block.order for block in self.blocks)
        kinds = np.array([block.kind for block in self.blocks])
        return _BlockTerms.apply(t, y, noise, rows, orders, kinds)


@dataclass(frozen=True)
class BlockFilter:
    """A kernel as arguments of the compiled filter, with its white variance."""

    orders: tuple[int, ...]
    kinds: Array
    rows: Array
    white: float

    @classmethod
    def of(cls, kernel: Kernel) -> BlockFilter | None:
        """None where the kernel is no sum of blocks, or one of too many states."""
        parts = blocks(kernel, kernel.theta)
        if not parts or sum(part.order for part in parts) > MOST_STATES:
            return None
        parts = sorted(parts, key=lambda part: part.order)
        return cls(
            tuple(part.order for part in parts),
            np.array([part.kind for part in parts]),
            np.array([[part.variance, part.decay, part.frequency] for part in parts]).T.copy(),
            _white(kernel, torch.from_numpy(kernel.theta)).item() if _may_be_white(kernel) else 0.0,
        )

    @property
    def lowest(self) -> float:
        """Below this the variance of a value given the others is rounding."""
        return singular_below(float(np.sum(self.rows[0])))

    def log_likelihood(self, t: Array, y: Array, noise: Array) -> float:
        """Of a sorted series whose errors are finite, without derivatives."""
        noise = noise + self.white if self.white else noise
        kept = np.empty((0, kept_size(self.orders)))
        function = compiled_filter(self.orders)[0]
        logdet, quadratic, smallest = function(t, y, noise, self.kinds, *self.rows, kept)
        if not (smallest > self.lowest and math.isfinite(logdet)):
            raise SingularError
        return -0.5 * (logdet + quadratic + len(t) * LOG_2PI)


def _may_be_white(kernel: Kernel) -> bool:
    return any(isinstance(leaf, White) for leaf in leaves(kernel))


def build_chain(found: Form, sampling: Sampling, factor: Tensor | None) -> Chain:
    """The chain of a form at the times of a sampling."""
    loadings = None if sampling.bands is None or factor is None else factor[sampling.bands]
    if sampling.exposure is not None:
        return exposed_chain(found, sampling.t, sampling.exposure, loadings)
    return chain(found, sampling.t, loadings)


def _white(kernel: Kernel, theta: Tensor) -> Tensor:
    return kernel.independent_variance(torch.zeros(1, 1, dtype=theta.dtype), theta)[0]


def singular_below(variance: float) -> float:
    """What is left of a variance when all of it should be known, by rounding."""
    return ROUNDING * float(np.finfo(float).eps) * variance


def _refuse_singular(smallest: float, variance: float, logdet: float) -> None:
    if not (smallest > singular_below(variance) and math.isfinite(logdet)):
        raise SingularError


class _BlockTerms(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, t: Tensor, y: Tensor, noise: Tensor, rows: Tensor, orders: tuple, kinds: Array
    ) -> Any:
        n = len(t)
        keep = any(ctx.needs_input_grad)
        kept = np.empty((-(-n // CHUNK) if keep else 0, kept_size(orders)))
        arrays = [_array(value) for value in (t, y, noise)]
        q, c, w = np.ascontiguousarray(_array(rows).T)
        function, ctx.function = compiled_filter(orders)
        logdet, quadratic, smallest = function(*arrays, kinds, q, c, w, kept)
        _refuse_singular(smallest, float(np.sum(q)), logdet)
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
        return (*map(torch.from_numpy, (t_bar, y_bar, noise_bar, rows_bar)), None, None)


class _ChainTerms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, noise: Tensor, A: Tensor, Q: Tensor, h: Tensor) -> Any:
        arrays = [_array(value) for value in (y, noise, A, Q, h)]
        means, covariances = np.empty(arrays[4].shape), np.empty(arrays[2].shape)
        logdet, quadratic, smallest = filter_forward(*arrays, means, covariances)
        _refuse_singular(smallest, float(np.max(np.diagonal(arrays[3][0]))), logdet)
        ctx.saved = arrays, means, covariances
        return torch.tensor(logdet, dtype=torch.float64), torch.tensor(quadratic, dtype=torch.float64)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (y, noise, A, Q, h), means, covariances = ctx.saved
        bars = [np.empty(value.shape) for value in (y, noise, A, Q, h)]
        filter_backward(y, noise, A, h, means, covariances, float(gradients[0]), float(gradients[1]), *bars)
        return tuple(map(torch.from_numpy, bars))


def _array(value: Tensor) -> Array:
    return np.ascontiguousarray(value.detach().numpy())
