"""Summary statistics with their errors: counts, resampling, two-point functions (arXiv:2506.12230, chapters 2 and 3)."""

from statml.statistics.counts import OnOff, on_off, poisson_interval, signal_interval
from statml.statistics.precision import hartlap_factor, inverse_covariance
from statml.statistics.resampling import (
    Bootstrap,
    CircularBlocks,
    Groups,
    Jackknife,
    MovingBlocks,
    bootstrap,
    jackknife,
    refitted,
    residual_bootstrap,
)

__all__ = [
    "Bootstrap",
    "CircularBlocks",
    "Groups",
    "Jackknife",
    "MovingBlocks",
    "OnOff",
    "bootstrap",
    "hartlap_factor",
    "inverse_covariance",
    "jackknife",
    "on_off",
    "poisson_interval",
    "refitted",
    "residual_bootstrap",
    "signal_interval",
]
