"""Straight lines through points with errors in both coordinates (arXiv:2506.12230, chapter 6)."""
