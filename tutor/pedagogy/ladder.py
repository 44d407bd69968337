"""The ladder of hints: a question, the concept, where it stands, the same idea on another problem.

Hints of an assignment are written down in ``ladders/NN.toml`` by task. A task
without any gets a general ladder made from its card. No rung holds the
solution, and none is ever added by a model.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources

from course.schema import Card
from statml.errors import InputError

LEVELS = ("question", "concept", "pointer", "analogue")


@dataclass(frozen=True)
class Rung:
    """One hint.

    Attributes
    ----------
    level : int
        0 (a question) to 3 (a worked analogue).
    text : str
    source, section : str
        Where to read on (the level ``pointer``), else empty.
    """

    level: int
    text: str
    source: str = ""
    section: str = ""

    @property
    def name(self) -> str:
        """``question``, ``concept``, ``pointer`` or ``analogue``."""
        return LEVELS[self.level]


def tasks(card: Card) -> list[str]:
    """Names of an assignment's functions and questions."""
    return [*(task.name for task in card.functions), *(task.id for task in card.written)]


def ladder(card: Card, task: str) -> list[Rung]:
    """The four hints of a task, from the least to the most help.

    Raises
    ------
    InputError
        The assignment has no such task.
    """
    if task not in tasks(card):
        raise InputError(f"assignment {card.number} has no task {task!r}; it has {', '.join(tasks(card))}")
    entry = _entries(card.number).get(task, {})
    general = _general(card, task)
    source, section = entry.get("source", ""), entry.get("section", "")
    texts = [entry.get(name, text) for name, text in zip(LEVELS, general)]
    return [
        Rung(level, " ".join(text.split()), *((source, section) if name == "pointer" else ("", "")))
        for level, (name, text) in enumerate(zip(LEVELS, texts))
    ]


def _entries(number: str) -> dict[str, dict[str, str]]:
    file = resources.files("tutor.pedagogy") / "ladders" / f"{number}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _general(card: Card, task: str) -> tuple[str, str, str, str]:
    chapter = f"chapter {card.chapter}"
    for function in card.functions:
        if function.name == task:
            return (
                f"{function.signature} returns {function.returns}. For which simplest input do you know the "
                "result without a computer?",
                f"Which idea of {chapter} relates what goes in to what comes out?",
                f"Read {chapter} with the signature beside it, and find the equation whose left side is "
                "what you have to return.",
                "Do it by hand for two numbers first, and only then write it for arrays.",
            )
    prompt = next(question.prompt for question in card.written if question.id == task)
    return (
        f"What would you plot to see for yourself? The question was: {prompt}",
        f"Name the quantities in the question in the words of {chapter}.",
        f"Read in {chapter} how each of them is defined.",
        "Invent a small example with numbers in which the effect is large, and explain that one first.",
    )
