"""A real Chroma server on loopback: `chroma run`, as a class would start it."""

from __future__ import annotations

import json
import runpy
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from statml.errors import ServiceError
from tutor.cli import main
from tutor.library import Document, Library
from tutor.library.index.hybrid import LibraryIndex
from tutor.library.index.passages import Filter
from tutor.library.index.stored import embed

HERE = Path(__file__).parent
CHROMA = Path(sys.executable).with_name("chroma")
NEEDLE = Document("needle", "Needle", "The zirconium lighthouse paradox of blue stragglers.")

pytestmark = [
    pytest.mark.slow,  # the server and each client take seconds to start
    pytest.mark.skipif(not CHROMA.is_file(), reason="needs chromadb's command line"),
]


@contextmanager
def serving(folder: Path, port: int) -> Iterator[str]:
    """`chroma run` over `folder`, from its first answer to its end."""
    command = [str(CHROMA), "run", "--host", "127.0.0.1", "--port", str(port), "--path", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, "chroma did not start"
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def url(tmp_path: Path, port: int) -> Iterator[str]:
    with serving(tmp_path / "served", port) as address:
        yield address


def ids(hits: list[Any]) -> list[str]:
    return [hit.chunk.source_id for hit in hits]


def test_a_server_finds_what_exact_search_finds(url: str, library: Library, home: Path, toy: Any) -> None:
    exact, served = LibraryIndex(library, toy), LibraryIndex(library, toy, folder=home, vectors=url)
    for query in ("quasars survey 4", "asteroseismology", "supernovae sample"):
        a, b = (index.search(query, 5, mode="vectors") for index in (exact, served))
        assert [round(h.score, 4) for h in a] == [round(h.score, 4) for h in b]
        for only in (Filter((2004, 2004)), Filter(categories=("gr-qc",))):
            assert ids(exact.search(query, 9, only=only)) == ids(served.search(query, 9, only=only)) != []
    library.add([Document("p0004", "Changed", "Completely other words."), NEEDLE])
    embed(library, toy)
    assert ids(served.search(NEEDLE.text, 1, mode="vectors")) == ["needle"]
    assert len(served.search(NEEDLE.text, 61, mode="vectors")) == 61
    assert "p0004" not in ids(served.search("Paper 4 on supernovae: survey number 4", 3, mode="vectors"))


def test_an_open_process_finds_what_another_one_added(
    url: str, library: Library, home: Path, toy: Any
) -> None:
    process = runpy.run_path(str(HERE / "test_index.py"))["process"]
    with process(home, "read", url) as child:
        child.stdin.write("zirconium lighthouse paradox\n")
        child.stdin.flush()
        assert json.loads(child.stdout.readline()) != ["needle"]
        library.add([NEEDLE])
        embed(library, toy)
        LibraryIndex(library, toy, folder=home, vectors=url)  # writes into the server too
        child.stdin.write("zirconium lighthouse paradox\n")
        child.stdin.flush()
        assert json.loads(child.stdout.readline()) == ["needle"]
        child.stdin.close()
    assert child.returncode == 0


def test_two_libraries_on_one_server_are_kept_apart(
    url: str, library: Library, home: Path, tmp_path: Path, toy: Any
) -> None:
    """Their passages have the same numbers: one must neither find nor delete the other's."""
    first = LibraryIndex(library, toy, folder=home, vectors=url)
    before = ids(first.search("quasars", 60, mode="vectors"))
    other = Library(tmp_path / "other" / "library.sqlite")
    other.add([NEEDLE])
    embed(other, toy)
    second = LibraryIndex(other, toy, folder=tmp_path / "other", vectors=url)
    assert ids(second.search("quasars", 60, mode="vectors")) == ["needle"]
    assert ids(first.search("quasars", 60, mode="vectors")) == before and len(before) == 60


def test_a_server_that_is_gone_is_told_in_one_sentence(
    port: int,
    library: Library,
    home: Path,
    tmp_path: Path,
    toy: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(tmp_path / "served", port) as url:
        index = LibraryIndex(library, toy, folder=home, vectors=url)
        before = ids(index.search("quasars survey 4", 5, mode="vectors"))
    with pytest.raises(ServiceError, match=rf"^Chroma at {url} does not answer \(.*TUTOR_VECTORS=mapped"):
        index.search("quasars survey 4", 5)
    with pytest.raises(ServiceError, match="start it, or set TUTOR_VECTORS=mapped"):
        LibraryIndex(library, toy, folder=home, vectors=url)
    # a server that comes back without its data is filled again by who was open
    shutil.rmtree(tmp_path / "served")
    with serving(tmp_path / "served", port):
        assert ids(index.search("quasars survey 4", 5, mode="vectors")) == before
    monkeypatch.setenv("TUTOR_HOME", str(tmp_path / "real"))
    monkeypatch.setenv("TUTOR_VECTORS", url)
    (tmp_path / "notes.md").write_text("# Rotation\n\nOld stars rotate slowly.\n", encoding="utf-8")
    assert main(["library", "add", str(tmp_path / "notes.md")]) != 0
    assert main(["library", "search", "slow rotation"]) != 0
    shown = capsys.readouterr().err
    assert shown.count("does not answer") == 2 and "Traceback" not in shown
