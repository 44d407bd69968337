"""What the regressions over a Gaussian process share: their kernel and scatter checked, and the scatter's place."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from statml.errors import InputError, InputTypeError
from statml.gp.kernels.base import Kernel

Array = np.ndarray


def check_kernel_and_scatter(kernel: Any, scatter: Any, optimise: bool) -> None:
    """Raise `InputError` or `InputTypeError` where one of them is not accepted."""
    if kernel is not None and not isinstance(kernel, Kernel):
        raise InputTypeError(
            f"kernel is a {type(kernel).__name__}; accepted are None and a statml.gp kernel, for example RBF(1.0)"
        )
    if isinstance(scatter, str):
        if scatter != "evidence" or not optimise:
            accepted = "'evidence' and a number >= 0" if optimise else "a number >= 0 with optimise=False"
            raise InputError(f"scatter is {scatter!r}; accepted are {accepted}")
    elif not (isinstance(scatter, Real) and 0 <= float(scatter) < np.inf):
        raise InputError(f"scatter is {scatter!r}; accepted are 'evidence' and a number >= 0")


def split_scatter(scatter: Array, measured: Array, errors_given: bool) -> dict[str, Array]:
    """``noise`` and ``model`` from the variances (n,) of scatter and of the measured y.

    Scatter is intrinsic where `fit` had errors of y, and the noise of y where it had none.
    """
    if errors_given:
        return {"noise": measured, "model": scatter}
    return {"noise": measured + scatter, "model": np.zeros(len(scatter))}
