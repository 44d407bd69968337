"""What a thread of `tutor serve` answers from: the library, the provider, the records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tutor.budget import Budget
from tutor.chat.conversation import open_conversation
from tutor.chat.events import to_dict
from tutor.library.search import Retriever
from tutor.providers.base import Provider
from tutor.records import Records
from tutor.records.transcripts import Transcripts
from tutor.settings import Settings


class LibraryRoom:
    """Conversations over one library; everything in it belongs to one thread."""

    def __init__(
        self, settings: Settings, library: Retriever, provider: Provider, store: Transcripts, budget: Budget
    ) -> None:
        self._settings, self._library, self._provider = settings, library, provider
        self._store, self._budget = store, budget

    def say(self, student: str, conversation: int, text: str) -> Iterator[dict[str, Any]]:
        """One turn; see `Conversation.say`."""
        talk = open_conversation(
            self._settings,
            self._library,
            self._provider,
            self._store,
            student,
            number=conversation,
            budget=self._budget,
        )
        try:
            for event in talk.say(text):
                yield to_dict(event)
        finally:
            talk.close()


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
