"""Pages: Markdown, notebooks, and the texts of course assignments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tutor.library.chunks import Document, Rejected

_CELL = re.compile(r"^# %%(.*)$", re.MULTILINE)
_TITLE = re.compile(r"^#\s+(.+?)\s*#*\s*$", re.MULTILINE)


def read_markdown(path: Path, source_id: str) -> Iterator[Document | Rejected]:
    """The whole page; it is cut at its headings later."""
    text = path.read_text(encoding="utf-8")
    yield Document(source_id, _title(text, path.stem), text, "markdown", str(path))


def read_notebook(path: Path, source_id: str) -> Iterator[Document | Rejected]:
    """The Markdown of a notebook, its code in fences (quoted as code), no outputs."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        yield Rejected(str(path), "is no notebook of format 4: it has no cells")
        return
    text = "\n\n".join(part for part in map(_cell, cells) if part)
    if text:
        yield Document(source_id, _title(text, path.stem), text, "notebook", str(path))
    else:
        yield Rejected(str(path), "is a notebook without text")


def read_assignment(path: Path, source_id: str) -> Iterator[Document | Rejected]:
    """The Markdown cells of a percent-format file, none of its code."""
    cells = _markdown_cells(path.read_text(encoding="utf-8"))
    if cells is None:
        yield Rejected(str(path), "is Python without Markdown cells (# %% [markdown])")
    else:
        yield Document(source_id, _title(cells, path.parent.name), cells, "assignment", str(path))


def _title(text: str, otherwise: str) -> str:
    heading = _TITLE.search(text)
    return heading.group(1) if heading else otherwise


def _cell(cell: Any) -> str:
    source = cell.get("source", "") if isinstance(cell, dict) else ""
    text = "".join(map(str, source)) if isinstance(source, list) else str(source)
    if not text.strip():
        return ""
    if cell.get("cell_type") == "markdown":
        return text.strip()
    return f"```python\n{text.strip()}\n```" if cell.get("cell_type") == "code" else ""


def _markdown_cells(text: str) -> str | None:
    """The Markdown cells of a percent-format file, without their comment marks; None if there are none."""
    marks = list(_CELL.finditer(text))
    cells = []
    for mark, following in zip_longest(marks, marks[1:]):
        if "[markdown]" not in mark.group(1):
            continue
        body = text[mark.end() : following.start() if following else len(text)]
        lines = [re.sub(r"^# ?", "", line) for line in body.strip().splitlines() if line.startswith("#")]
        cells.append("\n".join(lines).strip())
    return "\n\n".join(cell for cell in cells if cell) or None
