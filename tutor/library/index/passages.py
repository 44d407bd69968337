"""The ids of all passages with year and categories, in memory, for filters answered before the search."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from statml.errors import InputError
from tutor.library.store import Library

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Filter:
    """What a search may find.

    Attributes
    ----------
    years : (int, int) or None
        First and last year. A source without a year is left out.
    categories : tuple of str
        Any of these; ``astro-ph`` stands for ``astro-ph.GA`` and its sisters too.
    """

    years: tuple[int, int] | None = None
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.years is not None and self.years[0] > self.years[1]:
            raise InputError(f"the years must go from the earlier to the later, got {self.years}")

    def __bool__(self) -> bool:
        return self.years is not None or bool(self.categories)


@dataclass(frozen=True)
class Passages:
    """All passages of one generation.

    Attributes
    ----------
    ids : (n,) ascending
    year : (n,), 0 where unknown
    group : (n,), which of `groups` a passage's categories are
    groups : list of tuple of str
    """

    ids: Ids
    year: NDArray[np.int32]
    group: NDArray[np.int32]
    groups: list[tuple[str, ...]] = field(default_factory=list)

    @classmethod
    def read(cls, library: Library) -> Passages:
        """Read the ids, years and categories of all passages."""
        documents: dict[int, tuple[int, int]] = {}
        known: dict[str, int] = {}
        for identity, year, categories in library.reading().execute(
            "SELECT id, details ->> '$.year', details -> '$.categories' FROM documents"
        ):
            documents[identity] = (_year(year), known.setdefault(categories or "[]", len(known)))
        rows = library.reading().execute("SELECT id, document FROM chunks ORDER BY id").fetchall()
        ids = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        columns = np.array([documents.get(row[1], (0, 0)) for row in rows], dtype=np.int32).reshape(-1, 2)
        return cls(ids, columns[:, 0], columns[:, 1], [_categories(text) for text in known])

    def allowed(self, wanted: Filter) -> Mask:
        """Which passages a filter lets through, ``(n,)``."""
        mask = np.ones(len(self.ids), dtype=bool)
        if wanted.years is not None:
            first, last = wanted.years
            mask &= (self.year >= first) & (self.year <= last) & (self.year > 0)
        if wanted.categories:
            fitting = [any(_within(one, wanted.categories) for one in group) for group in self.groups]
            mask &= np.array(fitting, dtype=bool)[self.group]
        return mask

    def place(self, ids: Ids) -> Ids:
        """Position of each of `ids` here, -1 for one that is gone."""
        if not len(self.ids):
            return np.full(len(ids), -1, dtype=np.int64)
        position = np.searchsorted(self.ids, ids)
        position[position == len(self.ids)] = 0
        return np.where(self.ids[position] == ids, position, -1)


def _within(category: str, wanted: Iterable[str]) -> bool:
    return any(category == one or category.startswith(one + ".") for one in wanted)


def _year(value: object) -> int:
    text = str(value or "")
    return int(text) if text.isdigit() and len(text) < 6 else 0


def _categories(text: str) -> tuple[str, ...]:
    values = json.loads(text)
    return tuple(str(one) for one in values) if isinstance(values, list) else ()
