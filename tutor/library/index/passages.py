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
        none = np.zeros(0, np.int64)
        return cls(none, none.astype(np.int32), none.astype(np.int32)).followed(library)

    def followed(self, library: Library) -> Passages:
        """The passages as they are now: these and those that came since, or all anew if one of these is gone.

        Ids grow and are never used twice, so the number of passages tells whether any is gone.
        """
        db = library.reading()
        (number,) = db.execute("SELECT count(*) FROM chunks").fetchone()
        last = int(self.ids[-1]) if len(self.ids) else 0
        rows = db.execute("SELECT id, document FROM chunks WHERE id > ? ORDER BY id", (last,)).fetchall()
        if len(self.ids) and len(self.ids) + len(rows) != number:
            return Passages.read(library)
        known = {group: i for i, group in enumerate(self.groups)}
        parsed: dict[str, int] = {}
        documents: dict[int, tuple[int, int]] = {}
        for identity, year, categories in db.execute(
            "SELECT id, details ->> '$.year', details -> '$.categories' FROM documents WHERE id IN"
            " (SELECT document FROM chunks WHERE id > ?)",
            (last,),
        ):
            text = categories or "[]"
            if text not in parsed:
                parsed[text] = known.setdefault(_categories(text), len(known))
            documents[identity] = (_year(year), parsed[text])
        ids = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        columns = np.array([documents.get(row[1], (0, 0)) for row in rows], dtype=np.int32).reshape(-1, 2)
        return Passages(
            np.concatenate([self.ids, ids]),
            np.concatenate([self.year, columns[:, 0]]),
            np.concatenate([self.group, columns[:, 1]]),
            list(known),
        )

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

    def lacking(self, ids: Ids) -> Ids:
        """The passages that are not among `ids`, ascending."""
        place = self.place(ids)
        mask = np.ones(len(self.ids), dtype=bool)
        mask[place[place >= 0]] = False
        return self.ids[mask]

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
