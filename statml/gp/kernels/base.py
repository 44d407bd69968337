r"""What a kernel is: a covariance function, written as a value.

A Gaussian process says of a function f only how its values hang together,

    cov(f(x), f(z)) = k(x, z),

and k, the kernel, is the whole assumption (Rasmussen & Williams 2006, ch. 4). Here it
is an immutable object that adds and multiplies, prints as the expression that builds
it, and compares by what it says. What an optimiser works on are the natural logs of
its free hyperparameters, `Kernel.theta`.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import torch

from statml.errors import InputError, InputTypeError
from statml.plain_numbers import refuse_quantity

Array = np.ndarray
Tensor = torch.Tensor

# Default bounds: this factor below and above the value a kernel was written with.
DEFAULT_RANGE = 1e5


class Kernel(ABC):
    """A covariance function; add and multiply kernels to build another.

    Attributes
    ----------
    names : tuple of str
        Free hyperparameters in order, ``"0.length_scale"`` for one of the first term of a
        sum, ``"length_scale[1]"`` for the second feature's.
    theta : array (k,)
        Their natural logs.
    bounds : array (k, 2)
        Lower and upper bounds of the logs.
    differentiable : bool
        Whether functions drawn from the process have derivatives; `White` scatter around
        a function is not part of its slope.

    Examples
    --------
    >>> from statml.gp import RBF, Periodic, White
    >>> kernel = RBF(90.0, sigma=2.0) * Periodic(1.3, period=1.0).fixed("sigma") + White(0.2).fixed()
    >>> kernel.names
    ('0.0.length_scale', '0.0.sigma', '0.1.length_scale', '0.1.period')
    >>> kernel([0.0, 0.5, 1.0]).shape
    (3, 3)
    >>> RBF(1.0).on([0, 2]).bounded(sigma=(0.1, 10.0))
    RBF(length_scale=1.0, sigma=1.0).on([0, 2]).bounded(sigma=(0.1, 10.0))
    """

    differentiable: bool = True

    # -- what a kernel provides -------------------------------------------------------

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]: ...

    @property
    @abstractmethod
    def theta(self) -> Array: ...

    @property
    @abstractmethod
    def bounds(self) -> Array: ...

    @abstractmethod
    def with_theta(self, theta: Any) -> Self:
        """The same kernel with other free hyperparameters, given as their logs (k,)."""

    @abstractmethod
    def covariance(self, X: Tensor, Z: Tensor | None, theta: Tensor) -> Tensor:
        """Covariance of every pair of rows, a tensor (n, m), differentiable in all arguments.

        Parameters
        ----------
        X : tensor (n, d)
        Z : tensor (m, d) or None
            None means the rows of X themselves: `White` noise is shared by a row with
            itself only, never by two rows that happen to be equal.
        theta : tensor (k,)
            Log hyperparameters of this kernel.
        """

    @abstractmethod
    def variance(self, X: Tensor, theta: Tensor) -> Tensor:
        """The diagonal of ``covariance(X, None, theta)``, a tensor (n,)."""

    @abstractmethod
    def independent_variance(self, X: Tensor, theta: Tensor) -> Tensor:
        """The part of `variance` that no two rows share (`White`), a tensor (n,)."""

    @abstractmethod
    def on(self, dims: Any) -> Self:
        """The same kernel of the features `dims` alone, an index or a list of them."""

    @abstractmethod
    def fixed(self, *names: str) -> Self:
        """The same kernel with these hyperparameters kept as they are; without names, all."""

    @abstractmethod
    def bounded(self, **limits: tuple[float, float]) -> Self:
        """The same kernel with limits of hyperparameters, ``sigma=(0.1, 10.0)``; of a sum ``**{"0.sigma": ...}``."""

    @abstractmethod
    def _key(self) -> tuple: ...

    # -- what follows from it ----------------------------------------------------------

    def __call__(self, X: Any, Z: Any = None) -> Array:
        """The covariance matrix of rows of X with rows of Z, or of X with themselves, as NumPy.

        Parameters
        ----------
        X : array (n, d) or (n,)
        Z : array (m, d) or (m,), optional

        Returns
        -------
        array (n, m)
        """
        theta = torch.from_numpy(self.theta)
        rows, columns = as_rows("X", X), None if Z is None else as_rows("Z", Z)
        if columns is not None and columns.shape[1] != rows.shape[1]:
            raise InputError(
                f"Z has {columns.shape[1]} features and X has {rows.shape[1]}; accepted are as many"
            )
        with torch.no_grad():
            return self.covariance(rows, columns, theta).numpy()

    def __add__(self, other: Any) -> Any:
        from statml.gp.kernels.composed import Sum

        return Sum(self, other) if isinstance(other, Kernel) else NotImplemented

    def __mul__(self, other: Any) -> Any:
        from statml.gp.kernels.composed import Product

        return Product(self, other) if isinstance(other, Kernel) else NotImplemented

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kernel) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a kernel does not change; build another one with the {name} that you want")

    def _changed(self, **values: Any) -> Self:
        """A copy with other attributes."""
        other = copy.copy(self)
        for name, value in values.items():
            object.__setattr__(other, name, value)
        return other


class Leaf(Kernel):
    """A kernel that is not made of others: positive hyperparameters and the features it looks at."""

    parameters: ClassVar[tuple[str, ...]] = ()
    # Kernels of time: they look at one feature.
    one_dimensional: ClassVar[bool] = False

    _dims: tuple[int, ...] | None
    _fixed: frozenset[str]
    _limits: dict[str, tuple[float, float]]
    _defaults: dict[str, tuple[float, ...]]

    def __init__(self, **values: Any) -> None:
        checked = {
            name: as_hyperparameter(type(self).__name__, name, value) for name, value in values.items()
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_dims", None)
        object.__setattr__(self, "_fixed", frozenset())
        object.__setattr__(self, "_limits", {})
        object.__setattr__(self, "_defaults", {name: np.atleast_1d(value) for name, value in checked.items()})

    @property
    def dims(self) -> tuple[int, ...] | None:
        """The features this kernel looks at; None is all."""
        return self._dims

    @property
    def free(self) -> tuple[str, ...]:
        """Hyperparameters that are not fixed."""
        return tuple(name for name in self.parameters if name not in self._fixed)

    @property
    def names(self) -> tuple[str, ...]:
        entries: list[str] = []
        for name in self.free:
            value = getattr(self, name)
            entries += [name] if np.ndim(value) == 0 else [f"{name}[{j}]" for j in range(len(value))]
        return tuple(entries)

    @property
    def theta(self) -> Array:
        return np.log(
            np.concatenate([np.zeros(0), *(np.atleast_1d(getattr(self, name)) for name in self.free)]) + 0
        )

    @property
    def bounds(self) -> Array:
        rows: list[tuple[float, float]] = []
        for name in self.free:
            for center in self._defaults[name]:
                default = (center / DEFAULT_RANGE, center * DEFAULT_RANGE)
                rows.append(self._limits.get(name, default))
        return np.log(np.array(rows).reshape(-1, 2))

    def with_theta(self, theta: Any) -> Self:
        theta = checked_theta(theta, len(self.names))
        changed: dict[str, Any] = {}
        for name, part in self._split(np.exp(theta)):
            changed[name] = float(part[0]) if np.ndim(getattr(self, name)) == 0 else tuple(map(float, part))
        return self._changed(**changed)

    def _split(self, theta: Any) -> list[tuple[str, Any]]:
        """The entries of theta that belong to each free hyperparameter."""
        parts, start = [], 0
        for name in self.free:
            size = np.size(getattr(self, name))
            parts.append((name, theta[start : start + size]))
            start += size
        return parts

    def _values(self, theta: Tensor) -> dict[str, Tensor]:
        """Every hyperparameter as a tensor, free ones from theta: () for a number, (d,) for an array."""
        values = {
            name: torch.tensor(getattr(self, name), dtype=torch.float64, device=theta.device)
            for name in self._fixed
        }
        for name, part in self._split(torch.exp(theta)):
            values[name] = part[0] if np.ndim(getattr(self, name)) == 0 else part
        return values

    def _columns(self, X: Tensor) -> Tensor:
        """The features this kernel looks at."""
        if self._dims is not None:
            if max(self._dims) >= X.shape[1]:
                raise InputError(f"{self!r} looks at feature {max(self._dims)}; X has {X.shape[1]} features")
            X = X[:, list(self._dims)]
        if self.one_dimensional and X.shape[1] != 1:
            raise InputError(
                f"{type(self).__name__} is a kernel of one feature and X has {X.shape[1]}; "
                "accepted is kernel.on(0), with the feature it should look at"
            )
        return X

    def independent_variance(self, X: Tensor, theta: Tensor) -> Tensor:
        return torch.zeros(len(X), dtype=X.dtype, device=X.device)

    def on(self, dims: Any) -> Self:
        dims = (dims,) if isinstance(dims, int | np.integer) else tuple(dims)
        if (
            not dims
            or not all(isinstance(j, int | np.integer) and j >= 0 for j in dims)
            or len(set(dims)) < len(dims)
        ):
            raise InputError(f"dims is {dims!r}; accepted are distinct features, integers >= 0")
        # A kernel that looks at some features already looks at those of the selection.
        inner = self._dims if self._dims is not None else range(len(dims))
        if max(inner) >= len(dims):
            raise InputError(
                f"dims selects {len(dims)} features and {self!r} looks at feature {max(inner)} of them"
            )
        return self._changed(_dims=tuple(int(dims[j]) for j in inner))

    def fixed(self, *names: str) -> Self:
        for name in names:
            self._check_name(name)
        return self._changed(_fixed=self._fixed | frozenset(names or self.parameters))

    def bounded(self, **limits: tuple[float, float]) -> Self:
        for name, (low, high) in limits.items():
            self._check_name(name)
            if not 0 < low < high < math.inf:
                raise InputError(f"the limits of {name} are {(low, high)}; accepted are 0 < low < high")
        pairs = {name: (float(low), float(high)) for name, (low, high) in limits.items()}
        return self._changed(_limits=self._limits | pairs)

    def _check_name(self, name: str) -> None:
        if name not in self.parameters:
            raise InputError(
                f"{type(self).__name__} has no hyperparameter {name!r}; accepted are {', '.join(self.parameters)}"
            )

    def _key(self) -> tuple:
        values = tuple(getattr(self, name) for name in self.parameters)
        return (type(self), values, self._dims, self._fixed, tuple(sorted(self._limits.items())))

    def __repr__(self) -> str:
        text = f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.parameters)})"
        if self._dims is not None:
            text += f".on({list(self._dims)})"
        if self._fixed:
            text += f".fixed({', '.join(repr(name) for name in self.parameters if name in self._fixed)})"
        if self._limits:
            text += f".bounded({', '.join(f'{name}={self._limits[name]}' for name in sorted(self._limits))})"
        return text


def as_rows(name: str, value: Any) -> Tensor:
    """Points as a float64 tensor (n, d), from an array (n, d) or (n,)."""
    refuse_quantity(name, value)
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputTypeError(
            f"{name} is a {type(value).__name__} that holds no numbers; accepted is an array"
        ) from error
    if array.ndim not in (1, 2):
        raise InputError(f"{name} has shape {array.shape}; accepted is (n, d) or (n,)")
    if not np.all(np.isfinite(array)):
        raise InputError(f"{name} contains NaN or inf; accepted are finite values")
    array = array[:, None] if array.ndim == 1 else array
    return torch.from_numpy(np.array(array))


def as_hyperparameter(kernel: str, name: str, value: Any) -> float | tuple[float, ...]:
    """A positive number, or a tuple of one for each feature."""
    refuse_quantity(name, value)
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputTypeError(
            f"{name} of {kernel} is a {type(value).__name__} that holds no numbers; accepted is a positive number"
        ) from error
    per_feature = name in ("length_scale", "slope")
    if array.ndim > int(per_feature) or array.size == 0:
        accepted = "a number or one for each feature, (d,)" if per_feature else "a number"
        raise InputError(f"{name} of {kernel} has shape {array.shape}; accepted is {accepted}")
    if not np.all(np.isfinite(array)) or np.any(array <= 0):
        raise InputError(f"{name} of {kernel} is {value!r}; accepted are positive, finite values")
    return float(array) if array.ndim == 0 else tuple(array.tolist())


def checked_theta(theta: Any, size: int) -> Array:
    """Log hyperparameters, (k,)."""
    theta = np.asarray(theta, dtype=float)
    if theta.shape != (size,) or not np.all(np.isfinite(theta)):
        raise InputError(
            f"theta is {theta!r}; accepted are {size} finite numbers, the logs of the hyperparameters"
        )
    return theta
