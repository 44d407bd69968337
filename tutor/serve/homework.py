"""Homework as the page shows it: assignments with their dates, and how AI was used in each.

The log is what the tutor kept of every question; the reflection is what the
student says of it. Together they are the AI-use entry of the course, and what an
instructor sees of one assignment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from course.assignment import load, numbers
from course.schema import Card
from tutor.pedagogy.due import due_dates, over
from tutor.pedagogy.ladder import LEVELS, tasks
from tutor.records.reflections import SAID, Reflection, Reflections
from tutor.records.transcripts import Transcripts
from tutor.serve.shown import log_of

#: Characters of one answer of a reflection.
LONGEST_SAID = 2000


def cards() -> list[Card]:
    """The course's assignments in order."""
    return [load(number).card for number in numbers()]


def checked(assignment: object) -> str:
    """The number of an assignment; 404 where there is none."""
    if assignment not in numbers():
        raise HTTPException(404, "there is no such assignment")
    return str(assignment)


def assignments(home: Path, today: date | None = None) -> list[dict[str, Any]]:
    """Each assignment with its tasks, its due date, and whether that is over."""
    today = today or date.today()
    dates = due_dates(home)
    past = over(dates, today)
    return [
        {
            "number": card.number,
            "title": card.title,
            "due": dates[card.number].isoformat() if card.number in dates else None,
            "days": (dates[card.number] - today).days if card.number in dates else None,
            "over": card.number in past,
            "rungs": len(LEVELS),
            "tasks": [{"name": name, "what": _what(card, name)} for name in tasks(card)],
        }
        for card in cards()
    ]


def _what(card: Card, task: str) -> str:
    """What a task asks for, in a line."""
    for function in card.functions:
        if function.name == task:
            return f"{function.signature} → {function.returns}"
    return next(question.prompt for question in card.written if question.id == task)


def told(reflection: Reflection) -> dict[str, Any]:
    """A reflection as plain values."""
    return {
        **{name: reflection.said.get(name, "") for name in SAID},
        "confidence": reflection.confidence,
        "changed_at": reflection.changed_at,
        "missing": list(reflection.missing),
    }


def read(sent: dict[str, Any]) -> tuple[dict[str, str], float | None]:
    """A reflection as a page sends it; 422 with the reason where it is none."""
    said = {}
    for name in SAID:
        value = sent.get(name, "")
        if not isinstance(value, str) or len(value) > LONGEST_SAID:
            raise HTTPException(422, f"{name} must be text of at most {LONGEST_SAID} characters")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise HTTPException(
                422, f"{name} must be characters of Unicode, without half surrogates"
            ) from None
        said[name] = value.strip()
    confidence = sent.get("confidence")
    if confidence is None:
        return said, None
    number = isinstance(confidence, int | float) and not isinstance(confidence, bool)
    if not number or not (math.isfinite(confidence) and 0 <= confidence <= 1):
        raise HTTPException(422, "confidence must be a number from 0 to 1, or nothing")
    return said, float(confidence)


def used(store: Transcripts, student: str, assignment: str) -> dict[str, Any]:
    """How a student used AI in an assignment: her questions, her reflection, and the course's entry of both."""
    lines = [line for line in log_of(store, student) if line["assignment"] == assignment][::-1]
    reflection = Reflections(store.records).of(student, assignment)
    return {
        "student": student,
        "assignment": assignment,
        "questions": lines,
        "reflection": told(reflection),
        "ai_use": [entry(lines, reflection)] if lines else [],
    }


def entry(lines: Sequence[dict[str, Any]], reflection: Reflection) -> dict[str, Any]:
    """The entry of the course's AI-use section, in the order of its fields."""
    models = sorted({line["answered_by"] for line in lines if line["answered_by"]}) or ["no model"]
    return {
        "tool": f"statml tutor {version('statml')}",
        "version": "; ".join(models),
        "date": lines[0]["at"][:10] if lines else "",
        "purpose": reflection.said.get("purpose", ""),
        "prompts": [line["prompt"] for line in lines],
        **{name: reflection.said.get(name, "") for name in SAID[1:]},
        "confidence": "" if reflection.confidence is None else reflection.confidence,
    }


def of_class(store: Transcripts, assignment: str) -> list[dict[str, Any]]:
    """Everybody who asked about an assignment or reflected on it, with what an instructor looks at first."""
    with store.records.transaction() as db:
        asked = [row[0] for row in db.execute("SELECT DISTINCT student FROM conversations")]
    reflected = Reflections(store.records).on(assignment)
    rows = []
    for student in sorted({*asked, *reflected}):
        lines = [line for line in log_of(store, student) if line["assignment"] == assignment]
        if not lines and student not in reflected:
            continue
        reflection = reflected.get(student, Reflection())
        rows.append(
            {
                "student": student,
                "questions": len(lines),
                "hints": sum(len(line["hints"]) for line in lines),
                "refusals": sum("assignment" in line["refusals"] for line in lines),
                "tokens": sum(line["tokens"] for line in lines),
                "last": lines[0]["at"] if lines else "",
                "reflected": bool(reflection.changed_at),
                "missing": list(reflection.missing),
            }
        )
    return rows
