"""Rows of a research system's table: what a paper says beside what we compute, with the tier of the data.

Every system of `statml.research` has ``results.headline()`` that returns such rows, computed when it is
called; ``statml SYSTEM results`` prints them. What could not be computed stays in the table with the reason
in place of a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from statml.datasets.cards import TIERS
from statml.errors import InputError


@dataclass(frozen=True)
class Row:
    """One number of a paper, and ours.

    Attributes
    ----------
    quantity : str
    published : float, str or None
        None where the paper's number is not known to us.
    ours : float, str or None
        None where it could not be computed; then `note` says why.
    uncertainty : float or None
        Standard error of `ours`; None where it has none.
    tier : {"real", "semi-synthetic", "synthetic"}
        Of the data behind `ours`.
    command : str
        What to type to compute it again.
    note : str
        "not reproduced" and why, or what else a reader must know.

    Examples
    --------
    >>> row = Row("slope", 2.24, 2.2399, 0.11, "real", "statml demo results")
    >>> print(table([row]))
    quantity  published  ours          tier
    slope     2.24       2.24 +- 0.11  real
    """

    quantity: str
    published: float | str | None
    ours: float | str | None
    uncertainty: float | None
    tier: str
    command: str
    note: str = ""

    def __post_init__(self) -> None:
        if self.tier not in TIERS:
            raise InputError(f"tier is {self.tier!r}; accepted are {', '.join(TIERS)}")
        if self.ours is None and not self.note:
            raise InputError(
                "ours is None and note is empty; accepted is a row without a number that says why"
            )


def table(rows: Sequence[Row]) -> str:
    """Rows as text, columns aligned; a note stands at the end of its line."""
    lines = [("quantity", "published", "ours", "tier", "")]
    for row in rows:
        ours = _number(row.ours)
        if row.uncertainty is not None and isinstance(row.ours, float):
            ours += f" +- {row.uncertainty:.2g}"
        lines.append((row.quantity, _number(row.published), ours, row.tier, row.note))
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths)), line[4]]).rstrip()
        for line in lines
    )


def records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as dictionaries, for ``--json``."""
    return [asdict(row) for row in rows]


def _number(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.3g}"
