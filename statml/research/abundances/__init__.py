"""Correlations between elemental abundances in the interstellar medium and young stars (arXiv:2507.14572).

Why do some elements vary together from place to place and others not? Clusters inject metals through three
channels, each with its own delay and width, into gas that mixes by diffusion; two elements are alike as far
as their channels, delays and widths are. Reproduced: the covariance of two elements in closed form, the 42 x
42 matrix of correlations, what noise and beams make of it, and the comparison with four samples of stars,
beside baselines without physics and with errors. Not the paper's: the kernel of drifting clusters, derived
and simulated anew (the released one is there as ``drift="aligned"``), rare events, whole delay curves, the
simulator of maps, and the inference of an unknown channel. Not reproduced: a scatter of 0.1 dex, and
parameters of the r-process, which present correlations do not determine. Left out: shear, gas flows,
gradients, the thickness of discs, bursts of star formation.
"""

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
from statml.research.abundances.gaussian_field import gaussian_fields
from statml.research.abundances.gradient import CorrelationGradient, correlation_gradient
from statml.research.abundances.kernel import kernel
from statml.research.abundances.observation import observe_gas, observe_stars, through_beam
from statml.research.abundances.one_point import cumulant, pdf
from statml.research.abundances.r_process import Priors, RProcessPosterior, infer_r_process
from statml.research.abundances.samples import Sample, load_sample
from statml.research.abundances.simulate import simulate
from statml.research.abundances.stellar import Score, difference, predictions, scores
from statml.research.abundances.trials import known_element_trials, verdicts
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
    "Priors",
    "Production",
    "RProcessPosterior",
    "Sample",
    "Score",
    "Window",
    "correlation_gradient",
    "correlation_matrix",
    "covariance",
    "cumulant",
    "deproject",
    "difference",
    "fit_correlation_length",
    "gaussian_fields",
    "infer_r_process",
    "kernel",
    "known_element_trials",
    "load_elements",
    "load_sample",
    "mean",
    "observe_gas",
    "observe_stars",
    "pdf",
    "power_spectrum",
    "predictions",
    "remove_gradient",
    "scatter_dex",
    "scores",
    "simulate",
    "through_beam",
    "two_point",
    "verdicts",
]
