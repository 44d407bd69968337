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
from statml.research.abundances.correlation_length import CorrelationLength, fit_correlation_length
from statml.research.abundances.correlation_model import Window
from statml.research.abundances.correlation_prior import CorrelationPrior
from statml.research.abundances.covariance import covariance, mean, power_spectrum, scatter_dex
from statml.research.abundances.deprojection import Gradient, deproject, remove_gradient
from statml.research.abundances.environment import Environment
from statml.research.abundances.fields import Fields, Measured
from statml.research.abundances.gradient import CorrelationGradient, correlation_gradient
from statml.research.abundances.kernel import kernel
from statml.research.abundances.observation import observe_gas, observe_stars
from statml.research.abundances.one_point import cumulant, pdf
from statml.research.abundances.simulate import simulate
from statml.research.abundances.two_point import PointCorrelation, two_point

__all__ = [
    "AGB",
    "CCSN",
    "CHANNELS",
    "SNIA",
    "Channel",
    "CorrelationGradient",
    "CorrelationLength",
    "CorrelationMatrix",
    "CorrelationPrior",
    "Element",
    "Environment",
    "Fields",
    "Gradient",
    "Measured",
    "PointCorrelation",
    "Production",
    "Window",
    "correlation_gradient",
    "correlation_matrix",
    "covariance",
    "cumulant",
    "deproject",
    "fit_correlation_length",
    "kernel",
    "load_elements",
    "mean",
    "observe_gas",
    "observe_stars",
    "pdf",
    "power_spectrum",
    "remove_gradient",
    "scatter_dex",
    "simulate",
    "two_point",
]
