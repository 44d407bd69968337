"""What `tutor ask` and `tutor chat` have in common: who answers, what it may cost, where it is kept."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from statml.errors import InputError, ServiceError
from tutor import settings as tutor_settings

if TYPE_CHECKING:
    from tutor.budget import Budget
    from tutor.library.index.hybrid import LibraryIndex
    from tutor.records.transcripts import Transcripts

#: The one person of a tutor on her own machine.
STUDENT = "me"
RECORDS = "conversations.sqlite"


def add_options(parser: Any) -> None:
    """Add the options of provider and budget to a verb."""
    parser.add_argument(
        "--provider",
        choices=tutor_settings.PROVIDERS,
        help="extractive quotes the sources and needs no model (default); openai asks a model server; "
        "local serves a model on this machine",
    )
    parser.add_argument("--base-url", metavar="URL", help="the model server, e.g. http://127.0.0.1:8080/v1")
    parser.add_argument("--model", metavar="NAME", help="the model's name on that server")
    parser.add_argument(
        "--max-tokens", type=int, metavar="N", help="stop asking models after N tokens of this conversation"
    )
    parser.add_argument(
        "--max-tokens-total", type=int, metavar="N", help="... after N tokens of all your conversations"
    )
    parser.add_argument(
        "--max-cost", type=float, metavar="X", help="stop before this conversation costs more than X"
    )
    parser.add_argument(
        "--prices",
        nargs=2,
        type=float,
        metavar=("IN", "OUT"),
        help="cost of a million tokens of prompts and of answers, for --max-cost",
    )


def chosen_settings(args: argparse.Namespace) -> tutor_settings.Settings:
    """The settings with the options laid over them; a forbidden server or a missing key is found out here.

    Raises
    ------
    InputError, ServiceError
        They do not fit together, or the provider cannot be opened.
    """
    from tutor.providers import open_provider

    settings = tutor_settings.load().with_options(
        provider=args.provider, base_url=args.base_url, model=args.model
    )
    if settings.provider == "extractive" and (args.base_url or args.model):
        raise InputError(
            "--base-url and --model need --provider openai; the extractive provider asks no model"
        )
    open_provider(settings)
    return settings


def chosen_budget(args: argparse.Namespace) -> Budget:
    """The budget the options set."""
    from tutor.budget import Budget

    if args.max_cost is not None and not args.prices:
        raise InputError("--max-cost needs --prices IN OUT, what a million tokens cost")
    prices = args.prices or (0.0, 0.0)
    return Budget(
        run_tokens=args.max_tokens,
        student_tokens=args.max_tokens_total,
        run_cost=args.max_cost,
        prompt_price=prices[0],
        answer_price=prices[1],
    )


@contextmanager
def open_transcripts(settings: tutor_settings.Settings) -> Iterator[Transcripts]:
    """The conversations in the tutor's home.

    Yields
    ------
    Transcripts

    Raises
    ------
    ServiceError
        The folder cannot be written.
    """
    from tutor.records import Records
    from tutor.records.transcripts import Transcripts

    with Records(private(settings.home / RECORDS)) as records:
        yield Transcripts(records)


@contextmanager
def open_filled_index(settings: tutor_settings.Settings) -> Iterator[tuple[LibraryIndex, bool]]:
    """`tutor.library.default.open_index`, refused where the library holds nothing.

    Yields
    ------
    index : LibraryIndex
    is_default : bool
    """
    from tutor.library.default import open_index
    from tutor.library.search import EMPTY

    with open_index(settings) as (index, is_default):
        if not index.library.stats().documents:
            raise InputError(EMPTY)
        yield index, is_default


def private(path: Path) -> Path:
    """A file readable by its owner alone.

    Raises
    ------
    ServiceError
        It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise ServiceError(
            f"{path} cannot be written ({error.strerror}); set TUTOR_HOME to a folder of yours"
        ) from None
    return path
