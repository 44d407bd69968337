"""Dimension reduction of noisy and incomplete data (arXiv:2506.12230, chapter 10)."""

from statml.decomposition.heteroscedastic import HeteroscedasticPCA
from statml.decomposition.pca import PCA
from statml.decomposition.probabilistic import ProbabilisticPCA
from statml.decomposition.scores import ScoreDistribution

__all__ = ["PCA", "HeteroscedasticPCA", "ProbabilisticPCA", "ScoreDistribution"]
