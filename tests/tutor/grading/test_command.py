"""``tutor grade`` as it is typed."""

import argparse
import json

import pytest

from statml import console
from statml.errors import ServiceError
from tutor.grading import command


@pytest.fixture
def grade():
    parser = argparse.ArgumentParser(prog="tutor")
    command.add_parser(parser.add_subparsers())
    return lambda *argv: console.run(parser, ["grade", *map(str, argv)])


def test_without_a_sandbox_it_refuses_and_names_the_mend(grade, hand_in, tmp_path, monkeypatch, capsys):
    def none_here():
        raise ServiceError("no sandbox: install bubblewrap (apt install bubblewrap) or allow user namespaces")

    monkeypatch.setattr(command, "detect", none_here)
    assert grade(hand_in("anna"), "--assignment", "05", "--out", tmp_path / "out") == 2
    assert capsys.readouterr().err.strip() == (
        "tutor: no sandbox: install bubblewrap (apt install bubblewrap) or allow user namespaces"
    )
    assert not (tmp_path / "out").exists()


def test_sandbox_none_grades_without_running_code(grade, hand_in, tmp_path, capsys):
    folder = hand_in("anna", "import os; os.abort()")
    assert grade(folder, "--assignment", "05", "--out", tmp_path / "out", "--sandbox", "none") == 0
    shown = capsys.readouterr()
    assert "not executed" in shown.out and "no code was executed" in shown.out
    assert "[1/1] anna" in shown.err


def test_json_is_json_and_names_nobody(grade, hand_in, tmp_path, capsys):
    args = (hand_in("anna"), "--assignment", "05", "--out", tmp_path / "out", "--sandbox", "none", "--json")
    assert grade(*args) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["executed"] is False and len(content["results"]) == 1
    assert content["results"][0]["student"] != "anna"


@pytest.mark.parametrize(
    ("assignment", "folder", "sentence"),
    [("99", None, "assignment is '99'"), ("05", "nowhere", "which does not exist")],
)
def test_bad_input_is_one_line(grade, hand_in, tmp_path, capsys, assignment, folder, sentence):
    given = folder or hand_in("anna")
    assert grade(given, "--assignment", assignment, "--out", tmp_path / "out", "--sandbox", "none") == 2
    error = capsys.readouterr().err
    assert sentence in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_help_teaches(grade, capsys):
    with pytest.raises(SystemExit):
        grade("--help")
    shown = capsys.readouterr().out
    assert "example: tutor grade" in shown and "a person decides" in shown
