"""Grade books: columns, drafts apart, no score without execution, no formula."""

import csv
import io

import pytest

from course.exports import COLUMNS, gradebook_csv, gradescope, plain_text
from course.schema import CriterionResult, Result, TestResult


def result(student="student_a", *, executed=True, status="draft"):
    return Result(
        assignment="05",
        student=student,
        submission_sha256="a" * 64,
        executed=executed,
        tests=(
            TestResult(name="t1", title="one", visibility="public", status="passed", points=5, max_points=5),
            TestResult(name="t2", title="two", visibility="hidden", status="timeout", points=0, max_points=8),
        ),
        criteria=(
            CriterionResult(
                criterion="q1_shape",
                question="q1",
                points=3,
                max_points=6,
                distribution={"points": (3.0,), "probability": (1.0,)},
                source="human",
                status=status,
                needs_human=status == "draft",
                flags=("long",),
            ),
        ),
        flags=("injection",),
    )


def rows(results, card):
    return list(csv.DictReader(io.StringIO(gradebook_csv(results, card))))


def test_columns_and_scores(assignment):
    [row] = rows([result()], assignment.card)
    assert tuple(row) == COLUMNS
    assert (row["score"], row["max_score"], row["test_points"], row["draft_points"]) == ("5", "100", "5", "3")
    assert (row["needs_human"], row["flags"]) == ("yes", "injection long")


def test_approved_points_count_and_drafts_do_not(assignment):
    [row] = rows([result(status="approved")], assignment.card)
    assert (row["score"], row["approved_points"], row["needs_human"]) == ("8", "3", "no")


def test_what_was_not_executed_has_no_score(assignment):
    [row] = rows([result(executed=False)], assignment.card)
    assert (row["score"], row["test_points"], row["executed"]) == ("", "", "no")
    assert "score" not in gradescope(result(executed=False))


@pytest.mark.parametrize(
    "name",
    ['=HYPERLINK("http://x","y")', "+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "  =1+1", "＝1+1", "\u200b=1"],
)
def test_no_cell_is_a_formula(assignment, name):
    [row] = rows([result(name)], assignment.card)
    assert row["student_id"].startswith("'")
    assert row["student_id"][1:] == name.replace("\t", " ").replace("\r", " ")


def test_an_ordinary_name_stays_as_it_is():
    assert plain_text("O'Neill, Ana-María") == "O'Neill, Ana-María"


def test_gradescope_hides_hidden_tests_and_drafts():
    tests = gradescope(result())["tests"]
    assert [(test["name"], test["visibility"], test["score"]) for test in tests] == [
        ("one", "visible", 5),
        ("two", "hidden", 0),
    ]
    published = gradescope(result(status="approved"))
    assert published["score"] == 8
    assert published["tests"][2]["visibility"] == "after_published"
