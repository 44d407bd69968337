"""The conversation on a terminal: a prompt with history and several lines, answers as they are released."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

from statml.errors import MissingExtraError, StatmlError
from tutor.chat import figure
from tutor.chat.conversation import Conversation
from tutor.chat.events import Claim, Done, Event, Hint, Piece, Refusal, Source, ToolCall
from tutor.chat.export import markdown
from tutor.library.display import printable

if TYPE_CHECKING:
    from rich.console import Console

HELP = {
    "Enter": "sends; Alt-Enter (or Esc, Enter) begins a new line",
    "Ctrl-C": "stops an answer, empties a line, leaves at an empty one",
    "/sources": "what was cited so far",
    "/hint [TASK]": "the next hint of a task of the assignment, never its solution",
    "/fit x=1,2 y=2,4": "least squares (y_err=..., degree=...); /posterior takes prior_std=... too",
    "/convert 3 pc lyr": "units",
    "/dataset NAME": "what a data set holds",
    "/figure [FILE]": "draw the last fit",
    "/export [FILE]": "the conversation and its AI-use log as Markdown",
    "/quit": "leave; `tutor chat --resume` goes on",
}
#: A narrower screen shows what a command does below it.
NARROW = 60


def talk(conversation: Conversation, lines: Iterable[str], console: Console, home: Path) -> None:
    """Answer lines until they end or one says ``/quit``.

    Ctrl-C during an answer stops the answer; what was said is kept.
    """
    for line in lines:
        command, _, rest = line.strip().partition(" ")
        if not command:
            continue
        if command in ("/quit", "/exit"):
            return
        try:
            if command == "/help":
                _help(console)
            elif command == "/sources":
                _show_sources(conversation, console)
            elif command in ("/export", "/figure"):
                _save(command, rest.strip(), conversation, console, home)
            else:
                _answer(conversation, line, console)
        except StatmlError as error:
            _print(console, str(error))
        except OSError as error:
            _print(console, f"cannot write: {error.strerror or error}")
        except KeyboardInterrupt:
            console.print()  # the terminal has written ^C
            _print(console, "(stopped; what was said is kept)", "dim")
            console.print()


def _answer(conversation: Conversation, line: str, console: Console) -> None:
    """Show the answer as it comes; until it begins, that something is being done."""
    events = conversation.say(line)
    with closing(events):  # a stop is noted now, not when the rubbish is collected
        if console.is_terminal:
            with console.status("reading the sources"):
                first = next(events, None)
            if first is not None:
                show(first, console)
        for event in events:
            show(event, console)


def show(event: Event, console: Console) -> None:
    """Print one event; text of others is printed as text, without markup or terminal codes."""
    if isinstance(event, Claim):
        quote = f"“{' '.join(event.quote.split())}” [{event.number}]"
        if not event.quoted:
            _print(console, event.text)
        _print(console, quote, "italic green", indent=0 if event.quoted else 3)
    elif isinstance(event, Source):
        place = f"[{event.number}] {event.title} [{event.source_id}] {event.url}"
        _print(console, place.rstrip(), "cyan", indent=3)
    elif isinstance(event, ToolCall):
        _print(console, f"{event.name}({', '.join(f'{k}={v}' for k, v in event.arguments.items())})", "cyan")
        for key, value in event.result.items():
            _print(console, f"{key} = {_short(value)}", indent=3)
        if event.error:
            _print(console, f"it gave nothing: {event.error}", indent=3)
    elif isinstance(event, Hint):
        _print(console, f"Hint {event.level + 1} of 4 ({event.task}): {event.text}", "bold")
        if event.source:
            _print(console, f"read: {event.source}, {event.section}", "cyan", indent=3)
    elif isinstance(event, Refusal):
        _print(console, event.text, "yellow")
    elif isinstance(event, Piece):
        _print(console, event.text)
    elif isinstance(event, Done):
        if event.dropped:
            _print(
                console,
                f"({event.dropped} claims of the model were dropped: no source bears them out)",
                "dim",
            )
        if event.tokens:
            _print(console, f"({event.tokens} tokens so far)", "dim")
        console.print()


def typed(history: Path) -> Iterator[str]:
    """Lines from a person at a terminal, or from a pipe.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C at an empty prompt.
    """
    if not sys.stdin.isatty():
        if isinstance(sys.stdin, TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")
        for line in sys.stdin:
            yield line.rstrip("\n")
        return
    session = _session(history)
    while True:
        try:
            yield session.prompt("you> ")
        except EOFError:
            return


def _session(history: Path) -> Any:
    try:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import FileHistory
        from prompt_toolkit.key_binding import KeyBindings
        from prompt_toolkit.output import create_output
    except ImportError as error:
        raise MissingExtraError("tutor chat needs prompt_toolkit: install statml[tutor]") from error
    keys = KeyBindings()

    @keys.add("enter")
    def _send(event: Any) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("c-c")
    def _stop(event: Any) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt, style="class:aborting")

    @keys.add("escape", "enter")
    def _new_line(event: Any) -> None:
        event.current_buffer.insert_text("\n")

    history.parent.mkdir(parents=True, exist_ok=True)
    history.touch(mode=0o600)
    # where the answers go into a file, the prompt stays on the screen
    output = None if sys.stdout.isatty() else create_output(always_prefer_tty=True)
    return PromptSession(history=FileHistory(str(history)), multiline=True, key_bindings=keys, output=output)


def _save(command: str, named: str, conversation: Conversation, console: Console, home: Path) -> None:
    ending = ".md" if command == "/export" else ".png"
    path = Path(named) if named else Path(f"conversation-{conversation.number}{ending}")
    if command == "/export":
        path.write_text(markdown(conversation), encoding="utf-8")
    else:
        figure.draw(conversation.events(), path)
    _print(console, f"written to {path}", "dim")


def _show_sources(conversation: Conversation, console: Console) -> None:
    if not conversation.sources:
        _print(console, "nothing was cited yet")
    for source in conversation.sources:
        show(source, console)
    console.print()


def _help(console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    if console.width < NARROW:
        for command, does in HELP.items():
            _print(console, command, "bold")
            _print(console, does, indent=3)
        console.print()
        return
    table = Table.grid(padding=(0, 2))
    for command, does in HELP.items():
        table.add_row(Text(command, style="bold", no_wrap=True), Text(does))
    console.print(table, "")


def _short(value: Any) -> Any:
    return float(f"{value:.8g}") if isinstance(value, float) else value


def _print(console: Console, text: str, style: str = "", *, indent: int = 0) -> None:
    """Print text of whoever as text, without markup or terminal codes."""
    from rich.padding import Padding
    from rich.text import Text

    shown = Text(printable(text), style=style)
    console.print(Padding(shown, (0, 0, 0, indent), expand=False) if indent else shown)
