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

from statml.gp.kernels import Kernel
from statml.gp.state_space.block_filter import (
    BlockFilter,
    as_array,
    block_rows,
    has_white,
    refuse_singular,
)
from statml.gp.state_space.chain import Chain, chain, exposed_chain
from statml.gp.state_space.forms import Form, form, white_variance
from statml.gp.state_space.recursion import filter_backward, filter_forward
from statml.gp.state_space.scan import scan_terms

Array = np.ndarray
Tensor = torch.Tensor


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
        plain = sampling.exposure is None and sampling.bands is None and not scan
        self.chain: Chain | None = None
        self.white: Tensor | None
        self.filter = BlockFilter.of(kernel, theta.detach().cpu().numpy()) if plain else None
        if self.filter is not None:
            self.rows = block_rows(kernel, theta)
            self.white = white_variance(kernel, theta) if has_white(kernel) else None
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
                refuse_singular(smallest.item(), variance.item(), logdet.item())
                return logdet, quadratic
            return _ChainTerms.apply(y, noise, self.chain.A, self.chain.Q, self.chain.h)
        t = self.t
        if not math.isfinite(noise.sum().item()):
            finite = torch.isfinite(noise)
            t, y, noise = t[finite], y[finite], noise[finite]
        assert self.filter is not None
        return self.filter.terms(t, y, noise, self.rows)


def build_chain(found: Form, sampling: Sampling, factor: Tensor | None) -> Chain:
    """The chain of a form at the times of a sampling."""
    loadings = None if sampling.bands is None or factor is None else factor[sampling.bands]
    if sampling.exposure is not None:
        return exposed_chain(found, sampling.t, sampling.exposure, loadings)
    return chain(found, sampling.t, loadings)


class _ChainTerms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, noise: Tensor, A: Tensor, Q: Tensor, h: Tensor) -> Any:
        arrays = [as_array(value) for value in (y, noise, A, Q, h)]
        means, covariances = np.empty(arrays[4].shape), np.empty(arrays[2].shape)
        logdet, quadratic, smallest = filter_forward(*arrays, means, covariances)
        refuse_singular(smallest, float(np.max(np.diagonal(arrays[3][0]))), logdet)
        ctx.saved = arrays, means, covariances
        return torch.tensor(logdet, dtype=torch.float64), torch.tensor(quadratic, dtype=torch.float64)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (y, noise, A, Q, h), means, covariances = ctx.saved
        bars = [np.empty(value.shape) for value in (y, noise, A, Q, h)]
        filter_backward(y, noise, A, h, means, covariances, float(gradients[0]), float(gradients[1]), *bars)
        return tuple(map(torch.from_numpy, bars))
