"""What a model server can do, as far as it is known, and for how long that is believed.

Kept in `TUTOR_HOME` for each address and model: what `tutor provider check` found
and what the server refused. After `FRESH` it counts for nothing, since servers
are updated.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

FILE = "endpoints.json"
FRESH = timedelta(days=7)
#: How JSON of a shape is asked for, from the strictest.
FORMATS = ("json_schema", "json_object", "text")
#: ``ignored``: taken without an error and without an effect.
STATES = ("yes", "ignored", "no", "unknown")


@dataclass(frozen=True)
class Capabilities:
    """States (see `STATES`) by the name of a capability or of a parameter; what is not named is unknown.

    Examples
    --------
    >>> known = Capabilities().learned("json_schema", "no")
    >>> known.format, known.lacks("json_schema"), known.lacks("seed")
    ('json_object', True, False)
    """

    states: Mapping[str, str] = field(default_factory=dict)
    at: str = ""

    def lacks(self, name: str) -> bool:
        """Whether it is known not to work."""
        return self.states.get(name) in ("no", "ignored")

    def learned(self, name: str, state: str) -> Capabilities:
        """The same with one thing more."""
        return Capabilities({**self.states, name: state}, _now())

    @property
    def format(self) -> str:
        """The strictest way to ask for JSON that is not known to fail."""
        return next(kind for kind in FORMATS if kind == "text" or not self.lacks(kind))

    @property
    def age(self) -> timedelta | None:
        """Since the last thing was learned."""
        return datetime.now(UTC) - datetime.fromisoformat(self.at) if self.at else None


def remembered(home: Path, address: str, model: str) -> Capabilities:
    """What is known of a model at an address; nothing if that is older than `FRESH`.

    Parameters
    ----------
    home : Path
    address : str
        Without credentials.
    model : str
    """
    entry = _read(home).get(_key(address, model), {})
    try:
        states = {str(name): state for name, state in entry["states"].items() if state in STATES}
        known = Capabilities(states, str(entry["at"]))
        fresh = known.age is not None and timedelta(0) <= known.age <= FRESH
    except (KeyError, TypeError, ValueError, AttributeError):
        return Capabilities()
    return known if fresh else Capabilities()


def remember(home: Path, address: str, model: str, known: Capabilities) -> None:
    """Keep it; a home that cannot be written only forgets."""
    entries = _read(home) | {_key(address, model): {"states": dict(known.states), "at": known.at}}
    new = home / f".{FILE}.{secrets.token_hex(4)}"
    with contextlib.suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
        new.touch(mode=0o600)
        new.write_text(json.dumps(entries, indent=1, sort_keys=True), encoding="utf-8")
        new.replace(home / FILE)


def _key(address: str, model: str) -> str:
    return f"{address} {model}"


def _read(home: Path) -> dict[str, Any]:
    try:
        entries = json.loads((home / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
