"""arXiv from recorded answers: one request every three seconds, resumable, never by itself."""

from __future__ import annotations

import email.message
import io
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from statml.errors import InputError, ServiceError
from tutor.cli import main
from tutor.library import Document, Library, read
from tutor.library.ingest import arxiv
from tutor.library.ingest.arxiv_xml import parse

ANSWERS = Path(__file__).parent / "arxiv_answers"


def recorded(name: str) -> bytes:
    return (ANSWERS / name).read_bytes()


class Replay:
    """Answers with the recorded pages; remembers what was asked."""

    def __init__(self, *pages: bytes | Exception) -> None:
        self.pages: Iterator[bytes | Exception] = iter(pages)
        self.asked: list[dict[str, list[str]]] = []

    def __call__(self, address: str) -> bytes:
        self.asked.append(parse_qs(urlsplit(address).query))
        page = next(self.pages)
        if isinstance(page, Exception):
            raise page
        return page


def test_a_harvest_takes_every_page_once(tmp_path: Path) -> None:
    library = Library(tmp_path / "library.sqlite")
    replay = Replay(recorded("oai_page_1.xml"), recorded("oai_page_2.xml"))
    heard: list[arxiv.Progress] = []
    report = arxiv.harvest(library, "2025-07-01", "2025-07-02", fetch=replay, told=heard.append)
    assert (report.added, len(report.rejected)) == (3, 1)
    assert "has no abstract" in report.rejected[0].reason
    assert replay.asked[0] == {
        "verb": ["ListRecords"],
        "set": ["physics:astro-ph"],
        "metadataPrefix": ["arXiv"],
        "from": ["2025-07-01"],
        "until": ["2025-07-02"],
    }
    assert replay.asked[1] == {"verb": ["ListRecords"], "resumptionToken": ["7654|3"]}
    assert heard == [arxiv.Progress(2, 4), arxiv.Progress(4, 4)]
    paper = library.document("2507.01939")
    assert paper.title == "SpecCLIP: Aligning and Translating Spectroscopic Measurements for Stars"
    assert paper.details["authors"] == ["Xiaosheng Zhao", "Yang Huang"]
    assert paper.details["categories"] == ["astro-ph.IM", "astro-ph.SR", "cs.AI"]
    assert paper.details["year"] == 2025 and "creativecommons" in paper.details["license"]


def test_a_harvest_that_was_stopped_goes_on(tmp_path: Path) -> None:
    with Library(tmp_path / "library.sqlite") as library:
        stopped = Replay(recorded("oai_page_1.xml"), ServiceError("arXiv cannot be reached"))
        with pytest.raises(ServiceError):
            arxiv.harvest(library, "2025-07-01", fetch=stopped)
        assert library.stats().documents == 2
    with Library(tmp_path / "library.sqlite") as library:
        replay = Replay(recorded("oai_page_2.xml"))
        assert arxiv.harvest(library, "2025-07-01", fetch=replay).added == 1
        assert replay.asked == [{"verb": ["ListRecords"], "resumptionToken": ["7654|3"]}]
        # done: the next harvest of these days begins anew and changes nothing
        again = arxiv.harvest(
            library, "2025-07-01", fetch=Replay(recorded("oai_page_1.xml"), recorded("oai_page_2.xml"))
        )
        assert (again.added, again.updated, again.unchanged) == (0, 0, 3)


def test_a_token_that_has_expired_starts_over(tmp_path: Path) -> None:
    library = Library(tmp_path / "library.sqlite")
    arxiv.harvest(library, "2025-07-01", fetch=Replay(recorded("oai_page_1.xml")), limit=1)
    replay = Replay(recorded("oai_expired.xml"), recorded("oai_page_1.xml"), recorded("oai_page_2.xml"))
    report = arxiv.harvest(library, "2025-07-01", fetch=replay)
    assert (report.added, report.unchanged) == (1, 2) and "from" in replay.asked[1]


def test_nothing_new_and_refusals(tmp_path: Path) -> None:
    library = Library(tmp_path / "library.sqlite")
    none = recorded("oai_expired.xml").replace(b"badResumptionToken", b"noRecordsMatch")
    assert arxiv.harvest(library, "2025-07-01", fetch=Replay(none)).added == 0
    refused = recorded("oai_expired.xml").replace(b"badResumptionToken", b"badArgument")
    with pytest.raises(ServiceError, match="refuses the harvest"):
        arxiv.harvest(library, "2025-07-01", fetch=Replay(refused))
    with pytest.raises(ServiceError, match="run the same command again"):
        arxiv.harvest(library, "2025-07-01", fetch=Replay(b"<html>busy</html>"))
    with pytest.raises(InputError, match="YYYY-MM-DD, got 'yesterday'"):
        arxiv.harvest(library, "yesterday", fetch=Replay())


def test_a_search_by_the_api(tmp_path: Path) -> None:
    library = Library(tmp_path / "library.sqlite")
    replay = Replay(recorded("atom.xml"))
    report = arxiv.search(library, "abs:gyrochronology", fetch=replay, limit=1)
    assert report.added == 1 and replay.asked[0]["max_results"] == ["1"]
    paper = library.document("2506.24010")
    assert paper.details["categories"] == ["astro-ph.SR", "astro-ph.GA"] and paper.details["year"] == 2025
    numbers = Replay(recorded("atom.xml"))
    assert arxiv.search(library, "2506.24010, 2507.01939", fetch=numbers, limit=1).unchanged == 1
    assert numbers.asked[0]["id_list"] == ["2506.24010"]


def test_saved_answers_are_read_like_files(tmp_path: Path) -> None:
    items = list(read([ANSWERS / "oai_page_1.xml", ANSWERS / "atom.xml"]))
    assert [one.source_id for one in items if isinstance(one, Document)] == [
        "2507.01939",
        "2507.06357",
        "2506.24010",
    ]
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><OAI-PMH>&a;</OAI-PMH>'
    with pytest.raises(ValueError, match="entities"):
        parse(bomb)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def opened(*outcomes: bytes | Exception) -> Callable[..., Any]:
    queue = iter(outcomes)

    def open_(request: Any, timeout: float) -> io.BytesIO:
        outcome = next(queue)
        if isinstance(outcome, Exception):
            raise outcome
        return io.BytesIO(outcome)

    return open_


def http(code: int, after: str = "") -> urllib.error.HTTPError:
    headers = email.message.Message()
    if after:
        headers["Retry-After"] = after
    return urllib.error.HTTPError("https://example.org", code, "x", headers, None)


def test_requests_are_three_seconds_apart() -> None:
    clock = Clock()
    connection = arxiv.Connection(opened(b"1", b"2", b"3"), sleep=clock.sleep, clock=lambda: clock.now)
    for _ in range(3):
        connection("https://example.org")
        clock.now += 0.5
    assert clock.slept == [2.5, 2.5]


def test_a_busy_server_is_waited_for() -> None:
    clock = Clock()
    connection = arxiv.Connection(
        opened(http(503, "20"), ConnectionResetError(), b"done"), sleep=clock.sleep, clock=lambda: clock.now
    )
    assert connection("https://example.org") == b"done"
    assert clock.now >= 20 + arxiv.PAUSE


@pytest.mark.parametrize("failure", [http(404), http(503), OSError("no route")])
def test_a_dead_server_is_one_sentence(failure: Exception) -> None:
    clock = Clock()
    connection = arxiv.Connection(
        opened(*[failure] * arxiv.TRIES), sleep=clock.sleep, clock=lambda: clock.now
    )
    with pytest.raises(ServiceError, match="run the same command again later"):
        connection("https://example.org")


def test_offline_forbids_arxiv(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUTOR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TUTOR_OFFLINE", "1")
    assert main(["library", "add", "--arxiv", "2506.24010"]) == 2
    assert "TUTOR_OFFLINE forbids arXiv" in capsys.readouterr().err
