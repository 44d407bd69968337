"""Times, values, errors, bands and exposures of one series: checked, then sorted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from statml.errors import InputError, InputTypeError
from statml.gp.state_space.evidence import Data
from statml.gp.state_space.likelihood import Sampling
from statml.plain_numbers import refuse_quantity
from statml.uncertainty.covariance import DiagonalCovariance
from statml.uncertainty.measurement import target_covariance

Array = np.ndarray


@dataclass(frozen=True)
class Series:
    """One series in order of time: arrays (n,), variances of errors, and where there are any, bands and exposures."""

    t: Array
    y: Array
    noise: Array
    bands: Array | None
    exposure: Array | None

    @classmethod
    def of(
        cls,
        t: Array,
        y: Any,
        y_err: Any,
        y_cov: Any,
        *,
        bands: Array | None = None,
        exposure: Array | None = None,
    ) -> Series:
        """Check and sort.

        Raises
        ------
        InputError
            Lengths differ, a value is not finite, or `y_cov` is not diagonal.
        """
        y = as_times("y", y)
        if len(y) != len(t):
            raise InputError(f"y has {len(y)} values and t has {len(t)}; accepted are as many")
        covariance = target_covariance(len(y), y_err, y_cov)
        if covariance is not None and not isinstance(covariance, DiagonalCovariance):
            off = covariance.to_dense()
            if np.any(off - np.diag(np.diag(off))):
                raise InputError(
                    "y_cov is not diagonal, which costs the O(n); accepted are y_err and a diagonal y_cov, "
                    "or GaussianProcessRegressor"
                )
        noise = np.zeros(len(y)) if covariance is None else covariance.variance()
        if not np.isfinite(noise.sum()) and not np.isfinite(noise).any():
            raise InputError("y_err is infinite everywhere; accepted are some finite errors")
        if np.all(t[1:] >= t[:-1]):
            return cls(t, y, noise, bands, exposure)
        order = np.argsort(t, kind="stable")
        return cls(
            t[order],
            y[order],
            noise[order],
            None if bands is None else bands[order],
            None if exposure is None else exposure[order],
        )

    @property
    def is_plain(self) -> bool:
        """One band, values at an instant, finite errors."""
        return self.bands is None and self.exposure is None and bool(np.isfinite(self.noise.sum()))

    @property
    def spread(self) -> float:
        """Standard deviation of the values, 1 where they do not differ."""
        return float(np.std(self.y)) or 1.0

    def data(self, mean: Any, bands: int) -> Data:
        """As tensors, a known mean taken off, an unknown one as a column for each band."""
        n = len(self.y)
        sampling = as_sampling(self.t, self.bands, self.exposure)
        if not isinstance(mean, str):
            return Data(
                sampling,
                torch.tensor(self.y - float(mean)),
                torch.tensor(self.noise),
                torch.zeros(n, 0, dtype=torch.float64),
            )
        columns = np.eye(bands)[np.zeros(n, int) if self.bands is None else self.bands]
        counted = columns[np.isfinite(self.noise)].sum(0)
        if np.any(counted == 0):
            raise InputError(
                f"bands has no value of finite error in band {int(np.argmin(counted))} of {bands}; accepted with "
                "mean='constant' are one or more of each, or a number as mean"
            )
        if n <= bands:
            raise InputError(
                f"n_samples={n} is too few for mean='constant' with {bands} of them; accepted are more values, or a number as mean"
            )
        return Data(sampling, torch.tensor(self.y), torch.tensor(self.noise), torch.tensor(columns))


def as_times(name: str, value: Any) -> Array:
    """Finite numbers, (n,)."""
    refuse_quantity(name, value)
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputTypeError(
            f"{name} is a {type(value).__name__} that holds no numbers; accepted is an array"
        ) from error
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or len(array) == 0:
        raise InputError(f"{name} has shape {array.shape}; accepted is (n,) with n > 0")
    if not np.isfinite(array.sum()) and not np.all(np.isfinite(array)):
        raise InputError(f"{name} contains NaN or inf; accepted are finite values")
    return array


def as_loadings(value: Any) -> Array | None:
    """Loadings of bands, (b, r), with r <= b."""
    if value is None:
        return None
    array = np.array(value, dtype=float)
    if array.ndim != 2 or not 0 < array.shape[1] <= array.shape[0] or not np.all(np.isfinite(array)):
        raise InputError(
            f"loadings has shape {array.shape}; accepted are finite numbers (b, r), one row for each band and r <= b"
        )
    if array[0, 0] == 0:
        raise InputError(
            "the first entry of loadings is 0; accepted are other numbers, since it sets the scale"
        )
    return array


def as_bands(value: Any, n: int, loadings: Any) -> Array | None:
    """The band of each value, (n,) of int, where there are loadings."""
    if loadings is None:
        if value is not None:
            raise InputError(
                "bands is given and loadings is None; accepted with bands is loadings of shape (b, r)"
            )
        return None
    if value is None:
        raise InputError(
            "bands is None and the loadings are of several bands; accepted is the band of each value"
        )
    array, count = np.asarray(value), len(loadings)
    if array.shape != (n,) or array.dtype.kind not in "iu":
        raise InputError(
            f"bands has shape {array.shape} and type {array.dtype}; accepted are integers of shape ({n},)"
        )
    if array.min() < 0 or array.max() >= count:
        raise InputError(f"bands runs from {array.min()} to {array.max()}; accepted are 0 to {count - 1}")
    return array.astype(np.int64)


def as_exposure(value: Any, n: int) -> Array | None:
    """The exposure of each value, (n,); None where there is none."""
    if value is None:
        return None
    refuse_quantity("exposure", value)
    array = np.asarray(value, dtype=float)
    if array.ndim == 0:
        array = np.full(n, float(array))
    if array.shape != (n,) or not np.all(np.isfinite(array)) or np.any(array < 0):
        raise InputError(f"exposure is {value!r}; accepted are finite numbers >= 0, one or {n}")
    return array if np.any(array > 0) else None


def as_column(X: Any) -> Any:
    """One-dimensional times as a column; anything else as it is."""
    if np.ndim(X) != 1:
        return X
    return X[:, None] if isinstance(X, np.ndarray) else np.reshape(X, (-1, 1))


def as_sampling(t: Array, bands: Array | None, exposure: Array | None) -> Sampling:
    """As tensors."""
    return Sampling(
        torch.tensor(np.ascontiguousarray(t)),
        None if exposure is None else torch.tensor(exposure),
        None if bands is None else torch.tensor(bands),
    )
