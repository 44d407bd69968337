"""``tutor chat`` as a person or a pipe uses it."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from tutor.chat import terminal
from tutor.cli import main

QUESTION = "How does the Large Magellanic Cloud perturb the Milky Way halo?"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("TUTOR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TUTOR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TUTOR_EMBEDDER", "none")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def say(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines) + "\n"))


def test_a_conversation_from_beginning_to_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path
) -> None:
    say(
        monkeypatch,
        QUESTION,
        "/help",
        "/sources",
        "/hint coverage",
        "/figure",
        "/nope",
        "",
        "/export my.md",
        "/quit",
        "never read",
    )
    assert main(["chat"]) == 0
    shown = capsys.readouterr()
    assert "[2507.03663]" in shown.out and "“" in shown.out and "Hint 1 of 4 (coverage)" in shown.out
    assert "nothing to draw yet" in shown.out and "there is no command '/nope'" in shown.out
    assert "never read" not in shown.out
    assert QUESTION in (tmp_path / "my.md").read_text()
    assert (home / "conversations.sqlite").stat().st_mode & 0o077 == 0

    say(monkeypatch, "/hint")
    assert main(["chat", "--resume"]) == 0
    shown = capsys.readouterr()
    assert "conversation 1" in shown.err and QUESTION in shown.out and "Hint 2 of 4 (coverage)" in shown.out
    assert main(["chat", "--list"]) == 0
    assert QUESTION[:30] in capsys.readouterr().out


def test_ctrl_c_keeps_the_transcript(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def typed(history: Path):
        yield QUESTION
        raise KeyboardInterrupt

    monkeypatch.setattr(terminal, "typed", typed)
    assert main(["chat"]) == 130
    assert "tutor chat --resume 1" in capsys.readouterr().err
    assert main(["chat", "--list"]) == 0
    assert QUESTION[:30] in capsys.readouterr().out


def test_ctrl_c_in_an_answer_stops_the_answer_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tutor.chat.conversation import Conversation

    def interrupted(self: Conversation, text: str):
        raise KeyboardInterrupt
        yield

    say(monkeypatch, QUESTION, "/sources")
    monkeypatch.setattr(Conversation, "say", interrupted)
    assert main(["chat"]) == 0
    shown = capsys.readouterr().out
    assert "stopped; what was said is kept" in shown and "nothing was cited yet" in shown


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--resume"], "no conversation to resume"),
        (["--resume", "7"], "no conversation 7"),
        (["--assignment", "99"], "assignment is '99'"),
        (["--max-cost", "1"], "needs --prices"),
        (["--max-tokens", "-1"], "must be 0 or more"),
        (["--provider", "openai"], "needs base_url"),
        (["--model", "m"], "need --provider openai"),
    ],
)
def test_bad_input_is_one_sentence(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", *argv]) == 2
    shown = capsys.readouterr().err
    assert said in shown and "Traceback" not in shown


def test_a_figure_is_drawn(tmp_path: Path) -> None:
    from tutor.chat import ToolCall
    from tutor.chat.figure import draw

    call = ToolCall(
        "fit",
        {"x": [0.0, 1.0, 2.0], "y": [0.0, 1.0, 2.1]},
        {"coefficients": [0.0, 1.05], "covariance": [[0.1, 0.0], [0.0, 0.1]]},
    )
    assert draw([call, ToolCall("fit", {}, error="no")], tmp_path / "f.png") == call
    assert (tmp_path / "f.png").read_bytes()[:4] == b"\x89PNG"


def test_terminal_codes_of_others_are_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    from tutor.chat import Claim, ToolCall
    from tutor.library.display import open_console

    screen = open_console()
    terminal.show(Claim("red \x1b[31m[bold]x[/]", "q \u202e\x07", "s", "", 0, 1, 1), screen)
    terminal.show(ToolCall("convert", {"unit": "\x1b]0;x\x07"}, error="\x1b[2J"), screen)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\x07" not in shown and "[bold]x[/]" in shown
