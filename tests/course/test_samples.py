"""What the sample class earns, and that the starter earns nothing."""

import pytest

from course.ai_use import read_ai_use
from course.assignment import instructor_folder
from course.lint import starter_earns_nothing
from course.submission import InProcessSubmission, read_submission
from course.testing import run_tests


def sample(assignment, student):
    folder = instructor_folder() / "samples" / assignment.name / student
    return read_submission(next(folder.iterdir()))


@pytest.mark.parametrize(("student", "earned"), [("student_a", 64), ("student_b", 31), ("student_e", 0)])
def test_points_of_the_sample_class(assignment, student, earned):
    submission = InProcessSubmission(sample(assignment, student))
    results = run_tests(assignment.public_tests, submission, visibility="public")
    results += run_tests(assignment.hidden_tests(), submission, visibility="hidden")
    assert sum(result.points for result in results) == earned
    if student == "student_b":
        # the trap: a Gaussian of constant scatter is right at 95 % and wrong at 68 %
        status = {result.name: result.status for result in results}
        assert (status["test_covers_95"], status["test_covers_68"]) == ("passed", "failed")


def test_the_starter_earns_nothing(assignment):
    assert starter_earns_nothing(assignment) == []


def test_every_sample_answers_both_questions(assignment):
    for letter in "abcde":
        answers = sample(assignment, f"student_{letter}").answers
        assert set(answers) == {"q1", "q2", "ai_use"}
        assert all(len(answers[name].source.split()) > 20 for name in ("q1", "q2"))


def test_ai_use_sections(assignment):
    assert read_ai_use(sample(assignment, "student_a")).complete
    assert read_ai_use(sample(assignment, "student_c")).declared_none
    incomplete = read_ai_use(sample(assignment, "student_b"))
    assert incomplete.missing == ("entry 1 says nothing about prompts, what_rejected, how_verified",)
    empty = read_ai_use(read_submission(assignment.starter))
    assert not empty.complete
    assert empty.entries == ()


@pytest.mark.parametrize("nested", ["[" * 20_000, "\n" + "- " * 5000 + "a", "\n" + "? " * 3000])
def test_an_ai_use_section_without_a_bottom_is_reported(nested, tmp_path):
    file = tmp_path / "work.py"
    block = f"<!-- answer: ai_use -->\n```yaml\nai_use: {nested}\n```"
    file.write_text("# %% [markdown]\n" + "\n".join(f"# {line}" for line in block.splitlines()) + "\n")
    section = read_ai_use(read_submission(file))
    assert section.missing == ("the AI-use section is not valid YAML",)
