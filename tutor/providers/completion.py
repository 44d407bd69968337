"""Read what a server of Chat Completions sends, where any field may be missing, into our own types."""

from __future__ import annotations

from typing import Any

from tutor.providers.base import Choice, TokenLogprob, Usage


def choice(raw: Any) -> Choice:
    """One choice; what is no text counts as empty text."""
    text = getattr(getattr(raw, "message", None), "content", None)
    finish = getattr(raw, "finish_reason", None)
    return Choice(
        text if isinstance(text, str) else "",
        finish=finish if isinstance(finish, str) else "stop",
        logprobs=_logprobs(raw),
    )


def usage(raw: Any) -> Usage:
    """Tokens of a completion or of the last piece of a stream; 0 where the server does not count."""
    counted = getattr(raw, "usage", None)
    return Usage(
        int(getattr(counted, "prompt_tokens", 0) or 0), int(getattr(counted, "completion_tokens", 0) or 0)
    )


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
