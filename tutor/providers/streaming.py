"""Listen to a streamed answer: its pieces go on as they come, and what they add up to is kept.

A stream that is no longer listened to is closed, and a server that notices it
stops generating.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from tutor.providers import completion
from tutor.providers.base import Schema, Usage
from tutor.providers.endpoint import Endpoint


@dataclass
class Heard:
    """What came so far; `finish` stays empty until the server said that it is done."""

    model: str
    text: str = ""
    finish: str = ""
    usage: Usage = field(default_factory=Usage)

    def take(self, piece: Any) -> str:
        """Add one piece; the text in it."""
        self.model = completion.model(piece, self.model)
        if getattr(piece, "usage", None):
            self.usage = completion.usage(piece)
        new = ""
        for choice in getattr(piece, "choices", None) or []:
            self.finish = choice.finish_reason or self.finish
            new += completion.said(getattr(choice.delta, "content", None))
        self.text += new
        return new


def listen(
    endpoint: Endpoint,
    turns: Sequence[Mapping[str, str]],
    schema: Schema | None,
    options: Mapping[str, Any],
) -> Generator[str, None, Heard | None]:
    """Yield text as it arrives; return what was heard, or None if no stream came.

    Raises
    ------
    ServiceError
        Unreachable, too slow, refused, or the stream broke off.
    """
    import openai

    heard = Heard(endpoint.model)
    try:
        stream = endpoint.open_stream(turns, schema, options)
        if stream is None:
            return None
        with closing(stream):
            for piece in stream:
                if new := heard.take(piece):
                    yield new
    except openai.APITimeoutError as error:
        raise endpoint.faults.broke_off(error) if heard.text else endpoint.faults.silent() from None
    except openai.APIConnectionError as error:
        raise endpoint.faults.broke_off(error) if heard.text else endpoint.faults.unreachable(error) from None
    except (openai.OpenAIError, ValueError) as error:
        if heard.text:
            raise endpoint.faults.broke_off(error) from None
        return None  # what came was no stream
    if heard.text and not heard.finish:
        raise endpoint.faults.broke_off()
    return heard if heard.finish else None
