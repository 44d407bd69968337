"""Kernels: what a Gaussian process assumes about a function."""

from statml.gp.kernels.base import Kernel
from statml.gp.kernels.composed import Product, Sum
from statml.gp.kernels.elementary import Constant, Linear, White
from statml.gp.kernels.oscillators import DRW, SHO, Rotation
from statml.gp.kernels.stationary import (
    RBF,
    Matern12,
    Matern32,
    Matern52,
    Periodic,
    RationalQuadratic,
)

__all__ = [
    "DRW",
    "RBF",
    "SHO",
    "Constant",
    "Kernel",
    "Linear",
    "Matern12",
    "Matern32",
    "Matern52",
    "Periodic",
    "Product",
    "RationalQuadratic",
    "Rotation",
    "Sum",
    "White",
]
