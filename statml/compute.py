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
# Rows of a block on the CPU: large enough for level-3 BLAS, small enough for the cache.
BLOCK_ROWS = 2048
# Bytes of a block on a GPU, which wants few large products; factorising holds about three such.
GPU_BLOCK_BYTES = 2**30
# Above this condition number a block is not orthogonalised through its Gram matrix, which squares it.
GRAM_CONDITION = 1e6
# Relative to their size, what a sum or a decomposition of equal numbers may leave of their differences.
ROUNDING = 32 * float(np.finfo(float).eps)


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


def spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation along the first axis; exactly zero where values do not vary.

    The mean of a constant is rounded, and leaves a "deviation" of 1e-17 to a column of
    0.1: no scale to divide by.

    Examples
    --------
    >>> float(np.std(np.full(7, 0.1))) > 0, float(spread(np.full(7, 0.1)))
    (True, 0.0)
    """
    return np.where(np.all(values == values[0], axis=0), 0.0, np.std(values, axis=0))


@dataclass(frozen=True)
class Namespace:
    """Array functions of one device; `xp` follows the Python array API standard.

    `place` is where torch keeps its tensors. Tests set it to "cpu", so that the code
    of the GPU runs on a machine without one.
    """

    device: Literal["cpu", "cuda"]
    xp: Any
    place: str = "cuda"

    def asarray(self, value: Any) -> Any:
        """Float64 array on the device."""
        if self.device == "cpu":
            return np.asarray(value, dtype=np.float64)
        # torch has no read-only tensors: memory that must not be written is copied first.
        return self.xp.asarray(np.require(value, np.float64, "W"), device=self.place)

    def to_numpy(self, value: Any) -> np.ndarray:
        """The array as NumPy on the host."""
        return value if self.device == "cpu" else value.cpu().numpy()

    def empty(self, shape: tuple[int, int]) -> Any:
        """An unset float64 matrix on the device, in the order its QR decomposition likes."""
        if self.device == "cpu":
            return np.empty(shape, order="F")
        return self.xp.empty(shape, dtype=self.xp.float64, device=self.place)

    def block_rows(self, columns: int) -> int:
        """Rows to factorise at a time."""
        if self.device == "cpu":
            return BLOCK_ROWS
        return max(GPU_BLOCK_BYTES // (8 * columns), BLOCK_ROWS)

    def one_thread(self) -> AbstractContextManager[Any]:
        """While the context lasts, BLAS works on small blocks without waiting for threads.

        On matrices of a few thousand rows its threads gain little on an idle machine,
        and on a busy one they wait for each other many times longer than the work takes.
        """
        return _blas().limit(limits=1, user_api="blas")

    def qr_r(self, matrix: Any) -> Any:
        """The triangular factor R of a QR decomposition, shape (min(n, p), p); may overwrite `matrix`."""
        return _lapack_qr_r(matrix) if self.device == "cpu" else _torch_qr_r(matrix)


def _lapack_qr_r(matrix: np.ndarray) -> np.ndarray:
    # LAPACK itself: np.linalg.qr copies a row-major block twice on its way there. The
    # recursive panels of dgeqrt take tall blocks in half the time of dgeqrf.
    panel = min(QR_PANEL, *matrix.shape)
    if panel == 0:
        return np.zeros((0, matrix.shape[1]))
    packed = linalg.lapack.dgeqrt(panel, np.asfortranarray(matrix), overwrite_a=1)[0]
    return np.triu(packed[: min(matrix.shape)])


def _torch_qr_r(matrix: Any) -> Any:
    """R of a tall tensor by Cholesky factors of its Gram matrix, twice; by reflections where that loses digits.

    Reflections go through a tall matrix column by column, a GPU is made for the
    products of whole matrices: A^T A = R1^T R1, then the same for A R1^-1, whose
    columns are orthogonal but for rounding, and R = R2 R1. The second pass repairs
    the first as long as kappa(A)^2 is far below 1/eps (Yamamoto et al. 2015, ETNA 44,
    306); beyond `GRAM_CONDITION`, with columns of unit length, reflections take over.
    """
    import torch

    rows, columns = matrix.shape
    if rows <= 2 * columns or columns == 0:
        return torch.linalg.qr(matrix, mode="r")[1]
    # Powers of two near the lengths of the columns, so that scaling itself is exact.
    norms = torch.linalg.vector_norm(matrix, dim=0)
    scale = torch.exp2(torch.round(torch.log2(torch.where(norms > 0, norms, torch.ones_like(norms)))))
    matrix /= scale
    first, failed = torch.linalg.cholesky_ex(matrix.T @ matrix, upper=True)
    if failed or not float(torch.linalg.cond(first)) < GRAM_CONDITION:
        return torch.linalg.qr(matrix, mode="r")[1] * scale
    almost = torch.linalg.solve_triangular(first, matrix, upper=True, left=False)
    return torch.linalg.cholesky(almost.T @ almost, upper=True) @ first * scale


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
