"""The main job end to end: real stars, two questions, the sample class, one page."""

from __future__ import annotations

import csv
import json
import re

import pytest

from statml.errors import ServiceError
from tutor.cli import main


@pytest.fixture(scope="module")
def unsandboxed(tmp_path_factory):
    """The demonstration on a machine where no sandbox holds."""
    out = tmp_path_factory.mktemp("demo")
    patch = pytest.MonkeyPatch()

    def refuse():
        raise ServiceError("no sandbox: <b>install</b> bubblewrap")

    patch.setattr("tutor.sandbox.detect", refuse)
    code = main(["demo", "--out", str(out)])
    patch.undo()
    return out, code


def test_it_finishes_and_says_that_nothing_was_executed(unsandboxed):
    out, code = unsandboxed
    page = (out / "report.html").read_text("utf-8")
    assert code == 0
    assert "Not executed." in page
    assert "no sandbox: &lt;b&gt;install" in page, "what a machine says is escaped"
    rows = list(csv.DictReader((out / "gradebook.csv").open()))
    assert [row["executed"] for row in rows] == ["no"] * 5
    assert all(row["score"] == "" for row in rows), "not executed is not zero"


def test_the_page_shows_both_answers_with_the_quote_where_it_stands(unsandboxed):
    page = (unsandboxed[0] / "report.html").read_text("utf-8")
    assert re.search(r"<mark>[^<]{30,}</mark>", page)
    assert page.count("I cannot answer this from my sources.") == 1


def test_the_page_is_one_file_without_scripts(unsandboxed):
    page = (unsandboxed[0] / "report.html").read_text("utf-8")
    assert "<script" not in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert page.count("data:image/png;base64,") == 2


def test_the_wrong_model_is_marked_and_the_right_ones_are_not(unsandboxed):
    page = (unsandboxed[0] / "report.html").read_text("utf-8")
    cells = dict(re.findall(r"<tr><td>([^<]+)</td>\s*<td class=\"n (bad|good)\">", page))
    assert cells == {
        "reference solution": "good",
        "statml&#39;s shipped regressor": "good",
        "Gaussian with one scatter": "bad",
    }


@pytest.mark.slow
@pytest.mark.sandbox
def test_with_a_sandbox_the_class_is_graded(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    points = {student: row["tests"] for student, row in report["class"].items()}
    assert report["executed"]
    assert points["student_a"] == 64
    assert points["student_e"] == 0 and report["class"]["student_e"]["draft"] == 0


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["demo", "--out", str(tmp_path / "file" / "demo")]) == 2
    error = capsys.readouterr().err
    assert "--out" in error and error.count("\n") == 1
