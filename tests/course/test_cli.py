"""The command line: teaches, checks, fails in one sentence."""

import json

import pytest

from course.assignment import instructor_folder
from course.cli import main


def test_list_and_show(capsys):
    assert main(["list"]) == 0
    assert main(["show", "05"]) == 0
    out = capsys.readouterr().out
    assert "100 points" in out
    assert "posterior(Phi, y, noise_var, prior_mean, prior_cov)" in out


def test_schema_is_json(capsys):
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(schema) == {"schema_version", "card", "rubric", "result"}
    assert "evidence" in json.dumps(schema["result"])


def test_check_of_the_starter_says_what_is_missing(assignment, capsys):
    assert main(["check", "05", str(assignment.starter)]) == 1
    out = capsys.readouterr().out
    assert "in this very process" in out
    assert "posterior is still to be written" in out
    assert "public tests: 0 of 20 points; hidden tests for 44 points run when you hand in" in out
    assert "q1: no answer yet" in out


def test_check_of_good_work(assignment, capsys):
    work = instructor_folder() / "samples" / assignment.name / "student_a" / "submission.ipynb"
    assert main(["check", "05", str(work), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["own_process"] is True
    assert report["public_points"] == 20
    assert report["ai_use_missing"] == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "99"], "there is 05"),
        (["check", "05", "nowhere.ipynb"], "nowhere.ipynb does not exist"),
        (["check", "05", "work.docx"], "work.docx"),
        (["lint"], "or --all"),
        (["lint", "05", "--all"], "or --all"),
    ],
)
def test_a_wrong_call_is_one_sentence(capsys, arguments, sentence):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert sentence in err


def test_build(tmp_path, capsys):
    assert main(["build", "--student", "--out", str(tmp_path / "b"), "--json"]) == 0
    assert "CONTENTS.md" in json.loads(capsys.readouterr().out)["files"]
    assert main(["build", "--student", "--out", str(tmp_path / "b")]) == 2


def test_build_must_be_told_for_whom(tmp_path):
    with pytest.raises(SystemExit, match="2"):
        main(["build", "--out", str(tmp_path / "b")])
    assert not (tmp_path / "b").exists()


def test_lint_reports_as_json_without_the_instructors_half(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("STATML_INSTRUCTOR", str(tmp_path))
    assert main(["lint", "05", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["faults"] == 0
    assert [check["made"] for check in report["assignments"]["05"]].count(False) == 5
