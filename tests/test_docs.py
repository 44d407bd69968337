"""Every Python block of the documentation runs, and prints what the page says it prints.

The blocks of a page run in order in one namespace. A ``text`` block right after a
Python block is its output, compared word by word. A block under the comment
``<!-- no-test -->`` is left alone.
"""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(?P<skip><!-- no-test -->\s*\n)?^```python\n(?P<code>.*?)^```$(?:\n+^```text\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


def run_page(text: str, name: str) -> int:
    """Execute the blocks of a page; returns how many ran."""
    namespace: dict[str, object] = {"__name__": "page"}
    count = 0
    for block in BLOCK.finditer(text):
        if block["skip"]:
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
    assert run_page(text, str(page)) == text.count("```python\n") - text.count(
        "<!-- no-test -->\n```python\n"
    )


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
