"""Stored results come back whole, or not at all."""

import sqlite3

import pytest

from course.schema import AiUseEntry, CriterionResult, Evidence, PointsDistribution, Result, TestResult
from statml.errors import InputError, ServiceError
from tutor.providers.base import Choice, Reply
from tutor.records import Records
from tutor.records.calls import Calls
from tutor.records.guard_memory import GuardMemory
from tutor.records.migrate import migrations
from tutor.records.transcripts import Transcripts

SHA = "ab" * 32


def result(student="s1", sha=SHA):
    return Result(
        assignment="05",
        student=student,
        submission_sha256=sha,
        executed=True,
        tests=(
            TestResult(
                name="test_a",
                title="A",
                visibility="hidden",
                status="timeout",
                points=0,
                max_points=3,
                message="õ <b>",
                seconds=1.25,
            ),
        ),
        criteria=(
            CriterionResult(
                criterion="c",
                question="q1",
                points=2,
                max_points=4,
                evidence=(Evidence(cell=3, start=1, end=4, quote="abc"),),
                distribution=PointsDistribution(points=(0, 2, 4), probability=(0.25, 0.5, 0.25)),
                source="heuristic",
                flags=("uncalibrated",),
                feedback="text",
                versions={"grader": "1"},
            ),
        ),
        flags=("late",),
        versions={"rubric": "1"},
    )


@pytest.fixture
def records(tmp_path):
    with Records(tmp_path / "records.sqlite") as opened:
        yield opened


def test_a_result_comes_back_equal(records):
    run = records.start_run("grade", "05", {"grader": "1"})
    assert not records.has_result("k")
    records.save_result(run, "k", result())
    assert records.has_result("k")
    assert records.result("k") == result()
    assert records.results(run) == [result()]


def test_a_later_run_takes_over_what_an_earlier_one_stored(records):
    first = records.start_run("grade", "05", {})
    records.save_result(first, "k2", result("s2"))
    records.save_result(first, "k1", result("s1"))
    second = records.start_run("grade", "05", {})
    assert records.results(second) == []
    records.use_result(second, "k1")
    records.use_result(second, "k1")
    assert [item.student for item in records.results(second)] == ["s1"]
    assert [item.student for item in records.results(first)] == ["s1", "s2"]


def test_the_same_key_is_stored_once(records):
    run = records.start_run("grade", "05", {})
    records.save_result(run, "k", result())
    with pytest.raises(InputError, match="already stored"):
        records.save_result(run, "k", result())


def test_nothing_of_a_result_that_cannot_be_stored_remains(records, tmp_path):
    run = records.start_run("grade", "05", {})
    broken = result().model_copy(update={"criteria": (object(),)})
    with pytest.raises(AttributeError):
        records.save_result(run, "k", broken)
    assert not records.has_result("k")
    raw = sqlite3.connect(tmp_path / "records.sqlite")
    for table in ("submissions", "test_results", "run_results"):
        assert raw.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_documented_use_of_ai_is_kept_with_the_submission(records, tmp_path):
    entry = AiUseEntry(
        tool="t",
        version="1",
        date="2025-01-01",
        purpose="p",
        prompts=("a",),
        what_accepted="x",
        what_rejected="y",
        how_verified="z",
        effect_on_answer="n",
        confidence=0.5,
    )
    records.save_result(records.start_run("grade", "05", {}), "k", result(), (entry,))
    raw = sqlite3.connect(tmp_path / "records.sqlite")
    ((stored,),) = raw.execute("SELECT entry FROM ai_use").fetchall()
    assert AiUseEntry.model_validate_json(stored) == entry


def test_event_logs_cannot_be_changed(records, tmp_path):
    run = records.start_run("grade", "05", {})
    records.log_event(run, "graded", {"student": "s1"})
    assert records.events(run) == [("graded", {"student": "s1"})]
    raw = sqlite3.connect(tmp_path / "records.sqlite")
    for change in ("UPDATE events SET kind = 'x'", "DELETE FROM events"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw.execute(change)
    raw.execute("INSERT INTO exams VALUES (1, 's', '05', 'CREATED', 0, '{}', 'now', NULL)")
    raw.execute("INSERT INTO exam_events VALUES (1, 0, 'now', 'ask', '{}', '', 'h')")
    for change in ("UPDATE exam_events SET kind = 'x'", "DELETE FROM exam_events"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw.execute(change)


def test_settings_of_the_database(records):
    assert records._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert records._db.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        records._db.execute("INSERT INTO run_results VALUES (99, 'none')")


def test_an_opened_database_is_not_migrated_twice(tmp_path):
    for _ in range(2):
        Records(tmp_path / "r.sqlite").close()
    raw = sqlite3.connect(tmp_path / "r.sqlite")
    assert raw.execute("SELECT version FROM schema_version").fetchall() == [(n,) for n, _ in migrations()]
    assert [n for n, _ in migrations()] == list(range(1, len(migrations()) + 1))


def test_a_newer_database_is_one_clear_sentence(tmp_path):
    Records(tmp_path / "r.sqlite").close()
    raw = sqlite3.connect(tmp_path / "r.sqlite")
    raw.execute("INSERT INTO schema_version VALUES (999, 'later')")
    raw.commit()
    raw.close()
    with pytest.raises(ServiceError, match=r"schema version 999, this program knows \d+; upgrade it"):
        Records(tmp_path / "r.sqlite")


def test_a_failing_migration_leaves_the_old_schema(tmp_path, monkeypatch):
    steps = [*migrations(), (999, "CREATE TABLE extra (a);\nCREATE TABLE extra (a);\n")]
    monkeypatch.setattr("tutor.records.migrate.migrations", lambda: steps)
    with pytest.raises(ServiceError, match="extra already exists"):
        Records(tmp_path / "r.sqlite")
    raw = sqlite3.connect(tmp_path / "r.sqlite")
    assert raw.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('extra', 'runs')").fetchone() == (
        0,
    )


def test_reading_waits_for_no_writer(tmp_path):
    path = tmp_path / "r.sqlite"
    with Records(path) as writer:
        number = Transcripts(writer).begin("s1", "extractive", "none")
        Transcripts(writer).add(number, "student", {"text": "first"})
        Calls(writer, "s1").keep("a" * 64, Reply((Choice("kept"),), "m"))
        with writer.transaction() as db:  # held open: a second writer would wait ten seconds and fail
            db.execute("UPDATE conversations SET state = '{\"half\": 1}'")
            with Records(path) as reader:  # opening an up-to-date file is reading, too
                store, calls = Transcripts(reader), Calls(reader, "s1")
                assert [e.content["text"] for e in store.entries(number, "s1")] == ["first"]
                assert [c.id for c in store.conversations("s1")] == [number]
                assert store.state(number) == {}  # what is not finished is not seen
                assert calls.spent().calls == 0 and calls.cached("a" * 64).text == "kept"
                assert GuardMemory(reader, "s1").recall() == {}
        assert Transcripts(writer).state(number) == {"half": 1}


def test_a_full_disk_is_one_sentence_and_loses_nothing(records):
    records._db.execute("PRAGMA max_page_count = 80")
    store = Transcripts(records)
    number = store.begin("s1", "extractive", "none")
    with pytest.raises(ServiceError, match="cannot be written: database or disk is full"):
        for _ in range(100):
            store.add(number, "claim", {"text": "x" * 5000})
    kept = store.entries(number, "s1")
    assert kept and all(len(entry.content["text"]) == 5000 for entry in kept)


def test_what_the_guard_remembers_belongs_to_one_student(records):
    mine, hers = GuardMemory(records, "s1"), GuardMemory(records, "s2")
    assert mine.keep({"": {"tail": "x"}, "05": {"seen": {"letters": [3, 1]}}}, after={})
    assert hers.recall() == {} and mine.recall()["05"] == {"seen": {"letters": [3, 1]}}
    # somebody was faster: nothing is written, and the next try sees what she wrote
    assert not mine.keep({"05": {"seen": {}}}, after={})
    assert mine.keep({"05": {"seen": {}}}, after=mine.recall()) and mine.recall()["05"] == {"seen": {}}


def test_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "r.sqlite"
    path.write_bytes(b"not a database at all, by far" * 100)
    with pytest.raises(ServiceError, match="cannot be opened"):
        Records(path)
