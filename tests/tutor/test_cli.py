"""The command line: what a student types, sees, and gets back as an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tutor.cli import main
from tutor.library.display import printable

ANSWERABLE = "How does the Large Magellanic Cloud perturb the Milky Way halo?"
UNANSWERABLE = "What is the best pizza in Columbus?"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("TUTOR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TUTOR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TUTOR_EMBEDDER", "none")  # vectors have tests of their own, in tests/tutor/library
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path / "home"


def test_ask_shows_the_quote_and_its_source(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    assert main(["ask", ANSWERABLE]) == 0
    shown = capsys.readouterr()
    assert (
        "[2507.03663]" in shown.out and "“" in shown.out and "https://arxiv.org/abs/2507.03663" in shown.out
    )
    assert "reading the default one" in shown.err
    # asking keeps the question, for its owner alone, and nothing else
    (kept,) = {path for path in home.iterdir() if path.suffix == ".sqlite"}
    assert kept.name == "conversations.sqlite" and kept.stat().st_mode & 0o077 == 0


def test_ask_json_is_deterministic(capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for _ in range(2):
        assert main(["ask", ANSWERABLE, "--json"]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    answer = json.loads(outputs[0])
    assert answer["abstained"] is False and answer["library"]["default"] is True
    assert all(claim["verified"] and claim["source_id"] and claim["quote"] for claim in answer["claims"])


def test_abstaining_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", UNANSWERABLE, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["abstained"] is True and answer["claims"] == [] and answer["reason"]
    assert main(["ask", "What is the mass of the black hole in M87?"]) == 0
    shown = capsys.readouterr().out
    assert "cannot answer" in shown and "m87" in shown and "Searched:" in shown and "library add" in shown


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["ask", " "], "question is empty"),
        (["ask", "stars", "--k", "0"], "--k must be at least 1, got 0"),
        (["ask", "stars", "--provider", "openai"], "needs base_url"),
        (["ask", "stars", "--model", "m"], "need --provider openai"),
        (
            ["ask", "stars", "--provider", "openai", "--base-url", "x", "--model", "m"],
            "--base-url must be a URL",
        ),
        (["library", "stats"], "there is no library"),
        (["library", "verify"], "there is no library"),
        (["library", "add"], "nothing to add"),
        (["library", "add", "missing.md"], "no file or folder missing.md"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    assert main(argv) == 2
    shown = capsys.readouterr()
    assert said in shown.err and shown.err.count("\n") == 1 and shown.out == ""
    assert not home.exists()


@pytest.mark.parametrize("argv", [["ask"], ["ask", "x", "--provider", "gpt"], ["library"], ["nonsense"]])
def test_a_wrong_command_is_exit_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(argv)
    assert left.value.code == 2 and "usage:" in capsys.readouterr().err


def test_no_server_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = ["--provider", "openai", "--base-url", "https://u:pw@api.example.org/v1", "--model", "m"]
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert main(["ask", ANSWERABLE, *remote]) == 2
    assert "OPENAI_API_KEY" in (said := capsys.readouterr().err) and "pw" not in said
    monkeypatch.setenv("TUTOR_OFFLINE", "1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert main(["ask", ANSWERABLE, *remote]) == 2
    assert "TUTOR_OFFLINE" in (said := capsys.readouterr().err) and "secret" not in said


def test_a_library_of_one_s_own(capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "gp.md").write_text(
        "# Kernels\n\nThe Matern kernel describes functions of a chosen smoothness.\n"
    )
    (notes / "bad.jsonl").write_text("{broken\n")
    assert main(["library", "add", "--demo", str(notes)]) == 0
    first = capsys.readouterr()
    assert "0 unchanged, 1 skipped; generation 1" in first.out and "bad.jsonl, line 1" in first.err
    assert main(["library", "add", "--demo", str(notes), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["added"], again["updated"], again["generation"]) == (0, 0, 1)
    assert main(["ask", "What does the Matern kernel describe?", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["claims"][0]["source_id"].endswith("gp.md") and not answer["library"]["default"]
    assert main(["library", "stats", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kinds"]["markdown"] >= 1
    assert main(["library", "verify"]) == 0
    assert "sound" in capsys.readouterr().out


def test_only_unreadable_files_leave_no_library(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Path
) -> None:
    (tmp_path / "bad.jsonl").write_text("{broken\n")
    assert main(["library", "add", str(tmp_path / "bad.jsonl")]) == 2
    assert "nothing could be added" in capsys.readouterr().err
    assert not home.exists()


def test_a_library_emptied_says_so(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    import sqlite3

    assert main(["library", "add", "--demo"]) == 0
    with sqlite3.connect(home / "library.sqlite") as db:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("DELETE FROM documents")
    capsys.readouterr()
    assert main(["ask", ANSWERABLE]) == 2
    assert "the library is empty: run `tutor library add --demo`" in capsys.readouterr().err
    assert main(["library", "verify"]) == 1


def test_source_text_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    evil = "The Matern kernel \x1b[31mdescribes\u202e [bold]functions[/bold] of a smoothness."
    (tmp_path / "evil.md").write_text(f"# Kernels\x1b]0;title\x07\n\n{evil}\n")
    assert main(["library", "add", str(tmp_path / "evil.md")]) == 0
    assert main(["ask", "What does the Matern kernel describe?"]) == 0
    shown = capsys.readouterr().out
    assert "[bold]functions[/bold]" in shown
    assert "\x1b" not in shown and "\u202e" not in shown and "\x07" not in shown
    assert printable("a\x1bb\nc") == "ab\nc"


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["--help"], ["ask", "--help"], ["library", "--help"], ["library", "add", "--help"]):
        with pytest.raises(SystemExit) as left:
            main(argv)
        assert left.value.code == 0 and "example: tutor" in capsys.readouterr().out


def test_the_command_line_starts_without_its_heavy_parts() -> None:
    code = (
        "import sys, tutor.cli; tutor.cli.build_parser();"
        "print([m for m in ('openai', 'bm25s', 'chromadb', 'torch', 'rich', 'jsonschema') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
