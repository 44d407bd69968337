"""Gaussian processes (arXiv:2506.12230, chapters 14-15); needs the extra ``neural`` (torch)."""

from importlib.util import find_spec

from statml.errors import MissingExtraError

if find_spec("torch") is None:
    raise MissingExtraError("statml.gp needs torch: pip install 'statml[neural]'")

from statml.gp.classifier import GaussianProcessClassifier
from statml.gp.kernels import (
    DRW,
    RBF,
    SHO,
    Constant,
    Kernel,
    Linear,
    Matern12,
    Matern32,
    Matern52,
    Periodic,
    Product,
    RationalQuadratic,
    Rotation,
    Sum,
    White,
)
from statml.gp.regressor import GaussianProcessRegressor

__all__ = [
    "DRW",
    "RBF",
    "SHO",
    "Constant",
    "GaussianProcessClassifier",
    "GaussianProcessRegressor",
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
