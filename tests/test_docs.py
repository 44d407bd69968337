"""Every Python block of the documentation runs, and prints what the page says it prints.

The blocks of a page run in order in one namespace. A ``text`` block right after a
Python block is its output, compared word by word. A block under the comment
``<!-- no-test -->`` is left alone; one under ``<!-- data -->`` reads third-party
tables and runs only where ``$STATML_DATA`` is set.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"(?P<mark><!-- (?:no-test|data) -->\s*\n)?^```python\n(?P<code>.*?)^```$(?:\n+^```text\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


def run_page(text: str, name: str) -> int:
    """Execute the blocks of a page; returns how many ran."""
    namespace: dict[str, object] = {"__name__": "page"}
    count = 0
    for block in BLOCK.finditer(text):
        if "no-test" in (block["mark"] or ""):
            continue
        if block["mark"] and "STATML_DATA" not in os.environ:
            continue
        line = text.count("\n", 0, block.start("code"))
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            # Line numbers of the page, so that a traceback points into it.
            exec(compile("\n" * line + block["code"], name, "exec"), namespace)
        if block["output"] is not None:
            assert printed.getvalue().split() == block["output"].split(), f"{name}, line {line + 1}"
        count += 1
    return count


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    blocks, left_alone = text.count("```python\n"), text.count("<!-- no-test -->\n```python\n")
    on_data = 0 if "STATML_DATA" in os.environ else text.count("<!-- data -->\n```python\n")
    assert run_page(text, str(page)) == blocks - left_alone - on_data


def test_the_contract_is_run() -> None:
    text = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
    assert len(BLOCK.findall(text)) >= 10


def test_a_wrong_output_is_seen() -> None:
    page = "```python\nprint(1 + 1)\n```\n\n```text\n{}\n```\n"
    assert run_page(page.format(2), "page") == 1
    with pytest.raises(AssertionError, match="line 2"):
        run_page(page.format(3), "page")
    with pytest.raises(ZeroDivisionError):
        run_page("```python\n1 / 0\n```\n", "page")
    assert run_page("<!-- no-test -->\n```python\n1 / 0\n```\n", "page") == 0


def test_blocks_on_third_party_tables_need_them(monkeypatch: pytest.MonkeyPatch) -> None:
    page = "<!-- data -->\n```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n"
    monkeypatch.delenv("STATML_DATA", raising=False)
    assert run_page(page, "page") == 0
    monkeypatch.setenv("STATML_DATA", "anywhere")
    with pytest.raises(AssertionError, match="line 3"):
        run_page(page, "page")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
