"""Dimension reduction of noisy and incomplete data (arXiv:2506.12230, chapter 10)."""

from statml.decomposition.pca import PCA

__all__ = ["PCA"]
