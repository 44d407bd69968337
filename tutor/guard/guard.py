"""Stop a solution before it is shown, however many turns it is spread over.

Everything the tutor is about to show goes through `Guard.check` first. What
was shown before counts too: a function given away line by line in ten answers
is found at the line that makes it too much. The guard knows copies and renamed
copies; an explanation in words that a person could turn into the solution is
beyond it, and the share of those is measured, not promised.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tutor.guard.final_numbers import gives_away
from tutor.guard.fingerprints import KINDS, Fingerprint, Shown
from tutor.guard.views import views

#: Share of a function's fingerprints that is too much, and fewer than this many are chance.
SHARE: Mapping[str, float] = {"letters": 0.15, "tokens": 0.15, "trees": 0.15, "words": 0.15}
LEAST: Mapping[str, int] = {"letters": 8, "tokens": 7, "trees": 16, "words": 6}
#: Once a function was kept back, this share of it is too much for the rest of the conversation.
STRICT = 0.02
#: Letters two texts must begin or end with together before these are taken for filling.
FILLING = 6
#: Texts whose beginnings and ends are compared with the next one.
LAST = 6
#: Characters of what was shown that are read together with the next text.
TAIL = 1200


@dataclass(frozen=True)
class Block:
    """Why a text may not be shown: how much of what it would complete."""

    assignment: str
    name: str
    kind: str
    share: float

    @property
    def reason(self) -> str:
        """One sentence for the student; it does not tell what was recognised."""
        return (
            f"this would give away too much of assignment {self.assignment} ({self.name}), so I keep it back"
        )


@dataclass
class Guard:
    """Compare what is to be shown with the solutions.

    Parameters
    ----------
    fingerprints : iterable of Fingerprint
        Of every solution that may not be shown yet.
    numbers : mapping of str to frozenset of str, optional
        Final numbers of assignments, as written; one of them is too much.

    Examples
    --------
    >>> from tutor.guard.fingerprints import of_solution
    >>> code = "def f(x):\\n    return np.sqrt(np.mean((x - np.median(x)) ** 2) / len(x)) + 0.25"
    >>> guard = Guard(of_solution("01", code))
    >>> guard.check("Think about the spread of x first.") is None
    True
    >>> guard.check("y = np.sqrt(np.mean((z - np.median(z)) ** 2) / len(z)) + 0.25").name
    'f'
    """

    fingerprints: Iterable[Fingerprint]
    numbers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    _seen: dict[str, set[int]] = field(default_factory=dict)
    _tail: str = ""
    _joined: str = ""
    _tried: dict[str, set[int]] = field(default_factory=dict)
    _last: list[str] = field(default_factory=list)
    _kept_back: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.fingerprints = tuple(self.fingerprints)
        self._of_assignment = {
            number: _hashes(f for f in self.fingerprints if f.assignment == number)
            for number in {*(f.assignment for f in self.fingerprints), *self.numbers}
        }
        self._wanted = _hashes(self.fingerprints)
        self._seen = {kind: set(self._seen.get(kind, ())) for kind in KINDS}
        self._tried = {kind: set(self._tried.get(kind, ())) for kind in KINDS}

    def check(self, text: str) -> Block | None:
        """Say whether `text`, after all that was released, may be shown; None if so."""
        found = self._found(text)
        return self._number(text) or self._worst(found)

    def release(self, text: str) -> Block | None:
        """`check`; a text that may be shown is remembered as shown."""
        found = self._found(text)
        block = self._number(text) or self._worst(found)
        if block is not None:
            self._kept_back.add((block.assignment, block.name))
        else:
            for kind in KINDS:
                self._seen[kind] |= found[kind]
            self._tail = (self._tail + "\n" + text)[-TAIL:]
        # what was kept back is remembered as well: the next text may go on where it ended
        for kind in KINDS:
            self._tried[kind] |= found[kind]
        self._joined = (self._joined + self._new(text))[-TAIL:]
        self._last = [*self._last, text[:TAIL]][-LAST:]
        return block

    def state(self) -> dict[str, dict[str, Any]]:
        """What is remembered, as plain values: hashes by assignment, and under "" the last words said."""
        remembered: dict[str, dict[str, Any]] = {
            "": {"tail": self._tail, "joined": self._joined, "last": self._last}
        }
        for assignment, wanted in self._of_assignment.items():
            remembered[assignment] = {
                "seen": {kind: sorted(self._seen[kind] & wanted[kind]) for kind in KINDS},
                "tried": {kind: sorted(self._tried[kind] & wanted[kind]) for kind in KINDS},
                "kept_back": sorted(name for number, name in self._kept_back if number == assignment),
            }
        return remembered

    def restore(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Remember what `state` says and nothing else; assignments that are not guarded are left out."""
        words = state.get("", {})
        self._tail, self._joined = str(words.get("tail", "")), str(words.get("joined", ""))
        self._last = [str(text) for text in words.get("last", ())]
        self._seen, self._tried = {kind: set() for kind in KINDS}, {kind: set() for kind in KINDS}
        self._kept_back = set()
        for assignment in self._of_assignment:
            known = state.get(assignment, {})
            for kind in KINDS:
                self._seen[kind].update(known.get("seen", {}).get(kind, ()))
                self._tried[kind].update(known.get("tried", {}).get(kind, ()))
            self._kept_back.update((assignment, str(name)) for name in known.get("kept_back", ()))

    def _found(self, text: str) -> dict[str, set[int]]:
        """Fingerprints of any solution that `text` shows, read with and without what went before."""
        found = self._shown(text)
        # what goes on from the text before is seen at the beginning of this one
        if self._tail:
            _join(found, self._shown(self._tail + "\n" + text[:TAIL]))
        if self._joined:
            going_on = self._shown(self._joined + self._new(text)[:TAIL])
            _join(found, {kind: going_on[kind] - self._tried[kind] for kind in KINDS})
        return found

    def _shown(self, reading: str) -> dict[str, set[int]]:
        found: dict[str, set[int]] = {kind: set() for kind in KINDS}
        for view in views(reading):
            shown = Shown().add(view)
            _join(found, {kind: getattr(shown, kind) & self._wanted[kind] for kind in KINDS})
        return found

    def _new(self, text: str) -> str:
        """What `text` says that the last texts did not: without the filling it begins and ends with."""
        first = max((_common(text, last) for last in self._last), default=0)
        rest = text[first if first >= FILLING else 0 :]
        end = max((_common(rest[::-1], last[::-1]) for last in self._last), default=0)
        return rest[: len(rest) - (end if end >= FILLING else 0)]

    def _worst(self, found: Mapping[str, set[int]]) -> Block | None:
        blocks = []
        for fingerprint in self.fingerprints:
            warned = (fingerprint.assignment, fingerprint.name) in self._kept_back
            for kind in KINDS:
                wanted = getattr(fingerprint, kind)
                seen = self._seen[kind] & wanted.keys() if kind == "trees" else self._seen[kind] & wanted
                new = found[kind] & set(wanted) - seen
                # what was allowed before is no reason to refuse a text that adds nothing
                if not new:
                    continue
                weigh = wanted.get if kind == "trees" else lambda _: 1
                whole = sum(weigh(h) for h in wanted)
                amount = sum(weigh(h) for h in seen | new)
                # a short function has few fingerprints: half of them are enough
                least = min(LEAST[kind], max(whole / 2, 1))
                enough = amount >= least and amount >= SHARE[kind] * whole
                if enough or (warned and len(new) >= max(2, STRICT * len(wanted))):
                    blocks.append(Block(fingerprint.assignment, fingerprint.name, kind, amount / whole))
        return max(blocks, key=lambda block: block.share, default=None)

    def _number(self, text: str) -> Block | None:
        readings = list(views(text)) if self.numbers else []
        for assignment, numbers in self.numbers.items():
            if any(gives_away(view, numbers) for view in readings):
                return Block(assignment, "a final number", "numbers", 1.0)
        return None


def _hashes(fingerprints: Iterable[Fingerprint]) -> dict[str, frozenset[int]]:
    listed = tuple(fingerprints)
    return {kind: frozenset().union(*(getattr(f, kind) for f in listed)) for kind in KINDS}


def _join(found: dict[str, set[int]], more: Mapping[str, set[int]]) -> None:
    for kind in KINDS:
        found[kind] |= more[kind]


def _common(one: str, other: str) -> int:
    """Length of the beginning both have."""
    return next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
