"""Is an assignment whole, consistent, and free of what a student must not see?

Each check is a function from an `Assignment` to the list of its faults, one
sentence each. Checks of the instructor's half are named as not made where
that half is not at hand.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from course.assignment import SYLLABUS, Assignment, instructor_folder, numbers
from course.leaks import code_lines, find_leaks, long_lines
from course.schema import Card, Misconception, MustMention, Rubric
from course.submission import InProcessSubmission, read_submission
from course.syntax import parse
from course.testing import run_tests, total_points
from statml.errors import DataNotFoundError, StatmlError

AI_USE = "ai_use"


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes
    ----------
    name : str
        What was checked.
    faults : tuple of str
        One sentence each; none means that it holds.
    made : bool
        False where the instructor's half is not at hand.
    """

    name: str
    faults: tuple[str, ...]
    made: bool = True


def card_matches_folder(assignment: Assignment) -> list[str]:
    """The folder's name and the syllabus agree with the card."""
    faults = []
    if assignment.folder.name != assignment.name:
        faults.append(
            f"the folder is {assignment.folder.name}; number and slug of the card say {assignment.name}"
        )
    faults += [f"{name} is missing" for name in _missing_files(assignment)]
    return faults


def starter_has_the_functions(assignment: Assignment) -> list[str]:
    """The starter defines each function of the card with its signature, and nothing is solved in it."""
    functions = _functions(read_submission(assignment.starter).code)
    faults = _signature_faults(assignment.card, functions, "the starter")
    for name, node in functions.items():
        body = node.body[1:] if ast.get_docstring(node) else node.body
        if [ast.unparse(statement) for statement in body] != ["raise NotImplementedError"]:
            faults.append(f"the starter's {name} has a body; it must only raise NotImplementedError")
    return faults


def written_cells_are_marked(assignment: Assignment) -> list[str]:
    """Every question is printed as the card has it and has an empty cell for its answer."""
    text = read_submission(assignment.starter)
    expected = [task.id for task in assignment.card.written]
    if assignment.card.ai_use_points:
        expected.append(AI_USE)
    faults = [f"no cell is marked <!-- answer: {name} -->" for name in expected if name not in text.answers]
    faults += [
        f"a cell is marked answer: {name}, which the card does not ask"
        for name in text.answers
        if name not in expected
    ]
    words = _words(" ".join(cell.source for cell in text.cells if cell.kind == "markdown"))
    faults += [
        f"the text does not ask {task.id} in the words of the card"
        for task in assignment.card.written
        if _words(task.prompt) not in words
    ]
    return faults


def public_points_add_up(assignment: Assignment) -> list[str]:
    """The points of the public tests are the card's."""
    return _points_fault("public", total_points(assignment.public_tests), assignment.card.public_points)


def datasets_exist(assignment: Assignment) -> list[str]:
    """Every data set the card names has a card of its own."""
    from statml import datasets

    known = datasets.list_datasets()
    return [f"there is no data set {name!r}" for name in assignment.card.datasets if name not in known]


def hidden_points_add_up(assignment: Assignment) -> list[str]:
    """The points of the hidden tests are the card's."""
    return _points_fault("hidden", total_points(assignment.hidden_tests()), assignment.card.hidden_points)


def rubric_matches_card(assignment: Assignment) -> list[str]:
    """The rubric's criteria add up to each question's points and its patterns do what they say."""
    rubric = assignment.rubric()
    wanted = {task.id: task.points for task in assignment.card.written}
    if assignment.card.ai_use_points:
        wanted[AI_USE] = assignment.card.ai_use_points
    given: dict[str, float] = {}
    for criterion in rubric.criteria:
        given[criterion.question] = given.get(criterion.question, 0.0) + criterion.max_points
    faults = [
        f"the criteria of {name} give {given.get(name, 0):g} points; the card says {wanted.get(name, 0):g}"
        for name in sorted(wanted.keys() | given.keys())
        if abs(given.get(name, 0.0) - wanted.get(name, 0.0)) > 1e-9
    ]
    return faults + list(_pattern_faults(rubric))


def solution_earns_everything(assignment: Assignment) -> list[str]:
    """The reference solution has the card's signatures and passes every test."""
    text = read_submission(assignment.solution())
    faults = _signature_faults(assignment.card, _functions(text.code), "the solution")
    for path, visibility in _all_tests(assignment):
        submission = InProcessSubmission(text)
        for result in run_tests(path, submission, visibility=visibility):
            if result.status != "passed":
                faults.append(f"the solution does not pass {result.name}: {result.message}")
    return faults


def starter_earns_nothing(assignment: Assignment) -> list[str]:
    """The starter as handed out passes no test."""
    submission = InProcessSubmission(read_submission(assignment.starter))
    return [
        f"the starter passes {result.name}"
        for path, visibility in _all_tests(assignment)
        for result in run_tests(path, submission, visibility=visibility)
        if result.status == "passed"
    ]


def nothing_leaks(assignment: Assignment) -> list[str]:
    """The student's half holds no file and no line of the instructor's."""
    solution = assignment.solution()
    kept_back = [*code_lines(solution), *long_lines(solution.with_name("rubric.yaml"))]
    faults = find_leaks(assignment.folder, kept_back)
    # The two files of tests may well share lines; the text may not hold any of them.
    shown = set(long_lines(assignment.starter))
    hidden = set(long_lines(assignment.hidden_tests())) - set(long_lines(assignment.public_tests))
    return faults + [
        f"assignment.py holds the hidden tests' line {line!r}" for line in sorted(hidden & shown)
    ]


STUDENT_CHECKS: tuple[Callable[[Assignment], list[str]], ...] = (
    card_matches_folder,
    starter_has_the_functions,
    written_cells_are_marked,
    public_points_add_up,
    datasets_exist,
)
INSTRUCTOR_CHECKS: tuple[Callable[[Assignment], list[str]], ...] = (
    hidden_points_add_up,
    rubric_matches_card,
    nothing_leaks,
    starter_earns_nothing,
    solution_earns_everything,
)


def lint(assignment: Assignment) -> Iterator[Check]:
    """Make every check; a check that cannot be made reports why as its fault."""
    for check in STUDENT_CHECKS:
        yield _made(check, assignment)
    try:
        instructor_folder()
    except DataNotFoundError:
        for check in INSTRUCTOR_CHECKS:
            yield Check(_title(check), (), made=False)
        return
    for check in INSTRUCTOR_CHECKS:
        yield _made(check, assignment)


def syllabus_faults() -> list[str]:
    """The syllabus lists the assignments there are, no more and no fewer."""
    listed = sorted(
        item["number"] for item in tomllib.loads(SYLLABUS.read_text(encoding="utf-8"))["assignments"]
    )
    return [] if listed == numbers() else [f"the syllabus lists {listed}; the folders are {numbers()}"]


def _made(check: Callable[[Assignment], list[str]], assignment: Assignment) -> Check:
    try:
        return Check(_title(check), tuple(check(assignment)))
    except (StatmlError, SyntaxError, OSError) as error:
        return Check(_title(check), (str(error),))


def _title(check: Callable[[Assignment], list[str]]) -> str:
    return check.__name__.replace("_", " ")


def _missing_files(assignment: Assignment) -> list[str]:
    paths = (assignment.starter, assignment.public_tests)
    return [path.name for path in paths if not path.is_file()]


def _functions(code: str) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in parse(code).body if isinstance(node, ast.FunctionDef)}


def _signature_faults(card: Card, functions: dict[str, ast.FunctionDef], where: str) -> list[str]:
    faults = []
    for task in card.functions:
        node = functions.get(task.name)
        if node is None:
            faults.append(f"{where} does not define {task.name}")
        elif f"{node.name}({ast.unparse(node.args)})" != task.signature:
            faults.append(f"{where} has {node.name}({ast.unparse(node.args)}); the card has {task.signature}")
    return faults


def _points_fault(kind: str, found: float, wanted: float) -> list[str]:
    if abs(found - wanted) < 1e-9:
        return []
    return [f"the {kind} tests give {found:g} points; the card says {wanted:g}"]


def _pattern_faults(rubric: Rubric) -> Iterator[str]:
    """Patterns compile, and a criterion's own reference answers pass them."""
    for criterion in rubric.criteria:
        patterns: list[MustMention | Misconception] = [*criterion.must_mention, *criterion.misconceptions]
        for item in patterns:
            for pattern in item.any_of:
                try:
                    re.compile(pattern)
                except re.error as error:
                    yield f"{criterion.id}.{item.id}: {pattern!r} is not a regular expression: {error}"
                    return
        for position, answer in enumerate(criterion.reference_answers):
            yield from (
                f"{criterion.id}: reference answer {position} does not show {item.id}"
                for item in criterion.must_mention
                if not _shows(item.any_of, answer)
            )
            yield from (
                f"{criterion.id}: reference answer {position} is taken for the misconception {item.id}"
                for item in criterion.misconceptions
                if _shows(item.any_of, answer)
            )


def _shows(patterns: tuple[str, ...], answer: str) -> bool:
    return any(re.search(pattern, _words(answer), re.IGNORECASE) for pattern in patterns)


def _all_tests(assignment: Assignment) -> list[tuple[Path, Literal["public", "hidden"]]]:
    return [(assignment.public_tests, "public"), (assignment.hidden_tests(), "hidden")]


def _words(text: str) -> str:
    return " ".join(text.split())
