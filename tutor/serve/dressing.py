"""What the page shows of an event beside its text: formulas, and the light markup of Markdown sources.

An event is added to and never changed: the words that were verified, stored and
exported are those of the source, to the last asterisk. Beside them stands, for
each field where it differs, a list of words, formulas and ``{"as": tag, "text":
words}``, of which the page makes nodes.

>>> dressed({"event": "claim", "text": "a **prior**", "quote": "", "source_id": "docs/05.md"})["shown"]
{'text': ['a ', {'as': 'strong', 'text': 'prior'}]}
"""

from __future__ import annotations

import re
from typing import Any

from tutor.serve.formulas import LONGEST_TEXT, parts

#: What may be shown of an event, field by field.
FIELDS = {
    "piece": ("text",),
    "claim": ("text", "quote"),
    "source": ("title", "section"),
    "hint": ("text",),
    "refusal": ("text",),
}
_MARKED = re.compile(r"\.(?:md|ipynb|tex|py)$")
_MARKUP = re.compile(
    r"`(?P<code>[^`\n]{1,300})`"
    r"|\*\*(?P<strong>[^*\n]{1,300})\*\*"
    r"|(?<![\w*])\*(?P<em>[^*\s][^*\n]{0,300})\*(?![\w*])"
    r"|!?\[(?P<label>[^\[\]\n]{1,300})\]\([^()\s]{1,300}\)"
)


def dressed(event: dict[str, Any]) -> dict[str, Any]:
    """The event with ``shown`` where the page shows more than its text."""
    kind = event.get("event") or event.get("kind") or ""
    marked = kind == "hint" or (
        kind == "claim" and _MARKED.search(str(event.get("source_id", ""))) is not None
    )
    shown = {}
    for field in FIELDS.get(kind, ()):
        text = event.get(field)
        if field == "section":
            text = below(text, event.get("title"))
        cut = parts(text) or ([text] if isinstance(text, str) else [])
        if marked:
            cut = [piece for part in cut for piece in (_marked(part) if isinstance(part, str) else [part])]
        if cut and cut != [event.get(field)]:
            shown[field] = cut
    return {**event, "shown": shown} if shown else event


def below(section: object, title: object) -> object:
    """The path of a section without the title of its document, which stands above it.

    >>> below("Trees > Pruning", "Trees")
    'Pruning'
    """
    if isinstance(section, str) and isinstance(title, str) and section.startswith(f"{title} > "):
        return section.removeprefix(f"{title} > ")
    return section


def _marked(text: str) -> list[Any]:
    """Words with their code and emphasis; of a link its label, for its target is a file of ours."""
    if len(text) > LONGEST_TEXT:
        return [text]
    found: list[Any] = []
    end = 0
    for match in _MARKUP.finditer(text):
        kind, said = str(match.lastgroup), match[str(match.lastgroup)]
        found += [text[end : match.start()], said if kind == "label" else {"as": kind, "text": said}]
        end = match.end()
    return [part for part in (*found, text[end:]) if part]
