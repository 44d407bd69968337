"""One page per student: public tests with messages, hidden tests by title, drafts with their evidence marked.

Everything a student or a model wrote is escaped by the template engine, and
the page forbids scripts and every outside source. Expected answers, messages of
hidden tests and reference answers are not on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from course.schema import Card, CriterionResult, Result, Rubric
from course.submission import SubmissionText
from statml.errors import MissingExtraError

_STATUS = {
    "passed": "passed",
    "failed": "failed",
    "error": "stopped with an error",
    "timeout": "ran out of time",
    "memory": "ran out of memory",
    "crashed": "crashed",
    "not_executed": "not executed",
}


@dataclass(frozen=True)
class _Piece:
    text: str
    marked: bool


def feedback_page(
    student: str, result: Result, card: Card, rubric: Rubric, text: SubmissionText | None
) -> str:
    """The page as HTML.

    Parameters
    ----------
    student : str
        Name as handed in.
    result : Result
    card : Card
    rubric : Rubric
        Only its titles are shown.
    text : SubmissionText or None
        None if it could not be read.
    """
    titles = {criterion.id: criterion.title for criterion in rubric.criteria}
    return str(
        _template().render(
            student=student,
            card=card,
            result=result,
            status=_STATUS,
            public=[test for test in result.tests if test.visibility == "public"],
            hidden=[test for test in result.tests if test.visibility == "hidden"],
            test_max=sum(test.max_points for test in result.tests),
            questions=[
                _question(task.id, task.prompt, result, titles, text) for task in _questions(card, result)
            ],
            notes=[
                flag.replace(":", ": ", 1).replace("_", " ") for flag in result.flags if _for_student(flag)
            ],
        )
    )


@dataclass(frozen=True)
class _Task:
    id: str
    prompt: str


def _questions(card: Card, result: Result) -> list[_Task]:
    asked = [_Task(task.id, task.prompt) for task in card.written]
    known = {task.id for task in asked}
    others = dict.fromkeys(item.question for item in result.criteria if item.question not in known)
    return [*asked, *(_Task(name, name.replace("_", " ")) for name in others)]


def _question(
    name: str, prompt: str, result: Result, titles: dict[str, str], text: SubmissionText | None
) -> dict[str, Any]:
    criteria = [item for item in result.criteria if item.question == name]
    cell = text.answers.get(name) if text else None
    return {
        "prompt": prompt,
        "pieces": _marked(cell.source, cell.index, criteria) if cell else [],
        "criteria": [(titles.get(item.criterion, item.criterion), item) for item in criteria],
    }


def _marked(source: str, cell: int, criteria: list[CriterionResult]) -> list[_Piece]:
    marked = bytearray(len(source))
    for evidence in (evidence for item in criteria for evidence in item.evidence if evidence.cell == cell):
        marked[evidence.start : evidence.end] = b"\x01" * (evidence.end - evidence.start)
    pieces = []
    start = 0
    for place in range(1, len(source) + 1):
        if place == len(source) or marked[place] != marked[start]:
            pieces.append(_Piece(source[start:place], bool(marked[start])))
            start = place
    return pieces


def _for_student(flag: str) -> bool:
    return flag.partition(":")[0] in {
        "unreadable",
        "cell_error",
        "syntax_error",
        "missing_function",
        "missing_answer",
        "ai_use",
    }


@cache
def _template() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError("feedback pages need jinja2: install statml[tutor]") from error
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    source = (resources.files("tutor.grading") / "feedback.html").read_text(encoding="utf-8")
    return environment.from_string(source)
