"""Drawing from distributions: direct, importance, and Markov chain Monte Carlo (arXiv:2506.12230, chapters 12 and 13).

`sample` runs a Markov chain and returns a `Chain`; what is known of convergence is in
`statml.sampling.diagnostics`. `inverse_cdf`, `rejection` and `importance` return independent
`WeightedDraws`. `Unconstrained` removes the limits of parameters.
"""

from statml.sampling.chain import Chain
from statml.sampling.constraints import Constraint, Interval, Ordered, Positive, Real, Unconstrained
from statml.sampling.direct import importance, inverse_cdf, rejection
from statml.sampling.ensemble import Ensemble
from statml.sampling.evidence import LogEvidence
from statml.sampling.gibbs import Gibbs
from statml.sampling.hmc import HMC
from statml.sampling.metropolis import Metropolis
from statml.sampling.nuts import NUTS
from statml.sampling.run import sample
from statml.sampling.target import ValueAndGradient
from statml.sampling.tempering import Tempering
from statml.sampling.transition import Sampler
from statml.sampling.weighted import WeightedDraws

__all__ = [
    "HMC",
    "NUTS",
    "Chain",
    "Constraint",
    "Ensemble",
    "Gibbs",
    "Interval",
    "LogEvidence",
    "Metropolis",
    "Ordered",
    "Positive",
    "Real",
    "Sampler",
    "Tempering",
    "Unconstrained",
    "ValueAndGradient",
    "WeightedDraws",
    "importance",
    "inverse_cdf",
    "rejection",
    "sample",
]
