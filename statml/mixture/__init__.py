"""Clusters and mixtures of noisy and incomplete data (arXiv:2506.12230, chapter 11)."""

from statml.mixture.deconvolution import ExtremeDeconvolution
from statml.mixture.gaussian import GaussianMixture
from statml.mixture.kmeans import KMeans
from statml.mixture.mixture_stack import MixtureStack

__all__ = ["ExtremeDeconvolution", "GaussianMixture", "KMeans", "MixtureStack"]
