"""How a network is trained: one value that estimators carry and the training loop reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, get_args

from statml.compute import Device
from statml.errors import InputError
from statml.neural.schedule import SCHEDULES, Schedule


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Parameters
    ----------
    epochs : int
        Passes over the data, at most.
    batch_size : int
        Rows of a step.
    learning_rate : float
        The largest of the schedule.
    weight_decay : float
        Of matrices; biases and scales are not pulled to zero.
    schedule : {"cosine", "one_cycle", "constant"}
        See `statml.neural.schedule`.
    warmup : float, optional
        Fraction of the steps in which the rate rises; 0.3 in a cycle, else 0.
    validation : float
        Fraction of the rows kept apart to choose the best epoch; 0 keeps none, and the last epoch counts.
    patience : int, optional
        Stop after so many epochs without a better validation loss.
    ema : float, optional
        Decay of an exponential moving average of the weights, which is then what is validated and kept.
    clip : float, optional
        Largest norm of the gradient.
    mixed_precision : bool
        Products in bfloat16 (a gain on a GPU only); weights stay as they are.
    device : {"cpu", "cuda", "auto"}
    progress : bool
        A bar on stderr where that is a terminal.

    Raises
    ------
    InputError
        A value that is not accepted.
    """

    epochs: int = 100
    batch_size: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    schedule: Schedule = "cosine"
    warmup: float | None = None
    validation: float = 0.0
    patience: int | None = None
    ema: float | None = None
    clip: float | None = None
    mixed_precision: bool = False
    device: Device = "cpu"
    progress: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            value = getattr(self, name)
            if not (isinstance(value, Integral) and int(value) >= 1) and (
                value is not None or name != "patience"
            ):
                raise InputError(f"{name} is {value!r}; accepted is an int >= 1")
        for name in ("learning_rate", "clip"):
            value = getattr(self, name)
            if not (value is None and name == "clip") and not (isinstance(value, Real) and float(value) > 0):
                raise InputError(f"{name} is {value!r}; accepted are values > 0")
        if not (isinstance(self.weight_decay, Real) and float(self.weight_decay) >= 0):
            raise InputError(f"weight_decay is {self.weight_decay!r}; accepted are values >= 0")
        for name in ("warmup", "validation", "ema"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Real) and 0 <= float(value) < 1):
                raise InputError(f"{name} is {value!r}; accepted are values from 0 to below 1")
        if self.schedule not in SCHEDULES:
            raise InputError(f"schedule is {self.schedule!r}; accepted are {', '.join(SCHEDULES)}")
        if self.device not in get_args(Device):
            raise InputError(f"device is {self.device!r}; accepted are 'cpu', 'cuda' and 'auto'")

    def for_rows(self, n: int) -> Training:
        """These settings, without validation where its share of n rows is no row."""
        return self if 0 < round(self.validation * n) < n else replace(self, validation=0.0, patience=None)


def check_widths(hidden: Any) -> None:
    """Raise `InputError` where `hidden` is no sequence of widths of layers.

    Examples
    --------
    >>> check_widths((64, 64))
    >>> check_widths(64)
    Traceback (most recent call last):
    statml.errors.InputError: hidden is 64; accepted are widths of layers, ints >= 1, such as (64, 64)
    """
    if not isinstance(hidden, Iterable) or any(
        not isinstance(width, Integral) or width < 1 for width in hidden
    ):
        raise InputError(f"hidden is {hidden!r}; accepted are widths of layers, ints >= 1, such as (64, 64)")
