"""Show an answer to a person: each claim with its source and its quote, or why there is none; and how far work is."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from statml.errors import MissingExtraError
from tutor.library.answer import Answer, Claim
from tutor.library.search import Hit
from tutor.library.store import Stats

if TYPE_CHECKING:
    from rich.console import Console


def open_console() -> Console:
    """A Rich console on stdout.

    Raises
    ------
    MissingExtraError
        If Rich is not installed.
    """
    try:
        from rich.console import Console
    except ImportError as error:
        raise MissingExtraError("the tutor needs rich: install statml[tutor]") from error
    return Console(highlight=False)


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr with rate and time left; a line now and then where stderr is no terminal."""
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    with tqdm(
        total=total,
        desc=description,
        unit="passage",
        disable=total == 0 or (not terminal and total < 2000),
        leave=False,
        mininterval=0.1 if terminal else 30.0,
        ascii=not terminal,
    ) as bar:

        def told(number: int) -> None:
            bar.update(number)

        yield told


def show(answer: Answer, stats: Stats, console: Console) -> None:
    """Print `answer`. Source text is printed as text: no markup, no terminal codes of its own."""
    from rich.text import Text

    if answer.abstained:
        console.print(Text("I cannot answer this from my sources.", style="bold"))
        console.print(Text(f"Why: {printable(answer.reason)}."))
        _show_searched(answer, stats, console)
        console.print(Text("Ask it in other words, or add a source: tutor library add PATH", style="dim"))
    for number, claim in enumerate(answer.claims, start=1):
        if number > 1:
            console.print()
        _show_claim(number, claim, console)
    for dropped in answer.unsupported:
        console.print()
        console.print(Text(f"Unsupported, not to be relied on: {printable(dropped.text)}", style="dim"))
        console.print(Text(f"   because {printable(dropped.reason)}", style="dim"))
    if answer.claims:
        console.print()
        how = "quoted, no model used" if answer.provider == "extractive" else f"worded by {answer.model}"
        console.print(Text(f"Answer {how}; every quote was found verbatim in its source.", style="dim"))


def show_hits(hits: Sequence[Hit], console: Console) -> None:
    """Print found passages: source, place, beginning of the text."""
    from rich.padding import Padding
    from rich.text import Text

    if not hits:
        console.print(Text("Nothing was found: use other words, or widen the filter."))
    for number, hit in enumerate(hits, start=1):
        chunk = hit.chunk
        section = chunk.section.removeprefix(chunk.title).removeprefix(" > ")
        place = f"{number}. {chunk.title} [{chunk.source_id}]" + (f", {section}" if section else "")
        console.print(Text(printable(place), style="cyan"))
        words = printable(chunk.text).split()
        text = " ".join(words[:50]) + (" ..." if len(words) > 50 else "")
        console.print(Padding(Text(text), (0, 0, 0, 3)))


def printable(text: str) -> str:
    """Drop what steers a terminal or hides in a line: control, direction and invisible characters.

    Examples
    --------
    >>> printable("red\\x1b[31m alert")
    'red[31m alert'
    """
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf"))


def _show_claim(number: int, claim: Claim, console: Console) -> None:
    from rich.padding import Padding
    from rich.text import Text

    quote = " ".join(printable(claim.quote).split())
    # an extractive claim is its quote: said once
    if claim.text.split() != claim.quote.split():
        console.print(Text(f"{number}. {printable(claim.text)}"))
        console.print(Padding(Text(f"“{quote}”", style="italic green"), (0, 0, 0, 3)))
    else:
        console.print(Text.assemble(f"{number}. ", (f"“{quote}”", "italic green")))
    # the first heading of a page is its title
    section = claim.section.removeprefix(claim.title).removeprefix(" > ")
    place = f"{claim.title} [{claim.source_id}]" + (f", {section}" if section else "")
    console.print(Padding(Text(printable(place), style="cyan"), (0, 0, 0, 3)))
    if claim.url:
        console.print(Padding(Text(claim.url, style="dim"), (0, 0, 0, 3)))


def _show_searched(answer: Answer, stats: Stats, console: Console) -> None:
    from rich.text import Text

    kinds = ", ".join(f"{number} {kind}" for kind, number in stats.kinds.items())
    console.print(Text(f"Searched: {stats.documents} documents ({kinds}), {stats.chunks} passages."))
    if answer.searched:
        console.print(Text("Nearest passages:"))
    for passage in answer.searched:
        under = passage.section.removeprefix(passage.title).removeprefix(" > ")
        section = f", {under}" if under else ""
        console.print(Text(printable(f"   {passage.title} [{passage.source_id}]{section}"), style="cyan"))
