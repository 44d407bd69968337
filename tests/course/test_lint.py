"""`course lint` passes the assignment as it is and finds faults put into it."""

import dataclasses
import shutil

import pytest

from course import assignment as assignments
from course import lint
from course.assignment import instructor_folder, read_card


@pytest.fixture
def copy(assignment, tmp_path, monkeypatch):
    """A copy of both halves that a test may spoil; `change(file, old, new)` returns the assignment."""
    folder = tmp_path / "course" / assignment.name
    shutil.copytree(assignment.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
    instructor = tmp_path / "instructor"
    source = instructor_folder() / "assignments" / assignment.name
    kept_back = instructor / "assignments" / assignment.name
    shutil.copytree(source, kept_back, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("STATML_INSTRUCTOR", str(instructor))

    def change(file: str, old: str, new: str) -> assignments.Assignment:
        path = next(path for path in (folder / file, kept_back / file) if path.is_file())
        text = path.read_text()
        assert old in text, f"{file} no longer holds {old!r}"
        path.write_text(text.replace(old, new, 1))
        return dataclasses.replace(assignment, card=read_card(folder / "card.toml"), folder=folder)

    return change


def test_every_check_passes(assignment):
    checks = list(lint.lint(assignment))
    assert [(check.name, check.faults) for check in checks if check.faults] == []
    assert len(checks) == 10
    assert all(check.made for check in checks)
    assert lint.syllabus_faults() == []


SEEDED = [
    (lint.public_points_add_up, "card.toml", "public_points = 20", "public_points = 21", "card says 21"),
    (lint.hidden_points_add_up, "tests_hidden.py", "@points(8,", "@points(9,", "give 45 points"),
    (
        lint.starter_has_the_functions,
        "card.toml",
        "mean, std, level)",
        "mean, level)",
        "the card has coverage",
    ),
    (
        lint.starter_has_the_functions,
        "assignment.py",
        "def coverage(",
        "def covers(",
        "does not define coverage",
    ),
    (
        lint.starter_has_the_functions,
        "assignment.py",
        "    raise NotImplementedError",
        "    return prior_mean, prior_cov",
        "must only raise",
    ),
    (lint.written_cells_are_marked, "assignment.py", "<!-- answer: q2 -->", "", "answer: q2"),
    (lint.written_cells_are_marked, "assignment.py", "what would you change", "what else", "does not ask q1"),
    (lint.datasets_exist, "card.toml", '["gaia_xp"]', '["gaia_yp"]', "gaia_yp"),
    (lint.rubric_matches_card, "card.toml", 'id = "q2"', 'id = "q3"', "criteria of q2"),
    (
        lint.rubric_matches_card,
        "rubric.yaml",
        "kurtosis|leptokurtic",
        "kurtosis|(",
        "not a regular expression",
    ),
    (
        lint.rubric_matches_card,
        "rubric.yaml",
        "Only the parameter variance goes down",
        "All of them shrink",
        "misconception all_shrink",
    ),
    (
        lint.nothing_leaks,
        "assignment.py",
        "import numpy as np",
        "import numpy as np\n# half = linalg.solve_triangular(R, L.T, trans='T').T".replace("'", '"'),
        "holds the line",
    ),
    (
        lint.nothing_leaks,
        "tests_public.py",
        "NAMES =",
        "# Only the parameter variance shrinks, about as 1/n; noise is a property of the label and model scatter of the "
        "features and the model, and both are only better estimated, so the total tends to a floor.\nNAMES =",
        "holds the line",
    ),
    (lint.card_matches_folder, "card.toml", 'slug = "bayesian_', 'slug = "bayes_', "the folder is"),
]


@pytest.mark.parametrize(("check", "file", "old", "new", "fault"), SEEDED)
def test_a_seeded_fault_is_found(copy, check, file, old, new, fault):
    faults = check(copy(file, old, new))
    assert any(fault in found for found in faults), faults


def test_a_kept_back_file_in_the_students_half_is_found(copy):
    spoiled = copy("card.toml", "05", "05")
    (spoiled.folder / "solution.py").write_text("")
    assert lint.nothing_leaks(spoiled) == ["solution.py belongs to the instructor"]


def test_a_wrong_solution_is_found(copy):
    spoiled = copy(
        "solution.py", "half_width = stats.norm.ppf(0.5 + level / 2)", "half_width = stats.norm.ppf(level)"
    )
    hidden = spoiled.hidden_tests()
    # the tests on real stars take seconds and have nothing to say about this fault
    hidden.write_text(hidden.read_text().split("def real_star_intervals")[0])
    faults = lint.solution_earns_everything(spoiled)
    assert any("test_coverage_counts" in fault for fault in faults)
    assert len(faults) == 1


def test_without_the_instructors_half_its_checks_are_named_as_not_made(assignment, monkeypatch, tmp_path):
    monkeypatch.setenv("STATML_INSTRUCTOR", str(tmp_path))
    checks = list(lint.lint(assignment))
    assert [check.made for check in checks] == [True] * 5 + [False] * 5
