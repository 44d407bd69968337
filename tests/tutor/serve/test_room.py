"""A turn over a model that streams: stopped between two pieces, kept as far as it came, and never asked again."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from pathlib import Path

from tutor.budget import Budget
from tutor.library import BM25Retriever, Document, cut
from tutor.providers.base import Choice, Reply, Usage
from tutor.records import Records
from tutor.records.transcripts import Transcripts
from tutor.serve.desk import Question
from tutor.serve.room import LibraryRoom
from tutor.settings import Settings

QUOTES = (
    "Stars spin down as their winds brake them.",
    "Gyrochronology infers the age of a star from its rotation.",
)
CLAIMS = [{"text": f"Told: {quote}", "source": "S1", "quote": quote} for quote in QUOTES]


class Writing:
    """A model that writes two claims and is stopped between them."""

    name, model = "openai", "slow"

    def __init__(self, stopped: threading.Event) -> None:
        self.stopped, self.asked, self.closed = stopped, 0, False

    def chat(self, messages: object, **options: object) -> Reply:
        raise AssertionError("nothing is asked after the stop")

    def stream(self, messages: object, **options: object) -> Generator[str, None, Reply]:
        self.asked += 1
        text = json.dumps({"claims": CLAIMS})
        middle = text.index("}") + 1
        try:
            yield text[:middle]
            self.stopped.set()
            yield text[middle:]
        except GeneratorExit:
            self.closed = True
            raise
        return Reply((Choice(text, parsed={"claims": CLAIMS}),), "slow", Usage(10, 10))


def test_an_answer_is_stopped_between_two_pieces(tmp_path: Path) -> None:
    stopped = threading.Event()
    model = Writing(stopped)
    library = BM25Retriever(cut(Document("ages", "Ages of stars", " ".join(QUOTES))))
    with Records(tmp_path / "class.sqlite") as records:
        store = Transcripts(records)
        room = LibraryRoom(Settings(tmp_path), library, model, store, Budget())
        number = store.begin("s1", "openai", "slow")
        told = list(room.say(Question("s1", number, "Why do stars spin down?", "05", stopped)))
        assert [e["event"] for e in told] == ["claim", "source", "refusal", "done"]
        assert told[2]["kind"] == "stopped" and told[0]["quote"] == QUOTES[0]
        assert model.asked == 1 and model.closed
        kept = store.entries(number, "s1")
        assert [e.content for e in kept[1:]] == told
        assert kept[0].content == {"text": "Why do stars spin down?", "assignment": "05"}
        again = list(room.say(Question("s1", number, "Why do stars spin down?", "", stopped)))
        assert [e["event"] for e in again] == ["refusal", "done"] and model.asked == 1
