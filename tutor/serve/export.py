"""How AI was used in an assignment, to hand on: Markdown to read, JSON to compute with."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

from course.schema import Card
from tutor.library.display import printable

_LABELS = {
    "purpose": "What for",
    "what_accepted": "What I accepted",
    "what_rejected": "What I rejected, and why",
    "how_verified": "How I checked it",
    "effect_on_answer": "What it changed in my answer",
}


def markdown(used: dict[str, Any], card: Card) -> str:
    """One student's use of AI in one assignment; see `tutor.serve.homework.used`.

    It ends with the course's AI-use section, ready for the notebook.
    """
    reflection = used["reflection"]
    parts = [
        f"# How AI was used in assignment {card.number}: {plain(card.title)}",
        "",
        f"Student {plain(used['student'])}, {_counted(used['questions'])}.",
        "",
        "## Reflection",
        "",
    ]
    for name, label in _LABELS.items():
        parts += [f"**{label}:** {plain(reflection[name]) or '(not said)'}", ""]
    sure = reflection["confidence"]
    parts += [f"**Confidence in the result:** {'(not said)' if sure is None else f'{sure:g}'}", ""]
    parts += ["## What was asked", ""]
    for line in used["questions"]:
        when = line["at"][:16].replace("T", " ")
        parts += [f"* {when} UTC: {plain(line['prompt'])}", f"  ({plain(outcome(line))})"]
    if not used["questions"]:
        parts.append("The tutor was asked nothing about this assignment.")
    return "\n".join([*parts, "", *_section(used["ai_use"])]) + "\n"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A class as comma-separated values; see `tutor.serve.homework.of_class`."""
    out = io.StringIO()
    names = ["student", "questions", "hints", "refusals", "tokens", "last", "reflected", "missing"]
    writer = csv.DictWriter(out, names)
    writer.writeheader()
    for row in rows:
        # a pseudonym begins with a letter or digit, so that no cell is a formula
        writer.writerow({**row, "missing": " ".join(row["missing"])})
    return out.getvalue()


def outcome(line: dict[str, Any]) -> str:
    """What became of a question, in a few words."""
    said = [f"{line['claims']} quoted"] if line["claims"] else []
    said += [f"{line['dropped']} unsupported left out"] if line["dropped"] else []
    said += [f"hint {hint}" for hint in line["hints"]]
    said += [f"computed {tool}" for tool in line["tools"]]
    reasons = {"assignment": "no solution before the due date", "unsupported": "no support in the sources"}
    said += [reasons.get(kind, kind) for kind in line["refusals"]]
    who = f"; {line['answered_by']}" if line["answered_by"] else ""
    return (", ".join(said) or "no answer") + who


def plain(text: str) -> str:
    """Text that is no markup in Markdown or HTML, on one line."""
    return re.sub(r"([\\`*_\[\]<>#|!~&])", r"\\\1", " ".join(printable(text).split()))


def _counted(lines: Sequence[dict[str, Any]]) -> str:
    hints = sum(len(line["hints"]) for line in lines)
    tokens = sum(line["tokens"] for line in lines)
    return f"{len(lines)} questions, {hints} hints, {tokens} tokens"


def _section(entries: Sequence[dict[str, Any]]) -> list[str]:
    import yaml

    shown = [{name: _yaml(value) for name, value in entry.items()} for entry in entries] or "none"
    text = yaml.safe_dump({"ai_use": shown}, sort_keys=False, allow_unicode=True, width=100)
    return ["## For the notebook", "", "```yaml", text.rstrip(), "```"]


def _yaml(value: Any) -> Any:
    """Values without what would close the block they stand in."""
    if isinstance(value, list):
        return [_yaml(part) for part in value]
    return printable(value).replace("```", "` ` `") if isinstance(value, str) else value
