"""Loading an assignment, and where its instructor's half is looked for."""

import subprocess
import sys

import pytest

import course
from course.assignment import instructor_folder, read_card, read_rubric
from course.submission import read_submission
from statml.errors import DataNotFoundError, InputError


def test_import_course_is_light():
    code = "import sys, course; print([m for m in ('numpy', 'pydantic', 'yaml', 'jupytext') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_load_gives_the_students_half(assignment):
    assert assignment.name == "05_bayesian_regression"
    assert "def posterior(" in assignment.text
    assert assignment.public_tests.is_file()
    assert set(read_submission(assignment.starter).answers) == {"q1", "q2", "ai_use"}


def test_an_unknown_number_lists_what_exists():
    with pytest.raises(InputError, match=r"'77'; there is 05"):
        course.load("77")


def test_without_an_instructors_folder_the_mend_is_named(assignment, monkeypatch, tmp_path):
    monkeypatch.setenv("STATML_INSTRUCTOR", str(tmp_path / "nowhere"))
    with pytest.raises(DataNotFoundError, match="set STATML_INSTRUCTOR"):
        assignment.rubric()


def test_the_variable_wins_over_the_repository(assignment, monkeypatch, tmp_path):
    original = assignment.rubric()
    (tmp_path / "assignments").mkdir()
    monkeypatch.setenv("STATML_INSTRUCTOR", str(tmp_path))
    assert instructor_folder() == tmp_path
    with pytest.raises(DataNotFoundError, match=r"has no rubric\.yaml"):
        assignment.rubric()
    assert original.assignment == "05"


def test_a_broken_card_is_one_sentence_that_names_the_field(tmp_path, assignment):
    path = tmp_path / "card.toml"
    path.write_text(
        (assignment.folder / "card.toml").read_text().replace("hidden_points = 44", 'hidden_points = "many"')
    )
    with pytest.raises(InputError, match=r"card\.toml: hidden_points"):
        read_card(path)
    path.write_text("number = ")
    with pytest.raises(InputError, match="is not TOML"):
        read_card(path)


def test_a_rubric_of_another_assignment_is_refused(tmp_path, assignment):
    path = tmp_path / "rubric.yaml"
    path.write_text(assignment.rubric().model_dump_json())
    with pytest.raises(InputError, match="is for assignment 05"):
        read_rubric(path, "06")
    path.write_text("a: [")
    with pytest.raises(InputError, match="is not YAML"):
        read_rubric(path, "05")
