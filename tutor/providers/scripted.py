"""A provider that says what it was told to say: for tests and recorded demonstrations."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from statml.errors import ServiceError
from tutor.providers.base import Choice, Message, Reply, Schema
from tutor.providers.structured import ShapeError, parse

Line = str | dict[str, Any] | Callable[[Sequence[Message]], str | dict[str, Any]]


class ScriptedProvider:
    """Replies from a list, in order; a function among them sees the messages.

    Parameters
    ----------
    script : iterable of str, dict or callable
        One entry a sample; a dict is sent as JSON.

    Attributes
    ----------
    calls : list of tuple of Message
        What was asked, for a test to look at.

    Examples
    --------
    >>> ScriptedProvider(["Hello."]).chat([Message("user", "Hi")]).text
    'Hello.'
    """

    name = "scripted"
    model = "script"

    def __init__(self, script: Iterable[Line]) -> None:
        self._script = list(script)
        self.calls: list[tuple[Message, ...]] = []

    def chat(
        self,
        messages: Sequence[Message],
        *,
        schema: Schema | None = None,
        n: int = 1,
        seed: int | None = None,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        top_logprobs: int | None = None,
    ) -> Reply:
        """Say the next `n` lines.

        Raises
        ------
        ServiceError
            If the script is at its end, or a line does not fit `schema`.
        """
        self.calls.append(tuple(messages))
        choices = []
        for _ in range(n):
            if not self._script:
                raise ServiceError(f"the scripted provider has no line left for call {len(self.calls)}")
            line = self._script.pop(0)
            said = line(messages) if callable(line) else line
            text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
            try:
                choices.append(Choice(text, parsed=parse(text, schema) if schema else None))
            except ShapeError as error:
                raise ServiceError(f"the scripted line does not fit the schema: {error}") from error
        return Reply(tuple(choices), self.model)
