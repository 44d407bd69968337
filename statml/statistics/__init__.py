"""Summary statistics with their errors: counts, resampling, two-point functions (arXiv:2506.12230, chapters 2 and 3)."""
