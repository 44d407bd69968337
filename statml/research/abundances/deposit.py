r"""From events to the spectrum of a map: diffusion without time steps.

An event of weight w at x whose metals have spread to a variance S for each axis is, on a periodic square of side 1,

    F(k) = w exp(-i k.x) exp(-k^2 S / 2),     k = 2 pi (integers).

An event of any S is a combination of events of the four nearest levels of a ladder in ln S, by cubic interpolation
of exp(-k^2 S / 2). Events of one level are laid on a grid that is just fine enough for their width, with cubic
B-splines; its FFT, divided by the transform of the spline and multiplied by exp(-k^2 S / 2), is added to the
spectrum of the map. Old, wide events need a few cells only, so that almost all the work is in the youngest ones.
There is no time step, no stability limit and no boundary.

What is not exact: the interpolation is right to 4e-5 of an event's amplitude, and the spline leaves an alias of random
sign below 1e-3 of it (`tests/oracles/test_abundance_simulation.py` measures both against sums of Gaussians).

All events of many maps are laid down together; the code is one for CPU and GPU. On a GPU sums come in no fixed
order, so that maps agree to the rounding of their precision, not to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from statml.errors import InputError

Array = np.ndarray

# Rung of the ladder in ln S. Cubic interpolation errs by its fourth power times 0.023.
LN_STEP = 0.2
# Amplitude that an event may still have at the largest wavenumber of its grid.
SHARP = 1e-5
# Cells of a B-spline along one axis.
CELLS = 4
SMALLEST_GRID = 8
# Events laid down in one go: 16 cells each are held in memory.
CHUNK = {"cpu": 2**16, "cuda": 2**23}


@dataclass(frozen=True, eq=False)
class Events:
    """Events of many maps, as torch tensors of one device.

    Attributes
    ----------
    x, y : tensors (n,)
        In units of the side of the box; any number, as the box is periodic.
    weight : tensor (n,)
    variance : tensor (n,)
        S, in units of the side squared.
    owner : integer tensor (n,)
        The map that each belongs to.
    """

    x: Any
    y: Any
    weight: Any
    variance: Any
    owner: Any


def needed_grid(width: float) -> int:
    """Cells for each side that events of this standard deviation need, in units of the side of the box."""
    return math.ceil(math.sqrt(-2 * math.log(SHARP)) / (math.pi * width))


def check_grid(grid: Any, width: float, what: str) -> int:
    """Return an even number of cells that is fine enough for the narrowest event.

    Raises
    ------
    InputError
        It is no even number, or too small.
    """
    if not isinstance(grid, int | np.integer) or grid < SMALLEST_GRID or grid % 2:
        raise InputError(f"grid is {grid!r}; accepted is an even whole number of at least {SMALLEST_GRID}")
    needed = needed_grid(width)
    if grid < needed:
        raise InputError(
            f"grid is {grid}, too coarse for {what}; accepted are at least {needed + needed % 2} cells, a wider "
            "injection or a smaller box"
        )
    return int(grid)


def spectra(events: Events, maps: int, grid: int) -> Any:
    """Spectra of the maps, (maps, grid, grid // 2 + 1), complex: the sum over events, as in the module.

    Parameters
    ----------
    events : Events
    maps : int
    grid : int
        Even.
    """
    import torch

    like = events.weight
    total = torch.zeros(
        (maps, grid, grid // 2 + 1),
        dtype=torch.complex64 if like.dtype == torch.float32 else torch.complex128,
        device=like.device,
    )
    for cells, variances, part, level in _groups(events, grid):
        laid = _lay(part, level, len(variances), maps, cells)
        transformed = torch.fft.rfft2(laid)
        half = cells // 2
        # Without the largest wavenumber, which belongs to both signs; nothing is left there.
        damping = _damping(cells, variances, like.device, like.dtype)
        for rows in (slice(0, half), slice(cells - half + 1, cells)):
            into = rows if rows.start == 0 else slice(grid - half + 1, grid)
            total[:, into, :half] += torch.einsum(
                "bmyx,byx->myx", transformed[:, :, rows, :half], damping[:, rows, :half].to(transformed.dtype)
            )
    return total


def to_maps(spectrum: Any, grid: int) -> Any:
    """Maps (..., grid, grid) of densities, for one area of the box: the integral of one event is its weight."""
    import torch

    return torch.fft.irfft2(spectrum, s=(grid, grid)) * grid**2


def _groups(events: Events, grid: int) -> Iterator[tuple[int, Array, Events, Any]]:
    """Cells, variances of their levels, events, and the level of each event: for every size of grid."""
    import torch

    if not len(events.weight):
        return
    rung, weight, source = _interpolated(events)
    order = torch.argsort(rung)
    rung = rung[order]
    present, counts = (found.cpu().numpy() for found in torch.unique_consecutive(rung, return_counts=True))
    variances = np.exp(present * LN_STEP)
    sizes = np.array([_grid_size(variance, grid) for variance in variances])
    ends = np.cumsum(counts)
    for cells in np.unique(sizes):
        chosen = np.flatnonzero(sizes == cells)  # neighbours, as the size falls with S
        rows = order[int(ends[chosen[0]] - counts[chosen[0]]) : int(ends[chosen[-1]])]
        level = torch.repeat_interleave(
            torch.arange(len(chosen), device=rows.device), torch.as_tensor(counts[chosen], device=rows.device)
        )
        at = source[rows]
        part = Events(events.x[at], events.y[at], weight[rows], events.variance[at], events.owner[at])
        yield int(cells), variances[chosen], part, level


def _interpolated(events: Events) -> tuple[Any, Any, Any]:
    """Rungs, weights and rows of the events that stand for each event, all (4 n,)."""
    import torch

    place = torch.log(events.variance.to(torch.float64)) / LN_STEP
    below = torch.floor(place)
    t = place - below
    # Lagrange's polynomials through -1, 0, 1, 2.
    shares = torch.stack(
        [
            -t * (t - 1) * (t - 2) / 6,
            (t + 1) * (t - 1) * (t - 2) / 2,
            -(t + 1) * t * (t - 2) / 2,
            (t + 1) * t * (t - 1) / 6,
        ],
        dim=1,
    ).to(events.weight.dtype)
    rung = below.to(torch.int64)[:, None] + torch.arange(-1, 3, device=place.device)
    source = torch.arange(len(place), device=place.device)[:, None].expand(-1, 4)
    return rung.reshape(-1), (shares * events.weight[:, None]).reshape(-1), source.reshape(-1)


@cache
def _sizes(grid: int) -> Array:
    """Even sizes up to the grid that an FFT likes."""
    good = {
        size
        for a in range(1, 12)
        for b in range(7)
        for c in range(4)
        if SMALLEST_GRID <= (size := 2**a * 3**b * 5**c) < grid and b + c <= 3
    }
    return np.array([*sorted(good), grid])


def _grid_size(variance: float, grid: int) -> int:
    sizes = _sizes(grid)
    place = int(np.searchsorted(sizes, needed_grid(math.sqrt(variance))))
    return int(sizes[min(place, len(sizes) - 1)])


def _lay(events: Events, level: Any, levels: int, maps: int, cells: int) -> Any:
    """Events on grids (levels, maps, cells, cells)."""
    import torch

    weight = events.weight
    laid = torch.zeros(levels * maps * cells**2, dtype=weight.dtype, device=weight.device)
    for start in range(0, len(weight), CHUNK[weight.device.type]):
        rows = slice(start, start + CHUNK[weight.device.type])
        x, wx = _spline(events.x[rows], cells)
        y, wy = _spline(events.y[rows], cells)
        base = (level[rows] * maps + events.owner[rows]) * cells
        index = ((base[:, None] + y) * cells)[:, :, None] + x[:, None, :]
        value = (wy * weight[rows][:, None])[:, :, None] * wx[:, None, :]
        laid.index_add_(0, index.reshape(-1), value.reshape(-1))
    return laid.reshape(levels, maps, cells, cells)


def _spline(position: Any, cells: int) -> tuple[Any, Any]:
    """Four cells around each position, and the cubic B-spline there, both (n, 4)."""
    import torch

    at = position * cells
    first = torch.floor(at)
    u = at - first
    v = 1 - u
    weights = torch.stack([v**3, 3 * u**3 - 6 * u**2 + 4, 3 * v**3 - 6 * v**2 + 4, u**3], dim=1) / 6
    offsets = torch.arange(-1, CELLS - 1, device=position.device)
    return torch.remainder(first.to(torch.int64)[:, None] + offsets, cells), weights


def _damping(cells: int, variances: Array, device: Any, dtype: Any) -> Any:
    """exp(-k^2 S / 2) over the transform of the spline: (bins, cells, cells // 2 + 1)."""
    import torch

    along = np.fft.fftfreq(cells, 1 / cells)
    across = np.arange(cells // 2 + 1)
    # Each axis on its own: the exponential of a sum is a product.
    axis = [
        np.exp(-2 * np.pi**2 * variances[:, None] * numbers**2) / np.sinc(numbers / cells) ** CELLS
        for numbers in (along, across)
    ]
    y, x = (torch.as_tensor(each, dtype=dtype, device=device) for each in axis)
    return y[:, :, None] * x[:, None, :]
