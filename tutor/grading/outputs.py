"""The files of a run, each written whole or not at all."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from course.exports import gradebook_csv
from course.schema import Card, Result

GRADEBOOK, RESULTS, FEEDBACK = "gradebook.csv", "results.json", "feedback"
_SAFE_NAME = re.compile(r"[^\W_][\w.@+ -]{0,99}")


def write_whole(path: Path, text: str) -> None:
    """Write a file under another name first, then move it into place."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o640)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_results(out: Path, results: Mapping[str, Result], card: Card) -> None:
    """Write ``results.json`` (pseudonyms, everything) and ``gradebook.csv`` (names, one line each).

    Parameters
    ----------
    out : Path
    results : mapping
        Student's name to result.
    card : Card
    """
    ordered = sorted(results.values(), key=lambda result: result.student)
    content = {
        "schema_version": 1,
        "assignment": card.number,
        "title": card.title,
        "max_points": card.max_points,
        "results": [as_json(result) for result in ordered],
    }
    write_whole(out / RESULTS, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    named = [_for_gradebook(student, result) for student, result in results.items()]
    write_whole(out / GRADEBOOK, gradebook_csv(named, card))


def as_json(result: Result) -> dict[str, object]:
    """A result as plain JSON, with its sums."""
    content = result.model_dump(mode="json")
    content["test_points"], content["draft_points"] = result.test_points, result.draft_points
    return content


def feedback_path(out: Path, student: str, pseudonym: str) -> Path:
    """Page of a student; one whose name would not make a good file name goes by pseudonym."""
    name = student if _SAFE_NAME.fullmatch(student) and len(student.encode()) <= 150 else pseudonym
    return out / FEEDBACK / f"{name}.html"


def _for_gradebook(student: str, result: Result) -> Result:
    # one cell of a table: the flags' names; what was seen is in results.json and on the page
    criteria = tuple(
        item.model_copy(update={"flags": tuple(flag.partition(":")[0] for flag in item.flags)})
        for item in result.criteria
    )
    flags = tuple(flag.partition(":")[0] for flag in result.flags)
    name = student.encode("utf-8", "backslashreplace").decode()
    return result.model_copy(update={"student": name, "criteria": criteria, "flags": flags})
