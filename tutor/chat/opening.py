"""Open a conversation with everything that belongs to it here: due dates, guard, confidence."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import Any

from tutor.chat.conversation import Conversation
from tutor.library.search import Retriever
from tutor.providers.base import Provider
from tutor.records.transcripts import Transcripts


def open_conversation(
    settings: Any, library: Retriever, provider: Provider, store: Transcripts, student: str, **options: Any
) -> Conversation:
    """A `Conversation` with the guard, due dates and confidence that belong here.

    The guard reads the solutions when the first text is to be judged.

    Parameters
    ----------
    settings : Settings
        Whose home may hold ``due.toml``.
    library, provider, store, student, **options
        As for `Conversation`.
    """
    from tutor.guard import open_guard
    from tutor.library.confidence import Confidence
    from tutor.pedagogy.due import due_dates, over

    lifted = over(due_dates(settings.home), date.today())
    if getattr(library, "has_vectors", False):
        options.setdefault("confidence", Confidence(library))  # type: ignore[arg-type]
    options.setdefault("guard", partial(open_guard, lifted))
    return Conversation(library, provider, store, student, lifted=lifted, **options)
