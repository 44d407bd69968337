"""What a thread of `tutor serve` answers from: the library, the provider, the records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from tutor.budget import Budget
from tutor.chat.conversation import Conversation
from tutor.chat.events import to_dict
from tutor.chat.stopping import Stoppable
from tutor.guard import Guard, open_guard
from tutor.library.confidence import Confidence
from tutor.library.search import Retriever
from tutor.pedagogy.due import due_dates, over
from tutor.providers.base import Provider
from tutor.records import Records
from tutor.records.transcripts import Transcripts
from tutor.serve.desk import Question
from tutor.settings import Settings


class LibraryRoom:
    """Conversations over one library; everything in it belongs to one thread.

    What the guard knows is read once for each set of due dates that are over,
    which takes longer than a turn: new solutions need a new start.
    """

    def __init__(
        self, settings: Settings, library: Retriever, provider: Provider, store: Transcripts, budget: Budget
    ) -> None:
        self._settings, self._library, self._provider = settings, library, provider
        self._store, self._budget = store, budget
        self._confidence = Confidence(library) if getattr(library, "has_vectors", False) else None  # type: ignore[arg-type]
        self._known: dict[frozenset[str], Guard] = {}

    def say(self, question: Question) -> Iterator[dict[str, Any]]:
        """One turn; see `Conversation.say`."""
        lifted = over(due_dates(self._settings.home), date.today())
        extractive = self._provider.name == "extractive"  # a second at most, and asked nothing
        provider: Any = self._provider if extractive else Stoppable(self._provider, question.stopped)
        talk = Conversation(
            self._library,
            provider,
            self._store,
            question.student,
            number=question.conversation,
            assignment=question.assignment or None,
            guard=self._guard(lifted),
            lifted=lifted,
            budget=self._budget,
            confidence=self._confidence,
        )
        try:
            for event in talk.say(question.text):
                yield to_dict(event)
        finally:
            talk.close()

    def _guard(self, lifted: frozenset[str]) -> Guard:
        """A guard that has seen nothing yet: what was released is remembered by student."""
        if lifted not in self._known:
            self._known[lifted] = open_guard(lifted)
        known = self._known[lifted]
        return Guard(known.fingerprints, known.numbers)


@contextmanager
def open_room(settings: Settings, records: Path, budget: Budget) -> Iterator[LibraryRoom]:
    """Open the library and the records in this thread.

    Yields
    ------
    LibraryRoom
    """
    from tutor.library.default import open_index
    from tutor.providers import open_provider

    with Records(records) as opened, open_index(settings) as (index, _):
        provider = open_provider(settings, weight=index.weight)
        yield LibraryRoom(settings, index, provider, Transcripts(opened), budget)
