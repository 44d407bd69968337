"""Run an assignment's tests on one submission, in the sandbox or marked as not executed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from course.schema import TestResult
from course.submission import Returned, SubmissionText
from course.testing import run_tests
from statml.errors import ServiceError
from tutor.grading.criteria import shortened
from tutor.grading.material import Material
from tutor.sandbox import Sandbox, SandboxedSubmission


@dataclass(frozen=True)
class Execution:
    """What running gave: the tests, and flags about the code."""

    tests: tuple[TestResult, ...]
    flags: tuple[str, ...]


class _Watched:
    """Remembers that the sandbox failed: a test would record that as the student's error."""

    def __init__(self, submission: SandboxedSubmission) -> None:
        self.text = submission.text
        self.failure: ServiceError | None = None
        self._submission = submission

    def call(self, function: str, *args: Any, **kwargs: Any) -> Returned:
        try:
            return self._submission.call(function, *args, **kwargs)
        except ServiceError as error:
            self.failure = error
            raise


def execute(text: SubmissionText, material: Material, sandbox: Sandbox | None) -> Execution:
    """Run public and hidden tests.

    Parameters
    ----------
    text : SubmissionText
    material : Material
    sandbox : Sandbox or None
        None marks every test as not executed.

    Raises
    ------
    ServiceError
        The sandbox itself stopped working.
    """
    if sandbox is None:
        return Execution(_all_tests(material, None), ())
    with SandboxedSubmission(text, sandbox, material.card.limits) as submission:
        watched = _Watched(submission)
        tests = _all_tests(material, watched)
        if watched.failure is not None:
            raise watched.failure
        flags = tuple(f"cell_error:{shortened(message)}" for message in submission.cell_errors)
    return Execution(tests, flags)


def not_readable(material: Material, problem: str) -> tuple[TestResult, ...]:
    """The tests of a submission that could not be read: an error each, with the reason."""
    told = {"status": "error", "message": f"the submission could not be read: {problem}"}
    return tuple(test.model_copy(update=told) for test in _all_tests(material, None))


def _all_tests(material: Material, submission: _Watched | None) -> tuple[TestResult, ...]:
    return (
        *run_tests(material.public_tests, submission, visibility="public"),
        *run_tests(material.hidden_tests, submission, visibility="hidden"),
    )
