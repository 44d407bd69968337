r"""Kernels of time as linear stochastic differential equations: what a state is and how it moves.

A stationary process with a rational spectrum is one coordinate of a Markov process,

    dx = F x dt + noise,   f = h x,   cov(x) = P stationary,   k(t) = h exp(F t) P h^T,

so that the past is summed up in the few numbers of the state x (Hartikainen & Sarkka 2010).
Sums of kernels put the states side by side; products take the Kronecker product of the
states, the independence of the factors makes exp(F1 t) x exp(F2 t) the transition.

    kernel                       states
    Matern12, DRW, Constant      1
    Matern32, SHO                2      coordinates x and x' / w; P = sigma^2 I
    Matern52                     3      coordinates x, x' / l, x'' / l^2
    Rotation                     4      two SHO
    White                        0      variance of the noise
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce, singledispatch
from typing import Any

import numpy as np
import torch

from statml.errors import InputError
from statml.gp.kernels import (
    DRW,
    SHO,
    Constant,
    Kernel,
    Matern12,
    Matern32,
    Matern52,
    Product,
    Rotation,
    Sum,
    White,
)
from statml.gp.state_space.elementary import CRITICAL, FIRST_ORDER, NEARLY_CRITICAL, OVERDAMPED, UNDERDAMPED

Tensor = torch.Tensor

ACCEPTED = "DRW, Matern12, Matern32, Matern52, SHO, Rotation, Constant, White, their sums and products"


@dataclass(frozen=True)
class Form:
    """A process as a Markov chain, tensors that know where they come from.

    Attributes
    ----------
    drift : tensor (J, J)
        F.
    observe : tensor (J,)
        h.
    stationary : tensor (J, J)
        P.
    transition : function
        From steps (n,) to exp(F dt), (n, J, J).
    white : tensor ()
        Variance that no two values share.
    """

    drift: Tensor
    observe: Tensor
    stationary: Tensor
    transition: Callable[[Tensor], Tensor]
    white: Tensor

    @property
    def states(self) -> int:
        """J."""
        return len(self.observe)


@dataclass(frozen=True)
class Block:
    """A part of a sum, of first or second order: variance q, decay c, frequency w (0 at first order)."""

    variance: Any
    decay: Any
    frequency: Any
    order: int

    @property
    def kind(self) -> int:
        """Which formula holds, see `statml.gp.state_space.elementary`."""
        if self.order == 1:
            return FIRST_ORDER
        c, w = (x.item() if isinstance(x, Tensor) else x.real for x in (self.decay, self.frequency))
        k = (w - c) * (w + c)
        if abs(k) <= NEARLY_CRITICAL * w * w:
            return CRITICAL
        return UNDERDAMPED if k > 0 else OVERDAMPED


def time_feature(kernel: Kernel, d: int) -> int:
    """The feature that is the time: the one that all parts of a kernel look at.

    Parameters
    ----------
    kernel : Kernel
        With one feature it may look at all; with several, each part says `Kernel.on` which.
    d : int
        Number of features.

    Raises
    ------
    InputError
        The kernel looks at several features, or at one that is not there.
    """
    looked_at = _features(kernel, d)
    if len(looked_at) > 1:
        which = (
            "kernel.on(0), with the feature that is the time" if kernel_is_open(kernel) else "one, the time"
        )
        raise InputError(
            f"X has {d} features and the kernel looks at {len(looked_at)} of them; accepted is {which}"
        )
    feature = min(looked_at, default=0)
    if feature >= d:
        raise InputError(f"the kernel looks at feature {feature}; X has {d} features")
    return feature


def kernel_is_open(kernel: Kernel) -> bool:
    """Whether no part of a kernel says which features it looks at."""
    return all(leaf.dims is None for leaf in leaves(kernel))


def _features(kernel: Kernel, d: int) -> set[int]:
    found: set[int] = set()
    for leaf in leaves(kernel):
        if leaf.dims is not None:
            found |= set(leaf.dims)
        elif not isinstance(leaf, White | Constant):  # these look at nothing
            found |= set(range(d))
    return found


def leaves(kernel: Any) -> list[Any]:
    if isinstance(kernel, Sum | Product):
        parts = kernel.terms if isinstance(kernel, Sum) else kernel.factors
        return [leaf for part in parts for leaf in leaves(part)]
    return [kernel]


# -- sums of blocks, for which there is compiled code -------------------------------------


@singledispatch
def blocks(kernel: Kernel, theta: Any) -> list[Block] | None:
    """The blocks a kernel is the sum of; None where it is something else.

    Numbers for `theta` as an array (complex ones for a complex array), tensors for a tensor,
    which cost some microseconds each.
    """
    return None


def _first(variance: Any, decay: Any) -> list[Block]:
    return [Block(variance, decay, 0.0 * decay, 1)]


@blocks.register
def _(kernel: DRW, theta: Any) -> list[Block]:
    values = _numbers(kernel, theta)
    return _first(values["sigma"] ** 2, 1 / values["tau"])


@blocks.register
def _(kernel: Matern12, theta: Any) -> list[Block]:
    values = _numbers(kernel, theta)
    return _first(values["sigma"] ** 2, 1 / values["length_scale"])


@blocks.register
def _(kernel: Constant, theta: Any) -> list[Block]:
    variance = _numbers(kernel, theta)["sigma"] ** 2
    return _first(variance, 0.0 * variance)


@blocks.register
def _(kernel: White, theta: Any) -> list[Block]:
    return []


@blocks.register
def _(kernel: Matern32, theta: Any) -> list[Block]:
    values = _numbers(kernel, theta)
    rate = math.sqrt(3) / values["length_scale"]
    return [Block(values["sigma"] ** 2, rate, rate, 2)]


@blocks.register
def _(kernel: SHO, theta: Any) -> list[Block]:
    values = _numbers(kernel, theta)
    return [_oscillator(values["sigma"] ** 2, 2 * math.pi / values["period"], values["quality"])]


@blocks.register
def _(kernel: Rotation, theta: Any) -> list[Block]:
    values = _numbers(kernel, theta)
    second = 0.5 + values["quality0"]
    first = second + values["dquality"]
    # It is the damped oscillation that has the period.
    w1 = 2 * math.pi / (values["period"] * (1 - 1 / (4 * first**2)) ** 0.5)
    w2 = 4 * math.pi / (values["period"] * (1 - 1 / (4 * second**2)) ** 0.5)
    variance = values["sigma"] ** 2 / (1 + values["fraction"])
    return [_oscillator(variance, w1, first), _oscillator(values["fraction"] * variance, w2, second)]


@blocks.register
def _(kernel: Sum, theta: Any) -> list[Block] | None:
    found: list[Block] = []
    for part, own in kernel.split(theta):
        more = blocks(part, own)
        if more is None:
            return None
        found += more
    return found


def _oscillator(variance: Any, frequency: Any, quality: Any) -> Block:
    return Block(variance, frequency / (2 * quality), frequency, 2)


# -- any kernel ----------------------------------------------------------------------------


@singledispatch
def form(kernel: Kernel, theta: Tensor) -> Form:
    """The state-space form of a kernel.

    Parameters
    ----------
    kernel : Kernel
    theta : tensor (k,)
        Log hyperparameters; the form is differentiable in them.

    Raises
    ------
    InputError
        The kernel has none.
    """
    parts = blocks(kernel, theta)
    if parts is None:
        raise InputError(
            f"{type(kernel).__name__} has no state-space form of finite size; accepted are {ACCEPTED}"
        )
    return _sum([_of_block(part) for part in parts], white_variance(kernel, theta))


def white_variance(kernel: Kernel, theta: Tensor) -> Tensor:
    """Variance that no two values share, ()."""
    # Of the features of one point, whichever the kernel looks at.
    features = 1 + max((max(leaf.dims) for leaf in leaves(kernel) if leaf.dims), default=0)
    point = torch.zeros(1, features, dtype=theta.dtype, device=theta.device)
    return kernel.independent_variance(point, theta)[0]


@form.register
def _(kernel: Matern52, theta: Tensor) -> Form:
    values = _numbers(kernel, theta)
    rate, variance = math.sqrt(5) / values["length_scale"], values["sigma"] ** 2
    own: dict[str, Any] = {"dtype": theta.dtype, "device": theta.device}
    shape = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, -3.0, -3.0]], **own)
    nilpotent = shape + torch.eye(3, **own)
    square = nilpotent @ nilpotent
    third = variance / 3
    zero = torch.zeros_like(variance)
    stationary = torch.stack(
        [
            torch.stack([variance, zero, -third]),
            torch.stack([zero, third, zero]),
            torch.stack([-third, zero, variance]),
        ]
    )

    def transition(steps: Tensor) -> Tensor:
        z = (rate * steps)[:, None, None]
        return torch.exp(-z) * (torch.eye(3, **own) + z * nilpotent + z**2 / 2 * square)

    return Form(
        rate * shape,
        torch.tensor([1.0, 0.0, 0.0], **own),
        stationary,
        transition,
        white_variance(kernel, theta),
    )


@form.register
def _(kernel: Sum, theta: Tensor) -> Form:
    return _sum([form(part, own) for part, own in kernel.split(theta)])


@form.register
def _(kernel: Product, theta: Tensor) -> Form:
    parts = [form(part, own) for part, own in kernel.split(theta)]

    def value(part: Form) -> Tensor:
        return part.observe @ part.stationary @ part.observe

    total, white = value(parts[0]), parts[0].white
    for part in parts[1:]:  # what two values do not share: all of the variance less what they share
        white = (total + white) * (value(part) + part.white) - total * value(part)
        total = total * value(part)
    return Form(
        reduce(lambda a, b: _kron(a, _eye(b)) + _kron(_eye(a), b), [part.drift for part in parts]),
        reduce(torch.kron, [part.observe for part in parts]),
        reduce(_kron, [part.stationary for part in parts]),
        lambda steps: reduce(_kron, [part.transition(steps) for part in parts]),
        white,
    )


def _eye(matrix: Tensor) -> Tensor:
    return torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)


def _kron(a: Tensor, b: Tensor) -> Tensor:
    """Kronecker products of the last two axes."""
    product = a[..., :, None, :, None] * b[..., None, :, None, :]
    return product.reshape(*product.shape[:-4], a.shape[-2] * b.shape[-2], a.shape[-1] * b.shape[-1])


def _sum(parts: list[Form], white: Tensor | None = None) -> Form:
    if white is None:
        white = torch.stack([part.white for part in parts]).sum()
    own: dict[str, Any] = {"dtype": white.dtype, "device": white.device}
    if not parts:  # white noise alone: a state that is always zero
        zero = torch.zeros(1, 1, **own)
        return Form(
            zero, torch.ones(1, **own), zero, lambda steps: torch.ones(len(steps), 1, 1, **own), white
        )
    sizes = [part.states for part in parts]
    ends = np.cumsum(sizes)

    def transition(steps: Tensor) -> Tensor:
        if len(parts) == 1:
            return parts[0].transition(steps)
        rows = []
        for part, end, size in zip(parts, ends, sizes):
            left, right = int(end) - size, int(ends[-1] - end)
            rows.append(torch.nn.functional.pad(part.transition(steps), (left, right)))
        return torch.cat(rows, dim=1)

    return Form(
        torch.block_diag(*[part.drift for part in parts]),
        torch.cat([part.observe for part in parts]),
        torch.block_diag(*[part.stationary for part in parts]),
        transition,
        white,
    )


def _of_block(block: Block) -> Form:
    q, c, w = block.variance, block.decay, block.frequency
    zero = torch.zeros_like(q)
    if block.order == 1:
        return Form(
            -c.reshape(1, 1),
            torch.ones_like(q).reshape(1),
            q.reshape(1, 1),
            lambda dt: torch.exp(-c * dt)[:, None, None],
            zero,
        )
    own: dict[str, Any] = {"dtype": q.dtype, "device": q.device}
    drift = torch.stack([torch.stack([zero, w]), torch.stack([-w, -2 * c])])
    swing = torch.stack([torch.stack([c, w]), torch.stack([-w, -c])])

    def transition(steps: Tensor) -> Tensor:
        p, s = second_order(steps, block)
        return p[:, None, None] * torch.eye(2, **own) + s[:, None, None] * swing

    return Form(drift, torch.tensor([1.0, 0.0], **own), q * torch.eye(2, **own), transition, zero)


def second_order(steps: Tensor, block: Block) -> tuple[Tensor, Tensor]:
    """p and s of `statml.gp.state_space.elementary`, differentiable."""
    c, w = block.decay, block.frequency
    k = (w - c) * (w + c)
    if block.kind == UNDERDAMPED:
        d, e = torch.sqrt(k), torch.exp(-c * steps)
        return e * torch.cos(d * steps), e * torch.sin(d * steps) / d
    if block.kind == OVERDAMPED:
        root = torch.sqrt(-k)
        fast = c + root
        slow, gap = torch.exp(-(w**2 / fast) * steps), torch.expm1(-2 * root * steps)
        return slow * (1 + gap / 2), -slow * gap / (2 * root)
    steps = torch.clamp(steps, max=700 / c.item())
    z, e = k * steps**2, torch.exp(-c * steps)
    cosine, sine = torch.zeros_like(z), torch.zeros_like(z)
    for j in reversed(range(10)):
        cosine = 1 / math.factorial(2 * j) - z * cosine
        sine = 1 / math.factorial(2 * j + 1) - z * sine
    return e * cosine, e * sine * steps


def _numbers(kernel: Any, theta: Any) -> dict[str, Any]:
    """Hyperparameters, each a number."""
    if isinstance(theta, np.ndarray):
        values = {name: getattr(kernel, name) for name in kernel.parameters} | dict(
            kernel._split(np.exp(theta))
        )
        return {name: _one(kernel, name, np.atleast_1d(value))[0].item() for name, value in values.items()}
    return {name: _one(kernel, name, value).reshape(()) for name, value in kernel._values(theta).items()}


def _one(kernel: Any, name: str, value: Any) -> Any:
    if value.ndim and len(value) > 1:
        raise InputError(f"{name} of {type(kernel).__name__} has {len(value)} values; accepted is one, time")
    return value
