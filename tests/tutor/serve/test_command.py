"""``tutor serve`` as it is typed: what it refuses, what it prints, and one class over a real socket."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from statml.errors import InputError
from tutor.cli import main
from tutor.serve.command import accepted_hosts, checked_url


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("TUTOR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TUTOR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TUTOR_EMBEDDER", "none")
    return tmp_path / "home"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "tutor.example.edu", ""])
def test_other_addresses_need_tls_in_front(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--host", host, "--port", "0"]) == 2
    assert "--behind-tls" in capsys.readouterr().err


def test_names_the_server_answers_to() -> None:
    assert accepted_hosts("0.0.0.0", "", behind_tls=True) == ()
    assert "t.example.edu" in accepted_hosts("0.0.0.0", "https://t.example.edu", behind_tls=True)
    with pytest.raises(InputError, match="https://"):
        accepted_hosts("0.0.0.0", "http://t.example.edu", behind_tls=True)
    with pytest.raises(InputError, match="--behind-tls"):
        accepted_hosts("127.0.0.1", "https://t.example.edu", behind_tls=False)


@pytest.mark.parametrize(
    "url", ["t.example.edu", "ftp://x", "https://x/y", "https://a:b@x", "https://x:bad", "https://"]
)
def test_addresses_are_checked(url: str) -> None:
    with pytest.raises(InputError, match="--url must be an address"):
        checked_url(url, "--url")


@pytest.mark.parametrize(
    "options", [["--port", "70000"], ["--workers", "0"], ["--model", "x"]], ids=["port", "workers", "model"]
)
def test_bad_options_are_one_sentence(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *options]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_verbs_print_what_is_to_be_handed_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "link", "s1"]) == 0
    first = capsys.readouterr().out.strip()
    assert first.startswith("http://127.0.0.1:8765/login/")
    assert main(["serve", "link", "s1", "--url", "https://t.example.edu", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["link"].startswith("https://t.example.edu/login/") and made["minutes"] == 15
    assert main(["serve", "revoke", "s1"]) == 0
    assert "ended 2" in capsys.readouterr().out
    assert main(["serve", "secret"]) == 0
    assert len(capsys.readouterr().out.strip()) == 43
    assert main(["serve", "link", "a b"]) == 2
    assert "pseudonym" in capsys.readouterr().err


def ask(port: int, method: str, path: str, body: object = None, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    sent = None if body is None else json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, sent, {"content-type": "application/json", **named})
    return connection.getresponse()


def test_a_class_over_a_socket(home: Path) -> None:
    start = "from tutor.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", start, "serve", "--port", "0", "--json", "--workers", "1"]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        assert server.stdout is not None and server.stderr is not None
        told = ""
        while not told.rstrip().endswith("}"):
            line = server.stdout.readline()
            assert line, server.stderr.read()
            told += line
        where = json.loads(told)
        port = where["port"]
        from tutor.serve.logins import Logins

        logins = Logins(home / "logins.sqlite")
        assert logins.url() == where["url"] == f"http://127.0.0.1:{port}"
        path = urlsplit(f"{where['url']}/login/{logins.link('s1')}").path
        entered = ask(port, "POST", path)
        assert entered.status == 303 and entered.getheader("server") is None
        cookie = (entered.getheader("set-cookie") or "").partition(";")[0]
        token = json.load(ask(port, "GET", "/api/me", cookie=cookie))["csrf"]
        sent = {"cookie": cookie, "x_csrf_token": token}
        number = json.load(ask(port, "POST", "/api/conversations", {}, **sent))["id"]
        question = {"text": "How does the Large Magellanic Cloud perturb the Milky Way halo?"}
        answer = ask(port, "POST", f"/api/conversations/{number}/say", question, **sent)
        kinds = [json.loads(line)["event"] for line in answer.read().decode().splitlines()]
        assert kinds[0] == "claim" and kinds[-1] == "done"
        assert ask(port, "GET", "/static/../command.py").status == 404
        assert ask(port, "GET", "/static/%2e%2e/command.py").status == 404
        assert ask(port, "GET", "/openapi.json").status == 404
    finally:
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=60)
    assert "Traceback" not in err
    for secret in (path.rpartition("/")[2], cookie.partition("=")[2], token, question["text"]):
        assert secret and secret not in err + out  # neither links nor sessions nor questions are in a log
    assert (home / "class.sqlite").stat().st_mode & 0o077 == 0
