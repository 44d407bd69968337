"""The same posterior as a PyMC model, for those who want to extend it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from statml.errors import MissingExtraError
from statml.research.abundances.correlation_model import Functions
from statml.research.abundances.correlation_prior import NAMES
from statml.research.abundances.exponential_integral import pytensor_exp1

if TYPE_CHECKING:
    from statml.research.abundances.correlation_length import Data

Array = np.ndarray


def build_model(data: Data) -> Any:
    """The PyMC model: three parameters, and the beam where there is one."""
    try:
        import pymc as pm
        import pytensor.tensor as pt
    except ImportError as error:
        raise MissingExtraError("method='pymc' needs pymc: pip install 'statml[bayes]'") from error
    limits = dict(zip(NAMES, data.prior.limits))
    with pm.Model() as model:
        sigma_inj, ln_kappa_t, dilution = (pm.Uniform(name, *limits[name]) for name in NAMES[:3])
        variance = sigma_inj**2
        if data.prior.beam_pc is not None:
            mean, spread = data.prior.beam_pc
            variance = variance + pm.TruncatedNormal("beam", mu=mean, sigma=spread, lower=0) ** 2
        # Parameters (1,) beside separations (k,).
        variance, kappa_t, diluted = (pt.atleast_1d(x) for x in (variance, pt.exp(ln_kappa_t), dilution))
        off = data.expected(variance, kappa_t, diluted, Functions(pytensor_exp1(), pt.log)) - data.xi
        pm.Potential("likelihood", -0.5 * pt.dot(off, pt.dot(data.precision, off)))
    return model


def run(data: Data, chains: int, warmup: int, draws: int, rng: np.random.Generator) -> tuple[Any, Array]:
    """ArviZ's record of the run, and draws (chains * draws, 4) in the order of `NAMES`."""
    model = build_model(data)
    import pymc as pm

    log = logging.getLogger("pymc")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with model:
            found = pm.sample(
                draws=draws,
                tune=warmup,
                chains=chains,
                cores=1,
                target_accept=0.9,
                random_seed=int(rng.integers(2**31)),
                progressbar=False,
                compute_convergence_checks=False,
            )
    finally:
        log.setLevel(level)
    posterior = found.posterior
    columns = [
        np.asarray(posterior[name]).ravel() if name in posterior else np.zeros(chains * draws)
        for name in NAMES
    ]
    return found, np.stack(columns, axis=1)
