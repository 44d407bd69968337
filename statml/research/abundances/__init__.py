"""Correlations between elemental abundances (arXiv:2507.14572)."""

__all__: list[str] = []
