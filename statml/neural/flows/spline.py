r"""Monotone rational-quadratic splines: one number to one number, exactly invertible.

Between the knots (x_k, y_k) and (x_k+1, y_k+1), with slopes d_k and d_k+1, the chord
s = (y_k+1 - y_k) / (x_k+1 - x_k) and t = (x - x_k) / (x_k+1 - x_k),

    y = y_k + (y_k+1 - y_k) (s t^2 + d_k t (1 - t)) / (s + (d_k + d_k+1 - 2 s) t (1 - t))

rises for any positive slopes, has those slopes at the knots, and its inverse solves a
quadratic equation. Outside the knots it goes on as a straight line.

References: Gregory & Delbourgo (1982, IMA J. Numer. Anal. 2, 123); Durkan et al. (2019),
arXiv:1906.04032.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Knots:
    """K + 1 knots of each spline: `x`, `y`, both rising, and positive `slope`, each (..., K + 1)."""

    x: Tensor
    y: Tensor
    slope: Tensor


def free_knots(raw: Tensor, bins: int, bound: float, *, least: float = 1e-3) -> Knots:
    """Knots between (-bound, -bound) and (bound, bound) from 3 K - 1 numbers without constraints.

    Parameters
    ----------
    raw : tensor (..., 3 K - 1)
        Logits of K widths and K heights, and K - 1 inner slopes. Zeros are the identity.
    bins : int
        K.
    bound : float
        Beyond it the spline is the identity, so the outer slopes are 1.
    least : float
        Smallest slope, and smallest width and height in units of their mean.
    """
    widths, heights, slopes = raw.split([bins, bins, bins - 1], dim=-1)

    def rising(logits: Tensor) -> Tensor:
        share = least / bins + (1 - least) * torch.softmax(logits, dim=-1)
        inner = bound * (2 * share.cumsum(dim=-1)[..., :-1] - 1)
        return functional.pad(functional.pad(inner, (1, 0), value=-bound), (0, 1), value=bound)

    # softplus(x + offset) is 1 - least at x = 0
    offset = float(torch.log(torch.expm1(torch.tensor(1 - least, dtype=torch.float64))))
    inner = least + functional.softplus(slopes + offset)
    return Knots(rising(widths), rising(heights), functional.pad(inner, (1, 1), value=1.0))


def forward(x: Tensor, knots: Knots) -> tuple[Tensor, Tensor]:
    """The spline's value at x, shape (...), and the log of its slope there."""
    inside, x0, width, y0, height, d0, d1 = _bin(x, knots.x, knots)
    chord = height / width
    t = ((x - x0) / width).clamp(0, 1)
    rest = t * (1 - t)
    below = chord + (d0 + d1 - 2 * chord) * rest
    y = y0 + height * (chord * t**2 + d0 * rest) / below
    slope = chord**2 * (d1 * t**2 + 2 * chord * rest + d0 * (1 - t) ** 2) / below**2
    outer, outer_slope = _tails(x, knots.x, knots.y, knots.slope)
    return torch.where(inside, y, outer), torch.where(inside, slope, outer_slope).log()


def inverse(y: Tensor, knots: Knots) -> Tensor:
    """The x at which the spline has the value y."""
    inside, x0, width, y0, height, d0, d1 = _bin(y, knots.y, knots)
    chord = height / width
    rise = (y - y0).clamp(min=0)
    bend = d0 + d1 - 2 * chord
    # a t^2 + b t + c = 0 in the form that has no difference of nearly equal numbers
    a = height * (chord - d0) + rise * bend
    b = height * d0 - rise * bend
    c = -chord * rise
    root = (b**2 - 4 * a * c).clamp(min=0).sqrt()
    t = (2 * c / (-b - root)).clamp(0, 1)
    return torch.where(inside, x0 + t * width, _tails(y, knots.y, knots.x, 1 / knots.slope)[0])


def _bin(value: Tensor, along: Tensor, knots: Knots) -> tuple[Tensor, ...]:
    """Where values lie between knots: inside or not, then x0, width, y0, height, both slopes of the bin."""
    inside = (value > along[..., 0]) & (value < along[..., -1])
    low = (along[..., 1:-1] <= value[..., None]).sum(dim=-1, keepdim=True)
    both = torch.cat([low, low + 1], dim=-1)
    shape = (*value.shape, knots.x.shape[-1])
    x, y, slope = (side.expand(shape).gather(-1, both) for side in (knots.x, knots.y, knots.slope))
    return (
        inside,
        x[..., 0],
        x[..., 1] - x[..., 0],
        y[..., 0],
        y[..., 1] - y[..., 0],
        slope[..., 0],
        slope[..., 1],
    )


def _tails(value: Tensor, along: Tensor, other: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """The straight lines outside the knots, and their slopes."""
    left = value <= along[..., 0]
    start, end, rate = (torch.where(left, side[..., 0], side[..., -1]) for side in (along, other, slope))
    return end + rate * (value - start), rate
