"""Results in the formats other grade books read.

`gradebook_csv` has nbgrader's columns followed by ours; `gradescope` is the
content of Gradescope's ``results.json``. Points of tests and drafts for the
written answers stay in columns of their own: a draft is not a grade until a
human has approved it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from course.schema import Card, Result

COLUMNS = (
    "assignment",
    "duedate",
    "timestamp",
    "student_id",
    "last_name",
    "first_name",
    "email",
    "raw_score",
    "late_submission_penalty",
    "score",
    "max_score",
    "test_points",
    "approved_points",
    "draft_points",
    "executed",
    "needs_human",
    "flags",
)
# A spreadsheet takes a cell that starts with one of these for a formula; the
# full-width forms are turned into the plain ones by some of them on import.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "＝", "＋", "－", "＠")


def plain_text(value: str) -> str:
    """`value` as one line that a spreadsheet never takes for a formula (a quote goes in front)."""
    cleaned = "".join(" " if character < " " else character for character in value)
    starts_a_formula = value.lstrip(" \u00a0\u200b\ufeff").startswith(_FORMULA_STARTS)
    return "'" + cleaned if starts_a_formula else cleaned


def approved_points(result: Result) -> float:
    """Points of the written answers that a human has approved."""
    return sum(item.points for item in result.criteria if item.status == "approved")


def gradebook_row(result: Result, card: Card) -> dict[str, str]:
    """One row of the grade book.

    A submission that was not executed has no score: an empty cell, not a zero.
    `score` counts tests and approved criteria only.
    """
    final = result.test_points + approved_points(result)
    score = f"{final:g}" if result.executed else ""
    row = dict.fromkeys(COLUMNS, "")
    row |= {
        "assignment": plain_text(result.assignment),
        "student_id": plain_text(result.student),
        "raw_score": score,
        "late_submission_penalty": "0",
        "score": score,
        "max_score": f"{card.max_points:g}",
        "test_points": f"{result.test_points:g}" if result.executed else "",
        "approved_points": f"{approved_points(result):g}",
        "draft_points": f"{result.draft_points:g}",
        "executed": "yes" if result.executed else "no",
        "needs_human": "yes" if any(c.needs_human or c.status == "draft" for c in result.criteria) else "no",
        "flags": plain_text(" ".join(_all_flags(result))),
    }
    return row


def gradebook_csv(results: Iterable[Result], card: Card) -> str:
    """The grade book of a class as CSV text, students in alphabetical order."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for result in sorted(results, key=lambda result: result.student):
        writer.writerow(gradebook_row(result, card))
    return out.getvalue()


def gradescope(result: Result) -> dict[str, Any]:
    """One student's ``results.json`` for Gradescope: hidden tests hidden, drafts left out."""
    if not result.executed:
        # no score at all: Gradescope then asks a human, where a zero would be believed
        return {"output": "The submission was not executed.", "stdout_visibility": "hidden", "tests": []}
    tests: list[dict[str, Any]] = [
        {
            "name": test.title,
            "score": test.points,
            "max_score": test.max_points,
            "visibility": "visible" if test.visibility == "public" else "hidden",
            "status": "passed" if test.status == "passed" else "failed",
            "output": test.message or test.status,
            "tags": [test.status],
        }
        for test in result.tests
    ]
    tests += [
        {
            "name": item.criterion,
            "score": item.points,
            "max_score": item.max_points,
            "visibility": "after_published",
            "output": item.feedback,
            "tags": [item.source],
        }
        for item in result.criteria
        if item.status == "approved"
    ]
    pending = sum(item.status == "draft" for item in result.criteria)
    return {
        "score": result.test_points + approved_points(result),
        "output": f"{pending} criteria of the written answers wait for a human." if pending else "",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
    }


def _all_flags(result: Result) -> list[str]:
    flags = [*result.flags, *(flag for item in result.criteria for flag in item.flags)]
    return sorted(set(flags))
