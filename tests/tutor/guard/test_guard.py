"""What the guard lets through and what it keeps back: copies and renamed copies never, harmless texts always."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from course import assignment as course_assignment
from statml.errors import DataNotFoundError
from tutor.cli import main
from tutor.guard import Block, Guard, open_guard
from tutor.guard.evaluation import functions, harmless_texts, measure, report
from tutor.guard.fingerprints import abstracted, of_solution, read, save
from tutor.guard.gate import gated
from tutor.guard.sources import FINAL_NUMBERS, fingerprints_of, shipped
from tutor.guard.transformations import WAYS, renamed
from tutor.guard.views import cleaned, views

CODE = """
def spread(values, level):
    centre = np.median(values)
    scale = 1.4826 * np.median(np.abs(values - centre))
    clipped = values[np.abs(values - centre) < level * scale]
    return np.sqrt(np.mean((clipped - clipped.mean()) ** 2)) / np.sqrt(len(clipped))
"""
BODY = textwrap.dedent("\n".join(CODE.strip().splitlines()[1:]))
#: What a reader undoes and the guard does not.
BEYOND = ("pseudocode", "prose", "Morse", "spelled out", "a word after every token")
SPREAD = ("ten turns", "renamed, ten turns", "base64, ten turns")
#: Disguises that must let nothing of a function through that counts as a leak.
PROMISED = ("verbatim", "renamed", "reformatted", "renamed, reformatted", "comments translated")


def toy() -> Guard:
    return Guard(of_solution("01", CODE))


@pytest.fixture(scope="module")
def instructor() -> Path:
    try:
        return course_assignment.instructor_folder()
    except DataNotFoundError:
        pytest.skip("needs the instructor's folder")


@pytest.fixture(scope="module")
def found(instructor: Path):
    """All functions, in the disguises the docs promise something of; the slow tests take every disguise."""
    return report(later=False, ways=(*PROMISED, "line numbers", "base64", *SPREAD, *BEYOND))


@pytest.mark.parametrize("way", WAYS)
def test_every_disguise_can_be_undone_by_its_reader(way: str) -> None:
    # a disguise that destroyed the code would count for the guard without any merit of it
    said = "".join(WAYS[way](BODY))
    assert len(said) >= 0.8 * len(BODY.replace(" ", ""))


@pytest.mark.parametrize(
    "way", [way for way in WAYS if way not in (*BEYOND, "base64, ten turns", "upside down")]
)
def test_a_toy_function_is_recognised_in_disguise(way: str) -> None:
    guard = toy()
    assert any(guard.release(turn) is not None for turn in WAYS[way](BODY))


def test_copies_and_renamed_copies_do_not_leak(found) -> None:
    leaks = {row.way: row for row in found.leaks}
    assert len(leaks) >= 12
    for way in PROMISED:
        assert leaks[way].leaked == 0 and leaks[way].shown < 0.05, leaks[way]


def test_what_is_spread_over_ten_turns_is_mostly_stopped(found) -> None:
    # measured: 0, 0 and 1 of 11; no promise, but a guard that forgot earlier turns would leak 9 or more
    leaks = {row.way: row.leaked for row in found.leaks}
    assert leaks["renamed, ten turns"] <= 1 and leaks["base64, ten turns"] <= 1 and leaks["ten turns"] <= 3


@pytest.mark.slow
def test_what_any_program_decodes_is_decoded_here_too(instructor: Path) -> None:
    # measured: 0 of 11 but for letters upside down (2), leet (1), formulas (1), a letter a line (1), Julia and R (1)
    found = report(later=True)
    leaks = {row.way: row.leaked for row in found.leaks if row.way not in (*BEYOND, "ten turns")}
    assert len(leaks) >= 45
    assert {way: leaked for way, leaked in leaks.items() if leaked > 2} == {}
    assert sum(leaked == 0 for leaked in leaks.values()) >= len(leaks) - 8
    assert found.held_back_later is not None and len(found.held_back_later) <= 0.05 * found.harmless


def test_the_report_does_not_hide_what_gets_through(found) -> None:
    leaks = {row.way: row.leaked for row in found.leaks}
    # words in place of code are beyond the guard: if this fails it became better, and the docs must say so
    assert all(leaks[way] > 0 for way in BEYOND)
    assert found.to_dict()["false_block_rate"] == len(found.held_back) / found.harmless


def test_harmless_texts_pass(found) -> None:
    assert found.harmless >= 100
    assert found.false_block_rate <= 0.05, found.held_back


@pytest.mark.slow
def test_harmless_texts_pass_in_one_long_conversation(instructor: Path) -> None:
    texts = harmless_texts()
    guard = open_guard()
    assert sum(guard.release(text) is not None for _, text in texts) <= 0.05 * len(texts)


def test_a_students_fingerprints_recognise_copies(instructor: Path) -> None:
    for row in measure(full=False, ways=("verbatim", "renamed")):
        assert row.leaked == 0, row


def test_the_shipped_fingerprints_are_those_of_the_solutions(instructor: Path) -> None:
    numbers = course_assignment.numbers()
    built = [f for n in numbers for f in fingerprints_of(course_assignment.load(n), winnow=True)]
    assert read(save(built)) == built == shipped(), (
        "run `tutor guard build --out tutor/guard/fingerprints.json`"
    )


def test_the_shipped_file_holds_no_word_of_a_solution(instructor: Path) -> None:
    from tutor.guard import sources

    text = Path(sources.__file__).with_name("fingerprints.json").read_text()
    assert "linalg" not in text and "einsum" not in text
    full = [f for n in course_assignment.numbers() for f in fingerprints_of(course_assignment.load(n))]
    kept, all_of_it = (sum(len(f.letters) for f in prints) for prints in (shipped(), full))
    assert kept < 0.6 * all_of_it


def test_without_the_instructors_folder_the_shipped_ones_serve(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(course_assignment.INSTRUCTOR_VARIABLE, str(tmp_path))
    guard = open_guard()
    assert {f.name for f in guard.fingerprints} == {f.name for f in shipped()}
    assert not open_guard(lifted={"05"}).fingerprints


def test_a_function_in_ten_answers_is_stopped_on_the_way() -> None:
    guard = toy()
    outcomes = [guard.release("Then, please\n" + line + "\nand think.") for line in BODY.splitlines()]
    assert any(outcomes)
    # once kept back, the rest of it is kept back too, other talk is not
    assert guard.release(BODY.splitlines()[-1]) is not None
    assert guard.release("The median is robust: half of the values may be anything.") is None


def test_a_chain_of_a_thousand_operations_is_judged_and_breaks_nothing() -> None:
    assert toy().check("x = " + " + ".join(f"chr({i})" for i in range(1000))) is None
    assert toy().check("(" * 5000) is None and toy().check("x = " + "-" * 5000 + "1") is None


def test_a_block_holds_over_a_resumption() -> None:
    guard = toy()
    for line in BODY.splitlines():
        guard.release(line)
    again = toy()
    again.restore(json.loads(json.dumps(guard.state())))
    assert again.state() == guard.state()
    assert again.release(BODY.splitlines()[-1]) is not None


def test_code_is_shown_whole_or_not_at_all() -> None:
    said = ["Look at this.", "```python", *BODY.splitlines(), "```", "Good luck."]
    released = list(gated(said, toy()))
    assert released[0] == "Look at this." and isinstance(released[1], Block) and len(released) == 2
    harmless = ["Look at this.", "```python", "x = np.linspace(0, 1)", "```", "Good luck."]
    assert list(gated(harmless, toy())) == harmless


def test_final_numbers_are_kept_back(
    instructor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    copy = tmp_path / "instructor"
    shutil.copytree(instructor / "assignments", copy / "assignments")
    for folder in (copy / "assignments").iterdir():
        (folder / FINAL_NUMBERS).write_text("287.31\n")
    monkeypatch.setenv(course_assignment.INSTRUCTOR_VARIABLE, str(copy))
    guard = open_guard()
    assert guard.check("Your half-width should come out as 287.31 K.").kind == "numbers"
    assert guard.check("Your half-width should be below 300 K, not 1287.31.") is None


@pytest.mark.parametrize(
    "said",
    [
        "287.31K",
        "287,31",
        "+287.310",
        "287.3",
        "2.8731e2",
        "2.873 × 10^2",
        r"2.8731 \times 10^{2}",
        "287.314159",
        "two hundred and eighty-seven point three one",
        "two eight seven point three",
        "Mjg3LjMxIEtlbHZpbg==",
    ],
)
def test_a_final_number_is_known_however_it_is_written(said: str) -> None:
    assert Guard([], {"01": frozenset({"287.31"})}).check(f"It is {said} or so.") is not None


@pytest.mark.parametrize(
    "said", ["287", "287.4", "1287.31", "v287.31", "2.8.7.3.1", "in the year 2873", "two of three"]
)
def test_other_numbers_pass(said: str) -> None:
    assert Guard([], {"01": frozenset({"287.31"})}).check(f"It is {said} or so.") is None


@pytest.mark.parametrize(
    ("hidden", "shown"),
    [
        ("c2VjcmV0IHRleHQgaGVyZQ==", "secret text here"),
        ("73 65 63 72 65 74 20 74 65 78 74 20 68 65 72 65", "secret text here"),
        ("frperg grkg urer", "secret text here"),
        ("ereh txet terces", "secret text here"),
        ("%73%65%63%72%65%74 text here", "secret text here"),
        ("s\u0435cr\u0435t text here", "secret text here"),
        ("s\u200becret\u2060 text here", "secret text here"),
        ("\uff53\uff45\uff43\uff52\uff45\uff54 text here", "secret text here"),
        ("| 1 | secret text here | x |", "secret text here"),
        ("s\ufe0fe\ufe0fc\ufe0fret\u3164 text here", "secret text here"),
        ("\u1d00\u0299\u1d04 text here", "abc text here"),
        ("115 101 99 114 101 116 32 116 101 120 116 32 104 101 114 101", "secret text here"),
        ("ONSWG4TFOQQHIZLYOQQGQZLSMU======", "secret text here"),
        ("H4sIAAAAAAACAytOTS5KLVEoSa0oUchILUoFAE93AdsQAAAA", "secret text here"),
        ("=73=65=63=72=65=74 text here", "secret text here"),
        ("ylabyu uw.zxya(uw.tlhu(e))", "return"),
    ],
)
def test_views_take_disguises_off(hidden: str, shown: str) -> None:
    assert any(shown in view for view in views(hidden))


def test_cleaning_leaves_plain_text_alone() -> None:
    assert cleaned("for x in range(3):\n\treturn") == "for x in range(3):\n\treturn"


def test_names_are_abstracted_and_functions_of_libraries_kept() -> None:
    assert abstracted(renamed(BODY)) == abstracted(BODY)
    assert "median" in abstracted(BODY) and "scale" not in abstracted(BODY)


def test_the_commands(
    instructor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], found, monkeypatch
) -> None:
    assert main(["guard", "build", "--out", str(tmp_path / "f.json")]) == 0
    assert read((tmp_path / "f.json").read_text()) == shipped()
    monkeypatch.setattr("tutor.guard.evaluation.report", lambda full: found)
    assert main(["guard", "evaluate"]) == 0
    assert "verbatim" in capsys.readouterr().out
    assert main(["guard", "evaluate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["harmless"] == found.harmless


def test_every_function_of_the_solution_is_tried(instructor: Path) -> None:
    assert {"posterior", "log_evidence", "fit_predict_teff"} <= {name for _, name, _ in functions()}
    assert sum("hint" in name for name, _ in harmless_texts()) >= 28
