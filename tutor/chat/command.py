"""``tutor chat``: a conversation on the terminal, kept and resumable."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from statml import console
from statml.errors import InputError
from tutor.chat import options


def add_parser(subparsers: Any) -> None:
    """Add ``chat`` to the tutor's command line."""
    chat = subparsers.add_parser(
        "chat",
        help="talk with the tutor: verified quotes, hints, small computations",
        description=(
            "Talk with the tutor about the sources of the library. Everything said is kept in TUTOR_HOME; "
            "Ctrl-C loses nothing. /help inside lists what else it can do."
        ),
        epilog="example: tutor chat --assignment 05     tutor chat --resume",
    )
    chat.add_argument(
        "--resume",
        nargs="?",
        type=int,
        const=0,
        metavar="N",
        help="go on with the last conversation, or with number N",
    )
    chat.add_argument("--list", action="store_true", help="list your conversations")
    chat.add_argument("--assignment", metavar="NN", help="the assignment you work on, for /hint")
    options.add_options(chat)
    chat.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from tutor.chat.opening import open_conversation
    from tutor.chat.terminal import talk, typed
    from tutor.library.display import open_console
    from tutor.providers import open_provider

    settings, budget = options.chosen_settings(args), options.chosen_budget(args)
    with options.open_transcripts(settings) as store:
        if args.list:
            return _list(store)
        number = _resumed(args.resume, store)
        with options.open_filled_index(settings) as (index, is_default):
            conversation = open_conversation(
                settings,
                index,
                open_provider(settings, weight=index.weight),
                store,
                options.STUDENT,
                number=number,
                assignment=args.assignment,
                budget=budget,
            )
            if is_default:
                print("no library yet: reading the default one into memory", file=sys.stderr)
            print(f"conversation {conversation.number}; /help, /quit", file=sys.stderr)
            if args.resume is not None:
                _repeat(conversation)
            try:
                talk(conversation, typed(settings.home / "history"), open_console(), settings.home)
            except KeyboardInterrupt:
                print(f"kept; `tutor chat --resume {conversation.number}` goes on", file=sys.stderr)
                return console.EXIT_INTERRUPTED
            finally:
                conversation.close()
    return console.EXIT_OK


def _resumed(number: int | None, store: Any) -> int | None:
    """The conversation to go on with; 0 is the last one, None a new one."""
    if number != 0:
        return number
    kept = store.conversations(options.STUDENT)
    if not kept:
        raise InputError("there is no conversation to resume; `tutor chat` begins one")
    return int(kept[0].id)


def _repeat(conversation: Any) -> None:
    """Show the end of a resumed conversation again."""
    from tutor.chat.events import from_dict
    from tutor.chat.terminal import show
    from tutor.library.display import open_console, printable

    screen = open_console()
    for entry in conversation.entries()[-12:]:
        if entry.kind == "student":
            screen.print(f"you> {printable(entry.content['text'])}", markup=False)
        else:
            show(from_dict(entry.content), screen)
    screen.print()


def _list(store: Any) -> int:
    from tutor.library.display import printable

    for kept in store.conversations(options.STUDENT):
        said = [e.content["text"] for e in store.entries(kept.id, options.STUDENT) if e.kind == "student"]
        first = " ".join(printable(said[0]).split())[:70] if said else "(nothing said)"
        print(f"{kept.id:4d}  {kept.created_at[:16].replace('T', ' ')}  {first}")
    return console.EXIT_OK
