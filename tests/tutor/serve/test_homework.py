"""Homework on the page: dates, hints, and how AI was used, for the student and for the instructor."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from pathlib import Path

import pytest

from course.ai_use import read_ai_use
from course.submission import Cell, SubmissionText
from tutor.serve import homework

QUESTION = "Why do stars spin down?"
SAID = {
    "purpose": "to understand *why*",
    "what_accepted": "the idea of the evidence",
    "what_rejected": "nothing: `x` # --- <b>",
    "how_verified": "by hand,\nwith two numbers",
    "effect_on_answer": "none",
}


def ask(client, text: str, assignment: object = "05", number: int | None = None) -> list[dict]:
    number = number or client.post("/api/conversations", json={}).json()["id"]
    reply = client.post(f"/api/conversations/{number}/say", json={"text": text, "assignment": assignment})
    assert reply.status_code == 200
    return [json.loads(line) for line in reply.text.splitlines()]


def test_assignments_come_with_their_tasks_and_dates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATML_INSTRUCTOR", str(tmp_path / "none"))
    (plain,) = [a for a in homework.assignments(tmp_path) if a["number"] == "05"]
    assert plain["due"] is None and not plain["over"] and plain["rungs"] == 4
    assert [t["name"] for t in plain["tasks"]][-2:] == ["q1", "q2"] and all(t["what"] for t in plain["tasks"])
    (tmp_path / "due.toml").write_text('"05" = 2026-12-01\n')
    for today, days, over in (
        (date(2026, 11, 24), 7, False),
        (date(2026, 12, 1), 0, False),
        (date(2026, 12, 2), -1, True),
    ):
        (seen,) = [a for a in homework.assignments(tmp_path, today) if a["number"] == "05"]
        assert (seen["due"], seen["days"], seen["over"]) == ("2026-12-01", days, over)


def test_dates_that_cannot_be_read_are_one_sentence(school, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("STATML_INSTRUCTOR", str(tmp_path / "none"))
    (tmp_path / "due.toml").write_text('"05" = "soon"\n')
    refused = school.student("s1").get("/api/assignments")
    assert refused.status_code == 503 and "instructor" in refused.json()["detail"]
    assert str(tmp_path) not in refused.text


def test_a_question_about_a_homework_is_logged_with_it(school) -> None:
    client = school.student("s1")
    number = client.post("/api/conversations", json={}).json()["id"]
    first = ask(client, "/hint q1", "05", number)
    assert [e["level"] for e in first if e["event"] == "hint"] == [0]
    assert [e["level"] for e in ask(client, "/hint q1", "05", number) if e["event"] == "hint"] == [1]
    ask(client, QUESTION, "", number)
    ask(client, QUESTION, None, number)
    kept = [e for e in client.get(f"/api/conversations/{number}").json() if e["kind"] == "student"]
    assert [e.get("assignment", "") for e in kept] == ["05", "05", "", ""]
    assert [line["assignment"] for line in client.get("/api/log").json()] == ["", "", "05", "05"]
    used = client.get("/api/homework/05").json()
    assert [line["hints"] for line in used["questions"]] == [["05/q1: question"], ["05/q1: concept"]]
    for wrong in ("99", 5, ["05"], "../05"):
        said = {"text": QUESTION, "assignment": wrong}
        assert client.post(f"/api/conversations/{number}/say", json=said).status_code == 404


def test_what_is_exported_completes_the_course_section(school) -> None:
    client = school.student("s1")
    ask(client, "/hint posterior")
    ask(client, "What is a prior? ``` <script> | yes: no")
    before = client.get("/api/homework/05").json()
    assert before["reflection"]["missing"] == [*SAID, "confidence"]
    kept = client.post("/api/homework/05", json={**SAID, "confidence": 0.7}).json()
    assert kept["missing"] == [] and kept["changed_at"]
    export = client.get("/api/homework/05/export.md")
    assert export.headers["content-disposition"] == 'attachment; filename="ai_use_05_s1.md"'
    assert export.headers["content-type"].startswith("text/plain")
    before_section = export.text.split("```yaml")[0]
    assert "<script>" not in before_section and "to understand \\*why\\*" in before_section
    section = Cell(0, "markdown", "<!-- answer: ai_use -->\n" + export.text[export.text.index("```yaml") :])
    read = read_ai_use(SubmissionText(Path("x"), "0" * 64, (section,)))
    assert read.complete and read.entries[0].confidence == 0.7
    assert len(read.entries[0].prompts) == 2 and read.entries[0].prompts[0] == "/hint posterior"
    assert read.entries[0].how_verified == SAID["how_verified"]
    exported = client.get("/api/homework/05/export.json")
    assert exported.json() == client.get("/api/homework/05").json()
    assert exported.json()["ai_use"][0]["purpose"] == SAID["purpose"]
    for nothing in ("05/export.pdf", "99/export.md", "05/export."):
        assert client.get(f"/api/homework/{nothing}").status_code == 404
    quiet = school.student("s2").get("/api/homework/05/export.md").text
    assert "ai_use: none" in quiet


@pytest.mark.parametrize(
    "wrong",
    [{"purpose": 3}, {"purpose": "x" * 2001}, {"confidence": 1.1}, {"confidence": "0.5"}, {"confidence": True},
     {"confidence": -0.1}],
    ids=range(6),
)  # fmt: skip
def test_a_reflection_is_text_and_a_number_between_0_and_1(school, wrong: dict) -> None:
    client = school.student("s1")
    assert client.post("/api/homework/05", json={**SAID, **wrong}).status_code == 422
    assert client.get("/api/homework/05").json()["reflection"]["changed_at"] == ""


def test_the_instructor_sees_a_class_by_homework(school) -> None:
    anna, ben = school.student("anna"), school.student("ben")
    ask(anna, "/hint posterior")
    ask(anna, "Write the complete solution code of assignment 05 for me.")
    ask(ben, QUESTION, "")
    ben.post("/api/homework/05", json={**SAID, "confidence": 0.5})
    boss = school.instructor()
    where = "/api/instructor/homework/05"
    first, second = boss.get(where).json()
    assert (first["student"], first["questions"], first["hints"], first["refusals"]) == ("anna", 2, 2, 1)
    assert not first["reflected"] and (second["student"], second["questions"]) == ("ben", 0)
    assert second["reflected"] and second["missing"] == []
    one = boss.get("/api/instructor/students/ben/homework/05").json()
    assert one["reflection"]["how_verified"] == SAID["how_verified"]
    table = list(csv.DictReader(io.StringIO(boss.get(f"{where}/export.csv").text)))
    assert [row["student"] for row in table] == ["anna", "ben"] and table[0]["questions"] == "2"
    assert [used["student"] for used in boss.get(f"{where}/export.json").json()] == ["anna", "ben"]
    assert boss.get(f"{where}/export.md").text.count("# How AI was used in assignment 05") == 2
    single = boss.get("/api/instructor/students/anna/homework/05/export.json")
    assert single.json()["student"] == "anna"
    assert boss.get("/api/instructor/students/a%22b/homework/05/export.md").status_code == 422
    assert boss.get(f"{where}/export.xls").status_code == 404
    assert [a["number"] for a in boss.get("/api/instructor/homework").json()] == ["05"]
