"""Summary statistics with their errors: counts, resampling, two-point functions (arXiv:2506.12230, chapters 2 and 3)."""

from statml.statistics.counts import OnOff, on_off, poisson_interval, signal_interval
from statml.statistics.field import FieldCorrelation, field_correlation, integral_constraint
from statml.statistics.overdensity import (
    Overdensity,
    OverdensitySearch,
    search_marked,
    search_overdensities,
)
from statml.statistics.pairs import pair_counts
from statml.statistics.precision import hartlap_factor, inverse_covariance
from statml.statistics.resampling import (
    Bootstrap,
    Jackknife,
    bootstrap,
    jackknife,
    refitted,
    residual_bootstrap,
)
from statml.statistics.schemes import CircularBlocks, Groups, MovingBlocks
from statml.statistics.two_point import TwoPoint, two_point
from statml.statistics.windows import RandomPoints, Rectangle

__all__ = [
    "Bootstrap",
    "CircularBlocks",
    "FieldCorrelation",
    "Groups",
    "Jackknife",
    "MovingBlocks",
    "OnOff",
    "Overdensity",
    "OverdensitySearch",
    "RandomPoints",
    "Rectangle",
    "TwoPoint",
    "bootstrap",
    "field_correlation",
    "hartlap_factor",
    "integral_constraint",
    "inverse_covariance",
    "jackknife",
    "on_off",
    "pair_counts",
    "poisson_interval",
    "refitted",
    "residual_bootstrap",
    "search_marked",
    "search_overdensities",
    "signal_interval",
    "two_point",
]
