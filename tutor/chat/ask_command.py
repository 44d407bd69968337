"""``tutor ask``: a conversation of one question; `tutor chat --resume` goes on with it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import Any

from statml import console
from statml.errors import InputError
from tutor.chat import options


def add_parser(subparsers: Any) -> None:
    """Add ``ask`` to the tutor's command line."""
    ask = subparsers.add_parser(
        "ask",
        help="answer a question from the library, with verified quotes",
        description=(
            "Answer a question from the library. Every claim carries a quote found verbatim in its source; "
            "where the sources do not support an answer the tutor says so (exit code 0 too). The question is "
            "kept as a conversation: `tutor chat --resume` goes on with it."
        ),
        epilog='example: tutor ask "How does the Large Magellanic Cloud perturb the halo?" --json',
    )
    ask.add_argument("question", help="in plain English, in quotation marks")
    ask.add_argument("--json", action="store_true", help="print the answer as JSON")
    options.add_options(ask)
    ask.add_argument("--k", type=int, default=5, metavar="N", help="passages looked at (default: 5)")
    ask.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from tutor.library.answer import checked_question

    if args.k < 1:
        raise InputError(f"--k must be at least 1, got {args.k}")
    checked_question(args.question)
    budget = options.chosen_budget(args)
    settings = options.chosen_settings(args)
    with options.open_filled_index(settings) as (index, is_default):
        stats = index.library.stats()
        if is_default:
            print(
                f"no library yet: reading the default one ({stats.documents} documents) into memory; "
                "`tutor library add` keeps one of your own",
                file=sys.stderr,
            )
        answer = _answer(args, settings, index, budget)
    if args.json:
        console.print_json(answer.to_dict() | {"library": {"default": is_default, **asdict(stats)}})
    else:
        from tutor.library.display import open_console, show

        show(answer, stats, open_console())
    return console.EXIT_OK


def _answer(args: argparse.Namespace, settings: Any, index: Any, budget: Any) -> Any:
    from tutor.chat.opening import open_conversation
    from tutor.providers import open_provider

    provider = open_provider(settings, weight=index.weight)
    with options.open_transcripts(settings) as store:
        talk = open_conversation(settings, index, provider, store, options.STUDENT, budget=budget)
        return talk.answer(args.question, k=args.k)
