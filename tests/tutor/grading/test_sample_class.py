"""The sample class in the sandbox: the crash, the loop, the hog and the injection each cost only themselves."""

from dataclasses import replace

import pytest

from course.assignment import instructor_folder
from statml.errors import ServiceError
from tutor.grading import grade_class, pipeline
from tutor.grading.material import load_material
from tutor.sandbox import detect

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    try:
        sandbox = detect()
    except ServiceError as error:
        pytest.skip(str(error))
    samples = instructor_folder() / "samples" / "05_bayesian_regression"
    out = tmp_path_factory.mktemp("graded")
    with pytest.MonkeyPatch.context() as patch:
        # loop and hog end at their limits whatever these are; lower ones than the card's keep the test short
        patch.setattr(pipeline, "load_material", hurried)
        report = grade_class(samples, "05", out, sandbox=sandbox)
    return report


def hurried(assignment):
    material = load_material(assignment)
    limits = material.card.limits.model_copy(update={"seconds": 8.0, "memory_mb": 512})
    return replace(material, card=material.card.model_copy(update={"limits": limits}))


def test_points_of_the_class(graded):
    report = graded
    earned = {
        student: (result.test_points, result.draft_points) for student, result in report.results.items()
    }
    assert {student: tests for student, (tests, _) in earned.items()} == {
        "student_a": 64,
        "student_b": 31,
        "student_c": 3,
        "student_d": 39,
        "student_e": 0,
    }
    assert earned["student_a"][1] >= 26
    assert earned["student_e"] == (0, 0)


def test_each_failure_is_recorded_as_what_it_was(graded):
    report = graded
    status = {student: {test.status for test in result.tests} for student, result in report.results.items()}
    assert "crashed" in status["student_c"] and "error" in status["student_c"]
    assert {"timeout", "memory", "passed"} <= status["student_d"]
    assert all(result.executed for result in report.results.values())


def test_nothing_is_decided_without_a_person(graded):
    report = graded
    for result in report.results.values():
        for item in result.criteria:
            assert item.needs_human and item.status == "draft"
            assert item.points == 0 or item.evidence


def test_the_injection_is_flagged(graded):
    report = graded
    flags = " ".join(flag for item in report.results["student_e"].criteria for flag in item.flags)
    assert "grader_instruction:" in flags and "hidden_text:" in flags
