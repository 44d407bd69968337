"""Hints of a conversation: which task is spoken of, and how far up its ladder the student is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from course import assignment as course_assignment
from course.schema import Card
from statml.errors import InputError
from tutor.chat.events import Hint
from tutor.pedagogy.intent import Intent, intent
from tutor.pedagogy.ladder import ladder, tasks

#: Highest rung that is given; what comes after it is the solution.
HIGHEST = 3


@dataclass(frozen=True)
class Step:
    """The hint that comes next, and whether it is the last one given once more."""

    hint: Hint
    again: bool


class Hints:
    """The ladders of the assignments that are open.

    Parameters
    ----------
    assignment : str or None
        The only assignment there are hints for; None for all.
    state : mapping
        What `state` gave earlier.

    Raises
    ------
    InputError
        There is no such assignment.

    Examples
    --------
    >>> hints = Hints("05", {})
    >>> step = hints.next("coverage")
    >>> hints.took(step)
    >>> step.hint.level, hints.next("").hint.level
    (0, 1)
    """

    def __init__(self, assignment: str | None, state: Mapping[str, Any]) -> None:
        numbers = course_assignment.numbers() if assignment is None else [assignment]
        self._cards = [course_assignment.load(number).card for number in numbers]
        self._levels: dict[str, int] = dict(state.get("levels", {}))
        self._task: str = state.get("task", "")

    def state(self) -> dict[str, Any]:
        """What is to be remembered, as plain values."""
        return {"levels": self._levels, "task": self._task}

    def join(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """`state`, after taking in what the same conversation has reached elsewhere meanwhile."""
        for task, level in state.get("levels", {}).items():
            self._levels[task] = max(level, self._levels.get(task, level))
        return self.state()

    def meant(self, question: str) -> tuple[Card | None, Intent]:
        """The assignment a text is about and what it asks for; a task it names is the one spoken of."""
        readings = [(card, intent(question, card)) for card in self._cards]
        found: tuple[Card | None, Intent] = readings[0] if readings else (None, intent(question, None))
        for card, meaning in readings:
            if meaning.task or meaning.wants_solution:
                found = card, meaning
                break
        card_found, meaning = found
        if meaning.task and card_found is not None:
            self._task = f"{card_found.number}/{meaning.task}"
        return found

    def turn_to(self, number: str, name: str) -> str:
        """Speak of a task from now on; the name again, or the empty text if it is no task."""
        if name not in tasks(course_assignment.load(number).card):
            return ""
        self._task = f"{number}/{name}"
        return name

    def next(self, task: str) -> Step:
        """The next hint of a task, or of the one spoken of last.

        Raises
        ------
        InputError
            There is no such task, or no assignment at all.
        """
        card, task = self._found(task)
        self._task = f"{card.number}/{task}"
        last = self._levels.get(self._task, -1)
        rung = ladder(card, task)[min(last + 1, HIGHEST)]
        hint = Hint(card.number, task, rung.level, rung.name, rung.text, rung.source, rung.section)
        return Step(hint, last >= HIGHEST)

    def took(self, step: Step) -> None:
        """Note that the hint was given."""
        self._levels[f"{step.hint.assignment}/{step.hint.task}"] = step.hint.level

    def _found(self, named: str) -> tuple[Card, str]:
        """Assignment and task meant by a name, or by what was spoken of last."""
        for card in self._cards:
            if named in tasks(card):
                return card, named
        if named:
            names = ", ".join(name for card in self._cards for name in tasks(card))
            raise InputError(f"there is no task {named[:40]!r}; there are {names}")
        if self._task:
            number, _, task = self._task.partition("/")
            return course_assignment.load(number).card, task
        if not self._cards:
            raise InputError("there is no assignment to give hints for")
        return self._cards[0], tasks(self._cards[0])[0]
