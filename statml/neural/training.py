r"""The training loop that every network here uses: minimise a mean loss over batches, and nothing else.

    theta <- AdamW(theta, grad of  1/B sum_{i in batch} loss_i(theta))

A loss is a function ``loss(module, batch, random)`` of the network, a tuple of tensors that hold the rows of
one batch, and a `torch.Generator` for whatever it draws itself. Data stay on the device as they are and a
batch is picked by its row numbers, which costs less than a DataLoader whose rows are collected one by one.

The same seed gives the same weights: order of the rows, dropout and the loss's own draws come from generators
of this run, and torch's global one is left as it was found.

Source: arXiv:2506.12230, chapter 16; Loshchilov & Hutter (2019), arXiv:1711.05101, for AdamW.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from statml import console
from statml.compute import generator, resolve_device
from statml.errors import InputError, InputTypeError
from statml.neural import checkpoint as disk
from statml.neural.averaging import Averaged
from statml.neural.checkpoint import Checkpoint
from statml.neural.schedule import relative_rate
from statml.neural.settings import Training

Loss = Callable[[nn.Module, tuple[Tensor, ...], torch.Generator], Tensor]
Stopped = Literal["finished", "patience", "interrupted"]
# Rows of a batch of validation, which keeps no gradients and can be larger.
VALIDATION_ROWS = 8192


@dataclass(frozen=True)
class History:
    """What happened, in plain numbers.

    Attributes
    ----------
    training, validation : tuple of float
        Mean loss of each epoch; no validation losses where no rows were kept apart.
    best_epoch : int
        Whose weights were kept, counted from 0.
    stopped : {"finished", "patience", "interrupted"}
    """

    training: tuple[float, ...]
    validation: tuple[float, ...]
    best_epoch: int
    stopped: Stopped


def train(
    module: nn.Module,
    loss: Loss,
    data: Sequence[Tensor],
    *,
    settings: Training | None = None,
    rng: Any = None,
    validation: Sequence[Tensor] | None = None,
    checkpoint: Checkpoint | str | Path | None = None,
) -> History:
    """Train a network in place; it ends in evaluation mode, on the device of the settings, with the best weights.

    Parameters
    ----------
    module : torch.nn.Module
    loss : callable
        ``loss(module, batch, random)``, a scalar: the mean over the rows of the batch, a tuple of tensors.
    data : tuple of tensors
        Equally long, rows first.
    settings : Training, optional
    rng : int, Generator or None
    validation : tuple of tensors, optional
        Rows that choose the best epoch, in place of the fraction in `settings`. Their loss is drawn with the
        same random numbers in every epoch.
    checkpoint : Checkpoint or path, optional
        Where the run is kept; a killed run, started again by the same call, ends with the same weights.

    Returns
    -------
    History

    Raises
    ------
    InputError
        Tensors of different lengths, a loss that is not a finite scalar, a checkpoint of another run, or
        patience without validation.

    Warns
    -----
    UserWarning
        On Ctrl-C, which ends the run with the best weights so far.

    Examples
    --------
    >>> import torch
    >>> x = torch.linspace(-1, 1, 200)[:, None]
    >>> line = torch.nn.Linear(1, 1)
    >>> def squares(module, batch, random):
    ...     return (module(batch[0]) - batch[1]).square().mean()
    >>> settings = Training(batch_size=50, learning_rate=0.1)
    >>> history = train(line, squares, (x, 2 * x + 1), settings=settings, rng=0)
    >>> round(line.weight.item(), 2), round(line.bias.item(), 2), history.stopped
    (2.0, 1.0, 'finished')
    """
    settings = settings or Training()
    if settings.patience and validation is None and not settings.validation:
        raise InputError(
            "patience is given without validation; accepted is a fraction of rows, or their tensors"
        )
    place = torch.device(resolve_device(settings.device))
    kept = Checkpoint(checkpoint) if isinstance(checkpoint, str | Path) else checkpoint
    stored = None if kept is None else disk.load(kept.path)
    # A run without a seed goes on with the seed it once drew.
    resumed = stored is not None and rng is None
    seed = int(stored["identity"]["seed"]) if resumed and stored else int(generator(rng).integers(2**62))
    rows, held = _split(_checked("data", data), validation, settings.validation, seed)
    with isolated_random(seed, place):
        run = _Run(
            module.to(place), loss, [x.to(place) for x in rows], [x.to(place) for x in held], settings, seed
        )
        if kept is not None:
            run.identity = _identity(settings, seed, rows, held)
        if kept is not None and stored is not None:
            disk.refuse_another(kept.path, stored["identity"], run.identity)
            run.restore(stored)
        try:
            run.go(kept)
        except KeyboardInterrupt:
            run.stopped = "interrupted"
            warnings.warn(
                f"training was stopped in epoch {len(run.losses)} of {settings.epochs}; "
                + ("the best weights so far are kept" if run.losses else "no epoch was finished"),
                UserWarning,
                stacklevel=2,
            )
        run.keep_best()
    return History(tuple(run.losses), tuple(run.validations), run.best_epoch, run.stopped)


@contextmanager
def isolated_random(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch's global random numbers inside the context, and leave them as they were found.

    For the first weights of a network, which torch draws from there.

    Examples
    --------
    >>> with isolated_random(3):
    ...     network = torch.nn.Linear(2, 1)
    """
    device = torch.device(device)
    cards = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cards):
        torch.default_generator.manual_seed(seed)
        if cards:
            torch.cuda.manual_seed(seed)
        yield


@dataclass
class _Run:
    """One run and where it stands; a checkpoint holds what changes in it."""

    module: nn.Module
    loss: Loss
    data: list[Tensor]
    held: list[Tensor]
    settings: Training
    seed: int
    identity: dict[str, str] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    validations: list[float] = field(default_factory=list)
    best_epoch: int = 0
    best: dict[str, Tensor] | None = None
    stopped: Stopped = "finished"

    def __post_init__(self) -> None:
        self.place = self.data[0].device
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.optimizer = _optimizer(self.parameters, self.settings)
        self.averaged = None if self.settings.ema is None else Averaged(self.parameters, self.settings.ema)
        # Drawn on the host, so that a GPU sees the rows in the same order.
        self.order = torch.Generator().manual_seed(self.seed)
        self.random = torch.Generator(self.place).manual_seed(self.seed + 1)

    def go(self, place: Checkpoint | None) -> None:
        written = time.monotonic()
        epochs = range(len(self.losses), self.settings.epochs)
        for epoch in console.progress(epochs, "training") if self.settings.progress else epochs:
            if self.out_of_patience():
                break
            self.losses.append(self.epoch(epoch))
            self.validate(epoch)
            last = epoch + 1 == self.settings.epochs or self.out_of_patience()
            if place is not None and (last or time.monotonic() - written >= place.seconds):
                disk.save(place.path, self.state())
                written = time.monotonic()
        if self.out_of_patience() and len(self.losses) < self.settings.epochs:
            self.stopped = "patience"

    def epoch(self, epoch: int) -> float:
        """One pass over the data; returns its mean loss."""
        settings, n = self.settings, len(self.data[0])
        self.module.train()
        batches = torch.randperm(n, generator=self.order).to(self.place).split(settings.batch_size)
        warmup = settings.warmup if settings.warmup is not None else 0.3 * (settings.schedule == "one_cycle")
        steps = len(batches) * settings.epochs
        # Summed on the device: reading a number from a GPU at every step would stop it.
        total = torch.zeros((), dtype=torch.float64, device=self.place)
        for step, index in enumerate(batches, start=epoch * len(batches)):
            rate = settings.learning_rate * relative_rate(settings.schedule, step, steps, warmup)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            value = self.value([x.index_select(0, index) for x in self.data], self.random)
            self.optimizer.zero_grad(set_to_none=True)
            value.backward()
            if settings.clip is not None:
                nn.utils.clip_grad_norm_(self.parameters, settings.clip)
            self.optimizer.step()
            if self.averaged is not None:
                self.averaged.update(step)
            total += value.detach() * len(index)
        return _finite(float(total) / n, epoch)

    def value(self, batch: list[Tensor], random: torch.Generator) -> Tensor:
        if self.settings.mixed_precision:
            with torch.autocast(self.place.type, torch.bfloat16):
                value = self.loss(self.module, tuple(batch), random)
        else:
            value = self.loss(self.module, tuple(batch), random)
        if not isinstance(value, Tensor) or value.ndim:
            raise InputTypeError(
                f"loss returned {_described(value)}; accepted is a scalar tensor, the mean over the batch"
            )
        return value

    def validate(self, epoch: int) -> None:
        """The loss of the rows kept apart, and the weights if they are the best so far."""
        if not self.held:
            self.best_epoch = epoch
            return
        self.module.eval()
        random = torch.Generator(self.place).manual_seed(self.seed + 2)
        total, n = 0.0, len(self.held[0])
        with torch.no_grad(), self.averages():
            for batch in zip(*(x.split(VALIDATION_ROWS) for x in self.held), strict=True):
                total += float(self.value(list(batch), random)) * len(batch[0])
            self.validations.append(_finite(total / n, epoch))
            if self.validations[-1] <= min(self.validations):
                self.best_epoch = epoch
                self.best = {name: value.clone() for name, value in self.module.state_dict().items()}

    def averages(self) -> Any:
        return nullcontext() if self.averaged is None else self.averaged.in_place()

    def out_of_patience(self) -> bool:
        patience = self.settings.patience
        return patience is not None and len(self.losses) - 1 - self.best_epoch >= patience

    def keep_best(self) -> None:
        if self.best is not None:
            self.module.load_state_dict(self.best)
        elif self.averaged is not None and self.losses:
            self.averaged.keep()
        self.module.eval()

    def state(self) -> dict[str, Any]:
        cuda = torch.cuda.get_rng_state() if self.place.type == "cuda" else None
        return {
            "identity": self.identity,
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.weights,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "losses": self.losses,
            "validations": self.validations,
            "random": [self.order.get_state(), self.random.get_state(), torch.get_rng_state(), cuda],
        }

    def restore(self, state: dict[str, Any]) -> None:
        try:
            self.module.load_state_dict(state["module"])
        except RuntimeError as error:
            raise InputError(
                "checkpoint is of another network; accepted is one of a network of this shape"
            ) from error
        self.optimizer.load_state_dict(state["optimizer"])
        if self.averaged is not None:
            self.averaged.weights = [x.to(self.place) for x in state["averaged"]]
        self.best = state["best"]
        self.best_epoch = state["best_epoch"]
        self.losses, self.validations = state["losses"], state["validations"]
        order, random, host, cuda = state["random"]
        self.order.set_state(order)
        self.random.set_state(random)
        torch.set_rng_state(host)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda)


def _optimizer(parameters: list[nn.Parameter], settings: Training) -> torch.optim.Optimizer:
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # One pass over the weights in place of a dozen.
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=settings.learning_rate, fused=True
    )


def _checked(name: str, data: Sequence[Tensor]) -> tuple[Tensor, ...]:
    data = tuple(data)
    if not data or not all(isinstance(x, Tensor) and x.ndim for x in data):
        raise InputTypeError(
            f"{name} holds {[_described(x) for x in data]}; accepted is a tuple of tensors with rows"
        )
    if len({len(x) for x in data}) > 1 or not len(data[0]):
        raise InputError(f"{name} has {[len(x) for x in data]} rows; accepted are equally many, at least one")
    return data


def _split(
    data: tuple[Tensor, ...], validation: Sequence[Tensor] | None, fraction: float, seed: int
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    if validation is not None:
        return data, _checked("validation", validation)
    n = len(data[0])
    held = round(fraction * n)
    if fraction and not 0 < held < n:
        raise InputError(
            f"validation is {fraction} of {n} rows; accepted is a fraction that leaves rows on both sides"
        )
    if not held:
        return data, ()
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed + 3))
    return tuple(x[order[held:]] for x in data), tuple(x[order[:held]] for x in data)


def _identity(
    settings: Training, seed: int, data: Sequence[Tensor], held: Sequence[Tensor]
) -> dict[str, str]:
    chosen = {k: str(v) for k, v in asdict(settings).items() if k != "progress"}
    return chosen | {
        "seed": str(seed),
        "data": disk.fingerprint(data),
        "validation rows": disk.fingerprint(held),
    }


def _finite(value: float, epoch: int) -> float:
    if value - value != 0:
        raise InputError(
            f"the loss became {value} in epoch {epoch}; a smaller learning_rate or clip=1.0 are accepted remedies, "
            "and data on a scale near 1"
        )
    return value


def _described(value: Any) -> str:
    shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
    return f"a {type(value).__name__}{shape}"
