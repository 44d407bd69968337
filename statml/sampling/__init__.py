"""Drawing from distributions: direct, importance, and Markov chain Monte Carlo (arXiv:2506.12230, chapters 12 and 13).

`sample` runs a Markov chain and returns a `Chain`; what is known of convergence is in
`statml.sampling.diagnostics`.
"""

from statml.sampling.chain import Chain
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

__all__ = [
    "HMC",
    "NUTS",
    "Chain",
    "Ensemble",
    "Gibbs",
    "LogEvidence",
    "Metropolis",
    "Sampler",
    "Tempering",
    "ValueAndGradient",
    "sample",
]
