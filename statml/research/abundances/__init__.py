"""Correlations between elemental abundances in the interstellar medium and young stars (arXiv:2507.14572)."""

from statml.research.abundances.channels import (
    AGB,
    CCSN,
    CHANNELS,
    SNIA,
    Channel,
    Element,
    Production,
    load_elements,
)
from statml.research.abundances.correlation import CorrelationMatrix, correlation_matrix
from statml.research.abundances.covariance import covariance, mean, power_spectrum, scatter_dex
from statml.research.abundances.environment import Environment
from statml.research.abundances.kernel import kernel

__all__ = [
    "AGB",
    "CCSN",
    "CHANNELS",
    "SNIA",
    "Channel",
    "CorrelationMatrix",
    "Element",
    "Environment",
    "Production",
    "correlation_matrix",
    "covariance",
    "kernel",
    "load_elements",
    "mean",
    "power_spectrum",
    "scatter_dex",
]
