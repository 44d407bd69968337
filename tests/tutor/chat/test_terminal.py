"""``tutor chat`` on a terminal: its keys, and a whole session in a pseudo-terminal."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from statml.errors import ServiceError
from tutor.chat.terminal import typed
from tutor.sandbox import detect

pty = pytest.importorskip("pty")
QUESTION = "How does the Large Magellanic Cloud perturb the Milky Way halo?"
QUOTE = "perturbs the MW halo's density and kinematics"
#: Written when a prompt begins: pasted text is to be marked from now on.
PROMPT = "\x1b[?2004h"
#: What the program may take on a machine with much to do.
PATIENCE = 45.0


def test_the_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prompt_toolkit.application import create_app_session
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    history = tmp_path / "home" / "history"
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        lines = typed(history)
        keys.send_text("one\x1b\rtwo\r")  # Alt-Enter
        assert next(lines) == "one\ntwo"
        keys.send_text("\x1b[200~pasted\nlines\x1b[201~\r")
        assert next(lines) == "pasted\nlines"
        keys.send_text("half\x03whole\r")  # Ctrl-C empties the line
        assert next(lines) == "whole"
        keys.send_text("\x04")  # Ctrl-D
        assert list(lines) == []
        again = typed(history)  # another start
        keys.send_text("\x1b[A\r")  # up
        assert next(again) == "whole"
        keys.send_text("\x03")
        with pytest.raises(KeyboardInterrupt):
            next(again)
    assert history.stat().st_mode & 0o077 == 0


class Typist:
    """Runs a command in a pseudo-terminal, types, and reads what is on it."""

    def __init__(self, command: list[str], *, columns: int = 100, **environment: str) -> None:
        self._master, slave = pty.openpty()
        import fcntl
        import struct
        import termios

        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

        def controlling() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored where the tests run in the background
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        self._process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**kept, "TERM": "xterm", **environment},
            preexec_fn=controlling,
            close_fds=True,
        )
        os.close(slave)
        self.raw, self._asked = "", 0

    @property
    def text(self) -> str:
        """What was written, without the codes that place and colour it."""
        return re.sub(r"\x1b(?:\[[?>=]?[\d;]*[@-~]|[=>])", "", self.raw)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def read(self, seconds: float = 0.05) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._master, 65536).decode("utf-8", "replace")
        except OSError:
            return False
        if "\x1b[6n" in data:  # it asks where the cursor is
            self.type("\x1b[1;1R")
        self.raw += data
        return bool(data)

    def wait_for(self, what: str, times: int = 1) -> None:
        until = time.monotonic() + PATIENCE
        while self.text.count(what) < times:
            assert self.read() and time.monotonic() < until, self.text

    def ask(self, keys: str) -> None:
        """Type once there is a prompt: before, the keys belong to nobody."""
        self._asked += 1
        until = time.monotonic() + PATIENCE
        while self.raw.count(PROMPT) < self._asked:
            assert self.read() and time.monotonic() < until, self.text
        self.type(keys)

    def end(self) -> int:
        until = time.monotonic() + PATIENCE
        while self.read() and time.monotonic() < until:
            pass
        return self._process.wait(PATIENCE)

    def close(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._master)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    for name in [name for name in os.environ if name.startswith("TUTOR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TUTOR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TUTOR_EMBEDDER", "none")
    monkeypatch.chdir(tmp_path)
    opened: list[Typist] = []

    def begin(*arguments: str, shell: str = "", **options: str | int) -> Typist:
        program = [
            sys.executable,
            "-c",
            "import sys; from tutor.cli import main; sys.exit(main(sys.argv[1:]))",
        ]
        command = [*program, "chat", *arguments]
        if shell:
            command = ["bash", "-c", f'"$@" {shell}', "bash", *command]
        opened.append(Typist(command, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield begin
    for typist in opened:
        typist.close()


@pytest.fixture
def endless() -> Iterator[str]:
    """A model that writes one claim and then goes on without coming to an end."""
    left = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            claim = {"text": "The LMC perturbs the halo of the Milky Way.", "source": "S1", "quote": QUOTE}
            said = json.dumps({"claims": [claim]})[:-2] + ', {"text": "'
            while not left.is_set():
                delta = [{"index": 0, "delta": {"content": said}, "finish_reason": None}]
                chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
                try:
                    self.wfile.write(f"data: {json.dumps({**chunk, 'choices': delta})}\n\n".encode())
                    self.wfile.flush()
                except OSError:
                    return
                said = "on and "
                left.wait(0.05)

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    left.set()
    server.shutdown()
    server.server_close()


def test_ctrl_c_in_a_streamed_answer_keeps_what_was_said(start, endless: str, tmp_path: Path) -> None:
    screen = start("--provider", "openai", "--base-url", endless, "--model", "m")
    screen.ask(QUESTION + "\r")
    screen.wait_for("halo of the Milky Way.")
    screen.type("\x03")
    screen.wait_for("(stopped; what was said is kept)")
    screen.ask("/export my.md\r")
    screen.wait_for("written to my.md")
    screen.ask("\x04")
    assert screen.end() == 0 and "Traceback" not in screen.text
    kept = (tmp_path / "my.md").read_text()
    assert QUESTION.replace("?", "") in kept and QUOTE in kept


@pytest.mark.slow
@pytest.mark.sandbox
def test_a_session_on_a_narrow_screen_without_colours(start, tmp_path: Path) -> None:
    try:
        detect()
    except ServiceError as error:
        pytest.skip(str(error))
    screen = start(columns=40, NO_COLOR="1")
    for line, answer in (
        ("/help", "/convert 3 pc lyr"),
        (QUESTION, "[2507.03663]"),
        ("/sources", "[1] LMC"),
        ("/hint coverage", "Hint 1 of 4"),
        ("/fit x=1,2,3 y=2,4.1,6 y_err=.1,.1,.1", "standard_errors"),
        ("/figure", "conversation-1.png"),
        ("/nope", "there is no command"),
    ):
        screen.ask(line + "\r")
        screen.wait_for(answer, times=2 if answer == "[1] LMC" else 1)
    screen.ask("/quit\r")
    assert screen.end() == 0
    assert not re.search(r"\x1b\[[\d;]*3[1-7]m", screen.raw)  # bold and italic are no colours
    told = [line for line in screen.text.replace("\r", "").split("\n") if "you>" not in line]
    assert max(len(line.rstrip()) for line in told if "reading the" not in line) <= 40
    assert (tmp_path / "conversation-1.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_answers_into_a_file_and_the_prompt_on_the_screen(start, tmp_path: Path) -> None:
    screen = start(shell="> answers.txt")
    screen.ask(QUESTION + "\r")
    screen.ask("\x04")
    assert screen.end() == 0
    answers = (tmp_path / "answers.txt").read_text()
    assert "[2507.03663]" in answers and "\x1b" not in answers and "you>" not in answers


@pytest.mark.slow
def test_what_was_typed_is_there_at_the_next_start(start) -> None:
    screen = start()
    screen.ask("/sources\r")
    screen.wait_for("nothing was cited yet")
    screen.ask("\x03")  # at an empty line
    screen.wait_for("tutor chat --resume 1")
    assert screen.end() == 130
    again = start("--resume")
    again.ask("\x1b[A\r")
    again.wait_for("nothing was cited yet")
    again.ask("/quit\r")
    assert again.end() == 0
