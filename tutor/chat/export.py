"""A conversation as Markdown: what was said, the sources with their quotes, and the log of AI use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from tutor.chat.conversation import Conversation
from tutor.chat.events import Claim, Done, Event, Hint, Piece, Refusal, Source, ToolCall, from_dict
from tutor.library.display import printable
from tutor.records.transcripts import Entry


def markdown(conversation: Conversation) -> str:
    """The whole conversation, ending with an AI-use entry to complete and paste into a submission."""
    entries = conversation.entries()
    events = [from_dict(entry.content) for entry in entries if entry.kind != "student"]
    parts = [f"# Conversation {conversation.number} with the tutor", ""]
    for entry in entries:
        if entry.kind == "student":
            parts += [
                f"## {entry.at[:16].replace('T', ' ')} UTC",
                "",
                f"**You:** {_plain(entry.content['text'])}",
                "",
            ]
        else:
            parts += _told(from_dict(entry.content))
    sources = [event for event in events if isinstance(event, Source)]
    if sources:
        parts += ["## Sources", ""]
        parts += [
            f"{s.number}. {_plain(s.title)} [{_plain(s.source_id)}] {_link(s.url)}".rstrip() for s in sources
        ]
        parts.append("")
    return "\n".join([*parts, *ai_use(entries, events)]) + "\n"


def ai_use(entries: Sequence[Entry], events: Sequence[Event]) -> list[str]:
    """The AI-use log: what was asked of what, and the entry the course asks for, its last lines empty."""
    import yaml

    done = [event for event in events if isinstance(event, Done)]
    asked = [entry for entry in entries if entry.kind == "student"]
    hints = [event for event in events if isinstance(event, Hint)]
    models = sorted({f"{d.provider}: {d.model}" for d in done}) or ["none"]
    entry: dict[str, Any] = {
        "tool": f"statml tutor {version('statml')}",
        "version": "; ".join(models),
        "date": asked[0].at[:10] if asked else "",
        "purpose": "",
        "prompts": [printable(e.content["text"]).replace("```", "` ` `") for e in asked],
        "what_accepted": "",
        "what_rejected": "",
        "how_verified": "",
        "effect_on_answer": "",
        "confidence": "",
    }
    text = yaml.safe_dump({"ai_use": [entry]}, sort_keys=False, allow_unicode=True, width=100)
    lines = [
        "## How AI was used",
        "",
        f"{len(asked)} prompts, {len(hints)} hints, {done[-1].tokens if done else 0} tokens.",
    ]
    lines += [f"Hint {h.level} ({h.name}) of {h.assignment}/{h.task}." for h in hints]
    return [
        *lines,
        "",
        "Complete the empty lines:",
        "",
        "```yaml",
        text.rstrip(),
        "```",
    ]


def _told(event: Event) -> list[str]:
    if isinstance(event, Claim):
        quote = [f"> {_plain(' '.join(event.quote.split()))} [{event.number}]", ""]
        return quote if event.quoted else [_plain(event.text), "", *quote]
    if isinstance(event, Hint):
        return [
            f"*Hint {event.level} ({event.name}), {event.assignment}/{event.task}:* {_plain(event.text)}",
            "",
        ]
    if isinstance(event, Refusal | Piece):
        return [_plain(event.text), ""]
    if isinstance(event, ToolCall):
        outcome = event.error or event.result
        return [f"Computed `{_code(event.name)}({_code(event.arguments)})`: `{_code(outcome)}`", ""]
    return []


def _plain(text: str) -> str:
    """Text that is no markup: what Markdown or HTML would read as its own is escaped."""
    return re.sub(r"([\\`*_\[\]<>#|!~])", r"\\\1", " ".join(printable(text).split()))


def _code(value: Any) -> str:
    return " ".join(printable(str(value)).replace("`", "'").split())


def _link(url: str) -> str:
    return f"<{url}>" if re.fullmatch(r"https?://[^\s<>]+", url) else ""
