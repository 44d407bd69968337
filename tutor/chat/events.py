"""What a turn of the conversation gives, one thing after the other, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from tutor.library.answer import Claim as VerifiedClaim


@dataclass(frozen=True)
class Piece:
    """A line of the tutor's own words."""

    text: str


@dataclass(frozen=True)
class Claim:
    """One supported sentence, the verified words behind it, and where they stand.

    `number` is that of the `Source` in this conversation.
    """

    text: str
    quote: str
    source_id: str
    section: str
    start: int
    end: int
    number: int

    @property
    def quoted(self) -> bool:
        """The claim is its quote (no model worded it)."""
        return self.text.split() == self.quote.split()


@dataclass(frozen=True)
class Source:
    """A source that was cited, numbered through the conversation."""

    number: int
    source_id: str
    title: str
    section: str = ""
    url: str = ""


@dataclass(frozen=True)
class ToolCall:
    """A computation: what was called with what, and what came back (or why nothing did)."""

    name: str
    arguments: dict[str, Any]
    result: dict[str, Any] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Hint:
    """A rung of the ladder of a task: level 0 (question) to 3 (analogue)."""

    assignment: str
    task: str
    level: int
    name: str
    text: str
    source: str = ""
    section: str = ""


@dataclass(frozen=True)
class Refusal:
    """Why there is no (further) answer.

    `kind` is ``unsupported`` (the library holds none), ``assignment`` (it would be
    the solution), ``rules``, ``service``, ``budget``, ``input`` or ``stopped``.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Done:
    """The end of a turn: who answered, and tokens and cost of this conversation so far."""

    provider: str
    model: str
    tokens: int = 0
    cost: float = 0.0
    dropped: int = 0


Event = Piece | Claim | Source | ToolCall | Hint | Refusal | Done
_KINDS = {c.__name__.lower(): c for c in (Piece, Claim, Source, ToolCall, Hint, Refusal, Done)}


def to_dict(event: Event) -> dict[str, Any]:
    """Plain values for JSON, with the kind of the event under ``event``."""
    return {"event": type(event).__name__.lower(), **asdict(event)}


def from_dict(plain: dict[str, Any]) -> Event:
    """The inverse of `to_dict`."""
    values = dict(plain)
    event: Event = _KINDS[values.pop("event")](**values)
    return event


def claimed(claim: VerifiedClaim, number: int) -> Claim:
    """A verified claim of an answer as an event."""
    return Claim(claim.text, claim.quote, claim.source_id, claim.section, claim.start, claim.end, number)
