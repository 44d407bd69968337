"""Gibbs sampling: one parameter, or one block, at a time from its conditional distribution.

A draw from p(theta_j | all others, data) is a Metropolis-Hastings proposal that is
always accepted. Where the conditionals are known there is nothing to tune; where the
parameters are correlated the steps are short: for a bivariate normal of correlation
rho each sweep forgets 1 - rho^2.

Sources: Geman & Geman (1984); Gelfand & Smith (1990). arXiv:2506.12230, chapter 13.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from statml.errors import InputError, InputTypeError
from statml.sampling.target import Target
from statml.sampling.transition import Clock, Sampler, State

Array = np.ndarray
Conditional = Callable[[Array, np.random.Generator], Any]


@dataclass(frozen=True, repr=False)
class Gibbs(Sampler):
    """Sweeps over conditional distributions.

    Parameters
    ----------
    conditionals : sequence or mapping of callables
        ``conditional(points, rng)`` gets the points (chains, parameters) and draws new
        values of its parameter (chains,), or of its block (chains, size). A sequence has one
        for each parameter; a mapping has parameter numbers, or tuples of them, as keys. The
        order is that of a sweep.

    Examples
    --------
    >>> import numpy as np
    >>> from statml.sampling import sample
    >>> rho = 0.6
    >>> def given(other):
    ...     return lambda x, rng: rho * x[:, other] + np.sqrt(1 - rho**2) * rng.standard_normal(len(x))
    >>> chain = sample(None, np.zeros((4, 2)), sampler=Gibbs([given(1), given(0)]), draws=2000, rng=0)
    >>> bool(abs(np.corrcoef(chain.flat.T)[0, 1] - rho) < 0.05)
    True
    """

    name: ClassVar[str] = "gibbs"

    conditionals: Sequence[Conditional] | Mapping[Any, Conditional]

    def __post_init__(self) -> None:
        for where, conditional in self._blocks():
            if not callable(conditional):
                raise InputTypeError(
                    f"conditionals[{where!r}] is a {type(conditional).__name__}; accepted are functions"
                )

    def __repr__(self) -> str:
        return f"Gibbs({[where for where, _ in self._blocks()]})"

    def _blocks(self) -> list[tuple[Any, Conditional]]:
        if isinstance(self.conditionals, Mapping):
            return list(self.conditionals.items())
        return list(enumerate(self.conditionals))

    def check(self, initial: Array) -> None:
        super().check(initial)
        k = initial.shape[1]
        covered = sorted(int(j) for where, _ in self._blocks() for j in np.atleast_1d(where))
        if covered != list(range(k)):
            raise InputError(
                f"conditionals are of the parameters {covered}; accepted is each of the {k} parameters, once"
            )

    def begin(self, target: Target, points: Array, log_prob: Array, rng: np.random.Generator) -> State:
        return State(points, log_prob, {})

    def step(self, target: Target, state: State, clock: Clock, rng: np.random.Generator) -> State:
        points = state.points.copy()
        for where, conditional in self._blocks():
            index = list(where) if isinstance(where, tuple) else where
            values = np.asarray(conditional(points, rng), float)
            if values.shape != points[:, index].shape or not np.all(np.isfinite(values)):
                raise InputError(
                    f"conditionals[{where!r}] returned shape {values.shape}, or a value that is not finite; "
                    f"accepted are finite numbers of shape {points[:, index].shape}"
                )
            points[:, index] = values
        return State(points, target.value(points), {})
