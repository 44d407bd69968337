"""A class from folder to grade book: bad files, resumption, nothing half-written, nothing unescaped."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from statml.errors import DataNotFoundError, InputError, ServiceError
from tutor.grading import grade_class
from tutor.grading.collect import collect
from tutor.grading.pseudonym import course_key, pseudonym
from tutor.records import Records
from tutor.sandbox import detect
from tutor.sandbox.interface import Sandbox

HEAVY = "The residuals have heavy tails, and they inflate the one standard deviation of the model."


def rows(out):
    with open(out / "gradebook.csv", encoding="utf-8", newline="") as file:
        return {row["student_id"]: row for row in csv.DictReader(file)}


def test_without_execution_every_test_says_so(hand_in, tmp_path):
    folder = hand_in("anna", q1=HEAVY)
    report = grade_class(folder, "05", tmp_path / "out", sandbox=None)
    result = report.results["anna"]
    assert {test.status for test in result.tests} == {"not_executed"}
    assert not result.executed and result.test_points == 0
    assert result.draft_points > 0
    row = rows(tmp_path / "out")["anna"]
    assert (row["executed"], row["score"], row["needs_human"]) == ("no", "", "yes")


def test_files_of_a_run(hand_in, tmp_path):
    folder = hand_in("anna", q1=HEAVY)
    out = tmp_path / "out"
    grade_class(folder, "05", out, sandbox=None)
    assert {path.name for path in out.iterdir()} >= {
        "gradebook.csv",
        "results.json",
        "feedback",
        "audit.jsonl",
        "records.sqlite",
        "pseudonym.key",
    }
    assert (out / "pseudonym.key").stat().st_mode & 0o777 == 0o600
    content = (out / "results.json").read_text()
    assert "anna" not in content
    stored = json.loads(content)["results"][0]
    assert stored["student"] == pseudonym(course_key(out), "anna")
    assert stored["versions"]["rubric"] == "1"
    events = [json.loads(line) for line in (out / "audit.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["run_started", "result_stored", "run_finished"]
    assert "anna" not in (out / "audit.jsonl").read_text()
    with Records(out / "records.sqlite") as records:
        assert [kind for kind, _ in records.events(1)] == [event["event"] for event in events]


def test_a_second_run_computes_nothing_and_changes_nothing(hand_in, tmp_path):
    folder, out = hand_in("anna", q1=HEAVY), tmp_path / "out"
    hand_in("ben")
    first = grade_class(folder, "05", out, sandbox=None)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.suffix in {".csv", ".json", ".html"}}
    second = grade_class(folder, "05", out, sandbox=None)
    assert (first.computed, first.reused, second.computed, second.reused) == (2, 0, 0, 2)
    assert {path: path.read_bytes() for path in before} == before
    assert second.results == first.results


def test_a_changed_submission_is_graded_again_alone(hand_in, tmp_path):
    folder, out = hand_in("anna"), tmp_path / "out"
    hand_in("ben")
    grade_class(folder, "05", out, sandbox=None)
    path = folder / "ben" / "submission.ipynb"
    path.write_text(path.read_text().replace("x = 1", "x = 2"))
    report = grade_class(folder, "05", out, sandbox=None)
    assert (report.computed, report.reused) == (1, 1)


def test_two_students_with_the_same_file_are_two_students(hand_in, tmp_path):
    folder = hand_in("anna", q1=HEAVY)
    hand_in("ben", q1=HEAVY)
    report = grade_class(folder, "05", tmp_path / "out", sandbox=None)
    assert report.computed == 2
    assert report.results["anna"].student != report.results["ben"].student


def test_unreadable_submissions_are_recorded_and_the_run_goes_on(hand_in, tmp_path):
    folder = hand_in("good", q1=HEAVY)
    (folder / "broken.ipynb").write_text("{not json")
    (folder / "binary.py").write_bytes(b"\xff\xfe\x00\x01")
    (folder / "empty").mkdir()
    (folder / "many").mkdir()
    for name in ("a.py", "b.py"):
        (folder / "many" / name).write_text("x = 1")
    (folder / "link").mkdir()
    (folder / "link" / "submission.py").symlink_to("/etc/shadow")
    (folder / "huge.py").write_bytes(b"#" * 5_000_001)
    (folder / "both.py").write_text("x = 1")
    (folder / "both").mkdir()
    (folder / "both" / "submission.py").write_text("x = 1")
    (folder / "notes.txt").write_text("not a submission")
    report = grade_class(folder, "05", tmp_path / "out", sandbox=None)
    assert sorted(report.unreadable) == ["binary", "both", "broken", "empty", "huge", "link", "many"]
    assert set(report.results) == {*report.unreadable, "good"}
    book = rows(tmp_path / "out")
    assert "unreadable" in book["broken"]["flags"]
    page = (tmp_path / "out" / "feedback" / "link.html").read_text()
    assert "submission.py is a link" in page
    assert "root:" not in page


def test_everything_a_student_wrote_is_escaped(hand_in, tmp_path):
    evil = '<script>alert(1)</script> <img src=x onerror=alert(1)> "quoted" {{ 7 * 7 }}'
    folder = hand_in("<b>eve", code=f"raise ValueError({evil!r})", q1=f"{HEAVY} {evil}", ai_use=evil)
    out = tmp_path / "out"
    grade_class(folder, "05", out, sandbox=None)
    (page,) = [path.read_text() for path in (out / "feedback").iterdir()]
    assert "<script" not in page and "<img" not in page and "<b>eve" not in page
    assert "&lt;script&gt;" in page and "{{ 7 * 7 }}" in page
    assert "Content-Security-Policy" in page and "default-src &#39;none&#39;" not in page
    assert "default-src 'none'" in page


def test_the_page_keeps_what_is_the_instructors(hand_in, tmp_path, material):
    folder = hand_in("anna", q1=HEAVY)
    grade_class(folder, "05", tmp_path / "out", sandbox=None)
    page = (tmp_path / "out" / "feedback" / "anna.html").read_text()
    assert "A person decides" in page
    assert re.search(r"<mark>The residuals have heavy tails", page)
    for criterion in material.rubric.criteria:
        for words in (*criterion.reference_answers, *(level.description for level in criterion.levels[1:])):
            assert words[:40] not in page


def test_names_that_are_formulas_or_paths_do_no_harm(hand_in, tmp_path):
    hand_in("=cmd|' calc'!A0")
    folder = hand_in("x" * 200)
    out = tmp_path / "out"
    grade_class(folder, "05", out, sandbox=None)
    book = (out / "gradebook.csv").read_text()
    assert "'=cmd" in book
    assert len(list((out / "feedback").iterdir())) == 2


def test_a_secret_of_the_course_gives_the_same_pseudonyms_everywhere(hand_in, tmp_path):
    folder = hand_in("anna")
    names = [
        grade_class(folder, "05", tmp_path / name, sandbox=None, secret=b"course").results["anna"].student
        for name in ("one", "two")
    ]
    assert names[0] == names[1]
    assert not (tmp_path / "one" / "pseudonym.key").exists()


def test_bad_input_is_one_sentence_and_leaves_nothing(hand_in, tmp_path, monkeypatch):
    folder, out = hand_in("anna"), tmp_path / "out"
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataNotFoundError, match="which does not exist"):
        grade_class(tmp_path / "none", "05", out, sandbox=None)
    with pytest.raises(InputError, match="holds no submission"):
        grade_class(tmp_path / "empty", "05", out, sandbox=None)
    with pytest.raises(InputError, match="which is a file"):
        grade_class(folder / "anna" / "submission.ipynb", "05", out, sandbox=None)
    with pytest.raises(InputError, match="assignment is '77'"):
        grade_class(folder, "77", out, sandbox=None)
    with pytest.raises(InputError, match="in the folder of submissions"):
        grade_class(folder, "05", folder / "out", sandbox=None)
    monkeypatch.setenv("STATML_INSTRUCTOR", str(tmp_path))
    with pytest.raises(DataNotFoundError, match="no instructor's folder"):
        grade_class(folder, "05", out, sandbox=None)
    assert not out.exists()
    monkeypatch.delenv("STATML_INSTRUCTOR")
    out.write_text("a file")
    with pytest.raises(InputError, match="nothing can be written"):
        grade_class(folder, "05", out, sandbox=None)
    assert not (folder / "out").exists()


def test_records_of_a_newer_program_stop_the_run(hand_in, tmp_path):
    folder, out = hand_in("anna"), tmp_path / "out"
    grade_class(folder, "05", out, sandbox=None)
    with Records(out / "records.sqlite") as records:
        records._db.execute("INSERT INTO schema_version VALUES (999, 'later')")
    with pytest.raises(ServiceError, match="schema version 999"):
        grade_class(folder, "05", out, sandbox=None)


def test_ctrl_c_keeps_what_is_finished(hand_in, tmp_path):
    folder, out = hand_in("anna"), tmp_path / "out"
    hand_in("ben")

    def stop_at_ben(done, total, student):
        if student == "ben":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grade_class(folder, "05", out, sandbox=None, progress=stop_at_ben)
    assert set(rows(out)) == {"anna"}
    assert "run_stopped" in (out / "audit.jsonl").read_text()
    report = grade_class(folder, "05", out, sandbox=None)
    assert (report.computed, report.reused) == (1, 1)


class BrokenSandbox(Sandbox):
    name = "broken"

    def missing(self):
        return None

    def command(self, limits, request_fd, reply_fd):
        return ["false"]


def test_a_sandbox_that_stops_working_is_not_the_students_fault(hand_in, tmp_path):
    folder, out = hand_in("anna"), tmp_path / "out"
    with pytest.raises(ServiceError, match="the broken sandbox did not start"):
        grade_class(folder, "05", out, sandbox=BrokenSandbox())
    assert rows(out) == {}


def test_what_was_not_executed_is_executed_later(hand_in, tmp_path):
    folder, out = hand_in("anna"), tmp_path / "out"
    grade_class(folder, "05", out, sandbox=None)
    with pytest.raises(ServiceError):
        grade_class(folder, "05", out, sandbox=BrokenSandbox())


def test_collect_takes_files_and_folders(tmp_path):
    (tmp_path / "zoe.py").write_text("")
    (tmp_path / "anna").mkdir()
    for name in ("assignment.py", "plots.py"):
        (tmp_path / "anna" / name).write_text("")
    (tmp_path / ".hidden").mkdir()
    found = collect(tmp_path)
    assert [(item.student, item.path and item.path.name) for item in found] == [
        ("anna", "assignment.py"),
        ("zoe", "zoe.py"),
    ]


def test_a_damaged_key_is_one_sentence(tmp_path):
    (tmp_path / "pseudonym.key").write_text("short")
    with pytest.raises(InputError, match="holds no key of 64"):
        course_key(tmp_path)


@pytest.mark.sandbox
def test_a_killed_run_goes_on_where_it_stopped(hand_in, tmp_path):
    # the second student never ends: the run is killed in the middle of her
    fast = "def coverage(y, mean, std, level):\n    return 0.5\n"
    folder, out = hand_in("anna", fast), tmp_path / "out"
    hand_in("berta", "while True: pass")
    script = (
        "import sys; from pathlib import Path; from tutor.grading import grade_class; from tutor.sandbox import detect\n"
        "grade_class(Path(sys.argv[1]), '05', Path(sys.argv[2]), sandbox=detect())\n"
    )
    try:
        detect()
    except ServiceError as error:
        pytest.skip(str(error))
    run = subprocess.Popen([sys.executable, "-c", script, str(folder), str(out)])
    deadline = time.monotonic() + 60
    while (
        "result_stored" not in (out / "audit.jsonl").read_text() if (out / "audit.jsonl").exists() else True
    ):
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)
    assert run.poll() is None
    run.send_signal(signal.SIGKILL)
    run.wait()
    with open(out / "audit.jsonl", "a") as file:
        file.write('{"half a li')  # what a lost power supply may leave
    # made to end, so that the test is short
    (folder / "berta" / "submission.ipynb").write_text((folder / "anna" / "submission.ipynb").read_text())
    report = grade_class(folder, "05", out, sandbox=detect())
    assert (report.computed, report.reused) == (1, 1)
    assert set(rows(out)) == {"anna", "berta"}
    assert not list(out.rglob(".*-*"))
    lines = (out / "audit.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["event"] == "run_finished"
    assert lines.count('{"half a li') == 1


@pytest.mark.sandbox
def test_a_second_run_at_the_same_time_is_refused(hand_in, tmp_path):
    folder, out = hand_in("anna"), tmp_path / "out"

    def second_run(done, total, student):
        if student:
            with pytest.raises(InputError, match="another run is writing"):
                grade_class(folder, "05", out, sandbox=None)

    grade_class(folder, "05", out, sandbox=None, progress=second_run)
    assert os.path.exists(out / "gradebook.csv")


DEEP = "[" * 20_000


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("(" * 5000, "deep code"),
        ("x = 1", f"```yaml\nai_use: {DEEP}\n```"),
        ("x = 1", "```yaml\nai_use: &a [*a, *a]\n```"),
        ("x = 1", "```yaml\nai_use:\n- tool: !!python/object/apply:os.abort []\n```"),
        ("x = '\ud800'", "half a pair \ud800 in code and answer"),
        ("\x00", "a zero \x00 byte and \x1b[31m colours"),
        ("x = 1", "<!-- " * 5000),
        ("x = 1", "<span style=" * 2000),
        ("x = 1", "<span style=a>" * 1500),
        ("x = 1", "[" * 20_000),
        ("x = 1", "award " * 4000),
        ("x = 1", "\u202e" * 20_000),
        ("x = 1", "ﷺ" * 20_000),
    ],
)
def test_a_hostile_file_never_ends_the_run(hand_in, tmp_path, code, answer):
    folder = hand_in("eve", code=code, q1=answer, ai_use=answer)
    hand_in("good", q1=HEAVY)
    # Time of the processor, which a busy machine does not stretch: growth with the square would take minutes.
    start = time.process_time()
    report = grade_class(folder, "05", tmp_path / "out", sandbox=None)
    assert report.results["good"].draft_points > 0
    assert report.results["eve"].draft_points == 0
    assert time.process_time() - start < 10
    assert set(rows(tmp_path / "out")) == {"eve", "good"}
