"""Drawing from distributions: direct, importance, and Markov chain Monte Carlo (arXiv:2506.12230, chapters 12 and 13)."""
