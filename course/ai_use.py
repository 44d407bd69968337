"""The section in which a student documents how she used AI.

One YAML block in the cell marked ``<!-- answer: ai_use -->``: either
``ai_use: none`` or a list of entries. What is missing is told to the student
before she hands in; points are a human's to give, on completeness and
verification, never on how much or how little AI was used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import ValidationError

from course.schema import AiUseEntry
from course.submission import SubmissionText

_BLOCK = re.compile(r"```(?:ya?ml)?\s*\n(.*?)```", re.DOTALL)
#: Brackets in a block: the time of PyYAML grows with the square of how deep they nest.
_MOST_BRACKETS = 500


@dataclass(frozen=True)
class AiUse:
    """What the section says.

    Attributes
    ----------
    declared_none : bool
        The student declares that no AI was used.
    entries : tuple of AiUseEntry
        Complete entries.
    missing : tuple of str
        One sentence for each thing that is not there.
    """

    declared_none: bool
    entries: tuple[AiUseEntry, ...]
    missing: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Nothing is missing."""
        return not self.missing


def read_ai_use(text: SubmissionText) -> AiUse:
    """Read the AI-use section of a submission; a broken one is reported, never raised."""
    import yaml

    cell = text.answers.get("ai_use")
    block = _BLOCK.search(cell.source) if cell else None
    if block is None:
        return AiUse(False, (), ("there is no AI-use section with a YAML block",))
    written = block.group(1)
    try:
        if written.count("[") + written.count("{") > _MOST_BRACKETS:
            raise yaml.YAMLError("too many brackets")
        # every value as text: a date or a version must not become something else
        values = yaml.load(written, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError):
        return AiUse(False, (), ("the AI-use section is not valid YAML",))
    said = values.get("ai_use") if isinstance(values, dict) else None
    if isinstance(said, str) and said.strip().lower() in {"none", "no"}:
        return AiUse(True, (), ())
    if not isinstance(said, list) or not said:
        return AiUse(False, (), ("ai_use must be `none` or a list of entries",))
    entries, missing = [], []
    for position, value in enumerate(said, start=1):
        empty = _empty_fields(value)
        if empty:
            missing.append(f"entry {position} says nothing about {', '.join(empty)}")
            continue
        try:
            entries.append(AiUseEntry.model_validate(value))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            missing.append(f"entry {position}: {where}: {first['msg']}")
    return AiUse(False, tuple(entries), tuple(missing))


def _empty_fields(value: object) -> list[str]:
    if not isinstance(value, dict):
        return list(AiUseEntry.model_fields)
    return [name for name in AiUseEntry.model_fields if not value.get(name)]
