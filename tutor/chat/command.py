"""``tutor chat``: a conversation on the terminal, kept and resumable."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from statml import console
from statml.errors import InputError
from tutor import settings as tutor_settings

#: The one person of a tutor on her own machine.
STUDENT = "me"
RECORDS = "conversations.sqlite"


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
    chat.add_argument("--provider", choices=tutor_settings.PROVIDERS, help="as for `tutor ask`")
    chat.add_argument("--base-url", metavar="URL", help="the model server, e.g. http://127.0.0.1:8080/v1")
    chat.add_argument("--model", metavar="NAME", help="the model's name on that server")
    chat.add_argument(
        "--max-tokens", type=int, metavar="N", help="stop asking models after N tokens of this conversation"
    )
    chat.add_argument(
        "--max-tokens-total", type=int, metavar="N", help="... after N tokens of all your conversations"
    )
    chat.add_argument(
        "--max-cost", type=float, metavar="X", help="stop before this conversation costs more than X"
    )
    chat.add_argument(
        "--prices",
        nargs=2,
        type=float,
        metavar=("IN", "OUT"),
        help="cost of a million tokens of prompts and of answers, for --max-cost",
    )
    chat.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from tutor.budget import Budget
    from tutor.chat.conversation import open_conversation
    from tutor.chat.terminal import talk, typed
    from tutor.library.default import open_index
    from tutor.library.display import open_console
    from tutor.library.search import EMPTY
    from tutor.providers import open_provider
    from tutor.records import Records
    from tutor.records.transcripts import Transcripts

    settings = tutor_settings.load().with_options(
        provider=args.provider, base_url=args.base_url, model=args.model
    )
    if settings.provider == "extractive" and (args.base_url or args.model):
        raise InputError(
            "--base-url and --model need --provider openai; the extractive provider asks no model"
        )
    if args.max_cost is not None and not args.prices:
        raise InputError("--max-cost needs --prices IN OUT, what a million tokens cost")
    prices = args.prices or (0.0, 0.0)
    budget = Budget(
        run_tokens=args.max_tokens,
        student_tokens=args.max_tokens_total,
        run_cost=args.max_cost,
        prompt_price=prices[0],
        answer_price=prices[1],
    )
    open_provider(settings)  # a forbidden server or a missing key is found out first
    path = _private(settings.home / RECORDS)
    with Records(path) as records:
        store = Transcripts(records)
        if args.list:
            return _list(store)
        number = args.resume
        if number == 0:
            kept = store.conversations(STUDENT)
            if not kept:
                raise InputError("there is no conversation to resume; `tutor chat` begins one")
            number = kept[0].id
        with open_index(settings) as (index, is_default):
            if not index.library.stats().documents:
                raise InputError(EMPTY)
            conversation = open_conversation(
                settings,
                index,
                open_provider(settings, weight=index.weight),
                store,
                STUDENT,
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


def _list(store: Any) -> int:
    from tutor.library.display import printable

    for kept in store.conversations(STUDENT):
        said = [e.content["text"] for e in store.entries(kept.id, STUDENT) if e.kind == "student"]
        first = " ".join(printable(said[0]).split())[:70] if said else "(nothing said)"
        print(f"{kept.id:4d}  {kept.created_at[:16].replace('T', ' ')}  {first}")
    return console.EXIT_OK


def _private(path: Path) -> Path:
    """The file of conversations, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    return path
