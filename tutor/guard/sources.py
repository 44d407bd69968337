"""Where a guard's knowledge comes from: the instructor's folder, or the fingerprints that are installed.

With the instructor's folder every run is known, and the final numbers of
``final_numbers.txt`` (one a line) and of the rubric's reference answers.
Without it the winnowed fingerprints in this package serve; who can read this
file can remove them, so they are a reminder and no lock.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from importlib import resources
from pathlib import Path

from course import assignment as course_assignment
from course.assignment import Assignment
from statml.errors import DataNotFoundError, InputError
from tutor.guard.final_numbers import DIGITS
from tutor.guard.fingerprints import Fingerprint, of_answer, of_solution, read, save
from tutor.guard.guard import Guard

SHIPPED = "fingerprints.json"
FINAL_NUMBERS = "final_numbers.txt"


def open_guard(lifted: Collection[str] = (), *, instructor: bool = True) -> Guard:
    """The best guard there is here.

    Parameters
    ----------
    lifted : collection of str
        Numbers of assignments whose due date is over.
    instructor : bool
        Use the instructor's folder where there is one.
    """
    if instructor:
        try:
            course_assignment.instructor_folder()
        except DataNotFoundError:
            pass
        else:
            kept = [course_assignment.load(n) for n in course_assignment.numbers() if n not in lifted]
            prints = [f for assignment in kept for f in fingerprints_of(assignment)]
            return Guard(prints, {a.card.number: final_numbers(a) for a in kept})
    return Guard([f for f in shipped() if f.assignment not in lifted])


def fingerprints_of(assignment: Assignment, *, winnow: bool = False) -> list[Fingerprint]:
    """Fingerprints of an assignment's solution and reference answers.

    Raises
    ------
    DataNotFoundError
        Without the instructor's folder.
    """
    number = assignment.card.number
    public = [assignment.text, assignment.public_tests.read_text(encoding="utf-8")]
    code = assignment.solution().read_text(encoding="utf-8")
    found = of_solution(number, code, public, winnow=winnow)
    for task in assignment.card.written:
        texts = [
            text
            for criterion in assignment.rubric().criteria
            if criterion.question == task.id
            for text in criterion.reference_answers
        ]
        if texts:
            found.append(of_answer(number, task.id, texts, [*public, task.prompt], winnow=winnow))
    return found


def final_numbers(assignment: Assignment) -> frozenset[str]:
    """Numbers that give an assignment away."""
    texts = [text for c in assignment.rubric().criteria for text in c.reference_answers]
    numbers = {n for text in texts for n in re.findall(r"\d+\.\d+|\d+", text)}
    file = assignment.solution().with_name(FINAL_NUMBERS)
    listed = set(file.read_text(encoding="utf-8").split()) if file.is_file() else set()
    public = set(re.findall(r"\d+\.\d+|\d+", assignment.text))
    long_enough = {n for n in numbers if len(n.replace(".", "").lstrip("0")) >= DIGITS}
    return frozenset((long_enough | listed) - public)


def shipped() -> list[Fingerprint]:
    """The winnowed fingerprints that were installed."""
    file = resources.files("tutor.guard") / SHIPPED
    return read(file.read_text(encoding="utf-8")) if file.is_file() else []


def build(path: Path) -> int:
    """Write the winnowed fingerprints of every assignment; return how many functions and answers.

    Raises
    ------
    InputError
        There is no assignment with a solution.
    """
    found = []
    for number in course_assignment.numbers():
        found += fingerprints_of(course_assignment.load(number), winnow=True)
    if not found:
        raise InputError("there is no assignment with a solution to take fingerprints of")
    path.write_text(save(found), encoding="utf-8")
    return len(found)
