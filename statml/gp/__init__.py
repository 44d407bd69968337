"""Gaussian processes (arXiv:2506.12230, chapters 14-15); needs the extra ``neural`` (torch)."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from statml.errors import MissingExtraError

if find_spec("torch") is None:
    raise MissingExtraError("statml.gp needs torch: pip install 'statml[neural]'")

from statml.gp.averaged import AveragedGP
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
from statml.gp.sparse import SparseGaussianProcess

__all__ = [
    "DRW",
    "RBF",
    "SHO",
    "AveragedGP",
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
    "SparseGaussianProcess",
    "StateSpaceGP",
    "Sum",
    "White",
]


def __getattr__(name: str) -> Any:
    # Compiled by numba, which is an extra of its own and slow to import.
    if name == "StateSpaceGP":
        return import_module("statml.gp.state_space").StateSpaceGP
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
