"""Everything a grading run needs to know of an assignment, read once, and the key of a result."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

import course
from course.schema import SCHEMA_VERSION, Card, Rubric

# Raise when the same submission could get another result: tests, flags or drafts.
GRADER_VERSION = "1"


@dataclass(frozen=True)
class Material:
    """An assignment as the grader holds it.

    Attributes
    ----------
    card : Card
    rubric : Rubric
    public_tests, hidden_tests : Path
    rubric_sha256, tests_sha256 : str
        Of the rubric's content; of both files of tests and the card (limits are part of a test).
    """

    card: Card
    rubric: Rubric
    public_tests: Path
    hidden_tests: Path
    rubric_sha256: str
    tests_sha256: str

    @property
    def prompts(self) -> dict[str, str]:
        """Question id to the question as the student read it."""
        return {task.id: task.prompt for task in self.card.written}

    def versions(self, drafts: str) -> dict[str, str]:
        """What a result depends on beside the submission; `drafts` is the criterion grader's version."""
        return {
            "grader": GRADER_VERSION,
            "drafts": drafts,
            "schema": str(SCHEMA_VERSION),
            "rubric": self.rubric.version,
            "rubric_sha256": self.rubric_sha256,
            "tests_sha256": self.tests_sha256,
        }


def load_material(assignment: str) -> Material:
    """Read an assignment with its instructor's half.

    Raises
    ------
    InputError
        There is no such assignment, or its files break the schema.
    DataNotFoundError
        There is no instructor's folder.
    """
    found = course.load(assignment)
    rubric = found.rubric()
    hidden = found.hidden_tests()
    tests = hashlib.sha256()
    for content in (
        found.public_tests.read_bytes(),
        hidden.read_bytes(),
        found.card.model_dump_json().encode(),
    ):
        tests.update(hashlib.sha256(content).digest())
    return Material(
        card=found.card,
        rubric=rubric,
        public_tests=found.public_tests,
        hidden_tests=hidden,
        rubric_sha256=hashlib.sha256(rubric.model_dump_json().encode()).hexdigest(),
        tests_sha256=tests.hexdigest(),
    )


def result_key(student: str, submission_sha256: str, executed: bool, versions: dict[str, str]) -> str:
    """Digest of everything a result depends on; `student` keeps equal submissions apart."""
    parts = [student, submission_sha256, executed, sorted(versions.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def program_versions() -> dict[str, str]:
    """Versions worth knowing when a result is questioned later; not part of its key."""
    return {"statml": version("statml"), "python": platform.python_version(), "numpy": np.__version__}
