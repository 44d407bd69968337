"""Break off the answer of a model between two pieces, once the student wants no more of it."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from typing import Any

from statml.errors import ServiceError
from tutor.providers.base import Message, Provider, Reply, Schema


class StoppedError(ServiceError):
    """The student wants no more of this answer."""


class Stoppable:
    """A provider that is asked nothing more, and breaks off at its next piece, once `stopped` is set.

    A reply that does not come as a stream is waited for: it is paid for, and counted.

    Parameters
    ----------
    inner : Provider
    stopped : threading.Event

    Examples
    --------
    >>> from tutor.providers.extractive import ExtractiveProvider
    >>> stopped = threading.Event()
    >>> provider = Stoppable(ExtractiveProvider(), stopped)
    >>> stopped.set()
    >>> provider.chat([])
    Traceback (most recent call last):
    tutor.chat.stopping.StoppedError: You stopped this answer; what was said before is kept.
    """

    def __init__(self, inner: Provider, stopped: threading.Event) -> None:
        self._inner, self._stopped = inner, stopped
        if hasattr(inner, "stream"):
            self.stream = self._streamed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def chat(self, messages: Sequence[Message], *, schema: Schema | None = None, **options: Any) -> Reply:
        """As the provider's own.

        Raises
        ------
        StoppedError
            It was stopped before it was asked.
        """
        self._look()
        return self._inner.chat(messages, schema=schema, **options)

    def _streamed(self, messages: Sequence[Message], **options: Any) -> Generator[str, None, Reply]:
        self._look()
        pieces = self._inner.stream(messages, **options)  # type: ignore[attr-defined]
        try:
            while True:
                try:
                    piece = next(pieces)
                except StopIteration as end:
                    reply: Reply = end.value
                    return reply
                self._look()
                yield piece
        finally:
            pieces.close()

    def _look(self) -> None:
        if self._stopped.is_set():
            raise StoppedError("You stopped this answer; what was said before is kept.")
