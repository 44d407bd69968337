"""Points for tests, and the small runner that turns a file of tests into results.

A test is a plain function ``def test_name(submission)`` marked with
``@points(n, "what it checks")``. It asserts; the runner records. A test that
the student's code keeps from finishing is recorded with the reason, and the
next test runs.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

from course.schema import TestResult, TestStatus
from course.submission import Submission, SubmissionError
from statml.errors import InputError

Test = TypeVar("Test", bound=Callable[..., None])


def points(value: float, title: str) -> Callable[[Test], Test]:
    """Mark a test with the points it is worth and a title the student may read."""

    def mark(test: Test) -> Test:
        test.points = value  # type: ignore[attr-defined]
        test.title = title  # type: ignore[attr-defined]
        return test

    return mark


def load_tests(path: Path) -> list[Callable[..., None]]:
    """The tests of a file, in the order they are written.

    Raises
    ------
    InputError
        A test carries no points.
    """
    spec = importlib.util.spec_from_file_location(f"course_tests_{path.stem}_{abs(hash(path))}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file")
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [value for name, value in vars(module).items() if name.startswith("test_") and callable(value)]
    for test in tests:
        if not hasattr(test, "points"):
            raise InputError(f"{path.name}: {test.__name__} has no @points(value, title)")
    return tests


def total_points(path: Path) -> float:
    """Points of all tests in a file."""
    return sum(_points(test) for test in load_tests(path))


def run_tests(
    path: Path, submission: Submission | None, *, visibility: Literal["public", "hidden"]
) -> list[TestResult]:
    """Run every test of a file; ``None`` for a submission records each as not executed."""
    results = []
    for test in load_tests(path):
        start = time.monotonic()
        status, message = _outcome(test, submission)
        results.append(
            TestResult(
                name=test.__name__,
                title=test.title,  # type: ignore[attr-defined]
                visibility=visibility,
                status=status,
                points=_points(test) if status == "passed" else 0.0,
                max_points=_points(test),
                message=message,
                seconds=time.monotonic() - start,
            )
        )
    return results


def _points(test: Any) -> float:
    return float(test.points)


def _outcome(test: Callable[..., None], submission: Submission | None) -> tuple[TestStatus, str]:
    if submission is None:
        return "not_executed", "there is no sandbox to run it in"
    try:
        test(submission)
    except SubmissionError as error:
        return error.status, str(error)
    except AssertionError as error:
        return "failed", str(error) or "an assertion does not hold"
    except Exception as error:  # the student's arrays may break a test in any way
        return "error", f"{type(error).__name__}: {error}"
    return "passed", ""
