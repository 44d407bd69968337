"""Where numbers are computed: device, array namespace, random numbers.

Closed-form linear algebra is written once against `namespace`: NumPy on the
CPU, torch on a GPU. This is the only module that asks for CUDA.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal

import numpy as np
from scipy import linalg

from statml.errors import InputError, MissingExtraError

Device = Literal["cpu", "cuda", "auto"]
# Columns that one step of a QR decomposition takes together.
QR_PANEL = 16


def generator(rng: Any = None) -> np.random.Generator:
    """The one converter of seeds: None, an int, a Generator or a RandomState.

    Raises
    ------
    InputError
        `rng` is none of these.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, np.random.RandomState):  # scikit-learn hands these around
        return np.random.default_rng(rng.randint(2**31 - 1, size=4))
    if rng is None or (isinstance(rng, int | np.integer) and rng >= 0):
        return np.random.default_rng(rng)
    raise InputError(f"rng is {rng!r}; accepted are None, an int >= 0 or a numpy.random.Generator")


def resolve_device(device: Device) -> Literal["cpu", "cuda"]:
    """Check a device; ``"auto"`` is CUDA where there is one.

    Raises
    ------
    InputError
        The device is unknown, or CUDA is asked for where there is none.
    """
    if device == "cpu":
        return "cpu"
    if device not in ("cuda", "auto"):
        raise InputError(f"device is {device!r}; accepted are 'cpu', 'cuda' and 'auto'")
    try:
        import torch
    except ImportError as error:
        if device == "auto":
            return "cpu"
        raise MissingExtraError("device='cuda' needs torch: pip install 'statml[neural]'") from error
    if torch.cuda.is_available():
        return "cuda"
    if device == "auto":
        return "cpu"
    raise InputError("device is 'cuda' and this machine has no CUDA device; accepted here is 'cpu'")


@dataclass(frozen=True)
class Namespace:
    """Array functions of one device; `xp` follows the Python array API standard."""

    device: Literal["cpu", "cuda"]
    xp: Any

    def asarray(self, value: Any) -> Any:
        """Float64 array on the device."""
        if self.device == "cpu":
            return np.asarray(value, dtype=np.float64)
        return self.xp.asarray(np.asarray(value, dtype=np.float64), device="cuda")

    def to_numpy(self, value: Any) -> np.ndarray:
        """The array as NumPy on the host."""
        return value if self.device == "cpu" else value.cpu().numpy()

    def one_thread(self) -> AbstractContextManager[Any]:
        """While the context lasts, BLAS works on small blocks without waiting for threads.

        On matrices of a few thousand rows its threads gain little on an idle machine,
        and on a busy one they wait for each other many times longer than the work takes.
        """
        return _blas().limit(limits=1, user_api="blas")

    def qr_r(self, matrix: Any) -> Any:
        """The triangular factor R of a QR decomposition, shape (min(n, p), p); may overwrite `matrix`."""
        if self.device == "cpu":
            # LAPACK itself: np.linalg.qr copies a row-major block twice on its way there. The
            # recursive panels of dgeqrt take tall blocks in half the time of dgeqrf.
            panel = min(QR_PANEL, *matrix.shape)
            if panel == 0:
                return np.zeros((0, matrix.shape[1]))
            packed = linalg.lapack.dgeqrt(panel, np.asfortranarray(matrix), overwrite_a=1)[0]
            return np.triu(packed[: min(matrix.shape)])
        return self.xp.linalg.qr(matrix)[1]


@cache
def _blas() -> Any:
    """The BLAS libraries that are loaded; finding them takes milliseconds, so once."""
    from threadpoolctl import ThreadpoolController  # a dependency of scikit-learn

    return ThreadpoolController()


def namespace(device: Device = "cpu") -> Namespace:
    """The array functions of a device.

    Examples
    --------
    >>> import numpy as np
    >>> cpu = namespace("cpu")
    >>> cpu.qr_r(np.array([[3.0], [4.0]])).shape
    (1, 1)
    """
    resolved = resolve_device(device)
    return Namespace(
        resolved, import_module("array_api_compat." + ("numpy" if resolved == "cpu" else "torch"))
    )
