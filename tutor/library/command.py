"""``tutor ask``; the verbs of ``tutor library`` are in `library_command`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import Any

from statml import console
from statml.errors import InputError
from tutor import settings as tutor_settings
from tutor.library import library_command


def add_parser(subparsers: Any) -> None:
    """Add ``ask`` and ``library`` to the tutor's command line."""
    _add_ask(subparsers)
    library_command.add_parser(subparsers)


def _add_ask(subparsers: Any) -> None:
    ask = subparsers.add_parser(
        "ask",
        help="answer a question from the library, with verified quotes",
        description=(
            "Answer a question from the library. Every claim carries a quote found verbatim in its source; "
            "where the sources do not support an answer the tutor says so (exit code 0 too)."
        ),
        epilog='example: tutor ask "How does the Large Magellanic Cloud perturb the halo?" --json',
    )
    ask.add_argument("question", help="in plain English, in quotation marks")
    ask.add_argument("--json", action="store_true", help="print the answer as JSON")
    ask.add_argument(
        "--provider",
        choices=tutor_settings.PROVIDERS,
        help="extractive quotes the sources and needs no model (default); openai asks a model server",
    )
    ask.add_argument("--base-url", metavar="URL", help="the model server, e.g. http://127.0.0.1:8080/v1")
    ask.add_argument("--model", metavar="NAME", help="the model's name on that server")
    ask.add_argument("--k", type=int, default=5, metavar="N", help="passages looked at (default: 5)")
    ask.set_defaults(run=_run_ask)


def _run_ask(args: argparse.Namespace) -> int:
    from tutor.library.answer import ask, checked_question
    from tutor.library.confidence import Confidence
    from tutor.library.default import open_index
    from tutor.library.search import EMPTY
    from tutor.providers import open_provider

    settings = tutor_settings.load().with_options(
        provider=args.provider, base_url=args.base_url, model=args.model
    )
    if settings.provider == "extractive" and (args.base_url or args.model):
        raise InputError(
            "--base-url and --model need --provider openai; the extractive provider asks no model"
        )
    if args.k < 1:
        raise InputError(f"--k must be at least 1, got {args.k}")
    checked_question(args.question)
    # a forbidden server or a missing key is found out before the library is read
    open_provider(settings)
    with open_index(settings) as (index, is_default):
        stats = index.library.stats()
        if not stats.documents:
            raise InputError(EMPTY)
        if is_default:
            print(
                f"no library yet: reading the default one ({stats.documents} documents) into memory; "
                "`tutor library add` keeps one of your own",
                file=sys.stderr,
            )
        answer = ask(
            args.question,
            index,
            open_provider(settings, weight=index.weight),
            k=args.k,
            confidence=Confidence(index) if index.has_vectors else None,
        )
    if args.json:
        console.print_json(answer.to_dict() | {"library": {"default": is_default, **asdict(stats)}})
    else:
        from tutor.library.display import open_console, show

        show(answer, stats, open_console())
    return console.EXIT_OK
