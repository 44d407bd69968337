r"""The filter of a sum of blocks, with its adjoint, written out for a given number of states.

A sum of independent blocks of first and second order (see `statml.gp.state_space.elementary`)
has the stationary covariance diag(q) and is observed through the first coordinate of each
block, y = h x + noise. With P the covariance of the state given the data so far, S = diag(q) - P
is what they have explained, and one step of the filter (Kalman 1960) is

    u = diag(q) h - S h,    D = h u + noise,    v = y - h m,
    m <- A (m + u v / D),   S <- A (S + u u^T / D) A^T,

log det K = sum log D, and y^T K^-1 y = sum v^2 / D. In these coordinates no process noise is
to be computed, and A u is ready by the time of the division, so the chain from one step to the next is
short. The adjoint runs the chain backwards. It needs S and m at every step; they are kept
only once in `CHUNK` steps and computed again in between, which costs less than fetching them.

Small arrays would live in memory, scalars live in registers: the code is therefore text
that is written out for the orders of the blocks, then compiled by numba.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from statml.gp.state_space import elementary
from statml.gp.state_space.elementary import (
    bits_of_float,
    compiled,
    float_of_bits,
    stiffness_slopes,
    transitions,
)

# Steps whose transitions are computed at a time, between two kept states: they fit the first cache.
CHUNK = 128
# Beyond this many states the text grows and loops over arrays are as good.
MOST_STATES = 6
LN2 = math.log(2.0)


@cache
def compiled_filter(orders: tuple[int, ...]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The two compiled functions ``(forward, backward)`` for blocks of these orders.

    ``forward(t, y, noise, kinds, q, c, w, kept)`` returns log det K, y^T K^-1 y and the smallest D,
    and fills `kept` where it has a row for every chunk. ``backward(..., kept, by_logdet,
    by_quadratic, y_bar, noise_bar, step_bar, blocks_bar)`` fills the last four with the
    derivatives by y, noise, the steps of t, and by the rows (q, c, w) of the blocks.
    """
    text = _Text(orders)
    names: dict[str, Any] = {
        "np": np,
        "math": math,
        "CHUNK": CHUNK,
        "LN2": LN2,
        "bits_of_float": bits_of_float,
        "float_of_bits": float_of_bits,
        "FRACTION": 2**52 - 1,
        "ONE": 1023 << 52,
        "transitions": transitions,
        "stiffness_slopes": stiffness_slopes,
    }
    # The file named here is what numba's cache on disk watches for changes.
    exec(compile(text.forward(), __file__, "exec"), names)
    exec(compile(text.backward(), __file__, "exec"), names)
    functions = names[f"forward_{text.suffix}"], names[f"backward_{text.suffix}"]
    for function in functions:
        function.__module__ = __name__
    return compiled(functions[0]), compiled(functions[1])


@cache
def compiled_loop(orders: tuple[int, ...]) -> Callable[..., None]:
    """The compiled function ``loop(t, y, noise, offsets, kinds, q, c, w, lowest, values)``: many series end to end.

    Series i is ``t[offsets[i]:offsets[i + 1]]``; its log likelihood goes to ``values[i]``, NaN where the
    smallest D is not above `lowest`.
    """
    suffix = _suffix(orders)
    text = f"""
def loop_{suffix}(t, y, noise, offsets, kinds, q, c, w, lowest, values):
    kept = np.empty((0, {kept_size(orders)}))
    for i in range(len(values)):
        a = offsets[i]; b = offsets[i + 1]
        logdet, quadratic, smallest = forward(t[a:b], y[a:b], noise[a:b], kinds, q, c, w, kept)
        values[i] = -0.5 * (logdet + quadratic + (b - a) * LOG_2PI) if smallest > lowest else np.nan
"""
    names: dict[str, Any] = {
        "np": np,
        "forward": compiled_filter(orders)[0],
        "LOG_2PI": math.log(2 * math.pi),
    }
    exec(compile(text, __file__, "exec"), names)
    function = names[f"loop_{suffix}"]
    function.__module__ = __name__
    return compiled(function)


def kept_size(orders: tuple[int, ...]) -> int:
    """Numbers in one kept state: the upper triangle of S, and m."""
    states = sum(orders)
    return states * (states + 1) // 2 + states


def _suffix(orders: tuple[int, ...]) -> str:
    """The orders, and a digest of what is compiled into the functions, which the cache on disk does not watch."""
    source = Path(elementary.__file__).read_bytes()
    return "_".join(map(str, orders)) + "_" + hashlib.sha256(source).hexdigest()[:8]


class _Text:
    """Lines of Python for blocks of given orders; S{i}{j} with i <= j, m{i}, u{i}, A{i}{j} are scalars."""

    def __init__(self, orders: tuple[int, ...]) -> None:
        self.orders = orders
        self.suffix = _suffix(orders)
        self.starts = [sum(orders[:b]) for b in range(len(orders))]
        self.states = sum(orders)
        self.block_of = [b for b, order in enumerate(orders) for _ in range(order)]
        self.pairs = [(i, j) for i in range(self.states) for j in range(i, self.states)]
        self.blocks = range(len(orders))

    def inside(self, i: int) -> list[int]:
        """The states of the block of state i."""
        start = self.starts[self.block_of[i]]
        return list(range(start, start + self.orders[self.block_of[i]]))

    # -- pieces ------------------------------------------------------------------------

    def head(self, name: str, arguments: str) -> list[str]:
        lines = [f"def {name}_{self.suffix}({arguments}):", "    n = len(t)"]
        lines += ["    steps = np.zeros(CHUNK)", f"    P = np.ones(({len(self.orders)}, CHUNK))"]
        lines += [f"    Z = np.zeros(({len(self.orders)}, CHUNK))"]
        lines += [
            f"    q{b} = q[{b}]; c{b} = c[{b}]; w{b} = w[{b}]; k{b} = w{b}*w{b} - c{b}*c{b}"
            for b in self.blocks
        ]
        return lines

    def fill(self, indent: str) -> list[str]:
        """Steps of t from `first` to `stop` and their transitions; the last of all is 0."""
        lines = [
            "for i in range(stop - first - 1): steps[i] = t[first + i + 1] - t[first + i]",
            "steps[stop - first - 1] = t[stop] - t[stop - 1] if stop < n else 0.0",
            "length = stop - first",
        ]
        lines += [
            f"transitions(steps[:length], kinds[{b}], c{b}, k{b}, P[{b}, :length], Z[{b}, :length])"
            for b in self.blocks
        ]
        return [indent + line for line in lines]

    def update(self, indent: str) -> list[str]:
        """u, D, v and r = 1 / D."""
        lines = []
        for i in range(self.states):
            known = " - ".join(_S(i, f) for f in self.starts)
            lines.append(f"u{i} = {f'q{self.block_of[i]}' if i in self.starts else '0.0'} - {known}")
        lines.append("D = noise[first + i] + " + " + ".join(f"u{f}" for f in self.starts))
        lines.append("v = y[first + i] - " + " - ".join(f"m{f}" for f in self.starts))
        lines.append("r = 1.0 / D")
        return [indent + line for line in lines]

    def load_transition(self, indent: str) -> list[str]:
        lines = []
        for b, (start, order) in enumerate(zip(self.starts, self.orders)):
            lines.append(f"p{b} = P[{b}, i]")
            if order == 1:
                lines.append(f"A{start}{start} = p{b}")
                continue
            i, j = start, start + 1
            lines += [
                f"s{b} = Z[{b}, i]",
                f"A{i}{i} = p{b} + s{b}*c{b}; A{i}{j} = s{b}*w{b}; A{j}{i} = -A{i}{j}; A{j}{j} = p{b} - s{b}*c{b}",
            ]
        return [indent + line for line in lines]

    def times(self, name: str, vector: str, *, transposed: bool = False) -> list[str]:
        """name = A vector, or A^T vector; both are names with a place for the state."""
        lines = []
        for i in range(self.states):
            entries = [(f"A{j}{i}" if transposed else f"A{i}{j}", vector.format(j)) for j in self.inside(i)]
            lines.append(f"{name.format(i)} = " + " + ".join(f"{a}*{x}" for a, x in entries))
        return lines

    def propagate(self, indent: str) -> list[str]:
        lines = ["vr = v * r", *self.times("g{}", "u{}"), *self.times("f{}", "m{}")]
        lines += [f"m{i} = f{i} + g{i}*vr" for i in range(self.states)]
        for i, j in product(range(self.states), repeat=2):  # M = A S
            if self.block_of[i] <= self.block_of[j]:
                lines.append(f"M{i}{j} = " + " + ".join(f"A{i}{k}*{_S(k, j)}" for k in self.inside(i)))
        for i, j in self.pairs:
            lines.append(
                f"{_S(i, j)} = "
                + " + ".join(f"M{i}{k}*A{j}{k}" for k in self.inside(j))
                + f" + g{i}*(g{j}*r)"
            )
        return [indent + line for line in lines]

    def state_names(self) -> list[str]:
        return [_S(i, j) for i, j in self.pairs] + [f"m{i}" for i in range(self.states)]

    def copy_state(self, indent: str, to: str) -> list[str]:
        return [f"{indent}{to.format(number)} = {name}" for number, name in enumerate(self.state_names())]

    def load_state(self, indent: str, source: str) -> list[str]:
        return [f"{indent}{name} = {source.format(number)}" for number, name in enumerate(self.state_names())]

    # -- the two functions -------------------------------------------------------------

    def forward(self) -> str:
        lines = self.head("forward", "t, y, noise, kinds, q, c, w, kept")
        lines += ["    logdet = 0.0; quadratic = 0.0; smallest = np.inf; keep = len(kept) > 0"]
        lines += [f"    {name} = 0.0" for name in self.state_names()]
        lines += ["    for chunk in range((n + CHUNK - 1) // CHUNK):"]
        lines += ["        first = chunk * CHUNK; stop = min(first + CHUNK, n)"]
        lines += self.fill(" " * 8)
        lines += ["        if keep:", *self.copy_state(" " * 12, "kept[chunk, {}]")]
        # log of a product of mantissas between 1 and 2: one logarithm for a whole chunk
        lines += ["        mantissa = 1.0; exponent = np.int64(0)"]
        lines += ["        for i in range(length):"]
        lines += self.update(" " * 12)
        lines += [
            "            smallest = min(smallest, D)",
            "            bits = bits_of_float(D)",
            "            exponent += (bits >> 52) - 1023",
            "            mantissa *= float_of_bits((bits & FRACTION) | ONE)",
            "            quadratic += v * (v * r)",
        ]
        lines += self.load_transition(" " * 12) + self.propagate(" " * 12)
        lines += ["        logdet += math.log(mantissa) + exponent * LN2"]
        lines += ["    return logdet, quadratic, smallest"]
        return "\n".join(lines)

    def backward(self) -> str:
        arguments = "t, y, noise, kinds, q, c, w, kept, by_logdet, by_quadratic, y_bar, noise_bar, step_bar, blocks_bar"
        indent = " " * 12
        size = kept_size(self.orders)
        lines = self.head("backward", arguments)
        lines += [f"    T = np.zeros(({len(self.orders)}, CHUNK)); B = np.empty((CHUNK, {size + 2}))"]
        lines += [f"    {name}b = 0.0" for name in self.state_names()]
        lines += [f"    q{b}b = 0.0; c{b}b = 0.0; w{b}b = 0.0; k{b}b = 0.0" for b in self.blocks]
        lines += ["    for chunk in range((n + CHUNK - 1) // CHUNK - 1, -1, -1):"]
        lines += ["        first = chunk * CHUNK; stop = min(first + CHUNK, n)"]
        lines += self.fill(" " * 8)
        lines += [
            f"        stiffness_slopes(steps[:length], kinds[{b}], c{b}, k{b}, P[{b}, :length], Z[{b}, :length], T[{b}, :length])"
            for b in self.blocks
            if self.orders[b] == 2
        ]
        lines += self.load_state(" " * 8, "kept[chunk, {}]")
        lines += ["        for i in range(length):", *self.copy_state(indent, "B[i, {}]")]
        lines += [*self.update(indent), f"{indent}B[i, {size}] = r; B[i, {size + 1}] = v"]
        lines += self.load_transition(indent) + self.propagate(indent)
        lines += ["        for i in range(length - 1, -1, -1):", *self.load_state(indent, "B[i, {}]")]
        lines += [f"{indent}r = B[i, {size}]; v = B[i, {size + 1}]"]
        lines += [line for line in self.update(indent) if line.strip().startswith("u")]
        lines += self.load_transition(indent)
        lines += [indent + line for line in self.reverse_step()]
        lines += [
            f"    blocks_bar[{b}, 0] = q{b}b; blocks_bar[{b}, 1] = c{b}b - 2.0*c{b}*k{b}b; blocks_bar[{b}, 2] = w{b}b + 2.0*w{b}*k{b}b"
            for b in self.blocks
        ]
        return "\n".join(lines)

    def reverse_step(self) -> list[str]:
        """From the adjoints of S and m after a step to those before; S and m are those before."""
        n = range(self.states)
        lines = [*self.times("g{}", "u{}"), "vr = v * r"]
        lines += [f"e{i} = " + " + ".join(f"{_S(i, j)}b*g{j}" for j in n) for i in n]  # Sb g
        lines += ["mg = " + " + ".join(f"m{i}b*g{i}" for i in n)]
        lines += [
            "rb = " + " + ".join(f"g{i}*e{i}" for i in n) + " + v*mg + by_quadratic*v*v",
            "vb = r*mg + 2.0*by_quadratic*vr",
            "Db = by_logdet*r - r*r*rb",
            "y_bar[first + i] = vb; noise_bar[first + i] = Db",
        ]
        lines += [f"g{i}b = 2.0*r*e{i} + m{i}b*vr" for i in n]
        for i, j in product(n, repeat=2):  # M = Sb A
            lines.append(f"M{i}{j} = " + " + ".join(f"{_S(i, k)}b*A{k}{j}" for k in self.inside(j)))
        lines += self._transition_bars()
        lines += self.times("f{}", "m{}b", transposed=True)
        lines += self.times("u{}b", "g{}b", transposed=True)
        lines += [f"u{f}b += Db" for f in self.starts]
        lines += [f"q{b}b += u{self.starts[b]}b" for b in self.blocks]
        for i, j in self.pairs:  # Sb <- A^T Sb A less what u takes
            text = " + ".join(f"A{k}{i}*M{k}{j}" for k in self.inside(i))
            taken = [f"u{i}b"] * (j in self.starts) + [f"u{j}b"] * (i in self.starts)
            lines.append(f"{_S(i, j)}b = {text}" + (f" - 0.5*({' + '.join(taken)})" if taken else ""))
        lines += [f"m{i}b = f{i}" + (" - vb" if i in self.starts else "") for i in n]
        return lines

    def _transition_bars(self) -> list[str]:
        """Derivatives by the parameters of the blocks and by the step, through the entries of A."""
        n = range(self.states)
        lines, steps = [], []

        def entry(i: int, j: int) -> str:  # of 2 Sb A S + mb m^T + gb u^T
            return f"2.0*({' + '.join(f'M{i}{k}*{_S(k, j)}' for k in n)}) + m{i}b*m{j} + g{i}b*u{j}"

        for b, (i, order) in enumerate(zip(self.starts, self.orders)):
            if order == 1:
                lines += [f"x{b} = {entry(i, i)}", f"c{b}b -= steps[i]*p{b}*x{b}"]
                steps.append(f"- c{b}*p{b}*x{b}")
                continue
            j = i + 1
            lines += [
                f"a00 = {entry(i, i)}",
                f"a01 = {entry(i, j)}",
                f"a10 = {entry(j, i)}",
                f"a11 = {entry(j, j)}",
            ]
            lines += [
                f"x{b} = a00 + a11; d00 = a00 - a11; d01 = a01 - a10",
                f"z{b} = c{b}*d00 + w{b}*d01",
                f"c{b}b += s{b}*d00 - steps[i]*(x{b}*p{b} + z{b}*s{b})",
                f"w{b}b += s{b}*d01",
                f"k{b}b += z{b}*T[{b}, i] - 0.5*steps[i]*s{b}*x{b}",
            ]
            steps.append(f"- x{b}*(c{b}*p{b} + k{b}*s{b}) + z{b}*(p{b} - c{b}*s{b})")
        return [*lines, "step_bar[first + i] = " + " ".join(steps)]


def _S(i: int, j: int) -> str:
    return f"S{min(i, j)}{max(i, j)}"
