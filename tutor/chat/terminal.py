"""The conversation on a terminal: a prompt with history and several lines, answers as they are released."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
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

HELP = """\
Ask about the sources. Enter sends, Alt-Enter (or Esc, Enter) begins a new line.
/sources            what was cited so far
/hint [TASK]        the next hint of a task of the assignment, never its solution
/fit x=1,2 y=2,4    least squares (y_err=..., degree=...); /posterior takes prior_std=... too
/convert 3 pc lyr   units;  /dataset NAME  what a data set holds
/figure [FILE]      draw the last fit
/export [FILE]      the conversation and its AI-use log as Markdown
/quit               leave; `tutor chat --resume` goes on"""


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
                _print(console, HELP)
            elif command == "/sources":
                _show_sources(conversation, console)
            elif command in ("/export", "/figure"):
                _save(command, rest.strip(), conversation, console, home)
            else:
                for event in conversation.say(line):
                    show(event, console)
        except StatmlError as error:
            _print(console, str(error))
        except OSError as error:
            _print(console, f"cannot write: {error.strerror or error}")
        except KeyboardInterrupt:
            _print(console, "(stopped; what was said is kept)", "dim")


def show(event: Event, console: Console) -> None:
    """Print one event; text of others is printed as text, without markup or terminal codes."""
    if isinstance(event, Claim):
        quote = f"“{' '.join(event.quote.split())}” [{event.number}]"
        if not event.quoted:
            _print(console, event.text)
        _print(console, quote if event.quoted else f"   {quote}", "italic green")
    elif isinstance(event, Source):
        _print(console, f"   [{event.number}] {event.title} [{event.source_id}] {event.url}".rstrip(), "cyan")
    elif isinstance(event, ToolCall):
        _print(console, f"{event.name}({', '.join(f'{k}={v}' for k, v in event.arguments.items())})", "cyan")
        for key, value in event.result.items():
            _print(console, f"   {key} = {value}")
        if event.error:
            _print(console, f"   it gave nothing: {event.error}")
    elif isinstance(event, Hint):
        _print(console, f"Hint {event.level + 1} of 4 ({event.task}): {event.text}", "bold")
        if event.source:
            _print(console, f"   read: {event.source}, {event.section}", "cyan")
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
    except ImportError as error:
        raise MissingExtraError("tutor chat needs prompt_toolkit: install statml[tutor]") from error
    keys = KeyBindings()

    @keys.add("enter")
    def _send(event: Any) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _new_line(event: Any) -> None:
        event.current_buffer.insert_text("\n")

    history.parent.mkdir(parents=True, exist_ok=True)
    history.touch(mode=0o600)
    return PromptSession(history=FileHistory(str(history)), multiline=True, key_bindings=keys)


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


def _print(console: Console, text: str, style: str = "") -> None:
    from rich.text import Text

    console.print(Text(printable(text), style=style))
