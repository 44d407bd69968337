"""How much gets past the guard: the rate of leaks of each disguise, and of harmless texts held back."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from course import assignment as course_assignment
from tutor.guard.fingerprints import Fingerprint
from tutor.guard.gate import gated
from tutor.guard.guard import Guard
from tutor.guard.sources import final_numbers, fingerprints_of, shipped
from tutor.guard.transformations import FILLER, WAYS

#: A function counts as leaked if more than this share of its text was shown.
LEAK = 0.5


@dataclass(frozen=True)
class Leaks:
    """One disguise: functions tried, functions leaked, share of their text that was shown on average."""

    way: str
    functions: int
    leaked: int
    shown: float


@dataclass(frozen=True)
class Report:
    """Leaks of each disguise, and the harmless texts that were held back.

    `held_back` is for somebody who was shown nothing before, `held_back_later`
    for a student of whom the guard remembers the worst: every function was kept
    back from her once, and all the harmless texts before were said to her.
    """

    leaks: tuple[Leaks, ...]
    harmless: int
    held_back: tuple[str, ...]
    held_back_later: tuple[str, ...] | None = None

    @property
    def false_block_rate(self) -> float:
        """Share of the harmless texts that was held back."""
        return len(self.held_back) / self.harmless if self.harmless else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"false_block_rate": self.false_block_rate}


def functions() -> list[tuple[str, str, str]]:
    """Assignment, name and body of every function of every solution; needs the instructor's folder.

    Signatures are left out: the student has them.
    """
    found = []
    for number in course_assignment.numbers():
        code = course_assignment.load(number).solution().read_text(encoding="utf-8")
        lines = code.splitlines()
        for node in ast.parse(code).body:
            if isinstance(node, ast.FunctionDef):
                body = [n for n in node.body if not isinstance(n, ast.Expr)] or node.body
                text = "\n".join(lines[body[0].lineno - 1 : node.end_lineno])
                found.append((number, node.name, textwrap.dedent(text)))
    return found


def measure(*, full: bool = True, ways: Iterable[str] = tuple(WAYS)) -> list[Leaks]:
    """Send every function through every disguise, line by line, and count what comes out.

    Parameters
    ----------
    full : bool
        The guard of the instructor's machine; else that of a student's.
    ways : iterable of str
        Names of disguises.
    """
    prints = _fingerprints() if full else shipped()
    tried = functions()
    found = []
    for way in ways:
        shares = [_share_shown(WAYS[way](code), prints) for _, _, code in tried]
        leaked = sum(share > LEAK for share in shares)
        found.append(Leaks(way, len(shares), leaked, sum(shares) / len(shares)))
    return found


def report(*, full: bool = True, later: bool = True, ways: Iterable[str] = tuple(WAYS)) -> Report:
    """Leaks of all disguises and false blocks of `harmless_texts`.

    Parameters
    ----------
    full, ways
        As for `measure`.
    later : bool
        Measure `Report.held_back_later` as well, which takes as long again.
    """
    prints = _fingerprints() if full else shipped()
    numbers = (
        {n: final_numbers(course_assignment.load(n)) for n in course_assignment.numbers()} if full else {}
    )
    texts = harmless_texts()
    held = tuple(name for name, text in texts if Guard(prints, numbers).check(text) is not None)
    remembered = tuple(_held_back_later(Guard(prints, numbers), texts)) if later else None
    return Report(tuple(measure(full=full, ways=ways)), len(texts), held, remembered)


def harmless_texts() -> list[tuple[str, str]]:
    """Hints of every level, passages and code of the chapters, and the documentation of the library.

    None of it is left out of the fingerprints when they are made, so that these
    texts try the guard.
    """
    texts = _hints() + _interleaved(_chapters(), 80) + _interleaved(_interfaces(), 60)
    return [(name, text) for name, text in texts if text.strip()]


def _share_shown(turns: list[str], prints: Iterable[Fingerprint]) -> float:
    guard = Guard(prints)
    lines = [line for turn in turns for line in turn.splitlines() if _counts(line)]
    total = sum(len(line.strip().removeprefix(FILLER)) for line in lines)
    shown = 0
    for turn in turns:
        for line in gated(turn.splitlines(), guard):
            if isinstance(line, str) and _counts(line):
                shown += len(line.strip().removeprefix(FILLER))
    return shown / total if total else 0.0


def _held_back_later(guard: Guard, texts: Iterable[tuple[str, str]]) -> Iterator[str]:
    for _, _, code in functions():
        guard.release(code)
    for name, text in texts:
        if guard.release(text) is not None:
            yield name


def _counts(line: str) -> bool:
    """Fences and filling are not the solution."""
    return not re.match(r"\s*(?:```|Here it is|And then$|think about it)", line)


def _fingerprints() -> list[Fingerprint]:
    return [f for n in course_assignment.numbers() for f in fingerprints_of(course_assignment.load(n))]


def _hints() -> list[tuple[str, str]]:
    from tutor.pedagogy.ladder import LEVELS, ladder

    texts = []
    for number in course_assignment.numbers():
        card = course_assignment.load(number).card
        for task in [*(f.name for f in card.functions), *(w.id for w in card.written)]:
            rungs = ladder(card, task)
            texts += [(f"hint {number}/{task}/{LEVELS[i]}", rung.text) for i, rung in enumerate(rungs)]
    return texts


def _chapters() -> list[tuple[str, str]]:
    root = Path(str(resources.files("tutor"))).parent / "docs" / "chapters"
    texts = []
    for path in sorted(root.glob("[0-9]*.md")):
        page = path.read_text(encoding="utf-8")
        for i, code in enumerate(re.findall(r"```python\n(.*?)```", page, re.DOTALL)):
            texts.append((f"{path.name} code {i}", code))
        for i, passage in enumerate(re.split(r"\n(?=## )", page)[1:]):
            texts.append((f"{path.name} section {i}", passage))
    return texts


def _interfaces() -> list[tuple[str, str]]:
    import statml.regression as regression
    import statml.statistics as statistics

    texts = []
    for package in (regression, statistics):
        for name in package.__all__:
            texts.append((f"{package.__name__}.{name}", getattr(package, name).__doc__ or ""))
    return texts


def _interleaved(texts: list[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """At most `most` of them, evenly over the whole list."""
    step = max(len(texts) / most, 1.0)
    return [texts[int(i * step)] for i in range(min(most, len(texts)))]
