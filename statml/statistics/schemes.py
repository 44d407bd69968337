"""What is drawn, or left out, when data are resampled: rows, runs of a series, groups.

    Rows()                     each row by itself
    MovingBlocks(length)       runs of a series, drawn anywhere
    CircularBlocks(length)     the same, with the series closed to a ring
    Groups(labels)             groups of rows: regions of the sky, plates, stars

Blocks have to be longer than the correlation of the series, and many: their number is
the number of independent data that is left.

Sources: Kunsch (1989), Ann. Stat. 17, 1217 (moving blocks); Politis & Romano (1992)
(circular blocks).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from statml.errors import InputError
from statml.statistics.pairs import compact_regions

Array = np.ndarray


class Scheme(Protocol):
    """What is drawn, and what is left out, of n rows."""

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Row numbers of one bootstrap sample."""

    def left(self, n: int) -> Iterator[Array]:
        """Row numbers that are left when each unit in turn is taken out."""


@dataclass(frozen=True)
class Rows:
    """Every row by itself."""

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """n rows with replacement."""
        return rng.integers(n, size=n)

    def left(self, n: int) -> Iterator[Array]:
        """All rows but one."""
        rows = np.arange(n)
        for i in range(n):
            yield np.delete(rows, i)


@dataclass(frozen=True)
class MovingBlocks:
    """Runs of `length` rows of a series, starting anywhere; rows near the ends are drawn less often."""

    length: int

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """n rows of blocks put one after another, the last one cut."""
        length = _block_length(self.length, n)
        starts = rng.integers(n - length + 1, size=-(-n // length))
        return (starts[:, None] + np.arange(length)).ravel()[:n]

    def left(self, n: int) -> Iterator[Array]:
        """All rows but those of one of the blocks that do not overlap."""
        return _without_runs(_block_length(self.length, n), n)


@dataclass(frozen=True)
class CircularBlocks:
    """Runs of `length` rows of a series closed to a ring, so that every row is drawn equally often."""

    length: int

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """n rows of blocks put one after another, the last one cut."""
        length = _block_length(self.length, n)
        starts = rng.integers(n, size=-(-n // length))
        return ((starts[:, None] + np.arange(length)) % n).ravel()[:n]

    def left(self, n: int) -> Iterator[Array]:
        """All rows but those of one of the blocks that do not overlap."""
        return _without_runs(_block_length(self.length, n), n)


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of rows with one label each: as many groups are drawn as there are; a label is anything sortable."""

    labels: Any

    @classmethod
    def spatial(cls, positions: Any, count: int) -> Groups:
        """Compact regions of equally many points: positions (n, d), halved across their longest side again and again.

        Examples
        --------
        >>> import numpy as np
        >>> regions = Groups.spatial(np.random.default_rng(0).random((90, 2)), 9)
        >>> np.bincount(regions.labels)
        array([10, 10, 10, 10, 10, 10, 10, 10, 10])
        """
        positions = np.asarray(positions, float)
        if positions.ndim != 2 or not np.all(np.isfinite(positions)):
            raise InputError(
                f"positions has shape {positions.shape} or a value that is not finite; accepted is (n, d)"
            )
        return cls(compact_regions(positions, positions[:1], count)[0])

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """All rows of the drawn groups; their number varies with the sizes of the groups."""
        members = self._members(n)
        return np.concatenate([members[g] for g in rng.integers(len(members), size=len(members))])

    def left(self, n: int) -> Iterator[Array]:
        """All rows but those of one group."""
        rows = np.arange(n)
        for group in self._members(n):
            yield np.delete(rows, group)

    def _members(self, n: int) -> list[Array]:
        labels = np.asarray(self.labels)
        if labels.shape != (n,):
            raise InputError(f"labels has shape {labels.shape}; accepted is one label for each of {n} rows")
        _, group = np.unique(labels, return_inverse=True)
        order = np.argsort(group, kind="stable")
        members = np.split(order, np.cumsum(np.bincount(group))[:-1])
        if len(members) < 2:
            raise InputError("labels holds one group; accepted are two or more")
        return members


def _block_length(length: int, n: int) -> int:
    if not isinstance(length, int | np.integer) or not 1 <= length <= n // 2:
        raise InputError(f"length is {length!r}; accepted is a whole number from 1 to half of {n} rows")
    return int(length)


def _without_runs(length: int, n: int) -> Iterator[Array]:
    rows = np.arange(n)
    for start in range(0, n - length + 1, length):
        yield np.delete(rows, slice(start, start + length))
