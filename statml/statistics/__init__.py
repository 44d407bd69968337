"""Summary statistics with their errors: counts, resampling, two-point functions (arXiv:2506.12230, chapters 2 and 3)."""

from statml.statistics.counts import OnOff, on_off, poisson_interval, signal_interval

__all__ = ["OnOff", "on_off", "poisson_interval", "signal_interval"]
