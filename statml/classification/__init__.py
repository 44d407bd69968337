"""Classification: class probabilities from features with errors (arXiv:2506.12230, chapters 7 to 9)."""
