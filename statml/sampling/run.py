"""`sample`: one loop for all Markov chain samplers.

It checks what came, makes the first state, takes steps, keeps what was drawn, shows
progress, writes checkpoints and survives Ctrl-C. What a step is, the sampler knows.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from statml import console
from statml.compute import Device, generator
from statml.errors import InputError, InputTypeError
from statml.plain_numbers import refuse_quantity
from statml.sampling.chain import Chain
from statml.sampling.checkpoint import Checkpoint
from statml.sampling.ensemble import Ensemble
from statml.sampling.gibbs import Gibbs
from statml.sampling.hmc import HMC
from statml.sampling.metropolis import Metropolis
from statml.sampling.nuts import NUTS
from statml.sampling.target import Target, as_target
from statml.sampling.tempering import Tempering
from statml.sampling.transition import Clock, Sampler, flatten, restore

Array = np.ndarray

BY_NAME: dict[str, type[Sampler]] = {each.name: each for each in (NUTS, HMC, Ensemble, Metropolis)}


def sample(
    log_prob: Any,
    initial: Any,
    *,
    sampler: str | Sampler = "nuts",
    draws: int,
    warmup: int | None = None,
    chains: int | None = None,
    vectorized: bool = True,
    rng: Any = None,
    names: Sequence[str] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: float = 60.0,
    progress: bool = True,
    device: Device = "cpu",
    threads: int | None = 1,
) -> Chain:
    """Draw from a density known up to a factor, by Markov chains.

    Parameters
    ----------
    log_prob : callable
        Log density, (..., parameters) to (...). NUTS and HMC call it with float64 torch
        tensors, the others with float64 NumPy arrays; a `ValueAndGradient` suits all.
        Where a point is impossible it returns -inf. May be None for `Gibbs`.
    initial : array (chains, parameters)
        Starting points; for an ensemble the walkers. One point (parameters,) is the
        start of all `chains`.
    sampler : {"nuts", "hmc", "ensemble", "metropolis"} or Sampler
        A string is the class of that name with its defaults.
    draws : int
        Kept of each chain.
    warmup : int, optional
        Steps before them, in which the sampler adapts, and which are not kept; by
        default 1000 for NUTS and HMC, 0 for the others.
    chains : int, optional
        Their number, where `initial` is one point.
    vectorized : bool
        False where `log_prob` takes one point (parameters,) and returns one number.
    rng : int, Generator or None
        The same seed gives the same draws.
    names : sequence of str, optional
        Of the parameters.
    checkpoint : path, optional
        A file that is written every `checkpoint_every` seconds and at the end; where it is
        there already the run goes on from it, and ends with the same draws as a run that was
        never interrupted (on the CPU, with the same seed). More `draws` than it holds extend it.
    progress : bool
        A bar on stderr, where that is a terminal.
    device : {"cpu", "cuda", "auto"}
        Where the torch tensors of `log_prob` are.
    threads : int or None
        Of torch on the CPU while it samples. More than one, or None for torch's own setting, pays
        where one call handles some hundred thousand numbers, and costs much where it does not.

    Returns
    -------
    Chain
        After Ctrl-C: with what was drawn until then, and a warning.

    Raises
    ------
    InputError, InputTypeError
        A parameter is not accepted, a starting point has no finite log density, or
        `log_prob` is not a function of what the sampler calls it with.

    Examples
    --------
    >>> import numpy as np
    >>> def log_prob(x):                                   # two correlated normals
    ...     return -0.5 * (x[..., 0] ** 2 + (x[..., 1] - x[..., 0]) ** 2)
    >>> start = np.random.default_rng(0).normal(size=(20, 2))
    >>> chain = sample(log_prob, start, sampler="ensemble", draws=1000, warmup=200, rng=1)
    >>> chain.draws.shape, chain.dependent
    ((20, 1000, 2), True)
    """
    method = _as_sampler(sampler)
    points = _as_initial(initial, chains)
    method.check(points)
    warmup = method.default_warmup if warmup is None else warmup
    for name, value, least in (("draws", draws, 1), ("warmup", warmup, 0)):
        if not isinstance(value, int | np.integer) or value < least:
            raise InputError(f"{name} is {value!r}; accepted is a whole number of at least {least}")
    random = generator(rng)
    target = _as_target(log_prob, method, vectorized, points.shape[1], device)
    run = _Run(method, target, points, int(draws), int(warmup), random, _as_names(names, points.shape[1]))
    saved = None if checkpoint is None else _Saved(Path(checkpoint), checkpoint_every, run, rng)
    with target.threads(threads):
        interrupted = run.go(saved, progress)
    if saved is not None:
        saved.write()
    if interrupted:
        if run.kept == 0:
            raise KeyboardInterrupt
        warnings.warn(
            f"interrupted after {run.kept} of {draws} draws, which are returned", RuntimeWarning, stacklevel=2
        )
    return run.chain()


class _Run:
    """The loop and its record."""

    def __init__(
        self,
        method: Sampler,
        target: Target,
        initial: Array,
        draws: int,
        warmup: int,
        rng: np.random.Generator,
        names: tuple[str, ...],
    ) -> None:
        self.method, self.target, self.initial = method, target, initial
        self.draws, self.warmup, self.rng, self.names = draws, warmup, rng, names
        self.first_random: Any = rng.bit_generator.state
        self.state = method.begin(target, initial, target.check(initial), rng)
        self.random: Any = rng.bit_generator.state
        self.done = 0
        self.record: dict[str, Array] = {}

    @property
    def kept(self) -> int:
        """Draws in the record."""
        return max(self.done - self.warmup, 0)

    def go(self, saved: _Saved | None, progress: bool) -> bool:
        """Take the steps that are left; True where Ctrl-C ended them."""
        steps: Any = range(self.done, self.warmup + self.draws)
        if progress:
            steps = console.progress(steps, self.method.name)
        try:
            for step in steps:
                state = self.method.step(self.target, self.state, Clock(step, self.warmup), self.rng)
                if step >= self.warmup:
                    self._keep(step - self.warmup, state)
                # Nothing of a step counts before all of it is done.
                self.state, self.done = state, step + 1
                if saved is not None:
                    self.random = self.rng.bit_generator.state
                    saved.write_if_due()
        except KeyboardInterrupt:
            return True
        return False

    def _keep(self, place: int, state: Any) -> None:
        record = self.record
        if not record:
            shown = {"points": state.points, "log_prob": state.log_prob, **state.statistics}
            for name, value in shown.items():
                record[name] = np.empty((self.draws, *value.shape), value.dtype)
        record["points"][place] = state.points
        record["log_prob"][place] = state.log_prob
        for name, value in state.statistics.items():
            record[name][place] = value

    def resume(self, checkpoint: Checkpoint) -> None:
        """Stand where the checkpoint was written."""
        self.state = restore(self.state, checkpoint.state)
        self.done, self.random = checkpoint.step, checkpoint.random
        self.rng.bit_generator.state = checkpoint.random
        kept = self.kept  # may be more than is asked for: then the file keeps them, and no step is left
        for name, value in checkpoint.record.items():
            self.record[name] = np.empty((max(self.draws, kept), *value.shape[1:]), value.dtype)
            self.record[name][:kept] = value

    def chain(self) -> Chain:
        """What was drawn, chains first."""
        kept = min(self.kept, self.draws)
        record = {name: np.swapaxes(value[:kept], 0, 1) for name, value in self.record.items()}
        chain = Chain(
            draws=record.pop("points"),
            names=self.names,
            log_prob=record.pop("log_prob"),
            statistics=record,
            dependent=self.method.dependent,
            sampler=self.method.name,
        )
        return replace(chain, temperatures=getattr(self.method, "ladder", None))


class _Saved:
    """The file of a run: read once, then written every so often."""

    def __init__(self, path: Path, every: float, run: _Run, rng: Any) -> None:
        if not every >= 0:
            raise InputError(f"checkpoint_every is {every!r}; accepted are seconds, 0 or more")
        self.path, self.every, self.run = path, every, run
        self.identity = {
            "sampler": repr(run.method),
            "warmup": str(run.warmup),
            "names": ", ".join(run.names),
            "initial": f"{run.initial.shape} with the sum {run.initial.sum()!r}",
        }
        seed = str(_short(run.first_random))
        if path.exists():
            checkpoint = Checkpoint.load(path)
            checkpoint.refuse_another(path, self.identity | ({} if rng is None else {"seed": seed}))
            seed = checkpoint.identity["seed"]
            run.resume(checkpoint)
            self._refuse_another_target()
        self.identity["seed"] = seed
        self.last = time.monotonic()

    def _refuse_another_target(self) -> None:
        state = self.run.state
        if state.log_prob.ndim != 1:
            return
        now, then = self.run.target.value(state.points), state.log_prob
        if not np.allclose(now, then, rtol=1e-6, atol=1e-6):
            worst = int(np.argmax(np.abs(now - then)))
            raise InputError(
                f"checkpoint {self.path} is of another log_prob: it was {then[worst]} at {state.points[worst]}, "
                f"here it is {now[worst]}; accepted is a checkpoint of this run, or a new path"
            )

    def write_if_due(self) -> None:
        """Write where the last file is old enough."""
        if time.monotonic() - self.last >= self.every:
            self.write()

    def write(self) -> None:
        """Write where the run stands."""
        run = self.run
        record = {name: value[: run.kept] for name, value in run.record.items()}
        Checkpoint(self.identity, run.done, run.random, flatten(run.state), record).save(self.path)
        self.last = time.monotonic()


def _short(state: Any) -> Any:
    """What tells two seeds apart."""
    inner = state["state"]
    return inner.get("state", inner) if isinstance(inner, dict) else inner


def _as_sampler(sampler: Any) -> Sampler:
    if isinstance(sampler, Sampler):
        return sampler
    if isinstance(sampler, str) and sampler in BY_NAME:
        return BY_NAME[sampler]()
    if isinstance(sampler, type) and issubclass(sampler, Sampler):
        raise InputTypeError(
            f"sampler is the class {sampler.__name__}; accepted is an instance, {sampler.__name__}(...)"
        )
    raise InputError(
        f"sampler is {sampler!r}; accepted are {', '.join(map(repr, BY_NAME))} or an instance of Gibbs, "
        "Tempering or another sampler"
    )


def _as_initial(initial: Any, chains: int | None) -> Array:
    refuse_quantity("initial", initial)
    try:
        points = np.array(initial, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputTypeError(
            f"initial is a {type(initial).__name__}; accepted are numbers (chains, parameters)"
        ) from error
    if points.ndim == 1 and points.size:
        points = np.tile(points, (1 if chains is None else _count(chains), 1))
    if points.ndim != 2 or 0 in points.shape:
        raise InputError(f"initial has shape {points.shape}; accepted is (chains, parameters)")
    if chains is not None and chains != len(points):
        raise InputError(
            f"chains is {chains!r} and initial has {len(points)} rows; accepted is one row for a chain"
        )
    return points


def _count(chains: Any) -> int:
    if not isinstance(chains, int | np.integer) or chains < 1:
        raise InputError(f"chains is {chains!r}; accepted is a whole number of at least 1")
    return int(chains)


def _as_names(names: Sequence[str] | None, parameters: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"theta[{j}]" for j in range(parameters))
    chosen = tuple(names)
    if isinstance(names, str) or len(chosen) != parameters or len(set(chosen)) != parameters:
        raise InputError(f"names is {names!r}; accepted are {parameters} different names")
    return chosen


def _as_target(log_prob: Any, method: Sampler, vectorized: bool, parameters: int, device: Device) -> Target:
    if isinstance(method, Gibbs) and log_prob is None:
        log_prob, vectorized = (lambda points: np.zeros(points.shape[:-1])), True
    target = as_target(
        log_prob, gradient=method.gradient, vectorized=vectorized, parameters=parameters, device=device
    )
    return method.prepared(target, vectorized, parameters) if isinstance(method, Tempering) else target
