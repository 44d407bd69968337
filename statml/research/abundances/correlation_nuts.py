"""The posterior of a correlation function's parameters by NUTS, with E1 differentiated in torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from statml.research.abundances.correlation_model import Functions
from statml.research.abundances.correlation_prior import NAMES
from statml.research.abundances.exponential_integral import torch_exp1
from statml.sampling import NUTS, Chain, Constraint, Interval, Positive, Unconstrained, sample

if TYPE_CHECKING:
    from statml.research.abundances.correlation_length import Data

Array = np.ndarray
ARRAYS = ("squared", "over", "own", "over_0")


def run(data: Data, chains: int, warmup: int, draws: int, rng: np.random.Generator) -> Chain:
    """A chain of the four parameters, in the order of `NAMES`."""
    target = Unconstrained(log_posterior(data), _constraints(data))
    # Away from the walls of the prior, where a chain would start with a flat gradient.
    starts = data.prior.draws(rng.uniform(0.2, 0.8, (chains, len(NAMES))))[:, : target.parameters]
    chain = sample(
        target,
        target.free(starts),
        sampler=NUTS(dense=True),
        draws=draws,
        warmup=warmup,
        rng=rng,
        progress=False,
    )

    def back(z: Array) -> Array:
        values = target.constrain(z)
        missing = len(NAMES) - values.shape[-1]
        return np.concatenate([values, np.zeros((*values.shape[:-1], missing))], axis=-1)

    full = chain.transformed(back, NAMES)
    return full if data.prior.beam_pc is not None else _without_beam(full)


def log_posterior(data: Data) -> Any:
    """Log density of parameters (..., 3 or 4) in torch, up to a constant."""
    import torch

    arrays = {name: torch.as_tensor(getattr(data.expected, name)) for name in ARRAYS}
    expected = replace(data.expected, **arrays)  # type: ignore[arg-type]
    xi, precision = torch.as_tensor(data.xi), torch.as_tensor(data.precision)
    functions = Functions(torch_exp1(), torch.log)

    def log_prob(p: Any) -> Any:
        sigma_inj, ln_kappa_t, dilution = (p[..., i, None] for i in range(3))
        variance, log_prior = sigma_inj**2, 0.0
        if data.prior.beam_pc is not None:
            mean, error = data.prior.beam_pc
            variance = variance + p[..., 3, None] ** 2
            log_prior = -0.5 * ((p[..., 3] - mean) / error) ** 2
        off = expected(variance, torch.exp(ln_kappa_t), dilution, functions) - xi
        return log_prior - 0.5 * torch.einsum("...i,ij,...j->...", off, precision, off)

    return log_prob


def _constraints(data: Data) -> list[Constraint]:
    found: list[Constraint] = [Interval(float(low), float(high)) for low, high in data.prior.limits]
    return found if data.prior.beam_pc is None else [*found, Positive()]


def _without_beam(chain: Chain) -> Chain:
    """The chain without the column of zeros, whose R-hat does not exist."""
    return chain.transformed(lambda x: x[..., :3], NAMES[:3])
