"""A class of two students over a small library, and twenty attacks a page must not obey."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tutor.budget import Budget
from tutor.library import BM25Retriever, Document, cut
from tutor.providers.extractive import ExtractiveProvider
from tutor.records import Records
from tutor.records.transcripts import Transcripts
from tutor.serve.access import House
from tutor.serve.application import build
from tutor.serve.desk import Desk
from tutor.serve.logins import Logins
from tutor.serve.room import LibraryRoom
from tutor.settings import Settings

HOST = "http://127.0.0.1"
QUESTION = "Why do stars spin down?"
PAYLOADS = json.loads((Path(__file__).parent / "payloads.json").read_text(encoding="utf-8"))
AGES = (
    "Gyrochronology infers the age of a star from its rotation. Stars spin down as their winds brake them. "
    "A prior is a distribution that says what is known before the data are seen."
)


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Class:
    """The application with what it is made of."""

    house: House
    clock: Clock
    client: Callable[[], TestClient]

    def student(self, name: str) -> TestClient:
        """A browser in which a student has entered, which sends the token with every change."""
        client = self.client()
        reply = client.post(f"/login/{self.house.logins.link(name)}", follow_redirects=False)
        assert reply.status_code == 303
        client.headers["x-csrf-token"] = client.get("/api/me").json()["csrf"]
        return client

    def instructor(self) -> TestClient:
        """A browser in which the instructor has entered."""
        client = self.client()
        secret = self.house.logins.new_secret()
        assert client.post("/instructor", data={"secret": secret}, follow_redirects=False).status_code == 303
        client.headers["x-csrf-token"] = client.get("/api/instructor/me").json()["csrf"]
        return client


@pytest.fixture
def payloads() -> list[str]:
    return list(PAYLOADS)


@pytest.fixture
def school(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Class]:
    monkeypatch.setenv("TUTOR_HOME", str(tmp_path))
    records, clock = tmp_path / "class.sqlite", Clock()
    library = BM25Retriever(cut(Document("ages", "Ages of stars", AGES)))

    @contextmanager
    def room() -> Iterator[LibraryRoom]:
        with Records(records) as opened:
            yield LibraryRoom(
                Settings(tmp_path), library, ExtractiveProvider(), Transcripts(opened), Budget()
            )

    house = House(
        Logins(tmp_path / "logins.sqlite", clock), records, Desk(room, workers=2), "extractive", "none"
    )
    app = build(house)
    yield Class(house, clock, lambda: TestClient(app, base_url=HOST))
    house.desk.close()


def events(reply: object) -> list[dict]:
    """The lines of an answer."""
    return [json.loads(line) for line in reply.text.splitlines()]  # type: ignore[attr-defined]
