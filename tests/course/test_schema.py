"""The schema accepts what it should, refuses the rest, and survives a round trip."""

import json

import pytest
from pydantic import ValidationError

from course.schema import (
    Card,
    Criterion,
    CriterionResult,
    Evidence,
    PointsDistribution,
    Result,
    Rubric,
    TestResult,
)

CERTAIN = {"points": (0.0, 2.0), "probability": (0.25, 0.75)}


def criterion_result(**changes):
    values = {
        "criterion": "c",
        "question": "q1",
        "points": 2.0,
        "max_points": 2.0,
        "evidence": [{"cell": 3, "start": 5, "end": 9, "quote": "tail"}],
        "distribution": CERTAIN,
        "source": "heuristic",
    }
    return values | changes


def test_card_and_rubric_of_the_assignment_survive_json(assignment):
    for model, value in ((Card, assignment.card), (Rubric, assignment.rubric())):
        assert model.model_validate_json(value.model_dump_json()) == value


def test_points_of_the_assignment_add_up_to_a_hundred(assignment):
    assert assignment.card.max_points == 100


def test_result_survives_json():
    result = Result(
        assignment="05",
        student="student_a",
        submission_sha256="0" * 64,
        executed=True,
        tests=(
            TestResult(name="t", title="T", visibility="hidden", status="passed", points=3, max_points=4),
        ),
        criteria=(CriterionResult.model_validate(criterion_result()),),
    )
    again = Result.model_validate(json.loads(result.model_dump_json()))
    assert again == result
    assert (again.test_points, again.draft_points) == (3, 2)


def test_a_misspelt_field_is_refused(assignment):
    with pytest.raises(ValidationError, match="hiden_points"):
        Card.model_validate(assignment.card.model_dump() | {"hiden_points": 3})


def test_another_schema_version_is_refused(assignment):
    with pytest.raises(ValidationError, match="schema_version"):
        Card.model_validate(assignment.card.model_dump() | {"schema_version": 2})


@pytest.mark.parametrize("points", [(1, 2), (0, 2, 2), (0, 3, 1)])
def test_levels_must_start_at_zero_and_rise(points):
    levels = [{"points": value, "description": "d"} for value in points]
    with pytest.raises(ValidationError, match="levels must start at 0"):
        Criterion(id="c", question="q1", title="t", levels=levels)


def test_criterion_ids_are_unique(assignment):
    rubric = assignment.rubric()
    doubled = rubric.model_dump() | {"criteria": [rubric.criteria[0], rubric.criteria[0]]}
    with pytest.raises(ValidationError, match="unique"):
        Rubric.model_validate(doubled)


def test_evidence_must_have_the_length_of_its_quote():
    with pytest.raises(ValidationError, match="length"):
        Evidence(cell=0, start=1, end=3, quote="tail")


def test_points_without_evidence_are_only_a_humans_to_give():
    with pytest.raises(ValidationError, match="human"):
        CriterionResult.model_validate(criterion_result(evidence=[]))
    by_hand = criterion_result(evidence=[], source="human", status="approved")
    assert CriterionResult.model_validate(by_hand).points == 2


def test_points_cannot_exceed_the_criterion():
    with pytest.raises(ValidationError, match="exceed"):
        CriterionResult.model_validate(criterion_result(points=3.0))


@pytest.mark.parametrize("probability", [(0.5, 0.6), (-0.1, 1.1), (1.0,)])
def test_a_distribution_sums_to_one(probability):
    with pytest.raises(ValidationError, match="probabilit"):
        PointsDistribution(points=(0.0, 1.0), probability=probability)


def test_the_interval_of_a_distribution():
    belief = PointsDistribution(points=(0.0, 1.0, 2.0), probability=(0.1, 0.8, 0.1))
    assert belief.interval(0.68) == (1.0, 1.0)
    assert belief.interval(0.95) == (0.0, 2.0)
