"""An assignment and where its two halves lie.

What a student may have is in ``course/assignments/NN_slug`` and travels in the
wheel; solution, hidden tests and rubric are in an instructor's folder that
never does. Only the three methods `Assignment.rubric`,
`Assignment.hidden_tests` and `Assignment.solution` look there.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from course.schema import Card, Rubric
from statml.errors import DataNotFoundError, InputError

ASSIGNMENTS = Path(__file__).resolve().parent / "assignments"
SYLLABUS = Path(__file__).resolve().parent / "syllabus.toml"
INSTRUCTOR_VARIABLE = "STATML_INSTRUCTOR"

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Assignment:
    """One assignment.

    Attributes
    ----------
    card : Card
        Title, functions, questions, points and limits.
    folder : Path
        The student's half: ``card.toml``, ``assignment.py``, ``tests_public.py``.
    """

    card: Card
    folder: Path

    @property
    def name(self) -> str:
        """Number and slug, the name of its folders: ``05_bayesian_regression``."""
        return f"{self.card.number}_{self.card.slug}"

    @property
    def starter(self) -> Path:
        """The text with the functions to be written, in jupytext's percent format."""
        return self.folder / "assignment.py"

    @property
    def text(self) -> str:
        """The content of `starter`."""
        return self.starter.read_text(encoding="utf-8")

    @property
    def public_tests(self) -> Path:
        """Tests the student has."""
        return self.folder / "tests_public.py"

    def rubric(self) -> Rubric:
        """How the written answers are judged; from the instructor's folder.

        Raises
        ------
        DataNotFoundError
            There is no instructor's folder, or no rubric in it.
        InputError
            The rubric breaks the schema or belongs to another assignment.
        """
        return read_rubric(self._kept_back("rubric.yaml"), self.card.number)

    def hidden_tests(self) -> Path:
        """Tests the student does not have; raises as `rubric`."""
        return self._kept_back("tests_hidden.py")

    def solution(self) -> Path:
        """The reference solution, in the format of a submission; raises as `rubric`."""
        return self._kept_back("solution.py")

    def _kept_back(self, file: str) -> Path:
        path = instructor_folder() / "assignments" / self.name / file
        if not path.is_file():
            raise DataNotFoundError(f"assignment {self.card.number} has no {file}; expected it at {path}")
        return path


def numbers() -> list[str]:
    """The numbers of all assignments, in order."""
    return sorted(path.parent.name[:2] for path in ASSIGNMENTS.glob("[0-9][0-9]_*/card.toml"))


def load(number: str) -> Assignment:
    """The assignment of a two-digit number; see `course.load`."""
    folders = sorted(ASSIGNMENTS.glob("[0-9][0-9]_*/card.toml"))
    for path in folders:
        if path.parent.name[:2] == str(number):
            return Assignment(read_card(path), path.parent)
    raise InputError(f"assignment is {number!r}; there is {', '.join(numbers()) or 'none yet'}")


def instructor_folder() -> Path:
    """The folder of solutions, hidden tests and rubrics.

    ``$STATML_INSTRUCTOR`` where it is set, else ``instructor/`` beside the
    package in a checkout of the repository.

    Raises
    ------
    DataNotFoundError
        There is none, as for everyone who installed the wheel.
    """
    named = os.environ.get(INSTRUCTOR_VARIABLE)
    folder = Path(named) if named else Path(__file__).resolve().parents[1] / "instructor"
    if not (folder / "assignments").is_dir():
        raise DataNotFoundError(
            f"there is no instructor's folder at {folder}; set {INSTRUCTOR_VARIABLE} to the folder that "
            "holds assignments/NN_slug/{solution.py, tests_hidden.py, rubric.yaml}"
        )
    return folder


def read_card(path: Path) -> Card:
    """Read and check a ``card.toml``.

    Raises
    ------
    InputError
        It is not TOML or breaks the schema; the sentence names the field.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path.name} is not TOML: {error}") from error
    return _checked(Card, values, path)


def read_rubric(path: Path, number: str) -> Rubric:
    """Read and check the ``rubric.yaml`` of assignment `number`; raises as `read_card`."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path.name} is not YAML: {str(error).splitlines()[0]}") from error
    rubric = _checked(Rubric, values, path)
    if rubric.assignment != number:
        raise InputError(f"{path.name} is for assignment {rubric.assignment}; it lies with {number}")
    return rubric


def _checked(model: type[Model], values: Any, path: Path) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{path.name}: {where}: {first['msg']} ({error.error_count()} in all)") from error
