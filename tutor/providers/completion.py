"""Read what a server of Chat Completions sends, where any field may be missing, into our own types."""

from __future__ import annotations

from typing import Any

from tutor.providers.base import Choice, TokenLogprob, Usage

#: More tokens than any call takes: a count above is none.
MOST_TOKENS = 10**9


def choice(raw: Any) -> Choice:
    """One choice; what is no text counts as empty text."""
    text = getattr(getattr(raw, "message", None), "content", None)
    finish = getattr(raw, "finish_reason", None)
    return Choice(
        said(text),
        finish=finish if isinstance(finish, str) else "stop",
        logprobs=_logprobs(raw),
    )


def usage(raw: Any) -> Usage:
    """Tokens of a completion or of the last piece of a stream; 0 where the server does not count."""
    counted = getattr(raw, "usage", None)
    return Usage(*(_tokens(getattr(counted, name, 0)) for name in ("prompt_tokens", "completion_tokens")))


def said(text: Any) -> str:
    """Text that can be stored; halves of surrogate pairs are no characters."""
    return text.encode("utf-8", "replace").decode("utf-8") if isinstance(text, str) else ""


def model(raw: Any, asked: str) -> str:
    """The model that answered, as it names itself; the one asked if it has no name."""
    return said(getattr(raw, "model", None)) or asked


def _tokens(counted: Any) -> int:
    """A number of tokens; what could not be one, such as a negative number, does not count."""
    possible = isinstance(counted, int | float) and 0 <= counted <= MOST_TOKENS
    return int(counted) if possible else 0


def _logprobs(raw: Any) -> tuple[TokenLogprob, ...] | None:
    listed = getattr(getattr(raw, "logprobs", None), "content", None)
    if not listed:
        return None
    return tuple(
        TokenLogprob(
            t.token, float(t.logprob), tuple((r.token, float(r.logprob)) for r in t.top_logprobs or [])
        )
        for t in listed
    )
